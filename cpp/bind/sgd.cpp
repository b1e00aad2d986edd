#include <algorithm>
#include <cmath>
#include <memory>

#include "bind.h"

namespace trimtab {
namespace {

const Signature sgd_update_signature(
    R"(sgd_update(params, grads, momentum_buffers=None, *, lr, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0, l1=0.0, decoupled=False, proximal=False, maximize=False, grad_scale=1.0, first_step=False, zero_grad=False, masters=None, statistics=False, skip_nonfinite=False)
--

One step of stochastic gradient descent on any number of arrays, in place, in one pass over memory.

With sign(0) = 0, for each element w of a parameter, g of its gradient and v of its momentum buffer, in this order:

    g = grad_scale * g;  g = -g                       where maximize
    g = g + weight_decay * w + l1 * sign(w)           unless decoupled; without l1 where proximal
    v = momentum * v + (1 - dampening) * g            v = g on the first step
    g = g + momentum * v                              where nesterov; else g = v
    g = g + weight_decay * w + l1 * sign(w)           where decoupled; without l1 where proximal
    w = w - lr * g
    w = sign(w) * max(|w| - lr * l1, 0)               where proximal

Parameters
----------
params : ndarray or sequence of ndarray
    Updated in place. All of one dtype: float32, float64, float16 or bfloat16; C-contiguous, aligned, writeable.
grads : ndarray or sequence of ndarray
    The gradient of each parameter, of its shape and dtype; C-contiguous and aligned. No two arrays of the call overlap.
momentum_buffers : ndarray or sequence of ndarray, optional
    v, of each parameter's shape and of the dtype of `masters` where they are given, of `params` elsewhere. Updated in
    place. Needed where `momentum` is not 0; where they are not given there is no v, and `dampening` does not count.
lr : float
    Learning rate, finite and >= 0, as are all numbers below.
momentum : float, default 0.0
    Weight of the old v.
dampening : float, default 0.0
    1 minus the weight of the new gradient in v.
nesterov : bool, default False
    Whether to look ahead along v; needs `momentum`.
weight_decay : float, default 0.0
    c of the penalty c/2 * sum of w^2, whose gradient is c * w.
l1 : float, default 0.0
    a of the penalty a * sum of |w|.
decoupled : bool, default False
    Whether decay stays outside the momentum and untouched by `grad_scale` and `maximize`.
proximal : bool, default False
    Whether the L1 penalty acts as a soft threshold after the step, which gives exact zeros; its sub-gradient gives none.
maximize : bool, default False
    Whether to climb. Penalties still shrink.
grad_scale : float, default 1.0
    Factor of the gradients: 1 over the scale of the loss, or what clipping asks for.
first_step : bool or sequence of bool, default False
    Whether v starts here, for all parameters or for each; the old contents of the buffer are then not read.
zero_grad : bool, default False
    Whether to leave zeros in `grads`, which must then be writeable.
masters : ndarray or sequence of ndarray, optional
    For float16 and bfloat16 parameters: their float32 originals, which are updated in place; `params` become their
    rounded copies.
statistics : bool, default False
    Whether to return norms, from the same pass.
skip_nonfinite : bool, default False
    Whether to look at all gradients first, and change nothing at all where their norm is not finite. Returns the norms,
    so that a skipped step can be told from `grad_norm`. Without it NaN and Inf spread to the elements they belong to.

Returns
-------
None, or where `statistics` or `skip_nonfinite` is asked for
l1_norm : float
    Sum of |w| before the step.
l2_norm_sq : float
    Sum of w^2 before the step.
grad_norm : float
    Root of the sum of squares of all gradients, times `grad_scale`; before decay.

Raises
------
TypeError
    Something that is not an ndarray, a dtype that is not one of the four or not that of the first parameter, an argument
    that is not of the right kind.
ValueError
    Lists of different lengths, a shape that does not fit, arrays that overlap, are read-only, not contiguous or not
    aligned, a number out of range, `momentum` without buffers, `nesterov` without momentum. Nothing has been changed
    then.

See Also
--------
penalty : the value of the penalties.
clip_grad_norm : bounds the norm of gradients.

Notes
-----
Arithmetic is in float32 (float64: in float64), sums are in double. The bits of every element depend on nothing but that
element: not on the number of threads, the instruction set, or how arrays are grouped into calls.

References
----------
Polyak, B. T. (1964). Some methods of speeding up the convergence of iteration methods. (Momentum.)
Nesterov, Y. (1983). A method of solving a convex programming problem with convergence rate O(1/k^2).
Loshchilov, I., and Hutter, F. (2019). Decoupled Weight Decay Regularization. ICLR.
Daubechies, I., Defrise, M., and De Mol, C. (2004). An iterative thresholding algorithm for linear inverse problems with
a sparsity constraint. (The proximal step.)
)");

const Signature sgd_plan_signature(
    R"(sgd_plan(params, grads, momentum_buffers=None, masters=None)
--

The arrays of `sgd_update`, checked once for many steps; `grads` must be writeable.

Returns
-------
plan : capsule
    Holds on to the arrays.
)");

const Signature sgd_step_signature(
    R"(sgd_step(plan, *, lr, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0, l1=0.0, decoupled=False, proximal=False, maximize=False, grad_scale=1.0, first_step=False, zero_grad=False, statistics=False, skip_nonfinite=False)
--

`sgd_update` of the arrays of a plan.
)");

const Signature sgd_grad_norm_signature(
    R"(sgd_grad_norm(plan)
--

The root of the sum of squares of all gradients of a plan.
)");

const Signature clip_grad_norm_signature(
    R"(clip_grad_norm(grads, max_norm)
--

Scale gradients in place so that their common norm is at most `max_norm`.

    g = g * min(1, max_norm / norm),  norm = sqrt(sum of g^2 over all arrays)

Parameters
----------
grads : ndarray or sequence of ndarray
    All of one dtype: float32, float64, float16 or bfloat16; C-contiguous, aligned, writeable, not overlapping.
max_norm : float
    >= 0; infinity only measures.

Returns
-------
norm : float
    The norm before. Where it is NaN or infinite, nothing has been changed.

Raises
------
TypeError
    Something that is not an ndarray, a dtype that is not one of the four or not that of the first array, a `max_norm`
    that is not a number.
ValueError
    Arrays that overlap, are read-only, not contiguous or not aligned; `max_norm` out of range. Nothing has been changed
    then.

Notes
-----
Gradients that `sgd_update` will read need no pass of their own: measure with an infinite `max_norm`, and give
``grad_scale=min(1, max_norm / norm)`` to the update.

References
----------
Pascanu, R., Mikolov, T., and Bengio, Y. (2013). On the difficulty of training recurrent neural networks. ICML.
)");

const Signature penalty_signature(
    R"(penalty(params, *, l1=0.0, l2=0.0)
--

The value of the L1 and L2 penalties of any number of arrays.

    l1 * (sum of |w|) + l2 / 2 * (sum of w^2)

Parameters
----------
params : array_like or sequence of array_like
    All of one dtype: float32, float64, float16 or bfloat16.
l1, l2 : float, default 0.0
    Finite and >= 0. With `l1` and ``weight_decay=l2``, `sgd_update` descends the gradient of this penalty.

Returns
-------
value : float

Raises
------
TypeError
    A dtype that is not one of the four or not that of the first array, a factor that is not a number.
ValueError
    A factor out of range.
)");

ResultType statistics_result("SgdStatistics", "l1_norm l2_norm_sq grad_norm");

// What was given as one argument: the items of a sequence, or a single object.
class Items {
public:
    Items() = default;
    Items(const Argument& argument, bool sequence)
        : argument_(argument),
          tuple_(sequence ? Ref::checked(PySequence_Tuple(argument.value())) : Ref()) {}  // which no thread can change
    explicit operator bool() const { return argument_.value(); }
    std::size_t size() const { return tuple_ ? std::size_t(PyTuple_GET_SIZE(tuple_.get())) : 1; }
    Argument operator[](std::size_t i) const {
        return tuple_ ? argument_.element(Py_ssize_t(i), PyTuple_GET_ITEM(tuple_.get(), Py_ssize_t(i))) : argument_;
    }
    void require_size(std::size_t size, const char* unit) const {
        if (this->size() != size)
            argument_.fail(PyExc_ValueError, "have " + std::to_string(size) + " " + unit, std::to_string(this->size()));
    }

private:
    Argument argument_;
    Ref tuple_;
};

// Is this a sequence of arrays, rather than something that is an array by itself?
bool is_list(PyObject* value) {
    if (PyList_Check(value) || PyTuple_Check(value)) return true;
    return PySequence_Check(value) && !PyUnicode_Check(value) && !PyBytes_Check(value) &&
           !PyObject_HasAttrString(value, "__array__");
}

// Arrays of one dtype, given as one argument.
class Arrays {
public:
    Arrays() = default;
    // read(item) makes an Array of an item.
    template <class Read>
    Arrays(const Argument& argument, const Read& read) : items_(argument, is_list(argument.value())) {
        const std::size_t count = items_.size();
        arrays_.reserve(count), data_.reserve(count), sizes_.reserve(count);
        for (std::size_t i = 0; i < count; ++i) {
            const Argument item = items_[i];
            const Array& array = arrays_.emplace_back(read(item));
            require_dtype(item, array, dtype());
            data_.push_back(array.data());
            sizes_.push_back(array.size());
            length_ += sizes_[i];
        }
    }
    // One for each of `others`, of its shape.
    void require_like(const Arrays& others, DType dtype) const {
        items_.require_size(others.size(), "arrays");
        for (std::size_t i = 0; i < size(); ++i) {
            require_dtype(items_[i], arrays_[i], dtype);
            require_shape_of(items_[i], arrays_[i], others.arrays_[i]);
        }
    }
    // Whether the arrays can still be written where they were found.
    bool stand() const {
        for (std::size_t i = 0; i < size(); ++i)
            if (arrays_[i].data() != data_[i] || arrays_[i].size() != sizes_[i] ||
                !PyArray_ISWRITEABLE(arrays_[i].get()))
                return false;
        return true;
    }
    Argument item(std::size_t i) const { return items_[i]; }
    bool given() const { return !!items_; }
    std::size_t size() const { return arrays_.size(); }
    DType dtype() const { return arrays_.empty() ? DType::float32 : arrays_[0].dtype(); }
    std::string dtype_text() const { return arrays_.empty() ? "none" : trimtab::dtype_text(arrays_[0].descr()); }
    ptrdiff_t length() const { return length_; }  // in elements
    void* const* data() const { return data_.data(); }
    ptrdiff_t bytes(std::size_t i) const { return sizes_[i] * arrays_[i].itemsize(); }
    ArrayList list() const { return {ptrdiff_t(size()), sizes_.data(), data_.data()}; }

private:
    Items items_;
    std::vector<Array> arrays_;
    std::vector<void*> data_;
    std::vector<ptrdiff_t> sizes_;
    ptrdiff_t length_ = 0;
};

Arrays in_place(const Argument& argument, bool written = true) {
    return Arrays(argument, [=](const Argument& item) { return read_in_place(item, written); });
}

void require_disjoint(std::initializer_list<const Arrays*> lists) {
    struct Span {
        const char *begin, *end;
        std::size_t list, item;
    };
    std::vector<Span> spans;
    for (std::size_t list = 0; list < lists.size(); ++list)
        for (std::size_t i = 0; i < lists.begin()[list]->size(); ++i) {
            const Arrays& arrays = *lists.begin()[list];
            const auto begin = static_cast<const char*>(arrays.data()[i]);
            if (arrays.bytes(i) > 0) spans.push_back({begin, begin + arrays.bytes(i), list, i});
        }
    std::sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) { return a.begin < b.begin; });
    const auto meet =
        std::adjacent_find(spans.begin(), spans.end(), [](const Span& a, const Span& b) { return b.begin < a.end; });
    if (meet == spans.end()) return;
    const auto argument = [&](const Span& span) { return lists.begin()[span.list]->item(span.item); };
    const auto [first, second] = std::minmax(meet[0], meet[1], [](const Span& a, const Span& b) {
        return std::pair(a.list, a.item) < std::pair(b.list, b.item);
    });
    argument(second).fail(PyExc_ValueError, "not overlap " + argument(first).label(), "overlapping arrays");
}

