// What the updates of all optimizers share: lists of arrays and options, plans, and the call around a kernel.
#pragma once
#include <array>
#include <functional>
#include <memory>

#include "../array_sequence.h"
#include "bind.h"

namespace trimtab {

// The arguments that every update and plan has.
struct UpdateArguments {
    Argument params, grads, masters, weight_decay, l1, decoupled, proximal, maximize, zero_grad;
    template <const auto& doc>
    explicit UpdateArguments(const Arguments<doc>& in)
        : params(in["params"]),
          grads(in["grads"]),
          masters(in["masters"]),
          weight_decay(in["weight_decay"]),
          l1(in["l1"]),
          decoupled(in["decoupled"]),
          proximal(in["proximal"]),
          maximize(in["maximize"]),
          zero_grad(in["zero_grad"]) {}
};

constexpr std::size_t most_buffers = 3;  // of an optimizer, for each parameter

// The arrays of an update, and the options that stay the same from step to step, checked. An optimizer adds its own.
struct Plan {
    static constexpr const char* rule = "be a plan";
    ArraySequence params, grads;
    std::array<ArraySequence, most_buffers> buffers;  // not given: the optimizer has none
    ArraySequence masters;
    double weight_decay, l1;
    bool decoupled, proximal, maximize, zero_grad;
    Scratch<bool> decays;  // one for each parameter; empty: all do

    // One of many steps may set the gradients to zero, so a plan for several needs writeable ones.
    enum class Steps { one, several };
    // The first `required` buffers must be given.
    Plan(const UpdateArguments& in, const std::array<Argument, most_buffers>& buffers, std::size_t required,
         bool decoupled_by_default, Steps steps);
    virtual ~Plan() = default;
    int dtype() const { return int(params.dtype()); }
    bool is_valid() const;
    double grads_norm() const;
};

// The options that differ from step to step.
struct StepOptions {
    double lr, grad_scale;
    bool statistics;
    template <const auto& doc>
    explicit StepOptions(const Arguments<doc>& in)
        : lr(in["lr"].non_negative(0)),
          grad_scale(in["grad_scale"].non_negative(1)),
          statistics(in["statistics"].flag(false)) {}
};

// Calls the kernel unless a step is skipped; returns the statistics or None.
Ref update(const Plan& plan, const StepOptions& options, bool skip_nonfinite,
           const std::function<void(const ParameterUpdate&)>& kernel);

// A capsule that owns the plan.
Ref as_capsule(std::unique_ptr<Plan> plan);
// Null where the argument is no plan.
const Plan* find_plan(const Argument& argument);
void require_valid(const Argument& argument, const Plan& plan);

template <class Wanted>
const Wanted& as_plan(const Argument& argument) {
    const auto* const plan = dynamic_cast<const Wanted*>(find_plan(argument));
    if (!plan) argument.type_error(Wanted::rule);
    return *plan;
}
}  // namespace trimtab
