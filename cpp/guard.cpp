#include "guard.h"

#include <string_view>

namespace trimtab {
namespace {

// Types that are written in C, without methods of the caller.
bool is_inert_item(PyObject* object) {
    if (PyArray_CheckExact(object)) return !PyDataType_REFCHK(PyArray_DESCR(reinterpret_cast<PyArrayObject*>(object)));
    if (object == Py_None || PyFloat_CheckExact(object) || PyLong_CheckExact(object) || PyBool_Check(object) ||
        PyUnicode_CheckExact(object))
        return true;
    const bool is_static = !(Py_TYPE(object)->tp_flags & Py_TPFLAGS_HEAPTYPE);
    return is_static && std::string_view(Py_TYPE(object)->tp_name).starts_with("numpy.");  // its scalars and generators
}
}  // namespace

bool is_inert(PyObject* object) {
    if (is_inert_item(object)) return true;
    if (PyTuple_CheckExact(object) || PyList_CheckExact(object)) {
        for (Py_ssize_t i = 0; i < PySequence_Size(object); ++i)
            if (const Ref item(PySequence_GetItem(object, i)); !item || !is_inert_item(item.get())) {
                PyErr_Clear();
                return false;
            }
        return true;
    }
    if (!PyDict_CheckExact(object)) return false;
    const Ref items = Ref::checked(PyDict_Items(object));
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items.get()); ++i) {
        PyObject* const pair = PyList_GET_ITEM(items.get(), i);
        if (!is_inert_item(PyTuple_GET_ITEM(pair, 0)) || !is_inert_item(PyTuple_GET_ITEM(pair, 1))) return false;
    }
    return true;
}

// NumPy does not resize an array that is weakly referenced, not even with refcheck=False.
Ref guarded(PyArrayObject* array) {
    auto* owner = reinterpret_cast<PyObject*>(array);
    for (PyObject* base = owner; base && PyArray_Check(base);
         base = PyArray_BASE(reinterpret_cast<PyArrayObject*>(base)))
        owner = base;
    const Ref kept = Ref::checked(PyWeakref_NewRef(owner, nullptr));
    Ref base = Ref::checked(PyTuple_Pack(3, array, owner, kept.get()));
    PyArray_Descr* const descr = PyArray_DESCR(array);
    Py_INCREF(descr);
    Ref view = Ref::checked(PyArray_NewFromDescr(&PyArray_Type, descr, PyArray_NDIM(array), PyArray_DIMS(array),
                                                 PyArray_STRIDES(array), PyArray_DATA(array),
                                                 PyArray_FLAGS(array) & NPY_ARRAY_WRITEABLE, nullptr));
    if (PyArray_SetBaseObject(reinterpret_cast<PyArrayObject*>(view.get()), base.release()) < 0) throw Raised();
    return view;
}
}  // namespace trimtab
