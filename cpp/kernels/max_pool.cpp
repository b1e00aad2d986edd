// Max pooling of images x (samples, image, channels) to y (samples, output, channels):
//   y[n, i, j, c] = max of x[n, :, :, c] in the window at (i, j)
//   dx            = sum of dy over the windows whose first maximum the element is, row by row
// NaN counts as the maximum, and its gradient is lost.
#include "../parallel.h"
#include "windows.h"

namespace trimtab {
namespace {

template <class T>
void max_pool_forward(const MaxPool& a) {
    using W = Work<T>;
    const PoolLayout& l = a.layout;
    parallel_for(l.samples * l.output.height, cost_of(l), [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t line = begin; line < end; ++line) {  // of y
            const T* const x = static_cast<const T*>(a.x) + line / l.output.height * image_size(l);
            T* const y = static_cast<T*>(a.y) + line * l.output.width * l.channels;
            const Range rows = window_rows(l, line % l.output.height);
            for (ptrdiff_t j = 0; j < l.output.width; ++j) {
                const Range columns = window_columns(l, j);
                sweep<W>(l.channels, [&](ptrdiff_t c, auto at) {
                    Vector<W> maximum = Vector<W>{} - W(__builtin_inf());
                    for (ptrdiff_t row = rows.begin; row < rows.end; ++row)
                        for (ptrdiff_t column = columns.begin; column < columns.end; ++column) {
                            const Vector<W> v = at.load(x + (row * l.image.width + column) * l.channels + c);
                            maximum = v <= maximum || maximum != maximum ? maximum : v;
                        }
                    at.store(y + j * l.channels + c, maximum);
                });
            }
        }
    });
}

template <class T>
void max_pool_backward(const MaxPoolBackward& a) {
    using W = Work<T>;
    const PoolLayout& l = a.layout;
    parallel_for(l.samples, 2 * cost_of(l), [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t sample = begin; sample < end; ++sample) {
            const T* const x = static_cast<const T*>(a.x) + sample * image_size(l);
            T* const dx = static_cast<T*>(a.dx) + sample * image_size(l);
            __builtin_memset(dx, 0, size_t(image_size(l)) * sizeof(T));
            for (ptrdiff_t i = 0; i < l.output.height; ++i) {
                const ptrdiff_t first = (sample * l.output.height + i) * l.output.width * l.channels;
                const T *const y = static_cast<const T*>(a.y) + first, *const dy = static_cast<const T*>(a.dy) + first;
                const Range rows = window_rows(l, i);
                for (ptrdiff_t j = 0; j < l.output.width; ++j) {
                    const Range columns = window_columns(l, j);
                    sweep<W>(l.channels, [&](ptrdiff_t c, auto at) {
                        const Vector<W> maximum = at.load(y + j * l.channels + c);
                        Vector<W> gradient = at.load(dy + j * l.channels + c);
                        for (ptrdiff_t row = rows.begin; row < rows.end; ++row)
                            for (ptrdiff_t column = columns.begin; column < columns.end; ++column) {
                                const ptrdiff_t element = (row * l.image.width + column) * l.channels + c;
                                const auto found = at.load(x + element) == maximum;
                                at.store(dx + element, at.load(dx + element) + (found ? gradient : Vector<W>{}));
                                gradient = found ? Vector<W>{} : gradient;  // the first maximum takes all of it
                            }
                    });
                }
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
