#include "parameter.h"

#include <cmath>

#include "dispatch.h"
#include "overlap.h"

namespace trimtab {

Parameter::Parameter(const Argument& argument, Real given, const Array& x, const Shape& shape, DType working,
                     double fallback, bool used)
    : x_(x), given_(std::move(given)), data_(nullptr) {
    const Array& values = given_.values;
    if (values) {
        require_values(argument, values.get(), shape);
        if (values.dtype() == working) {
            data_ = values.data();
            return;
        }
    }
    if (!used) return;
    npy_intp count = 1, bytes;
    for (const npy_intp extent : shape) count *= extent;
    if (__builtin_mul_overflow(count, working == DType::float64 ? 8 : 4, &bytes)) throw std::bad_alloc();
    converted_ = Scratch<char>(bytes);
    data_ = converted_;
    const Released released(0.3 * double(count));
    if (!values)
        kernels->convert->fill[int(working)](converted_, fallback, count);
    else
        kernels->convert->widen[int(values.dtype())][working == DType::float64](values.data(), converted_, count);
}

Gradient::Gradient(const Parameter& parameter, const Shape& shape) {
    const Real& given = parameter.given_;
    const bool floating = given && given.floating();
    descr_ = floating ? given.given.descr() : parameter.x_.descr();
    const Array& like = floating ? given.values : parameter.x_;
    result_ = empty_like(like, given ? given.values.shape() : shape);
    if (like.dtype() != DType::float64) wide_ = Scratch<double>(result_.size());
    sums_ = wide_ ? wide_ : result_.doubles();
}

Ref Gradient::finish() {
    if (wide_) {
        const Released released(0.5 * double(result_.size()));
        kernels->convert->narrow[int(result_.dtype())](wide_, result_.data(), result_.size());
    }
    if (result_.type_number() == descr_->type_num) return result_.release();
    return Ref::checked(PyArray_Cast(result_.get(), descr_->type_num));  // a long double
}

Running::Running(const Argument& argument, npy_intp channels) : argument_(argument) {
    if (!argument.given()) return;
    require_ndarray(argument);
    values_ = read(argument);
    require_values(argument, values_.get(), {channels});
    require_writeable(argument);
    target_ = hold(argument, argument.value());
    wide_ = Scratch<double>(channels);
    narrow_ = empty_like(values_);
}

void Running::require_disjoint(const Argument& other) const {
    if (given() && other.given() && overlap(target_.get(), as_array(other.value())))
        other.fail(PyExc_ValueError, std::string("not overlap ") + argument_.name(), "overlapping arrays");
}

void Running::widen(double* to) const {
    kernels->convert->widen[int(values_.dtype())][true](values_.data(), to, values_.size());
}

void Running::update(const double* batch, double momentum, double factor) {
    const npy_intp channels = values_.size();
    double* const v = wide_;
    widen(v);
    // A factor of 0 leaves out its term, even an infinite one.
    for (npy_intp c = 0; c < channels; ++c) {
        const double scaled = factor * batch[c];
        const double added = std::isinf(scaled) ? momentum * batch[c] * factor : momentum * scaled;
        v[c] = momentum == 0 ? v[c] : momentum == 1 ? scaled : (1 - momentum) * v[c] + added;
    }
    kernels->convert->narrow[int(narrow_.dtype())](v, narrow_.data(), channels);
    if (PyArray_CopyInto(target_.get(), narrow_.get()) < 0) throw Raised();
}
}  // namespace trimtab
