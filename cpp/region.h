// The engine that runs tasks in a parallel region of an OpenMP runtime, which is loaded when it is asked for.
#pragma once
#include <string>

#include "engine.h"

namespace trimtab {

// Looks for a runtime and returns the engine. Throws std::runtime_error where there is none.
const Engine& load_region();
std::string region_runtime();  // the path of the runtime; empty before the first load
}  // namespace trimtab
