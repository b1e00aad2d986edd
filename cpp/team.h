// The engine that has threads of its own: the caller, and workers that join it while there is work.
#pragma once
#include "engine.h"

namespace trimtab {

extern const Engine team;
}  // namespace trimtab
