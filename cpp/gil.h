// The only place that releases the GIL, or detaches the thread on a free-threaded Python.
#pragma once

namespace trimtab {

// A scope that does not use Python. Once the cost of its work justifies it, the GIL is released until the scope ends.
// The cost is that of all run() calls of this thread, plus `ns` for other work. An inner scope adds to the outermost.
class Released {
public:
    explicit Released(double ns = 0);
    Released(const Released&) = delete;
    ~Released();
    void add_cost(double ns);

private:
    Released* const outer_;
    double cost_ = 0;        // ns of work so far
    void* state_ = nullptr;  // PyThreadState; null while the GIL is held
};

void configure_gil();  // at import: makes run() add its cost
}  // namespace trimtab
