#include "docs/fold_batch_norm.h"

#include <algorithm>

#include "bind.h"

namespace trimtab {
namespace {

ResultType result("FoldBatchNormResult", "weight bias");

// Batch norm of the weight, with mean and beta 0; the bias is folded here.
Ref fold_batch_norm(const Arguments<docs::fold_batch_norm>& in) {
    const Array weight = read(in["weight"]);
    const ChannelLayout layout = channel_layout(in["axis"], weight, 0);
    const npy_intp channels = layout.channels;
    const Shape shape = {channels};
    const Parameter bias(in["bias"], weight, shape, DType::float64, 0);
    for (const Argument& statistic : {in["mean"], in["var"]})
        if (!statistic.given()) statistic.type_error("be an array");
    const Parameter mean(in["mean"], weight, shape, DType::float64, 0),
        var(in["var"], weight, shape, DType::float64, 1);
    const Parameter gamma(in["gamma"], weight, shape, DType::float64, 1),
        beta(in["beta"], weight, shape, DType::float64, 0);
    const double epsilon = in["eps"].non_negative(1e-5);
    Array folded = empty_like(weight);
    Gradient folded_bias(bias, shape);
    const Parameter ones({}, weight, shape, working_type(weight), 1), zeros({}, weight, shape, working_type(weight), 0);
    const Scratch<double> scale(2 * channels);
    double* const no_mean = scale + channels;
    kernels->batch_norm->rstd(var.doubles(), epsilon, scale, channels);
    for (npy_intp c = 0; c < channels; ++c) {
        scale[c] *= gamma.doubles()[c];
        no_mean[c] = 0;
        folded_bias.sums()[c] = (bias.doubles()[c] - mean.doubles()[c]) * scale[c] + beta.doubles()[c];
    }
    if (weight.size() > 0) {
        const Released released;
        kernels->batch_norm->apply[int(weight.dtype())]({.x = weight.data(),
                                                         .gamma = ones.data(),
                                                         .beta = zeros.data(),
                                                         .residual = nullptr,
                                                         .y = folded.data(),
                                                         .mean = no_mean,
                                                         .rstd = scale,
                                                         .layout = layout,
                                                         .relu = false});
    }
    return result(folded.release(), folded_bias.finish());
}
}  // namespace

void bind_fold_batch_norm(PyObject* module) {
    result.create(module);
    add_functions(module, {method<fold_batch_norm>()});
}
}  // namespace trimtab
