// Turns choices known only at run time into constants, outside of the loops that depend on them.
#pragma once
#include "../simd.h"

namespace trimtab {
namespace {

// specialize<counts...>(f, choices...) calls f(Constant<choice>{}...), with 0 <= choice < count for each. f is compiled
// once for each combination.
template <class F>
void specialize(F&& f) {
    f();
}
template <int count, int... counts, class F, class... Rest>
void specialize(F&& f, int choice, Rest... rest) {
    const auto with = [&](auto constant) {
        specialize<counts...>([&](auto... others) { f(constant, others...); }, rest...);
    };
    if constexpr (count > 1)
        if (choice != count - 1) return specialize<count - 1, counts...>(f, choice, rest...);
    with(Constant<count - 1>{});
}
}  // namespace
}  // namespace trimtab
