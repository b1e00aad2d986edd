// Choices known only at run time, lifted out of the loops.
#pragma once
#include "../simd.h"

namespace trimtab {
namespace {

// f(Constant<choice>{}...) for choices with 0 <= choice < its count: a body is compiled for each combination.
template <class F>
void lift(F&& f) {
    f();
}
template <int count, int... counts, class F, class... Rest>
void lift(F&& f, int choice, Rest... rest) {
    const auto with = [&](auto constant) {
        specialize<counts...>([&](auto... others) { f(constant, others...); }, rest...);
    };
    if constexpr (count > 1)
        if (choice != count - 1) return specialize<count - 1, counts...>(f, choice, rest...);
    with(Constant<count - 1>{});
}
}  // namespace
}  // namespace trimtab
