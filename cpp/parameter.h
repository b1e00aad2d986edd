// gamma, beta, targets and per-channel constants; their gradients; running averages of them.
#pragma once
#include "read.h"

namespace trimtab {

// An array beside x, of any real dtype and of the given shape but for axes of length 1, in a working type of the kernels.
class Parameter {
public:
    // `working`: float32 or float64. Where the argument is not given every element is `otherwise`. Not `used`: checked, but
    // not converted, as where x is empty, which may have as many channels as it likes.
    Parameter(const Argument& argument, const Array& x, const Shape& shape, DType working, double otherwise,
              bool used = true)
        : Parameter(argument, argument.given() ? read_real(argument) : Real(), x, shape, working, otherwise, used) {}
    // Of what has been read.
    Parameter(const Argument& argument, Real given, const Array& x, const Shape& shape, DType working,
              double otherwise = 0, bool used = true);
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

// The gradient of a parameter: sums for a kernel to fill, then an array of the parameter's shape and dtype. Where there is
// none it has the given shape and x's dtype, which is also that of a parameter of ints.
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

// Running statistics: float arrays of the caller's, updated in place in their own dtype.
class Running {
public:
    Running(const Argument& argument, npy_intp channels);
    bool given() const { return bool(target_); }
    // Both are written: neither could be right.
    void require_apart(const Argument& other) const;
    void widen(double* to) const;
    // running = (1 - momentum) * running + momentum * factor * batch
    void update(const double* batch, double momentum, double factor);

private:
    Argument argument_;
    AnyArray target_;
    Array values_;
    // Of the update, and had before anything is written: what fails for want of memory has changed nothing.
    Scratch<double> wide_;
    Array narrow_;
};
}  // namespace trimtab
