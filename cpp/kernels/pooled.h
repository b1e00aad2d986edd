// Mean and variance of all values from those of parts with known counts (Chan, Golub and LeVeque 1983), without vectors,
// so that bindings can include it.
#pragma once

namespace trimtab {
namespace {  // internal linkage: code of one instruction set must never be merged with another's

struct Pooled {
    double count = 0, mean = 0, var = 0;
    void add(double part_count, double part_mean, double part_var) {
        if (part_count == 0) return;
        if (count == 0) {
            *this = {part_count, part_mean, part_var};
            return;
        }
        const double all = count + part_count, old_share = count / all, new_share = part_count / all;
        const double delta = part_mean - mean;
        const bool overflows = __builtin_isinf(delta) && __builtin_isfinite(part_mean) && __builtin_isfinite(mean);
        mean = overflows ? mean * old_share + part_mean * new_share : mean + delta * new_share;
        var = var * old_share + part_var * new_share;
        if (delta != 0) var += delta * old_share * (delta * new_share);
        count = all;
    }
};
}  // namespace
}  // namespace trimtab
