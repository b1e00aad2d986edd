#include "docs/adam.h"

#include <cmath>

#include "parameter_update.h"

namespace trimtab {
namespace {

struct Betas {
    double of[2];
    explicit Betas(const Argument& argument) : of{0.9, 0.999} {
        if (!argument.value()) return;
        constexpr char rule[] = "be two numbers";
        if (!PySequence_Check(argument.value()) || PyMemoryView_Check(argument.value())) argument.type_error(rule);
        const Ref pair(PySequence_Tuple(argument.value()));
        if (!pair) argument.raised(rule);
        if (PyTuple_GET_SIZE(pair.get()) != 2) argument.value_error(rule);
        for (Py_ssize_t i = 0; i < 2; ++i) {
            const Argument beta = argument.element(i, PyTuple_GET_ITEM(pair.get(), i));
            of[i] = beta.number(0);
            if (!(of[i] >= 0 && of[i] < 1)) beta.value_error("be >= 0 and < 1");
        }
    }
};

struct AdamPlan : Plan {
    static constexpr const char* rule = "be a plan of adam_plan";
    Betas betas;
    double eps;
    template <const auto& doc>
    AdamPlan(const Arguments<doc>& in, Steps steps)
        : Plan(UpdateArguments(in), {in["exp_avgs"], in["exp_avg_sqs"], in["max_exp_avg_sqs"]}, 2, true, steps),
          betas(in["betas"]),
          eps(in["eps"].non_negative(1e-8)) {}
};

struct AdamStep : StepOptions {
    Py_ssize_t step;
    template <const auto& doc>
    explicit AdamStep(const Arguments<doc>& in) : StepOptions(in), step(in["step"].integer(rule)) {
        if (step < 1) in["step"].value_error(rule);
    }
    static constexpr char rule[] = "be an int >= 1";
};

// x^n, correctly rounded but for ties that 2^-100 * n would decide: squared and multiplied in double-double arithmetic.
// std::pow is not the same on all machines.
double power(double x, Py_ssize_t n) {
    struct Double2 {
        double high, low;
        Double2 operator*(Double2 o) const {
            const double product = high * o.high;
            const double rest = std::fma(high, o.high, -product) + (high * o.low + low * o.high);
            const double sum = product + rest;
            return {sum, rest - (sum - product)};
        }
    };
    Double2 result{1, 0};
    for (Double2 square{x, 0}; n != 0; n >>= 1, square = square * square)
        if (n & 1) result = result * square;
    return result.high;
}

Ref step(const AdamPlan& plan, const AdamStep& options, bool skip_nonfinite) {
    const auto [beta1, beta2] = plan.betas.of;
    const double lr = options.lr;
    return update(plan, options, skip_nonfinite, [&](ParameterUpdate update) {
        update.rate = 1;  // the step has the learning rate, so the decay gets it, too
        update.decoupled = {lr * update.decoupled.l2, lr * update.decoupled.l1};
        kernels->parameter_update->adam[plan.dtype()]({.update = update,
                                                       .averages = plan.buffers[0].data(),
                                                       .squares = plan.buffers[1].data(),
                                                       .largest_squares = plan.buffers[2].data(),
                                                       .beta1 = beta1,
                                                       .beta2 = beta2,
                                                       .eps = plan.eps,
                                                       .step_size = lr / (1 - power(beta1, options.step)),
                                                       .root_correction = std::sqrt(1 - power(beta2, options.step))});
    });
}

Ref adam_update(const Arguments<docs::adam_update>& in) {
    const AdamPlan plan(in, Plan::Steps::one);
    return step(plan, AdamStep(in), in["skip_nonfinite"].flag(false));
}

Ref adam_plan(const Arguments<docs::adam_plan>& in) {
    auto plan = std::make_unique<AdamPlan>(in, Plan::Steps::several);
    plan->decays = read_flags(in["decays"], plan->params.size(), true);
    return as_capsule(std::move(plan));
}

Ref adam_step(const Arguments<docs::adam_step>& in) {
    const auto& plan = as_plan<AdamPlan>(in["plan"]);
    const AdamStep options(in);
    require_valid(in["plan"], plan);  // reading the options may have moved the arrays of the plan
    return step(plan, options, false);
}
}  // namespace

void bind_adam(PyObject* module) {
    add_functions(module, {method<adam_update>(), method<adam_plan>(), method<adam_step>()});
}
}  // namespace trimtab
