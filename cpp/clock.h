// The clock that decides when threads sleep.
#pragma once
#include <chrono>
#include <cstdint>

namespace trimtab {

inline std::int64_t now() {  // ns
    return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}
constexpr std::int64_t never = INT64_MIN / 2;  // longer ago than anything
}  // namespace trimtab
