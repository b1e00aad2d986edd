// Mean and variance of parts with known counts, as of all values together (Chan, Golub and LeVeque 1983).
#pragma once

namespace trimtab {

struct Pooled {
    double count = 0, mean = 0, m2 = 0;
    void add(double part_count, double part_mean, double part_var) {
        if (part_count == 0) return;
        const double delta = part_mean - mean, before = count;
        count += part_count;
        mean += delta * (part_count / count);
        m2 += part_var * part_count + delta * delta * (part_count * (before / count));
    }
    double var() const { return count == 0 ? 0 : m2 / count; }
};
}  // namespace trimtab
