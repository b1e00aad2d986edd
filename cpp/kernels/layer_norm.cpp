// Layer normalisation of x (rows, width) along width.
#include "rows.h"

namespace trimtab {
namespace {

template <class T>
void forward(const RowNormForward& a) {
    normalise_rows<T, true>(a);
}
template <class T>
void backward(const RowNormBackward& a) {
    normalise_rows_backward<T, true>(a);
}
}  // namespace

TRIMTAB_EXPORT(RowNormKernels, layer_norm) = {
    .forward = TRIMTAB_EACH_DTYPE(forward),
    .backward = TRIMTAB_EACH_DTYPE(backward),
};
}  // namespace trimtab
