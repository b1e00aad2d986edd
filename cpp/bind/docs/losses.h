// Signatures and docstrings of losses.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr char pred[] = R"(pred : array_like
    float32, float64, float16 or bfloat16; any shape.
)";

constexpr char target[] = R"(target : array_like
    Of any real dtype and of `pred`'s shape; axes of length 1 do not count, so (N,) goes with (N, 1).
)";

constexpr char reduction_of_elements[] = R"(reduction : {"mean", "sum", "none"}, default "mean"
    Over all elements.
)";

constexpr char loss_and_dpred[] = R"(loss : float, or ndarray
    The mean or sum, computed in double; for "none" the loss of each element, of `pred`'s shape and dtype. The mean of
    no elements is NaN.
dpred : ndarray
    Gradient of the mean, for "sum" and "none" of the sum: of `pred`'s shape and dtype.
)";

constexpr char type_error_with_target[] = R"(TypeError
    A dtype that is not one of the four, a target that is not real, an argument of the wrong type.
)";

constexpr auto softmax_cross_entropy = join(
    R"(softmax_cross_entropy(logits, labels, *, label_smoothing=0.0, class_weight=None, ignore_index=None, reduction="mean")
--

Cross entropy of the softmax of each row with its target, and its gradient.

With K classes, p = softmax(row), and q the given probabilities or 1 at the label and 0 elsewhere:

    t       = class_weight * ((1 - label_smoothing) * q + label_smoothing / K)
    loss    = -sum of t * log(p)
    dlogits = p * sum(t) - t

Parameters
----------
logits : array_like
    Shape (N, K), K >= 1: float32, float64, float16 or bfloat16.
labels : array_like
    Class ids, shape (N,) or (N, 1), integers of any width from 0 to K - 1, or bools; or probabilities, shape (N, K), of
    any real dtype, including one-hot rows of integers or bools. They are not normalized and need not add up to 1.
label_smoothing : float, default 0.0
    From 0 to 1: the part of the target that is spread evenly over the classes.
class_weight : array_like, optional
    Shape (K,), of any real dtype; ones if not given.
ignore_index : int, optional
    Rows with this label have loss 0 and gradient 0, whatever their logits. It may lie outside 0 to K - 1. Not with
    probabilities.
reduction : {"mean", "sum", "none"}, default "mean"
    The mean of class ids weighs each row by the weight of its class: it divides by the sum of those weights, without the
    ignored rows. The mean of probabilities divides by N.

Returns
-------
loss : float, or ndarray
    The mean or sum; for "none" the losses of the rows, shape (N,), of `logits`' dtype. The mean of no rows at all is NaN.
dlogits : ndarray
    Gradient of the mean, for "sum" and "none" of the sum: of `logits`' shape and dtype.

Raises
------
TypeError
    Logits of a dtype that is not one of the four, labels that are not real, an argument of the wrong type.
ValueError
    A shape that does not fit, a label or `label_smoothing` out of range, an unknown `reduction`.

Notes
-----
Rows are shifted by their largest logit and the losses are summed in double, so logits of any size are safe. A logit of
-inf leaves its class out: the probability is 0, and the loss infinite where it is the target. NaN and infinity stay in
their row.

References
----------
Bridle, J. S. (1990). Probabilistic Interpretation of Feedforward Classification Network Outputs. Neurocomputing.
Szegedy, C., Vanhoucke, V., Ioffe, S., Shlens, J., and Wojna, Z. (2016). Rethinking the Inception Architecture for
Computer Vision. CVPR.
)");

constexpr auto mse = join(
    R"(mse(pred, target, *, reduction="mean")
--

Squared error, and its gradient.

    loss  = (pred - target)^2
    dpred = 2 * (pred - target)

Parameters
----------
)",
    pred, target, reduction_of_elements,
    R"(
Returns
-------
)",
    loss_and_dpred,
    R"(
Raises
------
)",
    type_error_with_target,
    R"(ValueError
    A target of another shape, an unknown `reduction`.
)");

constexpr auto huber = join(
    R"(huber(pred, target, *, delta=1.0, reduction="mean")
--

Huber's loss, and its gradient: quadratic near the target, linear beyond `delta`, which bounds the gradient.

With d = pred - target:

    loss  = d^2 / 2                       where |d| <= delta
            delta * (|d| - delta / 2)     elsewhere
    dpred = d, clipped to -delta .. delta

Parameters
----------
)",
    pred, target,
    R"(delta : float, default 1.0
    Finite and >= 0.
)",
    reduction_of_elements,
    R"(
Returns
-------
)",
    loss_and_dpred,
    R"(
Raises
------
)",
    type_error_with_target,
    R"(ValueError
    A target of another shape, `delta` out of range, an unknown `reduction`.

References
----------
Huber, P. J. (1964). Robust Estimation of a Location Parameter. Annals of Mathematical Statistics.
)");
}  // namespace trimtab::docs
