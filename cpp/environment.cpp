#include "environment.h"

#include <charconv>
#include <climits>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

namespace trimtab {
namespace {

std::string_view trimmed(std::string_view text) {
    constexpr const char* blanks = " \t\n";
    const auto begin = text.find_first_not_of(blanks);
    return begin == text.npos ? std::string_view() : text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

struct Number {
    unsigned long long value;
    std::string_view unit;  // the text after the value
};
std::optional<Number> number_in(std::string_view text) {
    unsigned long long value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc()) return {};
    return Number{value, trimmed(text.substr(std::size_t(end - text.data())))};
}

// log2 of a unit: 10 for "k", "K", "Ki" and "KiB". -1: not a unit.
int shift_of(std::string_view unit) {
    if (unit.empty()) return 0;
    constexpr std::string_view prefixes = "kmgt";
    const auto prefix = prefixes.find(char(unit[0] | 0x20));
    const std::string_view rest = unit.substr(1);
    return prefix != prefixes.npos && (rest.empty() || rest == "i" || rest == "iB") ? 10 * (int(prefix) + 1) : -1;
}
}  // namespace

void refuse_environment(const char* name, const std::string& rule, const std::string& value) {
    throw std::invalid_argument(std::string(name) + " must " + rule + ", got '" + value + "'");
}

std::optional<std::string> environment_text(const char* name) {
    const char* const value = std::getenv(name);
    if (!value || trimmed(value).empty()) return {};
    return std::string(trimmed(value));
}

std::optional<int> environment_count(const char* name) {
    const auto text = environment_text(name);
    if (!text) return {};
    const auto number = number_in(*text);
    if (!number || !number->unit.empty() || number->value < 1 || number->value > INT_MAX)
        refuse_environment(name, "be an int from 1 to " + std::to_string(INT_MAX), *text);
    return int(number->value);
}

std::optional<std::size_t> environment_bytes(const char* name) {
    const auto text = environment_text(name);
    if (!text) return {};
    const auto number = number_in(*text);
    const int shift = number ? shift_of(number->unit) : -1;
    if (shift < 0 || number->value > (SIZE_MAX / 2) >> shift)
        refuse_environment(name, "be a number of bytes such as 67108864, 64M or 1G", *text);
    return std::size_t(number->value) << shift;
}

std::optional<int> openmp_environment() {
    const auto text = environment_text("OMP_NUM_THREADS");
    const auto number = text ? number_in(*text) : std::nullopt;
    if (!number || number->value < 1 || number->value > INT_MAX) return {};
    return int(number->value);
}
}  // namespace trimtab
