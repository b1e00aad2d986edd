#include "overlap.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <vector>

#include "function.h"

namespace trimtab {
namespace {

// The greatest common divisor of the distances between elements.
npy_intp common_stride(PyArrayObject* array) {
    npy_intp stride = 0;
    for (int i = 0; i < PyArray_NDIM(array); ++i)
        if (PyArray_DIM(array, i) > 1) stride = std::gcd(stride, PyArray_STRIDE(array, i));
    return stride;
}

// Whether the arrays interleave: in each common stride the elements of `b` lie between those of `a`.
bool interleave(PyArrayObject* a, PyArrayObject* b) {
    const npy_intp stride = std::gcd(common_stride(a), common_stride(b));
    if (stride == 0) return false;
    const npy_intp distance = PyArray_BYTES(b) - PyArray_BYTES(a);
    const npy_intp after = ((distance % stride) + stride) % stride;  // from an element of a to the next of b
    return after >= PyArray_ITEMSIZE(a) && after + PyArray_ITEMSIZE(b) <= stride;
}

// The general case is NP-hard and left to NumPy; true where it gives up.
bool numpy_shares_memory(PyArrayObject* a, PyArrayObject* b) {
    constexpr int most_work = 100'000;
    const Ref numpy = Ref::checked(PyImport_ImportModule("numpy"));
    const Ref answer(PyObject_CallMethod(numpy.get(), "shares_memory", "OOi", a, b, most_work));
    if (answer) return PyObject_IsTrue(answer.get()) == 1;
    if (!PyErr_ExceptionMatches(PyExc_RuntimeError)) throw Raised();  // TooHardError is one
    PyErr_Clear();
    return true;
}
}  // namespace

Extent::Extent(PyArrayObject* array) {
    begin = PyArray_BYTES(array);
    end = begin + PyArray_ITEMSIZE(array);
    for (int i = 0; i < PyArray_NDIM(array); ++i) {
        const npy_intp reach = (PyArray_DIM(array, i) - 1) * PyArray_STRIDE(array, i);
        (reach < 0 ? begin : end) += reach;
        if (PyArray_DIM(array, i) == 0) {
            begin = end = PyArray_BYTES(array);
            return;
        }
    }
}

bool overlap(PyArrayObject* a, PyArrayObject* b) {
    if (!Extent(a).intersects(Extent(b))) return false;
    if (PyArray_ISONESEGMENT(a) && PyArray_ISONESEGMENT(b)) return true;
    return !interleave(a, b) && numpy_shares_memory(a, b);
}

bool overlaps_itself(PyArrayObject* array) {
    if (PyArray_ISONESEGMENT(array) || PyArray_SIZE(array) == 0) return false;
    std::vector<std::pair<npy_intp, npy_intp>> axes;  // stride, extent
    for (int i = 0; i < PyArray_NDIM(array); ++i)
        if (PyArray_DIM(array, i) > 1) axes.emplace_back(std::abs(PyArray_STRIDE(array, i)), PyArray_DIM(array, i));
    std::sort(axes.begin(), axes.end());
    npy_intp reach = PyArray_ITEMSIZE(array);
    const bool nested = std::all_of(axes.begin(), axes.end(), [&](const auto& axis) {
        const bool beyond = axis.first >= reach;  // the elements along all shorter strides
        reach += (axis.second - 1) * axis.first;
        return beyond;
    });
    if (nested) return false;
    if (axes[0].first == 0) return true;
    std::vector<npy_intp> offsets{0};
    for (const auto& [stride, extent] : axes) {
        const std::size_t count = offsets.size();
        for (npy_intp step = 1; step < extent; ++step)
            for (std::size_t i = 0; i < count; ++i) offsets.push_back(offsets[i] + step * stride);
    }
    std::sort(offsets.begin(), offsets.end());
    const npy_intp itemsize = PyArray_ITEMSIZE(array);
    return std::adjacent_find(offsets.begin(), offsets.end(),
                              [=](npy_intp low, npy_intp high) { return high - low < itemsize; }) != offsets.end();
}

bool same_elements(PyArrayObject* a, PyArrayObject* b) {
    if (PyArray_DATA(a) != PyArray_DATA(b) || PyArray_TYPE(a) != PyArray_TYPE(b) || !PyArray_SAMESHAPE(a, b))
        return false;
    for (int i = 0; i < PyArray_NDIM(a); ++i)
        if (PyArray_DIM(a, i) > 1 && PyArray_STRIDE(a, i) != PyArray_STRIDE(b, i)) return false;
    return true;
}
}  // namespace trimtab
