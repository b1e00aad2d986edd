// Signatures and docstrings of layouts of images.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr auto transpose = join(
    R"(transpose(x)
--

Each matrix of a stack transposed.

Parameters
----------
x : array_like
    Shape (N, A, B), of one of the four dtypes.

Returns
-------
y : ndarray
    Shape (N, B, A), of `x`'s dtype.

Raises
------
TypeError, ValueError
    An argument of the wrong type, dtype or shape.
)");
}  // namespace trimtab::docs
