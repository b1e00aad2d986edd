// Convolution of images whose channels come last, and the gradient with respect to its weight. With z = x, dilated and padded
// by zeros, and i, j the position of the kernel:
//   y[n, i, j, g, o] = bias[g, o] + sum over a, b, c of z[n, i * stride + a, j * stride + b, g, c] * weight[g, a, b, c, o]
//   dweight[g, a, b, c, o] = sum over n, i, j of z[n, i * stride + a, j * stride + b, g, c] * dy[n, i, j, g, o]
//
// Both are products of matrices (im2col): the values under the kernel at a number of positions are copied to the rows of a
// matrix of patches that fits the L2 cache. It is multiplied with a tile of columns of the weight at a time, whose results
// are in registers. Sums have a fixed order, with one fma for each term.
#include "../memory.h"
#include "../parallel.h"
#include "../simd.h"

namespace trimtab {
namespace {

constexpr int tile_rows = register_count * 3 / 8, tile_vectors = 2;
constexpr ptrdiff_t max_tile_rows = 12;  // of all instruction sets: what is cut by it is cut alike
template <class W>
constexpr int tile_width = tile_vectors * lanes<W>;
template <class W>
TRIMTAB_INLINE ptrdiff_t whole_tiles(ptrdiff_t columns) {
    return ceil_div(columns, tile_width<W>) * tile_width<W>;
}

constexpr ptrdiff_t patches_bytes = 128 << 10;  // a fraction of the L2 cache of a core
constexpr ptrdiff_t terms_per_sum = 256;  // added one after the other, before their sum is added to that of others
constexpr ptrdiff_t max_panels = 32, positions_per_panel = 512;  // of sums over positions

// From (rows, columns), whose rows are `stride` apart, to tiles (rows, tile_width), with zeros after the last column.
template <class W, class T>
TRIMTAB_LOOP void to_tiles(const T* from, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t columns, W* to);
// tile[i][j] = sum over k < count of a[i][k] * b[k][j], where the rows of a are `stride` apart
template <class W>
TRIMTAB_LOOP void multiply_rows(const W* a, ptrdiff_t stride, const W* b, ptrdiff_t count, W* tile);
// tile[i][j] = sum over k < count of a[k][i] * b[k][j]
template <class W>
TRIMTAB_LOOP void multiply_columns(const W* a, ptrdiff_t stride, const W* b, ptrdiff_t count, W* tile);
template <class T>
class Patches;

template <class W>
TRIMTAB_INLINE void clear(ptrdiff_t count, W* to) {
    sweep<W>(count, [&](ptrdiff_t i, auto at) { at.store(to + i, Vector<W>{}); });
}
template <class W>
TRIMTAB_INLINE double cost_of(double products) {
    return products * sizeof(W) / 200;  // ns
}

// ---- kernels ----

template <class T>
void convolution_forward(const Convolution& a) {
    using W = Work<T>;
    const ConvolutionLayout& l = a.layout;
    const Patches<T> patches(l);
    const ptrdiff_t padded_outputs = whole_tiles<W>(l.outputs), all_outputs = l.groups * l.outputs;
    const W* const bias = static_cast<const W*>(a.bias);
    const Scratch<W> weights(l.groups * patches.size * padded_outputs);
    for (ptrdiff_t g = 0; g < l.groups; ++g)
        to_tiles<W>(static_cast<const W*>(a.weight) + g * patches.size * l.outputs, l.outputs, patches.size, l.outputs,
                    weights + g * patches.size * padded_outputs);

    const ptrdiff_t tasks = ceil_div(patches.positions, patches.max_positions) * l.groups;
    const double products = double(patches.positions * patches.size) * double(l.groups * padded_outputs);
    parallel_for(tasks, cost_of<W>(products), [&](ptrdiff_t begin, ptrdiff_t end) {
        const Scratch<W> rows = patches.buffer(), tile(tile_rows * tile_width<W>);
        for (ptrdiff_t task = begin; task < end; ++task) {
            const ptrdiff_t group = task % l.groups, first = task / l.groups * patches.max_positions;
            const ptrdiff_t count = min(patches.positions - first, patches.max_positions);
            patches.copy(a.x, group, first, count, rows);
            for (ptrdiff_t o = 0; o < l.outputs; o += tile_width<W>) {
                const W* const factors = weights + (group * padded_outputs + o) * patches.size;
                const ptrdiff_t column = group * l.outputs + o, columns = min(l.outputs - o, tile_width<W>);
                for (ptrdiff_t i = 0; i < count; i += tile_rows) {
                    multiply_rows<W>(rows + i * patches.stride, patches.stride, factors, patches.size, tile);
                    for (ptrdiff_t r = 0; r < min(count - i, tile_rows); ++r) {
                        T* const y = static_cast<T*>(a.y) + (first + i + r) * all_outputs + column;
                        sweep<W>(columns, [&](ptrdiff_t j, auto at) {
                            at.store(y + j, at.load(tile + r * tile_width<W> + j) + at.load(bias + column + j));
                        });
                    }
                }
            }
        }
    });
}

// The sum over positions: of the patches of a buffer, then of a panel, then of all panels.
template <class T>
void convolution_weights(const ConvolutionWeights& a) {
    using W = Work<T>;
    const ConvolutionLayout& l = a.layout;
    const Patches<T> patches(l);
    const ptrdiff_t padded_outputs = whole_tiles<W>(l.outputs), all_outputs = l.groups * l.outputs;
    const ptrdiff_t size = l.groups * patches.size * l.outputs;
    const ptrdiff_t panels = max(1, min(max_panels, patches.positions / positions_per_panel));
    const Scratch<W> sums(panels * size);
    clear<W>(panels * size, sums);
    const double products = double(patches.positions * patches.size) * double(l.groups * padded_outputs);
    parallel_for(panels * l.groups, cost_of<W>(products), [&](ptrdiff_t begin, ptrdiff_t end) {
        const Scratch<W> rows = patches.buffer(), tile(tile_rows * tile_width<W>);
        const Scratch<W> gradients(patches.max_positions * padded_outputs);
        for (ptrdiff_t task = begin; task < end; ++task) {
            const ptrdiff_t group = task % l.groups, panel = task / l.groups;
            const ptrdiff_t last = patches.positions * (panel + 1) / panels;
            W* const sum = sums + panel * size + group * patches.size * l.outputs;
            for (ptrdiff_t first = patches.positions * panel / panels; first < last; first += patches.max_positions) {
                const ptrdiff_t count = min(last - first, patches.max_positions);
                patches.copy(a.x, group, first, count, rows);
                to_tiles<W>(static_cast<const T*>(a.dy) + first * all_outputs + group * l.outputs, all_outputs, count,
                            l.outputs, gradients);
                for (ptrdiff_t o = 0; o < l.outputs; o += tile_width<W>) {
                    const ptrdiff_t columns = min(l.outputs - o, tile_width<W>);
                    for (ptrdiff_t k = 0; k < patches.size; k += tile_rows) {
                        multiply_columns<W>(rows + k, patches.stride, gradients + o * count, count, tile);
                        for (ptrdiff_t r = 0; r < min(patches.size - k, tile_rows); ++r) {
                            W* const to = sum + (k + r) * l.outputs + o;
                            sweep<W>(columns, [&](ptrdiff_t j, auto at) {
                                at.store(to + j, at.load(to + j) + at.load(tile + r * tile_width<W> + j));
                            });
                        }
                    }
                }
            }
        }
    });
    W* const dweight = static_cast<W*>(a.dweight);
    sweep<W>(size, [&](ptrdiff_t i, auto at) {
        Vector<W> sum = at.load(sums + i);
        for (ptrdiff_t panel = 1; panel < panels; ++panel) sum += at.load(sums + panel * size + i);
        at.store(dweight + i, sum);
    });
}

// ---- patches ----

// The values of a group under the kernel, at each position: a matrix (positions, kernel * channels), up to max_positions rows
// at a time. Rows are `stride` apart, with zeros at their ends.
template <class T>
class Patches {
    using W = Work<T>;

public:
    const ptrdiff_t size, stride, positions, max_positions;

