#include "docs/sgd.h"

#include "parameter_update.h"

namespace trimtab {
namespace {

struct SgdPlan : Plan {
    static constexpr const char* rule = "be a plan of sgd_plan";
    double momentum, dampening;
    bool nesterov;
    template <const auto& doc>
    SgdPlan(const Arguments<doc>& in, Steps steps)
        : Plan(UpdateArguments(in), {in["momentum_buffers"]}, 0, false, steps),
          momentum(in["momentum"].non_negative(0)),
          dampening(in["dampening"].non_negative(0)),
          nesterov(in["nesterov"].flag(false)) {
        if (momentum != 0 && !velocities().given())
            in["momentum"].value_error("be 0 where there are no momentum_buffers");
        if (nesterov && momentum == 0) in["nesterov"].value_error("be False where momentum is 0");
    }
    const ArraySequence& velocities() const { return buffers[0]; }
};

struct SgdStep : StepOptions {
    Scratch<bool> first_step;
    template <const auto& doc>
    SgdStep(const SgdPlan& plan, const Arguments<doc>& in)
        : StepOptions(in), first_step(read_flags(in["first_step"], plan.params.size(), false)) {}
};

Ref step(const SgdPlan& plan, const SgdStep& step, bool skip_nonfinite) {
    return update(plan, step, skip_nonfinite, [&](const ParameterUpdate& update) {
        kernels->parameter_update->sgd[plan.dtype()]({.update = update,
                                                      .velocities = plan.velocities().data(),
                                                      .first_step = step.first_step,
                                                      .momentum = plan.momentum,
                                                      .dampening = plan.dampening,
                                                      .nesterov = plan.nesterov});
    });
}

Ref sgd_update(const Arguments<docs::sgd_update>& in) {
    const SgdPlan plan(in, Plan::Steps::one);
    return step(plan, SgdStep(plan, in), in["skip_nonfinite"].flag(false));
}

Ref sgd_plan(const Arguments<docs::sgd_plan>& in) {
    auto plan = std::make_unique<SgdPlan>(in, Plan::Steps::several);
    plan->decays = read_flags(in["decays"], plan->params.size(), true);
    return as_capsule(std::move(plan));
}

Ref sgd_step(const Arguments<docs::sgd_step>& in) {
    const auto& plan = as_plan<SgdPlan>(in["plan"]);
    const SgdStep options(plan, in);
    require_valid(in["plan"], plan);  // reading the options may have moved the arrays of the plan
    return step(plan, options, false);
}
}  // namespace

void bind_sgd(PyObject* module) {
    add_functions(module, {method<sgd_update>(), method<sgd_plan>(), method<sgd_step>()});
}
}  // namespace trimtab
