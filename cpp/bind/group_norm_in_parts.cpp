#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "../dispatch.h"
#include "../parallel.h"
#include "group_norm.h"
#include "pooled.h"

namespace trimtab {
namespace {

char* from_value(npy_intp value, void* data, const Array& x) { return static_cast<char*>(data) + value * x.itemsize(); }
const char* from_parameter(npy_intp channel, const Parameter& parameter, const Array& x) {
    return static_cast<const char*>(parameter.data()) + channel * (working_type(x) == DType::float64 ? 8 : 4);
}
char* from_sample(npy_intp first, void* data, const Array& x, const Grouped& layout) {
    return from_value(first * layout.values_per_sample(), data, x);
}

// Results of groups that are taken one by one, until they may be written: they may replace what the others are made of.
class TakenApart {
public:
    TakenApart(const Grouped& layout, npy_intp itemsize) : layout_(layout), itemsize_(itemsize) {}
    void* room(npy_intp group) {
        groups_.push_back({group, Scratch<char>(layout_.values_per_group() * itemsize_)});
        return groups_.back().results;
    }
    // `y`: that of the first sample.
    void put_in_place(void* y) const {
        const OneGroup one = layout_.one();
        const std::size_t run = std::size_t(one.channels * one.inner * itemsize_);
        for (const auto& [group, results] : groups_)
            for (npy_intp i = 0; i < one.outer; ++i)
                std::memcpy(static_cast<char*>(y) + (layout_.start(group) + i * one.stride) * itemsize_,
                            results + i * npy_intp(run), run);
    }

private:
    struct Group {
        npy_intp group;
        Scratch<char> results;
    };
    const Grouped& layout_;
    npy_intp itemsize_;
    std::vector<Group> groups_;
};

// Does double hold results and gradients of this rstd?
bool in_range(double rstd) { return rstd > 1e-140 && rstd < 1e140; }
}  // namespace

// In parts: statistics of channels, which make those of groups, then a pass with constants for each channel.
void forward_in_parts(const Grouped& layout, const Array& x, const Parameter& gamma, const Parameter& beta, void* y,
                      double* mean, double* rstd, double eps) {
    const npy_intp group_channels = layout.group_channels();
    const double count = double(layout.each.outer * layout.each.inner);
    layout.visit_samples(0.3, [&](npy_intp first, npy_intp samples) {
        const npy_intp units = samples * layout.each.channels;
        const Scratch<double> of_channels(2 * units);
        double *const means = of_channels, *const rstds = means + units;
        kernels->batch_norm->moments[int(x.dtype())]({.x = from_sample(first, x.data(), x, layout),
                                                      .mean = means,
                                                      .var = rstds,
                                                      .layout = layout.by_channel(samples),
                                                      .eps = eps});
        TakenApart apart(layout, x.itemsize());
        for (npy_intp unit = 0, group = first * layout.groups; unit < units; unit += group_channels, ++group) {
            Pooled pooled;
            for (npy_intp u = unit; u < unit + group_channels; ++u) pooled.add(count, means[u], rstds[u]);
            mean[group] = pooled.mean;
            rstd[group] = 1 / std::sqrt(pooled.var + eps);
            const bool holds = in_range(rstd[group]);
            if (!holds) {
                const npy_intp parameter = unit % layout.each.channels;
                kernels->group_norm->one_forward[int(x.dtype())]({.x = from_value(layout.start(group), x.data(), x),
                                                                  .gamma = from_parameter(parameter, gamma, x),
                                                                  .beta = from_parameter(parameter, beta, x),
                                                                  .y = apart.room(group),
                                                                  .mean = mean + group,
                                                                  .rstd = rstd + group,
                                                                  .group = layout.one(),
                                                                  .eps = eps});
            }
            std::fill_n(means + unit, group_channels, holds ? mean[group] : 0);
            std::fill_n(rstds + unit, group_channels, holds ? rstd[group] : 1);
        }
        kernels->batch_norm->apply[int(x.dtype())]({.x = from_sample(first, x.data(), x, layout),
                                                    .gamma = gamma.data(),
                                                    .beta = beta.data(),
                                                    .residual = nullptr,
                                                    .y = from_sample(first, y, x, layout),
                                                    .mean = means,
                                                    .rstd = rstds,
                                                    .layout = layout.by_channel(samples),
                                                    .relu = false});
        apart.put_in_place(y);
    });
}

// In parts: sums of channels, which make those of groups, then a pass with constants for each channel.
void backward_in_parts(const Grouped& layout, const Array& dy, const Array& x, const Array& mean, const Array& rstd,
                       const Parameter& gamma, void* dx, double* dgamma, double* dbeta) {
    const npy_intp channels = layout.each.channels, group_channels = layout.group_channels();
    const Scratch<double> of_samples(2 * layout.each.blocks * channels);  // (samples, dbeta and dgamma, channels)
    layout.visit_samples(0.5, [&](npy_intp first, npy_intp samples) {
        const npy_intp units = samples * channels;
        const Scratch<double> of_channels(5 * units);
        double *const means = of_channels, *const rstds = means + units, *const weights = rstds + units;
        double *const sum_dy = weights + units, *const sum_dy_xhat = sum_dy + units;
        layout.spread(mean.doubles() + first * layout.groups, samples, means);
        layout.spread(rstd.doubles() + first * layout.groups, samples, rstds);
        kernels->batch_norm->backward_sums[int(x.dtype())]({.dy = from_sample(first, dy.data(), x, layout),
                                                            .x = from_sample(first, x.data(), x, layout),
                                                            .mean = means,
                                                            .rstd = rstds,
                                                            .sum_dy = sum_dy,
                                                            .sum_dy_xhat = sum_dy_xhat,
                                                            .layout = layout.by_channel(samples)});
        for (npy_intp sample = 0; sample < samples; ++sample) {
            double* const parameters = of_samples + 2 * (first + sample) * channels;
            std::copy_n(sum_dy + sample * channels, channels, parameters);
            std::copy_n(sum_dy_xhat + sample * channels, channels, parameters + channels);
        }
        TakenApart apart(layout, x.itemsize());
        for (npy_intp unit = 0, group = first * layout.groups; unit < units; unit += group_channels, ++group) {
            double mean_h = 0, mean_hx = 0;
            for (npy_intp u = unit; u < unit + group_channels; ++u) {
                const double weight = gamma.doubles()[u % channels];
                mean_h += weight * sum_dy[u];
                mean_hx += weight * sum_dy_xhat[u];
                weights[u] = weight;
            }
            const double size = std::abs(mean_h) + std::abs(mean_hx);
            if (!in_range(rstd.doubles()[group]) || (size != 0 && !in_range(size)) || layout.values_per_group() == 1) {
                const npy_intp start = layout.start(group), parameter = unit % channels;
                double* const parameters = of_samples + 2 * (group / layout.groups) * channels + parameter;
                std::fill_n(parameters, group_channels, 0.0);
                std::fill_n(parameters + channels, group_channels, 0.0);
                kernels->group_norm->one_backward[int(x.dtype())]({.dy = from_value(start, dy.data(), x),
                                                                   .x = from_value(start, x.data(), x),
                                                                   .gamma = gamma.doubles() + parameter,
                                                                   .mean = mean.doubles() + group,
                                                                   .rstd = rstd.doubles() + group,
                                                                   .dx = apart.room(group),
                                                                   .dgamma = parameters + channels,
                                                                   .dbeta = parameters,
                                                                   .group = layout.one()});
                mean_h = mean_hx = 0;
                std::fill_n(means + unit, group_channels, 0.0);
                std::fill_n(rstds + unit, group_channels, 1.0);
            }
            std::fill_n(sum_dy + unit, group_channels, mean_h / double(layout.values_per_group()));
            std::fill_n(sum_dy_xhat + unit, group_channels, mean_hx / double(layout.values_per_group()));
        }
        kernels->batch_norm->backward_apply[int(x.dtype())]({.dy = from_sample(first, dy.data(), x, layout),
                                                             .x = from_sample(first, x.data(), x, layout),
                                                             .dx = from_sample(first, dx, x, layout),
                                                             .mean = means,
                                                             .rstd = rstds,
                                                             .gamma = weights,
                                                             .mean_h = sum_dy,
                                                             .mean_hx = sum_dy_xhat,
                                                             .layout = layout.by_channel(samples)});
        apart.put_in_place(dx);
    });
    std::fill_n(dbeta, channels, 0.0);
    std::fill_n(dgamma, channels, 0.0);
    for (npy_intp sample = 0; sample < layout.each.blocks; ++sample) {
        const double* const parameters = of_samples + 2 * sample * channels;
        std::transform(dbeta, dbeta + channels, parameters, dbeta, std::plus<>());
        std::transform(dgamma, dgamma + channels, parameters + channels, dgamma, std::plus<>());
    }
}
}  // namespace trimtab
