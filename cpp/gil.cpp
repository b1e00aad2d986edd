#include "gil.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <unistd.h>

#include "parallel.h"

namespace trimtab {
namespace {

// Cost in ns from which the GIL is released. Release and return take 50 to 100 ns; but where another thread runs Python
// code, the GIL returns only after the switch interval of 5 ms.
constexpr double min_cost = 50e3;

// Initial-exec: it is read in every call, and cannot fail for lack of memory on first use.
#ifdef __GLIBC__
#define TRIMTAB_STATIC_TLS __attribute__((tls_model("initial-exec")))
#else
#define TRIMTAB_STATIC_TLS
#endif
thread_local Released* innermost TRIMTAB_STATIC_TLS = nullptr;

// While the interpreter ends, Python 3.13 and older end a daemon thread here by pthread_exit(), which unwinds the stack
// through destructors that need the GIL. The thread waits forever instead, as in Python 3.14.
void acquire_gil(PyThreadState* state) {
    try {
        PyEval_RestoreThread(state);
    } catch (...) {
        for (;;) pause();
    }
}
}  // namespace

Released::Released(double ns) : outer_(innermost) {
    innermost = this;
    add_cost(ns);
}

Released::~Released() {
    innermost = outer_;
    if (state_) acquire_gil(static_cast<PyThreadState*>(state_));
}

void Released::add_cost(double ns) {
    if (outer_) return outer_->add_cost(ns);
    cost_ += ns;
    if (cost_ > min_cost && !state_) state_ = PyEval_SaveThread();
}

void configure_gil() {
    before_work = [](double cost) {
        if (innermost) innermost->add_cost(cost);
    };
}
}  // namespace trimtab
