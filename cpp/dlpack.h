// Arrays of other libraries, by DLPack: their own memory, without a copy.
#pragma once
#include "function.h"

namespace trimtab {

// An ndarray over the memory of an object that has __dlpack__; empty where it has not, or where the memory cannot be had
// in this way: then with an exception set that says why.
Ref from_dlpack(PyObject* object);
}  // namespace trimtab
