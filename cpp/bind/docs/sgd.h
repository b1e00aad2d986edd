// Signatures and docstrings of stochastic gradient descent.
#pragma once
#include "parameter_update.h"

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
)",
    params_to_update, grads_of_params,
    R"(momentum_buffers : ndarray, or sequence or mapping of ndarray, optional
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
)",
    strengths_of_decay,
    R"(decoupled : bool, default False
    Whether decay is kept out of the momentum and of `grad_scale` and `maximize`.
)",
    proximal_step, maximize_and_grad_scale,
    R"(first_step : bool or sequence of bool, default False
    Whether v starts with this step, for all parameters or for each; the old contents of the buffer are then not read.
)",
    zero_grad_and_masters, statistics_and_skips,
    R"(
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
)",
    examples,
    R"(>>> w, g = np.ones(2), np.array([1.0, -1.0])
>>> tt.sgd_update(w, g, lr=0.5)
>>> w
array([0.5, 1.5])
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
}  // namespace trimtab::docs
