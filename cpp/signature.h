// The docstring of a public function and the signature in its first line. Both are known to the compiler: docstrings share
// paragraphs, and bindings take arguments by the names in the signature.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace trimtab {

// Characters that are known at compile time.
template <std::size_t length>
struct Text {
    char characters[length + 1] = {};
    constexpr operator std::string_view() const { return {characters, length}; }
};

template <class T>
constexpr std::size_t text_length = 0;
template <std::size_t size>
constexpr std::size_t text_length<char[size]> = size - 1;
template <std::size_t length>
constexpr std::size_t text_length<Text<length>> = length;

// Concatenates literals and texts.
template <class... Parts>
consteval auto join(const Parts&... parts) {
    Text<(text_length<Parts> + ...)> whole;
    char* end = whole.characters;
    const auto append = [&](std::string_view part) { end = std::copy(part.begin(), part.end(), end); };
    (append(parts), ...);
    return whole;
}

constexpr std::size_t max_parameters = 20;

// Read from the first line of a docstring, which inspect.signature() reads, too:
// "name(required, optional=None, *, keyword=1)".
struct Signature {
    std::string_view name;
    std::array<std::string_view, max_parameters> parameters = {};
    std::size_t count = 0, positional = 0;
    std::size_t required = 0;  // a bit for each parameter

    constexpr explicit Signature(std::string_view doc) {
        const std::string_view line = doc.substr(0, doc.find('\n'));
        const std::size_t open = line.find('('), close = line.rfind(')');
        name = line.substr(0, open);
        bool keyword_only = false;
        for (std::size_t from = open + 1, to; from < close; from = to + 1) {
            to = std::min(line.find(',', from), close);
            std::string_view parameter = line.substr(from, to - from);
            parameter.remove_prefix(std::min(parameter.find_first_not_of(' '), parameter.size()));
            const std::size_t equals = parameter.find('=');
            const std::string_view word = parameter.substr(0, equals);
            if (word.empty() || word.find_first_of(")]}") != word.npos) continue;  // inside a default
            if (word == "*") {
                keyword_only = true;
                continue;
            }
            if (equals == parameter.npos) required |= std::size_t(1) << count;
            parameters[count++] = word;
            if (!keyword_only) positional = count;
        }
    }
    // The position of a parameter; `count` where there is none of this name.
    constexpr std::size_t find(std::string_view parameter) const {
        return std::size_t(std::find(parameters.begin(), parameters.begin() + count, parameter) - parameters.begin());
    }
};
}  // namespace trimtab
