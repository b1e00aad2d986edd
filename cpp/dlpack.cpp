#include "dlpack.h"

#include <cstdint>

#include "numpy.h"

namespace trimtab {
namespace {

// ---- the binary interface: https://dmlc.github.io/dlpack/latest/c_api.html ----

struct Device {
    int32_t type, id;
};
struct DataType {
    uint8_t code, bits;
    uint16_t lanes;
};
struct Tensor {
    void* data;
    Device device;
    int32_t ndim;
    DataType dtype;
    int64_t *shape, *strides;  // in elements; no strides: C-contiguous
    uint64_t byte_offset;
};
struct Managed {
    static constexpr const char *name = "dltensor", *used = "used_dltensor";
    Tensor tensor;
    void* context;
    void (*deleter)(Managed*);
};
struct Versioned {
    static constexpr const char *name = "dltensor_versioned", *used = "used_dltensor_versioned";
    uint32_t major, minor;
    void* context;
    void (*deleter)(Versioned*);
    uint64_t flags;
    Tensor tensor;
};
constexpr uint32_t major_version = 1;

enum DeviceType : int { cpu = 1, cuda_host = 3, rocm_host = 11, cuda_managed = 13 };
bool is_host(long type) { return type == cpu || type == cuda_host || type == rocm_host || type == cuda_managed; }

enum Code : uint8_t { signed_integer, unsigned_integer, floating, bfloat = 4, complex_number, boolean };

// ---- into NumPy's terms ----

PyArray_Descr* bfloat16_descr() {
    const Ref package(PyImport_ImportModule("ml_dtypes"));
    if (!package) {
        if (!PyErr_ExceptionMatches(PyExc_ImportError)) throw Raised();
        PyErr_Clear();
        PyErr_SetString(PyExc_TypeError, "bfloat16 needs the package ml_dtypes: pip install ml_dtypes");
        throw Raised();
    }
    const Ref type = Ref::checked(PyObject_GetAttrString(package.get(), "bfloat16"));
    PyArray_Descr* descr;
    if (PyArray_DescrConverter(type.get(), &descr) != NPY_SUCCEED) throw Raised();
    return descr;
}

// A new reference.
PyArray_Descr* descr_of(const DataType& dtype) {
    constexpr struct {
        uint8_t code, bits;
        int number;
    } known[] = {{signed_integer, 8, NPY_INT8},         {signed_integer, 16, NPY_INT16},
                 {signed_integer, 32, NPY_INT32},       {signed_integer, 64, NPY_INT64},
                 {unsigned_integer, 8, NPY_UINT8},      {unsigned_integer, 16, NPY_UINT16},
                 {unsigned_integer, 32, NPY_UINT32},    {unsigned_integer, 64, NPY_UINT64},
                 {floating, 16, NPY_FLOAT16},           {floating, 32, NPY_FLOAT32},
                 {floating, 64, NPY_FLOAT64},           {complex_number, 64, NPY_COMPLEX64},
                 {complex_number, 128, NPY_COMPLEX128}, {boolean, 8, NPY_BOOL}};
    if (dtype.lanes == 1) {
        for (const auto& [code, bits, number] : known)
            if (dtype.code == code && dtype.bits == bits) return PyArray_DescrFromType(number);
        if (dtype.code == bfloat && dtype.bits == 16) return bfloat16_descr();
    }
    PyErr_Format(PyExc_TypeError, "NumPy has no dtype for DLPack's code %d of %d bits", dtype.code, dtype.bits);
    throw Raised();
}

// Over the tensor's memory, which the array does not own.
Ref as_array(const Tensor& tensor) {
    if (!is_host(tensor.device.type) || tensor.ndim < 0 || tensor.ndim > NPY_MAXDIMS) {
        PyErr_Format(PyExc_BufferError, "%d dimensions on DLPack's device type %d are not an array on the CPU",
                     tensor.ndim, tensor.device.type);
        throw Raised();
    }
    PyArray_Descr* const descr = descr_of(tensor.dtype);
    npy_intp shape[NPY_MAXDIMS], strides[NPY_MAXDIMS], step = PyDataType_ELSIZE(descr);
    for (int i = tensor.ndim - 1; i >= 0; --i) {
        shape[i] = tensor.shape[i];
        strides[i] = tensor.strides ? tensor.strides[i] * PyDataType_ELSIZE(descr) : step;
        step *= shape[i];
    }
    if (!tensor.data && step != 0) {  // NumPy would allocate memory and leave it as it is
        Py_DECREF(descr);
        PyErr_SetString(PyExc_BufferError, "a DLPack tensor with elements has no memory");
        throw Raised();
    }
    void* const data = tensor.data ? static_cast<char*>(tensor.data) + tensor.byte_offset : nullptr;
    return Ref::checked(PyArray_NewFromDescr(&PyArray_Type, descr, tensor.ndim, shape, strides, data, 0, nullptr));
}

// The array takes the tensor over from the capsule and calls the producer's deleter when it is released.
template <class Owner>
Ref adopt(PyObject* capsule) {
    auto* const owner = static_cast<Owner*>(PyCapsule_GetPointer(capsule, Owner::name));
    if constexpr (requires { owner->major; })
        if (owner->major > major_version) {
            PyErr_Format(PyExc_BufferError, "DLPack's version %u is not known", owner->major);
            throw Raised();
        }
    Ref array = as_array(owner->tensor);
    const auto release = [](PyObject* base) {
        auto* const tensor = static_cast<Owner*>(PyCapsule_GetPointer(base, nullptr));
        if (tensor->deleter) tensor->deleter(tensor);
    };
    Ref base = Ref::checked(PyCapsule_New(owner, nullptr, release));
    PyCapsule_SetName(capsule, Owner::used);
    if (PyArray_SetBaseObject(reinterpret_cast<PyArrayObject*>(array.get()), base.release()) < 0) throw Raised();
    return array;
}

// ---- the protocol ----

bool on_host(PyObject* object) {
    const Ref device = Ref::checked(PyObject_CallMethod(object, "__dlpack_device__", nullptr));
    const Ref type = Ref::checked(PySequence_GetItem(device.get(), 0));
    const long number = PyLong_AsLong(type.get());
    if (number == -1 && PyErr_Occurred()) throw Raised();
    if (is_host(number)) return true;
    PyErr_Format(PyExc_BufferError, "the memory is on DLPack's device type %ld, not on the CPU", number);
    return false;
}

// Producers before DLPack 1.0 do not take the argument and return a capsule without a version.
Ref capsule_of(PyObject* dlpack) {
    const Ref none = Ref::checked(PyTuple_New(0)),
              keywords = Ref::checked(Py_BuildValue("{s(ii)}", "max_version", 1, 0));
    Ref capsule(PyObject_Call(dlpack, none.get(), keywords.get()));
    if (!capsule && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        capsule = Ref(PyObject_CallNoArgs(dlpack));
    }
    return capsule;
}
}  // namespace

Ref from_dlpack(PyObject* object) {
    const Ref dlpack = find_attribute(object, "__dlpack__");
    if (!dlpack) return Ref();
    try {
        if (!on_host(object)) return Ref();
        const Ref capsule = capsule_of(dlpack.get());
        if (!capsule) return Ref();
        if (PyCapsule_IsValid(capsule.get(), Versioned::name)) return adopt<Versioned>(capsule.get());
        if (PyCapsule_IsValid(capsule.get(), Managed::name)) return adopt<Managed>(capsule.get());
        PyErr_SetString(PyExc_TypeError, "__dlpack__ gave no tensor");
    } catch (const Raised&) {
    }
    return Ref();
}
}  // namespace trimtab
