// A function of the public interface: its signature, its arguments and the errors about them. Compiled functions are
// entered through METH_FASTCALL | METH_KEYWORDS: no frame, no tuple, no dict between the caller and the kernel.
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <array>
#include <concepts>
#include <exception>
#include <initializer_list>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace trimtab {

struct Raised {};  // thrown with a Python exception set

// Whether the interpreter ends. A daemon thread that is unwound then has no GIL, and nobody misses what is not released.
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

constexpr std::size_t most_arguments = 20;

// Read from the first line of the docstring, which is also what inspect.signature() shows:
// "name(required, optional=None, *, keyword=1)".
class Signature {
public:
    constexpr explicit Signature(const char* doc) : doc_(doc) {}
    void read() const;  // at import; all else needs it
    const char* doc() const { return doc_; }
    const char* name() const { return parts_->name.c_str(); }
    const char* argument(std::size_t i) const { return PyUnicode_AsUTF8(parts_->names[i]); }
    std::size_t size() const { return parts_->names.size(); }

private:
    friend class Arguments;
    struct Parts {
        std::string name;
        std::vector<PyObject*> names;  // interned
        std::size_t positional = 0, required = 0;
    };
    const char* doc_;
    mutable const Parts* parts_ = nullptr;  // never destroyed: threads may still call while the process ends
};

// The exception that is set, taken away.
Ref take_raised();
// Empty where the object does not have it; whatever else looking for it raises is passed on.
Ref find_attribute(PyObject* object, const char* name);

std::string repr(PyObject* object);
std::string type_name(PyObject* object);

// One argument: its name, its value, and every error that can be raised about it.
class Argument {
public:
    Argument() = default;
    Argument(const Signature& function, std::size_t index, PyObject* value, bool guarded)
        : function_(&function), index_(index), guarded_(guarded), value_(value) {}
    const char* function() const { return function_->name(); }
    const char* name() const { return function_->argument(index_); }
    PyObject* value() const { return value_; }
    bool given() const { return value_ && value_ != Py_None; }
    // Whether code of the caller's may run while the arguments of the call are read.
    bool guarded() const { return guarded_; }
    Argument item(Py_ssize_t i) const {
        Argument argument = *this;
        argument.value_ = PyTuple_GET_ITEM(value_, i);
        return argument;
    }
    // One of several objects given as this argument; errors call it "<name>[i]" or, in a mapping, "<name>['key']".
    Argument element(Py_ssize_t i, PyObject* value, PyObject* key = nullptr) const {
        Argument argument = *this;
        argument.value_ = value;
        argument.element_ = i;
        argument.key_ = key;
        return argument;
    }
    std::string label() const;

    // "<function>: <label> must <rule>, got <got>"
    [[noreturn]] void fail(PyObject* exception, const std::string& rule, const std::string& got) const;
    [[noreturn]] void type_error(const std::string& rule) const { fail(PyExc_TypeError, rule, repr(value_)); }
    [[noreturn]] void value_error(const std::string& rule) const { fail(PyExc_ValueError, rule, repr(value_)); }
    // Where Python code of the caller's has raised: a TypeError or ValueError is the cause of ours, all else passes.
    [[noreturn]] void raised(const std::string& rule) const;
    // The same of an exception that was taken: always the cause, and what it says stands at the end.
    [[noreturn]] void refused(const std::string& rule, Ref cause) const;

    double number(double otherwise) const;        // any real number
    double non_negative(double otherwise) const;  // finite and >= 0
    double between(double low, double high, double otherwise) const;
    bool flag(bool otherwise) const;             // True or False, NumPy's too
    Py_ssize_t integer(const char* rule) const;  // anything with __index__ but bool

private:
    const Signature* function_ = nullptr;
    std::size_t index_ = 0;
    bool guarded_ = false;
    Py_ssize_t element_ = -1;
    PyObject* key_ = nullptr;    // borrowed
    PyObject* value_ = nullptr;  // borrowed; nullptr: not given
};

class Arguments {
public:
    Arguments(const Signature& signature, PyObject* const* values, Py_ssize_t count, PyObject* keywords);
    Argument operator[](std::size_t i) const { return Argument(signature_, i, values_[i], guarded_); }

private:
    void place(PyObject* keyword, PyObject* value);
    const Signature& signature_;
    std::array<PyObject*, most_arguments> values_ = {};
    bool guarded_ = false;
};

void raise(const std::exception& error);  // as the exception of Python that means the same

template <const Signature& signature, Ref (*body)(const Arguments&)>
PyObject* entry(PyObject*, PyObject* const* values, Py_ssize_t count, PyObject* keywords) {
    // Not noexcept: Python 3.13 and before end a daemon thread by unwinding its stack while the interpreter ends.
    try {
        return body(Arguments(signature, values, count, keywords)).release();
    } catch (const Raised&) {
    } catch (const std::exception& error) {
        raise(error);
    }
    return nullptr;
}

template <const Signature& signature, Ref (*body)(const Arguments&)>
PyMethodDef method() {
    signature.read();
    const auto function = reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(entry<signature, body>));
    return {signature.name(), function, METH_FASTCALL | METH_KEYWORDS, signature.doc()};
}

void add_functions(PyObject* module, std::initializer_list<PyMethodDef> functions);

// A NamedTuple of a function's results.
class ResultType {
public:
    ResultType(const char* name, const char* fields) : name_(name), fields_(fields) {}
    void create(PyObject* module);
    template <std::same_as<Ref>... Results>
    Ref operator()(Results... results) const {
        Ref tuple = allocate(sizeof...(results));
        Py_ssize_t i = 0;
        (PyTuple_SET_ITEM(tuple.get(), i++, results.release()), ...);
        return tuple;
    }

private:
    Ref allocate(Py_ssize_t size) const;
    const char *name_, *fields_;
    PyTypeObject* type_ = nullptr;
};
}  // namespace trimtab
