// Calls that layer norm and RMS norm share.
#pragma once
#include "bind.h"

namespace trimtab {

// Arguments of a forward function; those that it does not have are left out.
struct RowNormArguments {
    Argument x, residual = {}, gamma, beta = {}, axis, eps, out = {};
};
// Empty where not asked for.
struct RowNormResult {
    Ref y, summed, mean, rstd;
};
RowNormResult row_norm_forward(const RowNormKernels& kernels, const RowNormArguments& in, double eps, bool keep_mean,
                               bool keep_rstd);

struct RowNormBackwardArguments {
    Argument dy, x, mean = {}, rstd, gamma, axis, out;
};
struct RowNormGradients {
    Ref dx, dgamma, dbeta;  // dbeta is empty where there is no mean
};
RowNormGradients row_norm_backward(const RowNormKernels& kernels, const RowNormBackwardArguments& in);
}  // namespace trimtab