    explicit Patches(const ConvolutionLayout& l)
        : size(l.kernel.height * l.kernel.width * l.channels),
          stride(ceil_div(size + max_tile_rows - 1, 16) * 16 | 16),  // odd multiples of 16 use all sets of the cache
          positions(l.samples * l.output.height * l.output.width),
          max_positions(max(1, min(8, patches_bytes / ptrdiff_t(sizeof(W)) / stride / max_tile_rows)) * max_tile_rows),
          l_(l) {}

    Scratch<W> buffer() const {
        Scratch<W> rows(max_positions * stride);
        clear<W>(max_positions * stride, rows);
        return rows;
    }

    TRIMTAB_LOOP void copy(const void* x, ptrdiff_t group, ptrdiff_t first, ptrdiff_t count, W* rows) const {
        const ptrdiff_t all = l_.groups * l_.channels;
        const T* const channels = static_cast<const T*>(x) + group * l_.channels;
        ptrdiff_t column = first % l_.output.width, line = first / l_.output.width;
        for (; count > 0; --count, rows += stride) {
            const ptrdiff_t sample = line / l_.output.height;
            const ptrdiff_t top = line % l_.output.height * l_.stride.height - l_.padding.height;
            W* to = rows;
            for (ptrdiff_t a = 0; a < l_.kernel.height; ++a, to += l_.kernel.width * l_.channels) {
                const ptrdiff_t row = index_in_image(top + a, l_.input_dilation.height, l_.image.height);
                if (row < 0)
                    clear<W>(l_.kernel.width * l_.channels, to);
                else
                    copy_line(channels + (sample * l_.image.height + row) * l_.image.width * all,
                              column * l_.stride.width - l_.padding.width, to);
            }
            if (++column == l_.output.width) column = 0, ++line;
        }
    }

private:
    // Of an index in the dilated image. -1: a zero.
    static TRIMTAB_INLINE ptrdiff_t index_in_image(ptrdiff_t dilated, ptrdiff_t dilation, ptrdiff_t length) {
        const ptrdiff_t index = dilation == 1 ? dilated : dilated % dilation == 0 ? dilated / dilation : -1;
        return index < length ? index : -1;
    }
    // One row of the kernel, whose first column is `left` in the dilated image.
    TRIMTAB_INLINE void copy_line(const T* line, ptrdiff_t left, W* to) const {
        const ptrdiff_t channels = l_.channels;
        if (l_.groups == 1 && l_.input_dilation.width == 1) {
            const ptrdiff_t begin = min(max(0, -left), l_.kernel.width);
            const ptrdiff_t end = max(begin, min(l_.image.width - left, l_.kernel.width));
            clear<W>(begin * channels, to);
            copy_values(line + (left + begin) * channels, (end - begin) * channels, to + begin * channels);
            clear<W>((l_.kernel.width - end) * channels, to + end * channels);
            return;
        }
        for (ptrdiff_t b = 0; b < l_.kernel.width; ++b, to += channels) {
            const ptrdiff_t column = index_in_image(left + b, l_.input_dilation.width, l_.image.width);
            if (column < 0)
                clear<W>(channels, to);
            else
                copy_values(line + column * l_.groups * channels, channels, to);
        }
    }
    static TRIMTAB_INLINE void copy_values(const T* from, ptrdiff_t count, W* to) {
        sweep<W>(count, [&](ptrdiff_t i, auto at) { at.store(to + i, at.load(from + i)); });
    }

