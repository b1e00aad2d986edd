#include "array_sequence.h"

#include <algorithm>

#include "copy.h"
#include "memory_order.h"
#include "overlap.h"

namespace trimtab {
namespace {

bool is_mapping(PyObject* value) {
    if (PyDict_Check(value)) return true;
    if (PyList_Check(value) || PyTuple_Check(value) || PyArray_Check(value) || !PyMapping_Check(value)) return false;
    const Ref module = Ref::checked(PyImport_ImportModule("collections.abc"));
    const Ref type = Ref::checked(PyObject_GetAttrString(module.get(), "Mapping"));
    const int answer = PyObject_IsInstance(value, type.get());
    if (answer < 0) throw Raised();
    return answer;
}

// Whether this is a sequence of arrays rather than an object that is an array by itself.
bool is_list(PyObject* value) {
    if (PyList_Check(value) || PyTuple_Check(value)) return true;
    if (PyArray_Check(value) || PyUnicode_Check(value) || PyBytes_Check(value) || PyObject_CheckBuffer(value))
        return false;
    if (!PySequence_Check(value) && !Py_TYPE(value)->tp_iter) return false;
    return !find_attribute(value, "__array__") && !find_attribute(value, "__dlpack__");
}

Ref as_tuple(const Argument& argument, const char* rule) {
    Ref tuple(PySequence_Tuple(argument.value()));
    if (!tuple) argument.raised(rule);
    return tuple;
}

bool usable(PyArrayObject* array) { return PyArray_ISALIGNED(array) && PyArray_ISNOTSWAPPED(array); }
}  // namespace

Items::Items(const Argument& argument, const Items* like) : argument_(argument) {
    PyObject* const value = argument.value();
    const bool expected = like && like->keys_;
    if (is_mapping(value)) {
        if (like && !expected)
            argument.fail(PyExc_TypeError, std::string("be no mapping where ") + like->argument_.name() + " is none",
                          type_name(value));
        read_mapping(like);
    } else if (expected) {
        argument.fail(PyExc_TypeError, std::string("be a mapping as ") + like->argument_.name(), type_name(value));
    } else if (is_list(value)) {
        values_ = as_tuple(argument, "be an array or a sequence of arrays");
    }
}

void Items::read_mapping(const Items* like) {
    const Ref items = Ref::checked(PyMapping_Items(argument_.value())), given = Ref::checked(PyDict_New());
    if (PyDict_MergeFromSeq2(given.get(), items.get(), 1) < 0) throw Raised();
    const Ref own_keys = Ref::checked(PyDict_Keys(given.get()));
    keys_ = like ? Ref::borrow(like->keys_.get()) : Ref::checked(PyList_AsTuple(own_keys.get()));
    const Py_ssize_t count = PyTuple_GET_SIZE(keys_.get());
    values_ = Ref::checked(PyTuple_New(count));
    for (Py_ssize_t i = 0; i < count; ++i) {
        PyObject* const key = PyTuple_GET_ITEM(keys_.get(), i);
        PyObject* const value = PyDict_GetItemWithError(given.get(), key);
        if (!value && PyErr_Occurred()) throw Raised();
        if (!value)
            argument_.fail(PyExc_ValueError, std::string("have the keys of ") + like->argument_.name(),
                           "none for " + repr(key));
        PyTuple_SET_ITEM(values_.get(), i, Py_NewRef(value));
        if (like && PyDict_DelItem(given.get(), key) < 0) throw Raised();
    }
    PyObject *key, *value;
    Py_ssize_t position = 0;
    if (like && PyDict_Next(given.get(), &position, &key, &value))
        argument_.fail(PyExc_ValueError, std::string("have the keys of ") + like->argument_.name(),
                       "one for " + repr(key));
}

Argument Items::operator[](std::size_t i) const {
    if (!values_) return argument_;
    const auto place = Py_ssize_t(i);
    return argument_.element(place, PyTuple_GET_ITEM(values_.get(), place),
                             keys_ ? PyTuple_GET_ITEM(keys_.get(), place) : nullptr);
}

void Items::require_size(std::size_t size, const char* unit) const {
    if (this->size() != size)
        argument_.fail(PyExc_ValueError, "have " + std::to_string(size) + " " + unit, std::to_string(this->size()));
}

Scratch<bool> read_flags(const Argument& argument, std::size_t count, bool fallback) {
    Scratch<bool> flags{ptrdiff_t(count)};
    const bool each = argument.value() && PySequence_Check(argument.value()) && !PyMemoryView_Check(argument.value());
    const Ref values = each ? as_tuple(argument, "be a bool or a sequence of bools") : Ref();
    const std::size_t given = each ? std::size_t(PyTuple_GET_SIZE(values.get())) : count;
    if (given != count)
        argument.fail(PyExc_ValueError, "have " + std::to_string(count) + " bools", std::to_string(given));
    for (std::size_t i = 0; i < count; ++i) {
        const auto place = Py_ssize_t(i);
        flags[place] =
            (each ? argument.element(place, PyTuple_GET_ITEM(values.get(), place)) : argument).flag(fallback);
    }
    return flags;
}

namespace {
// A dense array is taken as it is, in any memory order.
Array read_dense(const Argument& argument) {
    DType dtype;
    if (PyArray_CheckExact(argument.value())) {
        PyArrayObject* const array = as_array(argument.value());
        if (find_dtype(PyArray_DESCR(array), dtype) && usable(array) && MemoryOrder(array).dense())
            return Array(hold(argument, argument.value()), dtype);
    }
    return read(argument);
}
}  // namespace

ArraySequence::ArraySequence(const Argument& argument, Access access, const ArraySequence* like)
    : items_(argument, like ? &like->items_ : nullptr) {
    const std::size_t count = items_.size();
    members_.reserve(count), data_.reserve(count), sizes_.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        const Argument item = items_[i];
        Array array = access == Access::read ? read_dense(item) : read_in_place(item, access == Access::write);
        data_.push_back(array.data());
        sizes_.push_back(array.size());
        length_ += sizes_[i];
        members_.push_back({std::move(array), data_[i], AnyArray()});
        require_dtype(item, members_[i].array, dtype());
    }
}

