// Against Python code of the caller's that runs while arguments are read: it may resize or retype arrays already read.
#pragma once
#include "function.h"
#include "numpy.h"

namespace trimtab {

// Whether nothing of the caller's can run when this argument is read: plain numbers, texts and arrays, and lists, tuples
// and dicts of them.
bool is_inert(PyObject* object);

// An array over the same memory, which stays as it is while it is held, whatever becomes of the other array.
Ref guarded(PyArrayObject* array);
}  // namespace trimtab
