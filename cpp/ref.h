// Owned references to Python objects, and the C++ exception for one that Python has set.
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <utility>

namespace trimtab {

struct Raised {};  // thrown with a Python exception set

// Whether the interpreter ends. A daemon thread that is unwound then has no GIL; its references need no release.
#if PY_VERSION_HEX >= 0x030D0000
inline bool interpreter_ends() { return Py_IsFinalizing(); }
#else
inline bool interpreter_ends() { return _Py_IsFinalizing(); }
#endif

// An owned reference.
class Ref {
public:
    Ref() = default;
    explicit Ref(PyObject* owned) : object_(owned) {}
    Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
    Ref& operator=(Ref&& other) noexcept {
        std::swap(object_, other.object_);
        return *this;
    }
    ~Ref() {
        if (object_ && !interpreter_ends()) Py_DECREF(object_);
    }
    static Ref borrow(PyObject* object) { return Ref(Py_XNewRef(object)); }
    static Ref none() { return borrow(Py_None); }
    // Takes what a C API call returned.
    static Ref checked(PyObject* owned) {
        if (!owned) throw Raised();
        return Ref(owned);
    }
    PyObject* get() const { return object_; }
    PyObject* release() { return std::exchange(object_, nullptr); }
    explicit operator bool() const { return object_; }

private:
    PyObject* object_ = nullptr;
};
}  // namespace trimtab
