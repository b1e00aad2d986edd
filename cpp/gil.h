// When other Python threads may run: the only place that gives the GIL away, or on a free-threaded Python detaches.
#pragma once

namespace trimtab {

// A scope without Python: once the work in it is worth it, the GIL is released until the scope ends. The work is that of
// run() on this thread, which tells its cost, and `ns` of work beside it.
class Released {
public:
    explicit Released(double ns = 0);
    Released(const Released&) = delete;
    ~Released();
    void spend(double ns);

private:
    Released* const outer_;
    double spent_ = 0;       // ns with the GIL held
    void* state_ = nullptr;  // of the thread, while the GIL is released
};

void configure_gil();  // at import: has run() tell
}  // namespace trimtab
