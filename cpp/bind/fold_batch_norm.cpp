#include <algorithm>
#include <cmath>

#include "bind.h"

namespace trimtab {
namespace {

namespace docs {
constexpr Text fold_batch_norm{
    R"(fold_batch_norm(weight, bias, mean, var, gamma=None, beta=None, *, eps=1e-5, axis=0)
--

Batch normalization for inference as part of the linear or convolution layer before it.

    scale  = gamma / sqrt(var + eps)
    weight = weight * scale
    bias   = (bias - mean) * scale + beta

so that the layer gives what it gave together with `batch_norm`.

Parameters
----------
weight : array_like
    float32, float64, float16 or bfloat16; of any shape, with the C outputs of the layer along `axis`.
bias : array_like or None
    Shape (C,), of any real dtype; None: zeros.
mean, var : array_like
    Running mean and variance of each output, shape (C,), of any real dtype.
gamma, beta : array_like, optional
    Scale and shift of each output, shape (C,) or with axes of length 1 beside it, such as (1, C); of any real
    dtype. Ones and zeros where not given.
eps : float, default 1e-5
    Added to the variance, inside the root; finite and >= 0.
axis : int, default 0
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
    A dtype that is not one of the four, an array that is not real, an argument that is not of the right kind.
ValueError
    A shape that does not fit, `eps` out of range.
numpy.exceptions.AxisError
    An axis that `weight` does not have.

See Also
--------
trimtab.nn.fold : the same for a whole model.

Notes
-----
Folding rounds the weights once more, and large means come back out of a sum of products: in float32 the results agree to
about 1e-6 of the largest term of that sum.

References
----------
Jacob, B., et al. (2018). Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference.
CVPR. (Section 3.2.)
)"};
}  // namespace docs

ResultType result("FoldBatchNormResult", "weight bias");

// Batch norm itself does it: of the weight with mean and beta 0, of the bias with its own.
Ref fold_batch_norm(const Arguments<docs::fold_batch_norm>& in) {
    const Array weight = read(in["weight"]);
    const ChannelLayout layout = channel_layout(in["axis"], weight, 0);
    const npy_intp channels = layout.channels;
    const Shape shape = {channels};
    const Parameter bias(in["bias"], weight, shape, DType::float64, 0);
    for (const Argument& statistic : {in["mean"], in["var"]})
        if (!statistic.given()) statistic.type_error("be an array");
    const Parameter mean(in["mean"], weight, shape, DType::float64, 0),
        var(in["var"], weight, shape, DType::float64, 1);
    const Parameter gamma(in["gamma"], weight, shape, DType::float64, 1),
        beta(in["beta"], weight, shape, DType::float64, 0);
    const double epsilon = in["eps"].non_negative(1e-5);
    Array folded = empty_like(weight);
    Gradient folded_bias(bias, shape);
    const Parameter ones({}, weight, shape, working_type(weight), 1), zeros({}, weight, shape, working_type(weight), 0);
    const Scratch<double> scale(2 * channels);
    double* const no_mean = scale + channels;
    for (npy_intp c = 0; c < channels; ++c) {
        scale[c] = gamma.doubles()[c] / std::sqrt(var.doubles()[c] + epsilon);
        no_mean[c] = 0;
        folded_bias.sums()[c] = (bias.doubles()[c] - mean.doubles()[c]) * scale[c] + beta.doubles()[c];
    }
    if (weight.size() > 0) {
        const Released released;
        kernels->batch_norm->apply[int(weight.dtype())]({.x = weight.data(),
                                                         .gamma = ones.data(),
                                                         .beta = zeros.data(),
                                                         .residual = nullptr,
                                                         .y = folded.data(),
                                                         .mean = no_mean,
                                                         .rstd = scale,
                                                         .layout = layout,
                                                         .relu = false});
    }
    return result(folded.release(), folded_bias.finish());
}
}  // namespace

void bind_fold_batch_norm(PyObject* module) {
    result.create(module);
    add_functions(module, {method<fold_batch_norm>()});
}
}  // namespace trimtab
