// Several arrays given as one argument: their dtype, their shapes, and that no two of them overlap.
#pragma once
#include "array.h"

namespace trimtab {

// What was given as one argument: the items of a sequence, or a single object.
class Items {
public:
    Items() = default;
    Items(const Argument& argument, bool sequence)
        : argument_(argument),
          tuple_(sequence ? Ref::checked(PySequence_Tuple(argument.value())) : Ref()) {}  // which no thread can change
    bool given() const { return argument_.value(); }
    std::size_t size() const { return tuple_ ? std::size_t(PyTuple_GET_SIZE(tuple_.get())) : 1; }
    Argument operator[](std::size_t i) const {
        return tuple_ ? argument_.element(Py_ssize_t(i), PyTuple_GET_ITEM(tuple_.get(), Py_ssize_t(i))) : argument_;
    }
    void require_size(std::size_t size, const char* unit) const;

private:
    Argument argument_;
    Ref tuple_;
};

// A flag for each of `count` arrays: one for all, or a sequence of them.
Scratch<bool> read_flags(const Argument& argument, std::size_t count, bool otherwise);

// Arrays of one dtype. An array or a sequence of them.
class Arrays {
public:
    Arrays() = default;
    Arrays(const Argument& argument, Array (*read)(const Argument& item));
    // One for each of `others`, of its shape.
    void require_like(const Arrays& others, DType dtype) const;
    // Whether the arrays can still be written where they were found.
    bool stand() const;
    Argument item(std::size_t i) const { return items_[i]; }
    bool given() const { return items_.given(); }
    std::size_t size() const { return arrays_.size(); }
    DType dtype() const { return arrays_.empty() ? DType::float32 : arrays_[0].dtype(); }
    std::string dtype_text() const { return arrays_.empty() ? "none" : trimtab::dtype_text(arrays_[0].descr()); }
    ptrdiff_t length() const { return length_; }  // in elements
    void* const* data() const { return given() ? data_.data() : nullptr; }
    ptrdiff_t bytes(std::size_t i) const { return sizes_[i] * arrays_[i].itemsize(); }
    ArrayList list() const { return {ptrdiff_t(size()), sizes_.data(), data_.data()}; }

private:
    Items items_;
    std::vector<Array> arrays_;
    std::vector<void*> data_;
    std::vector<ptrdiff_t> sizes_;
    ptrdiff_t length_ = 0;
};

void require_disjoint(std::initializer_list<const Arrays*> lists);
}  // namespace trimtab
