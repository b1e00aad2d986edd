"""The specification: backward passes against central differences, forward passes against properties."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import reference

N, C = 4, 6
AXES_OF_X = [((N, C), 1), ((N, C, 2, 3), 1), ((N, 2, 3, C), -1)]


def central_differences(function, x, dy, step=1e-5):
    """The gradient of sum(function(x) * dy), element by element."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[index] += step
        behind[index] -= step
        gradient[index] = ((function(ahead) - function(behind)) * dy).sum() / (2 * step)
    return gradient


def assert_gradients(forward, backward, inputs, rng):
    """backward(dy, *inputs) returns the gradient of each input of forward(*inputs) -> y."""
    dy = rng.standard_normal(np.shape(forward(*inputs)))
    for index, analytic in enumerate(backward(dy, *inputs)):
        numeric = central_differences(
            lambda v, i=index: forward(*inputs[:i], v, *inputs[i + 1 :]), inputs[index], dy
        )
        np.testing.assert_allclose(
            analytic, numeric, rtol=1e-6, atol=1e-8, err_msg=f"gradient of input {index}"
        )


@pytest.mark.parametrize("axis", [-1, 1, (1, 2), (-1, 1), (0, 1, 2)])
def test_layer_norm_and_rms_norm_have_the_right_gradients(rng, axis):
    shape = (3, 2, 5)
    of_axes = [shape[a] for a in sorted(np.atleast_1d(axis) % 3)]
    x, gamma, beta = rng.standard_normal(shape), rng.standard_normal(of_axes), rng.standard_normal(of_axes)

    def layer_norm_backward(dy, x, gamma, beta):
        _, mean, rstd = reference.layer_norm_forward(x, gamma, beta, axis=axis)
        return reference.layer_norm_backward(dy, x, mean, rstd, gamma, axis=axis)

    def rms_norm_backward(dy, x, gamma):
        return reference.rms_norm_backward(
            dy, x, reference.rms_norm_forward(x, gamma, axis=axis).rstd, gamma, axis=axis
        )

    assert_gradients(
        lambda *a: reference.layer_norm(*a, axis=axis), layer_norm_backward, (x, gamma, beta), rng
    )
    assert_gradients(lambda *a: reference.rms_norm(*a, axis=axis), rms_norm_backward, (x, gamma), rng)


@pytest.mark.parametrize(("shape", "axis"), AXES_OF_X)
@pytest.mark.parametrize("num_groups", [1, 2, C])
def test_group_norm_has_the_right_gradients(rng, shape, axis, num_groups):
    if num_groups == C and len(shape) == 2:
        shape = (*shape, 2)  # a single value has no variance
    x, gamma, beta = rng.standard_normal(shape), rng.standard_normal(C), rng.standard_normal(C)

    def backward(dy, x, gamma, beta):
        _, mean, rstd = reference.group_norm_forward(x, num_groups, axis=axis)
        return reference.group_norm_backward(dy, x, mean, rstd, num_groups, gamma, axis=axis)

    assert_gradients(
        lambda x, gamma, beta: reference.group_norm(x, num_groups, gamma, beta, axis=axis),
        backward,
        (x, gamma, beta),
        rng,
    )


def test_group_norm_with_one_group_is_layer_norm(rng):
    x = rng.standard_normal((N, C, 2, 3))
    np.testing.assert_allclose(
        reference.group_norm(x, 1), reference.layer_norm(x, axis=(1, 2, 3)), rtol=1e-12
    )


@pytest.mark.parametrize(("shape", "axis"), AXES_OF_X)
@pytest.mark.parametrize("virtual_batch_size", [None, 2, 3])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_batch_norm_has_the_right_gradients(rng, shape, axis, virtual_batch_size, activation):
    shape = (5, *shape[1:])  # the last virtual batch is shorter, or one value longer
    x, residual = rng.standard_normal((2, *shape))
    gamma, beta = rng.standard_normal((2, C))
    options = {"axis": axis, "virtual_batch_size": virtual_batch_size, "activation": activation}

    def forward(x, gamma, beta, residual):
        return reference.batch_norm_forward(x, gamma, beta, residual=residual, **options)

    def backward(dy, x, gamma, beta, residual):
        y, mean, rstd = forward(x, gamma, beta, residual)
        return reference.batch_norm_backward(dy, x, mean, rstd, gamma, y=y, residual=True, **options)

    assert_gradients(lambda *a: forward(*a).y, backward, (x, gamma, beta, residual), rng)


