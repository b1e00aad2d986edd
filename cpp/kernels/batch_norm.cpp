// Batch normalization of x (blocks, outer, channels, inner) with gamma and beta (channels,). Statistics are those of
// each unit, a channel of a block, or given.
//
//   x̂ = (x - mean) * rstd                  rstd = 1 / sqrt(var + eps)
//   y = x̂ * gamma + beta                   batch renormalization: y = (x̂ * r + d) * gamma + beta
//   y = max(y + residual, 0)               where there is a residual, and a ReLU
//
//   g      = dy                            0 where the ReLU returned 0; dresidual = g
//   dbeta  = sum(g)
//   dgamma = sum(g * x̂)
//   dx     = rstd * gamma * (g - mean(g) - x̂ * mean(g * x̂))
//            rstd * gamma * g              where the statistics were given
#include "batch_norm_backward.h"
#include "batch_norm_forward.h"

namespace trimtab {

TRIMTAB_EXPORT(BatchNormKernels, batch_norm) = {
    .forward = TRIMTAB_EACH_DTYPE(batch_norm_forward),
    .rstd = given_rstd,
    .apply = TRIMTAB_EACH_DTYPE(batch_norm_apply),
    .backward = TRIMTAB_EACH_DTYPE(batch_norm_backward),
    .moments = TRIMTAB_EACH_DTYPE(batch_moments),
    .backward_sums = TRIMTAB_EACH_DTYPE(batch_norm_backward_sums),
    .backward_apply = TRIMTAB_EACH_DTYPE(batch_norm_backward_apply),
};
}  // namespace trimtab
