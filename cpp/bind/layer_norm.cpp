#include "row_norm.h"

namespace trimtab {
namespace {

namespace docs {
constexpr Text layer_norm{
    R"(layer_norm(x, gamma=None, beta=None, *, axis=-1, eps=1e-5, out=None)
--

Layer normalization: each sample is standardised over `axis`, then scaled and shifted.

    y = gamma * (x - mean) / sqrt(var + eps) + beta

with the mean and the (1/m) variance of the m values of `x` along `axis`.

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; any shape of at least one dimension.
gamma, beta : array_like, optional
    Scale and shift, of the shape of the axes normalised over (in the order they have in `x`) but for axes of
    length 1; of any real dtype. Ones and zeros where not given.
axis : int or tuple of ints, default -1
    The axis or axes normalised over.
eps : float, default 1e-5
    Added to the variance, inside the root; finite and >= 0.
out : ndarray, optional
    Where to write the result: of `x`'s shape and dtype, writeable. May be `x` itself.

Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` where it is given. A constant sample gives exactly `beta` for every
    `eps`.

Raises
------
TypeError
    A dtype that is not one of the four, a parameter that is not real, an argument that is not of the right kind.
ValueError
    A shape that does not fit, `eps` out of range, a read-only `out`.
numpy.exceptions.AxisError
    An axis that `x` does not have.

See Also
--------
layer_norm_forward : returns what the backward pass needs, too.

Notes
-----
Statistics are accumulated in double about a shift, so that data of any mean and magnitude are normalised to the
precision of their dtype. The bits do not depend on the number of threads, on alignment or on the instruction set.

References
----------
Ba, J. L., Kiros, J. R., and Hinton, G. E. (2016). Layer Normalization. arXiv:1607.06450.
)"};

constexpr Text layer_norm_forward{
    R"(layer_norm_forward(x, gamma=None, beta=None, *, axis=-1, eps=1e-5, out=None)
--

Layer normalization, keeping what its backward pass needs.

Parameters
----------
x, gamma, beta, axis, eps, out
    As for `layer_norm`.

Returns
-------
y : ndarray
    The result, as of `layer_norm`.
mean, rstd : ndarray of float64
    Mean and 1 / sqrt(var + eps) of each sample, of `x`'s shape without the normalised axes. Where var + eps is 0, rstd
    is 0, and so is dx. Of rows of width 0 both are NaN.

See Also
--------
layer_norm : formula, errors, source.
layer_norm_backward : takes `mean` and `rstd`.
)"};

constexpr Text layer_norm_backward{
    R"(layer_norm_backward(dy, x, mean, rstd, gamma=None, *, axis=-1, out=None)
--

Gradients of layer normalization.

With xhat = (x - mean) * rstd, h = dy * gamma, and means over `axis`:

    dx     = rstd * (h - mean(h) - xhat * mean(h * xhat))
    dgamma = sum of dy * xhat over the samples
    dbeta  = sum of dy over the samples

Parameters
----------
dy : array_like
    Gradient with respect to y, of one of the four dtypes.
x : array_like
    The input of the forward pass, of `dy`'s shape and dtype.
mean, rstd : array_like of float64
    As `layer_norm_forward` returned them.
gamma : array_like, optional
    As in the forward pass.
axis : int or tuple of ints, default -1
    The axis or axes normalised over.
out : ndarray, optional
    Where to write `dx`: of `dy`'s shape and dtype, writeable. May be `dy` or `x` itself.

Returns
-------
dx : ndarray
    Gradient with respect to x, of its shape and dtype; `out` where it is given.
dgamma, dbeta : ndarray
    Gradients with respect to the parameters, in `gamma`'s shape and dtype: `x`'s dtype where it is no float or not given.

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `layer_norm`; also where `x`, `mean` or `rstd` do not fit `dy`.

References
----------
Ba, J. L., Kiros, J. R., and Hinton, G. E. (2016). Layer Normalization. arXiv:1607.06450.
)"};

constexpr Text add_layer_norm_forward{
    R"(add_layer_norm_forward(x, residual, gamma=None, beta=None, *, axis=-1, eps=1e-5)
--

Layer normalization of the sum of two arrays, both results in one pass.

    summed = x + residual
    y      = layer_norm(summed)

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; any shape of at least one dimension.
residual : array_like
    Of `x`'s shape and dtype.
gamma, beta, axis, eps
    As for `layer_norm`.

Returns
-------
y, summed : ndarray
    Of `x`'s shape and dtype. The statistics are those of `summed` as it is returned.
mean, rstd : ndarray of float64
    As `layer_norm_forward` returns them for `summed`.

See Also
--------
layer_norm : formula, errors, source.
layer_norm_backward : on `summed`; its `dx`, plus the gradient that reaches `summed` by other ways, is the gradient of
    both addends.
)"};
}  // namespace docs

ResultType forward_result("LayerNormForwardResult", "y mean rstd");
ResultType add_result("AddLayerNormForwardResult", "y summed mean rstd");
ResultType backward_result("LayerNormBackwardResult", "dx dgamma dbeta");

template <const auto& doc>
RowNormResult forward(const Arguments<doc>& in, bool keep) {
    return row_norm_forward(*kernels->layer_norm,
                            {.x = in["x"],
                             .gamma = in["gamma"],
                             .beta = in["beta"],
                             .axis = in["axis"],
                             .eps = in["eps"],
                             .out = in["out"]},
                            1e-5, keep, keep);
}

Ref layer_norm(const Arguments<docs::layer_norm>& in) { return forward(in, false).y; }

Ref layer_norm_forward(const Arguments<docs::layer_norm_forward>& in) {
    RowNormResult result = forward(in, true);
    return forward_result(std::move(result.y), std::move(result.mean), std::move(result.rstd));
}

Ref add_layer_norm_forward(const Arguments<docs::add_layer_norm_forward>& in) {
    RowNormResult result = row_norm_forward(*kernels->layer_norm,
                                            {.x = in["x"],
                                             .residual = in["residual"],
                                             .gamma = in["gamma"],
                                             .beta = in["beta"],
                                             .axis = in["axis"],
                                             .eps = in["eps"]},
                                            1e-5, true, true);
    return add_result(std::move(result.y), std::move(result.summed), std::move(result.mean), std::move(result.rstd));
}

Ref layer_norm_backward(const Arguments<docs::layer_norm_backward>& in) {
    RowNormGradients gradients = row_norm_backward(*kernels->layer_norm, {.dy = in["dy"],
                                                                          .x = in["x"],
                                                                          .mean = in["mean"],
                                                                          .rstd = in["rstd"],
                                                                          .gamma = in["gamma"],
                                                                          .axis = in["axis"],
                                                                          .out = in["out"]});
    return backward_result(std::move(gradients.dx), std::move(gradients.dgamma), std::move(gradients.dbeta));
}
}  // namespace

void bind_layer_norm(PyObject* module) {
    forward_result.create(module);
    add_result.create(module);
    backward_result.create(module);
    add_functions(module, {method<layer_norm>(), method<layer_norm_forward>(), method<add_layer_norm_forward>(),
                           method<layer_norm_backward>()});
}
}  // namespace trimtab
