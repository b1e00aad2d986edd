// Parameters beside x (gamma, beta, targets, constants per channel), their gradients, and running statistics.
#pragma once
#include "read.h"

namespace trimtab {

// An array of any real dtype, converted to a working type of the kernels. It has the given shape but for axes of length 1.
class Parameter {
public:
    // `working`: float32 or float64. Where the argument is not given every element is `fallback`. Not `used`: checked, but
    // not converted, because an empty x may have any number of channels.
    Parameter(const Argument& argument, const Array& x, const Shape& shape, DType working, double fallback,
              bool used = true)
        : Parameter(argument, argument.given() ? read_real(argument) : Real(), x, shape, working, fallback, used) {}
    // The same of an argument that has been read.
    Parameter(const Argument& argument, Real given, const Array& x, const Shape& shape, DType working,
              double fallback = 0, bool used = true);
    const void* data() const { return data_; }
    const double* doubles() const { return static_cast<const double*>(data_); }
    const Array& array() const { return given_.values; }  // empty where not given

private:
    friend class Gradient;
    const Array& x_;
    Real given_;
    Scratch<char> converted_;
    const void* data_;
};
inline DType working_type(const Array& x) { return x.dtype() == DType::float64 ? DType::float64 : DType::float32; }

// The gradient of a parameter: sums that a kernel fills, then an array of the parameter's shape and dtype. Without a
// parameter it has the given shape and x's dtype; for an integer parameter it has x's dtype, too.
class Gradient {
public:
    Gradient(const Parameter& parameter, const Shape& shape);
    double* sums() const { return sums_; }
    Ref finish();

private:
    PyArray_Descr* descr_;  // borrowed
    Array result_;          // of descr_ where that is one of the four dtypes, else of float64
    Scratch<double> wide_;
    double* sums_;
};

// Running statistics: an array of the caller's, updated in place in its own dtype.
class Running {
public:
    Running(const Argument& argument, npy_intp channels);
    bool given() const { return bool(target_); }
    // Both are written, so they must not overlap.
    void require_disjoint(const Argument& other) const;
    void widen(double* to) const;
    // running = (1 - momentum) * running + momentum * factor * batch
    void update(const double* batch, double momentum, double factor);

private:
    Argument argument_;
    AnyArray target_;
    Array values_;
    // Memory for the update, allocated before anything is written: a call that runs out of memory changes nothing.
    Scratch<double> wide_;
    Array narrow_;
};
}  // namespace trimtab
