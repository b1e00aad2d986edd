#include "gil.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <unistd.h>

#include "parallel.h"

namespace trimtab {
namespace {

// ns. To release and to take takes 50 to 100, but where another thread computes in Python the GIL comes back when that
// thread is told to hand it over, after 5 ms.
constexpr double worth_releasing = 50e3;

// Initial-exec: it is read in every call, and what is allocated when first used could not be had.
#ifdef __GLIBC__
#define TRIMTAB_STATIC_TLS __attribute__((tls_model("initial-exec")))
#else
#define TRIMTAB_STATIC_TLS
#endif
thread_local Released* innermost TRIMTAB_STATIC_TLS = nullptr;

// While the interpreter ends, Python 3.13 and before do not return to a daemon thread but end it by pthread_exit(), which
// unwinds the stack through destructors that need the GIL. The thread stops here instead, as Python 3.14 has it.
void take_gil(PyThreadState* state) {
    try {
        PyEval_RestoreThread(state);
    } catch (...) {
        for (;;) pause();
    }
}
}  // namespace

Released::Released(double ns) : outer_(innermost) {
    innermost = this;
    spend(ns);
}

Released::~Released() {
    innermost = outer_;
    if (state_) take_gil(static_cast<PyThreadState*>(state_));
}

void Released::spend(double ns) {
    if (outer_) return outer_->spend(ns);
    spent_ += ns;
    if (spent_ > worth_releasing && !state_) state_ = PyEval_SaveThread();
}

void configure_gil() {
    before_work = [](double cost) {
        if (innermost) innermost->spend(cost);
    };
}
}  // namespace trimtab
