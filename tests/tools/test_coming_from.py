"""The tables of the pages about coming from other libraries: both sides of a row compute the same."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import trimtab as tt
from trimtab import callbacks, nn, optim

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
RNG = np.random.default_rng(0)
FEATURES = RNG.standard_normal((4, 8)).astype(np.float32)
IMAGES = RNG.standard_normal((2, 8, 6, 6)).astype(np.float32)
CLOSE = {"rtol": 2e-5, "atol": 2e-6}

# Keras on PyTorch
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def rows(page, section):
    """Return the rows of a table of two columns of code."""
    text = (ROOT / "docs" / "coming-from" / f"{page}.md").read_text()
    table = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", table, re.MULTILINE)
    assert found
    return found


def works(function, *inputs):
    """Return the input and output of a function for the first input that it takes."""
    for x in inputs:
        try:
            return x, function(x)
        except (RuntimeError, ValueError):
            pass
    raise AssertionError("no input fits")


def filled(shapes):
    """Return arrays for the parameters of a layer."""
    rng = np.random.default_rng(1)
    return [rng.uniform(0.5, 1.5, shape).astype(np.float32) for shape in shapes]


# ---- PyTorch ----


@pytest.mark.parametrize(("theirs", "ours"), rows("pytorch", "Layers"))
def test_layers_of_pytorch(theirs, ours):
    torch = pytest.importorskip("torch")
    layer, other = eval(ours), eval(theirs, {"nn": torch.nn})
    parameters = layer.parameters()
    for parameter, of_torch in zip(parameters, other.parameters(), strict=True):
        assert parameter.value.shape == tuple(of_torch.shape)
        [value] = filled([parameter.value.shape])
        parameter.value = value
        of_torch.data = torch.from_numpy(value.copy())
    x, expected = works(lambda x: other(torch.from_numpy(x)).detach().numpy(), IMAGES, FEATURES)
    np.testing.assert_allclose(layer(x), expected, **CLOSE)
    if isinstance(layer, nn.BatchNorm):
        np.testing.assert_allclose(layer.running_var, other.running_var.numpy(), **CLOSE)


@pytest.mark.parametrize(("theirs", "ours"), rows("pytorch", "Functions"))
def test_functions_of_pytorch(theirs, ours):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    arrays = {
        "x": FEATURES,
        "y": rng.standard_normal((4, 8)).astype(np.float32),
        "labels": np.array([1, 7, 0, 3]),
        "mean": rng.standard_normal(8).astype(np.float32),
        **{name: rng.uniform(0.5, 1.5, 8).astype(np.float32) for name in ("gamma", "beta", "var")},
    }
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    expected = eval(theirs, {"F": torch.nn.functional, **tensors})
    np.testing.assert_allclose(eval(ours, {"tt": tt, **arrays}), expected.numpy(), **CLOSE)


@pytest.mark.parametrize(("theirs", "ours"), rows("pytorch", "Optimizers"))
def test_optimizers_of_pytorch(theirs, ours):
    torch = pytest.importorskip("torch")
    model, other = nn.Linear(8, 4), torch.nn.Linear(8, 4)
    pairs = list(zip(model.parameters(), other.parameters(), strict=True))
    for parameter, of_torch in pairs:
        of_torch.data = torch.from_numpy(parameter.value.copy())
    optimizer = eval(ours, {"optim": optim, "model": model})
    of_torch = eval(theirs, {"optim": torch.optim, "p": list(other.parameters())})
    for _ in range(5):
        for parameter, tensor in pairs:
            parameter.grad = RNG.standard_normal(parameter.value.shape).astype(np.float32)
            tensor.grad = torch.from_numpy(parameter.grad.copy())
        optimizer.step()
        of_torch.step()
    for parameter, tensor in pairs:
        np.testing.assert_allclose(parameter.value, tensor.detach().numpy(), **CLOSE)


# ---- Keras ----


@pytest.fixture(scope="module")
def keras():
    """Keras 3, on PyTorch unless another backend is chosen."""
    pytest.importorskip("torch")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras", minversion="3.9")


def last(x):
    """Return images with their channels last."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


