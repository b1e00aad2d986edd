#include "docs/batch_renorm.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bind.h"

namespace trimtab {
namespace {

ResultType forward_result("BatchRenormForwardResult", "y mean rstd r d");
ResultType backward_result("BatchRenormBackwardResult", "dx dgamma dbeta");

// Values for each channel in x's working type.
Scratch<char> working(const Array& x, const double* values, npy_intp channels) {
    const DType dtype = working_type(x);
    Scratch<char> narrowed(channels * (dtype == DType::float64 ? 8 : 4));
    kernels->convert->narrow[int(dtype)](values, narrowed, channels);
    return narrowed;
}

Ref batch_renorm_forward(const Arguments<docs::batch_renorm_forward>& in) {
    constexpr double inf = std::numeric_limits<double>::infinity();
    const Argument running_mean = in["running_mean"], running_std = in["running_std"];
    const Array x = read(in["x"]);
    const ChannelLayout layout = channel_layout(in["axis"], x, 1);
    const npy_intp channels = layout.channels;
    const Shape shape = {channels};
    if (layout.outer * layout.inner < 2)
        in["x"].fail(PyExc_ValueError, "have more than one value per channel", "shape " + text(x.shape()));
    const Parameter gamma(in["gamma"], x, shape, working_type(x), 1), beta(in["beta"], x, shape, working_type(x), 0);
    for (const Argument& running : {running_mean, running_std})
        if (!running.given()) running.fail(PyExc_TypeError, "be a numpy.ndarray", "NoneType");
    Running means(running_mean, channels), deviations(running_std, channels);
    means.require_disjoint(running_std);
    const double r_max = in["r_max"].between(1, inf, inf), d_max = in["d_max"].between(0, inf, inf);
    const double momentum = in["momentum"].between(0, 1, 0.01), epsilon = in["eps"].non_negative(1e-5);
    Output y(in["out"], x, {&x}, {&gamma.array(), &beta.array()});
    for (const Running* running : {&means, &deviations}) running->require_disjoint(in["out"]);
    Array mean = empty_doubles(shape), rstd = empty_doubles(shape), r = empty_doubles(shape), d = empty_doubles(shape);
    const Array std = empty_doubles(shape);  // first the variance
    if (x.size() > 0) {
        const Scratch<double> before(2 * channels);
        means.widen(before);
        deviations.widen(before + channels);
        const BatchRenorm renorm{.mean = before,
                                 .std = before + channels,
                                 .r_max = r_max,
                                 .d_max = d_max,
                                 .r = r.doubles(),
                                 .d = d.doubles()};
        const Released released;
        kernels->batch_norm->forward[int(x.dtype())]({.x = x.data(),
                                                      .gamma = gamma.data(),
                                                      .beta = beta.data(),
                                                      .residual = nullptr,
                                                      .y = y.data(),
                                                      .mean = mean.doubles(),
                                                      .rstd = rstd.doubles(),
                                                      .var = std.doubles(),
                                                      .layout = layout,
                                                      .eps = epsilon,
                                                      .relu = false,
                                                      .renorm = &renorm});
        for (npy_intp c = 0; c < channels; ++c) {
            const double spread = std.doubles()[c] + epsilon, root = rstd.doubles()[c];
            std.doubles()[c] = (spread > 1e-280 && spread < 1e280) || root == 0 ? std::sqrt(spread) : 1 / root;
        }
    }
    means.update(mean.doubles(), momentum, 1);
    deviations.update(std.doubles(), momentum, 1);
    return forward_result(y.finish(), mean.release(), rstd.release(), r.release(), d.release());
}

Ref batch_renorm_backward(const Arguments<docs::batch_renorm_backward>& in) {
    const Array dy = read(in["dy"]), x = read_like(in["x"], dy);
    const ChannelLayout layout = channel_layout(in["axis"], x, 1);
    const npy_intp channels = layout.channels;
    const Shape shape = {channels};
    const Array mean = read_statistic(in["mean"], shape), rstd = read_statistic(in["rstd"], shape);
    const Array r = read_statistic(in["r"], shape), d = read_statistic(in["d"], shape);
    const Parameter gamma(in["gamma"], x, shape, DType::float64, 1);
    Output dx(in["out"], x, {&dy, &x}, {&mean, &rstd, &r, &d, &gamma.array()});
    Gradient dgamma(gamma, shape), dbeta(gamma, shape);
    std::fill_n(dgamma.sums(), channels, 0.0);
    std::fill_n(dbeta.sums(), channels, 0.0);
    if (x.size() > 0) {
        const Scratch<double> scale(channels);
        for (npy_intp c = 0; c < channels; ++c) scale[c] = gamma.doubles()[c] * r.doubles()[c];
        const Scratch<char> weight = working(x, scale, channels);
        const Released released;
        kernels->batch_norm->backward[int(x.dtype())]({.dy = dy.data(),
                                                       .x = x.data(),
                                                       .gamma = weight,
                                                       .y = nullptr,
                                                       .mean = mean.doubles(),
                                                       .rstd = rstd.doubles(),
                                                       .dx = dx.data(),
                                                       .dresidual = nullptr,
                                                       .dgamma = dgamma.sums(),
                                                       .dbeta = dbeta.sums(),
                                                       .layout = layout,
                                                       .training = true});
        for (npy_intp c = 0; c < channels; ++c)
            dgamma.sums()[c] = r.doubles()[c] * dgamma.sums()[c] + d.doubles()[c] * dbeta.sums()[c];
    }
    return backward_result(dx.finish(), dgamma.finish(), dbeta.finish());
}
}  // namespace

void bind_batch_renorm(PyObject* module) {
    forward_result.create(module);
    backward_result.create(module);
    add_functions(module, {method<batch_renorm_forward>(), method<batch_renorm_backward>()});
}
}  // namespace trimtab
