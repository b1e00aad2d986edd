// Largest values under a kernel, channels last, and the way of their gradient back.
#include "../parallel.h"
#include "../simd.h"

namespace trimtab {
namespace {

struct Range {
    ptrdiff_t begin, end;
};
// What of an axis of the image lies under the kernel.
TRIMTAB_INLINE Range under(ptrdiff_t place, ptrdiff_t stride, ptrdiff_t before, ptrdiff_t kernel, ptrdiff_t length) {
    const ptrdiff_t first = place * stride - before;
    return {max(first, 0), min(first + kernel, length)};
}

// f(place, rows, columns) at every place on a line of y.
template <class F>
TRIMTAB_INLINE void for_places(const PoolLayout& l, ptrdiff_t line, const F& f) {
    const Range rows = under(line, l.stride.height, l.padding.height, l.kernel.height, l.image.height);
    for (ptrdiff_t place = 0; place < l.output.width; ++place)
        f(place, rows, under(place, l.stride.width, l.padding.width, l.kernel.width, l.image.width));
}

TRIMTAB_INLINE double cost_of(const PoolLayout& l) {
    const double seen = double(l.kernel.height) * double(l.kernel.width);
    const double places = double(l.samples) * double(l.output.height) * double(l.output.width);
    return places * (3 + seen * (1 + 0.1 * double(l.channels)));  // ns
}

template <class T>
void max_pool_forward(const MaxPool& a) {
    using W = Work<T>;
    const PoolLayout& l = a.layout;
    parallel_for(l.samples * l.output.height, cost_of(l), [&](ptrdiff_t begin, ptrdiff_t end) {
        for (; begin < end; ++begin) {
            const T* const x =
                static_cast<const T*>(a.x) + begin / l.output.height * l.image.height * l.image.width * l.channels;
            T* const y = static_cast<T*>(a.y) + begin * l.output.width * l.channels;
            for_places(l, begin % l.output.height, [&](ptrdiff_t place, Range rows, Range columns) {
                sweep<W>(l.channels, [&](ptrdiff_t i, auto at) {
                    Vector<W> top = Vector<W>{} - W(__builtin_inf());
                    for (ptrdiff_t row = rows.begin; row < rows.end; ++row)
                        for (ptrdiff_t column = columns.begin; column < columns.end; ++column) {
                            const Vector<W> v = at.load(x + (row * l.image.width + column) * l.channels + i);
                            top = v <= top || top != top ? top : v;
                        }
                    at.store(y + place * l.channels + i, top);
                });
            });
        }
    });
}

template <class T>
void max_pool_backward(const MaxPoolBackward& a) {
    using W = Work<T>;
    const PoolLayout& l = a.layout;
    const ptrdiff_t image = l.image.height * l.image.width * l.channels;
    parallel_for(l.samples, 2 * cost_of(l), [&](ptrdiff_t begin, ptrdiff_t end) {
        for (; begin < end; ++begin) {
            const T* const x = static_cast<const T*>(a.x) + begin * image;
            T* const dx = static_cast<T*>(a.dx) + begin * image;
            __builtin_memset(dx, 0, size_t(image) * sizeof(T));
            for (ptrdiff_t line = 0; line < l.output.height; ++line) {
                const ptrdiff_t first = (begin * l.output.height + line) * l.output.width * l.channels;
                const T *const y = static_cast<const T*>(a.y) + first, *const dy = static_cast<const T*>(a.dy) + first;
                for_places(l, line, [&](ptrdiff_t place, Range rows, Range columns) {
                    sweep<W>(l.channels, [&](ptrdiff_t i, auto at) {
                        const Vector<W> top = at.load(y + place * l.channels + i);
                        Vector<W> gradient = at.load(dy + place * l.channels + i);
                        for (ptrdiff_t row = rows.begin; row < rows.end; ++row)
                            for (ptrdiff_t column = columns.begin; column < columns.end; ++column) {
                                const ptrdiff_t element = (row * l.image.width + column) * l.channels + i;
                                const auto found = at.load(x + element) == top;
                                at.store(dx + element, at.load(dx + element) + (found ? gradient : Vector<W>{}));
                                gradient = found ? Vector<W>{} : gradient;  // the first has it all
                            }
                    });
                });
            }
        }
    });
}
}  // namespace

TRIMTAB_EXPORT(MaxPoolKernels, max_pool) = {
    .forward = TRIMTAB_EACH_DTYPE(max_pool_forward),
    .backward = TRIMTAB_EACH_DTYPE(max_pool_backward),
};
}  // namespace trimtab
