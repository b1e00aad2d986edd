// The choice of the engine.
#pragma once
#include <string>

namespace trimtab {

// "team" or "openmp". Returns false for any other name; throws std::runtime_error where OpenMP cannot be used. A child
// of fork() uses the team: a region of OpenMP would hang there.
bool set_threading(const std::string& name);
const char* threading();
std::string openmp_runtime();  // the path of the runtime in use; "none" with the team
}  // namespace trimtab
