// Signatures and docstrings of dropout.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr auto dropout = join(
    R"(dropout(x, p=0.5, *, rng=None, inverted=True, shared_axes=(), out=None)
--

Dropout: each element is dropped with probability `p`, independently of all others.

    y = x / (1 - p) where kept, 0 where dropped      (inverted=True)
    y = x           where kept, 0 where dropped      (inverted=False)

Parameters
----------
)",
    x_of_any_shape,
    R"(p : float, default 0.5
    The probability of dropping, 0 to 1; exact, although a decision takes few random bits.
rng : numpy.random.Generator, numpy.random.RandomState, int or None
    The source of randomness. An int, 0 to 2**64 - 1, is the seed: it gives the same mask forever, whatever the shape,
    dtype and memory of `x`, the number of threads and the machine. A Generator or RandomState gives a seed, 64 bits per
    call. None: the seed is entropy of the system.
inverted : bool, default True
    True: kept elements are scaled to preserve the mean, and inference needs no change. False: the classical form; at
    inference the result has to be multiplied by 1 - p.
shared_axes : int or tuple of ints, default ()
    Axes along which one decision is shared. ``(2, 3)`` drops whole channels of (N, C, H, W): spatial dropout.
)",
    out_for_y,
    R"(
Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` if given. Dropped elements are 0 even where `x` is NaN or infinite.

Raises
------
)",
    type_error,
    R"(ValueError
    `p` or a seed out of range, `shared_axes` that repeat, an `out` of the wrong shape or read-only. Then nothing has
    been drawn from the generator.
)",
    axis_error,
    R"(
See Also
--------
dropout_forward : returns what the backward pass needs, too.

Notes
-----
A decision takes one byte of a Philox4x32-10 stream, and 64 bits more where the byte does not decide (1 in 256).
Decisions are numbered in C order: the first rows of an array get the same decisions as an array of these rows alone.

References
----------
Srivastava, N., Hinton, G., Krizhevsky, A., Sutskever, I., and Salakhutdinov, R. (2014). Dropout: A Simple Way to Prevent
Neural Networks from Overfitting. JMLR 15.
Tompson, J., Goroshin, R., Jain, A., LeCun, Y., and Bregler, C. (2015). Efficient Object Localization Using Convolutional
Networks. CVPR. (Spatial dropout.)
)",
    examples,
    R"(>>> tt.dropout(np.ones(8), 0.5, rng=1)
array([0., 0., 2., 2., 2., 0., 0., 2.])
)");

constexpr auto dropout_forward = join(
    R"(dropout_forward(x, p=0.5, *, rng=None, inverted=True, shared_axes=(), out=None)
--

Dropout, keeping what its backward pass needs.

Parameters
----------
x, p, rng, inverted, shared_axes, out
    As for `dropout`.

Returns
-------
y : ndarray
    The result, as returned by `dropout`.
mask : ndarray of uint8
    The decisions, one bit each, 1 = kept, in C order as ``numpy.packbits(..., bitorder="little")`` packs them: of `x`'s
    elements, or of an array of `x`'s shape with extent 1 along `shared_axes`.

See Also
--------
dropout : formula, errors, source.
dropout_backward : takes `mask`.
)",
    examples,
    R"(>>> y, mask = tt.dropout_forward(np.ones(8), 0.5, rng=1)
>>> np.unpackbits(mask, bitorder="little")
array([0, 0, 1, 1, 1, 0, 0, 1], dtype=uint8)
)");

constexpr auto dropout_backward = join(
    R"(dropout_backward(dy, mask, p=0.5, *, inverted=True, shared_axes=(), out=None)
--

Gradient of dropout.

    dx = dy / (1 - p) where kept, 0 where dropped      (inverted=True)
    dx = dy           where kept, 0 where dropped      (inverted=False)

Parameters
----------
)",
    dy,
    R"(mask : array_like of uint8 or bool
    As `dropout_forward` returned it; or bools, True where kept: of `dy`'s shape, or of the shape of the decisions,
    without `shared_axes` (or with length 1 there).
p, inverted, shared_axes
    As in the forward pass.
out : ndarray, optional
    Where to write `dx`: of `dy`'s shape and dtype, writeable. May be `dy` itself.

Returns
-------
)",
    dx_like_dy,
    R"(
Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `dropout`; also where `mask` is neither uint8 nor bool, or does not fit.
)",
    examples,
    R"(>>> tt.dropout_backward(np.ones(4), np.array([0b0101], np.uint8), 0.5)
array([2., 0., 2., 0.])
)");

constexpr auto dropout_apply = join(
    R"(dropout_apply(x, mask, p=0.5, *, inverted=True, shared_axes=(), out=None)
--

Dropout with given decisions, such as those of an earlier pass.

    y = x / (1 - p) where kept, 0 where dropped      (inverted=True)
    y = x           where kept, 0 where dropped      (inverted=False)

Parameters
----------
)",
    x_of_any_shape,
    R"(mask : array_like of uint8 or bool
    As returned by `dropout_forward` or `dropout_mask`; or bools, True where kept: of `x`'s shape, or of the shape of the
    decisions, without `shared_axes` (or with length 1 there).
p, inverted, shared_axes
    As for `dropout`.
out : ndarray, optional
    Where to write `y`: of `x`'s shape and dtype, writeable. May be `x` itself.

Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` if given.

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `dropout`; also where `mask` is neither uint8 nor bool, or does not fit.

