// Layer normalization (Ba, Kiros and Hinton 2016) of x (rows, width), with gamma, beta (width,) and statistics of each
// row:
//   y = (x - mean) / sqrt(var + eps) * gamma + beta
#include "row_norm_backward.h"
#include "row_norm_forward.h"

namespace trimtab {
namespace {

template <class T>
void layer_norm_forward(const RowNormForward& a) {
    row_norm<T, true>(a);
}
template <class T>
void layer_norm_backward(const RowNormBackward& a) {
    row_norm_backward<T, true>(a);
}
}  // namespace

TRIMTAB_EXPORT(RowNormKernels, layer_norm) = {
    .forward = TRIMTAB_EACH_DTYPE(layer_norm_forward),
    .backward = TRIMTAB_EACH_DTYPE(layer_norm_backward),
};
}  // namespace trimtab
