#include "docs/sgd.h"

#include <cmath>
#include <memory>

#include "../array_sequence.h"
#include "bind.h"

namespace trimtab {
namespace {

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

// The arrays and options of an update, checked.
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
        unify_order({&params, &grads, &velocities, &masters});
    }
    void gather() const {
        for (const ArraySequence* list : {&params, &grads, &velocities, &masters}) list->gather();
    }
    void scatter() const {
        for (const ArraySequence* list : {&params, &velocities, &masters}) list->scatter();
        if (zero_grad) grads.scatter();
    }
    bool is_valid() const {
        return params.is_valid() && grads.is_valid() && velocities.is_valid() && masters.is_valid();
    }
    double grads_norm() const {
        double norm;
        kernels->sgd->norm[int(grads.dtype())]({grads.list(), &norm});
        return norm;
    }
};

// The options that differ from step to step.
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
    if (!plan.is_valid()) argument.fail(PyExc_ValueError, "hold writeable arrays that stay in place", "others");
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

Ref sgd_plan_is_valid(const Arguments<docs::sgd_plan_is_valid>& in) {
    return Ref::borrow(as_plan(in["plan"]).is_valid() ? Py_True : Py_False);
}

// The factor limit / norm; in two factors of about the same size where float would not hold it.
Scale by(double limit, double norm, const ArrayList& arrays) {
    const double factor = limit / norm;
    if (limit == 0 || factor > 1e-30) return {.arrays = arrays, .factor = factor};
    const double unit = std::ldexp(1.0, (std::ilogb(limit) - std::ilogb(norm)) / 2);
    return {.arrays = arrays, .factor = limit / unit / norm, .power_of_two = unit};
}

Ref clip_grad_norm(const Arguments<docs::clip_grad_norm>& in) {
    ArraySequence grads(in["grads"], Access::write);
    const double limit = in["max_norm"].between(0, INFINITY, 0);
    require_disjoint({&grads});
    unify_order({&grads});
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
    unify_order({&params});
    const double l1 = in["l1"].non_negative(0), l2 = in["l2"].non_negative(0);
    double sums[2], norm = 0;
    {
        const Released released;
        kernels->sgd->weight_norms[int(params.dtype())]({params.list(), sums});
        // Where squares overflow or underflow the scaled norm is used, squared after the multiplication.
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
                           method<sgd_plan_is_valid>(), method<clip_grad_norm>(), method<penalty>()});
}
}  // namespace trimtab
