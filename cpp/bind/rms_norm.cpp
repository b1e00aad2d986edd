#include "docs/rms_norm.h"

#include "row_norm.h"

namespace trimtab {
namespace {

ResultType forward_result("RMSNormForwardResult", "y rstd");
ResultType add_result("AddRMSNormForwardResult", "y summed rstd");
ResultType backward_result("RMSNormBackwardResult", "dx dgamma");

template <const auto& doc>
RowNormResult forward(const Arguments<doc>& in, bool keep) {
    return row_norm_forward(
        *kernels->rms_norm,
        {.x = in["x"], .gamma = in["gamma"], .axis = in["axis"], .eps = in["eps"], .out = in["out"]}, 1e-6, false,
        keep);
}

Ref rms_norm(const Arguments<docs::rms_norm>& in) { return forward(in, false).y; }

Ref rms_norm_forward(const Arguments<docs::rms_norm_forward>& in) {
    RowNormResult result = forward(in, true);
    return forward_result(std::move(result.y), std::move(result.rstd));
}

Ref add_rms_norm_forward(const Arguments<docs::add_rms_norm_forward>& in) {
    RowNormResult result = row_norm_forward(
        *kernels->rms_norm,
        {.x = in["x"], .residual = in["residual"], .gamma = in["gamma"], .axis = in["axis"], .eps = in["eps"]}, 1e-6,
        false, true);
    return add_result(std::move(result.y), std::move(result.summed), std::move(result.rstd));
}

Ref rms_norm_backward(const Arguments<docs::rms_norm_backward>& in) {
    RowNormGradients gradients = row_norm_backward(
        *kernels->rms_norm,
        {.dy = in["dy"], .x = in["x"], .rstd = in["rstd"], .gamma = in["gamma"], .axis = in["axis"], .out = in["out"]});
    return backward_result(std::move(gradients.dx), std::move(gradients.dgamma));
}
}  // namespace

void bind_rms_norm(PyObject* module) {
    forward_result.create(module);
    add_result.create(module);
    backward_result.create(module);
    add_functions(module, {method<rms_norm>(), method<rms_norm_forward>(), method<add_rms_norm_forward>(),
                           method<rms_norm_backward>()});
}
}  // namespace trimtab