// A flag for each of `count` arrays.
Scratch<bool> read_flags(const Argument& argument, std::size_t count) {
    Scratch<bool> flags{ptrdiff_t(count)};
    const bool each = argument.value() && PySequence_Check(argument.value());
    const Items items(argument, each);
    if (each) items.require_size(count, "bools");
    for (std::size_t i = 0; i < count; ++i) flags[i] = items[i].flag(false);
    return flags;
}

// What sgd_update works on.
struct Plan {
    Arrays params, grads, velocities, masters;
    Plan(const Argument& weights, const Argument& gradients, bool writes_gradients, const Argument& buffers,
         const Argument& originals)
        : params(in_place(weights)),
          grads(in_place(gradients, writes_gradients)),
          velocities(buffers.given() ? in_place(buffers) : Arrays()),
          masters(originals.given() ? in_place(originals) : Arrays()) {
        grads.require_like(params, params.dtype());
        if (velocities.given()) velocities.require_like(params, masters.given() ? DType::float32 : params.dtype());
        if (masters.given()) {
            if (params.dtype() != DType::float16 && params.dtype() != DType::bfloat16)
                originals.fail(PyExc_TypeError, "go with float16 or bfloat16 params",
                               "params of " + params.dtype_text());
            masters.require_like(params, DType::float32);
        }
        require_disjoint({&params, &grads, &velocities, &masters});
    }
    bool stands() const { return params.stand() && grads.stand() && velocities.stand() && masters.stand(); }
    double squared_grad_norm() const {
        double sum;
        kernels->sgd->squared_norm[int(grads.dtype())]({grads.list(), &sum});
        return sum;
    }
};

