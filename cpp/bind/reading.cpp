// Reads arguments of functions that are written in Python.
#include "docs/reading.h"

#include "bind.h"

namespace trimtab {
namespace {

Ref read_array(const Arguments<docs::as_array>& in) { return read(in["x"]).release(); }
}  // namespace

void bind_reading(PyObject* module) { add_functions(module, {method<read_array>()}); }
}  // namespace trimtab