    const ConvolutionLayout l_;
};

// ---- tiles ----

template <class W, class T>
TRIMTAB_LOOP void to_tiles(const T* from, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t columns, W* to) {
    for (ptrdiff_t column = 0; column < columns; column += tile_width<W>)
        for (ptrdiff_t row = 0; row < rows; ++row, to += tile_width<W>)
            unroll<0, tile_vectors>([&](int j) TRIMTAB_INLINE_LAMBDA {
                const ptrdiff_t first = column + j * lanes<W>, count = min(columns - first, lanes<W>);
                const T* const source = from + row * stride + first;
                store<W>(to + j * lanes<W>, count == lanes<W> ? load<W>(source)
                                            : count > 0       ? FirstLanes<W>{count}.load(source)
                                                              : Vector<W>{});
            });
}

// tile[i][j] = sum over k < count of a[i * i_stride + k * k_stride] * b[k][j]
template <class W>
TRIMTAB_INLINE void multiply(const W* a, ptrdiff_t i_stride, ptrdiff_t k_stride, const W* b, ptrdiff_t count, W* tile) {
    for (ptrdiff_t first = 0; first < max(count, 1); first += terms_per_sum) {
        Vector<W> sums[tile_rows][tile_vectors] = {};
        for (ptrdiff_t k = first; k < min(count, first + terms_per_sum); ++k, a += k_stride, b += tile_width<W>) {
            Vector<W> factors[tile_vectors];
            unroll<0, tile_vectors>([&](int j) TRIMTAB_INLINE_LAMBDA { factors[j] = load<W>(b + j * lanes<W>); });
            unroll<0, tile_rows>([&](int i) TRIMTAB_INLINE_LAMBDA {
                const Vector<W> value = broadcast<W>(a[i * i_stride]);
                unroll<0, tile_vectors>([&](int j)
                                            TRIMTAB_INLINE_LAMBDA { sums[i][j] = fma(value, factors[j], sums[i][j]); });
            });
        }
        unroll<0, tile_rows>([&](int i) TRIMTAB_INLINE_LAMBDA {
            unroll<0, tile_vectors>([&](int j) TRIMTAB_INLINE_LAMBDA {
                W* const to = tile + i * tile_width<W> + j * lanes<W>;
                store<W>(to, first ? load<W>(to) + sums[i][j] : sums[i][j]);
            });
        });
    }
}
template <class W>
TRIMTAB_LOOP void multiply_rows(const W* a, ptrdiff_t stride, const W* b, ptrdiff_t count, W* tile) {
    multiply<W>(a, stride, 1, b, count, tile);
}
template <class W>
TRIMTAB_LOOP void multiply_columns(const W* a, ptrdiff_t stride, const W* b, ptrdiff_t count, W* tile) {
    multiply<W>(a, 1, stride, b, count, tile);
}
}  // namespace

TRIMTAB_EXPORT(ConvolutionKernels, convolution) = {
    .forward = TRIMTAB_EACH_DTYPE(convolution_forward),
    .weights = TRIMTAB_EACH_DTYPE(convolution_weights),
};
}  // namespace trimtab
