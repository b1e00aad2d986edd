#include "docs/losses.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "bind.h"

namespace trimtab {
namespace {

ResultType cross_entropy_result("SoftmaxCrossEntropyResult", "loss dlogits");
ResultType binary_result("BinaryCrossEntropyResult", "loss dlogits");
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

// ---- weights ----

// Factors of samples, classes or columns: finite and >= 0.
class Weights {
public:
    // Has one of the shapes. Empty where the argument is not given.
    Weights(const Argument& argument, std::initializer_list<Shape> shapes) {
        if (!argument.given()) return;
        const Real given = read_real(argument);
        const bool fits = std::any_of(shapes.begin(), shapes.end(),
                                      [&](const Shape& shape) { return holds_shape(given.values.get(), shape); });
        if (!fits) {
            std::string allowed;
            for (const Shape& shape : shapes) allowed += (allowed.empty() ? "" : " or ") + text(shape);
            argument.fail(PyExc_ValueError, "have shape " + allowed, text(given.values.shape()));
        }
        count_ = given.values.size();
        values_ = Scratch<double>(count_);  // a copy, which no other thread can change after the check
        kernels->convert->widen[int(given.values.dtype())][true](given.values.data(), values_, count_);
        for (npy_intp i = 0; i < count_; ++i)
            if (!(values_[i] >= 0 && std::isfinite(values_[i]))) refuse(argument, i);
    }
    const double* data() const { return values_; }
    npy_intp count() const { return count_; }
    double sum() const { return std::accumulate(begin(), begin() + count_, 0.0); }
    // Divides by a power of two, so that neither sums nor float32 overflow; returns it.
    double normalize() {
        const double largest = count_ ? *std::max_element(begin(), begin() + count_) : 0;
        if (largest == 0) return 1;
        const int exponent = std::ilogb(largest);
        for (npy_intp i = 0; i < count_; ++i) values_[i] = std::ldexp(values_[i], -exponent);
        return std::ldexp(1, exponent);
    }

private:
    double* begin() const { return values_; }
    [[noreturn]] void refuse(const Argument& argument, npy_intp i) const {
        const Ref value = Ref::checked(PyFloat_FromDouble(values_[i]));
        argument.fail(PyExc_ValueError, "be finite and >= 0", repr(value.get()) + " at " + std::to_string(i));
    }
    Scratch<double> values_;
    npy_intp count_ = 0;
};

// Weights of samples, which the losses of a shape belong to: one for each index of its first axis, or for each loss.
class SampleWeights : public Weights {
public:
    SampleWeights(const Argument& argument, const Shape& losses)
        : Weights(argument, losses.empty() ? std::initializer_list<Shape>{losses}
                                           : std::initializer_list<Shape>{{losses[0]}, losses}),
          losses_(std::accumulate(losses.begin(), losses.end(), npy_intp(1), std::multiplies<>())) {}
    npy_intp losses_per_weight() const { return count() ? losses_ / count() : 1; }

private:
    npy_intp losses_;
};

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
    const npy_intp count = ids.size();
    Scratch<int64_t> labels(count);
    for (npy_intp i = 0; i < count; ++i) {
        const bool is_ignored = ignored.is(ids, i);
        labels[i] = is_ignored ? no_label : ids.bits(i);
        if (!is_ignored && (labels[i] < 0 || labels[i] >= classes))
            argument.fail(PyExc_ValueError, "be between 0 and " + std::to_string(classes - 1) + ignored.text(),
                          ids.text(i));
    }
    return labels;
}

// Class ids, rather than probabilities: floating-point, or one-hot of any real dtype.
bool are_class_ids(const Argument& labels, const AnyArray& given, const Array& logits, const Shape& rows) {
    const int type = given.type_number();
    DType dtype;
    if (find_dtype(given.descr(), dtype) || type == NPY_LONGDOUBLE) return false;
    if (!PyTypeNum_ISINTEGER(type) && !PyTypeNum_ISBOOL(type))
        labels.fail(PyExc_TypeError, "be integers, or probabilities of a real dtype", dtype_text(given.descr()));
    if (holds_shape(given.get(), rows)) return true;
    if (!holds_shape(given.get(), logits.shape()))
        labels.fail(PyExc_ValueError,
                    "have shape " + text(rows) + ", or " + text(logits.shape()) + " where they are probabilities",
                    text(given.shape()));
    return false;
}

Shape rows_shape(const RowLayout& layout) {
    Shape shape = layout.kept;
    shape.push_back(layout.width);
    return shape;
}

RowLayout class_layout(const Argument& axis, const Array& logits) {
    if (axis.value()) axis.integer("be an int");  // a tuple of axes is not
    return row_layout(axis, logits);
}

// Probabilities as rows of classes.
Real as_rows(const Argument& labels, Real probabilities, const Array& logits, const RowLayout& layout) {
    require_values(labels, probabilities.values.get(), logits.shape());
    if (layout.order.empty()) return probabilities;
    Shape shape = logits.shape();
    PyArray_Dims dims{shape.data(), int(shape.size())};
    const DType dtype = probabilities.values.dtype();
    const Array values(Ref::checked(PyArray_Newshape(probabilities.values.get(), &dims, NPY_CORDER)), dtype);
    return {reordered(values, layout.order), std::move(probabilities.given)};
}

Ref softmax_cross_entropy(const Arguments<docs::softmax_cross_entropy>& in) {
    const Argument labels = in["labels"], ignore_index = in["ignore_index"];
    const Array logits = read(in["logits"]);
    const RowLayout layout = class_layout(in["axis"], logits);
    if (layout.width == 0) in["logits"].fail(PyExc_ValueError, "have at least one class", text(logits.shape()));
    const AnyArray given = read_any(labels, "be integers, or probabilities of a real dtype");
    const bool by_id = are_class_ids(labels, given, logits, layout.kept);
    std::optional<Parameter> probabilities;
    if (!by_id)
        probabilities.emplace(labels, as_rows(labels, as_real(labels, given.share()), logits, layout), logits,
                              rows_shape(layout), working_type(logits));
    const double label_smoothing = in["label_smoothing"].between(0, 1, 0);
    Weights class_weight(in["class_weight"], {{layout.width}});
    SampleWeights sample_weight(in["sample_weight"], layout.kept);
    if (ignore_index.given() && !by_id) ignore_index.value_error("be None where labels are probabilities");
    const Ignored ignored(ignore_index);
    const Scratch<int64_t> ids =
        by_id ? checked_labels(labels, ClassIds(given), layout.width, ignored) : Scratch<int64_t>();
    const Reduction reduction = read_reduction(in["reduction"]);
    const bool mean = reduction == Reduction::mean;
    const double unit = class_weight.normalize();
    if (mean) sample_weight.normalize();
    const Rows source(logits, layout);
    Output dlogits(Argument(), logits, {}, {}, layout.order);
    Array losses = empty_doubles(layout.kept);
    double loss;
    {
        const Released released;
        kernels->losses->softmax_cross_entropy[int(logits.dtype())](
            {.logits = source.data(),
             .labels = by_id ? static_cast<int64_t*>(ids) : nullptr,
             .probabilities = by_id ? nullptr : probabilities->data(),
             .class_weight = class_weight.data(),
             .sample_weight = sample_weight.data(),
             .dlogits = dlogits.data(),
             .losses = losses.doubles(),
             .loss = &loss,
             .rows = layout.rows,
             .classes = layout.width,
             .rows_per_sample = sample_weight.losses_per_weight(),
             .ignored = no_label,
             .label_smoothing = label_smoothing,
             .scale = mean && by_id ? 1 : unit,
             .mean = mean});
    }
    return cross_entropy_result(value_of(reduction, loss, losses, logits), dlogits.finish());
}

// ---- losses of elements ----

// The arguments that these losses share, and their results.
template <const auto& doc>
class Elements {
public:
    Elements(const Arguments<doc>& in, const Argument& pred, const Argument& target, double scale)
        : pred_(read(pred)),
          target_(required(target), pred_, pred_.shape(), working_type(pred_), 0),
          sample_weight_(in["sample_weight"], pred_.shape()),
          reduction_(read_reduction(in["reduction"])),
          scale_(scale) {}
    const Array& pred() const { return pred_; }
    const Parameter& target() const { return target_; }

