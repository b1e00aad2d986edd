#include <cmath>
#include <memory>

#include "../array_sequence.h"
#include "bind.h"

namespace trimtab {
namespace {

namespace docs {
constexpr Text sgd_update{
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
params : ndarray, or sequence or mapping of ndarray
    Updated in place. All of one dtype: float32, float64, float16 or bfloat16; writeable. They may lie in memory in any
    order: dense ones, such as Fortran-ordered, at full speed where the others at their place lie alike. Of mappings, the
    arrays of equal keys belong together.
grads : ndarray, or sequence or mapping of ndarray
    The gradient of each parameter, of its dtype and of its shape but for axes of length 1. No two arrays of the call
    overlap.
momentum_buffers : ndarray, or sequence or mapping of ndarray, optional
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
masters : ndarray, or sequence or mapping of ndarray, optional
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
    Lists of different lengths, other keys, a shape that does not fit, arrays that overlap or are read-only, a number out of range, `momentum` without buffers, `nesterov` without momentum. Nothing has been changed
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
)"};

constexpr Text sgd_plan{
    R"(sgd_plan(params, grads, momentum_buffers=None, *, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0, l1=0.0, decoupled=False, proximal=False, maximize=False, zero_grad=False, masters=None, decays=True)
--

What `sgd_update` takes, checked once for many steps; `grads` must be writeable.

`decays`, a bool or a sequence of bools: whether `weight_decay` and `l1` apply, to all parameters or to each.

Returns
-------
plan : capsule
    Holds on to the arrays.
)"};

constexpr Text sgd_step{
    R"(sgd_step(plan, lr, grad_scale=1.0, first_step=False, statistics=False)
--

`sgd_update` of what a plan holds.
)"};

constexpr Text sgd_grad_norm{
    R"(sgd_grad_norm(plan)
--

The root of the sum of squares of all gradients of a plan.
)"};

constexpr Text sgd_stands{
    R"(sgd_stands(plan)
--

Whether the arrays of a plan can still be written where they were found.
)"};

constexpr Text clip_grad_norm{
    R"(clip_grad_norm(grads, max_norm)
--

Scale gradients in place so that their common norm is at most `max_norm`.

    g = g * min(1, max_norm / norm),  norm = sqrt(sum of g^2 over all arrays)

Parameters
----------
grads : ndarray, or sequence or mapping of ndarray
    All of one dtype: float32, float64, float16 or bfloat16; writeable, not overlapping, in any order in memory.
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
    ArraySequence that overlap or are read-only; `max_norm` out of range. Nothing has been changed
    then.

Notes
-----
Gradients that `sgd_update` will read need no pass of their own: measure with an infinite `max_norm`, and give
``grad_scale=min(1, max_norm / norm)`` to the update.

References
----------
Pascanu, R., Mikolov, T., and Bengio, Y. (2013). On the difficulty of training recurrent neural networks. ICML.
)"};

constexpr Text penalty{
    R"(penalty(params, *, l1=0.0, l2=0.0)
--

The value of the L1 and L2 penalties of any number of arrays.

    l1 * (sum of |w|) + l2 / 2 * (sum of w^2)

Parameters
----------
params : array_like, or sequence or mapping of array_like
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
)"};
}  // namespace docs

ResultType statistics_result("SgdStatistics", "l1_norm l2_norm_sq grad_norm");

// The arguments that sgd_update and sgd_plan share.
struct PlanArguments {
    Argument params, grads, momentum_buffers, masters;
    Argument momentum, dampening, nesterov, weight_decay, l1, decoupled, proximal, maximize;
    template <const auto& doc>
    explicit PlanArguments(const Arguments<doc>& in)
        : params(in["params"]),
          grads(in["grads"]),
          momentum_buffers(in["momentum_buffers"]),
          masters(in["masters"]),
          momentum(in["momentum"]),
          dampening(in["dampening"]),
          nesterov(in["nesterov"]),
          weight_decay(in["weight_decay"]),
          l1(in["l1"]),
          decoupled(in["decoupled"]),
          proximal(in["proximal"]),
          maximize(in["maximize"]) {}
};

// The options that stay the same from step to step.
struct Options {
    double momentum, dampening;
    bool nesterov;
    double weight_decay, l1;
    bool decoupled, proximal, maximize;
    Options(const PlanArguments& in, bool has_velocities)
        : momentum(in.momentum.non_negative(0)),
          dampening(in.dampening.non_negative(0)),
          nesterov(in.nesterov.flag(false)),
          weight_decay(in.weight_decay.non_negative(0)),
          l1(in.l1.non_negative(0)),
          decoupled(in.decoupled.flag(false)),
          proximal(in.proximal.flag(false)),
          maximize(in.maximize.flag(false)) {
        if (momentum != 0 && !has_velocities) in.momentum.value_error("be 0 where there are no momentum_buffers");
        if (nesterov && momentum == 0) in.nesterov.value_error("be False where momentum is 0");
    }
};

// What sgd_update works on, and how.
struct Plan {
    ArraySequence params, grads, velocities, masters;
    Options options;
    bool zero_grad;
    Scratch<bool> decays;  // one for each parameter; empty: all do
    Plan(const PlanArguments& in, bool zero_grad, bool writes_grads)
        : params(in.params, Access::write),
          grads(in.grads, writes_grads ? Access::write : Access::keep, &params),
          velocities(in.momentum_buffers.given() ? ArraySequence(in.momentum_buffers, Access::write, &params)
                                                 : ArraySequence()),
          masters(in.masters.given() ? ArraySequence(in.masters, Access::write, &params) : ArraySequence()),
          options(in, velocities.given()),
          zero_grad(zero_grad) {
        grads.require_like(params, params.dtype());
        if (velocities.given()) velocities.require_like(params, masters.given() ? DType::float32 : params.dtype());
        if (masters.given()) {
            if (params.dtype() != DType::float16 && params.dtype() != DType::bfloat16)
                in.masters.fail(PyExc_TypeError, "go with float16 or bfloat16 params",
                                "params of " + params.dtype_text());
            masters.require_like(params, DType::float32);
        }
        require_disjoint({&params, &grads, &velocities, &masters});
        lay_out({&params, &grads, &velocities, &masters});
    }
    void gather() const {
        for (const ArraySequence* list : {&params, &grads, &velocities, &masters}) list->gather();
    }
    void scatter() const {
        for (const ArraySequence* list : {&params, &velocities, &masters}) list->scatter();
        if (zero_grad) grads.scatter();
    }
    bool stands() const { return params.stand() && grads.stand() && velocities.stand() && masters.stand(); }
    double grads_norm() const {
        double norm;
        kernels->sgd->norm[int(grads.dtype())]({grads.list(), &norm});
        return norm;
    }
};

// What differs from step to step.
struct Step {
    double lr, grad_scale;
    Scratch<bool> first_step;
    bool statistics;
    template <const auto& doc>
    Step(const Plan& plan, const Arguments<doc>& in)
        : lr(in["lr"].non_negative(0)),
          grad_scale(in["grad_scale"].non_negative(1)),
          first_step(read_flags(in["first_step"], plan.params.size(), false)),
          statistics(in["statistics"].flag(false)) {}
};

Ref as_float(double value) { return Ref::checked(PyFloat_FromDouble(value)); }

Ref step(const Plan& plan, const Step& step, bool skip_nonfinite) {
    const double lr = step.lr, grad_scale = step.grad_scale;
    const bool statistics = step.statistics || skip_nonfinite;
    const Options& o = plan.options;
    const Decay decay{o.weight_decay, o.proximal ? 0 : o.l1};
    enum { l1_norm, l2_norm_sq, grad_norm, count };
    double sums[count] = {};
    plan.gather();
    {
        const Released released;
        if (skip_nonfinite) sums[grad_norm] = plan.grads_norm();
        if (std::isfinite(sums[grad_norm])) {
            kernels->sgd->update[int(plan.params.dtype())]({.weights = plan.params.list(),
                                                            .gradients = plan.grads.data(),
                                                            .velocities = plan.velocities.data(),
                                                            .masters = plan.masters.data(),
                                                            .first_step = step.first_step,
                                                            .decays = plan.decays,
                                                            .lr = lr,
                                                            .momentum = o.momentum,
                                                            .dampening = o.dampening,
                                                            .grad_scale = o.maximize ? -grad_scale : grad_scale,
                                                            .coupled = o.decoupled ? Decay() : decay,
                                                            .decoupled = o.decoupled ? decay : Decay(),
                                                            .threshold = o.proximal ? lr * o.l1 : 0,
                                                            .nesterov = o.nesterov,
                                                            .zero_grad = plan.zero_grad,
                                                            .sums = statistics ? sums : nullptr});
        } else {
            const ArraySequence& weights = plan.masters.given() ? plan.masters : plan.params;
            kernels->sgd->weight_norms[int(weights.dtype())]({weights.list(), sums});
        }
    }
    plan.scatter();
    if (!statistics) return Ref::none();
    return statistics_result(as_float(sums[l1_norm]), as_float(sums[l2_norm_sq]),
                             as_float(grad_scale * sums[grad_norm]));
}

Ref sgd_update(const Arguments<docs::sgd_update>& in) {
    const bool zero_grad = in["zero_grad"].flag(false);
    const Plan plan(PlanArguments(in), zero_grad, zero_grad);
    return step(plan, Step(plan, in), in["skip_nonfinite"].flag(false));
}

constexpr const char* plan_name = "trimtab.sgd_plan";

Ref sgd_plan(const Arguments<docs::sgd_plan>& in) {
    auto plan = std::make_unique<Plan>(PlanArguments(in), in["zero_grad"].flag(false), true);
    plan->decays = read_flags(in["decays"], plan->params.size(), true);
    const auto destroy = [](PyObject* capsule) { delete static_cast<Plan*>(PyCapsule_GetPointer(capsule, plan_name)); };
    Ref capsule = Ref::checked(PyCapsule_New(plan.get(), plan_name, destroy));
    plan.release();  // the capsule owns it
    return capsule;
}

const Plan& as_plan(const Argument& argument) {
    if (!PyCapsule_IsValid(argument.value(), plan_name)) argument.type_error("be a plan");
    return *static_cast<Plan*>(PyCapsule_GetPointer(argument.value(), plan_name));
}

const Plan& read_plan(const Argument& argument) {
    const Plan& plan = as_plan(argument);
    if (!plan.stands()) argument.fail(PyExc_ValueError, "hold writeable arrays that stay in place", "others");
    return plan;
}

Ref sgd_step(const Arguments<docs::sgd_step>& in) {
    const Step options(as_plan(in["plan"]), in);
    return step(read_plan(in["plan"]), options, false);  // reading the options may have moved the arrays of the plan
}

Ref sgd_grad_norm(const Arguments<docs::sgd_grad_norm>& in) {
    const Plan& plan = read_plan(in["plan"]);
    double norm;
    plan.grads.gather();
    {
        const Released released;
        norm = plan.grads_norm();
    }
    return as_float(norm);
}

Ref sgd_stands(const Arguments<docs::sgd_stands>& in) {
    return Ref::borrow(as_plan(in["plan"]).stands() ? Py_True : Py_False);
}

// By limit / norm; where float would not hold that, in two steps of about the same size.
Scale by(double limit, double norm, const ArrayList& arrays) {
    const double factor = limit / norm;
    if (limit == 0 || factor > 1e-30) return {.arrays = arrays, .factor = factor};
    const double unit = std::ldexp(1.0, (std::ilogb(limit) - std::ilogb(norm)) / 2);
    return {.arrays = arrays, .factor = limit / unit / norm, .unit = unit};
}

Ref clip_grad_norm(const Arguments<docs::clip_grad_norm>& in) {
    ArraySequence grads(in["grads"], Access::write);
    const double limit = in["max_norm"].between(0, INFINITY, 0);
    require_disjoint({&grads});
    lay_out({&grads});
    grads.gather();
    double norm = 0;
    {
        const Released released;
        kernels->sgd->norm[int(grads.dtype())]({grads.list(), &norm});
        if (norm > limit && std::isfinite(norm)) kernels->sgd->scale[int(grads.dtype())](by(limit, norm, grads.list()));
    }
    grads.scatter();
    return as_float(norm);
}

Ref penalty(const Arguments<docs::penalty>& in) {
    ArraySequence params(in["params"], Access::read);
    lay_out({&params});
    const double l1 = in["l1"].non_negative(0), l2 = in["l2"].non_negative(0);
    double sums[2], norm = 0;
    {
        const Released released;
        kernels->sgd->weight_norms[int(params.dtype())]({params.list(), sums});
        // Squares that overflow or vanish leave it to the norm, whose factors are the root of what is asked for.
        if (l2 != 0 && !(sums[1] > 1e-280 && sums[1] < 1e280))
            kernels->sgd->norm[int(params.dtype())]({params.list(), &norm});
    }
    const double root = std::sqrt(l2 / 2) * norm;
    const double of_magnitudes = l1 == 0 ? 0 : l1 * sums[0], of_squares = l2 == 0 ? 0 : l2 / 2 * sums[1];
    return as_float(of_magnitudes + (norm == 0 ? of_squares : root * root));
}
}  // namespace

void bind_sgd(PyObject* module) {
    statistics_result.create(module);
    add_functions(module, {method<sgd_update>(), method<sgd_plan>(), method<sgd_step>(), method<sgd_grad_norm>(),
                           method<sgd_stands>(), method<clip_grad_norm>(), method<penalty>()});
}
}  // namespace trimtab
