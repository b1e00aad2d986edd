// A function of the public interface: its signature, its arguments and the errors about them. Compiled functions are
// entered through METH_FASTCALL | METH_KEYWORDS: no frame, no tuple, no dict between the caller and the kernel.
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <array>
#include <initializer_list>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace trimtab {

struct Raised {};  // thrown with a Python exception set

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
    ~Ref() { Py_XDECREF(object_); }
    static Ref borrow(PyObject* object) { return Ref(Py_XNewRef(object)); }
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
    explicit Signature(const char* doc);
    const char* doc() const { return doc_; }
    const char* name() const { return name_.c_str(); }
    const char* argument(std::size_t i) const { return PyUnicode_AsUTF8(names_[i]); }
    std::size_t size() const { return names_.size(); }

private:
    friend class Arguments;
    const char* doc_;
    std::string name_;
    std::vector<PyObject*> names_;  // interned
    std::size_t positional_ = 0, required_ = 0;
};

std::string repr(PyObject* object);
std::string type_name(PyObject* object);

// One argument: its name, its value, and every error that can be raised about it.
class Argument {
public:
    Argument() = default;
    Argument(const Signature& function, std::size_t index, PyObject* value)
        : function_(&function), index_(index), value_(value) {}
    const char* function() const { return function_->name(); }
    const char* name() const { return function_->argument(index_); }
    PyObject* value() const { return value_; }
    bool given() const { return value_ && value_ != Py_None; }
    Argument item(Py_ssize_t i) const { return Argument(*function_, index_, PyTuple_GET_ITEM(value_, i)); }
    // One of several objects given as this argument; errors call it "<name>[i]".
    Argument element(Py_ssize_t i, PyObject* value) const {
        Argument argument(*function_, index_, value);
        argument.element_ = i;
        return argument;
    }
    std::string label() const;

    // "<function>: <label> must <rule>, got <got>"
    [[noreturn]] void fail(PyObject* exception, const std::string& rule, const std::string& got) const;
    [[noreturn]] void type_error(const std::string& rule) const { fail(PyExc_TypeError, rule, repr(value_)); }
    [[noreturn]] void value_error(const std::string& rule) const { fail(PyExc_ValueError, rule, repr(value_)); }

    double number(double otherwise) const;        // any real number
    double non_negative(double otherwise) const;  // finite and >= 0
    double between(double low, double high, double otherwise) const;
    bool flag(bool otherwise) const;             // True or False, NumPy's too
    Py_ssize_t integer(const char* rule) const;  // anything with __index__ but bool

private:
    const Signature* function_ = nullptr;
    std::size_t index_ = 0;
    Py_ssize_t element_ = -1;
    PyObject* value_ = nullptr;  // borrowed; nullptr: not given
};

class Arguments {
public:
    Arguments(const Signature& signature, PyObject* const* values, Py_ssize_t count, PyObject* keywords);
    Argument operator[](std::size_t i) const { return Argument(signature_, i, values_[i]); }

private:
    void place(PyObject* keyword, PyObject* value);
    const Signature& signature_;
    std::array<PyObject*, most_arguments> values_ = {};
};

template <const Signature& signature, PyObject* (*body)(const Arguments&)>
PyObject* entry(PyObject*, PyObject* const* values, Py_ssize_t count, PyObject* keywords) noexcept {
    try {
        return body(Arguments(signature, values, count, keywords));
    } catch (const Raised&) {
        return nullptr;
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
}

template <const Signature& signature, PyObject* (*body)(const Arguments&)>
PyMethodDef method() {
    const auto function = reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(entry<signature, body>));
    return {signature.name(), function, METH_FASTCALL | METH_KEYWORDS, signature.doc()};
}

void add_functions(PyObject* module, std::initializer_list<PyMethodDef> functions);

// A NamedTuple of a function's results.
class ResultType {
public:
    ResultType(const char* name, const char* fields) : name_(name), fields_(fields) {}
    void create(PyObject* module);
    PyObject* operator()(std::initializer_list<PyObject*> owned) const;

private:
    const char *name_, *fields_;
    PyTypeObject* type_ = nullptr;
};
}  // namespace trimtab
