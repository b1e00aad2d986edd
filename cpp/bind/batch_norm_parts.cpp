#include <algorithm>
#include <cmath>
#include <limits>

#include "bind.h"
#include "pooled.h"

namespace trimtab {
namespace {

namespace docs {
constexpr Text batch_moments{
    R"(batch_moments(x, *, axis=1)
--

Mean and variance of each channel: the statistics of batch normalization by themselves.

Together with `combine_moments`, `batch_norm_apply`, `batch_norm_backward_sums` and `batch_norm_backward_apply` they make
a batch normalization whose batch is spread over several arrays, processes or machines.

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; channels along `axis`. May be empty.
axis : int, default 1
    The channel axis: 1 for (N, C) and (N, C, H, W), -1 for channels-last.

Returns
-------
mean, var : ndarray of float64
    Mean and (1/count) variance of each channel, shape (C,); zeros where there are no values.
count : int
    Values per channel.

Raises
------
TypeError
    A dtype that is not one of the four, an argument that is not of the right kind.
numpy.exceptions.AxisError
    An axis that `x` does not have.

See Also
--------
combine_moments : the moments of several such parts together.

Examples
--------
What each of several processes does with its part `x` of the batch, forward and backward; ``gather`` returns the results
of all of them::

    mean, var, count = combine_moments(*zip(*gather(batch_moments(x))))
    rstd = 1 / numpy.sqrt(var + eps)
    y = batch_norm_apply(x, mean, rstd, gamma, beta)

    sums = numpy.sum(gather(batch_norm_backward_sums(dy, x, mean, rstd)), axis=0)
    dx = batch_norm_backward_apply(dy, x, mean, rstd, gamma, *sums, count)
    dbeta, dgamma = sums

References
----------
Ioffe, S., and Szegedy, C. (2015). Batch Normalization. ICML.
)"};

constexpr Text combine_moments{
    R"(combine_moments(means, vars, counts)
--

Mean and variance of all values of several parts, from those of each part.

    mean = sum of n_i * mean_i / n;  var = sum of n_i * (var_i + (mean_i - mean)^2) / n;  n = sum of n_i

merged one after another, so that no digits cancel. Parts without values do not count, whatever their moments say.

Parameters
----------
means, vars : array_like of float64
    The moments of the parts along the first axis, (parts, C) or of any other shape after `parts`.
counts : array_like
    Values of each part: whole numbers >= 0 of any real dtype.

Returns
-------
mean, var : ndarray of float64
    Of the shape of one part; zeros where no part has values.
count : int
    The sum of `counts`.

Raises
------
TypeError
    `means` or `vars` that are not float64, counts that are not numbers.
ValueError
    Shapes that do not fit, a count that is negative or not whole.

See Also
--------
batch_moments : the moments of one part.

References
----------
Chan, T. F., Golub, G. H., and LeVeque, R. J. (1983). Algorithms for Computing the Sample Variance. The American
Statistician 37(3).
)"};

constexpr Text batch_norm_apply{
    R"(batch_norm_apply(x, mean, rstd, gamma=None, beta=None, *, axis=1, out=None)
--

Batch normalization with given mean and reciprocal standard deviation.

    y = gamma * (x - mean) * rstd + beta

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; channels along `axis`.
mean, rstd : array_like of float64
    Mean and 1 / sqrt(var + eps) of each channel, shape (C,).
gamma, beta : array_like, optional
    Scale and shift of each channel, shape (C,) or with axes of length 1 beside it, such as (1, C); of any real
    dtype. Ones and zeros where not given.
axis : int, default 1
    The channel axis.
out : ndarray, optional
    Where to write the result: of `x`'s shape and dtype, writeable. May be `x` itself.

Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` where it is given.

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `batch_norm`.

See Also
--------
batch_norm : takes a variance, and can add a residual and apply an activation.
batch_moments : shows how the parts make a whole.
)"};

constexpr Text batch_norm_backward_sums{
    R"(batch_norm_backward_sums(dy, x, mean, rstd, *, axis=1)
--

The sums over a batch that the gradients of batch normalization need.

    sum_dy = sum of dy;  sum_dy_xhat = sum of dy * xhat;  xhat = (x - mean) * rstd

over the values of a channel. They add up over the parts of a batch; those of the whole batch are dbeta and dgamma.

Parameters
----------
dy : array_like
    Gradient with respect to y, of one of the four dtypes. May be empty.
x : array_like
    The input of the forward pass, of `dy`'s shape and dtype.
mean, rstd : array_like of float64
    Those of the whole batch, shape (C,).
axis : int, default 1
    The channel axis.

Returns
-------
sum_dy, sum_dy_xhat : ndarray of float64
    Shape (C,).

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `batch_norm_backward`.

See Also
--------
batch_moments : shows how the parts make a whole.
)"};

constexpr Text batch_norm_backward_apply{
    R"(batch_norm_backward_apply(dy, x, mean, rstd, gamma, sum_dy, sum_dy_xhat, count, *, axis=1, out=None)
--

The gradient of batch normalization with respect to its input, given the sums over the whole batch.

    dx = gamma * rstd * (dy - sum_dy / count - xhat * sum_dy_xhat / count);  xhat = (x - mean) * rstd

Parameters
----------
dy : array_like
    Gradient with respect to y, of one of the four dtypes.
x : array_like
    The input of the forward pass, of `dy`'s shape and dtype.
mean, rstd : array_like of float64
    Those of the whole batch, shape (C,).
gamma : array_like or None
    As in the forward pass; None: ones.
sum_dy, sum_dy_xhat : array_like of float64
    The sums of `batch_norm_backward_sums` over all parts of the batch, shape (C,).
count : float
    Values per channel in the whole batch, at least 1. Infinity: the statistics were constants.
axis : int, default 1
    The channel axis.
out : ndarray, optional
    Where to write `dx`: of `dy`'s shape and dtype, writeable. May be `dy` or `x` itself.

Returns
-------
dx : ndarray
    Gradient with respect to x, of its shape and dtype; `out` where it is given.

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `batch_norm_backward`; also where `count` is out of range.

See Also
--------
batch_moments : shows how the parts make a whole.
)"};
}  // namespace docs

ResultType moments_result("Moments", "mean var count");
ResultType sums_result("BatchNormBackwardSumsResult", "sum_dy sum_dy_xhat");

Ref as_int(npy_intp count) { return Ref::checked(PyLong_FromSsize_t(count)); }

Ref batch_moments(const Arguments<docs::batch_moments>& in) {
    const Array x = read(in["x"]);
    const ChannelLayout layout = channel_layout(in["axis"], x, 1);
    Array mean = empty_doubles({layout.channels}), var = empty_doubles({layout.channels});
    if (x.size() > 0) {
        const Released released;
        kernels->batch_norm->moments[int(x.dtype())](
            {.x = x.data(), .mean = mean.doubles(), .var = var.doubles(), .layout = layout});
    } else {
        std::fill_n(mean.doubles(), layout.channels, 0.0);
        std::fill_n(var.doubles(), layout.channels, 0.0);
    }
    return moments_result(mean.release(), var.release(), as_int(layout.outer * layout.inner));
}

npy_intp whole_number(const Argument& count) {
    constexpr const char* rule = "be a whole number >= 0";
    if (PyIndex_Check(count.value())) {
        const npy_intp value = count.integer(rule);
        if (value < 0) count.value_error(rule);
        return value;
    }
    const double value = count.number(0);
    if (!(value >= 0 && value < 0x1p63 && value == std::floor(value))) count.value_error(rule);
    return npy_intp(value);
}

std::vector<npy_intp> read_counts(const Argument& counts, npy_intp parts) {
    constexpr const char* rule = "be a sequence of whole numbers";
    const AnyArray given = read_any(counts, rule);
    if (given.ndim() == 0) counts.type_error(rule);
    require_values(counts, given.get(), {parts});
    const AnyArray objects(
        Ref::checked(PyArray_FROM_OTF(reinterpret_cast<PyObject*>(given.get()), NPY_OBJECT, NPY_ARRAY_CARRAY_RO)));
    PyObject** const numbers = static_cast<PyObject**>(objects.data());
    std::vector<npy_intp> values;
    for (npy_intp i = 0; i < parts; ++i) values.push_back(whole_number(counts.element(i, numbers[i])));
    return values;
}

Ref combine_moments(const Arguments<docs::combine_moments>& in) {
    const Array means = read(in["means"]);
    require_dtype(in["means"], means, DType::float64);
    if (means.ndim() == 0) in["means"].fail(PyExc_ValueError, "have the parts along its first axis", "shape ()");
    const Array vars = read_like(in["vars"], means);
    const npy_intp parts = means.dims()[0];
    const std::vector<npy_intp> counts = read_counts(in["counts"], parts);
    npy_intp total = 0;
    for (const npy_intp count : counts)
        if (__builtin_add_overflow(total, count, &total)) in["counts"].value_error("add up to less than 2**63");
    const Shape shape(means.dims() + 1, means.dims() + means.ndim());
    Array mean = empty_doubles(shape), var = empty_doubles(shape);
    {
        const Released released(5 * double(means.size()));
        for (npy_intp i = 0; i < mean.size(); ++i) {
            Pooled pooled;
            for (npy_intp part = 0; part < parts; ++part)
                pooled.add(double(counts[std::size_t(part)]), means.doubles()[part * mean.size() + i],
                           vars.doubles()[part * mean.size() + i]);
            mean.doubles()[i] = pooled.mean;
            var.doubles()[i] = pooled.var;
        }
    }
    return moments_result(mean.release(), var.release(), as_int(total));
}

Ref batch_norm_apply(const Arguments<docs::batch_norm_apply>& in) {
    const Array x = read(in["x"]);
    const ChannelLayout layout = channel_layout(in["axis"], x, 1);
    const Shape shape = {layout.channels};
    const Array mean = read_statistic(in["mean"], shape), rstd = read_statistic(in["rstd"], shape);
    const Parameter gamma(in["gamma"], x, shape, working_type(x), 1), beta(in["beta"], x, shape, working_type(x), 0);
    Output y(in["out"], x, {&x}, {&mean, &rstd, &gamma.array(), &beta.array()});
    if (x.size() > 0) {
        const Released released;
        kernels->batch_norm->apply[int(x.dtype())]({.x = x.data(),
                                                    .gamma = gamma.data(),
                                                    .beta = beta.data(),
                                                    .residual = nullptr,
                                                    .y = y.data(),
                                                    .mean = mean.doubles(),
                                                    .rstd = rstd.doubles(),
                                                    .layout = layout,
                                                    .relu = false});
    }
    return y.finish();
}

Ref batch_norm_backward_sums(const Arguments<docs::batch_norm_backward_sums>& in) {
    const Array dy = read(in["dy"]), x = read_like(in["x"], dy);
    const ChannelLayout layout = channel_layout(in["axis"], x, 1);
    const Shape shape = {layout.channels};
    const Array mean = read_statistic(in["mean"], shape), rstd = read_statistic(in["rstd"], shape);
    Array sum_dy = empty_doubles(shape), sum_dy_xhat = empty_doubles(shape);
    if (x.size() > 0) {
        const Released released;
        kernels->batch_norm->backward_sums[int(x.dtype())]({.dy = dy.data(),
                                                            .x = x.data(),
                                                            .mean = mean.doubles(),
                                                            .rstd = rstd.doubles(),
                                                            .sum_dy = sum_dy.doubles(),
                                                            .sum_dy_xhat = sum_dy_xhat.doubles(),
                                                            .layout = layout});
    } else {
        std::fill_n(sum_dy.doubles(), layout.channels, 0.0);
        std::fill_n(sum_dy_xhat.doubles(), layout.channels, 0.0);
    }
    return sums_result(sum_dy.release(), sum_dy_xhat.release());
}

Ref batch_norm_backward_apply(const Arguments<docs::batch_norm_backward_apply>& in) {
    const Array dy = read(in["dy"]), x = read_like(in["x"], dy);
    const ChannelLayout layout = channel_layout(in["axis"], x, 1);
    const Shape shape = {layout.channels};
    const Array mean = read_statistic(in["mean"], shape), rstd = read_statistic(in["rstd"], shape);
    const Parameter gamma(in["gamma"], x, shape, DType::float64, 1);
    const Array sum_dy = read_statistic(in["sum_dy"], shape), sum_dy_xhat = read_statistic(in["sum_dy_xhat"], shape);
    const double count = in["count"].between(1, std::numeric_limits<double>::infinity(), 1);
    Output dx(in["out"], x, {&dy, &x}, {&mean, &rstd, &gamma.array(), &sum_dy, &sum_dy_xhat});
    if (x.size() > 0) {
        const Scratch<double> constants(2 * layout.channels);
        double *const mean_h = constants, *const mean_hx = mean_h + layout.channels;
        for (npy_intp c = 0; c < layout.channels; ++c) {
            mean_h[c] = gamma.doubles()[c] * sum_dy.doubles()[c] / count;
            mean_hx[c] = gamma.doubles()[c] * sum_dy_xhat.doubles()[c] / count;
        }
        const Released released;
        kernels->batch_norm->backward_apply[int(x.dtype())]({.dy = dy.data(),
                                                             .x = x.data(),
                                                             .dx = dx.data(),
                                                             .mean = mean.doubles(),
                                                             .rstd = rstd.doubles(),
                                                             .gamma = gamma.doubles(),
                                                             .mean_h = mean_h,
                                                             .mean_hx = mean_hx,
                                                             .layout = layout});
    }
    return dx.finish();
}
}  // namespace

void bind_batch_norm_parts(PyObject* module) {
    moments_result.create(module);
    sums_result.create(module);
    add_functions(module, {method<batch_moments>(), method<combine_moments>(), method<batch_norm_apply>(),
                           method<batch_norm_backward_sums>(), method<batch_norm_backward_apply>()});
}
}  // namespace trimtab
