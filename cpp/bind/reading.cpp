// Arguments of the functions that are written in Python.
#include "bind.h"

namespace trimtab {
namespace {

const Signature as_array_signature(
    R"(as_array(x)
--

An argument as every function takes it.

Parameters
----------
x : array_like
    An array of one of the four dtypes, or whatever has `__dlpack__` or can be made into one.

Returns
-------
x : ndarray
    C-contiguous; the caller's own memory where it is.

Raises
------
TypeError, ValueError
    An argument of the wrong dtype or kind.
)");

Ref as_array(const Arguments& in) { return read(in[0]).release(); }
}  // namespace

void bind_reading(PyObject* module) { add_functions(module, {method<as_array_signature, as_array>()}); }
}  // namespace trimtab