    // Calls a kernel with the arguments that are shared.
    template <class Call>
    Ref result(const ResultType& type, const Call& call) {
        double divisor = 1;
        if (reduction_ == Reduction::mean) {
            sample_weight_.normalize();
            divisor = sample_weight_.data() ? sample_weight_.sum() * double(sample_weight_.losses_per_weight())
                                            : double(pred_.size());
        }
        Array dpred = empty_like(pred_);
        Array losses = reduction_ == Reduction::none ? empty_doubles(pred_.shape()) : Array();
        double loss;
        {
            const Released released;
            call(int(pred_.dtype()), ElementwiseLoss{.pred = pred_.data(),
                                                     .target = target_.data(),
                                                     .sample_weight = sample_weight_.data(),
                                                     .dpred = dpred.data(),
                                                     .losses = losses ? losses.doubles() : nullptr,
                                                     .loss = &loss,
                                                     .count = pred_.size(),
                                                     .inner = sample_weight_.losses_per_weight(),
                                                     .scale = scale_,
                                                     .divisor = divisor});
        }
        return type(value_of(reduction_, loss, losses, pred_), dpred.release());
    }

private:
    static const Argument& required(const Argument& argument) {
        if (!argument.given()) argument.type_error("be an array");
        return argument;
    }
    const Array pred_;
    const Parameter target_;
    SampleWeights sample_weight_;
    const Reduction reduction_;
    const double scale_;
};

// Half the squared error is Huber's loss where delta is infinite.
Ref mse(const Arguments<docs::mse>& in) {
    return Elements(in, in["pred"], in["target"], 2)
        .result(regression_result, [](int dtype, const ElementwiseLoss& loss) {
        kernels->losses->huber[dtype]({.loss = loss, .delta = INFINITY});
    });
}
Ref huber(const Arguments<docs::huber>& in) {
    Elements elements(in, in["pred"], in["target"], 1);
    const double delta = in["delta"].non_negative(1);
    return elements.result(regression_result, [=](int dtype, const ElementwiseLoss& loss) {
        kernels->losses->huber[dtype]({.loss = loss, .delta = delta});
    });
}
Ref mae(const Arguments<docs::mae>& in) {
    return Elements(in, in["pred"], in["target"], 1)
        .result(regression_result, [](int dtype, const ElementwiseLoss& loss) { kernels->losses->mae[dtype](loss); });
}

void require_between_0_and_1(const Argument& argument, const Parameter& labels, const Array& logits) {
    const auto check = [&, count = logits.size()](const auto* values) {
        const auto is_outside = [](auto value) { return value < 0 || value > 1; };  // NaN is not
        const auto outside = std::find_if(values, values + count, is_outside);
        if (outside == values + count) return;
        const Ref value = Ref::checked(PyFloat_FromDouble(double(*outside)));
        argument.fail(PyExc_ValueError, "be between 0 and 1", repr(value.get()));
    };
    if (working_type(logits) == DType::float64)
        check(labels.doubles());
    else
        check(static_cast<const float*>(labels.data()));
}

Ref binary_cross_entropy(const Arguments<docs::binary_cross_entropy>& in) {
    Elements elements(in, in["logits"], in["labels"], 1);
    const Array& logits = elements.pred();
    require_between_0_and_1(in["labels"], elements.target(), logits);
    const double label_smoothing = in["label_smoothing"].between(0, 1, 0);
    const Shape shape = logits.shape(), columns = shape.empty() ? Shape{1} : Shape{shape.back()};
    const Weights pos_weight(in["pos_weight"], {columns, {}});
    return elements.result(binary_result, [&](int dtype, const ElementwiseLoss& loss) {
        kernels->losses->binary_cross_entropy[dtype]({.loss = loss,
                                                      .pos_weight = pos_weight.data(),
                                                      .columns = std::max(pos_weight.count(), npy_intp(1)),
                                                      .label_smoothing = label_smoothing});
    });
}
}  // namespace

void bind_losses(PyObject* module) {
    cross_entropy_result.create(module);
    binary_result.create(module);
    regression_result.create(module);
    add_functions(module, {method<softmax_cross_entropy>(), method<binary_cross_entropy>(), method<mse>(),
                           method<mae>(), method<huber>()});
}
}  // namespace trimtab