See Also
--------
dropout_mask : draws the decisions alone.
dropout_backward : the gradient.
)",
    examples,
    R"(>>> tt.dropout_apply(np.ones(4), np.array([0b0101], np.uint8), 0.5)
array([2., 0., 2., 0.])
)");

constexpr auto dropout_mask = join(
    R"(dropout_mask(shape, p=0.5, *, rng=None)
--

The decisions of dropout for an array of a given shape.

Parameters
----------
shape : int or tuple of ints
    Of the array.
p, rng
    As for `dropout`; the same seed gives the same mask.

Returns
-------
mask : ndarray of uint8
    One bit for each element, 1 = kept, as ``numpy.packbits(..., bitorder="little")`` packs them.

Raises
------
TypeError, ValueError
    As `dropout`; also where `shape` is negative or too large.
)",
    examples,
    R"(>>> mask = tt.dropout_mask((4, 3), rng=1)
>>> tt.dropout_apply(np.ones((4, 3)), mask).shape
(4, 3)
)");

constexpr auto drop_path_forward = join(
    R"(drop_path_forward(x, p=0.5, *, rng=None, inverted=True, out=None)
--

Stochastic depth: dropout of whole samples, one decision for each index of axis 0.

Parameters
----------
x, p, rng, inverted, out
    As for `dropout`.

Returns
-------
y : ndarray
    The result, as returned by `dropout` with every axis but 0 in `shared_axes`.
mask : ndarray of uint8
    One bit for each sample, 1 = kept, packed as by `dropout_forward`.

See Also
--------
dropout : formula, errors.

References
----------
Huang, G., Sun, Y., Liu, Z., Sedra, D., and Weinberger, K. (2016). Deep Networks with Stochastic Depth. ECCV.
)",
    examples,
    R"(>>> y, mask = tt.drop_path_forward(np.ones((4, 2)), 0.5, rng=1)
>>> y.shape, mask.shape
((4, 2), (1,))
)");

constexpr auto drop_path_backward = join(
    R"(drop_path_backward(dy, mask, p=0.5, *, inverted=True, out=None)
--

Gradient of stochastic depth.

Parameters
----------
dy, mask, p, inverted, out
    As for `dropout_backward`.

Returns
-------
)",
    dx_like_dy,
    R"(
See Also
--------
dropout_backward : formula, errors.
)",
    examples,
    R"(>>> tt.drop_path_backward(np.ones((2, 2)), np.array([0b10], np.uint8), 0.5)
array([[0., 0.],
       [2., 2.]])
)");

constexpr auto add_dropout_forward = join(
    R"(add_dropout_forward(x, bias, residual, p, *, rng=None, out=None)
--

Bias, dropout and residual in one pass.

    y = (x + bias) / (1 - p) + residual where kept, residual where dropped

Parameters
----------
)",
    x_of_any_shape,
    R"(bias : array_like or None
    Added to every row: of the shape of `x`'s last axis and of any real dtype. None: nothing is added.
)",
    residual_like_x,
    R"(p, rng, out
    As for `dropout`.

