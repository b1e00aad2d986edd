// The entry point of trimtab._core: sets up the process, then registers the functions of each family.
#include <pybind11/pybind11.h>

#include "bind/bind.h"
#include "bind/random.h"
#include "parallel.h"

PYBIND11_MODULE(kernels, m, pybind11::mod_gil_not_used()) {
    using namespace trimtab;
    m.doc() = "The compiled kernels of trimtab.";
    try {
        choose_isa();
        configure_memory();
        configure_threads();
        configure_gil();
        import_numpy();
        import_random();
        bind_softmax(m.ptr());
        bind_system(m.ptr());
        bind_layer_norm(m.ptr());
        bind_rms_norm(m.ptr());
        bind_batch_norm(m.ptr());
        bind_batch_norm_parts(m.ptr());
        bind_batch_renorm(m.ptr());
        bind_fold_batch_norm(m.ptr());
        bind_group_norm(m.ptr());
        bind_dropout(m.ptr());
        bind_parameter_update(m.ptr());
        bind_sgd(m.ptr());
        bind_adam(m.ptr());
        bind_max_norm(m.ptr());
        bind_activation(m.ptr());
        bind_losses(m.ptr());
        bind_convolution(m.ptr());
        bind_avg_pool(m.ptr());
        bind_max_pool(m.ptr());
        bind_images(m.ptr());
        bind_reading(m.ptr());
    } catch (const Raised&) {
        throw pybind11::error_already_set();
    }
}

// pybind11 would wait for ever for the lock that an interpreter within an interpreter holds.
extern "C" PYBIND11_EXPORT PyObject* PyInit__core() {
    if (PyInterpreterState_Get() == PyInterpreterState_Main()) return PyInit_kernels();
    PyErr_SetString(PyExc_ImportError, "trimtab: import must be in the main interpreter, got a sub-interpreter");
    return nullptr;
}
