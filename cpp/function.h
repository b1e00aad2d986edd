// A function of the public interface: its signature, its arguments and the errors about them. Compiled functions are
// entered through METH_FASTCALL | METH_KEYWORDS: no frame, no tuple, no dict between the caller and the kernel.
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
    const char* name() const { return name_.c_str(); }
    const char* parameter(std::size_t i) const { return PyUnicode_AsUTF8(parameters_[i]); }

private:
    friend class BoundArguments;
    std::string name_;
    std::vector<PyObject*> parameters_;  // their names, interned
    std::size_t positional_, required_;  // as of a Signature
};
template <const auto& doc>
inline const Function* function_of = nullptr;

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
    Argument(const Function& function, std::size_t index, PyObject* value, bool guarded)
        : function_(&function), index_(index), guarded_(guarded), value_(value) {}
    const char* function() const { return function_->name(); }
    const char* name() const { return function_->parameter(index_); }
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

// In a handler of C++'s exception: raises the exception of Python that means the same.
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
