#define TRIMTAB_IMPORTS_NUMPY
#include "array.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string_view>

#include "dispatch.h"

namespace trimtab {
namespace {

constexpr const char* accepted_dtypes = "be a float32, float64, float16 or bfloat16 array";

PyArrayObject* as_array(PyObject* object) { return reinterpret_cast<PyArrayObject*>(object); }

// bfloat16 comes from ml_dtypes, which registers it under a number of its own; it is known by its scalar type.
std::atomic<int> bfloat16_number = -1;

bool is_bfloat16(PyArray_Descr* descr) {
    if (descr->type_num == bfloat16_number.load(std::memory_order_relaxed)) return true;
    if (!PyTypeNum_ISUSERDEF(descr->type_num) || !std::string_view(descr->typeobj->tp_name).ends_with("bfloat16"))
        return false;
    bfloat16_number.store(descr->type_num, std::memory_order_relaxed);
    return true;
}

bool find_dtype(PyArray_Descr* descr, DType& dtype) {
    switch (descr->type_num) {
        case NPY_FLOAT: dtype = DType::float32; return true;
        case NPY_DOUBLE: dtype = DType::float64; return true;
        case NPY_HALF: dtype = DType::float16; return true;
        default: dtype = DType::bfloat16; return is_bfloat16(descr);
    }
}

bool is_instance(PyObject* object, const char* module, const char* attribute) {
    const Ref name = Ref::checked(PyUnicode_FromString(module));
    const Ref loaded(PyImport_GetModule(name.get()));  // a class that was never loaded has no instances
    if (!loaded) {
        PyErr_Clear();
        return false;
    }
    const Ref type(PyObject_GetAttrString(loaded.get(), attribute));
    const int answer = type ? PyObject_IsInstance(object, type.get()) : 0;
    if (answer < 0 || !type) PyErr_Clear();
    return answer > 0;
}

// Arrays that mean something else by their values (masks) or their axes.
void refuse_special(const Argument& argument, const char* rule) {
    if (PyArray_CheckExact(argument.value())) return;
    for (const auto& [module, name, label] :
         {std::array{"numpy.ma", "MaskedArray", "numpy.ma.MaskedArray"}, std::array{"numpy", "matrix", "numpy.matrix"}})
        if (is_instance(argument.value(), module, name)) argument.fail(PyExc_TypeError, rule, label);
}

// An ndarray (perhaps of a subclass) from whatever the caller gave.
Ref to_ndarray(const Argument& argument, const char* rule = accepted_dtypes) {
    PyObject* object = argument.value();
    if (PyArray_CheckExact(object)) return Ref::borrow(object);
    refuse_special(argument, "be a plain numpy array");
    if (PyArray_Check(object)) return Ref::borrow(object);
    Ref converted;
    if (PyObject_HasAttrString(object, "__dlpack__")) {
        const Ref numpy = Ref::checked(PyImport_ImportModule("numpy"));
        converted = Ref(PyObject_CallMethod(numpy.get(), "from_dlpack", "O", object));
        if (!converted) PyErr_Clear();  // a dtype or device that DLPack or NumPy does not have: it may convert itself
    }
    if (!converted) converted = Ref(PyArray_FROM_O(object));
    if (!converted) {
        PyErr_Clear();
        argument.fail(PyExc_TypeError, rule, repr(object));
    }
    return converted;
}

bool behaved(PyArrayObject* array) {
    return PyArray_CHKFLAGS(array, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED) && PyArray_ISNOTSWAPPED(array);
}

// A base-class array with native bytes, aligned and contiguous.
Ref contiguous(Ref object) {
    PyArrayObject* array = as_array(object.get());
    if (PyArray_CheckExact(object.get()) && behaved(array)) return object;
    PyArray_Descr* descr = PyArray_DESCR(array);
    PyArray_Descr* native = PyArray_ISNOTSWAPPED(array) ? descr : PyArray_DescrNewByteorder(descr, NPY_NATIVE);
    if (native == descr) Py_INCREF(descr);
    if (!native) throw Raised();
    return Ref::checked(PyArray_FromArray(array, native, NPY_ARRAY_CARRAY_RO | NPY_ARRAY_ENSUREARRAY));
}

void require_ndarray(const Argument& argument) {
    if (!PyArray_Check(argument.value()) || is_instance(argument.value(), "numpy.ma", "MaskedArray"))
        argument.fail(PyExc_TypeError, "be a numpy.ndarray", type_name(argument.value()));
}

void require_writeable(const Argument& argument) {
    if (!PyArray_ISWRITEABLE(as_array(argument.value())))
        argument.fail(PyExc_ValueError, "be writeable", "a read-only array");
}

void require_shape(const Argument& argument, PyArrayObject* array, const Shape& shape) {
    const Shape got(PyArray_DIMS(array), PyArray_DIMS(array) + PyArray_NDIM(array));
    if (got != shape) argument.fail(PyExc_ValueError, "have shape " + text(shape), text(got));
}

// Whether every value of `narrow` is one of `wide`: the order of their sizes, and the same 16-bit type.
bool at_least_as_wide(DType wide, DType narrow) {
    constexpr int rank[dtype_count] = {1, 2, 0, 0};
    return wide == narrow || rank[int(wide)] > rank[int(narrow)];
}

struct Extent {
    const char *begin, *end;
    explicit Extent(PyArrayObject* array) {
        begin = end = static_cast<const char*>(PyArray_DATA(array));
        if (PyArray_SIZE(array) == 0) return;
        end += PyArray_ITEMSIZE(array);
        for (int i = 0; i < PyArray_NDIM(array); ++i) {
            const npy_intp reach = (PyArray_DIM(array, i) - 1) * PyArray_STRIDE(array, i);
            (reach < 0 ? begin : end) += reach;
        }
    }
    bool overlaps(const Extent& o) const { return begin < o.end && o.begin < end; }
    bool operator==(const Extent& o) const { return begin == o.begin && end == o.end; }
};

Ref transposed(PyArrayObject* array, const std::vector<int>& axes) {
    std::vector<npy_intp> order(axes.begin(), axes.end());
    PyArray_Dims permutation{order.data(), int(order.size())};
    return Ref::checked(PyArray_Transpose(array, &permutation));
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

Array read(const Argument& argument) {
    Ref array = to_ndarray(argument);
    PyArray_Descr* descr = PyArray_DESCR(as_array(array.get()));
    DType dtype;
    if (!find_dtype(descr, dtype)) argument.fail(PyExc_TypeError, accepted_dtypes, dtype_text(descr));
    return Array(contiguous(std::move(array)), dtype);
}

Array read_like(const Argument& argument, const Array& other) {
    Array array = read(argument);
    require_dtype(argument, array, other.dtype());
    require_shape(argument, array.get(), other.shape());
    return array;
}

Array read_integers(const Argument& argument, const char* rule) {
    const Ref array = to_ndarray(argument, rule);
    PyArray_Descr* descr = PyArray_DESCR(as_array(array.get()));
    DType dtype;
    if (find_dtype(descr, dtype)) return Array();
    if (!PyTypeNum_ISINTEGER(descr->type_num)) argument.fail(PyExc_TypeError, rule, dtype_text(descr));
    constexpr int flags = NPY_ARRAY_CARRAY_RO | NPY_ARRAY_ENSUREARRAY | NPY_ARRAY_FORCECAST;
    return Array(Ref::checked(PyArray_FROM_OTF(array.get(), NPY_INT64, flags)), DType());
}

Array read_statistic(const Argument& argument, const Shape& shape) {
    Array array = read(argument);
    require_dtype(argument, array, DType::float64);
    require_shape(argument, array.get(), shape);
    return array;
}

Array read_in_place(const Argument& argument, bool written) {
    if (!PyArray_CheckExact(argument.value())) require_ndarray(argument);
    PyArrayObject* array = as_array(argument.value());
    DType dtype;
    if (!find_dtype(PyArray_DESCR(array), dtype) || PyArray_ISBYTESWAPPED(array))
        argument.fail(PyExc_TypeError, accepted_dtypes, dtype_text(PyArray_DESCR(array)));
    const npy_intp* const strides = PyArray_STRIDES(array);
    if (!PyArray_IS_C_CONTIGUOUS(array))
        argument.fail(PyExc_ValueError, "be C-contiguous",
                      "strides " + text(Shape(strides, strides + PyArray_NDIM(array))));
    if (!PyArray_ISALIGNED(array)) argument.fail(PyExc_ValueError, "be aligned", "a misaligned array");
    if (written) require_writeable(argument);
    return Array(Ref::borrow(argument.value()), dtype);
}

void require_dtype(const Argument& argument, const Array& array, DType dtype) {
    constexpr const char* names[dtype_count] = {"float32", "float64", "float16", "bfloat16"};
    if (array.dtype() != dtype)
        argument.fail(PyExc_TypeError, std::string("have dtype ") + names[int(dtype)], dtype_text(array.descr()));
}

void require_shape_of(const Argument& argument, const Array& array, const Array& other) {
    if (!PyArray_SAMESHAPE(array.get(), other.get())) require_shape(argument, array.get(), other.shape());
}

Array empty(const Shape& shape, PyArray_Descr* descr, DType dtype) {
    const bool empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
    npy_intp bytes = PyDataType_ELSIZE(descr);
    for (const npy_intp extent : shape)  // NumPy refuses what would be too large but for an extent of 0
        if (extent != 0 && __builtin_mul_overflow(bytes, extent, &bytes)) throw std::bad_alloc();
    const bool recycled = !empty && std::size_t(bytes) >= recycled_bytes;
    const Ref before(recycled ? PyDataMem_SetHandler(handler_capsule) : nullptr);
    Py_INCREF(descr);
    Ref array(
        PyArray_NewFromDescr(&PyArray_Type, descr, int(shape.size()), shape.data(), nullptr, nullptr, 0, nullptr));
    if (recycled) Ref(PyDataMem_SetHandler(before.get()));
    if (!array) throw Raised();
    return Array(std::move(array), dtype);
}

Array empty_doubles(const Shape& shape) { return empty(shape, float64_descr, DType::float64); }

Parameter::Parameter(const Argument& argument, const Array& x, const Shape& shape, DType working, double otherwise,
                     bool used)
    : x_(x), given_(argument.given() ? read(argument) : Array()), data_(nullptr) {
    if (given_) {
        if (!at_least_as_wide(given_.dtype(), x.dtype()))
            argument.fail(PyExc_TypeError, "be " + dtype_text(x.descr()).substr(6) + " or wider",
                          dtype_text(given_.descr()));
        require_shape(argument, given_.get(), shape);
        if (given_.dtype() == working) {
            data_ = given_.data();
            return;
        }
    }
    if (!used) return;
    npy_intp count = 1, bytes;
    for (const npy_intp extent : shape) count *= extent;
    if (__builtin_mul_overflow(count, working == DType::float64 ? 8 : 4, &bytes)) throw std::bad_alloc();
    widened_ = Scratch<char>(bytes);
    data_ = widened_;
    const Released released(0.3 * double(count));
    if (!given_)
        kernels->convert->fill[int(working)](widened_, otherwise, count);
    else
        kernels->convert->widen[int(given_.dtype())][working == DType::float64](given_.data(), widened_, count);
}

Gradient::Gradient(const Parameter& parameter, const Shape& shape)
    : result_(empty(shape, parameter.descr(), parameter.dtype())) {
    if (parameter.dtype() != DType::float64) wide_ = Scratch<double>(result_.size());
    sums_ = wide_ ? wide_ : result_.doubles();
}

PyObject* Gradient::finish() {
    if (wide_) {
        const Released released(0.5 * double(result_.size()));
        kernels->convert->narrow[int(result_.dtype())](wide_, result_.data(), result_.size());
    }
    return result_.release();
}

Running::Running(const Argument& argument, npy_intp channels) {
    if (!argument.given()) return;
    refuse_special(argument, "be a numpy.ndarray");
    if (!PyArray_Check(argument.value()))
        argument.fail(PyExc_TypeError, "be a numpy.ndarray", type_name(argument.value()));
    values_ = read(argument);
    PyArrayObject* target = as_array(argument.value());
    require_shape(argument, target, {channels});
    require_writeable(argument);
    target_ = Ref::borrow(argument.value());
    wide_ = Scratch<double>(channels);
    narrow_ = empty({channels}, values_.descr(), values_.dtype());
}

bool Running::overlaps(const Running& other) const {
    return Extent(as_array(target_.get())).overlaps(Extent(as_array(other.target_.get())));
}

void Running::widen(double* to) const {
    kernels->convert->widen[int(values_.dtype())][true](values_.data(), to, values_.size());
}

void Running::update(const double* batch, double momentum, double factor) {
    const npy_intp channels = values_.size();
    double* const v = wide_;
    widen(v);
    for (npy_intp c = 0; c < channels; ++c) v[c] = (1 - momentum) * v[c] + momentum * (factor * batch[c]);
    kernels->convert->narrow[int(narrow_.dtype())](v, narrow_.data(), channels);
    if (PyArray_CopyInto(as_array(target_.get()), narrow_.get()) < 0) throw Raised();
}

Array reordered(const Array& x, const std::vector<int>& axes) {
    const Ref view = transposed(x.get(), axes);
    return Array(Ref::checked(PyArray_NewCopy(as_array(view.get()), NPY_CORDER)), x.dtype());
}

Output::Output(const Argument& out, const Array& x, std::initializer_list<const Array*> inputs,
               const std::vector<int>& axes)
    : axes_(axes) {
    bool direct = axes.empty();
    if (out.given()) {
        PyArrayObject* target = as_array(out.value());
        require_ndarray(out);
        DType dtype;
        if (!find_dtype(PyArray_DESCR(target), dtype) || dtype != x.dtype() || PyArray_ISBYTESWAPPED(target))
            out.fail(PyExc_TypeError, "have " + dtype_text(x.descr()), dtype_text(PyArray_DESCR(target)));
        require_shape(out, target, x.shape());
        require_writeable(out);
        target_ = Ref::borrow(out.value());
        direct = direct && behaved(target);
        const Extent extent(target);
        for (const Array* input : inputs)
            if (*input) direct = direct && (extent == Extent(input->get()) || !extent.overlaps(Extent(input->get())));
        if (direct) {
            work_ = Array(Ref::borrow(out.value()), dtype);
            return;
        }
    }
    Shape shape = x.shape();
    if (!target_) target_ = Ref(empty(shape, x.descr(), x.dtype()).release());
    for (std::size_t i = 0; i < axes.size(); ++i) shape[i] = x.dims()[axes[i]];
    work_ = direct ? Array(Ref::borrow(target_.get()), x.dtype()) : empty(shape, x.descr(), x.dtype());
}

PyObject* Output::finish() {
    if (work_.get() != as_array(target_.get())) {
        const Ref view = axes_.empty() ? Ref::borrow(target_.get()) : transposed(as_array(target_.get()), axes_);
        if (PyArray_CopyInto(as_array(view.get()), work_.get()) < 0) throw Raised();
    }
    return target_.release();
}
}  // namespace trimtab
