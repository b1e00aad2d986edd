#include "docs/convolution.h"

#include "images.h"

namespace trimtab {
namespace {

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
                                   .padding = read_plane(in["before"], -largest_extent),
                                   .stride = read_plane(in["stride"], 1),
                                   .input_dilation = read_plane(in["spacing"], 1),
                                   .output = read_plane(in["output"], 0)};
    Array y = empty_like(x, {image[0], layout.output.height, layout.output.width, w[0] * w[4]});
    if (y.size() > 0) {  // then there is a weight: its size bounds its extents
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
                                   .padding = read_plane(in["before"], -largest_extent),
                                   .stride = read_plane(in["stride"], 1),
                                   .input_dilation = {1, 1},
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
