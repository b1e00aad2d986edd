#include "docs/dropout.h"

#include <algorithm>
#include <cmath>

#include "bind.h"
#include "random.h"

namespace trimtab {
namespace {

ResultType forward_result("DropoutForwardResult", "y mask");
ResultType gaussian_result("GaussianDropoutForwardResult", "y noise");

// ---- probabilities ----

double probability(const Argument& p) { return p.between(0, 1, 0.5); }

double probability_below_1(const Argument& p) {
    const double value = probability(p);
    if (value == 1) p.value_error("be less than 1");
    return value;
}

// An element is dropped if a random number of 72 bits, its top byte drawn first, is below p * 2^72.
Decisions decisions(double p, uint64_t seed) {
    const double byte = std::max(std::ceil(p * 256) - 1, 0.0), rest = p * 256 - byte;  // exact
    const bool ties = rest < 1;
    return {.seed = seed,
            .rest = ties ? uint64_t(std::ceil(std::ldexp(rest, 64))) : 0,
            .byte = uint8_t(byte),
            .ties = ties};
}

// ---- masks: arrays of uint8 ----

Shape mask_shape(npy_intp decisions) { return {decisions / 8 + (decisions % 8 != 0)}; }

AnyArray empty_mask(npy_intp decisions) { return empty(mask_shape(decisions), uint8_descr); }

uint8_t* bytes(const AnyArray& mask) { return static_cast<uint8_t*>(mask.data()); }

// ---- shared decisions ----

// The axes of x, innermost first; adjacent axes are merged where both are shared or neither is.
class SharedAxes {
public:
    SharedAxes(const Array& x, const std::vector<bool>& shared) {
        for (int axis = x.ndim() - 1; axis >= 0; --axis) {
            const npy_intp step = shared[std::size_t(axis)] ? 0 : decisions_, extent = x.dims()[axis];
            if (!extents_.empty() && (steps_.back() == 0) == (step == 0)) {
                extents_.back() *= extent;
            } else {
                extents_.push_back(extent);
                steps_.push_back(step);
            }
            if (!shared[std::size_t(axis)]) decisions_ *= extent;
        }
        any_ = std::find(shared.begin(), shared.end(), true) != shared.end();
        for (int axis = 0; axis < x.ndim(); ++axis)
            if (!shared[std::size_t(axis)]) shape_.push_back(x.dims()[axis]);
    }
    const Shape& shape() const { return shape_; }  // of the decisions
    npy_intp decisions() const { return decisions_; }
    Sharing sharing() const { return {extents_.data(), steps_.data(), any_ ? int(extents_.size()) : 0, decisions_}; }

private:
    std::vector<npy_intp> extents_, steps_;
    Shape shape_;
    npy_intp decisions_ = 1;
    bool any_ = false;
};

SharedAxes shared_along(const Argument& axes, const Array& x) {
    std::vector<bool> shared(std::size_t(x.ndim()));
    if (axes.value() && !(PyTuple_Check(axes.value()) && PyTuple_GET_SIZE(axes.value()) == 0)) {
        const RowLayout layout = row_layout(axes, x);
        for (std::size_t i = layout.kept.size(); i < shared.size(); ++i)
            shared[layout.order.empty() ? i : std::size_t(layout.order[i])] = true;
    }
    return SharedAxes(x, shared);
}

SharedAxes shared_but_the_first(const Array& x) {
    std::vector<bool> shared(std::size_t(x.ndim()), true);
    if (x.ndim()) shared[0] = false;
    return SharedAxes(x, shared);
}

SharedAxes none_shared(const Array& x) { return SharedAxes(x, std::vector<bool>(std::size_t(x.ndim()))); }

// ---- masks of the backward pass ----

struct Mask {
    AnyArray bits;
    SharedAxes shared;
};

// The array itself where it is contiguous, aligned and of the base class; else a copy that is.
AnyArray as_plain(const AnyArray& array) {
    constexpr int flags = NPY_ARRAY_CARRAY_RO | NPY_ARRAY_ENSUREARRAY;
    return AnyArray(Ref::checked(PyArray_FROM_OF(reinterpret_cast<PyObject*>(array.get()), flags)));
}

AnyArray packed(const AnyArray& bools) {
    const AnyArray plain = as_plain(bools);
    const auto kept = static_cast<const uint8_t*>(plain.data());
    const npy_intp count = plain.size();
    AnyArray mask = empty_mask(count);
    std::fill_n(bytes(mask), mask.size(), uint8_t(0));
    const Released released(0.5 * double(count));
    for (npy_intp i = 0; i < count; ++i) bytes(mask)[i / 8] |= uint8_t((kept[i] != 0) << i % 8);
    return mask;
}

// Packed bits, or bools of the shape of the decisions or of x.
Mask read_mask(const Argument& argument, const Array& x, SharedAxes shared) {
    constexpr const char* rule = "have dtype uint8 or bool";
    const AnyArray given = read_any(argument, rule);
    if (given.type_number() == NPY_BOOL) {
        const bool of_elements = given.ndim() == x.ndim() && PyArray_SAMESHAPE(given.get(), x.get());
        if (!of_elements) require_values(argument, given.get(), shared.shape());
        return {packed(given), of_elements ? none_shared(x) : std::move(shared)};
    }
    if (given.type_number() != NPY_UINT8) argument.fail(PyExc_TypeError, rule, dtype_text(given.descr()));
    require_shape(argument, given.get(), mask_shape(shared.decisions()));
    return {as_plain(given), std::move(shared)};
}

// ---- forward and backward ----

// y = x * scale + shift where kept, else dropped.
struct Affine {
    double scale, shift, dropped;
};

// Adding -0.0 changes no number, neither 0.0 nor -0.0.
Affine scaled(double p, bool inverted) { return {inverted && p < 1 ? 1 / (1 - p) : 1, -0.0, 0}; }

constexpr double alpha = 1.7580993408473766;  // minus the limit of SELU at -infinity
double alpha_scale(double p) { return 1 / std::sqrt((alpha * alpha * p + 1) * (1 - p)); }
Affine alpha_affine(double p) {
    const double a = alpha_scale(p);
    return {a, a * alpha * p, a * alpha * (p - 1)};
}

Ref forward(const Array& x, double p, const Seed& seed, const Affine& affine, const SharedAxes& shared,
            const Argument& out, bool keep_mask) {
    const Sharing sharing = shared.sharing();
    Output y(out, x, {&x});
    AnyArray mask = keep_mask || sharing.ndim ? empty_mask(shared.decisions()) : AnyArray();
    const Decisions chosen = decisions(p, seed.draw());
    {
        const Released released;
        if (sharing.ndim)
            kernels->dropout->mask({.decisions = chosen, .mask = bytes(mask), .count = shared.decisions()});
        const auto& table = sharing.ndim ? kernels->dropout->masked : kernels->dropout->forward;
        table[int(x.dtype())]({.x = x.data(),
                               .y = y.data(),
                               .mask = mask ? bytes(mask) : nullptr,
                               .count = x.size(),
                               .scale = affine.scale,
                               .shift = affine.shift,
                               .dropped = affine.dropped,
                               .decisions = chosen,
                               .sharing = sharing});
    }
    return keep_mask ? forward_result(y.finish(), mask.release()) : y.finish();
}

Ref apply_mask(const Array& x, const Mask& mask, const Affine& affine, const Argument& out) {
    Output y(out, x, {&x}, {&mask.bits});
    {
        const Released released;
        kernels->dropout->masked[int(x.dtype())]({.x = x.data(),
                                                  .y = y.data(),
                                                  .mask = bytes(mask.bits),
                                                  .count = x.size(),
                                                  .scale = affine.scale,
                                                  .shift = affine.shift,
                                                  .dropped = affine.dropped,
                                                  .decisions = {},
                                                  .sharing = mask.shared.sharing()});
    }
    return y.finish();
}

template <const auto& doc>
Ref forward(const Arguments<doc>& in, bool keep_mask) {
    const Array x = read(in["x"]);
    const double p = probability(in["p"]);
    const Seed seed(in["rng"]);
    const bool inverted = in["inverted"].flag(true);
    return forward(x, p, seed, scaled(p, inverted), shared_along(in["shared_axes"], x), in["out"], keep_mask);
}
Ref dropout(const Arguments<docs::dropout>& in) { return forward(in, false); }
Ref dropout_forward(const Arguments<docs::dropout_forward>& in) { return forward(in, true); }

Ref dropout_backward(const Arguments<docs::dropout_backward>& in) {
    const Array dy = read(in["dy"]);
    const Mask mask = read_mask(in["mask"], dy, shared_along(in["shared_axes"], dy));
    const double p = probability(in["p"]);
    return apply_mask(dy, mask, scaled(p, in["inverted"].flag(true)), in["out"]);
}

Ref dropout_apply(const Arguments<docs::dropout_apply>& in) {
    const Array x = read(in["x"]);
    const Mask mask = read_mask(in["mask"], x, shared_along(in["shared_axes"], x));
    const double p = probability(in["p"]);
    return apply_mask(x, mask, scaled(p, in["inverted"].flag(true)), in["out"]);
}

Ref drop_path_forward(const Arguments<docs::drop_path_forward>& in) {
    const Array x = read(in["x"]);
    const double p = probability(in["p"]);
    const Seed seed(in["rng"]);
    return forward(x, p, seed, scaled(p, in["inverted"].flag(true)), shared_but_the_first(x), in["out"], true);
}

Ref drop_path_backward(const Arguments<docs::drop_path_backward>& in) {
    const Array dy = read(in["dy"]);
    const Mask mask = read_mask(in["mask"], dy, shared_but_the_first(dy));
    const double p = probability(in["p"]);
    return apply_mask(dy, mask, scaled(p, in["inverted"].flag(true)), in["out"]);
}

Ref alpha_dropout_forward(const Arguments<docs::alpha_dropout_forward>& in) {
    const Array x = read(in["x"]);
    const double p = probability_below_1(in["p"]);
    const Seed seed(in["rng"]);
    return forward(x, p, seed, alpha_affine(p), none_shared(x), in["out"], true);
}

Ref alpha_dropout_backward(const Arguments<docs::alpha_dropout_backward>& in) {
    const Array dy = read(in["dy"]);
    const Mask mask = read_mask(in["mask"], dy, none_shared(dy));
    const double p = probability_below_1(in["p"]);
    return apply_mask(dy, mask, {alpha_scale(p), -0.0, 0}, in["out"]);
}

Ref add_dropout_forward(const Arguments<docs::add_dropout_forward>& in) {
    const Array x = read(in["x"]);
    const Shape row(x.dims() + std::max(x.ndim() - 1, 0), x.dims() + x.ndim());
    const Parameter bias(in["bias"], x, row, working_type(x), 0);
    const Array residual = read_like(in["residual"], x);
    const double p = probability(in["p"]);
    const Seed seed(in["rng"]);
    Output y(in["out"], x, {&x, &residual}, {&bias.array()});
    AnyArray mask = empty_mask(x.size());
    const Decisions chosen = decisions(p, seed.draw());
    {
        const Released released;
        kernels->dropout->add[int(x.dtype())]({.x = x.data(),
                                               .bias = bias.data(),
                                               .residual = residual.data(),
                                               .y = y.data(),
                                               .mask = bytes(mask),
                                               .count = x.size(),
                                               .width = row.empty() ? 1 : row[0],
                                               .scale = scaled(p, true).scale,
                                               .decisions = chosen});
    }
    return forward_result(y.finish(), mask.release());
}

Ref gaussian_dropout_forward(const Arguments<docs::gaussian_dropout_forward>& in) {
    const Array x = read(in["x"]);
    const double p = probability_below_1(in["p"]);
    const Seed seed(in["rng"]);
    Output y(in["out"], x, {&x});
    Array noise = empty_like(x);
    const uint64_t drawn = seed.draw();
    {
        const Released released;
        kernels->dropout->gaussian[int(x.dtype())]({.x = x.data(),
                                                    .noise = noise.data(),
                                                    .y = y.data(),
                                                    .count = x.size(),
                                                    .seed = drawn,
                                                    .deviation = std::sqrt(p / (1 - p))});
    }
    return gaussian_result(y.finish(), noise.release());
}

Ref gaussian_dropout_backward(const Arguments<docs::gaussian_dropout_backward>& in) {
    const Array dy = read(in["dy"]), noise = read_like(in["noise"], dy);
    Output dx(in["out"], dy, {&dy, &noise});
    {
        const Released released;
        kernels->dropout->multiply[int(dy.dtype())](
            {.x = dy.data(), .factor = noise.data(), .y = dx.data(), .count = dy.size()});
    }
    return dx.finish();
}

npy_intp count_elements(const Argument& shape) {
    constexpr const char* rule = "be an int or a tuple of ints, none of them negative";
    const bool several = PyTuple_Check(shape.value());
    npy_intp count = 1;
    for (Py_ssize_t i = 0, n = several ? PyTuple_GET_SIZE(shape.value()) : 1; i < n; ++i) {
        const npy_intp extent = (several ? shape.item(i) : shape).integer(rule);
        if (extent < 0) shape.value_error(rule);
        if (__builtin_mul_overflow(count, extent, &count)) shape.value_error("have at most 2**63 - 1 elements");
    }
    return count;
}

Ref dropout_mask(const Arguments<docs::dropout_mask>& in) {
    const npy_intp count = count_elements(in["shape"]);
    const double p = probability(in["p"]);
    const Seed seed(in["rng"]);
    AnyArray mask = empty_mask(count);
    const Decisions chosen = decisions(p, seed.draw());
    {
        const Released released;
        kernels->dropout->mask({.decisions = chosen, .mask = bytes(mask), .count = count});
    }
    return mask.release();
}
}  // namespace

void bind_dropout(PyObject* module) {
    forward_result.create(module);
    gaussian_result.create(module);
    add_functions(module,
                  {method<dropout>(), method<dropout_forward>(), method<dropout_backward>(), method<dropout_apply>(),
                   method<dropout_mask>(), method<drop_path_forward>(), method<drop_path_backward>(),
                   method<add_dropout_forward>(), method<alpha_dropout_forward>(), method<alpha_dropout_backward>(),
                   method<gaussian_dropout_forward>(), method<gaussian_dropout_backward>()});
}
}  // namespace trimtab
