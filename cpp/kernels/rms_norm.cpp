// Root mean square normalization (Zhang and Sennrich 2019) of x (rows, width), with gamma (width,):
//   y = x / sqrt(mean(x^2) + eps) * gamma, with the mean over each row
#include "row_norm_backward.h"
#include "row_norm_forward.h"

namespace trimtab {
namespace {

template <class T>
void rms_norm_forward(const RowNormForward& a) {
    row_norm<T, false>(a);
}
template <class T>
void rms_norm_backward(const RowNormBackward& a) {
    row_norm_backward<T, false>(a);
}
}  // namespace

TRIMTAB_EXPORT(RowNormKernels, rms_norm) = {
    .forward = TRIMTAB_EACH_DTYPE(rms_norm_forward),
    .backward = TRIMTAB_EACH_DTYPE(rms_norm_backward),
};
}  // namespace trimtab
