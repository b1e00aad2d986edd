#include "images.h"

#include "../parallel.h"
#include "docs/images.h"

namespace trimtab {
namespace {

// A tile of tile x tile elements of x and of y stays in the first-level cache.
constexpr ptrdiff_t tile = 16;

template <class E>
void transpose_matrices(const void* x, void* y, ptrdiff_t count, ptrdiff_t rows, ptrdiff_t columns) {
    const ptrdiff_t row_tiles = (rows + tile - 1) / tile;
    parallel_for(count * row_tiles, 0.5 * double(count) * double(rows * columns), [&](ptrdiff_t begin, ptrdiff_t end) {
        for (; begin < end; ++begin) {
            const ptrdiff_t matrix = begin / row_tiles * rows * columns, top = begin % row_tiles * tile;
            const ptrdiff_t bottom = std::min(top + tile, rows);
            const E* const from = static_cast<const E*>(x) + matrix;
            E* const to = static_cast<E*>(y) + matrix;
            for (ptrdiff_t left = 0; left < columns; left += tile)
                for (ptrdiff_t column = left; column < std::min(left + tile, columns); ++column)
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
