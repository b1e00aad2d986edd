#include "bind.h"

namespace trimtab {
namespace {

const Signature layer_norm_signature(
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
    Scale and shift, of the shape of the axes normalised over (in the order they have in `x`) and of `x`'s dtype or
    wider. Ones and zeros where not given.
axis : int or tuple of ints, default -1
    The axis or axes normalised over.
eps : float, default 1e-5
    Added to the variance, inside the root; finite and >= 0.
out : ndarray, optional
    Where to write the result: of `x`'s shape and dtype, writeable. May be `x` itself.

Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` where it is given. A constant sample gives exactly `beta`.

Raises
------
TypeError
    A dtype that is not one of the four, a parameter narrower than `x`, an argument that is not of the right kind.
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
)");

const Signature layer_norm_forward_signature(
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
    Mean and 1 / sqrt(var + eps) of each sample, of `x`'s shape without the normalised axes.

See Also
--------
layer_norm : formula, errors, source.
layer_norm_backward : takes `mean` and `rstd`.
)");

const Signature layer_norm_backward_signature(
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
    Gradients with respect to the parameters, of their shape, in `gamma`'s dtype (`x`'s where it is not given).

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `layer_norm`; also where `x`, `mean` or `rstd` do not fit `dy`.

References
----------
Ba, J. L., Kiros, J. R., and Hinton, G. E. (2016). Layer Normalization. arXiv:1607.06450.
)");

ResultType forward_result("LayerNormForwardResult", "y mean rstd");
ResultType backward_result("LayerNormBackwardResult", "dx dgamma dbeta");

PyObject* forward(const Arguments& in, bool keep_statistics) {
    const Argument gamma = in[1], beta = in[2], axis = in[3], eps = in[4], out = in[5];
    const Array x = read(in[0]);
    const RowLayout layout = row_layout(axis, x);
    const Parameter weight(gamma, x, layout.normalised, working_type(x), 1);
    const Parameter bias(beta, x, layout.normalised, working_type(x), 0);
    const double epsilon = eps.non_negative(1e-5);
    Output y(out, x, {&x, &weight.array(), &bias.array()}, layout.order);
    Array mean = keep_statistics ? empty_doubles(layout.kept) : Array();
    Array rstd = keep_statistics ? empty_doubles(layout.kept) : Array();
    const Array source = layout.order.empty() ? Array() : reordered(x, layout.order);
    {
        const Released released(x.size());
        kernels->layer_norm->forward[int(x.dtype())]({.x = (source ? source : x).data(),
                                                      .gamma = weight.data(),
                                                      .beta = bias.data(),
                                                      .y = y.data(),
                                                      .mean = keep_statistics ? mean.doubles() : nullptr,
                                                      .rstd = keep_statistics ? rstd.doubles() : nullptr,
                                                      .rows = layout.rows,
                                                      .width = layout.width,
                                                      .eps = epsilon});
    }
    PyObject* result = y.finish();
    return keep_statistics ? forward_result({result, mean.release(), rstd.release()}) : result;
}

PyObject* layer_norm(const Arguments& in) { return forward(in, false); }
PyObject* layer_norm_forward(const Arguments& in) { return forward(in, true); }

PyObject* layer_norm_backward(const Arguments& in) {
    const Argument gamma = in[4], axis = in[5], out = in[6];
    const Array dy = read(in[0]), x = read_like(in[1], dy);
    const RowLayout layout = row_layout(axis, x);
    const Array mean = read_statistic(in[2], layout.kept), rstd = read_statistic(in[3], layout.kept);
    const Parameter weight(gamma, x, layout.normalised, working_type(x), 1);
    Output dx(out, x, {&dy, &x, &mean, &rstd, &weight.array()}, layout.order);
    Gradient dgamma(weight, layout.normalised), dbeta(weight, layout.normalised);
    const bool moved = !layout.order.empty();
    const Array gradient = moved ? reordered(dy, layout.order) : Array(),
                source = moved ? reordered(x, layout.order) : Array();
    {
        const Released released(x.size());
        kernels->layer_norm->backward[int(x.dtype())]({.dy = (moved ? gradient : dy).data(),
                                                       .x = (moved ? source : x).data(),
                                                       .gamma = weight.data(),
                                                       .mean = mean.doubles(),
                                                       .rstd = rstd.doubles(),
                                                       .dx = dx.data(),
                                                       .dgamma = dgamma.sums(),
                                                       .dbeta = dbeta.sums(),
                                                       .rows = layout.rows,
                                                       .width = layout.width});
    }
    return backward_result({dx.finish(), dgamma.finish(), dbeta.finish()});
}
}  // namespace

void bind_layer_norm(PyObject* module) {
    forward_result.create(module);
    backward_result.create(module);
    add_functions(
        module, {method<layer_norm_signature, layer_norm>(), method<layer_norm_forward_signature, layer_norm_forward>(),
                 method<layer_norm_backward_signature, layer_norm_backward>()});
}
}  // namespace trimtab
