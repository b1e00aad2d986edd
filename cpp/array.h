// Arrays: their dtypes, shapes and memory.
#pragma once
#include "function.h"
#include "gil.h"
#include "kernels.h"
#include "memory.h"
#include "numpy.h"

namespace trimtab {

void import_numpy();  // and the dtypes below

extern PyArray_Descr *float32_descr, *float64_descr, *uint8_descr;

using Shape = std::vector<npy_intp>;
std::string text(const Shape& shape);
std::string dtype_text(PyArray_Descr* descr);  // "dtype float32"

// An owned array of any dtype, or none.
class AnyArray {
public:
    AnyArray() = default;
    explicit AnyArray(Ref object) : object_(std::move(object)) {}
    PyArrayObject* get() const { return reinterpret_cast<PyArrayObject*>(object_.get()); }
    PyArray_Descr* descr() const { return PyArray_DESCR(get()); }
    int type_number() const { return PyArray_TYPE(get()); }
    int ndim() const { return PyArray_NDIM(get()); }
    const npy_intp* dims() const { return PyArray_DIMS(get()); }
    npy_intp itemsize() const { return PyArray_ITEMSIZE(get()); }
    npy_intp size() const { return PyArray_SIZE(get()); }
    void* data() const { return PyArray_DATA(get()); }
    Shape shape() const { return Shape(dims(), dims() + ndim()); }
    AnyArray share() const { return AnyArray(Ref::borrow(object_.get())); }
    Ref release() { return std::move(object_); }  // gives the reference away
    explicit operator bool() const { return bool(object_); }

private:
    Ref object_;
};

// An array of one of the four dtypes: native, aligned and C-contiguous unless it is updated in place.
class Array : public AnyArray {
public:
    Array() = default;
    Array(AnyArray array, DType dtype) : AnyArray(std::move(array)), dtype_(dtype) {}
    Array(Ref object, DType dtype) : AnyArray(std::move(object)), dtype_(dtype) {}
    DType dtype() const { return dtype_; }
    double* doubles() const { return static_cast<double*>(data()); }

private:
    DType dtype_ = {};
};

bool find_dtype(PyArray_Descr* descr, DType& dtype);
bool behaved(PyArrayObject* array);  // C-contiguous, aligned, native
// Whether an array holds the values of this shape: axes of length 1 do not count.
bool holds_shape(PyArrayObject* array, const Shape& shape);
inline PyArrayObject* as_array(PyObject* object) { return reinterpret_cast<PyArrayObject*>(object); }

// A new array; a large one in recycled memory.
AnyArray empty(const Shape& shape, PyArray_Descr* descr);
Array empty_like(const Array& x, const Shape& shape);
inline Array empty_like(const Array& x) { return empty_like(x, x.shape()); }
Array empty_doubles(const Shape& shape);

AnyArray transposed(const AnyArray& x, const std::vector<int>& axes);  // a view
}  // namespace trimtab
