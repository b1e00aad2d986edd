// Signatures and docstrings of stochastic gradient descent.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr auto sgd_update = join(
    R"(sgd_update(params, grads, momentum_buffers=None, *, lr, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0, l1=0.0, decoupled=False, proximal=False, maximize=False, grad_scale=1.0, first_step=False, zero_grad=False, masters=None, statistics=False, skip_nonfinite=False)
--

One step of stochastic gradient descent on any number of arrays, in place, in one pass over memory.

With sign(0) = 0, for each element w of a parameter, g of its gradient and v of its momentum buffer, in this order:

    g = grad_scale * g;  g = -g                       where maximize
    g = g + weight_decay * w + l1 * sign(w)           unless decoupled; without l1 where proximal
    v = momentum * v + (1 - dampening) * g            v = g on the first step
    g = g + momentum * v                              where nesterov; else g = v
    g = g + weight_decay * w + l1 * sign(w)           where decoupled; without l1 where proximal
    w = w - lr * g
    w = sign(w) * max(|w| - lr * l1, 0)               where proximal

Parameters
----------
params : ndarray, or sequence or mapping of ndarray
    Updated in place. All of one dtype: float32, float64, float16 or bfloat16; writeable. Any memory order is allowed;
    dense arrays, Fortran-ordered too, need no copy where the arrays that belong to them have the same order. In
    mappings, arrays of equal keys belong together.
grads : ndarray, or sequence or mapping of ndarray
    The gradient of each parameter, of its dtype and of its shape but for axes of length 1. No two arrays of the call
    overlap.
momentum_buffers : ndarray, or sequence or mapping of ndarray, optional
    v, of each parameter's shape and of the dtype of `masters` where they are given, else of `params`. Updated in place.
    Needed where `momentum` is not 0. Where they are not given there is no v, and `dampening` has no effect.
lr : float
    Learning rate; finite and >= 0, like all numbers below.
momentum : float, default 0.0
    Weight of the old v.
dampening : float, default 0.0
    1 minus the weight of the new gradient in v.
nesterov : bool, default False
    Whether to use Nesterov's momentum; needs `momentum`.
weight_decay : float, default 0.0
    c of the penalty c/2 * sum of w^2, whose gradient is c * w.
l1 : float, default 0.0
    a of the penalty a * sum of |w|.
decoupled : bool, default False
    Whether decay is kept out of the momentum and of `grad_scale` and `maximize`.
proximal : bool, default False
    Whether the L1 penalty acts as a soft threshold after the step, which gives exact zeros; its subgradient gives none.
maximize : bool, default False
    Whether to ascend. Penalties still shrink the weights.
grad_scale : float, default 1.0
    Factor of the gradients: 1 over the scale of the loss, or the factor of clipping.
first_step : bool or sequence of bool, default False
    Whether v starts with this step, for all parameters or for each; the old contents of the buffer are then not read.
zero_grad : bool, default False
    Whether to set `grads` to zero; they must then be writeable.
masters : ndarray, or sequence or mapping of ndarray, optional
    For float16 and bfloat16 parameters: their float32 originals, which are updated in place; `params` become their
    rounded copies.
statistics : bool, default False
    Whether to return norms, from the same pass.
skip_nonfinite : bool, default False
    Whether to read all gradients first, and change nothing where their norm is not finite. Returns the norms: a step
    was skipped where `grad_norm` is not finite. Without it NaN and Inf reach the elements they belong to.

Returns
-------
None, or with `statistics` or `skip_nonfinite`
l1_norm : float
    Sum of |w| before the step.
l2_norm_sq : float
    Sum of w^2 before the step.
grad_norm : float
    Root of the sum of squares of all gradients, times `grad_scale`; before decay.

Raises
------
TypeError
    An object that is not an ndarray, a dtype that is not one of the four or not that of the first parameter, an
    argument of the wrong type.
