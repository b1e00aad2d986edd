#include "bind.h"

namespace trimtab {
namespace {

namespace docs {
constexpr Text max_norm{
    R"(max_norm(w, limit, *, axis, out=None)
--

Bound the length of vectors: each vector along `axis` that is longer than `limit` is scaled down to it.

    w * min(1, limit / |w|),  |w| = sqrt(sum of w^2 along axis)

Parameters
----------
w : array_like
    float32, float64, float16 or bfloat16.
limit : float
    The greatest length, finite and >= 0.
axis : int or tuple of ints
    The axis or axes a vector lies along: for the weights that come into each unit, 1 for a weight of shape
    (outputs, inputs), (1, 2, 3) for a convolution's (outputs, inputs, height, width).
out : ndarray, optional
    Where to write the result: of `w`'s shape and dtype, writeable. May be `w` itself.

Returns
-------
w : ndarray
    Of `w`'s shape and dtype; `out` where it is given. Vectors that are not too long keep their bits, and so do those
    whose length is NaN or infinite. Scaled ones end at most at `limit`, and below it by no more than the rounding of
    their dtype; a second projection changes nothing.

Raises
------
TypeError
    A dtype that is not one of the four, an argument that is not of the right kind.
ValueError
    `limit` out of range, an `out` that does not fit or is read-only.
numpy.exceptions.AxisError
    An axis that `w` does not have.

References
----------
Srebro, N., and Shraibman, A. (2005). Rank, Trace-Norm and Max-Norm. COLT.
Srivastava, N., Hinton, G., Krizhevsky, A., Sutskever, I., and Salakhutdinov, R. (2014). Dropout: A Simple Way to Prevent
Neural Networks from Overfitting. JMLR.
)"};
}  // namespace docs

Ref max_norm(const Arguments<docs::max_norm>& in) {
    const Array w = read(in["w"]);
    const double limit = in["limit"].non_negative(0);
    const RowLayout layout = row_layout(in["axis"], w);
    Output y(in["out"], w, {&w}, {}, layout.order);
    const Array source = layout.order.empty() ? Array() : reordered(w, layout.order);
    if (w.size() > 0) {  // empty rows may be more than can be counted
        const Released released;
        kernels->max_norm->project[int(w.dtype())]({.x = (source ? source : w).data(),
                                                    .y = y.data(),
                                                    .rows = layout.rows,
                                                    .width = layout.width,
                                                    .limit = limit});
    }
    return y.finish();
}
}  // namespace

void bind_max_norm(PyObject* module) { add_functions(module, {method<max_norm>()}); }
}  // namespace trimtab
