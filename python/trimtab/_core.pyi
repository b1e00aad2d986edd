"""Types of the compiled module; its docstrings say what the functions do."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trimtab._typing import Array

_Statistic: TypeAlias = NDArray[np.float64]
_Axes: TypeAlias = int | tuple[int, ...]
_Mask: TypeAlias = NDArray[np.uint8]
_Seed: TypeAlias = int | np.random.Generator | np.random.RandomState | None
SgdPlan: TypeAlias = object  # a capsule
AdamPlan: TypeAlias = object  # a capsule
_Arrays: TypeAlias = Array | Iterable[Array] | Mapping[str, Array]
_Reduction: TypeAlias = Literal["mean", "sum", "none"]
_Plane: TypeAlias = tuple[int, int]
_Activation: TypeAlias = Literal["relu"] | None

class LayerNormForwardResult(NamedTuple):
    y: Array
    mean: _Statistic
    rstd: _Statistic

class AddLayerNormForwardResult(NamedTuple):
    y: Array
    summed: Array
    mean: _Statistic
    rstd: _Statistic

class LayerNormBackwardResult(NamedTuple):
    dx: Array
    dgamma: Array
    dbeta: Array

class RMSNormForwardResult(NamedTuple):
    y: Array
    rstd: _Statistic

class AddRMSNormForwardResult(NamedTuple):
    y: Array
    summed: Array
    rstd: _Statistic

class RMSNormBackwardResult(NamedTuple):
    dx: Array
    dgamma: Array

class BatchNormForwardResult(NamedTuple):
    y: Array
    mean: _Statistic
    rstd: _Statistic

class BatchNormBackwardResult(NamedTuple):
    dx: Array
    dgamma: Array
    dbeta: Array
    dresidual: Array | None

class GroupNormForwardResult(NamedTuple):
    y: Array
    mean: _Statistic
    rstd: _Statistic

class GroupNormBackwardResult(NamedTuple):
    dx: Array
    dgamma: Array
    dbeta: Array

class InstanceNormForwardResult(NamedTuple):
    y: Array
    mean: _Statistic
    rstd: _Statistic

class InstanceNormBackwardResult(NamedTuple):
    dx: Array
    dgamma: Array
    dbeta: Array

class BatchRenormForwardResult(NamedTuple):
    y: Array
    mean: _Statistic
    rstd: _Statistic
    r: _Statistic
    d: _Statistic

class BatchRenormBackwardResult(NamedTuple):
    dx: Array
    dgamma: Array
    dbeta: Array

class FoldBatchNormResult(NamedTuple):
    weight: Array
    bias: Array

class Moments(NamedTuple):
    mean: _Statistic
    var: _Statistic
    count: int  # type: ignore[assignment]

class BatchNormBackwardSumsResult(NamedTuple):
    sum_dy: _Statistic
    sum_dy_xhat: _Statistic

class UpdateStatistics(NamedTuple):
    l1_norm: float
    l2_norm_sq: float
    grad_norm: float

class DropoutForwardResult(NamedTuple):
    y: Array
    mask: _Mask

class GaussianDropoutForwardResult(NamedTuple):
    y: Array
    noise: Array

class SoftmaxCrossEntropyResult(NamedTuple):
    loss: Any
    dlogits: Array

class BinaryCrossEntropyResult(NamedTuple):
    loss: Any
    dlogits: Array

class RegressionLossResult(NamedTuple):
    loss: Any
    dpred: Array

def layer_norm(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    axis: _Axes = -1,
    eps: float = 1e-5,
    out: Array | None = None,
) -> Array: ...
def layer_norm_forward(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    axis: _Axes = -1,
    eps: float = 1e-5,
    out: Array | None = None,
) -> LayerNormForwardResult: ...
def layer_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    mean: ArrayLike,
    rstd: ArrayLike,
    gamma: ArrayLike | None = None,
    *,
    axis: _Axes = -1,
    out: Array | None = None,
) -> LayerNormBackwardResult: ...
def add_layer_norm_forward(
    x: ArrayLike,
    residual: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    axis: _Axes = -1,
    eps: float = 1e-5,
) -> AddLayerNormForwardResult: ...
def rms_norm(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    *,
    axis: _Axes = -1,
    eps: float = 1e-6,
    out: Array | None = None,
) -> Array: ...
def rms_norm_forward(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    *,
    axis: _Axes = -1,
    eps: float = 1e-6,
    out: Array | None = None,
) -> RMSNormForwardResult: ...
def add_rms_norm_forward(
    x: ArrayLike,
    residual: ArrayLike,
    gamma: ArrayLike | None = None,
    *,
    axis: _Axes = -1,
    eps: float = 1e-6,
) -> AddRMSNormForwardResult: ...
def rms_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    rstd: ArrayLike,
    gamma: ArrayLike | None = None,
    *,
    axis: _Axes = -1,
    out: Array | None = None,
) -> RMSNormBackwardResult: ...
def batch_norm(
    x: ArrayLike,
    mean: ArrayLike,
    var: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    axis: int = 1,
    eps: float = 1e-5,
    activation: _Activation = None,
    residual: ArrayLike | None = None,
    out: Array | None = None,
) -> Array: ...
def batch_norm_forward(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    momentum: float = 0.1,
    unbiased: bool = True,
    axis: int = 1,
    eps: float = 1e-5,
    activation: _Activation = None,
    residual: ArrayLike | None = None,
    virtual_batch_size: int | None = None,
    out: Array | None = None,
) -> BatchNormForwardResult: ...
def batch_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    mean: ArrayLike,
    rstd: ArrayLike,
    gamma: ArrayLike | None = None,
    *,
    axis: int = 1,
    y: ArrayLike | None = None,
    activation: _Activation = None,
    residual: bool = False,
    training: bool = True,
    virtual_batch_size: int | None = None,
    out: Array | None = None,
) -> BatchNormBackwardResult: ...
def batch_moments(x: ArrayLike, *, axis: int = 1) -> Moments: ...
def combine_moments(means: ArrayLike, vars: ArrayLike, counts: ArrayLike) -> Moments: ...
def batch_norm_apply(
    x: ArrayLike,
    mean: ArrayLike,
    rstd: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    axis: int = 1,
    out: Array | None = None,
) -> Array: ...
def batch_norm_backward_sums(
    dy: ArrayLike, x: ArrayLike, mean: ArrayLike, rstd: ArrayLike, *, axis: int = 1
) -> BatchNormBackwardSumsResult: ...
def batch_norm_backward_apply(
    dy: ArrayLike,
    x: ArrayLike,
    mean: ArrayLike,
    rstd: ArrayLike,
    gamma: ArrayLike | None,
    sum_dy: ArrayLike,
    sum_dy_xhat: ArrayLike,
    count: float,
    *,
    axis: int = 1,
    out: Array | None = None,
) -> Array: ...
def group_norm(
    x: ArrayLike,
    num_groups: int,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    axis: int = 1,
    eps: float = 1e-5,
    out: Array | None = None,
) -> Array: ...
def group_norm_forward(
    x: ArrayLike,
    num_groups: int,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    axis: int = 1,
    eps: float = 1e-5,
    out: Array | None = None,
) -> GroupNormForwardResult: ...
def group_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    mean: ArrayLike,
    rstd: ArrayLike,
    num_groups: int,
    gamma: ArrayLike | None = None,
    *,
    axis: int = 1,
    out: Array | None = None,
) -> GroupNormBackwardResult: ...
def instance_norm(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    axis: int = 1,
    eps: float = 1e-5,
    out: Array | None = None,
) -> Array: ...
def instance_norm_forward(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    axis: int = 1,
    eps: float = 1e-5,
    out: Array | None = None,
) -> InstanceNormForwardResult: ...
def instance_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    mean: ArrayLike,
    rstd: ArrayLike,
    gamma: ArrayLike | None = None,
    *,
    axis: int = 1,
    out: Array | None = None,
) -> InstanceNormBackwardResult: ...
def batch_renorm_forward(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    running_mean: Array,
    running_std: Array,
    r_max: float = 1e999,
    d_max: float = 1e999,
    momentum: float = 0.01,
    axis: int = 1,
    eps: float = 1e-5,
    out: Array | None = None,
) -> BatchRenormForwardResult: ...
def batch_renorm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    mean: ArrayLike,
    rstd: ArrayLike,
    r: ArrayLike,
    d: ArrayLike,
    gamma: ArrayLike | None = None,
    *,
    axis: int = 1,
    out: Array | None = None,
) -> BatchRenormBackwardResult: ...
def fold_batch_norm(
    weight: ArrayLike,
    bias: ArrayLike | None,
    mean: ArrayLike,
    var: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    axis: int = 0,
) -> FoldBatchNormResult: ...
def dropout(
    x: ArrayLike,
    p: float = 0.5,
    *,
    rng: _Seed = None,
    inverted: bool = True,
    shared_axes: _Axes = (),
    out: Array | None = None,
) -> Array: ...
def dropout_forward(
    x: ArrayLike,
    p: float = 0.5,
    *,
    rng: _Seed = None,
    inverted: bool = True,
    shared_axes: _Axes = (),
    out: Array | None = None,
) -> DropoutForwardResult: ...
def dropout_backward(
    dy: ArrayLike,
    mask: ArrayLike,
    p: float = 0.5,
    *,
    inverted: bool = True,
    shared_axes: _Axes = (),
    out: Array | None = None,
) -> Array: ...
def dropout_apply(
    x: ArrayLike,
    mask: ArrayLike,
    p: float = 0.5,
    *,
    inverted: bool = True,
    shared_axes: _Axes = (),
    out: Array | None = None,
) -> Array: ...
def dropout_mask(shape: int | tuple[int, ...], p: float = 0.5, *, rng: _Seed = None) -> _Mask: ...
def drop_path_forward(
    x: ArrayLike, p: float = 0.5, *, rng: _Seed = None, inverted: bool = True, out: Array | None = None
) -> DropoutForwardResult: ...
def drop_path_backward(
    dy: ArrayLike, mask: ArrayLike, p: float = 0.5, *, inverted: bool = True, out: Array | None = None
) -> Array: ...
def add_dropout_forward(
    x: ArrayLike,
    bias: ArrayLike | None,
    residual: ArrayLike,
    p: float,
    *,
    rng: _Seed = None,
    out: Array | None = None,
) -> DropoutForwardResult: ...
def alpha_dropout_forward(
    x: ArrayLike, p: float = 0.5, *, rng: _Seed = None, out: Array | None = None
) -> DropoutForwardResult: ...
def alpha_dropout_backward(
    dy: ArrayLike, mask: ArrayLike, p: float = 0.5, *, out: Array | None = None
) -> Array: ...
def gaussian_dropout_forward(
    x: ArrayLike, p: float = 0.5, *, rng: _Seed = None, out: Array | None = None
) -> GaussianDropoutForwardResult: ...
def gaussian_dropout_backward(dy: ArrayLike, noise: ArrayLike, *, out: Array | None = None) -> Array: ...
def sgd_update(
    params: _Arrays,
    grads: _Arrays,
    momentum_buffers: _Arrays | None = None,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    decoupled: bool = False,
    proximal: bool = False,
    maximize: bool = False,
    grad_scale: float = 1.0,
    first_step: bool | Sequence[bool] = False,
    zero_grad: bool = False,
    masters: _Arrays | None = None,
    statistics: bool = False,
    skip_nonfinite: bool = False,
) -> UpdateStatistics | None: ...
def clip_grad_norm(grads: _Arrays, max_norm: float) -> float: ...
def sgd_plan(
    params: _Arrays,
    grads: _Arrays,
    momentum_buffers: _Arrays | None = None,
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    decoupled: bool = False,
    proximal: bool = False,
    maximize: bool = False,
    zero_grad: bool = False,
    masters: _Arrays | None = None,
    decays: bool | Sequence[bool] = True,
) -> SgdPlan: ...
def sgd_step(
    plan: SgdPlan,
    lr: float,
    grad_scale: float = 1.0,
    first_step: bool | Sequence[bool] = False,
    statistics: bool = False,
) -> UpdateStatistics | None: ...
def adam_update(
    params: _Arrays,
    grads: _Arrays,
    exp_avgs: _Arrays,
    exp_avg_sqs: _Arrays,
    *,
    step: int,
    lr: float,
    betas: Sequence[float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    decoupled: bool = True,
    proximal: bool = False,
    max_exp_avg_sqs: _Arrays | None = None,
    maximize: bool = False,
    grad_scale: float = 1.0,
    zero_grad: bool = False,
    masters: _Arrays | None = None,
    statistics: bool = False,
    skip_nonfinite: bool = False,
) -> UpdateStatistics | None: ...
def adam_plan(
    params: _Arrays,
    grads: _Arrays,
    exp_avgs: _Arrays,
    exp_avg_sqs: _Arrays,
    *,
    betas: Sequence[float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    decoupled: bool = True,
    proximal: bool = False,
    max_exp_avg_sqs: _Arrays | None = None,
    maximize: bool = False,
    zero_grad: bool = False,
    masters: _Arrays | None = None,
    decays: bool | Sequence[bool] = True,
) -> AdamPlan: ...
def adam_step(
    plan: AdamPlan, step: int, lr: float, grad_scale: float = 1.0, statistics: bool = False
) -> UpdateStatistics | None: ...
def plan_grad_norm(plan: SgdPlan | AdamPlan) -> float: ...
def plan_is_valid(plan: SgdPlan | AdamPlan) -> bool: ...
def max_norm(w: ArrayLike, limit: float, *, axis: _Axes, out: Array | None = None) -> Array: ...
def penalty(
    params: ArrayLike | Iterable[ArrayLike] | Mapping[str, ArrayLike], *, l1: float = 0.0, l2: float = 0.0
) -> float: ...
def silu(x: ArrayLike, *, out: Array | None = None) -> Array: ...
def silu_backward(dy: ArrayLike, x: ArrayLike, *, out: Array | None = None) -> Array: ...
def gelu(x: ArrayLike, approximate: bool = False, *, out: Array | None = None) -> Array: ...
def gelu_backward(
    dy: ArrayLike, x: ArrayLike, approximate: bool = False, *, out: Array | None = None
) -> Array: ...
def softmax(x: ArrayLike, *, axis: int | tuple[int, ...] = -1, out: Array | None = None) -> Array: ...
def softmax_backward(
    dy: ArrayLike, y: ArrayLike, *, axis: int | tuple[int, ...] = -1, out: Array | None = None
) -> Array: ...
def log_softmax(x: ArrayLike, *, axis: int | tuple[int, ...] = -1, out: Array | None = None) -> Array: ...
def log_softmax_backward(
    dy: ArrayLike, y: ArrayLike, *, axis: int | tuple[int, ...] = -1, out: Array | None = None
) -> Array: ...
def softmax_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    label_smoothing: float = 0.0,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    reduction: _Reduction = "mean",
) -> SoftmaxCrossEntropyResult: ...
def binary_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    label_smoothing: float = 0.0,
    pos_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    reduction: _Reduction = "mean",
) -> BinaryCrossEntropyResult: ...
def mse(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    reduction: _Reduction = "mean",
) -> RegressionLossResult: ...
def mae(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    reduction: _Reduction = "mean",
) -> RegressionLossResult: ...
def huber(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    delta: float = 1.0,
    sample_weight: ArrayLike | None = None,
    reduction: _Reduction = "mean",
) -> RegressionLossResult: ...
def convolve(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    before: _Plane,
    stride: _Plane,
    spacing: _Plane,
    output: _Plane,
) -> Array: ...
def convolve_weights(
    dy: ArrayLike, x: ArrayLike, groups: int, kernel: _Plane, before: _Plane, stride: _Plane
) -> Array: ...
def avg_pool(
    x: ArrayLike,
    kernel: _Plane,
    before: _Plane,
    stride: _Plane,
    output: _Plane,
    count_include_pad: bool = True,
) -> Array: ...
def avg_pool_backward(
    dy: ArrayLike,
    image: _Plane,
    kernel: _Plane,
    before: _Plane,
    stride: _Plane,
    count_include_pad: bool = True,
) -> Array: ...
def max_pool(x: ArrayLike, kernel: _Plane, before: _Plane, stride: _Plane, output: _Plane) -> Array: ...
def max_pool_backward(
    dy: ArrayLike, x: ArrayLike, y: ArrayLike, kernel: _Plane, before: _Plane, stride: _Plane
) -> Array: ...
def transpose(x: ArrayLike) -> Array: ...
def as_array(x: Any) -> Array: ...
def relu(x: ArrayLike, *, out: Array | None = None) -> Array: ...
def relu_backward(dy: ArrayLike, y: ArrayLike, *, out: Array | None = None) -> Array: ...
def leaky_relu(x: ArrayLike, negative_slope: float = 0.05, *, out: Array | None = None) -> Array: ...
def leaky_relu_backward(
    dy: ArrayLike, x: ArrayLike, negative_slope: float = 0.05, *, out: Array | None = None
) -> Array: ...
def sigmoid(x: ArrayLike, *, out: Array | None = None) -> Array: ...
def sigmoid_backward(dy: ArrayLike, y: ArrayLike, *, out: Array | None = None) -> Array: ...
def tanh(x: ArrayLike, *, out: Array | None = None) -> Array: ...
def tanh_backward(dy: ArrayLike, y: ArrayLike, *, out: Array | None = None) -> Array: ...
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def set_threading(threading: Literal["team", "openmp"]) -> None: ...
def get_threading() -> Literal["team", "openmp"]: ...
def isa() -> Literal["avx512", "avx2", "neon", "baseline"]: ...
def trim_memory() -> int: ...
def get_memory_cap() -> int: ...
def set_memory_cap(bytes: int) -> None: ...
def build_info() -> dict[str, str | int]: ...
def runs_of(call: Callable[[], object]) -> list[tuple[int, float, int, int]]: ...
def run_empty_tasks(count: int) -> None: ...
