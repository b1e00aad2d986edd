// From NumPy objects to checked views and back: dtypes, contiguity, out=, results.
#pragma once
#include "function.h"
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL trimtab_array_api
#ifndef TRIMTAB_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#include <initializer_list>

#include "gil.h"
#include "kernels.h"
#include "memory.h"

namespace trimtab {

void import_numpy();  // and what stands below

extern PyArray_Descr *float32_descr, *float64_descr, *uint8_descr;

using Shape = std::vector<npy_intp>;
std::string text(const Shape& shape);
std::string dtype_text(PyArray_Descr* descr);  // "dtype float32"

// A native, aligned, C-contiguous array of one of the four dtypes.
class Array {
public:
    Array() = default;
    Array(Ref object, DType dtype) : object_(std::move(object)), dtype_(dtype) {}
    PyArrayObject* get() const { return reinterpret_cast<PyArrayObject*>(object_.get()); }
    DType dtype() const { return dtype_; }
    PyArray_Descr* descr() const { return PyArray_DESCR(get()); }
    int ndim() const { return PyArray_NDIM(get()); }
    const npy_intp* dims() const { return PyArray_DIMS(get()); }
    npy_intp itemsize() const { return PyArray_ITEMSIZE(get()); }
    npy_intp size() const { return PyArray_SIZE(get()); }
    void* data() const { return PyArray_DATA(get()); }
    double* doubles() const { return static_cast<double*>(data()); }
    Shape shape() const { return Shape(dims(), dims() + ndim()); }
    PyObject* release() { return object_.release(); }
    explicit operator bool() const { return bool(object_); }

private:
    Ref object_;
    DType dtype_ = DType::float32;
};

// The argument as an Array: the caller's own memory where it is one, else a copy. Takes ndarrays, whatever has __dlpack__
// on the CPU, and array-likes.
Array read(const Argument& argument);
// The same, of the dtype and shape of another argument's.
Array read_like(const Argument& argument, const Array& other);
// Integers of any width as int64; empty where the argument has a floating dtype. All else breaks the rule.
Array read_integers(const Argument& argument, const char* rule);
// float64, of the given shape: statistics saved by a forward function.
Array read_statistic(const Argument& argument, const Shape& shape);

// The argument itself, never a copy: memory that is updated in place, or will be.
Array read_in_place(const Argument& argument, bool written);
void require_dtype(const Argument& argument, const Array& array, DType dtype);
void require_shape_of(const Argument& argument, const Array& array, const Array& other);

// A new array; a large one in recycled memory.
Array empty(const Shape& shape, PyArray_Descr* descr, DType dtype);
Array empty_doubles(const Shape& shape);

// gamma, beta and per-channel constants: of x's dtype or wider, given to the kernels in a working type.
class Parameter {
public:
    // `working`: float32 or float64. Where the argument is not given every element is `otherwise`. Not `used`: checked, but
    // not read, as where x is empty, which may have as many channels as it likes.
    Parameter(const Argument& argument, const Array& x, const Shape& shape, DType working, double otherwise,
              bool used = true);
    const void* data() const { return data_; }
    const double* doubles() const { return static_cast<const double*>(data_); }
    const Array& array() const { return given_; }  // empty where not given
    PyArray_Descr* descr() const { return given_ ? given_.descr() : x_.descr(); }
    DType dtype() const { return given_ ? given_.dtype() : x_.dtype(); }

private:
    const Array& x_;
    Array given_;
    Scratch<char> widened_;
    const void* data_;
};
inline DType working_type(const Array& x) { return x.dtype() == DType::float64 ? DType::float64 : DType::float32; }

// The gradient of a parameter: sums for a kernel to fill, then an array of the parameter's dtype.
class Gradient {
public:
    Gradient(const Parameter& parameter, const Shape& shape);
    double* sums() const { return sums_; }
    PyObject* finish();

private:
    Array result_;
    Scratch<double> wide_;
    double* sums_;
};

// Running statistics: float arrays of the caller's, updated in place in their own dtype.
class Running {
public:
    Running(const Argument& argument, npy_intp channels);
    bool given() const { return bool(target_); }
    bool overlaps(const Running& other) const;
    void widen(double* to) const;
    // running = (1 - momentum) * running + momentum * factor * batch
    void update(const double* batch, double momentum, double factor);

private:
    Ref target_;
    Array values_;
    // Of the update, and had before anything is written: what fails for want of memory has changed nothing.
    Scratch<double> wide_;
    Array narrow_;
};

// y or dx: fresh, or the caller's `out`. Kernels write to data(), which is contiguous and either is an input's memory
// exactly or overlaps none; finish() gives the array to return.
class Output {
public:
    // `axes`: the order in which the kernel sees x's axes; empty: as they are.
    Output(const Argument& out, const Array& x, std::initializer_list<const Array*> inputs,
           const std::vector<int>& axes = {});
    void* data() const { return work_.data(); }
    PyObject* finish();

private:
    Ref target_;
    Array work_;
    std::vector<int> axes_;
};

// x with its axes in another order, contiguous.
Array reordered(const Array& x, const std::vector<int>& axes);
}  // namespace trimtab
