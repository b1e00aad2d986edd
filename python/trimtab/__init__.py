"""Normalization, dropout and weight-decay kernels for NumPy arrays on the CPU, and a thin training layer.

The kernels stand here, compiled, arrays in and arrays out; the training layer is in the submodules. What is
written in Python is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from trimtab._config import follow_threadpoolctl, show_config
from trimtab._core import (
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
    clip_grad_norm,
    combine_moments,
    drop_path_backward,
    drop_path_forward,
    dropout,
    dropout_backward,
    dropout_forward,
    dropout_mask,
    fold_batch_norm,
    gaussian_dropout_backward,
    gaussian_dropout_forward,
    get_memory_cap,
    get_num_threads,
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
    sgd_update,
    sigmoid,
    sigmoid_backward,
    softmax_cross_entropy,
    tanh,
    tanh_backward,
    trim_memory,
)

if TYPE_CHECKING:
    from trimtab import augment, callbacks, datasets, early_stopping, losses, nn, optim
    from trimtab.gradients import gradcheck
    from trimtab.trainer import History, Trainer
    from trimtab.whitening import whiten_backward, whiten_forward

__version__ = "0.2.0"

_submodules = ("augment", "callbacks", "datasets", "early_stopping", "losses", "nn", "optim")
_members = {
    "History": "trainer",
    "Trainer": "trainer",
    "gradcheck": "gradients",
    "whiten_backward": "whitening",
    "whiten_forward": "whitening",
}

__all__ = [
    "History",
    "Trainer",
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
    "callbacks",
    "clip_grad_norm",
    "combine_moments",
    "datasets",
    "drop_path_backward",
    "drop_path_forward",
    "dropout",
    "dropout_backward",
    "dropout_forward",
    "dropout_mask",
    "early_stopping",
    "fold_batch_norm",
    "gaussian_dropout_backward",
    "gaussian_dropout_forward",
    "get_memory_cap",
    "get_num_threads",
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
    "losses",
    "max_norm",
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
    "sgd_update",
    "show_config",
    "sigmoid",
    "sigmoid_backward",
    "softmax_cross_entropy",
    "tanh",
    "tanh_backward",
    "trim_memory",
    "whiten_backward",
    "whiten_forward",
]


follow_threadpoolctl()


def __getattr__(name: str) -> Any:
    if name in _submodules:
        return importlib.import_module(f"trimtab.{name}")
    if name in _members:
        member = getattr(importlib.import_module(f"trimtab.{_members[name]}"), name)
        globals()[name] = member
        return member
    raise AttributeError(f"module 'trimtab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_submodules, *_members])