Returns
-------
)",
    y_like_x,
    R"(mask : ndarray of uint8
    As returned by `dropout_forward`. The gradients with respect to x + bias are those of `dropout_backward`; that with
    respect to the residual is dy.

See Also
--------
dropout : errors, source.
)",
    examples,
    R"(>>> x, bias, residual = np.ones((2, 3)), np.full(3, 4.0), np.full((2, 3), 0.5)
>>> tt.add_dropout_forward(x, bias, residual, p=0.0).y
array([[5.5, 5.5, 5.5],
       [5.5, 5.5, 5.5]])
)");

constexpr auto alpha_dropout_forward = join(
    R"(alpha_dropout_forward(x, p=0.5, *, rng=None, out=None)
--

Alpha dropout: dropped elements become the lowest value of SELU; mean 0 and variance 1 are preserved.

    y = a * (x where kept, -alpha where dropped) + a * alpha * p
    a = 1 / sqrt((alpha**2 * p + 1) * (1 - p)),  alpha = 1.7580993408473766

Parameters
----------
x, rng, out
    As for `dropout`.
p : float, default 0.5
    The probability of dropping, at least 0 and less than 1.

Returns
-------
)",
    y_like_x,
    R"(mask : ndarray of uint8
    As returned by `dropout_forward`.

See Also
--------
dropout : errors.

References
----------
Klambauer, G., Unterthiner, T., Mayr, A., and Hochreiter, S. (2017). Self-Normalizing Neural Networks. NeurIPS.
)",
    examples,
    R"(>>> y, mask = tt.alpha_dropout_forward(np.ones((4, 3)), 0.1, rng=1)
>>> y.shape, mask.shape
((4, 3), (2,))
)");

constexpr auto alpha_dropout_backward = join(
    R"(alpha_dropout_backward(dy, mask, p=0.5, *, out=None)
--

Gradient of alpha dropout.

    dx = a * dy where kept, 0 where dropped;  a = 1 / sqrt((alpha**2 * p + 1) * (1 - p)),  alpha = 1.7580993408473766

Parameters
----------
dy, mask, out
    As for `dropout_backward`.
p : float, default 0.5
    As in the forward pass.

Returns
-------
)",
    dx_like_dy,
    R"(
See Also
--------
dropout_backward : errors.
)",
    examples,
    R"(>>> tt.alpha_dropout_backward(np.ones(4), np.array([0b0101], np.uint8), 0.5) > 0
array([ True, False,  True, False])
)");

constexpr auto gaussian_dropout_forward = join(
    R"(gaussian_dropout_forward(x, p=0.5, *, rng=None, out=None)
--

Gaussian dropout: multiplies by normal numbers of mean 1 and variance p / (1 - p), like those of inverted dropout.

    y = x * noise

Parameters
----------
x, rng, out
    As for `dropout`.
p : float, default 0.5
    The probability of dropping of the dropout that it approximates, at least 0 and less than 1.

Returns
-------
)",
    y_like_x,
    R"(noise : ndarray
    Of `x`'s shape and dtype. With an int seed it is the same forever, rounded to that dtype.

See Also
--------
dropout : errors, source.
)",
    examples,
    R"(>>> y, noise = tt.gaussian_dropout_forward(np.full(3, 2.0), 0.5, rng=1)
>>> y == 2 * noise
array([ True,  True,  True])
)");

constexpr auto gaussian_dropout_backward = join(
    R"(gaussian_dropout_backward(dy, noise, *, out=None)
--

Gradient of Gaussian dropout.

    dx = dy * noise

Parameters
----------
)",
    dy,
    R"(noise : array_like
    As `gaussian_dropout_forward` returned it: of `dy`'s shape and dtype.
out : ndarray, optional
    Where to write `dx`: of `dy`'s shape and dtype, writeable. May be `dy` or `noise` itself.

Returns
-------
)",
    dx_like_dy,
    R"(
Raises
------
TypeError, ValueError
    A wrong dtype or shape, a read-only `out`.
)",
    examples,
    R"(>>> tt.gaussian_dropout_backward([4.0, 4.0], noise=[0.5, 2.0])
array([2., 8.])
)");
}  // namespace trimtab::docs
