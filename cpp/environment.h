// The only place that reads environment variables. A value that makes no sense is an error that names the variable. An
// empty variable counts as not set.
#pragma once
#include <cstddef>
#include <optional>
#include <string>

namespace trimtab {

// All throw std::invalid_argument: "<name> must <rule>, got '<value>'".
[[noreturn]] void refuse_environment(const char* name, const std::string& rule, const std::string& value);

std::optional<std::string> environment_text(const char* name);
std::optional<int> environment_count(const char* name);          // an int >= 1
std::optional<std::size_t> environment_bytes(const char* name);  // an int >= 0, with or without a unit k, M, G or T

// The first number of OMP_NUM_THREADS. A value that makes no sense is no error: OpenMP checks it.
std::optional<int> openmp_environment();
}  // namespace trimtab