// The arguments of sgd_update that are not arrays, from `lr` to `zero_grad`.
struct Options {
    double lr, momentum, dampening;
    bool nesterov;
    double weight_decay, l1;
    bool decoupled, proximal, maximize;
    double grad_scale;
    Argument first_step;
    bool zero_grad;
    Options(const Arguments& in, std::size_t first, bool has_velocities)
        : lr(in[first].non_negative(0)),
          momentum(in[first + 1].non_negative(0)),
          dampening(in[first + 2].non_negative(0)),
          nesterov(in[first + 3].flag(false)),
          weight_decay(in[first + 4].non_negative(0)),
          l1(in[first + 5].non_negative(0)),
          decoupled(in[first + 6].flag(false)),
          proximal(in[first + 7].flag(false)),
          maximize(in[first + 8].flag(false)),
          grad_scale(in[first + 9].non_negative(1)),
          first_step(in[first + 10]),
          zero_grad(in[first + 11].flag(false)) {
        if (momentum != 0 && !has_velocities) in[first + 1].value_error("be 0 where there are no momentum_buffers");
        if (nesterov && momentum == 0) in[first + 3].value_error("be False where momentum is 0");
    }
};

PyObject* update(const Plan& plan, const Options& o, bool statistics, bool skip_nonfinite) {
    const Scratch<bool> first_step = read_flags(o.first_step, plan.params.size());
    const Decay decay{o.weight_decay, o.proximal ? 0 : o.l1};
    enum { l1_norm, l2_norm_sq, grad_norm_sq, count };
    double sums[count] = {};
    {
        const Released released(plan.params.length());
        if (skip_nonfinite) sums[grad_norm_sq] = plan.squared_grad_norm();
        if (std::isfinite(sums[grad_norm_sq])) {
            kernels->sgd->update[int(plan.params.dtype())](
                {.weights = plan.params.list(),
                 .gradients = plan.grads.data(),
                 .velocities = plan.velocities.given() ? plan.velocities.data() : nullptr,
                 .masters = plan.masters.given() ? plan.masters.data() : nullptr,
                 .first_step = first_step,
                 .lr = o.lr,
                 .momentum = o.momentum,
                 .dampening = o.dampening,
                 .grad_scale = o.maximize ? -o.grad_scale : o.grad_scale,
                 .coupled = o.decoupled ? Decay() : decay,
                 .decoupled = o.decoupled ? decay : Decay(),
                 .threshold = o.proximal ? o.lr * o.l1 : 0,
                 .nesterov = o.nesterov,
                 .zero_grad = o.zero_grad,
                 .sums = statistics || skip_nonfinite ? sums : nullptr});
        } else {
            const Arrays& weights = plan.masters.given() ? plan.masters : plan.params;
            kernels->sgd->weight_norms[int(weights.dtype())]({weights.list(), sums});
        }
    }
    if (!statistics && !skip_nonfinite) Py_RETURN_NONE;
    return statistics_result({PyFloat_FromDouble(sums[l1_norm]), PyFloat_FromDouble(sums[l2_norm_sq]),
                              PyFloat_FromDouble(o.grad_scale * std::sqrt(sums[grad_norm_sq]))});
}

