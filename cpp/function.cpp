#include "function.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string_view>

#include "guard.h"
#include "numpy.h"

namespace trimtab {

Function::Function(const char* doc) {
    const auto interned = [](std::string_view word) {
        PyObject* text = Ref::checked(PyUnicode_FromStringAndSize(word.data(), Py_ssize_t(word.size()))).release();
        PyUnicode_InternInPlace(&text);
        return text;
    };
    const Signature signature{doc};
    name_ = interned(signature.name);
    for (std::size_t i = 0; i < signature.count; ++i) parameters_[i] = interned(signature.parameters[i]);
    count_ = signature.count;
    positional_ = signature.positional;
    required_ = signature.required;
}

BoundArguments::BoundArguments(const Function& function, PyObject* const* values, Py_ssize_t count, PyObject* keywords)
    : function_(function) {
    if (std::size_t(count) > function.positional_) {
        PyErr_Format(PyExc_TypeError, "%s: takes at most %zu positional arguments, got %zd", function.name(),
                     function.positional_, count);
        throw Raised();
    }
    for (Py_ssize_t i = 0; i < count; ++i) values_[std::size_t(i)] = values[i];
    if (keywords)
        for (Py_ssize_t i = 0, n = PyTuple_GET_SIZE(keywords); i < n; ++i)
            place(PyTuple_GET_ITEM(keywords, i), values[count + i]);
    for (std::size_t i = 0; function.required_ >> i; ++i)
        if ((function.required_ >> i & 1) && !values_[i]) {
            PyErr_Format(PyExc_TypeError, "%s: missing required argument '%s'", function.name(), function.parameter(i));
            throw Raised();
        }
    for (std::size_t i = 0; i < function.count_ && !guarded_; ++i) guarded_ = values_[i] && !is_inert(values_[i]);
}

void BoundArguments::place(PyObject* keyword, PyObject* value) {
    const auto begin = function_.parameters_.begin(), end = begin + function_.count_;
    auto found = std::find(begin, end, keyword);  // keywords in source code are interned
    if (found == end)
        found = std::find_if(begin, end, [=](PyObject* name) { return PyUnicode_Compare(name, keyword) == 0; });
    const auto i = std::size_t(found - begin);
    if (found == end)
        PyErr_Format(PyExc_TypeError, "%s: got an unexpected keyword argument '%U'", function_.name(), keyword);
    else if (values_[i])
        PyErr_Format(PyExc_TypeError, "%s: got multiple values for argument '%U'", function_.name(), keyword);
    else
        values_[i] = value;
    if (PyErr_Occurred()) throw Raised();
}

Ref take_raised() {
#if PY_VERSION_HEX >= 0x030C0000
    return Ref(PyErr_GetRaisedException());
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback) PyException_SetTraceback(value, traceback);
    Py_XDECREF(type), Py_XDECREF(traceback);
    return Ref(value);
#endif
}

Ref find_attribute(PyObject* object, const char* name) {
    Ref found(PyObject_GetAttrString(object, name));
    if (!found) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) throw Raised();
        PyErr_Clear();
    }
    return found;
}

std::string repr(PyObject* object) {
    const Ref text(PyObject_Repr(object));
    const char* utf8 = text ? PyUnicode_AsUTF8(text.get()) : nullptr;
    if (!utf8) {
        if (!PyErr_ExceptionMatches(PyExc_Exception)) throw Raised();  // KeyboardInterrupt
        PyErr_Clear();
        return type_name(object);
    }
    constexpr std::size_t max_length = 100;
    const std::string whole(utf8);
    if (whole.size() <= max_length) return whole;
    std::size_t cut = max_length;
    while (cut > 0 && (whole[cut] & 0xc0) == 0x80) --cut;  // not inside a character
    return whole.substr(0, cut) + "...";
}

std::string type_name(PyObject* object) { return Py_TYPE(object)->tp_name; }

namespace {
bool is_bool(PyObject* object) {
    return PyBool_Check(object) || std::strcmp(Py_TYPE(object)->tp_name, "numpy.bool") == 0;
}
// NumPy converts complex scalars, and arrays of one, to floats with no more than a warning.
bool is_complex(PyObject* object) {
    if (PyArray_Check(object)) return PyArray_ISCOMPLEX(reinterpret_cast<PyArrayObject*>(object));
    const std::string_view name = Py_TYPE(object)->tp_name;
    return name.starts_with("numpy.complex") || name.starts_with("numpy.clongdouble");
}
}  // namespace

