// Signatures and docstrings of reading of arguments.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr auto as_array = join(
    R"(as_array(x)
--

An argument as every function reads it.

Parameters
----------
x : array_like
    An array of one of the four dtypes, or an object that has `__dlpack__` or can be converted to an array.

Returns
-------
x : ndarray
    C-contiguous; the caller's own memory where that is C-contiguous.

Raises
------
TypeError, ValueError
    An argument of the wrong type or dtype.
)");
}  // namespace trimtab::docs
