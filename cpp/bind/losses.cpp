#include "docs/losses.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "bind.h"

namespace trimtab {
namespace {

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

// The mean or sum; or the loss of each row or element, in the dtype of the results.
Ref value_of(Reduction reduction, double loss, Array& losses, const Array& results) {
    if (reduction != Reduction::none) return Ref::checked(PyFloat_FromDouble(loss));
    if (results.dtype() == DType::float64) return losses.release();
    Array narrowed = empty_like(results, losses.shape());
    {
        const Released released(0.5 * double(losses.size()));
        kernels->convert->narrow[int(results.dtype())](losses.doubles(), narrowed.data(), losses.size());
    }
    return narrowed.release();
}

// ---- labels ----

// Integers of any width and signedness.
class ClassIds {
public:
    explicit ClassIds(const AnyArray& integers)
        : is_unsigned_(integers.type_number() == NPY_UINT64 || integers.type_number() == NPY_ULONGLONG),
          array_(Ref::checked(PyArray_FROM_OTF(reinterpret_cast<PyObject*>(integers.get()), NPY_INT64,
                                               NPY_ARRAY_CARRAY_RO | NPY_ARRAY_ENSUREARRAY | NPY_ARRAY_FORCECAST))) {}
    npy_intp size() const { return array_.size(); }
    bool is_negative(npy_intp i) const { return !is_unsigned_ && bits(i) < 0; }
    int64_t bits(npy_intp i) const { return static_cast<const int64_t*>(array_.data())[i]; }
    std::string text(npy_intp i) const {
        return is_unsigned_ ? std::to_string(uint64_t(bits(i))) : std::to_string(bits(i));
    }

private:
    bool is_unsigned_;
    AnyArray array_;
};

// `ignore_index`: any integer; one that does not fit 64 bits equals no label.
class Ignored {
public:
    explicit Ignored(const Argument& argument) {
        constexpr const char* rule = "be None or an int";
        if (!argument.given()) return;
        if (PyBool_Check(argument.value()) || !PyIndex_Check(argument.value())) argument.type_error(rule);
        const Ref number(PyNumber_Index(argument.value()));
        if (!number) argument.raised(rule);
        text_ = ", or " + repr(number.get());
        int overflow;
        bits_ = PyLong_AsLongLongAndOverflow(number.get(), &overflow);
        negative_ = bits_ < 0;
        fits_ = overflow == 0;
        if (overflow <= 0) return;
        bits_ = int64_t(PyLong_AsUnsignedLongLong(number.get()));
        negative_ = false;
        fits_ = !PyErr_Occurred();
        PyErr_Clear();
    }
    bool is(const ClassIds& ids, npy_intp i) const {
        return fits_ && ids.bits(i) == bits_ && ids.is_negative(i) == negative_;
    }
    const std::string& text() const { return text_; }

private:
    int64_t bits_ = 0;
    bool fits_ = false, negative_ = false;
    std::string text_;
};

constexpr int64_t no_label = -1;  // 0 .. K - 1 are labels

// A copy, which no other thread can change after the check. Ignored labels become `no_label`.
Scratch<int64_t> checked_labels(const Argument& argument, const ClassIds& ids, npy_intp classes,
                                const Ignored& ignored) {
    Scratch<int64_t> labels(ids.size());
    for (npy_intp i = 0; i < ids.size(); ++i) {
        const bool is_ignored = ignored.is(ids, i);
        labels[i] = is_ignored ? no_label : ids.bits(i);
        if (!is_ignored && (labels[i] < 0 || labels[i] >= classes))
            argument.fail(PyExc_ValueError, "be between 0 and " + std::to_string(classes - 1) + ignored.text(),
                          ids.text(i));
    }
    return labels;
}

// Class ids, rather than probabilities: floating-point, or one-hot of any real dtype.
bool are_class_ids(const Argument& labels, const AnyArray& given, const Array& logits) {
    const int type = given.type_number();
    DType dtype;
    if (find_dtype(given.descr(), dtype) || type == NPY_LONGDOUBLE) return false;
    if (!PyTypeNum_ISINTEGER(type) && !PyTypeNum_ISBOOL(type))
        labels.fail(PyExc_TypeError, "be integers, or probabilities of a real dtype", dtype_text(given.descr()));
    const Shape rows{logits.dims()[0]};
    if (holds_shape(given.get(), rows)) return true;
    if (!holds_shape(given.get(), logits.shape()))
        labels.fail(PyExc_ValueError,
                    "have shape " + text(rows) + ", or " + text(logits.shape()) + " where they are probabilities",
                    text(given.shape()));
    return false;
}

Ref softmax_cross_entropy(const Arguments<docs::softmax_cross_entropy>& in) {
    const Argument labels = in["labels"], ignore_index = in["ignore_index"];
    const Array logits = read(in["logits"]);
    if (logits.ndim() != 2 || logits.dims()[1] == 0)
        in["logits"].fail(PyExc_ValueError, "have shape (N, K) with K >= 1", text(logits.shape()));
    const npy_intp rows = logits.dims()[0], classes = logits.dims()[1];
    const AnyArray given = read_any(labels, "be integers, or probabilities of a real dtype");
    const bool by_id = are_class_ids(labels, given, logits);
    std::optional<Parameter> probabilities;
    if (!by_id)
        probabilities.emplace(labels, as_real(labels, given.share()), logits, logits.shape(), working_type(logits));
    const double label_smoothing = in["label_smoothing"].between(0, 1, 0);
    const Parameter weight(in["class_weight"], logits, {classes}, working_type(logits), 1);
    if (ignore_index.given() && !by_id) ignore_index.value_error("be None where labels are probabilities");
    const Ignored ignored(ignore_index);
    const Scratch<int64_t> ids = by_id ? checked_labels(labels, ClassIds(given), classes, ignored) : Scratch<int64_t>();
    const Reduction reduction = read_reduction(in["reduction"]);
    Array dlogits = empty_like(logits), losses = empty_doubles({rows});
    double loss;
    {
        const Released released;
        kernels->losses->softmax_cross_entropy[int(logits.dtype())](
            {.logits = logits.data(),
             .labels = by_id ? static_cast<int64_t*>(ids) : nullptr,
             .probabilities = by_id ? nullptr : probabilities->data(),
             .class_weight = weight.data(),
             .dlogits = dlogits.data(),
             .losses = losses.doubles(),
             .loss = &loss,
             .rows = rows,
             .classes = classes,
             .ignored = no_label,
             .label_smoothing = label_smoothing,
             .mean = reduction == Reduction::mean});
    }
    return cross_entropy_result(value_of(reduction, loss, losses, logits), dlogits.release());
}

// `scale` times Huber's loss, which is half the squared error where delta is infinite.
template <const auto& doc, class Delta>
Ref regression(const Arguments<doc>& in, double scale, const Delta& read_delta) {
    const Array pred = read(in["pred"]);
    if (!in["target"].given()) in["target"].type_error("be an array");
    const Parameter target(in["target"], pred, pred.shape(), working_type(pred), 0);
    const double delta = read_delta();
    const Reduction reduction = read_reduction(in["reduction"]);
    const double divisor = reduction == Reduction::mean ? double(pred.size()) : 1;
    Array dpred = empty_like(pred);
    Array losses = reduction == Reduction::none ? empty_doubles(pred.shape()) : Array();
    double loss;
    {
        const Released released;
        kernels->losses->huber[int(pred.dtype())]({.pred = pred.data(),
                                                   .target = target.data(),
                                                   .dpred = dpred.data(),
                                                   .losses = losses ? losses.doubles() : nullptr,
                                                   .loss = &loss,
                                                   .count = pred.size(),
                                                   .delta = delta,
                                                   .scale = scale,
                                                   .gradient_scale = scale / divisor,
                                                   .divisor = divisor});
    }
    return regression_result(value_of(reduction, loss, losses, pred), dpred.release());
}

Ref mse(const Arguments<docs::mse>& in) {
    return regression(in, 2, [] { return INFINITY; });
}
Ref huber(const Arguments<docs::huber>& in) {
    return regression(in, 1, [&] { return in["delta"].non_negative(1); });
}
}  // namespace

void bind_losses(PyObject* module) {
    cross_entropy_result.create(module);
    regression_result.create(module);
    add_functions(module, {method<softmax_cross_entropy>(), method<mse>(), method<huber>()});
}
}  // namespace trimtab
