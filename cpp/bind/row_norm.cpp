#include "row_norm.h"

#include <optional>

namespace trimtab {
namespace {

Array statistic(bool wanted, const RowLayout& layout) { return wanted ? empty_doubles(layout.kept) : Array(); }
double* doubles(const Array& array) { return array ? array.doubles() : nullptr; }
}  // namespace

RowNormResult row_norm_forward(const RowNormKernels& kernels, const RowNormArguments& in, double eps, bool keep_mean,
                               bool keep_rstd) {
    const Array x = read(in.x);
    const bool added = in.residual.value();
    const Array residual = added ? read_like(in.residual, x) : Array();
    const RowLayout layout = row_layout(in.axis, x);
    const Parameter gamma(in.gamma, x, layout.normalized, working_type(x), 1, x.size() > 0);
    const Parameter beta(in.beta, x, layout.normalized, working_type(x), 0, x.size() > 0);
    const double epsilon = in.eps.non_negative(eps);
    Output y(in.out, x, {&x}, {&gamma.array(), &beta.array()}, layout.order);
    std::optional<Output> summed;
    if (added)
        summed.emplace(Argument(), x, std::initializer_list<const AnyArray*>(),
                       std::initializer_list<const AnyArray*>(), layout.order);
    Array mean = statistic(keep_mean, layout), rstd = statistic(keep_rstd, layout);
    const Rows source(x, layout), addend(residual, layout);
    if (x.size() > 0 || mean || rstd) {  // an empty array may have too many rows for a loop
        const Released released;
        kernels.forward[int(x.dtype())]({.x = source.data(),
                                         .residual = addend.data(),
                                         .gamma = gamma.data(),
                                         .beta = beta.data(),
                                         .y = y.data(),
                                         .summed = added ? summed->data() : nullptr,
                                         .mean = doubles(mean),
                                         .rstd = doubles(rstd),
                                         .rows = layout.rows,
                                         .width = layout.width,
                                         .eps = epsilon});
    }
    return {y.finish(), added ? summed->finish() : Ref(), mean.release(), rstd.release()};
}

RowNormGradients row_norm_backward(const RowNormKernels& kernels, const RowNormBackwardArguments& in) {
    const Array dy = read(in.dy), x = read_like(in.x, dy);
    const RowLayout layout = row_layout(in.axis, x);
    const bool centered = in.mean.value();
    const Array mean = centered ? read_statistic(in.mean, layout.kept) : Array();
    const Array rstd = read_statistic(in.rstd, layout.kept);
    const Parameter gamma(in.gamma, x, layout.normalized, working_type(x), 1, x.size() > 0);
    Output dx(in.out, x, {&dy, &x}, {&mean, &rstd, &gamma.array()}, layout.order);
    Gradient dgamma(gamma, layout.normalized);
    std::optional<Gradient> dbeta;
    if (centered) dbeta.emplace(gamma, layout.normalized);
    const Rows gradient(dy, layout), source(x, layout);
    {
        const Released released;
        kernels.backward[int(x.dtype())]({.dy = gradient.data(),
                                          .x = source.data(),
                                          .gamma = gamma.data(),
                                          .mean = doubles(mean),
                                          .rstd = rstd.doubles(),
                                          .dx = dx.data(),
                                          .dgamma = dgamma.sums(),
                                          .dbeta = centered ? dbeta->sums() : nullptr,
                                          .rows = layout.rows,
                                          .width = layout.width});
    }
    return {dx.finish(), dgamma.finish(), centered ? dbeta->finish() : Ref()};
}
}  // namespace trimtab
