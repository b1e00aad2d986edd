// The only file that asks the CPU.
#include "dispatch.h"

#include "environment.h"

namespace trimtab {

// The tables that kernels/*.cpp export, one for each family and level.
#define TRIMTAB_DECLARE(Table, family, level) extern const Table family##_##level;
#define TRIMTAB_LEVEL(level) TRIMTAB_FAMILIES(TRIMTAB_DECLARE, level)
#include "levels.h"
#undef TRIMTAB_LEVEL

namespace {

struct Level {
    const char* name;
    Kernels table;
};
// Worst first, in the order of CMakeLists.txt.
constexpr Level levels[] = {
#define TRIMTAB_ADDRESS(Table, family, level) &family##_##level,
#define TRIMTAB_LEVEL(level) {#level, {TRIMTAB_FAMILIES(TRIMTAB_ADDRESS, level)}},
#include "levels.h"
};

bool cpu_has(const std::string& level) {
#if defined(__x86_64__)
    if (level == "avx512") return __builtin_cpu_supports("x86-64-v4");
    if (level == "avx2") return __builtin_cpu_supports("x86-64-v3");
#endif
    return true;
}

const Level* chosen = nullptr;
}  // namespace

const Kernels* kernels = nullptr;

void choose_isa() {
    const auto forced = environment_text("TRIMTAB_ISA");
    for (const Level& level : levels)
        if (cpu_has(level.name) && forced.value_or(level.name) == level.name) chosen = &level;
    if (!chosen) refuse_environment("TRIMTAB_ISA", "be one of " + isa_levels(), forced.value_or(""));
    kernels = &chosen->table;
}

const char* isa_name() { return chosen->name; }

std::string isa_levels() {
    std::string names;
    for (const Level& level : levels)
        if (cpu_has(level.name)) names = level.name + std::string(names.empty() ? "" : ", ") + names;
    return names;
}
}  // namespace trimtab
