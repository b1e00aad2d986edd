// Average pooling of images x (samples, image, channels) to y (samples, output, channels), and its gradient:
//   y[n, i, j, c] = sum of x[n, :, :, c] in the window at (i, j) / count
//   dx            = sum of dy / count over the windows that the element is in
// count is the size of the kernel or, if padding does not count, of its part inside of the image.
//
// A line of the result, y or dx, is a sum of lines of the source, x or dy, which are widened to double. So the kernel
// is compiled once for all dtypes.
#include "../memory.h"
#include "../parallel.h"
#include "windows.h"

namespace trimtab {
namespace {

void add_line(const AvgPool& a, ptrdiff_t i, const double* source, double scale, double* sums);

TRIMTAB_INLINE ptrdiff_t whole_vectors(ptrdiff_t n) { return ceil_div(n, lanes<double>) * lanes<double>; }
TRIMTAB_INLINE bool all_finite(const double* values, ptrdiff_t n) {
    Longs others = {};
    for (ptrdiff_t i = 0; i < n; i += lanes<double>) {
        const Doubles v = load<double>(values + i);
        others |= v - v != 0;
    }
    return !any(others);
}

void avg_pool(const AvgPool& a) {
    const PoolLayout& l = a.layout;
    const Size2d source = a.backward ? l.output : l.image, result = a.backward ? l.image : l.output;
    const ptrdiff_t width = source.width * l.channels, size = result.width * l.channels, padded = whole_vectors(size);
    parallel_for(l.samples * result.height, cost_of(l), [&](ptrdiff_t begin, ptrdiff_t end) {
        const Scratch<double> buffer(width + 2 * padded);
        double *const sums = buffer, *const scaled_sums = sums + padded, *const line = scaled_sums + padded;
        const auto sum_lines = [&](ptrdiff_t sample, ptrdiff_t row, double scale, double* to) TRIMTAB_INLINE_LAMBDA {
            const Range rows = a.backward ? positions_over(l, row) : window_rows(l, row);
            __builtin_memset(to, 0, size_t(padded) * sizeof(double));
            for (ptrdiff_t r = rows.begin; r < rows.end; ++r) {
                a.widen(static_cast<const char*>(a.from) + (sample * source.height + r) * width * a.bytes, line, width);
                add_line(a, a.backward ? r : row, line, scale, to);
            }
        };
        for (ptrdiff_t row = begin; row < end; ++row) {
            // The sum of large doubles may overflow where its quotient does not.
            constexpr double scale = 0x1p-64;
            const double count = a.count_include_pad ? double(l.kernel.height * l.kernel.width) : 1;
            const ptrdiff_t sample = row / result.height;
            sum_lines(sample, row % result.height, 1, sums);
            const bool finite = all_finite(sums, padded);
            if (!finite) sum_lines(sample, row % result.height, scale, scaled_sums);
            for (ptrdiff_t i = 0; i < padded; i += lanes<double>) {
                const Doubles sum = load<double>(sums + i), scaled = load<double>((finite ? sums : scaled_sums) + i);
                store<double>(sums + i, sum - sum == 0 ? sum / count : scaled / count / scale);
            }
            a.narrow(sums, static_cast<char*>(a.to) + row * size * a.bytes, size);
        }
    });
}

// Adds a line of x, or of dy, at all columns of the kernel. i: the line of the positions.
__attribute__((noinline)) void add_line(const AvgPool& a, ptrdiff_t i, const double* source, double scale,
                                        double* sums) {
    const PoolLayout& l = a.layout;
    const ptrdiff_t stride = l.stride.width, end = min(l.kernel.width, l.image.width + l.padding.width);
    const ptrdiff_t rows = window_rows(l, i).size();
    for (ptrdiff_t b = max(0, l.padding.width - (l.output.width - 1) * stride); b < end; ++b) {
        const ptrdiff_t left = b - l.padding.width;  // the column at position 0
        const ptrdiff_t stop = min(l.output.width, ceil_div(l.image.width - left, stride));
        for (ptrdiff_t j = left < 0 ? ceil_div(-left, stride) : 0, positions; j < stop; j += positions) {
            positions = stride == 1 && a.count_include_pad ? stop - j : 1;  // whose columns are neighbors
            const double factor = a.count_include_pad ? scale : scale / double(rows * window_columns(l, j).size());
            const ptrdiff_t n = positions * l.channels;
            const ptrdiff_t of_image = (j * stride + left) * l.channels, of_output = j * l.channels;
            const double* const from = source + (a.backward ? of_output : of_image);
            double* const to = sums + (a.backward ? of_image : of_output);
            if (n < lanes<double>)  // quicker than a partial vector
                for (ptrdiff_t c = 0; c < n; ++c) to[c] = __builtin_fma(from[c], factor, to[c]);
            else
                sweep<double>(n, [&](ptrdiff_t c, auto at) {
                    at.store(to + c, fma(at.load(from + c), broadcast(factor), at.load(to + c)));
                });
        }
    }
}
}  // namespace

TRIMTAB_EXPORT(AvgPoolKernels, avg_pool) = {.pool = avg_pool};
}  // namespace trimtab
