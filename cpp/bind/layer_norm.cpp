#include "docs/layer_norm.h"

#include "row_norm.h"

namespace trimtab {
namespace {

ResultType forward_result("LayerNormForwardResult", "y mean rstd");
ResultType add_result("AddLayerNormForwardResult", "y summed mean rstd");
ResultType backward_result("LayerNormBackwardResult", "dx dgamma dbeta");

template <const auto& doc>
RowNormResult forward(const Arguments<doc>& in, bool keep) {
    return row_norm_forward(*kernels->layer_norm,
                            {.x = in["x"],
                             .gamma = in["gamma"],
                             .beta = in["beta"],
                             .axis = in["axis"],
                             .eps = in["eps"],
                             .out = in["out"]},
                            1e-5, keep, keep);
}

Ref layer_norm(const Arguments<docs::layer_norm>& in) { return forward(in, false).y; }

Ref layer_norm_forward(const Arguments<docs::layer_norm_forward>& in) {
    RowNormResult result = forward(in, true);
    return forward_result(std::move(result.y), std::move(result.mean), std::move(result.rstd));
}

Ref add_layer_norm_forward(const Arguments<docs::add_layer_norm_forward>& in) {
    RowNormResult result = row_norm_forward(*kernels->layer_norm,
                                            {.x = in["x"],
                                             .residual = in["residual"],
                                             .gamma = in["gamma"],
                                             .beta = in["beta"],
                                             .axis = in["axis"],
                                             .eps = in["eps"]},
                                            1e-5, true, true);
    return add_result(std::move(result.y), std::move(result.summed), std::move(result.mean), std::move(result.rstd));
}

Ref layer_norm_backward(const Arguments<docs::layer_norm_backward>& in) {
    RowNormGradients gradients = row_norm_backward(*kernels->layer_norm, {.dy = in["dy"],
                                                                          .x = in["x"],
                                                                          .mean = in["mean"],
                                                                          .rstd = in["rstd"],
                                                                          .gamma = in["gamma"],
                                                                          .axis = in["axis"],
                                                                          .out = in["out"]});
    return backward_result(std::move(gradients.dx), std::move(gradients.dgamma), std::move(gradients.dbeta));
}
}  // namespace

void bind_layer_norm(PyObject* module) {
    forward_result.create(module);
    add_result.create(module);
    backward_result.create(module);
    add_functions(module, {method<layer_norm>(), method<layer_norm_forward>(), method<add_layer_norm_forward>(),
                           method<layer_norm_backward>()});
}
}  // namespace trimtab
