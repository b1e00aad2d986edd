// Chooses the kernels of the best instruction set that this CPU has, or of the one that TRIMTAB_ISA names.
#pragma once
#include <string>

#include "kernels.h"

namespace trimtab {

extern const Kernels* kernels;  // set by choose_isa()

// Asks the CPU and reads TRIMTAB_ISA; throws std::invalid_argument if this build or this CPU lacks the level it names.
void choose_isa();
const char* isa_name();
std::string isa_levels();  // that this machine can run, best first, comma separated
}  // namespace trimtab