def test_batch_norm_with_constant_statistics_has_the_right_gradients(rng):
    x, gamma, beta, mean = rng.standard_normal((N, C)), *rng.standard_normal((3, C))
    var = rng.uniform(0.5, 2, C)

    def backward(dy, x, gamma, beta):
        rstd = 1 / np.sqrt(var + 1e-5)
        return reference.batch_norm_backward(dy, x, mean, rstd, gamma, training=False)[:3]

    assert_gradients(lambda x, *p: reference.batch_norm(x, mean, var, *p), backward, (x, gamma, beta), rng)


@pytest.mark.parametrize("unbiased", [False, True])
def test_running_statistics_are_those_of_the_whole_batch(rng, unbiased):
    x = rng.standard_normal((5, C, 2))
    start_mean, start_var = rng.standard_normal(C), rng.uniform(1, 2, C)
    mean, var = start_mean.copy(), start_var.copy()
    reference.batch_norm_forward(
        x, running_mean=mean, running_var=var, momentum=0.25, unbiased=unbiased, virtual_batch_size=2
    )
    np.testing.assert_allclose(mean, 0.75 * start_mean + 0.25 * x.mean((0, 2)))
    np.testing.assert_allclose(var, 0.75 * start_var + 0.25 * x.var((0, 2), ddof=int(unbiased)))


def test_parts_of_batch_norm_make_the_whole(rng):
    x, dy = rng.standard_normal((2, 7, C, 3))
    gamma = rng.standard_normal(C)
    parts = [slice(a, b) for a, b in pairwise((0, 2, 2, 7))]  # one of them is empty
    y, mean, rstd = reference.batch_norm_forward(x, gamma)
    combined = reference.combine_moments(
        *zip(*(reference.batch_moments(x[part]) for part in parts), strict=True)
    )
    np.testing.assert_allclose(combined.mean, mean)
    np.testing.assert_allclose(1 / np.sqrt(combined.var + 1e-5), rstd)
    sums = np.sum(
        [reference.batch_norm_backward_sums(dy[part], x[part], mean, rstd) for part in parts], axis=0
    )
    whole = reference.batch_norm_backward(dy, x, mean, rstd, gamma)
    for part in parts:
        np.testing.assert_allclose(reference.batch_norm_apply(x[part], mean, rstd, gamma), y[part])
        dx = reference.batch_norm_backward_apply(dy[part], x[part], mean, rstd, gamma, *sums, combined.count)
        np.testing.assert_allclose(dx, whole.dx[part])


@pytest.mark.parametrize(("r_max", "d_max"), [(1, 0), (1.05, 0.1), (np.inf, np.inf)])
def test_batch_renorm_has_the_right_gradients_and_limits(rng, r_max, d_max):
    """r and d are constants, so the differences keep them fixed."""
    x = rng.standard_normal((N, C, 2))
    gamma, beta = rng.standard_normal((2, C))
    running = {"running_mean": rng.standard_normal(C), "running_std": rng.uniform(0.5, 1.5, C)}
    before = {name: value.copy() for name, value in running.items()}
    y, mean, rstd, r, d = reference.batch_renorm_forward(x, gamma, beta, **running, r_max=r_max, d_max=d_max)

    def forward(x, gamma, beta):
        return reference.batch_norm_forward(x, gamma * r, gamma * d + beta).y

    np.testing.assert_allclose(y, forward(x, gamma, beta))
    assert_gradients(
        forward,
        lambda dy, x, gamma, beta: reference.batch_renorm_backward(dy, x, mean, rstd, r, d, gamma),
        (x, gamma, beta),
        rng,
    )
    np.testing.assert_allclose(running["running_mean"], 0.99 * before["running_mean"] + 0.01 * mean)
    np.testing.assert_allclose(running["running_std"], 0.99 * before["running_std"] + 0.01 / rstd)
    if (r_max, d_max) == (np.inf, np.inf):  # unlimited correction normalizes by the running statistics
        unlimited = reference.batch_norm(
            x, before["running_mean"], before["running_std"] ** 2, gamma, beta, eps=0
        )
        np.testing.assert_allclose(y, unlimited)


