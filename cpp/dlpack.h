// Arrays of other libraries by DLPack, without a copy.
#pragma once
#include "function.h"

namespace trimtab {

// An ndarray over the memory of an object that has __dlpack__. Empty where it does not have it, and where the memory
// cannot be shared: then an exception is set.
Ref from_dlpack(PyObject* object);
}  // namespace trimtab
