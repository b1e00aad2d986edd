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

constexpr char weight_of_samples[] = R"(sample_weight : array_like, optional
    Factors of the losses, finite and >= 0: one for each sample along axis 0, shape (N,), or for each element; of any
    real dtype. A sample of weight 0 has loss 0 and gradient 0, even where it is NaN. Ones if not given.
)";

constexpr char reduction_of_elements[] = R"(reduction : {"mean", "sum", "none"}, default "mean"
    Over all elements. The mean is sum(w * loss) / sum(w), where w is the weight of each element.
)";

constexpr char loss_and_dpred[] = R"(loss : float, or ndarray
    The mean or sum, computed in double; for "none" the loss of each element, of `pred`'s shape and dtype. The mean of
    no elements, or of weights that are all 0, is NaN, and its gradient 0.
dpred : ndarray
    Gradient of the mean, for "sum" and "none" of the sum: of `pred`'s shape and dtype.
)";

constexpr char type_error_with_target[] = R"(TypeError
    A dtype that is not one of the four, a target that is not real, an argument of the wrong type.
)";

constexpr auto softmax_cross_entropy = join(
    R"(softmax_cross_entropy(logits, labels, *, axis=-1, label_smoothing=0.0, class_weight=None, sample_weight=None, ignore_index=None, reduction="mean")
--

Cross entropy of the softmax of each row with its target, and its gradient.

With K classes, p = softmax(row), q the given probabilities or 1 at the label and 0 elsewhere, and w the weight of the
row's sample:

    t       = w * class_weight * ((1 - label_smoothing) * q + label_smoothing / K)
    loss    = -sum of t * log(p)
    dlogits = p * sum(t) - t

Parameters
----------
logits : array_like
    Any shape with K >= 1 classes along `axis`, such as (N, K), or (N, K, H, W) with axis=1: float32, float64, float16
    or bfloat16.
labels : array_like
    Class ids of the shape of `logits` without `axis`, integers of any width from 0 to K - 1, or bools; or probabilities
    of `logits`' shape and any real dtype, including one-hot rows of integers or bools. They are not normalized and need
    not add up to 1. Axes of length 1 do not count: ids of shape (N,) may be (N, 1).
axis : int, default -1
    The axis of the classes. A "row" is what lies along it.
label_smoothing : float, default 0.0
    From 0 to 1: the part of the target that is spread evenly over the classes.
class_weight : array_like, optional
    Factors of the classes, finite and >= 0, of any real dtype: shape (K,). Ones if not given.
sample_weight : array_like, optional
    Factors of the losses, finite and >= 0, of any real dtype: one for each index of the first axis of the losses,
    shape (N,), or one for each loss. A row of weight 0 has loss 0 and gradient 0, whatever its logits. Ones if not given.
ignore_index : int, optional
    Rows with this label have loss 0 and gradient 0, whatever their logits. It may lie outside 0 to K - 1. Not with
    probabilities.
reduction : {"mean", "sum", "none"}, default "mean"
    The mean of class ids divides by the sum of the weights of the rows, which are those of their classes times those of
    their samples, without the ignored rows. The mean of probabilities divides by the sum of the weights of the samples.

Returns
-------
loss : float, or ndarray
    The mean or sum; for "none" the losses of the rows, of `logits`' shape without `axis`, and dtype. The mean of no rows
    at all, or of weights that are all 0, is NaN, and its gradient 0.
dlogits : ndarray
    Gradient of the mean, for "sum" and "none" of the sum: of `logits`' shape and dtype.

Raises
------
TypeError
    Logits of a dtype that is not one of the four, labels that are not real, an argument of the wrong type.
ValueError
    A shape that does not fit, a label, weight or `label_smoothing` out of range, an unknown `reduction`.
numpy.exceptions.AxisError
    An axis that `logits` does not have.

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
)",
    examples,
    R"(>>> tt.softmax_cross_entropy([[1000.0, 0.0]], labels=[1])
SoftmaxCrossEntropyResult(loss=1000.0, dlogits=array([[ 1., -1.]]))
)");

