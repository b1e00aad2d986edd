#include "row_norm.h"

namespace trimtab {
namespace {

namespace docs {
constexpr Text rms_norm{
    R"(rms_norm(x, gamma=None, *, axis=-1, eps=1e-6, out=None)
--

Root mean square normalization: each sample is divided by its root mean square over `axis`, then scaled.

    y = gamma * x / sqrt(mean(x^2) + eps)

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; any shape of at least one dimension.
gamma : array_like, optional
    Scale, of the shape of the axes normalised over (in the order they have in `x`) but for axes of length 1; of any
    real dtype. Ones where not given.
axis : int or tuple of ints, default -1
    The axis or axes normalised over.
eps : float, default 1e-6
    Added to the mean square, inside the root; finite and >= 0.
out : ndarray, optional
    Where to write the result: of `x`'s shape and dtype, writeable. May be `x` itself.

Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` where it is given.

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
rms_norm_forward : returns what the backward pass needs, too.

Notes
-----
Squares are accumulated so that data of any magnitude are normalised to the precision of their dtype. The bits do not
depend on the number of threads, on alignment or on the instruction set.

References
----------
Zhang, B., and Sennrich, R. (2019). Root Mean Square Layer Normalization. NeurIPS.
)"};

constexpr Text rms_norm_forward{
    R"(rms_norm_forward(x, gamma=None, *, axis=-1, eps=1e-6, out=None)
--

Root mean square normalization, keeping what its backward pass needs.

Parameters
----------
x, gamma, axis, eps, out
    As for `rms_norm`.

Returns
-------
y : ndarray
    The result, as of `rms_norm`.
rstd : ndarray of float64
    1 / sqrt(mean(x^2) + eps) of each sample, of `x`'s shape without the normalised axes. Where that is a division by 0,
    rstd is 0, and so is dx. Of rows of width 0 it is NaN.

See Also
--------
rms_norm : formula, errors, source.
rms_norm_backward : takes `rstd`.
)"};

constexpr Text add_rms_norm_forward{
    R"(add_rms_norm_forward(x, residual, gamma=None, *, axis=-1, eps=1e-6)
--

Root mean square normalization of the sum of two arrays, both results in one pass.

    summed = x + residual
    y      = rms_norm(summed)

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; any shape of at least one dimension.
residual : array_like
    Of `x`'s shape and dtype.
gamma, axis, eps
    As for `rms_norm`.

Returns
-------
y, summed : ndarray
    Of `x`'s shape and dtype. The statistics are those of `summed` as it is returned.
rstd : ndarray of float64
    As `rms_norm_forward` returns it for `summed`.

See Also
--------
rms_norm : formula, errors, source.
rms_norm_backward : on `summed`; its `dx`, plus the gradient that reaches `summed` by other ways, is the gradient of both
    addends.
)"};

constexpr Text rms_norm_backward{
    R"(rms_norm_backward(dy, x, rstd, gamma=None, *, axis=-1, out=None)
--

Gradients of root mean square normalization.

With xhat = x * rstd, h = dy * gamma, and the mean over `axis`:

    dx     = rstd * (h - xhat * mean(h * xhat))
    dgamma = sum of dy * xhat over the samples

Parameters
----------
dy : array_like
    Gradient with respect to y, of one of the four dtypes.
x : array_like
    The input of the forward pass, of `dy`'s shape and dtype.
rstd : array_like of float64
    As `rms_norm_forward` returned it.
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
dgamma : ndarray
    Gradient with respect to gamma, in its shape and dtype: `x`'s dtype where it is no float or not given.

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `rms_norm`; also where `x` or `rstd` do not fit `dy`.

References
----------
Zhang, B., and Sennrich, R. (2019). Root Mean Square Layer Normalization. NeurIPS.
)"};
}  // namespace docs

ResultType forward_result("RMSNormForwardResult", "y rstd");
ResultType add_result("AddRMSNormForwardResult", "y summed rstd");
ResultType backward_result("RMSNormBackwardResult", "dx dgamma");

template <const auto& doc>
RowNormResult forward(const Arguments<doc>& in, bool keep) {
    return row_norm_forward(
        *kernels->rms_norm,
        {.x = in["x"], .gamma = in["gamma"], .axis = in["axis"], .eps = in["eps"], .out = in["out"]}, 1e-6, false,
        keep);
}

Ref rms_norm(const Arguments<docs::rms_norm>& in) { return forward(in, false).y; }

Ref rms_norm_forward(const Arguments<docs::rms_norm_forward>& in) {
    RowNormResult result = forward(in, true);
    return forward_result(std::move(result.y), std::move(result.rstd));
}

Ref add_rms_norm_forward(const Arguments<docs::add_rms_norm_forward>& in) {
    RowNormResult result = row_norm_forward(
        *kernels->rms_norm,
        {.x = in["x"], .residual = in["residual"], .gamma = in["gamma"], .axis = in["axis"], .eps = in["eps"]}, 1e-6,
        false, true);
    return add_result(std::move(result.y), std::move(result.summed), std::move(result.rstd));
}

Ref rms_norm_backward(const Arguments<docs::rms_norm_backward>& in) {
    RowNormGradients gradients = row_norm_backward(
        *kernels->rms_norm,
        {.dy = in["dy"], .x = in["x"], .rstd = in["rstd"], .gamma = in["gamma"], .axis = in["axis"], .out = in["out"]});
    return backward_result(std::move(gradients.dx), std::move(gradients.dgamma));
}
}  // namespace

void bind_rms_norm(PyObject* module) {
    forward_result.create(module);
    add_result.create(module);
    backward_result.create(module);
    add_functions(module, {method<rms_norm>(), method<rms_norm_forward>(), method<add_rms_norm_forward>(),
                           method<rms_norm_backward>()});
}
}  // namespace trimtab
