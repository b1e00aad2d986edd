// Signatures and docstrings of Adam and AdamW.
#pragma once
#include "parameter_update.h"

namespace trimtab::docs {

constexpr auto adam_update = join(
    R"(adam_update(params, grads, exp_avgs, exp_avg_sqs, *, step, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, l1=0.0, decoupled=True, proximal=False, max_exp_avg_sqs=None, maximize=False, grad_scale=1.0, zero_grad=False, masters=None, statistics=False, skip_nonfinite=False)
--

One step of AdamW or Adam on any number of arrays, in place, in one pass over memory.

With sign(0) = 0, for each element w of a parameter, g of its gradient, m of `exp_avgs`, v of `exp_avg_sqs` and u of
`max_exp_avg_sqs`, in this order, at step t with betas b1 and b2:

    g = grad_scale * g;  g = -g                       where maximize
    g = g + weight_decay * w + l1 * sign(w)           unless decoupled; without l1 where proximal
    m = m + (1 - b1) * (g - m)
    v = b2 * v + (1 - b2) * g^2
    u = max(u, v)                                     where max_exp_avg_sqs is given; else u = v
    d = m / (1 - b1^t) / (sqrt(u / (1 - b2^t)) + eps)
    d = d + weight_decay * w + l1 * sign(w)           where decoupled; without l1 where proximal
    w = w - lr * d
    w = sign(w) * max(|w| - lr * l1, 0)               where proximal

Parameters
----------
)",
    params_to_update, grads_of_params,
    R"(exp_avgs, exp_avg_sqs : ndarray, or sequence or mapping of ndarray
    m and v, of each parameter's shape and of the dtype of `masters` where they are given, else of `params`. Updated in
    place; zeros before the first step.
step : int
    t, the number of this step: 1 at the first.
lr : float
    Learning rate; finite and >= 0, like all numbers below.
betas : (float, float), default (0.9, 0.999)
    Weights of the old m and of the old v; each >= 0 and < 1.
eps : float, default 1e-8
    Added to the root.
)",
    strengths_of_decay,
    R"(decoupled : bool, default True
    Whether decay is kept out of m and v, and of `grad_scale` and `maximize` (AdamW). In Adam, ``decoupled=False``, each
    weight's decay is divided by the root like its gradient.
)",
    proximal_step,
    R"(max_exp_avg_sqs : ndarray, or sequence or mapping of ndarray, optional
    u, the largest v so far, like `exp_avg_sqs`: steps then never grow because v shrinks (amsgrad).
)",
    maximize_and_grad_scale, zero_grad_and_masters, statistics_and_skips,
    R"(
Raises
------
TypeError
    An object that is not an ndarray, a dtype that is not one of the four or not that of the first parameter, an
    argument of the wrong type.
ValueError
    Lists of different lengths, other keys, a shape that does not fit, arrays that overlap or are read-only, a number
    out of range. Then nothing has been changed.

See Also
--------
sgd_update : the same with stochastic gradient descent.
penalty : the value of the penalties.
clip_grad_norm : bounds the norm of gradients.

Notes
-----
Arithmetic is in float32 (float64: in float64), sums and the factors of all elements are in double. The bits of every
element depend on that element alone: not on the number of threads, the instruction set, or how arrays are grouped into
calls. The order of operations is that of PyTorch's fused form, but decoupled decay is rounded together with the step.

The soft threshold is lr * l1, as in `sgd_update`: it does not depend on v, so it is that of the L1 penalty only up to
the scale that v gives to each weight.

Where the denominator is below 2^-63 (float64: 2^-511), the root of the smallest normal number, it is taken for that.
With ``eps=0`` the step of a weight that never had a gradient is therefore 0, not 0 / 0. Squares overflow from
gradients of about 5e20 on (float64: 4e155, with the default betas): v is then infinite, and w stays as it is. In
float16, v is 0 below gradients of about 0.005, and in bfloat16 v hardly changes: give `masters`.

References
----------
Kingma, D. P., and Ba, J. (2015). Adam: A Method for Stochastic Optimization. ICLR.
Loshchilov, I., and Hutter, F. (2019). Decoupled Weight Decay Regularization. ICLR. (AdamW.)
Reddi, S. J., Kale, S., and Kumar, S. (2018). On the Convergence of Adam and Beyond. ICLR. (AMSGrad.)
)",
    examples,
    R"(>>> w, g, m, v = np.ones(2), np.array([4.0, -0.25]), np.zeros(2), np.zeros(2)
>>> tt.adam_update(w, g, m, v, step=1, lr=0.5)
>>> w.round(6)
array([0.5, 1.5])
)");

constexpr auto adam_plan = join(
    R"(adam_plan(params, grads, exp_avgs, exp_avg_sqs, *, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, l1=0.0, decoupled=True, proximal=False, max_exp_avg_sqs=None, maximize=False, zero_grad=False, masters=None, decays=True)
--

The arrays and options of `adam_update`, checked once for many steps; `grads` must be writeable.

`decays`, a bool or a sequence of bools: whether `weight_decay` and `l1` apply, to all parameters or to each.

Returns
-------
plan : capsule
    Keeps the arrays alive.
)");

constexpr auto adam_step = join(
    R"(adam_step(plan, step, lr, grad_scale=1.0, statistics=False)
--

`adam_update` on the arrays of a plan.
)");
}  // namespace trimtab::docs
