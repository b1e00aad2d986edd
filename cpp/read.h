// Reads array arguments: conversion, checks and their errors.
#pragma once
#include "array.h"

namespace trimtab {

// A reference to the array of an argument that stays valid while other arguments are read.
AnyArray hold(const Argument& argument, PyObject* array);

// The argument as an ndarray of any dtype. Takes ndarrays, objects that have __dlpack__ on the CPU, and array-likes; reads
// each once. An object that cannot be converted breaks the rule; other exceptions of the object are passed on.
AnyArray read_any(const Argument& argument, const char* rule);
// The argument as an Array: the caller's memory where it is contiguous, aligned and native, else a copy.
Array read(const Argument& argument);
// The same; must have the dtype and shape of another argument.
Array read_like(const Argument& argument, const Array& other);
// The same; must be float64 and of the given shape: statistics saved by a forward function.
Array read_statistic(const Argument& argument, const Shape& shape);

// Numbers of any real dtype.
struct Real {
    Array values;    // of the dtype that was given where it is one of the four, else float64
    AnyArray given;  // before conversion
    bool floating() const;
    explicit operator bool() const { return bool(values); }
};
Real read_real(const Argument& argument);
Real as_real(const Argument& argument, AnyArray array);

// The argument itself, never a copy, in any memory order: it is updated in place, now or later.
Array read_in_place(const Argument& argument, bool written);

void require_ndarray(const Argument& argument);
void require_writeable(const Argument& argument);
void require_dtype(const Argument& argument, const Array& array, DType dtype);
void require_shape(const Argument& argument, PyArrayObject* array, const Shape& shape);
// Of this shape, but for axes of length 1.
void require_values(const Argument& argument, PyArrayObject* array, const Shape& shape);
}  // namespace trimtab
