#include <algorithm>
#include <cmath>
#include <optional>

#include "bind.h"

namespace trimtab {
namespace {

const Signature softmax_cross_entropy_signature(
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
    Class ids, shape (N,), integers of any width from 0 to K - 1; or probabilities, shape (N, K), of `logits`' dtype or
    wider. Probabilities are taken as they are: they need not add up to 1.
label_smoothing : float, default 0.0
    From 0 to 1: the share of the target that is spread evenly over the classes.
class_weight : array_like, optional
    Shape (K,), of `logits`' dtype or wider; ones where not given.
ignore_index : int, optional
    Rows with this label have loss 0 and gradient 0, whatever their logits. It may lie outside 0 to K - 1. Not with
    probabilities.
reduction : {"mean", "sum", "none"}, default "mean"
    The mean of class ids weighs each row by the weight of its class: it divides by the sum of those weights, without the
    ignored rows. The mean of probabilities divides by N.

Returns
-------
loss : float, or ndarray of float64
    The mean or sum; for "none" the losses of the rows, shape (N,). The mean of no rows at all is NaN.
dlogits : ndarray
    Gradient of the mean, for "sum" and "none" of the sum: of `logits`' shape and dtype.

Raises
------
TypeError
    A dtype that is not one of the four, labels that are neither integers nor floating, a weight narrower than `logits`,
    an argument that is not of the right kind.
ValueError
    A shape that does not fit, a label or `label_smoothing` out of range, an unknown `reduction`.

Notes
-----
Rows are shifted by their largest logit and the losses are summed in double, so logits of any size are safe. -inf is a
class that is left out: it has probability 0, and infinite loss where it is the target. NaN and infinity stay in their
row.

References
----------
Bridle, J. S. (1990). Probabilistic Interpretation of Feedforward Classification Network Outputs. Neurocomputing.
Szegedy, C., Vanhoucke, V., Ioffe, S., Shlens, J., and Wojna, Z. (2016). Rethinking the Inception Architecture for
Computer Vision. CVPR.
)");

const Signature mse_signature(
    R"(mse(pred, target, *, reduction="mean")
--

Squared error, and its gradient.

    loss  = (pred - target)^2
    dpred = 2 * (pred - target)

Parameters
----------
pred : array_like
    float32, float64, float16 or bfloat16; any shape.
target : array_like
    Of `pred`'s shape, and of its dtype or wider.
reduction : {"mean", "sum", "none"}, default "mean"
    Over all elements.

Returns
-------
loss : float, or ndarray of float64
    The mean or sum, taken in double; for "none" the loss of each element, of `pred`'s shape. The mean of no elements is
    NaN.
dpred : ndarray
    Gradient of the mean, for "sum" and "none" of the sum: of `pred`'s shape and dtype.

Raises
------
TypeError
    A dtype that is not one of the four, a target narrower than `pred`, an argument that is not of the right kind.
ValueError
    A target of another shape, an unknown `reduction`.
)");

const Signature huber_signature(
    R"(huber(pred, target, *, delta=1.0, reduction="mean")
--

Huber's loss, and its gradient: squared near the target, straight beyond `delta`, so that outliers pull no harder.

With d = pred - target:

    loss  = d^2 / 2                       where |d| <= delta
            delta * (|d| - delta / 2)     elsewhere
    dpred = d, bounded to -delta .. delta

Parameters
----------
pred : array_like
    float32, float64, float16 or bfloat16; any shape.
target : array_like
    Of `pred`'s shape, and of its dtype or wider.
delta : float, default 1.0
    Finite and >= 0.
reduction : {"mean", "sum", "none"}, default "mean"
    Over all elements.

Returns
-------
loss : float, or ndarray of float64
    The mean or sum, taken in double; for "none" the loss of each element, of `pred`'s shape. The mean of no elements is
    NaN.
dpred : ndarray
    Gradient of the mean, for "sum" and "none" of the sum: of `pred`'s shape and dtype.

Raises
------
TypeError
    A dtype that is not one of the four, a target narrower than `pred`, an argument that is not of the right kind.
ValueError
    A target of another shape, `delta` out of range, an unknown `reduction`.

References
----------
Huber, P. J. (1964). Robust Estimation of a Location Parameter. Annals of Mathematical Statistics.
)");

ResultType cross_entropy_result("SoftmaxCrossEntropyResult", "loss dlogits");
ResultType regression_result("RegressionLossResult", "loss dpred");

enum class Reduction { mean, sum, none };

Reduction read_reduction(const Argument& argument) {
    if (!argument.value()) return Reduction::mean;
    if (PyUnicode_Check(argument.value())) {
        const auto is = [&](const char* name) { return PyUnicode_CompareWithASCIIString(argument.value(), name) == 0; };
        if (is("mean")) return Reduction::mean;
        if (is("sum")) return Reduction::sum;
        if (is("none")) return Reduction::none;
    }
    argument.value_error("be 'mean', 'sum' or 'none'");
}

// The value of the loss, or those it is made of.
PyObject* value_of(Reduction reduction, double loss, Array& losses) {
    return reduction == Reduction::none ? losses.release() : PyFloat_FromDouble(loss);
}

constexpr int64_t no_label = INT64_MIN;  // 0 .. K - 1 are labels

// A copy, so that no other thread can change what has been checked.
Scratch<int64_t> checked_labels(const Argument& argument, const Array& given, npy_intp classes, int64_t ignored) {
    const npy_intp rows = given.size();
    Scratch<int64_t> labels(rows);
    std::copy_n(static_cast<const int64_t*>(given.data()), rows, static_cast<int64_t*>(labels));
    for (npy_intp row = 0; row < rows; ++row)
        if (labels[row] != ignored && (labels[row] < 0 || labels[row] >= classes))
            argument.fail(PyExc_ValueError,
                          "be between 0 and " + std::to_string(classes - 1) +
                              (ignored == no_label ? "" : ", or " + std::to_string(ignored)),
                          std::to_string(labels[row]));
    return labels;
}

PyObject* softmax_cross_entropy(const Arguments& in) {
    const Argument labels = in[1], ignore_index = in[4];
    const Array logits = read(in[0]);
    if (logits.ndim() != 2 || logits.dims()[1] == 0)
        in[0].fail(PyExc_ValueError, "have shape (N, K) with K >= 1", text(logits.shape()));
    const npy_intp rows = logits.dims()[0], classes = logits.dims()[1];
    const Array given = read_integers(labels, "be integers, or probabilities of a floating dtype");
    if (given && given.shape() != Shape{rows})
        labels.fail(PyExc_ValueError, "have shape " + text({rows}), text(given.shape()));
    std::optional<Parameter> probabilities;
    if (!given) probabilities.emplace(labels, logits, logits.shape(), working_type(logits), 0);
    const double label_smoothing = in[2].between(0, 1, 0);
    const Parameter weight(in[3], logits, {classes}, working_type(logits), 1);
    if (ignore_index.given() && !given) ignore_index.value_error("be None where labels are probabilities");
    const int64_t ignored = ignore_index.given() ? ignore_index.integer("be None or an int") : no_label;
    const Scratch<int64_t> ids = given ? checked_labels(labels, given, classes, ignored) : Scratch<int64_t>();
    const Reduction reduction = read_reduction(in[5]);
    Array dlogits = empty(logits.shape(), logits.descr(), logits.dtype()), losses = empty_doubles({rows});
    double loss;
    {
        const Released released;
        kernels->losses->softmax_cross_entropy[int(logits.dtype())](
            {.logits = logits.data(),
             .labels = given ? static_cast<int64_t*>(ids) : nullptr,
             .probabilities = given ? nullptr : probabilities->data(),
             .class_weight = weight.data(),
             .dlogits = dlogits.data(),
             .losses = losses.doubles(),
             .loss = &loss,
             .rows = rows,
             .classes = classes,
             .ignored = ignored,
             .label_smoothing = label_smoothing,
             .mean = reduction == Reduction::mean});
    }
    return cross_entropy_result({value_of(reduction, loss, losses), dlogits.release()});
}

// scale times Huber's loss; of infinite delta it is the squared error / 2.
template <class Delta>
PyObject* regression(const Arguments& in, double scale, const Delta& read_delta, const Argument& reduction_argument) {
    const Array pred = read(in[0]);
    if (!in[1].given()) in[1].type_error("be an array");
    const Parameter target(in[1], pred, pred.shape(), working_type(pred), 0);
    const double delta = read_delta();
    const Reduction reduction = read_reduction(reduction_argument);
    const double divisor = reduction == Reduction::mean ? double(pred.size()) : 1;
    Array dpred = empty(pred.shape(), pred.descr(), pred.dtype());
    Array losses = reduction == Reduction::none ? empty_doubles(pred.shape()) : Array();
    double sum;
    {
        const Released released;
        kernels->losses->huber[int(pred.dtype())]({.pred = pred.data(),
                                                   .target = target.data(),
                                                   .dpred = dpred.data(),
                                                   .losses = losses ? losses.doubles() : nullptr,
                                                   .loss = &sum,
                                                   .count = pred.size(),
                                                   .delta = delta,
                                                   .scale = scale,
                                                   .gradient_scale = scale / divisor});
    }
    return regression_result({value_of(reduction, sum / divisor, losses), dpred.release()});
}

PyObject* mse(const Arguments& in) {
    return regression(in, 2, [] { return INFINITY; }, in[2]);
}
PyObject* huber(const Arguments& in) {
    return regression(in, 1, [&] { return in[2].non_negative(1); }, in[3]);
}
}  // namespace

void bind_losses(PyObject* module) {
    cross_entropy_result.create(module);
    regression_result.create(module);
    add_functions(module, {method<softmax_cross_entropy_signature, softmax_cross_entropy>(),
                           method<mse_signature, mse>(), method<huber_signature, huber>()});
}
}  // namespace trimtab
