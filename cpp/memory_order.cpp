#include "memory_order.h"

#include <algorithm>
#include <cstdlib>

namespace trimtab {

MemoryOrder::MemoryOrder(PyArrayObject* array) {
    const npy_intp itemsize = PyArray_ITEMSIZE(array);
    for (int i = 0; i < PyArray_NDIM(array); ++i) {
        const npy_intp stride = PyArray_STRIDE(array, i);
        if (PyArray_DIM(array, i) != 1)
            axes_.push_back({PyArray_DIM(array, i), stride % itemsize == 0 ? stride / itemsize : no_step});
    }
}

MemoryOrder MemoryOrder::c_contiguous(PyArrayObject* array) {
    MemoryOrder order(array);
    npy_intp step = 1;
    for (auto axis = order.axes_.rbegin(); axis != order.axes_.rend(); ++axis) {
        axis->step = step;
        step *= axis->extent;
    }
    return order;
}

bool MemoryOrder::dense() const {
    std::vector<Axis> inwards = axes_;
    std::sort(inwards.begin(), inwards.end(),
              [](const Axis& a, const Axis& b) { return std::abs(a.step) < std::abs(b.step); });
    npy_intp step = 1;
    return std::all_of(inwards.begin(), inwards.end(), [&](const Axis& axis) {
        const bool follows = std::abs(axis.step) == step;
        step *= axis.extent;
        return follows;
    });
}

npy_intp MemoryOrder::first() const {
    npy_intp first = 0;
    for (const Axis& axis : axes_)
        if (axis.step < 0) first -= (axis.extent - 1) * axis.step;
    return first;
}

char* MemoryOrder::begin(PyArrayObject* array) const {
    return PyArray_BYTES(array) - first() * PyArray_ITEMSIZE(array);
}

AnyArray MemoryOrder::empty_like(PyArrayObject* shape, PyArray_Descr* descr) const {
    AnyArray memory = empty({PyArray_SIZE(shape)}, descr);
    const npy_intp itemsize = memory.itemsize();
    Shape strides(std::size_t(PyArray_NDIM(shape)), itemsize);
    auto axis = axes_.begin();
    for (std::size_t i = 0; i < strides.size(); ++i)
        if (PyArray_DIM(shape, int(i)) != 1) strides[i] = axis++->step * itemsize;
    Py_INCREF(memory.descr());
    Ref view = Ref::checked(
        PyArray_NewFromDescr(&PyArray_Type, memory.descr(), PyArray_NDIM(shape), PyArray_DIMS(shape), strides.data(),
                             PyArray_BYTES(memory.get()) + first() * itemsize, NPY_ARRAY_WRITEABLE, nullptr));
    if (PyArray_SetBaseObject(as_array(view.get()), memory.release().release()) < 0) throw Raised();
    return AnyArray(std::move(view));
}
}  // namespace trimtab
