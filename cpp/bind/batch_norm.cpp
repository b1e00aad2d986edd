#include <algorithm>
#include <cmath>

#include "bind.h"
#include "pooled.h"

namespace trimtab {
namespace {

namespace docs {
constexpr Text batch_norm{
    R"(batch_norm(x, mean, var, gamma=None, beta=None, *, axis=1, eps=1e-5, activation=None, residual=None, out=None)
--

Batch normalization with given statistics, as for inference.

    y = activation(gamma * (x - mean) / sqrt(var + eps) + beta + residual)

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; channels along `axis`.
mean, var : array_like
    Mean and variance of each channel, shape (C,), of any real dtype; usually the running statistics.
gamma, beta : array_like, optional
    Scale and shift of each channel, shape (C,) or with axes of length 1 beside it, such as (1, C); of any real
    dtype. Ones and zeros where not given.
axis : int, default 1
    The channel axis: 1 for (N, C) and (N, C, H, W), -1 for channels-last.
eps : float, default 1e-5
    Added to the variance, inside the root; finite and >= 0. Where var + eps is 0, values equal to the mean give `beta`,
    others infinity.
activation : {None, "relu"}, default None
    Applied last, in the same pass.
residual : array_like, optional
    Added before the activation, in the same pass; of `x`'s shape and dtype.
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
    A shape that does not fit, `eps` out of range, an unknown activation, a read-only `out`.
numpy.exceptions.AxisError
    An axis that `x` does not have.

See Also
--------
batch_norm_forward : computes the statistics, for training.

References
----------
Ioffe, S., and Szegedy, C. (2015). Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
Shift. ICML.
)"};

constexpr Text batch_norm_forward{
    R"(batch_norm_forward(x, gamma=None, beta=None, *, running_mean=None, running_var=None, momentum=0.1, unbiased=True, axis=1, eps=1e-5, activation=None, residual=None, virtual_batch_size=None, out=None)
--

Batch normalization with the statistics of the batch, as in training.

    y = activation(gamma * (x - mean) / sqrt(var + eps) + beta + residual)

with the mean and the (1/m) variance of the m values of each channel.

Parameters
----------
x, gamma, beta, axis, eps, activation, residual, out
    As for `batch_norm`. `x` has more than one value per channel.
running_mean, running_var : ndarray, optional
    Running statistics, shape (C,), of any of the four dtypes, both or neither; updated in place:
    ``running = (1 - momentum) * running + momentum * batch``.
momentum : float, default 0.1
    Weight of the new batch in the running statistics, 0 to 1. (Keras, Flax and ONNX call 1 minus this the momentum.)
unbiased : bool, default True
    Which variance is averaged: m/(m-1) times the batch's (True; as in the paper, and PyTorch), or the batch's itself
    (False; as in Keras and Flax). The result is always normalised by the latter.
virtual_batch_size : int, optional
    Ghost batches: normalise consecutive blocks of this many samples (axis 0) each by itself; the last may be shorter, but
    joins the block before it where it would have one value per channel. At least 1, with more than one value per channel
    in each block. The running statistics are those of the whole batch, pooled exactly.

Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` where it is given. A constant channel gives exactly `beta` for every
    `eps`.
mean, rstd : ndarray of float64
    Mean and 1 / sqrt(var + eps) of each channel, shape (C,); (blocks, C) with `virtual_batch_size`. Where
    var + eps is 0, rstd is 0, and so is dx.

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `batch_norm`; also where `x` has fewer than two values per channel, where only one running statistic is given, or
    `momentum` or `virtual_batch_size` is out of range. Nothing has been changed then.

See Also
--------
batch_norm_backward : takes `mean` and `rstd`.

References
----------
Ioffe, S., and Szegedy, C. (2015). Batch Normalization. ICML.
Hoffer, E., Hubara, I., and Soudry, D. (2017). Train longer, generalize better. NeurIPS. (Ghost batches.)
)"};

constexpr Text batch_norm_backward{
    R"(batch_norm_backward(dy, x, mean, rstd, gamma=None, *, axis=1, y=None, activation=None, residual=False, training=True, virtual_batch_size=None, out=None)
--

Gradients of batch normalization.

With g = dy (where ReLU was applied: dy where y > 0, else 0), xhat = (x - mean) * rstd, and means over the values of a
channel:

    dx     = gamma * rstd * (g - mean(g) - xhat * mean(g * xhat))     (training=True)
    dx     = gamma * rstd * g                                         (training=False)
    dgamma = sum of g * xhat;  dbeta = sum of g;  dresidual = g

Parameters
----------
dy : array_like
    Gradient with respect to y, of one of the four dtypes.
x : array_like
    The input of the forward pass, of `dy`'s shape and dtype.
mean, rstd : array_like of float64
    As `batch_norm_forward` returned them.
gamma : array_like, optional
    As in the forward pass.
axis : int, default 1
    The channel axis.
y : array_like, optional
    The result of the forward pass, of `dy`'s shape and dtype; needed where `activation` is given.
activation : {None, "relu"}, default None
    As in the forward pass.
residual : bool, default False
    Whether a residual was added, and its gradient is wanted.
training : bool, default True
    Whether the statistics were those of the batch; False: they were constants.
virtual_batch_size : int, optional
    As in the forward pass.
out : ndarray, optional
    Where to write `dx`: of `dy`'s shape and dtype, writeable. May be `dy` or `x` itself.

Returns
-------
dx : ndarray
    Gradient with respect to x, of its shape and dtype; `out` where it is given.
dgamma, dbeta : ndarray
    Gradients with respect to the parameters, in `gamma`'s shape and dtype: shape (C,) where it is not given, `x`'s dtype
    where it is no float.
dresidual : ndarray or None
    Gradient with respect to the residual; None unless `residual`.

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `batch_norm_forward`; also where `x`, `mean`, `rstd` or `y` do not fit `dy`.

References
----------
Ioffe, S., and Szegedy, C. (2015). Batch Normalization. ICML.
)"};
}  // namespace docs

ResultType forward_result("BatchNormForwardResult", "y mean rstd");
ResultType backward_result("BatchNormBackwardResult", "dx dgamma dbeta dresidual");

bool is_relu(const Argument& activation) {
    if (!activation.given()) return false;
    if (!PyUnicode_Check(activation.value()) || PyUnicode_CompareWithASCIIString(activation.value(), "relu") != 0)
        activation.value_error("be None or 'relu'");
    return true;
}

// Consecutive layouts that x is made of: blocks of the same size, then perhaps one of another: shorter or, where that
// would leave one value per channel, whose variance says nothing, longer by a sample.
struct Part {
    ChannelLayout layout;
    npy_intp first_unit = 0, first_value = 0;
    npy_intp values_per_unit() const { return layout.outer * layout.inner; }
    npy_intp units() const { return layout.blocks * layout.channels; }
};

std::vector<Part> parts(const Argument& virtual_batch_size, const ChannelLayout& l, const Array& x) {
    if (!virtual_batch_size.given()) return {{l}};
    constexpr const char* rule = "be an int >= 1";
    const npy_intp size = virtual_batch_size.integer(rule), samples = x.dims()[0];
    if (size < 1) virtual_batch_size.value_error(rule);
    if (l.outer % std::max<npy_intp>(samples, 1) != 0 || (x.ndim() > 0 && l.outer == 1 && samples != 1))
        virtual_batch_size.value_error("be None where the channels lie along axis 0");
    const npy_intp per_sample = samples ? l.outer / samples : 0;
    if (size * per_sample * l.inner == 1)
        virtual_batch_size.value_error("leave more than one value per channel in a block");
    npy_intp blocks = samples / size, rest = samples % size;
    if (blocks && rest * per_sample * l.inner == 1) --blocks, rest += size;
    std::vector<Part> all;
    if (blocks) all.push_back({{blocks, size * per_sample, l.channels, l.inner}});
    if (rest)
        all.push_back({{1, rest * per_sample, l.channels, l.inner},
                       blocks * l.channels,
                       blocks * size * per_sample * l.channels * l.inner});
    return all;
}

Shape statistics_shape(const Argument& virtual_batch_size, const std::vector<Part>& all, npy_intp channels) {
    npy_intp blocks = 0;
    for (const Part& part : all) blocks += part.layout.blocks;
    return virtual_batch_size.given() ? Shape{blocks, channels} : Shape{channels};
}

const char* at(const Array& array, npy_intp value) {
    return array ? static_cast<const char*>(array.data()) + value * array.itemsize() : nullptr;
}

// Mean and (1/m) variance of several blocks with their counts, as of one.
void pool(const std::vector<Part>& all, const Array& mean, const Array& var, npy_intp channels, double* pooled_mean,
          double* pooled_var) {
    for (npy_intp c = 0; c < channels; ++c) {
        Pooled pooled;
        for (const Part& part : all)
            for (npy_intp unit = part.first_unit + c; unit < part.first_unit + part.units(); unit += channels)
                pooled.add(double(part.values_per_unit()), mean.doubles()[unit], var.doubles()[unit]);
        pooled_mean[c] = pooled.mean;
        pooled_var[c] = pooled.var;
    }
}

Ref batch_norm(const Arguments<docs::batch_norm>& in) {
    const Array x = read(in["x"]);
    const ChannelLayout layout = channel_layout(in["axis"], x, 1);
    const npy_intp channels = layout.channels;
    for (const Argument& statistic : {in["mean"], in["var"]})
        if (!statistic.given()) statistic.type_error("be an array");
    const Parameter mean(in["mean"], x, {channels}, DType::float64, 0),
        var(in["var"], x, {channels}, DType::float64, 1);
    const Parameter gamma(in["gamma"], x, {channels}, working_type(x), 1);
    const Parameter beta(in["beta"], x, {channels}, working_type(x), 0);
    const double epsilon = in["eps"].non_negative(1e-5);
    const bool relu = is_relu(in["activation"]);
    const Array residual = in["residual"].given() ? read_like(in["residual"], x) : Array();
    Output y(in["out"], x, {&x, &residual}, {&mean.array(), &var.array(), &gamma.array(), &beta.array()});
    if (x.size() > 0) {
        const Scratch<double> rstd(channels);
        for (npy_intp c = 0; c < channels; ++c) rstd[c] = 1 / std::sqrt(var.doubles()[c] + epsilon);
        const Released released;
        kernels->batch_norm->apply[int(x.dtype())]({.x = x.data(),
                                                    .gamma = gamma.data(),
                                                    .beta = beta.data(),
                                                    .residual = at(residual, 0),
                                                    .y = y.data(),
                                                    .mean = mean.doubles(),
                                                    .rstd = rstd,
                                                    .layout = layout,
                                                    .relu = relu});
    }
    return y.finish();
}

Ref batch_norm_forward(const Arguments<docs::batch_norm_forward>& in) {
    const Array x = read(in["x"]);
    const ChannelLayout layout = channel_layout(in["axis"], x, 1);
    const npy_intp channels = layout.channels;
    if (layout.outer * layout.inner < 2)
        in["x"].fail(PyExc_ValueError, "have more than one value per channel", "shape " + text(x.shape()));
    const Parameter gamma(in["gamma"], x, {channels}, working_type(x), 1);
    const Parameter beta(in["beta"], x, {channels}, working_type(x), 0);
    const Argument running_mean = in["running_mean"], running_var = in["running_var"];
    Running means(running_mean, channels), variances(running_var, channels);
    if (means.given() != variances.given())
        (means.given() ? running_var : running_mean)
            .fail(PyExc_ValueError,
                  std::string("be given together with ") + (means.given() ? running_mean : running_var).name(), "None");
    means.require_apart(running_var);
    const double momentum = in["momentum"].between(0, 1, 0.1);
    const bool unbiased = in["unbiased"].flag(true);
    const double epsilon = in["eps"].non_negative(1e-5);
    const bool relu = is_relu(in["activation"]);
    const Array residual = in["residual"].given() ? read_like(in["residual"], x) : Array();
    const std::vector<Part> all = parts(in["virtual_batch_size"], layout, x);
    Output y(in["out"], x, {&x, &residual}, {&gamma.array(), &beta.array()});
    for (const Running* running : {&means, &variances}) running->require_apart(in["out"]);
    const Shape shape = statistics_shape(in["virtual_batch_size"], all, channels);
    Array mean = empty_doubles(shape), rstd = empty_doubles(shape);
    const Array var = empty_doubles(shape);
    if (x.size() > 0) {
        const Released released;
        for (const Part& part : all)
            kernels->batch_norm->forward[int(x.dtype())](
                {.x = at(x, part.first_value),
                 .gamma = gamma.data(),
                 .beta = beta.data(),
                 .residual = at(residual, part.first_value),
                 .y = static_cast<char*>(y.data()) + part.first_value * x.itemsize(),
                 .mean = mean.doubles() + part.first_unit,
                 .rstd = rstd.doubles() + part.first_unit,
                 .var = var.doubles() + part.first_unit,
                 .layout = part.layout,
                 .eps = epsilon,
                 .relu = relu});
    }
    if (means.given()) {
        const Scratch<double> pooled(2 * channels);
        pool(all, mean, var, channels, pooled, pooled + channels);
        const double m = double(layout.outer * layout.inner);
        means.update(pooled, momentum, 1);
        variances.update(pooled + channels, momentum, unbiased ? m / (m - 1) : 1);
    }
    return forward_result(y.finish(), mean.release(), rstd.release());
}

Ref batch_norm_backward(const Arguments<docs::batch_norm_backward>& in) {
    const Array dy = read(in["dy"]), x = read_like(in["x"], dy);
    const ChannelLayout layout = channel_layout(in["axis"], x, 1);
    const npy_intp channels = layout.channels;
    const std::vector<Part> all = parts(in["virtual_batch_size"], layout, x);
    const Shape shape = statistics_shape(in["virtual_batch_size"], all, channels);
    const Array mean = read_statistic(in["mean"], shape), rstd = read_statistic(in["rstd"], shape);
    const Parameter gamma(in["gamma"], x, {channels}, working_type(x), 1);
    const Array y = in["y"].given() ? read_like(in["y"], dy) : Array();
    const bool relu = is_relu(in["activation"]);
    if (relu && !y)
        in["y"].fail(PyExc_ValueError, "be the result of the forward pass where activation is 'relu'", "None");
    const bool residual = in["residual"].flag(false), training = in["training"].flag(true);
    Output dx(in["out"], x, {&dy, &x, &y}, {&mean, &rstd, &gamma.array()});
    Array dresidual = residual ? empty_like(x) : Array();
    Gradient dgamma(gamma, {channels}), dbeta(gamma, {channels});
    std::fill_n(dgamma.sums(), channels, 0.0);
    std::fill_n(dbeta.sums(), channels, 0.0);
    if (x.size() > 0) {
        const Released released;
        for (const Part& part : all)
            kernels->batch_norm->backward[int(x.dtype())](
                {.dy = at(dy, part.first_value),
                 .x = at(x, part.first_value),
                 .gamma = gamma.data(),
                 .y = relu ? at(y, part.first_value) : nullptr,
                 .mean = mean.doubles() + part.first_unit,
                 .rstd = rstd.doubles() + part.first_unit,
                 .dx = static_cast<char*>(dx.data()) + part.first_value * x.itemsize(),
                 .dresidual = const_cast<char*>(at(dresidual, part.first_value)),
                 .dgamma = dgamma.sums(),
                 .dbeta = dbeta.sums(),
                 .layout = part.layout,
                 .training = training});
    }
    return backward_result(dx.finish(), dgamma.finish(), dbeta.finish(), residual ? dresidual.release() : Ref::none());
}
}  // namespace

void bind_batch_norm(PyObject* module) {
    forward_result.create(module);
    backward_result.create(module);
    add_functions(module, {method<batch_norm>(), method<batch_norm_forward>(), method<batch_norm_backward>()});
}
}  // namespace trimtab
