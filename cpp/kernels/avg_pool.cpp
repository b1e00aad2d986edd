// Average pooling of images x (samples, image, channels) to y (samples, output, channels):
//   y[n, i, j, c] = sum of x[n, :, :, c] in the window at (i, j) / count
//   dx            = sum of dy / count over the windows that the element is in
// count is the size of the kernel or, if padding does not count, of its part inside of the image. Lines are summed in
// double: only the loops over values are compiled for each dtype.
#include "../memory.h"
#include "../parallel.h"
#include "windows.h"

namespace trimtab {
namespace {

// Loops over n values of a storage type.
struct Storage {
    ptrdiff_t bytes;                                                       // of a value
    void (*add)(const void* x, double factor, double* sums, ptrdiff_t n);  // sums += factor * x
    void (*store)(const double* sums, void* y, ptrdiff_t n);
};

// f(j, column, n): the columns from `column` on are in the windows of positions j..j + n, at one element of the
// kernel's rows. n is 1, unless neighboring positions may be `merged`.
template <class F>
TRIMTAB_INLINE void for_columns(const PoolLayout& l, bool merged, F&& f) {
    const ptrdiff_t stride = l.stride.width, padding = l.padding.width;
    const ptrdiff_t end = min(l.kernel.width, l.image.width + padding);
    for (ptrdiff_t b = max(0, padding - (l.output.width - 1) * stride); b < end; ++b) {
        const ptrdiff_t column = b - padding;  // of position 0
        const ptrdiff_t first = column < 0 ? ceil_div(-column, stride) : 0;
        const ptrdiff_t stop = min(l.output.width, ceil_div(l.image.width - column, stride));
        for (ptrdiff_t j = first, n = merged ? stop - first : 1; j < stop; j += n) f(j, j * stride + column, n);
    }
}

TRIMTAB_INLINE void clear(double* sums, ptrdiff_t n) {
    sweep<double>(n, [&](ptrdiff_t i, auto at) { at.store(sums + i, Doubles{}); });
}
TRIMTAB_INLINE bool all_finite(const double* sums, ptrdiff_t n) {
    Longs others = {};
    sweep<double>(n, [&](ptrdiff_t i, auto at) {
        const Doubles v = at.load(sums + i);
        others |= v - v != 0;
    });
    return !any(others);
}

// Sums of factor * x for all positions of a line of y.
TRIMTAB_LOOP void sum_windows(const AvgPool& a, const Storage& storage, ptrdiff_t line, double factor, double* sums) {
    const PoolLayout& l = a.layout;
    const char* const x = static_cast<const char*>(a.x) + line / l.output.height * image_size(l) * storage.bytes;
    const Range rows = window_rows(l, line % l.output.height);
    clear(sums, l.output.width * l.channels);
    for (ptrdiff_t row = rows.begin; row < rows.end; ++row)
        for_columns(l, l.stride.width == 1, [&](ptrdiff_t j, ptrdiff_t column, ptrdiff_t n) {
            storage.add(x + (row * l.image.width + column) * l.channels * storage.bytes, factor, sums + j * l.channels,
                        n * l.channels);
        });
}

TRIMTAB_OUTLINE void forward(const AvgPool& a, const Storage& storage) {
    const PoolLayout& l = a.layout;
    const ptrdiff_t width = l.output.width * l.channels;
    parallel_for(l.samples * l.output.height, cost_of(l), [&](ptrdiff_t begin, ptrdiff_t end) {
        const Scratch<double> sums(width), scaled_sums(width);
        for (ptrdiff_t line = begin; line < end; ++line) {
            // Of large values the sum overflows, but not the mean.
            constexpr double scale = 0x1p-64;
            sum_windows(a, storage, line, 1, sums);
            const bool finite = all_finite(sums, width);
            if (!finite) sum_windows(a, storage, line, scale, scaled_sums);
            const double* const scaled = finite ? sums : scaled_sums;
            const ptrdiff_t n = a.count_include_pad ? width : l.channels;
            for (ptrdiff_t j = 0, i = 0; i < width; ++j, i += n) {
                const double count = double(window_size(l, line % l.output.height, j, a.count_include_pad));
                sweep<double>(n, [&](ptrdiff_t c, auto at) {
                    const Doubles sum = at.load(sums + i + c);
                    at.store(sums + i + c, sum - sum == 0 ? sum / count : at.load(scaled + i + c) / count / scale);
                });
            }
            storage.store(sums, static_cast<char*>(a.y) + line * width * storage.bytes, width);
        }
    });
}

TRIMTAB_OUTLINE void backward(const AvgPoolBackward& a, const Storage& storage) {
    const PoolLayout& l = a.layout;
    const ptrdiff_t width = l.image.width * l.channels;
    parallel_for(l.samples * l.image.height, cost_of(l), [&](ptrdiff_t begin, ptrdiff_t end) {
        const Scratch<double> sums(width);
        for (ptrdiff_t line = begin; line < end; ++line) {  // of dx
            const ptrdiff_t sample = line / l.image.height;
            const Range positions = positions_over(l, line % l.image.height);
            clear(sums, width);
            for (ptrdiff_t i = positions.begin; i < positions.end; ++i) {
                const char* const dy = static_cast<const char*>(a.dy) +
                                       (sample * l.output.height + i) * l.output.width * l.channels * storage.bytes;
                for_columns(l, l.stride.width == 1 && a.count_include_pad,
                            [&](ptrdiff_t j, ptrdiff_t column, ptrdiff_t n) {
                    storage.add(dy + j * l.channels * storage.bytes,
                                1 / double(window_size(l, i, j, a.count_include_pad)), sums + column * l.channels,
                                n * l.channels);
                });
            }
            storage.store(sums, static_cast<char*>(a.dx) + line * width * storage.bytes, width);
        }
    });
}

// ---- loops over values ----

template <class T>
TRIMTAB_LOOP void add(const void* x, double factor, double* sums, ptrdiff_t n) {
    const T* const from = static_cast<const T*>(x);
    sweep<double>(n, [&](ptrdiff_t i, auto at) {
        at.store(sums + i, fma(at.load(from + i), broadcast(factor), at.load(sums + i)));
    });
}
template <class T>
TRIMTAB_LOOP void store_all(const double* sums, void* y, ptrdiff_t n) {
    T* const to = static_cast<T*>(y);
    sweep<double>(n, [&](ptrdiff_t i, auto at) { at.store(to + i, at.load(sums + i)); });
}
template <class T>
constexpr Storage storage_of{sizeof(T), add<T>, store_all<T>};

template <class T>
void avg_pool_forward(const AvgPool& a) {
    forward(a, storage_of<T>);
}
template <class T>
void avg_pool_backward(const AvgPoolBackward& a) {
    backward(a, storage_of<T>);
}
}  // namespace

TRIMTAB_EXPORT(AvgPoolKernels, avg_pool) = {
    .forward = TRIMTAB_EACH_DTYPE(avg_pool_forward),
    .backward = TRIMTAB_EACH_DTYPE(avg_pool_backward),
};
}  // namespace trimtab
