#include "output.h"

#include <algorithm>

#include "copy.h"
#include "overlap.h"

namespace trimtab {
namespace {

// Whether a kernel may write to `target` while it reads its inputs.
bool is_safe(PyArrayObject* target, std::initializer_list<const AnyArray*> elementwise,
             std::initializer_list<const AnyArray*> others) {
    const auto disjoint = [=](const AnyArray* input) { return !*input || !overlap(target, input->get()); };
    const auto in_place = [=](const AnyArray* input) { return *input && same_elements(target, input->get()); };
    return behaved(target) && std::all_of(others.begin(), others.end(), disjoint) &&
           std::all_of(elementwise.begin(), elementwise.end(),
                       [=](const AnyArray* input) { return in_place(input) || disjoint(input); });
}
}  // namespace

Output::Output(const Argument& out, const Array& x, std::initializer_list<const AnyArray*> elementwise,
               std::initializer_list<const AnyArray*> others, const std::vector<int>& axes)
    : axes_(axes) {
    bool direct = axes.empty();
    if (out.given()) {
        require_ndarray(out);
        PyArrayObject* const target = as_array(out.value());
        DType dtype;
        if (!find_dtype(PyArray_DESCR(target), dtype) || dtype != x.dtype() || PyArray_ISBYTESWAPPED(target))
            out.fail(PyExc_TypeError, "have " + dtype_text(x.descr()), dtype_text(PyArray_DESCR(target)));
        require_shape(out, target, x.shape());
        require_writeable(out);
        returned_ = Ref::borrow(out.value());
        target_ = hold(out, out.value());
        direct = direct && is_safe(target, elementwise, others);
    }
    Shape shape = x.shape();
    if (!target_) target_ = empty_like(x, shape);
    for (std::size_t i = 0; i < axes.size(); ++i) shape[i] = x.dims()[axes[i]];
    work_ = direct ? Array(target_.share(), x.dtype()) : empty_like(x, shape);
}

Ref Output::finish() {
    if (work_.get() != target_.get()) {
        const AnyArray view = axes_.empty() ? target_.share() : transposed(target_, axes_);
        copy_values(view.get(), work_.get());
    }
    return returned_ ? std::move(returned_) : target_.release();
}
}  // namespace trimtab