constexpr auto mse = join(
    R"(mse(pred, target, *, sample_weight=None, reduction="mean")
--

Squared error, and its gradient.

    loss  = (pred - target)^2
    dpred = 2 * (pred - target)

Parameters
----------
)",
    pred, target, weight_of_samples, reduction_of_elements,
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
    A target or weights of another shape, a weight out of range, an unknown `reduction`.
)",
    examples,
    R"(>>> tt.mse([1.0, 3.0], target=[1.0, 1.0])
RegressionLossResult(loss=2.0, dpred=array([0., 2.]))
)");

constexpr auto mae = join(
    R"(mae(pred, target, *, sample_weight=None, reduction="mean")
--

Absolute error, and its gradient.

    loss  = |pred - target|
    dpred = sign(pred - target), which is 0 where they are equal

Parameters
----------
)",
    pred, target, weight_of_samples, reduction_of_elements,
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
    A target or weights of another shape, a weight out of range, an unknown `reduction`.
)",
    examples,
    R"(>>> tt.mae([1.0, 3.0], target=[1.0, 1.0])
RegressionLossResult(loss=1.0, dpred=array([0. , 0.5]))
)");

constexpr auto binary_cross_entropy = join(
    R"(binary_cross_entropy(logits, labels, *, label_smoothing=0.0, pos_weight=None, sample_weight=None, reduction="mean")
--

Cross entropy of the sigmoid of each logit with its label, and its gradient.

For two classes with one logit, or many labels of which any number may hold. With p = sigmoid(logit):

    y       = (1 - label_smoothing) * label + label_smoothing / 2
    loss    = -pos_weight * y * log(p) - (1 - y) * log(1 - p)
    dlogits = (1 - y) * p - pos_weight * y * (1 - p)

Parameters
----------
logits : array_like
    float32, float64, float16 or bfloat16; any shape, such as (N,) or (N, K) for K labels.
labels : array_like
    0 and 1, or probabilities between; of any real dtype or bool, and of `logits`' shape, where axes of length 1 do not
    count.
label_smoothing : float, default 0.0
    From 0 to 1: the part of the label that is spread evenly over both classes.
pos_weight : float or array_like, optional
    Factor of the losses of positive labels, finite and >= 0: one number, or one for each label, shape (K,). 1 if not
    given.
)",
    weight_of_samples, reduction_of_elements,
    R"(
Returns
-------
loss : float, or ndarray
    The mean or sum, computed in double; for "none" the loss of each element, of `logits`' shape and dtype. The mean of
    no elements, or of weights that are all 0, is NaN, and its gradient 0.
dlogits : ndarray
    Gradient of the mean, for "sum" and "none" of the sum: of `logits`' shape and dtype.

Raises
------
TypeError
    Logits of a dtype that is not one of the four, labels that are not real, an argument of the wrong type.
ValueError
    Labels or weights of another shape or out of range, an unknown `reduction`.

Notes
-----
Computed in double for all dtypes, without logarithms of p: logits of any size are safe, and small losses and gradients
keep their digits.

References
----------
Cox, D. R. (1958). The Regression Analysis of Binary Sequences. Journal of the Royal Statistical Society B.
)",
    examples,
    R"(>>> tt.binary_cross_entropy([1000.0, 0.0], labels=[0, 1]).dlogits
array([ 0.5 , -0.25])
)");

constexpr auto huber = join(
    R"(huber(pred, target, *, delta=1.0, sample_weight=None, reduction="mean")
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
    weight_of_samples, reduction_of_elements,
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
    A target or weights of another shape, `delta` or a weight out of range, an unknown `reduction`.

References
----------
Huber, P. J. (1964). Robust Estimation of a Location Parameter. Annals of Mathematical Statistics.
)",
    examples,
    R"(>>> tt.huber([3.0, 0.5], target=[0.0, 0.0])
RegressionLossResult(loss=1.3125, dpred=array([0.5 , 0.25]))
)");
}  // namespace trimtab::docs
