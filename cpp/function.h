// Functions of the public interface: their arguments, the errors about them, and their results. They are called through
// METH_FASTCALL | METH_KEYWORDS: no frame, tuple or dict between the caller and the kernel.
#pragma once
#include <array>
#include <concepts>
#include <initializer_list>
#include <string>
#include <vector>

#include "ref.h"
#include "signature.h"

namespace trimtab {

// A public function as Python sees it. Made at import and never destroyed: threads may still call while the process ends.
class Function {
public:
    explicit Function(const char* doc);
    const char* name() const { return PyUnicode_AsUTF8(name_); }
    const char* parameter(std::size_t i) const { return PyUnicode_AsUTF8(parameters_[i]); }

private:
    friend class BoundArguments;
    PyObject* name_;                                         // interned, as are
    std::array<PyObject*, max_parameters> parameters_ = {};  // the names of the parameters
    std::size_t count_, positional_, required_;              // as of a Signature
};
template <const auto& doc>
inline const Function* function_of = nullptr;

// The exception that is set; clears it.
Ref take_raised();
// Empty where the object does not have it; other exceptions are passed on.
Ref find_attribute(PyObject* object, const char* name);

std::string repr(PyObject* object);
std::string type_name(PyObject* object);

// One argument: its name, its value, and the errors about it.
class Argument {
public:
    Argument() = default;
    Argument(const Function& function, std::size_t index, PyObject* value, bool guarded)
        : function_(&function), index_(index), guarded_(guarded), value_(value) {}
    const char* function() const { return function_->name(); }
    const char* name() const { return function_->parameter(index_); }
    PyObject* value() const { return value_; }
    bool given() const { return value_ && value_ != Py_None; }
    // Whether code of the caller may run while the arguments of the call are read.
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
    // After Python code of the caller has raised: a TypeError or ValueError becomes the cause of ours, others are passed on.
    [[noreturn]] void raised(const std::string& rule) const;
    // Raises our error with `cause` as its cause; our message ends with that of `cause`.
    [[noreturn]] void refused(const std::string& rule, Ref cause) const;

    double number(double fallback) const;        // any real number
    double non_negative(double fallback) const;  // finite and >= 0
    double between(double low, double high, double fallback) const;
    bool flag(bool fallback) const;              // True or False, NumPy's too
    Py_ssize_t integer(const char* rule) const;  // anything with __index__ but bool

private:
    const Function* function_ = nullptr;
    std::size_t index_ = 0;
    bool guarded_ = false;
    Py_ssize_t element_ = -1;
    PyObject* key_ = nullptr;    // borrowed
    PyObject* value_ = nullptr;  // borrowed; nullptr: not given
};

// The values that a call gave to the parameters of a function, by position.
class BoundArguments {
public:
    BoundArguments(const Function& function, PyObject* const* values, Py_ssize_t count, PyObject* keywords);

protected:
    Argument at(std::size_t i) const { return Argument(function_, i, values_[i], guarded_); }

private:
    void place(PyObject* keyword, PyObject* value);
    const Function& function_;
    std::array<PyObject*, max_parameters> values_ = {};
    bool guarded_ = false;
};

// The same by name: in["eps"]. Names are looked up at compile time; one that is not in the signature does not compile.
template <const auto& doc>
class Arguments : public BoundArguments {
    static constexpr Signature signature{doc};

public:
    using BoundArguments::BoundArguments;
    struct Name {
        std::size_t position;
        consteval Name(const char* name) : position(signature.find(name)) {
            if (position == signature.count) throw "the signature has no parameter of this name";
        }
    };
    Argument operator[](Name name) const { return at(name.position); }
};

// To be called in a catch block: raises the Python exception that corresponds to the C++ one.
void raise_caught();

template <const auto& doc, Ref (*body)(const Arguments<doc>&)>
PyObject* entry(PyObject*, PyObject* const* values, Py_ssize_t count, PyObject* keywords) {
    // Not noexcept: Python 3.13 and before end a daemon thread by unwinding its stack while the interpreter ends.
    try {
        return body(Arguments<doc>(*function_of<doc>, values, count, keywords)).release();
    } catch (...) {
        raise_caught();
        return nullptr;
    }
}

using Entry = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
PyMethodDef method(const Function*& function, const char* doc, Entry entry);

// A function for add_functions; its docstring is known from the type of its arguments.
template <auto body>
PyMethodDef method() {
    return []<const auto & doc>(Ref (*)(const Arguments<doc>&)) {
        return method(function_of<doc>, doc.characters, entry<doc, body>);
    }(body);
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
