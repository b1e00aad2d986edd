#include "copy.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "dispatch.h"

namespace trimtab {
namespace {

// The axes of both, those with the largest steps in `to` first. Axes that both traverse as one are merged.
std::vector<CopyAxis> copy_axes(PyArrayObject* to, PyArrayObject* from) {
    std::vector<CopyAxis> axes;
    for (int i = 0; i < PyArray_NDIM(to); ++i)
        if (PyArray_DIM(to, i) != 1)
            axes.push_back({PyArray_DIM(to, i), PyArray_STRIDE(from, i), PyArray_STRIDE(to, i)});
    std::stable_sort(axes.begin(), axes.end(), [](const CopyAxis& a, const CopyAxis& b) {
        return std::abs(a.to_stride) > std::abs(b.to_stride);
    });
    std::vector<CopyAxis> merged;
    for (const CopyAxis& axis : axes) {
        const auto continues = [&](const CopyAxis& outer) {
            return outer.from_stride == axis.from_stride * axis.extent &&
                   outer.to_stride == axis.to_stride * axis.extent;
        };
        if (!merged.empty() && continues(merged.back()))
            merged.back() = {merged.back().extent * axis.extent, axis.from_stride, axis.to_stride};
        else
            merged.push_back(axis);
    }
    return merged;
}

// The axis whose elements lie side by side, which is taken out of the list.
std::optional<CopyAxis> take_axis(std::vector<CopyAxis>& axes, ptrdiff_t CopyAxis::* stride, npy_intp itemsize) {
    const auto axis = std::find_if(axes.begin(), axes.end(), [=](const CopyAxis& a) { return a.*stride == itemsize; });
    if (axis == axes.end()) return {};
    const CopyAxis taken = *axis;
    axes.erase(axis);
    return taken;
}

Kernel<Transpose> transpose_of(npy_intp itemsize) {
    switch (itemsize) {
        case 2: return kernels->transpose->copy2;
        case 4: return kernels->transpose->copy4;
        case 8: return kernels->transpose->copy8;
        default: return nullptr;
    }
}

// Returns false where this is no transposition.
bool copy_transposed(PyArrayObject* to, PyArrayObject* from) {
    const npy_intp itemsize = PyArray_ITEMSIZE(to);
    const Kernel<Transpose> kernel = transpose_of(itemsize);
    const bool same_kind = PyArray_TYPE(to) == PyArray_TYPE(from) && PyArray_ITEMSIZE(from) == itemsize &&
                           PyArray_ISNOTSWAPPED(to) && PyArray_ISNOTSWAPPED(from);
    if (!kernel || !same_kind || PyDataType_REFCHK(PyArray_DESCR(to)) || PyArray_SIZE(to) == 0) return false;
    std::vector<CopyAxis> axes = copy_axes(to, from);
    const auto row = take_axis(axes, &CopyAxis::to_stride, itemsize);
    const auto column = take_axis(axes, &CopyAxis::from_stride, itemsize);
    if (!row || !column) return false;
    const Released released;
    kernel({.from = PyArray_BYTES(from),
            .to = PyArray_BYTES(to),
            .rows = row->extent,
            .columns = column->extent,
            .row_stride = row->from_stride,
            .column_stride = column->to_stride,
            .outer = axes.data(),
            .outer_axes = int(axes.size())});
    return true;
}
}  // namespace

void copy_values(PyArrayObject* to, PyArrayObject* from) {
    if (!copy_transposed(to, from) && PyArray_CopyInto(to, from) < 0) throw Raised();
}

AnyArray contiguous_copy(const AnyArray& x) {
    const bool native = PyArray_ISNOTSWAPPED(x.get());
    PyArray_Descr* const descr = native ? x.descr() : PyArray_DescrNewByteorder(x.descr(), NPY_NATIVE);
    const Ref owner = native ? Ref() : Ref::checked(reinterpret_cast<PyObject*>(descr));
    AnyArray copy = empty(x.shape(), descr);
    copy_values(copy.get(), x.get());
    return copy;
}

Array reordered(const Array& x, const std::vector<int>& axes) {
    return Array(contiguous_copy(transposed(x, axes)), x.dtype());
}
}  // namespace trimtab
