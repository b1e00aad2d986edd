// Docstrings of what all updates of parameters share: paragraphs, plans, norms and penalties.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

// ---- paragraphs of sgd_update and adam_update ----

constexpr char params_to_update[] = R"(params : ndarray, or sequence or mapping of ndarray
    Updated in place. All of one dtype: float32, float64, float16 or bfloat16; writeable. Any memory order is allowed;
    dense arrays, Fortran-ordered too, need no copy where the arrays that belong to them have the same order. In
    mappings, arrays of equal keys belong together.
)";

constexpr char grads_of_params[] = R"(grads : ndarray, or sequence or mapping of ndarray
    The gradient of each parameter, of its dtype and of its shape but for axes of length 1. No two arrays of the call
    overlap.
)";

constexpr char strengths_of_decay[] = R"(weight_decay : float, default 0.0
    c of the penalty c/2 * sum of w^2, whose gradient is c * w.
l1 : float, default 0.0
    a of the penalty a * sum of |w|.
)";

constexpr char proximal_step[] = R"(proximal : bool, default False
    Whether the L1 penalty acts as a soft threshold after the step, which gives exact zeros; its subgradient gives none.
)";

constexpr char maximize_and_grad_scale[] = R"(maximize : bool, default False
    Whether to ascend. Penalties still shrink the weights.
grad_scale : float, default 1.0
    Factor of the gradients: 1 over the scale of the loss, or the factor of clipping.
)";

constexpr char zero_grad_and_masters[] = R"(zero_grad : bool, default False
    Whether to set `grads` to zero; they must then be writeable.
masters : ndarray, or sequence or mapping of ndarray, optional
    For float16 and bfloat16 parameters: their float32 originals, which are updated in place; `params` become their
    rounded copies.
)";

constexpr char statistics_and_skips[] = R"(statistics : bool, default False
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
)";

// ---- functions ----

constexpr auto plan_grad_norm = join(
    R"(plan_grad_norm(plan)
--

The root of the sum of squares of all gradients of a plan.
)");

constexpr auto plan_is_valid = join(
    R"(plan_is_valid(plan)
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
Before an update no extra pass is needed for scaling: measure with an infinite `max_norm`, and give
``grad_scale=min(1, max_norm / norm)`` to the update.

References
----------
Pascanu, R., Mikolov, T., and Bengio, Y. (2013). On the difficulty of training recurrent neural networks. ICML.
)",
    examples,
    R"(>>> g = np.array([6.0, 8.0])
>>> tt.clip_grad_norm(g, 5.0), g
(10.0, array([3., 4.]))
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
    Finite and >= 0. With `l1` and ``weight_decay=l2``, `sgd_update` and `adam_update` descend the gradient of this penalty.

Returns
-------
value : float

Raises
------
TypeError
    A dtype that is not one of the four or not that of the first array, a factor that is not a number.
ValueError
    A factor out of range.
)",
    examples,
    R"(>>> tt.penalty([np.array([3.0, -4.0])], l1=1.0, l2=2.0)
32.0
)");
}  // namespace trimtab::docs
