// Group normalization of x (samples, outer, groups, channels, inner) with gamma and beta (groups, channels). A unit is
// a group of a sample: outer * channels * inner values.
//
//   x̂ = (x - mean) * rstd              rstd = 1 / sqrt(var + eps)
//   y = x̂ * gamma + beta
//
//   dbeta  = sum(dy), dgamma = sum(dy * x̂)   over samples, outer and inner
//   dx     = rstd * (h - mean(h) - x̂ * mean(h * x̂))   with h = dy * gamma
//
// Groups are computed as rows or channel by channel. The two ways sum in different orders, so the shape of a sample
// decides, never the number of samples.
#include "group_norm_by_channel.h"
#include "group_norm_rows.h"

namespace trimtab {
namespace {

// Row by row if a group is a run of memory that suits one thread or has short channels, else channel by channel.
bool by_row(const GroupLayout& l) { return l.outer == 1 && (l.channels * l.inner < 1 << 17 || l.inner < 128); }

template <class T>
constexpr DType dtype_of = is_same<T, float>    ? DType::float32
                           : is_same<T, double> ? DType::float64
                           : is_same<T, half>   ? DType::float16
                                                : DType::bfloat16;

template <class T>
void group_norm_forward(const GroupNormForward& a) {
    by_row(a.layout) ? GroupNormRows<T>(a).run() : GroupNormByChannel::run(a, dtype_of<T>);
}

template <class T>
void group_norm_backward(const GroupNormBackward& a) {
    by_row(a.layout) ? GroupNormRowsGradient<T>(a).run() : GroupNormByChannelGradient::run(a, dtype_of<T>);
}
}  // namespace

TRIMTAB_EXPORT(GroupNormKernels, group_norm) = {
    .by_row = by_row,
    .forward = TRIMTAB_EACH_DTYPE(group_norm_forward),
    .backward = TRIMTAB_EACH_DTYPE(group_norm_backward),
};
}  // namespace trimtab
