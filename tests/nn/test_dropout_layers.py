"""Dropout layers: results, generators, and theory of dropout."""

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import Trainer, datasets, losses, nn, optim, set_num_threads
from trimtab.gradients import gradcheck

f64 = np.float64
LAYERS = {
    "inverted": nn.Dropout,
    "classical": lambda p: nn.Dropout(p, classical=True),
    "shared": lambda p: nn.Dropout(p, shared_axes=1),
    "path": nn.DropPath,
    "alpha": nn.AlphaDropout,
    "Gaussian": nn.GaussianDropout,
}
MULTIPLIES = [name for name in LAYERS if name != "alpha"]  # alpha dropout adds, too


@pytest.fixture(params=LAYERS)
def make(request):
    return LAYERS[request.param]


# ---- results ----


@pytest.mark.parametrize("classical", [False, True])
@pytest.mark.parametrize("shared_axes", [(), 1, (0, -1)])
def test_dropout_equals_the_specification(classical, shared_axes, rng):
    layer = nn.Dropout(0.3, classical=classical, shared_axes=shared_axes).use_rng(5)
    seed = int(np.random.default_rng(5).bit_generator.random_raw())
    options = {"inverted": not classical, "shared_axes": shared_axes}
    x, dy = rng.standard_normal((2, 4, 6, 5))
    expected = reference.dropout_forward(x, 0.3, rng=seed, **options)
    assert_allclose(layer(x), expected.y, rtol=1e-15)
    expected = reference.dropout_backward(dy, expected.mask, 0.3, **options)
    assert_allclose(layer.backward(dy), expected, rtol=1e-15)


def test_path_alpha_and_gaussian_equal_the_specification(rng):
    seed = int(np.random.default_rng(5).bit_generator.random_raw())
    x, dy = rng.standard_normal((2, 8, 6))
    for layer, name in ((nn.DropPath(0.3), "drop_path"), (nn.AlphaDropout(0.3), "alpha_dropout")):
        expected = getattr(reference, f"{name}_forward")(x, 0.3, rng=seed)
        assert_allclose(layer.use_rng(5)(x), expected.y, rtol=1e-14)
        expected = getattr(reference, f"{name}_backward")(dy, expected.mask, 0.3)
        assert_allclose(layer.backward(dy), expected, rtol=1e-14)
    layer = nn.GaussianDropout(0.3).use_rng(5)
    expected = reference.gaussian_dropout_forward(x, 0.3, rng=seed)
    assert_allclose(layer(x), expected.y, rtol=1e-5, atol=1e-6)
    assert_allclose(layer.backward(dy), dy * expected.noise, rtol=1e-5, atol=1e-6)


def test_gradients_agree_with_central_differences(make, rng):
    """With the decisions of one seed."""
    layer = make(0.4)
    x = rng.standard_normal((5, 3))

    def backward(dy, x):
        layer.use_rng(1)(x)
        return layer.backward(dy)

    assert gradcheck(lambda x: layer.use_rng(1)(x), backward, x)


@pytest.mark.parametrize("name", MULTIPLIES)
def test_evaluation_is_the_expectation_of_training(name, rng):
    layer = LAYERS[name](0.4).use_rng(1)
    x, dy = rng.standard_normal((2, 3, 4))
    samples = np.mean([layer(x) for _ in range(4000)], axis=0)
    layer.eval()
    with nn.recording(layer):
        y = layer(x)
    assert_allclose(samples, y, atol=5 * np.abs(x).max() / 4000**0.5)
    assert_allclose(layer.backward(dy), dy * (y / x), rtol=1e-14)


def test_alpha_dropout_does_nothing_in_evaluation(rng):
    x = rng.standard_normal((3, 4))
    assert_array_equal(nn.AlphaDropout(0.4).eval()(x), x)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, f64])
def test_results_have_the_dtype_of_the_input(make, dtype):
    x = np.ones((4, 6), dtype)
    for layer in (make(0.4), make(0.4).eval()):
        with nn.recording(layer):
            assert layer(x).dtype == layer.backward(x).dtype == dtype


