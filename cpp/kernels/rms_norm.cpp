// Root mean square normalisation of x (rows, width) along width.
#include "rows.h"

namespace trimtab {
namespace {

template <class T>
void forward(const RowNormForward& a) {
    normalise_rows<T, false>(a);
}
template <class T>
void backward(const RowNormBackward& a) {
    normalise_rows_backward<T, false>(a);
}
}  // namespace

TRIMTAB_EXPORT(RowNormKernels, rms_norm) = {
    .forward = TRIMTAB_EACH_DTYPE(forward),
    .backward = TRIMTAB_EACH_DTYPE(backward),
};
}  // namespace trimtab
