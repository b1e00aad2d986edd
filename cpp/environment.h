// The only place that reads the environment. What a variable says makes sense, or it is an error that names it: never a
// guess. A variable that is empty counts as not set.
#pragma once
#include <cstddef>
#include <optional>
#include <string>

namespace trimtab {

// They throw std::invalid_argument: "<name> must <rule>, got '<value>'".
[[noreturn]] void refuse_environment(const char* name, const std::string& rule, const std::string& value);

std::optional<std::string> environment_text(const char* name);
std::optional<int> environment_count(const char* name);          // an int >= 1
std::optional<std::size_t> environment_bytes(const char* name);  // an int >= 0, perhaps in units of k, M, G or T

// The first number of OMP_NUM_THREADS, which is not ours to check.
std::optional<int> openmp_environment();
}  // namespace trimtab
