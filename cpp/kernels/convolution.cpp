// Convolution of images whose channels stand last, and its gradient with respect to the weights.
//
// What lies under the kernel at a number of places is copied to the rows of a panel, which stays in the cache while it
// is multiplied with the weights, a tile of results in registers at a time. Sums have one order, one fma a term.
#include "../memory.h"
#include "../parallel.h"
#include "../simd.h"

namespace trimtab {
namespace {

constexpr int tile_rows = register_count * 3 / 8, tile_vectors = 2;
template <class W>
constexpr int tile_width = tile_vectors * lanes<W>;

constexpr ptrdiff_t panel_bytes = 128 << 10;  // a fraction of a core's second cache
constexpr ptrdiff_t most_tile_rows = 12;      // on any instruction set: what is cut to it is cut alike

constexpr ptrdiff_t most_terms = 256;  // summed in W one after the other, before the sum is added to others

// tile[i][j] = sum over k < count of a[i * row + k * step] * b[k][j]
template <class W>
TRIMTAB_INLINE void multiply(const W* a, ptrdiff_t row, ptrdiff_t step, const W* b, ptrdiff_t count, W* tile) {
    for (ptrdiff_t first = 0; first < max(count, 1); first += most_terms) {
        Vector<W> sums[tile_rows][tile_vectors] = {};
        for (ptrdiff_t k = first; k < min(count, first + most_terms); ++k, a += step, b += tile_width<W>) {
            Vector<W> factors[tile_vectors];
            unroll<0, tile_vectors>([&](int j) TRIMTAB_INLINE_LAMBDA { factors[j] = load<W>(b + j * lanes<W>); });
            unroll<0, tile_rows>([&](int i) TRIMTAB_INLINE_LAMBDA {
                const Vector<W> value = broadcast<W>(a[i * row]);
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
TRIMTAB_LOOP void multiply_rows(const W* a, ptrdiff_t row, const W* b, ptrdiff_t count, W* tile) {
    multiply<W>(a, row, 1, b, count, tile);
}
template <class W>
TRIMTAB_LOOP void multiply_columns(const W* a, ptrdiff_t step, const W* b, ptrdiff_t count, W* tile) {
    multiply<W>(a, 1, step, b, count, tile);
}

// (rows, columns), of rows that lie `step` apart, as tiles (rows, tile_width) side by side; zeros fill up the last.
template <class W, class T>
TRIMTAB_LOOP void to_tiles(const T* from, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t columns, W* to) {
    for (ptrdiff_t column = 0; column < columns; column += tile_width<W>)
        for (ptrdiff_t row = 0; row < rows; ++row, to += tile_width<W>)
            unroll<0, tile_vectors>([&](int j) TRIMTAB_INLINE_LAMBDA {
                const ptrdiff_t first = column + j * lanes<W>, count = min(columns - first, lanes<W>);
                const T* const source = from + row * step + first;
                store<W>(to + j * lanes<W>, count == lanes<W> ? load<W>(source)
                                            : count > 0       ? FirstLanes<W>{count}.load(source)
                                                              : Vector<W>{});
            });
}
template <class W>
TRIMTAB_INLINE ptrdiff_t tiled(ptrdiff_t columns) {
    return ceil_div(columns, tile_width<W>) * tile_width<W>;
}

template <class W, class T>
TRIMTAB_INLINE void copy(const T* from, ptrdiff_t count, W* to) {
    sweep<W>(count, [&](ptrdiff_t i, auto at) { at.store(to + i, at.load(from + i)); });
}
template <class W>
TRIMTAB_INLINE void clear(ptrdiff_t count, W* to) {
    sweep<W>(count, [&](ptrdiff_t i, auto at) { at.store(to + i, Vector<W>{}); });
}

// The panels of a group: `places` rows of `width` values, in the order (kernel, channels), and zeros up to `step`.
template <class T>
class Panels {
    using W = Work<T>;

public:
    const ptrdiff_t width, step, places, most_places;

    explicit Panels(const ConvolutionLayout& l)
        : width(l.kernel.height * l.kernel.width * l.channels),
          step(ceil_div(width + most_tile_rows - 1, 16) * 16 | 16),  // rows that end alike share no lines of the cache
          places(l.samples * l.output.height * l.output.width),
          most_places(max(1, min(8, panel_bytes / ptrdiff_t(sizeof(W)) / step / most_tile_rows)) * most_tile_rows),
          l_(l) {}

    Scratch<W> memory() const {
        Scratch<W> panel(most_places * step);
        clear<W>(most_places * step, panel);
        return panel;
    }

    TRIMTAB_LOOP void copy_places(const void* x, ptrdiff_t group, ptrdiff_t first, ptrdiff_t count, W* panel) const {
        const ptrdiff_t all = l_.groups * l_.channels;
        const T* const channels = static_cast<const T*>(x) + group * l_.channels;
        ptrdiff_t column = first % l_.output.width, line = first / l_.output.width;
        for (; count > 0; --count, panel += step) {
            const ptrdiff_t sample = line / l_.output.height;
            const ptrdiff_t top = line % l_.output.height * l_.stride.height - l_.padding.height;
            W* to = panel;
            for (ptrdiff_t a = 0; a < l_.kernel.height; ++a, to += l_.kernel.width * l_.channels) {
                const ptrdiff_t row = inside(top + a, l_.input_dilation.height, l_.image.height);
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
    // Where in the image a place on the line of elements and zeros lies; -1 on a zero.
    static TRIMTAB_INLINE ptrdiff_t inside(ptrdiff_t place, ptrdiff_t input_dilation, ptrdiff_t length) {
        const ptrdiff_t index = input_dilation == 1 ? place : place % input_dilation == 0 ? place / input_dilation : -1;
        return index < length ? index : -1;
    }
    TRIMTAB_INLINE void copy_line(const T* line, ptrdiff_t left, W* to) const {
        const ptrdiff_t channels = l_.channels;
        if (l_.groups == 1 && l_.input_dilation.width == 1) {
            const ptrdiff_t begin = min(max(0, -left), l_.kernel.width);
            const ptrdiff_t end = max(begin, min(l_.image.width - left, l_.kernel.width));
            clear<W>(begin * channels, to);
            copy<W>(line + (left + begin) * channels, (end - begin) * channels, to + begin * channels);
            clear<W>((l_.kernel.width - end) * channels, to + end * channels);
            return;
        }
        for (ptrdiff_t b = 0; b < l_.kernel.width; ++b, to += channels) {
            const ptrdiff_t column = inside(left + b, l_.input_dilation.width, l_.image.width);
            if (column < 0)
                clear<W>(channels, to);
            else
                copy<W>(line + column * l_.groups * channels, channels, to);
        }
    }

    const ConvolutionLayout l_;
};

template <class W>
TRIMTAB_INLINE double cost_of(double products) {
    return products * sizeof(W) / 200;  // ns
}

template <class T>
void convolution_forward(const Convolution& a) {
    using W = Work<T>;
    const ConvolutionLayout& l = a.layout;
    const Panels<T> panels(l);
    const ptrdiff_t tiled_outputs = tiled<W>(l.outputs), all_outputs = l.groups * l.outputs;
    const W* const bias = static_cast<const W*>(a.bias);
    const Scratch<W> weights(l.groups * panels.width * tiled_outputs);
    for (ptrdiff_t g = 0; g < l.groups; ++g)
        to_tiles<W>(static_cast<const W*>(a.weight) + g * panels.width * l.outputs, l.outputs, panels.width, l.outputs,
                    weights + g * panels.width * tiled_outputs);

    const ptrdiff_t blocks = ceil_div(panels.places, panels.most_places);
    const double products = double(panels.places * panels.width) * double(l.groups * tiled_outputs);
    parallel_for(blocks * l.groups, cost_of<W>(products), [&](ptrdiff_t begin, ptrdiff_t end) {
        const Scratch<W> panel = panels.memory(), tile(tile_rows * tile_width<W>);
        for (; begin < end; ++begin) {
            const ptrdiff_t group = begin % l.groups, first = begin / l.groups * panels.most_places;
            const ptrdiff_t count = min(panels.places - first, panels.most_places);
            panels.copy_places(a.x, group, first, count, panel);
            for (ptrdiff_t o = 0; o < l.outputs; o += tile_width<W>) {
                const W* const factors = weights + (group * tiled_outputs + o) * panels.width;
                const ptrdiff_t column = group * l.outputs + o, wide = min(l.outputs - o, tile_width<W>);
                for (ptrdiff_t i = 0; i < count; i += tile_rows) {
                    multiply_rows<W>(panel + i * panels.step, panels.step, factors, panels.width, tile);
                    for (ptrdiff_t r = 0; r < min(count - i, tile_rows); ++r) {
                        T* const y = static_cast<T*>(a.y) + (first + i + r) * all_outputs + column;
                        sweep<W>(wide, [&](ptrdiff_t j, auto at) {
                            at.store(y + j, at.load(tile + r * tile_width<W> + j) + at.load(bias + column + j));
                        });
                    }
                }
            }
        }
    });
}

// Sums over the places: those of a panel first, then those of a part, then the parts'.
constexpr ptrdiff_t most_parts = 32, part_places = 512;

template <class T>
void convolution_weights(const ConvolutionWeights& a) {
    using W = Work<T>;
    const ConvolutionLayout& l = a.layout;
    const Panels<T> panels(l);
    const ptrdiff_t tiled_outputs = tiled<W>(l.outputs), all_outputs = l.groups * l.outputs;
    const ptrdiff_t size = l.groups * panels.width * l.outputs;
    const ptrdiff_t parts = max(1, min(most_parts, panels.places / part_places));
    const Scratch<W> sums(parts * size);
    clear<W>(parts * size, sums);
    const double products = double(panels.places * panels.width) * double(l.groups * tiled_outputs);
    parallel_for(parts * l.groups, cost_of<W>(products), [&](ptrdiff_t begin, ptrdiff_t end) {
        const Scratch<W> panel = panels.memory(), tile(tile_rows * tile_width<W>);
        const Scratch<W> gradients(panels.most_places * tiled_outputs);
        for (; begin < end; ++begin) {
            const ptrdiff_t group = begin % l.groups, part = begin / l.groups;
            const ptrdiff_t last = panels.places * (part + 1) / parts;
            W* const sum = sums + part * size + group * panels.width * l.outputs;
            for (ptrdiff_t first = panels.places * part / parts; first < last; first += panels.most_places) {
                const ptrdiff_t count = min(last - first, panels.most_places);
                panels.copy_places(a.x, group, first, count, panel);
                to_tiles<W>(static_cast<const T*>(a.dy) + first * all_outputs + group * l.outputs, all_outputs, count,
                            l.outputs, gradients);
                for (ptrdiff_t o = 0; o < l.outputs; o += tile_width<W>) {
                    const ptrdiff_t wide = min(l.outputs - o, tile_width<W>);
                    for (ptrdiff_t k = 0; k < panels.width; k += tile_rows) {
                        multiply_columns<W>(panel + k, panels.step, gradients + o * count, count, tile);
                        for (ptrdiff_t r = 0; r < min(panels.width - k, tile_rows); ++r) {
                            W* const to = sum + (k + r) * l.outputs + o;
                            sweep<W>(wide, [&](ptrdiff_t j, auto at) {
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
        for (ptrdiff_t part = 1; part < parts; ++part) sum += at.load(sums + part * size + i);
        at.store(dweight + i, sum);
    });
}
}  // namespace

TRIMTAB_EXPORT(ConvolutionKernels, convolution) = {
    .forward = TRIMTAB_EACH_DTYPE(convolution_forward),
    .weights = TRIMTAB_EACH_DTYPE(convolution_weights),
};
}  // namespace trimtab