void ArraySequence::require_like(const ArraySequence& others, DType dtype) const {
    items_.require_size(others.size(), "arrays");
    for (std::size_t i = 0; i < size(); ++i) {
        require_dtype(items_[i], members_[i].array, dtype);
        if (!PyArray_SAMESHAPE(array(i), others.array(i)))
            require_values(items_[i], array(i), others.members_[i].array.shape());
    }
}

void unify_order(std::initializer_list<ArraySequence*> lists) {
    const ArraySequence& first = **lists.begin();
    for (std::size_t i = 0; i < first.size(); ++i) {
        if (std::all_of(lists.begin(), lists.end(),
                        [=](const ArraySequence* list) { return !list->given() || behaved(list->array(i)); }))
            continue;
        MemoryOrder order(first.array(i));
        if (!usable(first.array(i)) || !order.dense()) order = MemoryOrder::c_contiguous(first.array(i));
        for (ArraySequence* const list : lists) {
            if (!list->given()) continue;
            PyArrayObject* const array = list->array(i);
            if (usable(array) && MemoryOrder(array) == order) {
                list->data_[i] = order.begin(array);
                continue;
            }
            PyArray_Descr* const native = PyArray_DescrNewByteorder(PyArray_DESCR(array), NPY_NATIVE);
            const Ref owner = Ref::checked(reinterpret_cast<PyObject*>(native));
            AnyArray& copy = list->members_[i].copy;
            copy = order.empty_like(array, native);
            list->data_[i] = order.begin(copy.get());
            list->any_copy_ = true;
        }
    }
}

void ArraySequence::gather() const {
    if (!any_copy_) return;
    for (const Member& member : members_)
        if (member.copy) copy_values(member.copy.get(), member.array.get());
}

void ArraySequence::scatter() const {
    if (!any_copy_) return;
    for (const Member& member : members_)
        if (member.copy) copy_values(member.array.get(), member.copy.get());
}

bool ArraySequence::is_valid() const {
    for (std::size_t i = 0; i < size(); ++i)
        if (PyArray_DATA(array(i)) != members_[i].address || PyArray_SIZE(array(i)) != sizes_[i] ||
            !PyArray_ISWRITEABLE(array(i)))
            return false;
    return true;
}

void require_disjoint(std::initializer_list<const ArraySequence*> lists) {
    struct Placed {
        Extent extent;
        std::size_t list, item;
    };
    std::vector<Placed> all;
    std::size_t count = 0;
    for (const ArraySequence* list : lists) count += list->size();
    all.reserve(count);
    const auto array = [&](const Placed& p) { return lists.begin()[p.list]->array(p.item); };
    for (std::size_t list = 0; list < lists.size(); ++list)
        for (std::size_t i = 0; i < lists.begin()[list]->size(); ++i) {
            const Extent extent(lists.begin()[list]->array(i));
            if (!extent.empty()) all.push_back({extent, list, i});
        }
    std::sort(all.begin(), all.end(), [](const Placed& a, const Placed& b) { return a.extent.begin < b.extent.begin; });
    for (auto a = all.begin(); a != all.end(); ++a)
        for (auto b = a + 1; b != all.end() && b->extent.begin < a->extent.end; ++b) {
            if (!overlap(array(*a), array(*b))) continue;
            const auto [first, second] = std::minmax(*a, *b, [](const Placed& p, const Placed& q) {
                return std::pair(p.list, p.item) < std::pair(q.list, q.item);
            });
            const auto label = [&](const Placed& p) { return lists.begin()[p.list]->item(p.item); };
            label(second).fail(PyExc_ValueError, "not overlap " + label(first).label(), "overlapping arrays");
        }
}
}  // namespace trimtab