std::string Argument::label() const {
    if (element_ < 0) return name();
    return name() + ("[" + (key_ ? repr(key_) : std::to_string(element_)) + "]");
}

void Argument::fail(PyObject* exception, const std::string& rule, const std::string& got) const {
    PyErr_Format(exception, "%s: %s must %s, got %s", function(), label().c_str(), rule.c_str(), got.c_str());
    throw Raised();
}

void Argument::refused(const std::string& rule, Ref cause) const {
    const Ref said(PyObject_Str(cause.get()));
    const char* const text = said ? PyUnicode_AsUTF8(said.get()) : nullptr;
    if (!text) PyErr_Clear();
    const std::string why = text && *text ? std::string(": ") + text : "";
    PyErr_Format(PyExc_TypeError, "%s: %s must %s, got %s%s", function(), label().c_str(), rule.c_str(),
                 repr(value_).c_str(), why.c_str());
    const Ref error = take_raised();
    PyException_SetCause(error.get(), cause.release());
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
    throw Raised();
}

void Argument::raised(const std::string& rule) const {
    if (!PyErr_ExceptionMatches(PyExc_TypeError) && !PyErr_ExceptionMatches(PyExc_ValueError)) throw Raised();
    refused(rule, take_raised());
}

double Argument::number(double fallback) const {
    if (!value_) return fallback;
    if (PyFloat_CheckExact(value_)) return PyFloat_AS_DOUBLE(value_);
    if (is_bool(value_) || is_complex(value_) || PyUnicode_Check(value_)) type_error("be a number");
    const double number = PyFloat_AsDouble(value_);
    if (number == -1 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) raised("be a number");
        PyErr_Clear();
        value_error("be a number that a float can hold");
    }
    return number;
}

double Argument::non_negative(double fallback) const {
    const double v = number(fallback);
    if (!(std::isfinite(v) && v >= 0)) value_error("be finite and >= 0");
    return v;
}

double Argument::between(double low, double high, double fallback) const {
    const double v = number(fallback);
    if (!(v >= low && v <= high)) {
        char rule[64];
        std::snprintf(rule, sizeof rule, "be between %g and %g", low, high);
        value_error(rule);
    }
    return v;
}

bool Argument::flag(bool fallback) const {
    if (!value_) return fallback;
    if (!is_bool(value_)) type_error("be a bool");
    return value_ == Py_True || (value_ != Py_False && PyObject_IsTrue(value_) == 1);
}

Py_ssize_t Argument::integer(const char* rule) const {
    if (is_bool(value_) || !PyIndex_Check(value_)) type_error(rule);
    const Py_ssize_t v = PyNumber_AsSsize_t(value_, PyExc_OverflowError);
    if (v == -1 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) raised(rule);
        PyErr_Clear();
        value_error(rule);
    }
    return v;
}

void raise_caught() {
    try {
        throw;
    } catch (const Raised&) {
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (const std::length_error&) {
        PyErr_NoMemory();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
}

PyMethodDef method(const Function*& function, const char* doc, Entry entry) {
    function = new Function(doc);
    const auto untyped = reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(entry));
    return {function->name(), untyped, METH_FASTCALL | METH_KEYWORDS, doc};
}

void add_functions(PyObject* module, std::initializer_list<PyMethodDef> functions) {
    auto* table = new std::vector<PyMethodDef>(functions);  // lives as long as the functions: forever
    table->push_back({});
    if (PyModule_AddFunctions(module, table->data()) < 0) throw Raised();
}

void ResultType::create(PyObject* module) {
    const Ref collections = Ref::checked(PyImport_ImportModule("collections"));
    const Ref type = Ref::checked(PyObject_CallMethod(collections.get(), "namedtuple", "ss", name_, fields_));
    const Ref module_name = Ref::checked(PyModule_GetNameObject(module));
    if (PyObject_SetAttrString(type.get(), "__module__", module_name.get()) < 0) throw Raised();
    if (PyModule_AddObjectRef(module, name_, type.get()) < 0) throw Raised();
    type_ = reinterpret_cast<PyTypeObject*>(Py_NewRef(type.get()));
}

Ref ResultType::allocate(Py_ssize_t size) const { return Ref::checked(type_->tp_alloc(type_, size)); }
}  // namespace trimtab
