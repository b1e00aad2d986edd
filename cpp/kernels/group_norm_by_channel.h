// Group normalization channel by channel (group_norm.cpp), for groups that are not runs of memory or too long for one
// thread. It takes some samples at a time through two passes of batch norm, whose units are channels of samples:
//   1. moments of channels, or sums of dy and of dy * x̂, from which those of groups are computed
//   2. y or dx from constants of each channel
// Compiled once for all storage types.
#pragma once
#include "../memory.h"
#include "../parallel.h"
#include "pooled.h"
#include "wide.h"

namespace trimtab {
TRIMTAB_IMPORT(BatchNormKernels, batch_norm);
namespace {

constexpr const BatchNormKernels& batch_norm_kernels = TRIMTAB_NAME(batch_norm, TRIMTAB_ISA_LEVEL);

// x (samples, outer, groups, channels, inner) as channels of samples. Groups of all samples are counted.
struct SampleChannels {
    GroupLayout l;
    DType dtype;
    ptrdiff_t channels() const { return l.groups * l.channels; }
    ptrdiff_t values_per_channel() const { return l.outer * l.inner; }
    ptrdiff_t values_per_group() const { return l.channels * values_per_channel(); }
    ptrdiff_t values_per_sample() const { return l.groups * values_per_group(); }
    ptrdiff_t itemsize() const { return dtype == DType::float64 ? 8 : dtype == DType::float32 ? 4 : 2; }
    // A sample in an array of x's shape and dtype.
    const void* sample(const void* array, ptrdiff_t sample) const {
        return static_cast<const char*>(array) + sample * values_per_sample() * itemsize();
    }
    void* sample(void* array, ptrdiff_t sample) const {
        return const_cast<void*>(this->sample(static_cast<const void*>(array), sample));
    }
    ChannelLayout layout(ptrdiff_t samples) const {
        return {samples, l.outer, channels(), l.inner, (l.samples - samples) * values_per_sample()};
    }
    UnitLayout unit_layout(ptrdiff_t group) const {
        const ptrdiff_t start = group / l.groups * values_per_sample() + group % l.groups * l.channels * l.inner;
        return {start, l.outer, l.channels * l.inner, channels() * l.inner, l.inner};
    }
    // f(first, samples) for as many samples at a time as stay in the caches between the passes: one sample for each
    // thread or, if samples are few or small, some for all threads together.
    template <class F>
    void for_samples(double cost_per_value, const F& f) const {
        if (l.samples >= 16 && values_per_sample() >= 1 << 14)
            return parallel_for(l.samples, cost_per_value * double(l.samples * values_per_sample()),
                                [&](ptrdiff_t begin, ptrdiff_t end) {
                for (ptrdiff_t sample = begin; sample < end; ++sample) f(sample, 1);
            });
        constexpr ptrdiff_t cached_values = 1 << 20;
        const ptrdiff_t samples = max(1, cached_values / values_per_sample());
        for (ptrdiff_t first = 0; first < l.samples; first += samples) f(first, min(samples, l.samples - first));
    }
};

// Results of wide groups (wide.h), kept until all other results are written: y may be x, and dx may be x or dy.
class WideGroups {
public:
    explicit WideGroups(const SampleChannels& x, ptrdiff_t max_groups) : x_(x), max_groups_(max_groups) {}
    void add(ptrdiff_t group) {
        if (count_ == 0) groups_ = Scratch<ptrdiff_t>(max_groups_);
        groups_[count_++] = group;
    }
    // write(group, y, layout) writes the results of a group to y.
    template <class F>
    void compute(F&& write) {
        const ptrdiff_t values = x_.values_per_group(), bytes = values * x_.itemsize();
        results_ = Scratch<char>(count_ * bytes);
        for (ptrdiff_t i = 0; i < count_; ++i)
            write(groups_[i], TypedPointer(results_ + i * bytes, x_.dtype), UnitLayout{0, 1, values, values, values});
    }
    void copy_to(void* y) const {
        const char* from = results_;
        for (ptrdiff_t i = 0; i < count_; ++i)
            x_.unit_layout(groups_[i])
                .for_runs(0, x_.values_per_group(), [&](ptrdiff_t, ptrdiff_t offset, ptrdiff_t, ptrdiff_t n) {
                const ptrdiff_t bytes = n * x_.itemsize();
                __builtin_memcpy(static_cast<char*>(y) + offset * x_.itemsize(), from, size_t(bytes));
                from += bytes;
            });
    }

private:
    const SampleChannels& x_;
    ptrdiff_t max_groups_, count_ = 0;
    Scratch<ptrdiff_t> groups_;  // (count,)
    Scratch<char> results_;      // (count, values of a group)
};

// Does double hold values of this size, and their products?
TRIMTAB_INLINE bool group_in_range(double size) { return size > 1e-140 && size < 1e140; }

TRIMTAB_OUTLINE void fill(double* to, ptrdiff_t n, double value) {
    for (ptrdiff_t i = 0; i < n; ++i) to[i] = value;
}

class GroupNormByChannel {
public:
    static TRIMTAB_OUTLINE void run(const GroupNormForward& a, DType dtype) { GroupNormByChannel(a, dtype).run(); }

private:
    GroupNormByChannel(const GroupNormForward& a, DType dtype) : a_(a), x_{a.layout, dtype} {}

