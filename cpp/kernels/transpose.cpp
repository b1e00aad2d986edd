// Copies matrices (rows, columns) to memory where rows lie side by side instead of columns. A task copies as many rows
// as fill a cache line there, in square blocks that are transposed in registers.
#include "../parallel.h"
#include "../simd.h"

namespace trimtab {
namespace {

constexpr ptrdiff_t line_bytes = 64, columns_per_task = 1024;

// Rows and columns of a block: its vectors leave room for those that a step computes.
template <class E>
constexpr int in_register = register_bytes / int(sizeof(E));
template <class E>
constexpr int block_size = in_register<E> < register_count / 2 ? in_register<E> : register_count / 2;
template <class E>
using BlockRow = VectorOf<E, block_size<E>>::type;

// a[first], b[first], a[first + 1], b[first + 1], ...
template <int first, class V>
TRIMTAB_INLINE V interleave(V a, V b) {
    constexpr int size = sizeof(V) / sizeof(a[0]);
    return [&]<int... lane>(std::integer_sequence<int, lane...>) TRIMTAB_INLINE_LAMBDA {
        return __builtin_shufflevector(a, b, (first + lane / 2 + lane % 2 * size)...);
    }(std::make_integer_sequence<int, size>{});
}

// Each step interleaves row r with row r + size / 2. After log2(size) steps, row r holds column r.
template <int step, int size, class V>
TRIMTAB_INLINE void transpose_in_registers(V (&rows)[size]) {
    if constexpr (step < size) {
        V next[size];
        unroll<0, size / 2>([&](int r) TRIMTAB_INLINE_LAMBDA {
            next[2 * r] = interleave<0>(rows[r], rows[r + size / 2]);
            next[2 * r + 1] = interleave<size / 2>(rows[r], rows[r + size / 2]);
        });
        transpose_in_registers<2 * step>(next);
        unroll<0, size>([&](int r) TRIMTAB_INLINE_LAMBDA { rows[r] = next[r]; });
    }
}

// The first `rows` rows of the first `columns` columns of a block; all of them if `whole`.
template <class E, bool whole>
TRIMTAB_INLINE void copy_block(const char* from, ptrdiff_t row_stride, char* to, ptrdiff_t column_stride,
                               ptrdiff_t rows, ptrdiff_t columns) {
    constexpr int size = block_size<E>;
    BlockRow<E> block[size] = {};
    unroll<0, size>([&](int r) TRIMTAB_INLINE_LAMBDA {
        if (!whole && r >= rows) return;
        const char* const row = from + r * row_stride;
        if (whole || columns >= size) {
            block[r] = load_unaligned<BlockRow<E>>(row);
        } else {
            E part[size] = {};
            load_n<E, size>(part, reinterpret_cast<const E*>(row), columns);
            block[r] = load_unaligned<BlockRow<E>>(part);
        }
    });
    transpose_in_registers<1>(block);
    unroll<0, size>([&](int c) TRIMTAB_INLINE_LAMBDA {
        if (!whole && c >= columns) return;
        char* const column = to + c * column_stride;
        if (whole || rows >= size)
            __builtin_memcpy(column, &block[c], sizeof block[c]);
        else
            store_n<E, size>(reinterpret_cast<E*>(column), reinterpret_cast<const E*>(&block[c]), rows);
    });
}

template <class E>
TRIMTAB_LOOP void copy_part(const Transpose& a, const char* from, char* to, ptrdiff_t rows, ptrdiff_t columns) {
    constexpr ptrdiff_t size = block_size<E>;
    for (ptrdiff_t c = 0; c < columns; c += size)
        for (ptrdiff_t r = 0; r < rows; r += size) {
            const char* const block = from + r * a.row_stride + c * ptrdiff_t(sizeof(E));
            char* const transposed = to + c * a.column_stride + r * ptrdiff_t(sizeof(E));
            if (rows - r >= size && columns - c >= size)
                copy_block<E, true>(block, a.row_stride, transposed, a.column_stride, size, size);
            else
                copy_block<E, false>(block, a.row_stride, transposed, a.column_stride, rows - r, columns - c);
        }
}

template <class E>
void transpose(const Transpose& a) {
    constexpr ptrdiff_t rows_per_task = line_bytes / sizeof(E);
    const ptrdiff_t bands = ceil_div(a.rows, rows_per_task), parts = ceil_div(a.columns, columns_per_task);
    ptrdiff_t matrices = 1;
    for (int i = 0; i < a.outer_axes; ++i) matrices *= a.outer[i].extent;
    const double cost = 0.4 * double(matrices) * double(a.rows) * double(a.columns);
    parallel_for(matrices * bands * parts, cost, [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t task = begin; task < end; ++task) {
            const ptrdiff_t row = task / parts % bands * rows_per_task, column = task % parts * columns_per_task;
            const char* from = a.from + row * a.row_stride + column * ptrdiff_t(sizeof(E));
            char* to = a.to + column * a.column_stride + row * ptrdiff_t(sizeof(E));
            ptrdiff_t matrix = task / parts / bands;
            for (int i = a.outer_axes; i-- > 0;) {
                const ptrdiff_t index = matrix % a.outer[i].extent;
                from += index * a.outer[i].from_stride;
                to += index * a.outer[i].to_stride;
                matrix /= a.outer[i].extent;
            }
            copy_part<E>(a, from, to, min(rows_per_task, a.rows - row), min(columns_per_task, a.columns - column));
        }
    });
}
}  // namespace

TRIMTAB_EXPORT(TransposeKernels, transpose) = {
    .copy2 = transpose<uint16_t>,
    .copy4 = transpose<uint32_t>,
    .copy8 = transpose<uint64_t>,
};
}  // namespace trimtab
