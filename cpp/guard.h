// Protection against Python code of the caller that runs while arguments are read: it may resize or retype arrays that
// have been read.
#pragma once
#include "function.h"
#include "numpy.h"

namespace trimtab {

// Whether reading this argument runs no code of the caller: plain numbers, strings and arrays, and lists, tuples and
// dicts of them.
bool is_inert(PyObject* object);

// An array over the same memory that stays valid while it is referenced, even if the other array is resized or retyped.
Ref guarded(PyArrayObject* array);
}  // namespace trimtab