PyObject* sgd_update(const Arguments& in) {
    const Plan plan(in[0], in[1], in[14].flag(false), in[2], in[15]);
    const Options options(in, 3, plan.velocities.given());
    return update(plan, options, in[16].flag(false), in[17].flag(false));
}

constexpr const char* plan_name = "trimtab.sgd_plan";

PyObject* sgd_plan(const Arguments& in) {
    auto plan = std::make_unique<Plan>(in[0], in[1], true, in[2], in[3]);
    const auto destroy = [](PyObject* capsule) { delete static_cast<Plan*>(PyCapsule_GetPointer(capsule, plan_name)); };
    PyObject* capsule = PyCapsule_New(plan.get(), plan_name, destroy);
    if (capsule) plan.release();
    return capsule;
}

const Plan& read_plan(const Argument& argument) {
    if (!PyCapsule_IsValid(argument.value(), plan_name)) argument.type_error("be a plan");
    const Plan& plan = *static_cast<Plan*>(PyCapsule_GetPointer(argument.value(), plan_name));
    if (!plan.stands()) argument.fail(PyExc_ValueError, "hold writeable arrays that stay in place", "others");
    return plan;
}

PyObject* sgd_step(const Arguments& in) {
    const Plan& plan = read_plan(in[0]);
    const Options options(in, 1, plan.velocities.given());
    return update(plan, options, in[13].flag(false), in[14].flag(false));
}