def test_a_folded_linear_map_has_equal_outputs(rng):
    x, weight, bias = rng.standard_normal((N, 3)), rng.standard_normal((C, 3)), rng.standard_normal(C)
    mean, gamma, beta = rng.standard_normal((3, C))
    var = rng.uniform(0.5, 2, C)
    folded, shift = reference.fold_batch_norm(weight, bias, mean, var, gamma, beta)
    expected = reference.batch_norm(x @ weight.T + bias, mean, var, gamma, beta)
    np.testing.assert_allclose(x @ folded.T + shift, expected)


def test_the_norm_of_a_sum_is_the_norm(rng):
    x, residual = rng.standard_normal((2, N, C))
    gamma = rng.standard_normal(C)
    y, summed, mean, rstd = reference.add_layer_norm_forward(x, residual, gamma)
    for got, expected in zip((y, mean, rstd), reference.layer_norm_forward(x + residual, gamma), strict=True):
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(summed, x + residual)
    np.testing.assert_array_equal(
        reference.add_rms_norm_forward(x, residual, gamma).y, reference.rms_norm(x + residual, gamma)
    )


@pytest.mark.parametrize(("shape", "axis"), [((40, C), 1), ((5, C, 3, 4), 1), ((5, 3, 4, C), -1)])
@pytest.mark.parametrize("num_groups", [1, 2, C])
def test_whitening_gives_the_identity_covariance(rng, shape, axis, num_groups):
    x = rng.standard_normal(shape) * np.linspace(0.5, 2, shape[-1])
    y = reference.whiten_forward(x, num_groups=num_groups, axis=axis, eps=0).y
    values = np.moveaxis(y, axis, 0).reshape(num_groups, C // num_groups, -1)
    covariance = values @ values.mT / values.shape[2]
    np.testing.assert_allclose(
        covariance, np.broadcast_to(np.eye(C // num_groups), covariance.shape), atol=1e-10
    )

    def forward(x):
        return reference.whiten_forward(x, num_groups=num_groups, axis=axis)

    assert_gradients(
        lambda x: forward(x).y, lambda dy, x: [reference.whiten_backward(dy, forward(x).saved)], (x,), rng
    )


def test_whitening_gradient_at_equal_eigenvalues(rng):
    x = np.concatenate([np.eye(4), -np.eye(4)])  # covariance = identity / 4
    saved = reference.whiten_forward(x).saved
    np.testing.assert_allclose(saved[1], 0.25 + 1e-5)
    assert_gradients(
        lambda x: reference.whiten_forward(x).y,
        lambda dy, x: [reference.whiten_backward(dy, saved)],
        (x,),
        rng,
    )


@pytest.mark.parametrize("inverted", [True, False])
@pytest.mark.parametrize(
    ("shape", "shared_axes"), [((3, 5), ()), ((2, 3, 4, 5), (2, 3)), ((4, 2, 3), (1, -1))]
)
def test_dropout_masks_values_and_gradients(rng, inverted, shape, shared_axes):
    decided = [
        1 if axis in shared_axes or axis - len(shape) in shared_axes else n for axis, n in enumerate(shape)
    ]
    keep = rng.random(decided) > 0.3
    mask = np.packbits(keep, bitorder="little")
    options = {"p": 0.3, "inverted": inverted, "shared_axes": shared_axes}
    x = rng.standard_normal(shape)
    y = reference.dropout(x, mask, **options)
    np.testing.assert_allclose(y, x * keep / (0.7 if inverted else 1))
    assert_gradients(
        lambda x: reference.dropout(x, mask, **options),
        lambda dy, x: [reference.dropout_backward(dy, mask, **options)],
        (x,),
        rng,
    )
    everywhere_nan = reference.dropout(
        np.full(shape, np.nan), np.zeros_like(mask), 1.0, shared_axes=shared_axes
    )
    np.testing.assert_array_equal(everywhere_nan, 0)


def test_alpha_dropout_keeps_mean_and_variance(rng):
    """Over both outcomes, weighted by their probabilities."""
    p = 0.2
    x = np.array([-1.0, 1.0])
    outcomes = [reference.alpha_dropout(x, np.packbits([k, k], bitorder="little"), p) for k in (False, True)]
    chances = np.repeat([p, 1 - p], 2) / 2
    np.testing.assert_allclose(chances @ np.ravel(outcomes), 0, atol=1e-15)
    np.testing.assert_allclose(chances @ np.ravel(outcomes) ** 2, 1)
    mask = np.packbits(rng.random(12) > p, bitorder="little")
    assert_gradients(
        lambda x: reference.alpha_dropout(x, mask, p),
        lambda dy, x: [reference.alpha_dropout_backward(dy, mask, p)],
        (rng.standard_normal((3, 4)),),
        rng,
    )


def test_gaussian_dropout_and_add_dropout_agree_with_results_by_hand(rng):
    noise, x, residual = rng.standard_normal((3, 3, 4))
    assert_gradients(
        lambda x: reference.gaussian_dropout(x, noise),
        lambda dy, x: [reference.gaussian_dropout_backward(dy, noise)],
        (x,),
        rng,
    )
    mask = np.array([0b1111_0000, 0b1010], np.uint8)
    bias = np.arange(4.0)
    expected = residual + 2 * (x + bias) * np.array([[0] * 4, [1] * 4, [0, 1, 0, 1]])
    np.testing.assert_allclose(reference.add_dropout(x, bias, residual, mask, 0.5), expected)


@pytest.mark.parametrize(
    ("options", "expected_w", "expected_v"),
    [  # w = 2, g = 1, v = 4, lr = 0.5, by hand
        ({}, 1.5, 1.0),
        ({"weight_decay": 0.5}, 1.0, 2.0),
        ({"l1": 0.5}, 1.25, 1.5),
        ({"momentum": 0.5}, 0.5, 3.0),
        ({"momentum": 0.5, "dampening": 0.5}, 0.75, 2.5),
        ({"momentum": 0.5, "dampening": 0.5, "first_step": True}, 1.5, 1.0),
        ({"momentum": 0.5, "nesterov": True}, 0.75, 3.0),
        ({"momentum": 0.5, "weight_decay": 0.5, "decoupled": True}, 0.0, 3.0),
        ({"l1": 1.0, "decoupled": True}, 1.0, 1.0),
        ({"l1": 1.0, "proximal": True}, 1.0, 1.0),
        ({"l1": 4.0, "proximal": True}, 0.0, 1.0),
        ({"maximize": True, "grad_scale": 2.0}, 3.0, -2.0),
    ],
)
def test_sgd_update_agrees_with_results_by_hand(options, expected_w, expected_v):
    w, g, v = np.array([2.0]), np.array([1.0]), np.array([4.0])
    reference.sgd_update([w], [g], [v], lr=0.5, **options)
    assert (w.item(), v.item()) == (expected_w, expected_v)


@pytest.mark.parametrize(
    ("options", "expected_w", "expected_m", "expected_v"),
    [
        ({}, 1.5, 4.0, 16.0),
        ({"eps": 4.0}, 1.75, 4.0, 16.0),
        ({"betas": (0.0, 0.5), "step": 1}, 1.5, 4.0, 8.0),
        ({"betas": (0.5, 0.0), "step": 2, "exp_avg": 2.0}, 1.5, 3.0, 16.0),
        ({"weight_decay": 0.5, "l1": 0.25}, 0.875, 4.0, 16.0),
        ({"weight_decay": 2.0, "l1": 1.0, "decoupled": False}, 1.5, 9.0, 81.0),
        ({"l1": 1.0, "proximal": True}, 1.0, 4.0, 16.0),
        ({"l1": 4.0, "proximal": True}, 0.0, 4.0, 16.0),
        ({"maximize": True, "grad_scale": 2.0}, 2.5, -8.0, 64.0),
        ({"largest": 64.0}, 1.75, 4.0, 16.0),
        ({"largest": 4.0}, 1.5, 4.0, 16.0),
    ],
)
def test_adam_update_agrees_with_results_by_hand(options, expected_w, expected_m, expected_v):
    options = {"betas": (0.0, 0.0), "eps": 0.0, "step": 1} | options
    largest = options.pop("largest", None)
    w, g, m, v = np.array([2.0]), np.array([4.0]), np.array([options.pop("exp_avg", 0.0)]), np.array([0.0])
    u = None if largest is None else [np.array([largest])]
    reference.adam_update([w], [g], [m], [v], lr=0.5, max_exp_avg_sqs=u, **options)
    assert (w.item(), m.item(), v.item()) == (expected_w, expected_m, expected_v)
    if u:
        assert u[0] == max(largest, expected_v)


def test_penalty_max_norm_and_clipping_agree_with_results_by_hand(rng):
    w = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    np.testing.assert_allclose(reference.max_norm(w, 1.0, axis=1), [[0.6, 0.8], [0.3, 0.4], [0, 0]])
    assert reference.penalty([w[0], w[1]], l1=2, l2=4) == pytest.approx(2 * 7.7 + 2 * 25.25)
    grads = [np.array([3.0]), np.array([[4.0]])]
    assert reference.clip_grad_norm(grads, 2.5) == 5
    assert (grads[0].item(), grads[1].item()) == (1.5, 2.0)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"class_weight": np.arange(1.0, 6)}])
