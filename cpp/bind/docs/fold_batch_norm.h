// Signatures and docstrings of folding of batch normalization.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr auto fold_batch_norm = join(
    R"(fold_batch_norm(weight, bias, mean, var, gamma=None, beta=None, *, eps=1e-5, axis=0)
--

Batch normalization for inference, folded into the linear or convolution layer before it.

    scale  = gamma / sqrt(var + eps)
    weight = weight * scale
    bias   = (bias - mean) * scale + beta

The layer then returns what it returned together with `batch_norm`.

Parameters
----------
weight : array_like
    float32, float64, float16 or bfloat16; of any shape, with the C outputs of the layer along `axis`.
bias : array_like or None
    Shape (C,), of any real dtype; None: zeros.
mean, var : array_like
    Running mean and variance of each output, shape (C,), of any real dtype.
gamma, beta : array_like, optional
    Scale and shift of each output, shape (C,) or with further axes of length 1, such as (1, C); of any real
    dtype. Ones and zeros if not given.
)",
    eps_in_variance,
    R"(axis : int, default 0
    The axis of `weight` along which the outputs lie: 0 for (C, inputs) and (C, inputs, height, width).

Returns
-------
weight : ndarray
    Of `weight`'s shape and dtype.
bias : ndarray
    Shape (C,), of `bias`'s dtype (`weight`'s where it is None).

Raises
------
TypeError
    A dtype that is not one of the four, an array that is not real, an argument of the wrong type.
ValueError
    A shape that does not fit, `eps` out of range.
numpy.exceptions.AxisError
    An axis that `weight` does not have.

See Also
--------
trimtab.nn.fold : the same for a whole model.

Notes
-----
Folding rounds the weights once more, and a large mean is then subtracted from a sum of products: in float32 the results
agree to about 1e-6 of the largest term of that sum.

References
----------
Jacob, B., et al. (2018). Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference.
CVPR. (Section 3.2.)
)",
    examples,
    R"(>>> tt.fold_batch_norm([[2.0]], bias=[1.0], mean=[3.0], var=[4.0], eps=0.0).bias
array([-1.])
)");
}  // namespace trimtab::docs
