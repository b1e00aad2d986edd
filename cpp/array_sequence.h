// Several arrays that are given as one argument: reading, checks, and one memory order for those that belong together.
#pragma once
#include "read.h"

namespace trimtab {

// The objects of one argument: the items of a sequence, the values of a mapping, or a single object.
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
Scratch<bool> read_flags(const Argument& argument, std::size_t count, bool fallback);

// The values are read, perhaps from a copy; read from the array itself; or written to the array itself.
enum class Access { read, keep, write };

// Arrays of one dtype, in any memory order, with or without gaps. Kernels see each as a dense run of elements.
class ArraySequence {
public:
    ArraySequence() = default;
    ArraySequence(const Argument& argument, Access access, const ArraySequence* like = nullptr);
    // One for each of `others`, of its values' shape.
    void require_like(const ArraySequence& others, DType dtype) const;
    // Gives arrays at the same position in all lists one memory order: that of the first list's array where it is dense,
    // else C order. Arrays in another order get a copy.
    friend void unify_order(std::initializer_list<ArraySequence*> lists);
    // Before and after a kernel: from those arrays to their copies, and back.
    void gather() const;
    void scatter() const;
    // Whether the arrays are still writeable, at the same address and of the same size.
    bool is_valid() const;
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
        void* address;  // when it was read
        AnyArray copy;  // in another memory order; empty where the array itself is used
    };
    Items items_;
    std::vector<Member> members_;
    std::vector<void*> data_;  // for kernels
    std::vector<ptrdiff_t> sizes_;
    ptrdiff_t length_ = 0;
    bool any_copy_ = false;
};

void unify_order(std::initializer_list<ArraySequence*> lists);
void require_disjoint(std::initializer_list<const ArraySequence*> lists);
}  // namespace trimtab
