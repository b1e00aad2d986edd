// Threads, memory and instruction set.
#include "docs/system.h"

#include <stdexcept>

#include "../parallel.h"
#include "../threading.h"
#include "bind.h"

namespace trimtab {
namespace {

Ref set_threads(const Arguments<docs::set_num_threads>& in) {
    const Py_ssize_t n = in["n"].integer("be an int >= 1");
    if (n < 1) in["n"].value_error("be an int >= 1");
    set_num_threads(int(std::min<Py_ssize_t>(n, INT_MAX)));
    return Ref::none();
}
Ref get_num_threads(const Arguments<docs::get_num_threads>&) { return Ref::checked(PyLong_FromLong(num_threads())); }
Ref set_engine(const Arguments<docs::set_threading>& in) {
    const Argument& name = in["threading"];
    constexpr const char* rule = "be 'team' or 'openmp'";
    if (!PyUnicode_Check(name.value())) name.type_error(rule);
    const auto is = [&](const char* text) { return PyUnicode_CompareWithASCIIString(name.value(), text) == 0; };
    if (!is("team") && !is("openmp")) name.value_error(rule);
    try {
        set_threading(is("team") ? "team" : "openmp");
    } catch (const std::runtime_error& error) {
        throw std::runtime_error(std::string("set_threading: ") + error.what());
    }
    return Ref::none();
}
Ref get_engine(const Arguments<docs::get_threading>&) { return Ref::checked(PyUnicode_FromString(threading())); }
Ref isa(const Arguments<docs::isa>&) { return Ref::checked(PyUnicode_FromString(isa_name())); }
Ref trim(const Arguments<docs::trim_memory>&) { return Ref::checked(PyLong_FromSize_t(trim_memory())); }
Ref get_memory_cap(const Arguments<docs::get_memory_cap>&) { return Ref::checked(PyLong_FromSize_t(memory_cap())); }
Ref set_cap(const Arguments<docs::set_memory_cap>& in) {
    const Py_ssize_t bytes = in["bytes"].integer("be an int >= 0");
    if (bytes < 0) in["bytes"].value_error("be an int >= 0");
    set_memory_cap(std::size_t(bytes));
    return Ref::none();
}
Ref build_info(const Arguments<docs::build_info>&) {
    return Ref::checked(Py_BuildValue("{s:s,s:s,s:s,s:i,s:s,s:s,s:n}", "isa", isa_name(), "isa_levels",
                                      isa_levels().c_str(), "compiler", TRIMTAB_COMPILER, "num_threads", num_threads(),
                                      "threading", threading(), "openmp_runtime", openmp_runtime().c_str(),
                                      "memory_cap", Py_ssize_t(memory_cap())));
}
Ref runs_of(const Arguments<docs::runs_of>& in) {
    struct Recorder {
        std::vector<Run> runs;
        std::vector<Run>* const before = record_runs(&runs);
        ~Recorder() { record_runs(before); }
    } recorder;
    Ref::checked(PyObject_CallNoArgs(in["call"].value()));
    Ref list = Ref::checked(PyList_New(0));
    for (const Run& run : recorder.runs) {
        const Ref row =
            Ref::checked(Py_BuildValue("(ndii)", run.tasks, run.cost, run.threads_after_pause, run.threads_in_series));
        if (PyList_Append(list.get(), row.get()) < 0) throw Raised();
    }
    return list;
}
Ref run_empty_tasks(const Arguments<docs::run_empty_tasks>& in) {
    const Py_ssize_t count = in["count"].integer("be an int >= 1");
    if (count < 1) in["count"].value_error("be an int >= 1");
    constexpr double worth_all_threads = 1e9;
    parallel_for(count, worth_all_threads, [](std::ptrdiff_t, std::ptrdiff_t) {});
    return Ref::none();
}
}  // namespace

void bind_system(PyObject* module) {
    add_functions(module, {method<set_threads>(), method<get_num_threads>(), method<set_engine>(), method<get_engine>(),
                           method<isa>(), method<trim>(), method<get_memory_cap>(), method<set_cap>(),
                           method<build_info>(), method<runs_of>(), method<run_empty_tasks>()});
}
}  // namespace trimtab