ValueError
    Lists of different lengths, other keys, a shape that does not fit, arrays that overlap or are read-only, a number
    out of range, `momentum` without buffers, `nesterov` without momentum. Then nothing has been changed.

See Also
--------
penalty : the value of the penalties.
clip_grad_norm : bounds the norm of gradients.

Notes
-----
Arithmetic is in float32 (float64: in float64), sums are in double. The bits of every element depend on that element
alone: not on the number of threads, the instruction set, or how arrays are grouped into calls.

References
----------
Polyak, B. T. (1964). Some methods of speeding up the convergence of iteration methods. (Momentum.)
Nesterov, Y. (1983). A method of solving a convex programming problem with convergence rate O(1/k^2).
Loshchilov, I., and Hutter, F. (2019). Decoupled Weight Decay Regularization. ICLR.
Daubechies, I., Defrise, M., and De Mol, C. (2004). An iterative thresholding algorithm for linear inverse problems with
a sparsity constraint. (The proximal step.)
)");

constexpr auto sgd_plan = join(
    R"(sgd_plan(params, grads, momentum_buffers=None, *, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0, l1=0.0, decoupled=False, proximal=False, maximize=False, zero_grad=False, masters=None, decays=True)
--

The arrays and options of `sgd_update`, checked once for many steps; `grads` must be writeable.

`decays`, a bool or a sequence of bools: whether `weight_decay` and `l1` apply, to all parameters or to each.

Returns
-------
plan : capsule
    Keeps the arrays alive.
)");

constexpr auto sgd_step = join(
    R"(sgd_step(plan, lr, grad_scale=1.0, first_step=False, statistics=False)
--

`sgd_update` on the arrays of a plan.
)");

constexpr auto sgd_grad_norm = join(
    R"(sgd_grad_norm(plan)
--

The root of the sum of squares of all gradients of a plan.
)");

constexpr auto sgd_plan_is_valid = join(
    R"(sgd_plan_is_valid(plan)
--

Whether the arrays of a plan are still writeable and at the same address.
)");

constexpr auto clip_grad_norm = join(
    R"(clip_grad_norm(grads, max_norm)
--

Scale gradients in place so that their common norm is at most `max_norm`.

    g = g * min(1, max_norm / norm),  norm = sqrt(sum of g^2 over all arrays)

Parameters
----------
grads : ndarray, or sequence or mapping of ndarray
    All of one dtype: float32, float64, float16 or bfloat16; writeable, not overlapping, in any order in memory.
max_norm : float
    >= 0; infinity only measures.

Returns
-------
norm : float
    The norm before. Where it is NaN or infinite, nothing has been changed.

Raises
------
TypeError
    An object that is not an ndarray, a dtype that is not one of the four or not that of the first array, a `max_norm`
    that is not a number.
ValueError
    Arrays that overlap or are read-only; `max_norm` out of range. Then nothing has been changed.

Notes
-----
Before `sgd_update` no extra pass is needed for scaling: measure with an infinite `max_norm`, and give
``grad_scale=min(1, max_norm / norm)`` to the update.

References
----------
Pascanu, R., Mikolov, T., and Bengio, Y. (2013). On the difficulty of training recurrent neural networks. ICML.
)");

constexpr auto penalty = join(
    R"(penalty(params, *, l1=0.0, l2=0.0)
--

The value of the L1 and L2 penalties of any number of arrays.

    l1 * (sum of |w|) + l2 / 2 * (sum of w^2)

Parameters
----------
params : array_like, or sequence or mapping of array_like
    All of one dtype: float32, float64, float16 or bfloat16.
l1, l2 : float, default 0.0
    Finite and >= 0. With `l1` and ``weight_decay=l2``, `sgd_update` descends the gradient of this penalty.

Returns
-------
value : float

Raises
------
TypeError
    A dtype that is not one of the four or not that of the first array, a factor that is not a number.
ValueError
    A factor out of range.
)");
}  // namespace trimtab::docs
