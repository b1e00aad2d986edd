// Time, as those ask it who decide whether threads sleep.
#pragma once
#include <chrono>
#include <cstdint>

namespace trimtab {

// Nanoseconds. A worker sleeps before long: BLAS has threads of its own, and wants the CPUs for a matrix product between
// two calls.
constexpr int64_t stays_awake = 100'000, never = INT64_MIN / 2;

inline int64_t now() { return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }
}  // namespace trimtab
