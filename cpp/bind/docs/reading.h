// Signatures and docstrings of reading of arguments.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr auto as_array = join(
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
}  // namespace trimtab::docs
