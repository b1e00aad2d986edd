// The kernels of the best instruction set this CPU has, or of the one TRIMTAB_ISA names.
#pragma once
#include <string>

#include "kernels.h"

namespace trimtab {

extern const Kernels* kernels;  // set by choose_isa()

// Reads the CPU and TRIMTAB_ISA; throws std::invalid_argument if that names no level this machine and build have.
void choose_isa();
const char* isa_name();
std::string isa_levels();  // those this machine can run, best first, comma separated
}  // namespace trimtab
