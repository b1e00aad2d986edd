#include "arrays.h"

#include <algorithm>

namespace trimtab {
namespace {

// Is this a sequence of arrays, rather than something that is an array by itself?
bool is_list(PyObject* value) {
    if (PyList_Check(value) || PyTuple_Check(value)) return true;
    if (PyArray_Check(value)) return false;
    return PySequence_Check(value) && !PyUnicode_Check(value) && !PyBytes_Check(value) &&
           !PyObject_HasAttrString(value, "__array__");
}
}  // namespace

void Items::require_size(std::size_t size, const char* unit) const {
    if (this->size() != size)
        argument_.fail(PyExc_ValueError, "have " + std::to_string(size) + " " + unit, std::to_string(this->size()));
}

Scratch<bool> read_flags(const Argument& argument, std::size_t count, bool otherwise) {
    Scratch<bool> flags{ptrdiff_t(count)};
    const bool each = argument.value() && PySequence_Check(argument.value());
    const Items items(argument, each);
    if (each) items.require_size(count, "bools");
    for (std::size_t i = 0; i < count; ++i) flags[i] = items[i].flag(otherwise);
    return flags;
}

Arrays::Arrays(const Argument& argument, Array (*read)(const Argument& item))
    : items_(argument, is_list(argument.value())) {
    const std::size_t count = items_.size();
    arrays_.reserve(count), data_.reserve(count), sizes_.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        const Argument item = items_[i];
        const Array& array = arrays_.emplace_back(read(item));
        require_dtype(item, array, dtype());
        data_.push_back(array.data());
        sizes_.push_back(array.size());
        length_ += sizes_[i];
    }
}

void Arrays::require_like(const Arrays& others, DType dtype) const {
    items_.require_size(others.size(), "arrays");
    for (std::size_t i = 0; i < size(); ++i) {
        require_dtype(items_[i], arrays_[i], dtype);
        require_shape_of(items_[i], arrays_[i], others.arrays_[i]);
    }
}

bool Arrays::stand() const {
    for (std::size_t i = 0; i < size(); ++i)
        if (arrays_[i].data() != data_[i] || arrays_[i].size() != sizes_[i] || !PyArray_ISWRITEABLE(arrays_[i].get()))
            return false;
    return true;
}

void require_disjoint(std::initializer_list<const Arrays*> lists) {
    struct Span {
        const char *begin, *end;
        std::size_t list, item;
    };
    std::vector<Span> spans;
    for (std::size_t list = 0; list < lists.size(); ++list)
        for (std::size_t i = 0; i < lists.begin()[list]->size(); ++i) {
            const Arrays& arrays = *lists.begin()[list];
            const auto begin = static_cast<const char*>(arrays.data()[i]);
            if (arrays.bytes(i) > 0) spans.push_back({begin, begin + arrays.bytes(i), list, i});
        }
    std::sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) { return a.begin < b.begin; });
    const auto meet =
        std::adjacent_find(spans.begin(), spans.end(), [](const Span& a, const Span& b) { return b.begin < a.end; });
    if (meet == spans.end()) return;
    const auto argument = [&](const Span& span) { return lists.begin()[span.list]->item(span.item); };
    const auto [first, second] = std::minmax(meet[0], meet[1], [](const Span& a, const Span& b) {
        return std::pair(a.list, a.item) < std::pair(b.list, b.item);
    });
    argument(second).fail(PyExc_ValueError, "not overlap " + argument(first).label(), "overlapping arrays");
}
}  // namespace trimtab
