// Several arrays given as one argument: their dtype, their shapes, their memory, and that no two of them overlap.
#pragma once
#include "read.h"

namespace trimtab {

// What was given as one argument: the items of a sequence, the values of a mapping, or a single object.
class Items {
public:
    Items() = default;
    // `like`: another argument that has an item for each of these. A mapping has its keys, in its order.
    explicit Items(const Argument& argument, const Items* like = nullptr);
    bool given() const { return argument_.value(); }
    std::size_t size() const { return values_ ? std::size_t(PyTuple_GET_SIZE(values_.get())) : 1; }
    Argument operator[](std::size_t i) const;
    void require_size(std::size_t size, const char* unit) const;

private:
    void read_mapping(const Items* like);
    Argument argument_;
    Ref values_;  // a tuple, which no thread can change; empty: a single object
    Ref keys_;    // a tuple; empty: no mapping
};

// A flag for each of `count` arrays: one for all, or a sequence of them.
Scratch<bool> read_flags(const Argument& argument, std::size_t count, bool otherwise);

enum class Access { read, keep, write };  // a copy will do; the array itself, whose values stay; or change

// Arrays of one dtype, in any order and with any gaps. Kernels see the elements of each in one piece.
class ArraySequence {
public:
    ArraySequence() = default;
    ArraySequence(const Argument& argument, Access access, const ArraySequence* like = nullptr);
    // One for each of `others`, of its values' shape.
    void require_like(const ArraySequence& others, DType dtype) const;
    // Gives the arrays of all lists that stand at the same place one order in memory: that of the first, where it is
    // dense. Those that lie otherwise get memory beside them.
    friend void lay_out(std::initializer_list<ArraySequence*> lists);
    // Before and after a kernel: from those arrays to the memory beside them, and back.
    void gather() const;
    void scatter() const;
    // Whether the arrays can still be written where they were found.
    bool stand() const;
    Argument item(std::size_t i) const { return items_[i]; }
    PyArrayObject* array(std::size_t i) const { return members_[i].array.get(); }
    bool given() const { return items_.given(); }
    std::size_t size() const { return members_.size(); }
    DType dtype() const { return members_.empty() ? DType::float32 : members_[0].array.dtype(); }
    std::string dtype_text() const {
        return members_.empty() ? "none" : trimtab::dtype_text(members_[0].array.descr());
    }
    ptrdiff_t length() const { return length_; }  // in elements
    void* const* data() const { return given() ? data_.data() : nullptr; }
    ArrayList list() const { return {ptrdiff_t(size()), sizes_.data(), data_.data()}; }

private:
    struct Member {
        Array array;
        void* found;      // where it began
        AnyArray beside;  // of the same shape; empty where the array itself is used
    };
    Items items_;
    std::vector<Member> members_;
    std::vector<void*> data_;  // for kernels
    std::vector<ptrdiff_t> sizes_;
    ptrdiff_t length_ = 0;
    bool any_beside_ = false;
};

void lay_out(std::initializer_list<ArraySequence*> lists);
void require_disjoint(std::initializer_list<const ArraySequence*> lists);
}  // namespace trimtab