PyObject* sgd_grad_norm(const Arguments& in) {
    const Plan& plan = read_plan(in[0]);
    double sum;
    {
        const Released released(plan.grads.length());
        sum = plan.squared_grad_norm();
    }
    return PyFloat_FromDouble(std::sqrt(sum));
}

PyObject* clip_grad_norm(const Arguments& in) {
    const Arrays grads = in_place(in[0]);
    const double limit = in[1].between(0, INFINITY, 0);
    require_disjoint({&grads});
    double norm = 0;
    {
        const Released released(grads.length());
        kernels->sgd->squared_norm[int(grads.dtype())]({grads.list(), &norm});
        norm = std::sqrt(norm);
        if (norm > limit && std::isfinite(norm)) kernels->sgd->scale[int(grads.dtype())]({grads.list(), limit / norm});
    }
    return PyFloat_FromDouble(norm);
}

PyObject* penalty(const Arguments& in) {
    const Arrays params(in[0], [](const Argument& item) { return read(item); });
    const double l1 = in[1].non_negative(0), l2 = in[2].non_negative(0);
    double sums[2];
    {
        const Released released(params.length());
        kernels->sgd->weight_norms[int(params.dtype())]({params.list(), sums});
    }
    return PyFloat_FromDouble(l1 * sums[0] + l2 / 2 * sums[1]);
}
}  // namespace

void bind_sgd(PyObject* module) {
    statistics_result.create(module);
    add_functions(module, {method<sgd_update_signature, sgd_update>(), method<sgd_plan_signature, sgd_plan>(),
                           method<sgd_step_signature, sgd_step>(), method<sgd_grad_norm_signature, sgd_grad_norm>(),
                           method<clip_grad_norm_signature, clip_grad_norm>(), method<penalty_signature, penalty>()});
}
}  // namespace trimtab
