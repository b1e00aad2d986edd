// From what callers give to arrays, with the errors about it.
#pragma once
#include "array.h"

namespace trimtab {

// An array that was given, to be kept while other arguments are read.
AnyArray held(const Argument& argument, PyObject* array);

// The argument as an ndarray of any dtype. Takes ndarrays, whatever has __dlpack__ on the CPU, and array-likes; reads each
// once. "Cannot be converted" breaks the rule; whatever else the caller's object raises is passed on.
AnyArray read_any(const Argument& argument, const char* rule);
// The argument as an Array: the caller's own memory where it is one, else a copy.
Array read(const Argument& argument);
// The same, of the dtype and shape of another argument's.
Array read_like(const Argument& argument, const Array& other);
// float64, of the given shape: statistics saved by a forward function.
Array read_statistic(const Argument& argument, const Shape& shape);

// Numbers of any real dtype.
struct Real {
    Array values;    // of the dtype that was given where it is one of the four, else float64
    AnyArray given;  // before that
    bool floating() const;
    explicit operator bool() const { return bool(values); }
};
Real read_real(const Argument& argument);
Real as_real(const Argument& argument, AnyArray array);

// The argument itself, never a copy, in whatever order it lies: memory that is updated in place, or will be.
Array read_in_place(const Argument& argument, bool written);

void require_ndarray(const Argument& argument);
void require_writeable(const Argument& argument);
void require_dtype(const Argument& argument, const Array& array, DType dtype);
void require_shape(const Argument& argument, PyArrayObject* array, const Shape& shape);
// Of this shape, but for axes of length 1.
void require_values(const Argument& argument, PyArrayObject* array, const Shape& shape);
}  // namespace trimtab
