// Groups of channels of each sample, and their normalisation in parts: where they do not lie in memory as rows, or as few
// long ones, statistics of channels make those of groups, and a pass with constants for each channel applies them.
#pragma once
#include <algorithm>

#include "../parallel.h"
#include "../parameter.h"

namespace trimtab {

// x as (samples, outer, groups, channels of a group, inner).
struct Grouped {
    ChannelLayout each;  // (samples, outer, channels, inner)
    npy_intp groups;
    npy_intp group_channels() const { return each.channels / std::max<npy_intp>(groups, 1); }
    npy_intp values_per_group() const { return each.outer * group_channels() * each.inner; }
    npy_intp values_per_sample() const { return each.outer * each.channels * each.inner; }
    GroupLayout as_rows() const { return {each.blocks, groups, group_channels(), each.inner}; }
    // Groups lie in memory as rows, which a thread takes as a whole, or their channels are short. It is the shape of a sample
    // that decides, whatever the number of samples: the two ways sum in different orders.
    bool are_rows() const { return each.outer == 1 && (values_per_group() < 1 << 17 || each.inner < 128); }

    ChannelLayout by_channel(npy_intp samples) const {
        return {samples, each.outer, each.channels, each.inner, (each.blocks - samples) * values_per_sample()};
    }
    // f(first, samples) for so few samples at a time that they stay in cache between two visits: in that of one thread or,
    // where samples are few or small, in that of all.
    template <class F>
    void visit_samples(double cost_per_value, const F& f) const {
        if (each.blocks >= 16 && values_per_sample() >= 1 << 14)
            return parallel_for(each.blocks, cost_per_value * double(each.blocks * values_per_sample()),
                                [&](npy_intp begin, npy_intp end) {
                for (npy_intp sample = begin; sample < end; ++sample) f(sample, 1);
            });
        constexpr npy_intp cached = 1 << 20;
        const npy_intp together = std::max<npy_intp>(1, cached / values_per_sample());
        for (npy_intp first = 0; first < each.blocks; first += together)
            f(first, std::min(together, each.blocks - first));
    }
    OneGroup one() const { return {each.outer, group_channels(), each.inner, each.channels * each.inner}; }
    npy_intp start(npy_intp group) const {  // groups of all samples counted
        return group / groups * values_per_sample() + group % groups * group_channels() * each.inner;
    }
    // Values of groups, for each of their channels.
    void spread(const double* of_groups, npy_intp samples, double* of_channels) const {
        for (npy_intp i = 0; i < samples * groups; ++i, of_channels += group_channels())
            std::fill_n(of_channels, group_channels(), of_groups[i]);
    }
};

void forward_in_parts(const Grouped& layout, const Array& x, const Parameter& gamma, const Parameter& beta, void* y,
                      double* mean, double* rstd, double eps);
// gamma in double.
void backward_in_parts(const Grouped& layout, const Array& dy, const Array& x, const Array& mean, const Array& rstd,
                       const Parameter& gamma, void* dx, double* dgamma, double* dbeta);
}  // namespace trimtab