@pytest.mark.parametrize("kind", ["ids", "ignored", "probabilities"])
def test_softmax_cross_entropy_has_the_right_gradients(rng, reduction, options, kind):
    logits = rng.standard_normal((4, 5))
    labels = rng.dirichlet(np.ones(5), 4) if kind == "probabilities" else np.array([4, 0, 2, 2])
    options = {**options, "reduction": reduction, "ignore_index": 0 if kind == "ignored" else None}
    assert_gradients(
        lambda z: reference.softmax_cross_entropy(z, labels, **options)[0],
        lambda dloss, z: [dloss * reference.softmax_cross_entropy(z, labels, **options)[1]],
        (logits,),
        rng,
    )


def test_softmax_cross_entropy_agrees_with_results_by_hand():
    logits = np.log([[0.5, 0.25, 0.25], [0.2, 0.6, 0.2]])
    loss, _ = reference.softmax_cross_entropy(
        logits, np.array([0, 1]), class_weight=[1, 3, 1], label_smoothing=0.3
    )
    smooth = 0.1 * -(np.log([0.5, 0.25, 0.25]) + np.log([0.2, 0.6, 0.2])) @ [1, 3, 1]
    assert loss == pytest.approx((0.7 * -(np.log(0.5) + 3 * np.log(0.6)) + smooth) / 4)
    at_the_extreme, gradient = reference.softmax_cross_entropy([[1e4, -1e4]], np.array([1]))
    assert at_the_extreme == 2e4
    np.testing.assert_array_equal(gradient, [[1, -1]])


