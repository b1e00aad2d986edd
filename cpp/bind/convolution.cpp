#include "images.h"

namespace trimtab {
namespace {

namespace docs {
constexpr Text convolve{
    R"(convolve(x, weight, bias, before, stride, spacing, output)
--

Convolution of images whose channels stand last (without the flip: correlation).

    y[n, i, j, g, o] = bias[g, o] + sum over a, b, c of weight[g, a, b, c, o]
                       * z[n, i * stride + a - before, j * stride + b - before, g, c]

where z is `x` with its elements `spacing` apart, and zeros in between and all around.

Parameters
----------
x : array_like
    Shape (N, H, W, G * C), of one of the four dtypes.
weight : array_like
    Shape (G, A, B, C, O), of any real dtype.
bias : array_like or None
    Shape (G * O,), of any real dtype.
before, stride, spacing, output : tuple of two ints
    For height and width: zeros before `x` (negative: elements left out), the step of the kernel, the step of the
    elements of `x`, and the places of the kernel.

Returns
-------
y : ndarray
    Shape (N, *output, G * O), of `x`'s dtype, summed in float32 or wider. The bits do not depend on the number of threads
    or on the instruction set.

Raises
------
TypeError, ValueError
    An argument of the wrong dtype, kind, shape or range.
)"};

constexpr Text convolve_weights{
    R"(convolve_weights(dy, x, groups, kernel, before, stride)
--

Gradient of `convolve` with respect to its weight, for a spacing of 1.

    dweight[g, a, b, c, o] = sum over n, i, j of dy[n, i, j, g, o]
                             * z[n, i * stride + a - before, j * stride + b - before, g, c]

Parameters
----------
dy : array_like
    Gradient with respect to y: shape (N, *output, G * O), of one of the four dtypes.
x : array_like
    Of the forward pass: shape (N, H, W, G * C), of `dy`'s dtype.
groups : int
    G.
kernel, before, stride : tuple of two ints
    For height and width; A and B are `kernel`.

Returns
-------
dweight : ndarray
    Shape (G, A, B, C, O), float64 where `dy` is, else float32. The bits do not depend on the number of threads or on the
    instruction set.

Raises
------
TypeError, ValueError
    An argument of the wrong dtype, kind, shape or range.
)"};
}  // namespace docs

Array empty_like_sums(const Shape& shape, DType working) {
    return working == DType::float64 ? empty_doubles(shape) : Array(empty(shape, float32_descr), working);
}

Ref convolve(const Arguments<docs::convolve>& in) {
    const Array x = read(in["x"]);
    const npy_intp* const image = read_extents(in["x"], x, 4, "(N, H, W, G * C)");
    Real weight = read_real(in["weight"]);
    const Shape extents = weight.values.shape();
    const npy_intp* const w = read_extents(in["weight"], weight.values, 5, "(G, A, B, C, O)");
    if (w[0] == 0 || w[0] * w[3] != image[3])
        in["weight"].fail(PyExc_ValueError, "be of the " + std::to_string(image[3]) + " channels of x", text(extents));
    const Parameter factors(in["weight"], std::move(weight), x, extents, working_type(x));
    const Parameter bias(in["bias"], x, {w[0] * w[4]}, working_type(x), 0);
    const ConvolutionLayout layout{.samples = image[0],
                                   .groups = w[0],
                                   .channels = w[3],
                                   .outputs = w[4],
                                   .image = {image[1], image[2]},
                                   .kernel = {w[1], w[2]},
                                   .before = read_plane(in["before"], -largest_extent),
                                   .stride = read_plane(in["stride"], 1),
                                   .spacing = read_plane(in["spacing"], 1),
                                   .output = read_plane(in["output"], 0)};
    Array y = empty_like(x, {image[0], layout.output.height, layout.output.width, w[0] * w[4]});
    if (y.size() > 0) {  // then there is a weight, whose memory bounds its extents
        const Released released(0.5 * double(factors.array().size()));
        kernels->convolution->forward[int(x.dtype())](
            {.x = x.data(), .weight = factors.data(), .bias = bias.data(), .y = y.data(), .layout = layout});
    }
    return y.release();
}

Ref convolve_weights(const Arguments<docs::convolve_weights>& in) {
    const Array dy = read(in["dy"]);
    const npy_intp* const gradient = read_extents(in["dy"], dy, 4, "(N, *output, G * O)");
    const Array x = read(in["x"]);
    require_dtype(in["x"], x, dy.dtype());
    const npy_intp* const image = read_extents(in["x"], x, 4, "(N, H, W, G * C)");
    if (image[0] != gradient[0])
        in["x"].fail(PyExc_ValueError, "have " + std::to_string(gradient[0]) + " samples as dy", text(x.shape()));
    const char* const rule = "divide the channels of dy and x";
    const npy_intp groups = in["groups"].integer(rule);
    if (groups < 1 || gradient[3] % groups || image[3] % groups) in["groups"].value_error(rule);
    const ConvolutionLayout layout{.samples = image[0],
                                   .groups = groups,
                                   .channels = image[3] / groups,
                                   .outputs = gradient[3] / groups,
                                   .image = {image[1], image[2]},
                                   .kernel = read_plane(in["kernel"], 0),
                                   .before = read_plane(in["before"], -largest_extent),
                                   .stride = read_plane(in["stride"], 1),
                                   .spacing = {1, 1},
                                   .output = {gradient[1], gradient[2]}};
    Array dweight = empty_like_sums(
        {groups, layout.kernel.height, layout.kernel.width, layout.channels, layout.outputs}, working_type(x));
    if (dweight.size() > 0) {
        const Released released(0.5 * double(dweight.size()));
        kernels->convolution->weights[int(x.dtype())](
            {.dy = dy.data(), .x = x.data(), .dweight = dweight.data(), .layout = layout});
    }
    return dweight.release();
}
}  // namespace

void bind_convolution(PyObject* module) { add_functions(module, {method<convolve>(), method<convolve_weights>()}); }
}  // namespace trimtab
