// Signatures and docstrings of the max-norm constraint.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr auto max_norm = join(
    R"(max_norm(w, limit, *, axis, out=None)
--

Bound the length of vectors: each vector along `axis` that is longer than `limit` is scaled down to `limit`.

    w * min(1, limit / |w|),  |w| = sqrt(sum of w^2 along axis)

Parameters
----------
w : array_like
    float32, float64, float16 or bfloat16.
limit : float
    The greatest length, finite and >= 0.
axis : int or tuple of ints
    The axis or axes that a vector lies along. For the incoming weights of each unit: 1 for a weight of shape (outputs,
    inputs), (1, 2, 3) for a convolution's (outputs, inputs, height, width).
out : ndarray, optional
    Where to write the result: of `w`'s shape and dtype, writeable. May be `w` itself.

Returns
-------
w : ndarray
    Of `w`'s shape and dtype; `out` if given. Vectors within the limit keep their bits, and so do those whose
    length is NaN or infinite. Scaled vectors are at most as long as `limit`, and shorter by no more than the rounding
    of their dtype; a second projection changes nothing.

Raises
------
)",
    type_error,
    R"(ValueError
    `limit` out of range, an `out` of the wrong shape or read-only.
numpy.exceptions.AxisError
    An axis that `w` does not have.

References
----------
Srebro, N., and Shraibman, A. (2005). Rank, Trace-Norm and Max-Norm. COLT.
Srivastava, N., Hinton, G., Krizhevsky, A., Sutskever, I., and Salakhutdinov, R. (2014). Dropout: A Simple Way to Prevent
Neural Networks from Overfitting. JMLR.
)",
    examples,
    R"(>>> tt.max_norm([[6.0, 8.0], [0.0, 1.0]], 5.0, axis=1)
array([[3., 4.],
       [0., 1.]])
)");
}  // namespace trimtab::docs