    void run() const {
        x_.for_samples(0.3, [this](ptrdiff_t first, ptrdiff_t samples) { normalize(first, samples); });
    }

    TRIMTAB_OUTLINE void normalize(ptrdiff_t first, ptrdiff_t samples) const {
        const GroupLayout& l = a_.layout;
        const ptrdiff_t units = samples * x_.channels();
        const Scratch<double> statistics(2 * units);  // (2, units): of channels, then of their groups
        double *const mean = statistics, *const var = mean + units, *const rstd = var;
        batch_norm_kernels.moments[int(x_.dtype)](
            {.x = x_.sample(a_.x, first), .mean = mean, .var = var, .layout = x_.layout(samples), .eps = a_.eps});
        WideGroups wide(x_, samples * l.groups);
        for (ptrdiff_t unit = 0, group = first * l.groups; unit < units; unit += l.channels, ++group) {
            Pooled pooled;
            for (ptrdiff_t u = unit; u < unit + l.channels; ++u)
                pooled.add(double(x_.values_per_channel()), mean[u], var[u]);
            const double group_rstd = reciprocal_root(pooled.var + a_.eps);
            save(group, pooled.mean, group_rstd);
            const bool in_range = group_in_range(group_rstd);
            if (!in_range) wide.add(group);
            fill(mean + unit, l.channels, in_range ? pooled.mean : 0);
            fill(rstd + unit, l.channels, in_range ? group_rstd : 1);
        }
        wide.compute(
            [this](ptrdiff_t group, const TypedPointer& y, const UnitLayout& to) { normalize_wide(group, y, to); });
        batch_norm_kernels.apply[int(x_.dtype)]({.x = x_.sample(a_.x, first),
                                                 .gamma = a_.gamma,
                                                 .beta = a_.beta,
                                                 .residual = nullptr,
                                                 .y = x_.sample(a_.y, first),
                                                 .mean = mean,
                                                 .rstd = rstd,
                                                 .layout = x_.layout(samples),
                                                 .relu = false});
        wide.copy_to(a_.y);
    }

    TRIMTAB_COLD void normalize_wide(ptrdiff_t group, const TypedPointer& y, const UnitLayout& to) const {
        const UnitLayout from = x_.unit_layout(group);
        const TypedPointer x(a_.x, x_.dtype);
        const WideStatistics s = measure_wide<true>(x, from, a_.eps);
        save(group, s.mean(), s.rstd());
        WideNormal{x, from, s, parameters(a_.gamma, group), parameters(a_.beta, group)}.write(y, to);
    }
    // Those of the group, in the working type.
    TypedPointer parameters(const void* all, ptrdiff_t group) const {
        const ptrdiff_t channel = group % a_.layout.groups * a_.layout.channels;
        return x_.dtype == DType::float64 ? TypedPointer(static_cast<const double*>(all) + channel)
                                          : TypedPointer(static_cast<const float*>(all) + channel);
    }
    void save(ptrdiff_t group, double mean, double rstd) const {
        if (a_.mean) a_.mean[group] = mean;
        if (a_.rstd) a_.rstd[group] = rstd;
    }

    const GroupNormForward& a_;
    const SampleChannels x_;
};

class GroupNormByChannelGradient {
public:
    static TRIMTAB_OUTLINE void run(const GroupNormBackward& a, DType dtype) {
        GroupNormByChannelGradient(a, dtype).run();
    }

private:
    GroupNormByChannelGradient(const GroupNormBackward& a, DType dtype)
        : a_(a),
          x_{a.layout, dtype},
          gamma_(static_cast<const double*>(a.gamma)),
          partial_(a.layout.samples * 2 * x_.channels()) {}

    void run() const {
        const ptrdiff_t channels = x_.channels();
        x_.for_samples(0.5, [this](ptrdiff_t first, ptrdiff_t samples) { differentiate(first, samples); });
        fill(a_.dbeta, channels, 0);
        fill(a_.dgamma, channels, 0);
        for (ptrdiff_t sample = 0; sample < a_.layout.samples; ++sample) {
            add(a_.dbeta, partial(sample), channels);
            add(a_.dgamma, partial(sample) + channels, channels);
        }
    }