@pytest.mark.parametrize(("theirs", "ours"), rows("keras", "Layers"))
def test_layers_of_keras(theirs, ours, keras):
    layer, other = eval(ours), eval(theirs, {"layers": keras.layers})
    x = last(IMAGES) if re.search("2D|Flatten|Group", theirs) else FEATURES
    other.build(x.shape)
    trained = layer.parameters()
    for parameter, value in zip(trained, filled([one.value.shape for one in trained]), strict=True):
        parameter.value = value
    values = [one.value for one in trained]
    if "Dense" in theirs:
        values[0] = values[0].T
    if "Conv2D" in theirs:
        values[0] = values[0].transpose(2, 3, 1, 0)
    other.set_weights([*values, *other.get_weights()[len(values) :]])
    training = {"training": True} if "Batch" in theirs else {}
    expected = keras.ops.convert_to_numpy(other(x, **training))
    np.testing.assert_allclose(layer(x), expected, **CLOSE)
    if "Batch" in theirs:
        *_, mean, variance = other.get_weights()
        np.testing.assert_allclose(layer.running_mean, mean, **CLOSE)
        np.testing.assert_allclose(layer.running_var, variance, **CLOSE)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [row for row in rows("keras", "Losses, optimizers, callbacks") if row[0].startswith("losses")],
)
def test_losses_of_keras(theirs, ours, keras):
    loss, other = eval(ours, {"losses": tt.losses}), eval(theirs, {"losses": keras.losses})
    targets = {
        "Sparse": np.array([1, 7, 0, 3]),
        "Binary": (FEATURES[::-1] > 0).astype(np.float32),
        "Mean": FEATURES[::-1].copy(),
    }
    target = next(value for name, value in targets.items() if name in theirs)
    expected = float(keras.ops.convert_to_numpy(other(target, FEATURES)))
    assert loss(FEATURES, target)[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [row for row in rows("keras", "Losses, optimizers, callbacks") if row[0].startswith("optimizers")],
)
def test_optimizers_of_keras(theirs, ours, keras):
    model = nn.Linear(8, 4)
    variables = [keras.Variable(one.value.copy()) for one in model.parameters()]
    optimizer = eval(ours, {"optim": optim, "model": model})
    other = eval(theirs, {"optimizers": keras.optimizers})
    for _ in range(5):
        gradients = filled([one.value.shape for one in model.parameters()])
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        other.apply([keras.ops.convert_to_tensor(one) for one in gradients], variables)
    for parameter, variable in zip(model.parameters(), variables, strict=True):
        expected = keras.ops.convert_to_numpy(variable)
        np.testing.assert_allclose(parameter.value, expected, rtol=1e-4, atol=1e-5)


def test_callbacks_of_keras_that_are_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "coming-from" / "keras.md").read_text()
    same = re.findall(r"^\| `(callbacks[^`]+)` \| the same \|$", text, re.MULTILINE)
    assert len(same) == 3
    for code in same:
        eval(code, {"callbacks": callbacks, "path": "log.csv"})


# ---- scikit-learn ----

_, SHARED, NEW, *_ = (ROOT / "docs" / "coming-from" / "scikit-learn.md").read_text().split("\n## ")
SHARED = re.findall(r"`(\w+)`[,.]", SHARED.partition("There is no")[0])
NEW = set(re.findall(r"^\| `(\w+)`", NEW, re.MULTILINE))


@pytest.fixture(params=["MLPClassifier", "MLPRegressor"])
def parameters(request):
    """The parameters of ours and of theirs with their defaults."""
    ours = pytest.importorskip("trimtab.estimators")
    theirs = pytest.importorskip("sklearn.neural_network")
    return [getattr(one, request.param)().get_params() for one in (ours, theirs)]


def test_parameters_of_scikit_learn_have_its_defaults(parameters):
    ours, theirs = ({name: one[name] for name in SHARED} for one in parameters)
    assert len(SHARED) == 22
    assert ours == theirs


def test_the_other_parameters_are_listed(parameters):
    ours, theirs = parameters
    assert {*ours} - {*SHARED, "loss"} <= NEW
    assert not NEW & {*theirs}
    assert "class_weight" not in ours or {*ours} >= NEW


# ---- NumPy ----


@pytest.fixture
def names():
    """Arrays that rows of the page use, by name."""
    rng = np.random.default_rng(3)
    x, dy, y, w, v, g = rng.standard_normal((6, 4, 8))
    gamma, beta, running_mean, running_var = rng.uniform(0.5, 1.5, (4, 8))
    mean, rstd = x.mean(0), 1 / np.sqrt(x.var(0) + 1e-5)
    return {
        "np": np,
        "tt": tt,
        "x": x,
        "y": y,
        "dy": dy,
        "s": 1 / (1 + np.exp(-x)),
        "w": w,
        "v": v,
        "g": g,
        "gamma": gamma,
        "beta": beta,
        "running_mean": running_mean,
        "running_var": running_var,
        "mean": mean,
        "rstd": rstd,
        "xhat": (x - mean) * rstd,
        "mask": rng.random((4, 8)) < 0.7,
        "labels": np.array([1, 7, 0, 3]),
        "p": 0.3,
        "lr": 0.1,
        "c": 0.01,
    }


@pytest.mark.parametrize(("theirs", "ours"), rows("numpy", "Forward") + rows("numpy", "Backward"))
def test_lines_of_numpy(theirs, ours, names):
    np.testing.assert_allclose(eval(ours, names), eval(theirs, names), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("theirs", "ours"), rows("numpy", "Updates"))
def test_updates_of_numpy(theirs, ours, names):
    expected = eval(theirs, names)
    eval(ours, names)
    np.testing.assert_allclose(names["g" if "clip" in ours else "w"], expected, rtol=1e-12)
