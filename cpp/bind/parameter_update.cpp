#include "parameter_update.h"

#include <cmath>

#include "docs/parameter_update.h"

namespace trimtab {
namespace {

ResultType statistics_result("UpdateStatistics", "l1_norm l2_norm_sq grad_norm");
constexpr const char* plan_name = "trimtab.plan";

ArraySequence read_like(const ArraySequence& params, const Argument& argument, bool required = false) {
    return required || argument.given() ? ArraySequence(argument, Access::write, &params) : ArraySequence();
}

// The Euclidean norm of arrays, whose two factors are finite where the norm itself overflows.
struct Norm {
    double factors[2];
    explicit Norm(const ArraySequence& arrays) {
        kernels->parameter_update->norm[int(arrays.dtype())]({arrays.list(), factors});
    }
    double value() const { return factors[0] * factors[1]; }
};

Ref as_float(double value) { return Ref::checked(PyFloat_FromDouble(value)); }
}  // namespace

Plan::Plan(const UpdateArguments& in, const std::array<Argument, most_buffers>& given, std::size_t required,
           bool decoupled_by_default, Steps steps)
    : params(in.params, Access::write),
      weight_decay(in.weight_decay.non_negative(0)),
      l1(in.l1.non_negative(0)),
      decoupled(in.decoupled.flag(decoupled_by_default)),
      proximal(in.proximal.flag(false)),
      maximize(in.maximize.flag(false)),
      zero_grad(in.zero_grad.flag(false)) {
    grads = ArraySequence(in.grads, zero_grad || steps == Steps::several ? Access::write : Access::keep, &params);
    for (std::size_t i = 0; i < most_buffers; ++i) buffers[i] = read_like(params, given[i], i < required);
    masters = read_like(params, in.masters);
    grads.require_like(params, params.dtype());
    for (const ArraySequence& buffer : buffers)
        if (buffer.given()) buffer.require_like(params, masters.given() ? DType::float32 : params.dtype());
    if (masters.given()) {
        if (params.dtype() != DType::float16 && params.dtype() != DType::bfloat16)
            in.masters.fail(PyExc_TypeError, "go with float16 or bfloat16 params", "params of " + params.dtype_text());
        masters.require_like(params, DType::float32);
    }
    require_disjoint({&params, &grads, &buffers[0], &buffers[1], &buffers[2], &masters});
    unify_order({&params, &grads, &buffers[0], &buffers[1], &buffers[2], &masters});
}

bool Plan::is_valid() const {
    for (const ArraySequence& buffer : buffers)
        if (!buffer.is_valid()) return false;
    return params.is_valid() && grads.is_valid() && masters.is_valid();
}

double Plan::grads_norm() const { return Norm(grads).value(); }

Ref update(const Plan& plan, const StepOptions& options, bool skip_nonfinite,
           const std::function<void(const ParameterUpdate&)>& kernel) {
    const auto [lr, grad_scale, asked] = options;
    const bool statistics = asked || skip_nonfinite;
    const Decay decay{plan.weight_decay, plan.proximal ? 0 : plan.l1};
    enum { l1_norm, l2_norm_sq, grad_norm, count };
    double sums[count] = {};
    for (const ArraySequence& buffer : plan.buffers) buffer.gather();
    for (const ArraySequence* list : {&plan.params, &plan.grads, &plan.masters}) list->gather();
    {
        const Released released;
        if (skip_nonfinite) sums[grad_norm] = plan.grads_norm();
        if (std::isfinite(sums[grad_norm])) {
            kernel({.weights = plan.params.list(),
                    .gradients = plan.grads.data(),
                    .masters = plan.masters.data(),
                    .decays = plan.decays,
                    .grad_scale = plan.maximize ? -grad_scale : grad_scale,
                    .rate = lr,
                    .coupled = plan.decoupled ? Decay() : decay,
                    .decoupled = plan.decoupled ? decay : Decay(),
                    .threshold = plan.proximal ? lr * plan.l1 : 0,
                    .zero_grad = plan.zero_grad,
                    .sums = statistics ? sums : nullptr});
        } else {
            const ArraySequence& weights = plan.masters.given() ? plan.masters : plan.params;
            kernels->parameter_update->weight_norms[int(weights.dtype())]({weights.list(), sums});
        }
    }
    for (const ArraySequence& buffer : plan.buffers) buffer.scatter();
    for (const ArraySequence* list : {&plan.params, &plan.masters}) list->scatter();
    if (plan.zero_grad) plan.grads.scatter();
    if (!statistics) return Ref::none();
    return statistics_result(as_float(sums[l1_norm]), as_float(sums[l2_norm_sq]),
                             as_float(grad_scale * sums[grad_norm]));
}

Ref as_capsule(std::unique_ptr<Plan> plan) {
    const auto destroy = [](PyObject* capsule) { delete static_cast<Plan*>(PyCapsule_GetPointer(capsule, plan_name)); };
    Ref capsule = Ref::checked(PyCapsule_New(plan.get(), plan_name, destroy));
    plan.release();  // the capsule owns it
    return capsule;
}

const Plan* find_plan(const Argument& argument) {
    if (!PyCapsule_IsValid(argument.value(), plan_name)) return nullptr;
    return static_cast<Plan*>(PyCapsule_GetPointer(argument.value(), plan_name));
}

void require_valid(const Argument& argument, const Plan& plan) {
    if (!plan.is_valid()) argument.fail(PyExc_ValueError, "hold writeable arrays that stay in place", "others");
}

namespace {
Ref plan_grad_norm(const Arguments<docs::plan_grad_norm>& in) {
    const Plan& plan = as_plan<Plan>(in["plan"]);
    require_valid(in["plan"], plan);
    double norm;
    plan.grads.gather();
    {
        const Released released;
        norm = plan.grads_norm();
    }
    return as_float(norm);
}

Ref plan_is_valid(const Arguments<docs::plan_is_valid>& in) {
    return Ref::borrow(as_plan<Plan>(in["plan"]).is_valid() ? Py_True : Py_False);
}

// The factor limit / norm; in two factors of about the same size where float would not hold it.
Scale by(double limit, const Norm& norm, const ArrayList& arrays) {
    const double factor = limit / norm.value();
    if (limit == 0 || factor > 1e-30) return {.arrays = arrays, .factor = factor};
    const int halfway = (std::ilogb(limit) - std::ilogb(norm.factors[0]) - std::ilogb(norm.factors[1])) / 2;
    const double unit = std::ldexp(1.0, halfway);
    return {.arrays = arrays, .factor = limit / unit / norm.factors[0] / norm.factors[1], .power_of_two = unit};
}

Ref clip_grad_norm(const Arguments<docs::clip_grad_norm>& in) {
    ArraySequence grads(in["grads"], Access::write);
    const double limit = in["max_norm"].between(0, INFINITY, 0);
    require_disjoint({&grads});
    unify_order({&grads});
    grads.gather();
    double value;
    {
        const Released released;
        const Norm norm(grads);
        value = norm.value();
        if (value > limit && std::isfinite(norm.factors[0]))
            kernels->parameter_update->scale[int(grads.dtype())](by(limit, norm, grads.list()));
    }
    grads.scatter();
    return as_float(value);
}

Ref penalty(const Arguments<docs::penalty>& in) {
    ArraySequence params(in["params"], Access::read);
    unify_order({&params});
    const double l1 = in["l1"].non_negative(0), l2 = in["l2"].non_negative(0);
    double of_magnitudes = 0, of_squares = 0;
    {
        const Released released;
        const auto weight_norms = kernels->parameter_update->weight_norms[int(params.dtype())];
        double sums[2];
        weight_norms({params.list(), sums});
        if (l1 != 0) of_magnitudes = l1 * sums[0];
        if (l2 != 0) of_squares = l2 / 2 * sums[1];
        // Sums that overflow are those of smaller values, multiplied again in the end. Where squares underflow, too, the
        // root of their sum is multiplied first.
        if (l2 != 0 && !(sums[1] > 1e-280 && sums[1] < 1e280)) {
            const Norm norm(params);
            const double root = std::sqrt(l2 / 2) * norm.factors[0] * norm.factors[1];
            of_squares = root * root;
        }
        if (l1 != 0 && std::isinf(sums[0])) {
            constexpr double unit = 0x1p-64;
            weight_norms({params.list(), sums, unit});
            of_magnitudes = l1 * sums[0] / unit;
        }
    }
    return as_float(of_magnitudes + of_squares);
}
}  // namespace

void bind_parameter_update(PyObject* module) {
    statistics_result.create(module);
    add_functions(module,
                  {method<plan_grad_norm>(), method<plan_is_valid>(), method<clip_grad_norm>(), method<penalty>()});
}
}  // namespace trimtab