    TRIMTAB_OUTLINE void differentiate(ptrdiff_t first, ptrdiff_t samples) const {
        const GroupLayout& l = a_.layout;
        const ptrdiff_t channels = x_.channels(), units = samples * channels;
        const Scratch<double> of_units(5 * units);
        double *const mean = of_units, *const rstd = mean + units, *const gamma = rstd + units;
        double *const sum_dy = gamma + units, *const sum_dy_xhat = sum_dy + units;
        for (ptrdiff_t unit = 0, group = first * l.groups; unit < units; unit += l.channels, ++group) {
            fill(mean + unit, l.channels, a_.mean[group]);
            fill(rstd + unit, l.channels, a_.rstd[group]);
        }
        batch_norm_kernels.backward_sums[int(x_.dtype)]({.dy = x_.sample(a_.dy, first),
                                                         .x = x_.sample(a_.x, first),
                                                         .mean = mean,
                                                         .rstd = rstd,
                                                         .sum_dy = sum_dy,
                                                         .sum_dy_xhat = sum_dy_xhat,
                                                         .layout = x_.layout(samples)});
        for (ptrdiff_t sample = 0; sample < samples; ++sample) {
            copy(sum_dy + sample * channels, channels, partial(first + sample));
            copy(sum_dy_xhat + sample * channels, channels, partial(first + sample) + channels);
        }
        WideGroups wide(x_, samples * l.groups);
        for (ptrdiff_t unit = 0, group = first * l.groups; unit < units; unit += l.channels, ++group) {
            double sum_h = 0, sum_hx = 0;
            for (ptrdiff_t u = unit; u < unit + l.channels; ++u) {
                gamma[u] = gamma_[u % channels];
                sum_h += gamma[u] * sum_dy[u];
                sum_hx += gamma[u] * sum_dy_xhat[u];
            }
            const double size = __builtin_fabs(sum_h) + __builtin_fabs(sum_hx);
            if (!group_in_range(a_.rstd[group]) || (size != 0 && !group_in_range(size)) || x_.values_per_group() == 1) {
                wide.add(group);
                sum_h = sum_hx = 0;
                fill(mean + unit, l.channels, 0);
                fill(rstd + unit, l.channels, 1);
            }
            fill(sum_dy + unit, l.channels, sum_h / double(x_.values_per_group()));
            fill(sum_dy_xhat + unit, l.channels, sum_hx / double(x_.values_per_group()));
        }
        wide.compute([this](ptrdiff_t group, const TypedPointer& dx, const UnitLayout& to) {
            differentiate_wide(group, dx, to);
        });
        batch_norm_kernels.backward_apply[int(x_.dtype)]({.dy = x_.sample(a_.dy, first),
                                                          .x = x_.sample(a_.x, first),
                                                          .dx = x_.sample(a_.dx, first),
                                                          .mean = mean,
                                                          .rstd = rstd,
                                                          .gamma = gamma,
                                                          .mean_h = sum_dy,
                                                          .mean_hx = sum_dy_xhat,
                                                          .layout = x_.layout(samples)});
        wide.copy_to(a_.dx);
    }

    TRIMTAB_COLD void differentiate_wide(ptrdiff_t group, const TypedPointer& dx, const UnitLayout& to) const {
        const GroupLayout& l = a_.layout;
        const ptrdiff_t channel = group % l.groups * l.channels;
        const WideGradient gradient{.dy = TypedPointer(a_.dy, x_.dtype),
                                    .x = TypedPointer(a_.x, x_.dtype),
                                    .y = nullptr,
                                    .gamma = gamma_ + channel,
                                    .mean = a_.mean[group],
                                    .rstd = a_.rstd[group],
                                    .layout = x_.unit_layout(group)};
        double *const dbeta = partial(group / l.groups) + channel, *const dgamma = dbeta + x_.channels();
        fill(dbeta, l.channels, 0);
        fill(dgamma, l.channels, 0);
        gradient.write(gradient.sum(dgamma, dbeta), dx, to);
    }

    // Of a sample: (2, channels), terms of dbeta and of dgamma.
    double* partial(ptrdiff_t sample) const { return partial_ + sample * 2 * x_.channels(); }
    static void copy(const double* from, ptrdiff_t n, double* to) {
        __builtin_memcpy(to, from, size_t(n) * sizeof *to);
    }
    static void add(double* to, const double* from, ptrdiff_t n) {
        for (ptrdiff_t i = 0; i < n; ++i) to[i] += from[i];
    }

    const GroupNormBackward& a_;
    const SampleChannels x_;
    const double* const gamma_;
    const Scratch<double> partial_;
};
}  // namespace
}  // namespace trimtab
