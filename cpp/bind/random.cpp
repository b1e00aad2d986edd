#include "random.h"

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include <numpy/random/bitgen.h>
#include <unistd.h>

#include <atomic>
#include <utility>

namespace trimtab {
namespace {

// A draw looks up five attributes; interned names keep it below a microsecond.
struct {
    PyObject *bit_generator, *capsule, *lock, *acquire, *release;
} names;

// Imported when it is first needed: a caller with a Generator has imported it already. The first thread sets it. A lock
// around the import could deadlock with the GIL.
std::atomic<PyObject*> known_generator_type = nullptr;

PyObject* generator_type() {
    if (PyObject* const known = known_generator_type.load(std::memory_order_acquire)) return known;
    const Ref random = Ref::checked(PyImport_ImportModule("numpy.random"));
    Ref type = Ref::checked(PyObject_GetAttrString(random.get(), "Generator"));
    PyObject* known = nullptr;
    return known_generator_type.compare_exchange_strong(known, type.get()) ? type.release() : known;
}

// NumPy's own functions hold the lock of a bit generator while they draw without the GIL.
class Locked {
public:
    explicit Locked(PyObject* bit_generator) : lock_(Ref::checked(PyObject_GetAttr(bit_generator, names.lock))) {
        Ref::checked(PyObject_CallMethodNoArgs(lock_.get(), names.acquire));
    }
    Locked(const Locked&) = delete;
    ~Locked() {
        if (!Ref(PyObject_CallMethodNoArgs(lock_.get(), names.release))) PyErr_Clear();
    }

private:
    Ref lock_;
};
bool is_instance(PyObject* object, PyObject* type) {
    const int answer = PyObject_IsInstance(object, type);
    if (answer < 0) throw Raised();
    return answer;
}

bool is_random_state(PyObject* object) {
    const Ref random = Ref::checked(PyImport_ImportModule("numpy.random"));
    const Ref type = Ref::checked(PyObject_GetAttrString(random.get(), "RandomState"));
    return is_instance(object, type.get());
}

uint64_t draw_64_bits(PyObject* random_state) {
    const Ref end = Ref::checked(PyLong_FromString("18446744073709551616", nullptr, 10));
    const Ref drawn =
        Ref::checked(PyObject_CallMethod(random_state, "randint", "iOOs", 0, end.get(), Py_None, "uint64"));
    const Ref number = Ref::checked(PyNumber_Index(drawn.get()));
    return PyLong_AsUnsignedLongLong(number.get());
}
}  // namespace

void import_random() {
    for (const auto& [name, text] : {std::pair(&names.bit_generator, "bit_generator"),
                                     {&names.capsule, "capsule"},
                                     {&names.lock, "lock"},
                                     {&names.acquire, "acquire"},
                                     {&names.release, "release"}})
        *name = Ref::checked(PyUnicode_InternFromString(text)).release();
}

Seed::Seed(const Argument& rng) {
    if (!rng.given()) return;
    constexpr const char* rule = "be a numpy.random.Generator, a RandomState, an int or None";
    if (PyIndex_Check(rng.value()) && !PyBool_Check(rng.value())) {
        const Ref number(PyNumber_Index(rng.value()));
        if (!number) rng.raised(rule);
        fixed_ = true;
        given_ = PyLong_AsUnsignedLongLong(number.get());
        if (!PyErr_Occurred()) return;
        PyErr_Clear();
        rng.value_error("be between 0 and 2**64 - 1");
    }
    if (is_instance(rng.value(), generator_type()))
        bit_generator_ = Ref::checked(PyObject_GetAttr(rng.value(), names.bit_generator));
    else if (is_random_state(rng.value()))
        legacy_ = Ref::borrow(rng.value());
    else
        rng.type_error(rule);
}

uint64_t Seed::draw() const {
    if (fixed_) return given_;
    if (legacy_) return draw_64_bits(legacy_.get());
    if (bit_generator_) {
        const Ref capsule = Ref::checked(PyObject_GetAttr(bit_generator_.get(), names.capsule));
        const auto generator = static_cast<bitgen_t*>(PyCapsule_GetPointer(capsule.get(), "BitGenerator"));
        if (!generator) throw Raised();
        const Locked locked(bit_generator_.get());
        return generator->next_uint64(generator->state);
    }
    uint64_t seed;
    if (getentropy(&seed, sizeof seed) != 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        throw Raised();
    }
    return seed;
}
}  // namespace trimtab
