#include "images.h"

#include "../parallel.h"
#include "docs/images.h"

namespace trimtab {
namespace {

// A square of elements of which both sides stay in the first cache.
constexpr ptrdiff_t square = 16;

template <class E>
void transpose_matrices(const void* x, void* y, ptrdiff_t count, ptrdiff_t rows, ptrdiff_t columns) {
    const ptrdiff_t strips = (rows + square - 1) / square;
    parallel_for(count * strips, 0.5 * double(count) * double(rows * columns), [&](ptrdiff_t begin, ptrdiff_t end) {
        for (; begin < end; ++begin) {
            const ptrdiff_t matrix = begin / strips * rows * columns, top = begin % strips * square;
            const ptrdiff_t bottom = std::min(top + square, rows);
            const E* const from = static_cast<const E*>(x) + matrix;
            E* const to = static_cast<E*>(y) + matrix;
            for (ptrdiff_t left = 0; left < columns; left += square)
                for (ptrdiff_t column = left; column < std::min(left + square, columns); ++column)
                    for (ptrdiff_t row = top; row < bottom; ++row)
                        to[column * rows + row] = from[row * columns + column];
        }
    });
}

Ref transpose(const Arguments<docs::transpose>& in) {
    const Array x = read(in["x"]);
    if (x.ndim() != 3) in["x"].fail(PyExc_ValueError, "have shape (N, A, B)", text(x.shape()));
    const npy_intp *const extents = x.dims(), rows = extents[1], columns = extents[2];
    Array y = empty_like(x, {extents[0], columns, rows});
    if (x.size() > 0) {
        const Released released;
        const auto transposed = x.itemsize() == 8   ? transpose_matrices<uint64_t>
                                : x.itemsize() == 4 ? transpose_matrices<uint32_t>
                                                    : transpose_matrices<uint16_t>;
        transposed(x.data(), y.data(), extents[0], rows, columns);
    }
    return y.release();
}
}  // namespace

void bind_images(PyObject* module) { add_functions(module, {method<transpose>()}); }
}  // namespace trimtab
