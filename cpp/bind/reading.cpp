// Arguments of the functions that are written in Python.
#include "bind.h"

namespace trimtab {
namespace {

namespace docs {
constexpr Text as_array{
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
)"};
}  // namespace docs

Ref read_array(const Arguments<docs::as_array>& in) { return read(in["x"]).release(); }
}  // namespace

void bind_reading(PyObject* module) { add_functions(module, {method<read_array>()}); }
}  // namespace trimtab
