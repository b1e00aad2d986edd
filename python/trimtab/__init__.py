"""Normalization, dropout and weight-decay kernels for NumPy arrays on the CPU, and a thin training layer.

The functions of this module are compiled: arrays in, arrays out. The training layer, written in Python, is in
the submodules, which are imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from trimtab._config import __version__ as __version__
from trimtab._config import show_config
from trimtab._core import (
    adam_update,
    add_dropout_forward,
    add_layer_norm_forward,
    add_rms_norm_forward,
    alpha_dropout_backward,
    alpha_dropout_forward,
    batch_moments,
    batch_norm,
    batch_norm_apply,
    batch_norm_backward,
    batch_norm_backward_apply,
    batch_norm_backward_sums,
    batch_norm_forward,
    batch_renorm_backward,
    batch_renorm_forward,
    binary_cross_entropy,
    clip_grad_norm,
    combine_moments,
    drop_path_backward,
    drop_path_forward,
    dropout,
    dropout_apply,
    dropout_backward,
    dropout_forward,
    dropout_mask,
    fold_batch_norm,
    gaussian_dropout_backward,
    gaussian_dropout_forward,
    gelu,
    gelu_backward,
    get_memory_cap,
    get_num_threads,
    get_threading,
    group_norm,
    group_norm_backward,
    group_norm_forward,
    huber,
    instance_norm,
    instance_norm_backward,
    instance_norm_forward,
    isa,
    layer_norm,
    layer_norm_backward,
    layer_norm_forward,
    leaky_relu,
    leaky_relu_backward,
    log_softmax,
    log_softmax_backward,
    mae,
    max_norm,
    mse,
    penalty,
    relu,
    relu_backward,
    rms_norm,
    rms_norm_backward,
    rms_norm_forward,
    set_memory_cap,
    set_num_threads,
    set_threading,
    sgd_update,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    softmax,
    softmax_backward,
    softmax_cross_entropy,
    tanh,
    tanh_backward,
    trim_memory,
)
from trimtab._threadpoolctl import register_with_threadpoolctl

if TYPE_CHECKING:
    from trimtab import (
        augment,
        callbacks,
        datasets,
        distributed,
        early_stopping_theory,
        estimators,
        losses,
        metrics,
        nn,
        optim,
    )
    from trimtab.gradients import gradcheck
    from trimtab.trainer import Trainer
    from trimtab.training.history import History
    from trimtab.whitening import whiten_backward, whiten_forward

_submodules = (
    "augment",
    "callbacks",
    "datasets",
    "distributed",
    "early_stopping",  # the name of early_stopping_theory up to version 0.1
    "early_stopping_theory",
    "estimators",
    "losses",
    "metrics",
    "nn",
    "optim",
)
_members = {
    "History": "training.history",
    "Trainer": "trainer",
    "gradcheck": "gradients",
    "whiten_backward": "whitening",
    "whiten_forward": "whitening",
}

__all__ = [
    "History",
    "Trainer",
    "adam_update",
    "add_dropout_forward",
    "add_layer_norm_forward",
    "add_rms_norm_forward",
    "alpha_dropout_backward",
    "alpha_dropout_forward",
    "augment",
    "batch_moments",
    "batch_norm",
    "batch_norm_apply",
    "batch_norm_backward",
    "batch_norm_backward_apply",
    "batch_norm_backward_sums",
    "batch_norm_forward",
    "batch_renorm_backward",
    "batch_renorm_forward",
    "binary_cross_entropy",
    "callbacks",
    "clip_grad_norm",
    "combine_moments",
    "datasets",
    "distributed",
    "drop_path_backward",
    "drop_path_forward",
    "dropout",
    "dropout_apply",
    "dropout_backward",
    "dropout_forward",
    "dropout_mask",
    "early_stopping_theory",
    "estimators",
    "fold_batch_norm",
    "gaussian_dropout_backward",
    "gaussian_dropout_forward",
    "gelu",
    "gelu_backward",
    "get_memory_cap",
    "get_num_threads",
    "get_threading",
    "gradcheck",
    "group_norm",
    "group_norm_backward",
    "group_norm_forward",
    "huber",
    "instance_norm",
    "instance_norm_backward",
    "instance_norm_forward",
    "isa",
    "layer_norm",
    "layer_norm_backward",
    "layer_norm_forward",
    "leaky_relu",
    "leaky_relu_backward",
    "log_softmax",
    "log_softmax_backward",
    "losses",
    "mae",
    "max_norm",
    "metrics",
    "mse",
    "nn",
    "optim",
    "penalty",
    "relu",
    "relu_backward",
    "rms_norm",
    "rms_norm_backward",
    "rms_norm_forward",
    "set_memory_cap",
    "set_num_threads",
    "set_threading",
    "sgd_update",
    "show_config",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "tanh",
    "tanh_backward",
    "trim_memory",
    "whiten_backward",
    "whiten_forward",
]


register_with_threadpoolctl()


def __getattr__(name: str) -> Any:
    if name in _submodules:
        return importlib.import_module(f"trimtab.{name}")
    if name in _members:
        member = getattr(importlib.import_module(f"trimtab.{_members[name]}"), name)
        globals()[name] = member
        return member
    raise AttributeError(f"module 'trimtab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