@pytest.mark.parametrize("p", [-0.1, 1.1, np.nan])
def test_a_wrong_probability_is_refused(make, p):
    with pytest.raises(ValueError, match=r"^\w+: p must be .*, got"):
        make(p)


def test_a_probability_of_1_drops_everything():
    assert not nn.Dropout(1.0)(np.ones((3, 4))).any()
    assert not nn.DropPath(1.0)(np.ones((3, 4))).any()
    for make in (nn.AlphaDropout, nn.GaussianDropout):
        with pytest.raises(ValueError, match=r"p must be finite, >= 0 and < 1, got 1\.0"):
            make(1.0)


# ---- generators ----


def test_layers_share_one_generator():
    model = nn.Sequential(nn.Dropout(), nn.Dropout()).use_rng(3)
    x = np.ones((4, 64))
    first = [layer(x) for layer in model]
    model.use_rng(3)
    assert_array_equal(first, [layer(x) for layer in model])
    assert not np.array_equal(*first)


def test_layers_without_a_generator_draw_different_masks():
    layer, x = nn.Dropout(), np.ones((4, 64))
    assert not np.array_equal(layer(x), layer(x))


def test_evaluation_can_sample_nets(rng):
    model = nn.Sequential(nn.Linear(8, 64, rng=0), nn.BatchNorm(64), nn.Dropout()).use_rng(3)
    x = rng.standard_normal((5, 8), np.float32)
    model.eval(dropout=True)
    assert [module.training for _, module in model.modules()] == [False, False, False, True]
    assert not np.array_equal(model(x), model(x))
    model.eval()
    assert_array_equal(model(x), model(x))


# ---- theory ----


def net_with_dropout(classical, chances):
    """Hidden layers with dropout each; weights after a dropout have the scale of its form."""
    layers = [nn.Linear(6, 8, rng=0, dtype=f64)]
    for seed, p in enumerate(chances, start=1):
        linear = nn.Linear(8, 8, rng=seed, dtype=f64)
        linear.weight.value *= 1 if classical else 1 - p
        layers += [nn.ReLU(), nn.Dropout(p, classical=classical), linear]
    return nn.Sequential(*layers)


def descent(model, classical, chances, lr, decay, limit):
    """SGD with the rate, decay and limit that belong to the scale of the weights."""
    linear = [layer for layer in model if isinstance(layer, nn.Linear)]
    groups = [{"parameters": [layer.bias for layer in linear]}]
    for layer, p in zip(linear, (0, *chances), strict=True):
        scale = 1 if classical else 1 - p
        options = {"lr": scale**2 * lr, "weight_decay": decay / scale**2, "max_norm": scale * limit}
        groups.append({"parameters": [layer.weight], **options})
    return optim.SGD(groups, lr=lr, momentum=0.9)


def test_classical_and_inverted_training_are_equivalent(rng):
    """W' = (1 - p) W with rate (1 - p)^2 lr, decay c / (1 - p)^2 and limit (1 - p) r: 100 steps to 1e-12."""
    chances, limit = (0.2, 0.5), 0.6
    x, labels = rng.standard_normal((64, 6)), rng.integers(0, 8, 64)
    forms = {classical: net_with_dropout(classical, chances).use_rng(7) for classical in (True, False)}
    optimizers = {
        classical: descent(net, classical, chances, lr=0.05, decay=0.01, limit=limit)
        for classical, net in forms.items()
    }
    start, loss = forms[True].state_dict(), losses.CrossEntropy()
    for step in range(100):
        batch = slice(step % 4 * 16, step % 4 * 16 + 16)
        for classical, net in forms.items():
            net.backward(loss(net(x[batch]), labels[batch])[1])
            optimizers[classical].step()
        for position, p in ((0, 0), (3, chances[0]), (6, chances[1])):
            one, other = (forms[classical][position] for classical in (True, False))
            assert_allclose(other.weight.value / (1 - p), one.weight.value, rtol=0, atol=1e-12)
            assert_allclose(other.bias.value, one.bias.value, rtol=0, atol=1e-12)
    for name, weight in forms[True].state_dict().items():
        assert np.abs(weight - start[name]).max() > 0.1
    lengths = np.linalg.norm(forms[True][3].weight.value, axis=1)
    assert_allclose(lengths.max(), limit, rtol=1e-9)  # the limit is reached
    assert_allclose(forms[False].eval()(x), forms[True].eval()(x), rtol=0, atol=1e-12)