def test_regression_and_activations_have_the_right_gradients(rng):
    x = rng.standard_normal((3, 4))
    target = rng.standard_normal((3, 4))
    assert_gradients(
        lambda x: reference.mse(x, target)[0], lambda dy, x: [dy * reference.mse(x, target)[1]], (x,), rng
    )
    for delta in (0.3, 10.0):
        assert_gradients(
            lambda x, d=delta: reference.huber(x, target, delta=d)[0],
            lambda dy, x, d=delta: [dy * reference.huber(x, target, delta=d)[1]],
            (x,),
            rng,
        )
    weight = rng.uniform(0, 2, 3)
    for loss in (
        partial(reference.mae, target=target, sample_weight=weight),
        partial(reference.binary_cross_entropy, labels=target > 0, label_smoothing=0.1, pos_weight=3),
    ):
        assert_gradients(lambda x, f=loss: f(x)[0], lambda dy, x, f=loss: [dy * f(x)[1]], (x,), rng)
    for function, backward in (
        (reference.silu, reference.silu_backward),
        (reference.gelu, reference.gelu_backward),
        (partial(reference.gelu, approximate=True), partial(reference.gelu_backward, approximate=True)),
    ):
        assert_gradients(function, lambda dy, x, b=backward: [b(dy, x)], (x,), rng)
    for name in ("relu", "sigmoid", "tanh", "softmax", "log_softmax"):  # gradients of y alone
        forward, backward = getattr(reference, name), getattr(reference, f"{name}_backward")
        assert_gradients(forward, lambda dy, x, f=forward, b=backward: [b(dy, f(x))], (x,), rng)
    assert_gradients(reference.leaky_relu, lambda dy, x: [reference.leaky_relu_backward(dy, x)], (x,), rng)
    np.testing.assert_array_equal(reference.sigmoid([-1e4, 0, 1e4]), [0, 0.5, 1])


@pytest.mark.parametrize("count_include_pad", [True, False])
def test_pooling_has_the_right_gradients(rng, count_include_pad):
    """Random maxima differ, so max pooling has a gradient."""
    x = rng.standard_normal((2, 5, 4, 2))
    window, output = ((3, 2), (1, 1), (2, 1)), (3, 5)
    assert_gradients(
        lambda x: reference.avg_pool(x, *window, output, count_include_pad),
        lambda dy, x: [reference.avg_pool_backward(dy, x.shape[1:3], *window, count_include_pad)],
        [x],
        rng,
    )
    assert_gradients(
        lambda x: reference.max_pool(x, *window, output),
        lambda dy, x: [reference.max_pool_backward(dy, x, *window)],
        [x],
        rng,
    )
