// The argument `rng`: the seed of a call's random numbers.
#pragma once
#include <cstdint>

#include "../function.h"

namespace trimtab {

void import_random();  // interned names

class Seed {
public:
    // Checks the argument: an int, a numpy.random.Generator, a RandomState or None. Nothing is drawn yet.
    explicit Seed(const Argument& rng);
    // The int; 64 bits of the generator or RandomState; or 64 bits of the system's entropy.
    uint64_t draw() const;

private:
    uint64_t given_ = 0;
    Ref bit_generator_;  // empty: no generator
    Ref legacy_;         // a RandomState; empty: none
    bool fixed_ = false;
};
}  // namespace trimtab
