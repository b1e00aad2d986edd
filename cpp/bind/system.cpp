// Threads, memory, instruction set: what the library does with the machine.
#include "../parallel.h"
#include "bind.h"

namespace trimtab {
namespace {

namespace docs {
constexpr Text set_num_threads{
    R"(set_num_threads(n)
--

Set the largest number of threads a call may use.

It counts for the whole process, and may exceed the number of CPUs. A limit of OpenMP (threadpoolctl sets one) bounds it
as long as it stands. Results do not depend on it.

Parameters
----------
n : int
    At least 1.

Raises
------
TypeError
    `n` is not an int.
ValueError
    `n` is less than 1.
)"};
constexpr Text get_num_threads{
    R"(get_num_threads()
--

The largest number of threads a call may use.

Returns
-------
n : int
    The number set by `set_num_threads`; without it, the least of the environment variables TRIMTAB_NUM_THREADS and
    OMP_NUM_THREADS, the CPUs this thread may run on now and the quota of the control group at import. Never more than a
    limit of OpenMP that stands: one that threadpoolctl has set, or that the OpenMP runtime has whose symbols the process
    sees, where it differs from what that runtime began with. Such a limit takes the place of OMP_NUM_THREADS.

Examples
--------
>>> import trimtab as tt
>>> tt.set_num_threads(1)
>>> tt.get_num_threads()
1
)"};
constexpr Text isa{
    R"(isa()
--

The instruction set whose kernels run: the best this CPU has, or the one the environment variable TRIMTAB_ISA named when
trimtab was imported.

Returns
-------
name : str
    "avx512", "avx2", "neon" or "baseline".
)"};
constexpr Text trim_memory{
    R"(trim_memory()
--

Release the memory kept for large results to come.

Returns
-------
bytes : int
    What has been released.
)"};
constexpr Text get_memory_cap{
    R"(get_memory_cap()
--

The number of bytes kept at most for large results to come; see `set_memory_cap`.

Returns
-------
bytes : int
)"};
constexpr Text set_memory_cap{
    R"(set_memory_cap(bytes)
--

Bound the memory kept for large results to come.

The memory of a result of 64 KiB or more is kept when the array dies and given to a later one: touching fresh pages costs
more than most kernels. The environment variable TRIMTAB_MEMORY_CAP sets the first bound, in bytes or in units such as
512M or 1G; without it, it is an eighth of the memory that the machine, the control group and RLIMIT_AS leave to the
process, at most 1 GiB.

Parameters
----------
bytes : int
    At least 0; 0 keeps nothing.

Raises
------
TypeError
    `bytes` is not an int.
ValueError
    `bytes` is negative.
)"};
constexpr Text build_info{
    R"(build_info()
--

How the compiled module was built and what it found.

Returns
-------
info : dict
    "isa", "isa_levels" (those this machine can run, best first), "compiler", "num_threads", "memory_cap".
)"};
}  // namespace docs

Ref set_threads(const Arguments<docs::set_num_threads>& in) {
    const Py_ssize_t n = in["n"].integer("be an int >= 1");
    if (n < 1) in["n"].value_error("be an int >= 1");
    set_num_threads(int(std::min<Py_ssize_t>(n, INT_MAX)));
    return Ref::none();
}
Ref get_num_threads(const Arguments<docs::get_num_threads>&) { return Ref::checked(PyLong_FromLong(num_threads())); }
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
    return Ref::checked(Py_BuildValue("{s:s,s:s,s:s,s:i,s:n}", "isa", isa_name(), "isa_levels", isa_levels().c_str(),
                                      "compiler", TRIMTAB_COMPILER, "num_threads", num_threads(), "memory_cap",
                                      Py_ssize_t(memory_cap())));
}
}  // namespace

void bind_system(PyObject* module) {
    add_functions(module, {method<set_threads>(), method<get_num_threads>(), method<isa>(), method<trim>(),
                           method<get_memory_cap>(), method<set_cap>(), method<build_info>()});
}
}  // namespace trimtab
