"""Effects of decay on training: trajectories, solutions, and those of PyTorch."""

import numpy as np
import pytest
import trimtab as tt


def regression(rng, samples=60, features=8):
    """Inputs, targets, and the gradient of the mean squared error at w."""
    x = rng.standard_normal((samples, features))
    y = x @ rng.standard_normal(features)
    return x, y, lambda w: 2 / samples * (x.T @ (x @ w - y))


def descend(w, gradient, steps, **options):
    w, v = w.copy(), np.zeros_like(w)
    for step in range(steps):
        tt.sgd_update(w, gradient(w), v, first_step=step == 0, **options)
    return w


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}])
def test_decay_in_the_loss_is_decay_in_the_update(rng, options):
    _, _, gradient = regression(rng)
    start = rng.standard_normal(8)
    in_loss = descend(start, lambda w: gradient(w) + 0.1 * w + 0.01 * np.sign(w), 200, lr=0.05, **options)
    in_update = descend(start, gradient, 200, lr=0.05, weight_decay=0.1, l1=0.01, **options)
    np.testing.assert_allclose(in_update, in_loss, rtol=0, atol=1e-12)


def test_decoupled_decay_differs_by_the_momentum_of_the_decay(rng):
    """Two steps: the coupled form moves on by lr * momentum * decay * w in the second."""
    start, constant = rng.standard_normal((2, 8))
    options = {"lr": 0.25, "momentum": 0.5, "weight_decay": 0.125}
    coupled = descend(start, lambda _: constant, 2, **options)
    decoupled = descend(start, lambda _: constant, 2, decoupled=True, **options)
    np.testing.assert_allclose(decoupled - coupled, 0.25 * 0.5 * 0.125 * start, rtol=1e-12)
    assert np.array_equal(
        descend(start, lambda _: constant, 1, **options),
        descend(start, lambda _: constant, 1, decoupled=True, **options),
    )


def test_exact_zeros_come_from_the_soft_threshold_alone(rng):
    """Exactly the weights that the step without L1 leaves within lr * l1 of zero."""
    w, g = rng.standard_normal((2, 10_000))
    options = {"lr": 0.5, "l1": 1.0}
    by_sub_gradient, by_threshold = w.copy(), w.copy()
    tt.sgd_update(by_sub_gradient, g, **options)
    tt.sgd_update(by_threshold, g, proximal=True, **options)
    assert np.count_nonzero(by_sub_gradient) == 10_000
    np.testing.assert_array_equal(by_threshold == 0, np.abs(w - 0.5 * g) <= 0.5)
    assert 2000 < np.count_nonzero(by_threshold == 0) < 8000


@pytest.mark.parametrize("proximal", [False, True])
def test_l1_selects_features(rng, proximal):
    """Two of ten features matter: the soft threshold finds them, the subgradient leaves no zeros."""
    x = rng.standard_normal((200, 10))
    y = 3 * x[:, 2] - 2 * x[:, 7]
    w = descend(np.ones(10), lambda w: x.T @ (x @ w - y) / 200, 2000, lr=0.05, l1=0.2, proximal=proximal)
    assert set(np.flatnonzero(w)) == ({2, 7} if proximal else set(range(10)))
    np.testing.assert_allclose(w[[2, 7]], [2.8, -1.8], atol=0.1)
    assert np.abs(np.delete(w, [2, 7])).max() < 0.02


def test_l2_shrinks_weights_of_small_features(rng):
    """A feature of size a ends at w = a^2 t / (a^2 + c): near t for large a, near 0 for small a."""
    sizes, targets, decay = np.array([3.0, 0.1]), np.array([2.0, 2.0]), 0.1
    w = descend(np.zeros(2), lambda w: sizes**2 * (w - targets), 4000, lr=0.05, weight_decay=decay)
    np.testing.assert_allclose(w, sizes**2 * targets / (sizes**2 + decay), rtol=1e-9)
    assert w[0] > 1.95
    assert w[1] < 0.2


@pytest.mark.parametrize(("decoupled", "weight"), [(False, 1.0), (True, 0.5)])
def test_decay_outside_the_momentum_weighs_less(decoupled, weight):
    """It ends at w = t / (1 + c), where c counts (1 - momentum) times outside the momentum."""
    options = {"lr": 0.05, "momentum": 0.5, "weight_decay": 0.5, "decoupled": decoupled}
    w = descend(np.zeros(1), lambda w: w - 2.0, 2000, **options)
    np.testing.assert_allclose(w, 2.0 / (1 + weight * 0.5), rtol=1e-12)


def test_decay_outside_adam_is_not_divided(rng):
    """In the gradient, Adam divides decay like the rest; outside, it counts in full."""
    torch = pytest.importorskip("torch")
    _, _, gradient = regression(rng)
    start, lr, decay = rng.standard_normal(8), 0.05, 0.5
    w, mean, square = start.copy(), np.zeros(8), np.zeros(8)
    decoupled, coupled = (torch.nn.Parameter(torch.tensor(start)) for _ in range(2))
    optimizers = {
        decoupled: torch.optim.AdamW([decoupled], lr=lr, weight_decay=decay),
        coupled: torch.optim.Adam([coupled], lr=lr, weight_decay=decay),
    }
    for step in range(1, 101):
        for theirs, optimizer in optimizers.items():
            theirs.grad = torch.tensor(gradient(theirs.detach().numpy()))
            optimizer.step()
        g = gradient(w)
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g**2
        direction = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        tt.sgd_update(w, direction, lr=lr, weight_decay=decay, decoupled=True)
    np.testing.assert_allclose(w, decoupled.detach().numpy(), rtol=1e-12)
    assert np.abs(w - coupled.detach().numpy()).max() > 0.1


TORCH_OPTIONS = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.5},
    {"momentum": 0.9, "nesterov": True},
    {"weight_decay": 0.01},
    {"momentum": 0.9, "weight_decay": 0.01},
    {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.01},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"momentum": 0.9, "weight_decay": 0.01, "maximize": True},
]


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("options", TORCH_OPTIONS, ids=str)
def test_trajectories_agree_with_torch(rng, options, fused):
    """Every weight within an ulp a step of its largest term so far, in float64."""
    torch = pytest.importorskip("torch")
    start, gradients = rng.standard_normal(1000), rng.standard_normal((50, 1000))
    theirs = torch.nn.Parameter(torch.tensor(start))
    optimizer = torch.optim.SGD([theirs], lr=0.1, fused=fused, **options)
    w, v = start.copy(), np.full(1000, np.nan)
    buffers = v if options.get("momentum") else None
    largest = np.abs(start)
    for step, g in enumerate(gradients):
        theirs.grad = torch.tensor(g)
        optimizer.step()
        tt.sgd_update(w, g, buffers, lr=0.1, first_step=step == 0, **options)
        largest = np.maximum.reduce([largest, np.abs(w), 0.1 * np.abs(g), 0.1 * np.abs(np.nan_to_num(v))])
        difference = np.abs(w - theirs.detach().numpy())
        assert np.all(difference <= (step + 1) * np.spacing(largest))