def test_linear_regression_with_dropout_is_ridge_regression(rng):
    """With strength p / (1 - p) and weights scaled by the length of their input."""
    p, copies = 0.4, 500
    x = rng.standard_normal((12, 3)) * [1.0, 2.0, 0.7]
    y = x @ [[1.0], [-2.0], [3.0]] + rng.standard_normal((12, 1))
    squares = (x**2).sum(axis=0)
    ridge = np.linalg.solve(x.T @ x + p / (1 - p) * np.diag(squares), x.T @ y).T

    model = nn.Sequential(nn.Dropout(p), nn.Linear(3, 1, bias=False, rng=0, dtype=f64)).use_rng(3)
    many_x, many_y = np.tile(x, (copies, 1)), np.tile(y, (copies, 1))
    optimizer, loss = optim.SGD(model, lr=0.1), losses.MSE()
    found = []
    for _ in range(600):
        model.backward(loss(model(many_x), many_y)[1])
        optimizer.step()
        found.append(model[1].weight.value.copy())
    assert_allclose(np.mean(found[200:], axis=0), ridge, atol=0.01)
    plain = np.linalg.lstsq(x, y)[0].T
    assert np.abs(plain - ridge).max() > 0.3


@pytest.fixture(scope="module")
def digits():
    return datasets.load_digits()


def test_the_average_of_sampled_nets_approaches_the_scaled_net(digits):
    """The average of fifty agrees on the class."""
    model = nn.Sequential(nn.Linear(64, 128, rng=0), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10, rng=1))
    trainer = Trainer(model, losses.CrossEntropy(), optim.SGD(model, lr=0.1, momentum=0.9), rng=0)
    trainer.fit(digits.x_train, digits.y_train, epochs=8, progress=False)
    scaled = model.eval()(digits.x_test)
    model.eval(dropout=True)
    sampled = np.array([model(digits.x_test) for _ in range(50)], f64)
    averages = {count: sampled[:count].mean(axis=0) for count in (1, 5, 50)}
    distances = [np.sqrt(np.mean((average - scaled) ** 2)) for average in averages.values()]
    # independent noise: the distance falls as 1 / sqrt(nets)
    assert_allclose(distances, distances[-1] * np.sqrt(50 / np.array([1, 5, 50])), rtol=0.2)
    agreement = np.mean(averages[50].argmax(axis=1) == scaled.argmax(axis=1))
    assert agreement > 0.98


def test_one_seed_reproduces_a_run_with_any_number_of_threads(digits):
    def run(threads):
        set_num_threads(threads)
        model = nn.Sequential(
            nn.Dropout(0.1),
            nn.Linear(64, 512, rng=0),
            nn.BatchNorm(512),
            nn.ReLU(),
            nn.Dropout(0.5, classical=True),
            nn.Residual(nn.Linear(512, 512, rng=1), nn.Tanh(), nn.DropPath(0.2)),
            nn.GaussianDropout(0.2),
            nn.AlphaDropout(0.1),
            nn.Linear(512, 10, rng=2),
        )
        optimizer = optim.SGD(model, lr=0.02, momentum=0.9, weight_decay=1e-3, max_norm=3)
        trainer = Trainer(model, losses.CrossEntropy(0.1), optimizer, rng=11)
        history = trainer.fit(
            digits.x_train[:256], digits.y_train[:256], epochs=2, batch_size=128, progress=False
        )
        return model.state_dict(), history

    state, history = run(1)
    for threads in (2, 4):
        other, other_history = run(threads)
        assert other_history == history
        for name, array in state.items():
            assert_array_equal(other[name], array, err_msg=name)
