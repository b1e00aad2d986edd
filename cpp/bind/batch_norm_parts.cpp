#include "docs/batch_norm_parts.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../kernels/pooled.h"
#include "bind.h"

namespace trimtab {
namespace {

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
