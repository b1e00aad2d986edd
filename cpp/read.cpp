#include "read.h"

#include "copy.h"
#include "dlpack.h"
#include "guard.h"
#include "overlap.h"

namespace trimtab {
namespace {

constexpr const char* accepted_dtypes = "be a float32, float64, float16 or bfloat16 array";

// Classes of arrays whose values (masks) or axes mean something else; null: none of them.
const char* special_kind(PyObject* object) {
    constexpr struct {
        const char *module, *type, *name;
    } kinds[] = {{"numpy.ma", "MaskedArray", "numpy.ma.MaskedArray"}, {"numpy", "matrix", "numpy.matrix"}};
    if (!PyArray_Check(object) || PyArray_CheckExact(object)) return nullptr;
    for (const auto& [module, type, name] : kinds) {
        const Ref module_name = Ref::checked(PyUnicode_FromString(module));
        const Ref loaded(PyImport_GetModule(module_name.get()));  // a class that was never loaded has no instances
        const Ref found = loaded ? find_attribute(loaded.get(), type) : Ref();
        if (found && PyType_Check(found.get()) &&
            PyType_IsSubtype(Py_TYPE(object), reinterpret_cast<PyTypeObject*>(found.get())))
            return name;
    }
    return nullptr;
}

// The first of them in nested lists and tuples: NumPy would convert it to a plain array.
const char* special_kind_inside(PyObject* object, int depth = 0) {
    if (depth > NPY_MAXDIMS || !(PyList_Check(object) || PyTuple_Check(object))) return special_kind(object);
    for (Py_ssize_t i = 0; i < PySequence_Size(object); ++i) {
        const Ref item(PySequence_GetItem(object, i));
        if (!item) throw Raised();
        if (PyFloat_CheckExact(item.get()) || PyLong_CheckExact(item.get())) continue;
        if (const char* const kind = special_kind_inside(item.get(), depth + 1)) return kind;
    }
    return nullptr;
}

void refuse_special(const Argument& argument, PyObject* object, const char* rule) {
    if (const char* const kind = special_kind_inside(object)) argument.fail(PyExc_TypeError, rule, kind);
}

// The exception of an object that does not export its memory, but may still convert itself; others are passed on.
Ref refusal() {
    for (PyObject* const type :
         {PyExc_BufferError, PyExc_TypeError, PyExc_ValueError, PyExc_RuntimeError, PyExc_AttributeError})
        if (PyErr_ExceptionMatches(type)) return take_raised();
    throw Raised();
}

// Whether the exception comes from the interpreter or the system rather than from the object.
bool is_grave() {
    return !PyErr_ExceptionMatches(PyExc_Exception) || PyErr_ExceptionMatches(PyExc_MemoryError) ||
           PyErr_ExceptionMatches(PyExc_OSError);
}

// A base-class array with native bytes, aligned and contiguous.
AnyArray contiguous(AnyArray array) {
    if (!behaved(array.get())) return contiguous_copy(array);
    if (PyArray_CheckExact(array.get())) return array;
    return AnyArray(Ref::checked(PyArray_View(array.get(), nullptr, &PyArray_Type)));
}

// The argument in an error message: its dtype, or its repr where the dtype says less.
std::string kind_text(const Argument& argument, PyArray_Descr* descr) {
    const bool has_dtype = PyArray_Check(argument.value()) || PyTypeNum_ISNUMBER(descr->type_num);
    return has_dtype || PyTypeNum_ISBOOL(descr->type_num) ? dtype_text(descr) : repr(argument.value());
}

bool is_real(PyArray_Descr* descr) {
    return PyTypeNum_ISBOOL(descr->type_num) || PyTypeNum_ISINTEGER(descr->type_num) ||
           descr->type_num == NPY_LONGDOUBLE;
}
}  // namespace

AnyArray hold(const Argument& argument, PyObject* array) {
    return AnyArray(argument.guarded() ? guarded(as_array(array)) : Ref::borrow(array));
}

AnyArray read_any(const Argument& argument, const char* rule) {
    PyObject* const object = argument.value();
    if (PyArray_CheckExact(object)) return hold(argument, object);
    refuse_special(argument, object, "be a plain numpy array");
    if (PyArray_Check(object)) return hold(argument, object);
    Ref refused, array;
    if (!PyList_Check(object) && !PyTuple_Check(object)) {
        array = from_dlpack(object);
        if (!array && PyErr_Occurred()) refused = refusal();
    }
    if (!array) array = Ref(PyArray_FROM_O(object));
    if (!array && refused && !is_grave()) PyErr_Clear();
    if (!array && !PyErr_Occurred()) argument.refused(rule, std::move(refused));
    if (!array) argument.raised(rule);
    if (refused && PyArray_TYPE(as_array(array.get())) == NPY_OBJECT) argument.refused(rule, std::move(refused));
    refuse_special(argument, array.get(), "be a plain numpy array");
    return hold(argument, array.get());
}

Array read(const Argument& argument) {
    AnyArray array = read_any(argument, accepted_dtypes);
    PyArray_Descr* const descr = array.descr();
    DType dtype;
    if (!find_dtype(descr, dtype)) {
        const std::string advice = PyTypeNum_ISBOOL(descr->type_num) || PyTypeNum_ISINTEGER(descr->type_num)
                                       ? ": convert it with " + argument.label() + ".astype(np.float32)"
                                       : "";
        argument.fail(PyExc_TypeError, accepted_dtypes, kind_text(argument, descr) + advice);
    }
    return Array(contiguous(std::move(array)), dtype);
}

Array read_like(const Argument& argument, const Array& other) {
    Array array = read(argument);
    require_dtype(argument, array, other.dtype());
    require_shape(argument, array.get(), other.shape());
    return array;
}

Array read_statistic(const Argument& argument, const Shape& shape) {
    Array array = read(argument);
    require_dtype(argument, array, DType::float64);
    require_shape(argument, array.get(), shape);
    return array;
}

bool Real::floating() const { return PyTypeNum_ISFLOAT(given.type_number()) || values.dtype() == DType::bfloat16; }

Real as_real(const Argument& argument, AnyArray array) {
    PyArray_Descr* const descr = array.descr();
    DType dtype;
    if (find_dtype(descr, dtype)) {
        AnyArray given = array.share();
        return {Array(contiguous(std::move(array)), dtype), std::move(given)};
    }
    if (!is_real(descr)) argument.fail(PyExc_TypeError, "be an array of real numbers", kind_text(argument, descr));
    constexpr int flags = NPY_ARRAY_CARRAY_RO | NPY_ARRAY_ENSUREARRAY | NPY_ARRAY_FORCECAST;
    Ref values = Ref::checked(PyArray_FROM_OTF(reinterpret_cast<PyObject*>(array.get()), NPY_DOUBLE, flags));
    return {Array(std::move(values), DType::float64), std::move(array)};
}

Real read_real(const Argument& argument) {
    return as_real(argument, read_any(argument, "be an array of real numbers"));
}

Array read_in_place(const Argument& argument, bool written) {
    require_ndarray(argument);
    PyArrayObject* const array = as_array(argument.value());
    DType dtype;
    if (!find_dtype(PyArray_DESCR(array), dtype))
        argument.fail(PyExc_TypeError, accepted_dtypes, dtype_text(PyArray_DESCR(array)));
    if (written) require_writeable(argument);
    return Array(hold(argument, argument.value()), dtype);
}

void require_ndarray(const Argument& argument) {
    PyObject* const object = argument.value();
    if (PyArray_CheckExact(object)) return;
    constexpr const char* rule = "be a numpy.ndarray";
    if (!PyArray_Check(object)) argument.fail(PyExc_TypeError, rule, type_name(object));
    refuse_special(argument, object, rule);
}

void require_writeable(const Argument& argument) {
    PyArrayObject* const array = as_array(argument.value());
    if (!PyArray_ISWRITEABLE(array)) argument.fail(PyExc_ValueError, "be writeable", "a read-only array");
    if (overlaps_itself(array))
        argument.fail(PyExc_ValueError, "have an address of its own for every element",
                      "strides " + text(Shape(PyArray_STRIDES(array), PyArray_STRIDES(array) + PyArray_NDIM(array))));
}

void require_dtype(const Argument& argument, const Array& array, DType dtype) {
    constexpr const char* names[dtype_count] = {"float32", "float64", "float16", "bfloat16"};
    if (array.dtype() != dtype)
        argument.fail(PyExc_TypeError, std::string("have dtype ") + names[int(dtype)], dtype_text(array.descr()));
}

void require_shape(const Argument& argument, PyArrayObject* array, const Shape& shape) {
    const Shape got(PyArray_DIMS(array), PyArray_DIMS(array) + PyArray_NDIM(array));
    if (got != shape) argument.fail(PyExc_ValueError, "have shape " + text(shape), text(got));
}

void require_values(const Argument& argument, PyArrayObject* array, const Shape& shape) {
    if (!holds_shape(array, shape)) require_shape(argument, array, shape);
}
}  // namespace trimtab
