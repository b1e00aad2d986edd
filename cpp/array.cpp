#define TRIMTAB_IMPORTS_NUMPY
#include "array.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string_view>

namespace trimtab {
namespace {

// bfloat16 comes from ml_dtypes, which registers it under a number of its own; it is known by its scalar type.
std::atomic<int> bfloat16_number = -1;

bool is_bfloat16(PyArray_Descr* descr) {
    if (descr->type_num == bfloat16_number.load(std::memory_order_relaxed)) return true;
    if (!PyTypeNum_ISUSERDEF(descr->type_num) || !std::string_view(descr->typeobj->tp_name).ends_with("bfloat16"))
        return false;
    bfloat16_number.store(descr->type_num, std::memory_order_relaxed);
    return true;
}

// ---- large arrays live in recycled blocks: NumPy allocates them through a handler of ours (NEP 49) ----

void* handler_malloc(void*, std::size_t bytes) {
    try {
        return take_block(bytes, 1);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}
void* handler_calloc(void*, std::size_t count, std::size_t size) {
    void* block = size && count > SIZE_MAX / size ? nullptr : handler_malloc(nullptr, count * size);
    return block ? std::memset(block, 0, count * size) : nullptr;
}
void handler_free(void*, void* block, std::size_t) {
    if (block) give_block(block);
}
void* handler_realloc(void*, void* block, std::size_t bytes) {
    void* moved = handler_malloc(nullptr, bytes);
    if (moved && block) {
        std::memcpy(moved, block, std::min(bytes, block_bytes(block)));
        give_block(block);
    }
    return moved;
}
PyDataMem_Handler handler = {"trimtab", 1, {nullptr, handler_malloc, handler_calloc, handler_realloc, handler_free}};
PyObject* handler_capsule = nullptr;
}  // namespace

PyArray_Descr *float32_descr = nullptr, *float64_descr = nullptr, *uint8_descr = nullptr;

void import_numpy() {
    if (_import_array() < 0) throw Raised();
    float32_descr = PyArray_DescrFromType(NPY_FLOAT);
    float64_descr = PyArray_DescrFromType(NPY_DOUBLE);
    uint8_descr = PyArray_DescrFromType(NPY_UINT8);
    handler_capsule = Ref::checked(PyCapsule_New(&handler, "mem_handler", nullptr)).release();
}

std::string dtype_text(PyArray_Descr* descr) {
    const Ref text(PyObject_Str(reinterpret_cast<PyObject*>(descr)));
    const char* utf8 = text ? PyUnicode_AsUTF8(text.get()) : nullptr;
    return std::string("dtype ") + (utf8 ? utf8 : "?");
}

std::string text(const Shape& shape) {
    std::string inside;
    for (const npy_intp extent : shape) inside += (inside.empty() ? "" : ", ") + std::to_string(extent);
    return "(" + inside + (shape.size() == 1 ? ",)" : ")");
}

bool find_dtype(PyArray_Descr* descr, DType& dtype) {
    switch (descr->type_num) {
        case NPY_FLOAT: dtype = DType::float32; return true;
        case NPY_DOUBLE: dtype = DType::float64; return true;
        case NPY_HALF: dtype = DType::float16; return true;
        default: dtype = DType::bfloat16; return is_bfloat16(descr);
    }
}

bool behaved(PyArrayObject* array) {
    return PyArray_CHKFLAGS(array, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED) && PyArray_ISNOTSWAPPED(array);
}

bool holds_shape(PyArrayObject* array, const Shape& shape) {
    const npy_intp *dim = PyArray_DIMS(array), *const end = dim + PyArray_NDIM(array);
    const auto next = [&] { return std::find_if(dim, end, [](npy_intp extent) { return extent != 1; }); };
    for (const npy_intp extent : shape) {
        if (extent == 1) continue;
        dim = next();
        if (dim == end || *dim++ != extent) return false;
    }
    return next() == end;
}

AnyArray empty(const Shape& shape, PyArray_Descr* descr) {
    npy_intp bytes = PyDataType_ELSIZE(descr);
    bool recycled = true;
    for (const npy_intp extent : shape)
        if (extent == 0)
            recycled = false;
        else if (__builtin_mul_overflow(bytes, extent, &bytes))  // NumPy refuses it even if another extent is 0
            throw std::bad_alloc();
    recycled = recycled && std::size_t(bytes) >= recycled_bytes;
    const Ref before = recycled ? Ref::checked(PyDataMem_SetHandler(handler_capsule)) : Ref();
    Py_INCREF(descr);
    Ref array(
        PyArray_NewFromDescr(&PyArray_Type, descr, int(shape.size()), shape.data(), nullptr, nullptr, 0, nullptr));
    if (recycled) Ref::checked(PyDataMem_SetHandler(before.get()));
    if (!array) throw Raised();
    return AnyArray(std::move(array));
}

Array empty_like(const Array& x, const Shape& shape) { return Array(empty(shape, x.descr()), x.dtype()); }

Array empty_doubles(const Shape& shape) { return Array(empty(shape, float64_descr), DType::float64); }

AnyArray transposed(const AnyArray& x, const std::vector<int>& axes) {
    std::vector<npy_intp> order(axes.begin(), axes.end());
    PyArray_Dims permutation{order.data(), int(order.size())};
    return AnyArray(Ref::checked(PyArray_Transpose(x.get(), &permutation)));
}

}  // namespace trimtab
