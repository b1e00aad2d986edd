"""The examples, in short forms, and the examples in docstrings."""

import doctest
import importlib.util
import pkgutil
from pathlib import Path

import numpy as np
import pytest
import trimtab
from trimtab.datasets import Dataset, load_digits

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCREEN = 70  # lines
MODULES = [module.name for module in pkgutil.walk_packages(trimtab.__path__, "trimtab.")]


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pictures():
    """Digits enlarged from 8 x 8 to the 28 x 28 pixels of MNIST; the first 600 and 200."""
    pytest.importorskip("sklearn")
    digits = load_digits()

    def enlarged(x):
        return np.pad(x.reshape(-1, 8, 8).repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))

    (x_train, y_train), (x_test, y_test) = (
        (enlarged(x[:count]), y[:count]) for x, y, count in ((*digits[:2], 600), (*digits[2:], 200))
    )
    return Dataset(x_train, y_train, x_test, y_test)


@pytest.fixture(autouse=True)
def in_temporary_folder(tmp_path, monkeypatch):
    """Run in a temporary folder, where examples write their files."""
    monkeypatch.chdir(tmp_path)


def test_mlp_on_digits_runs(capsys):
    pytest.importorskip("sklearn")
    assert load("mlp_on_digits").main(epochs=5) > 0.9
    assert "test accuracy" in capsys.readouterr().out


def test_early_stopping_runs():
    pytest.importorskip("sklearn")
    without, stopped = load("early_stopping").main(epochs=50)
    assert stopped > without


def test_dropout_max_norm_runs(pictures):
    example = load("dropout_max_norm")
    assert example.main(pictures, epochs=8, hidden=128) < 0.2


def test_batch_norm_or_none_runs(pictures):
    curves = load("batch_norm_or_none").main(pictures, steps=200)
    assert [len(curve) for curve in curves.values()] == [50, 50]
    (_, with_norm), (_, without) = (curve[-1] for curve in curves.values())
    assert with_norm > without + 0.2


def test_fashion_convnet_runs(pictures):
    assert load("fashion_convnet").main(pictures, epochs=10, widths=(4, 8, 8)) > 0.5


def test_sklearn_one_line_runs():
    pytest.importorskip("sklearn")
    difference, plain, regularized = load("sklearn_one_line").main(epochs=10)
    assert difference < 1e-9
    assert min(plain, regularized) > 0.8


def test_sklearn_mixed_table_runs():
    pytest.importorskip("sklearn")
    plain, regularized = load("sklearn_mixed_table").main(epochs=60)
    assert regularized > plain + 0.02 > 0.3


def test_sklearn_grid_search_runs():
    pytest.importorskip("sklearn")
    scores = load("sklearn_grid_search").main(dropout=(0.0, 0.95), decay=(0.0, 0.01, 20.0), epochs=5)
    assert scores.shape == (2, 3)
    assert scores[0, 0] > scores[1, 0] + 0.1  # so much dropout hurts, and so does so much decay
    assert scores[0, 0] > scores[0, 2] + 0.1
    assert Path("sklearn_grid_search.png").stat().st_size > 10_000


def test_sklearn_monte_carlo_runs():
    pytest.importorskip("sklearn")
    known, unknown = load("sklearn_monte_carlo").main(epochs=150, count=50)
    assert 0 < known < unknown
    assert Path("sklearn_monte_carlo.png").stat().st_size > 10_000


def test_sklearn_imbalanced_runs():
    pytest.importorskip("sklearn")
    results = load("sklearn_imbalanced").main(samples=3000)
    found, cost = zip(*results.values(), strict=True)
    assert found[1] > found[0] + 0.1
    assert cost[2] < cost[0]


def test_sklearn_mnist_runs(pictures):
    assert load("sklearn_mnist").main(pictures, epochs=10, hidden=(64,)) > 0.8


def test_mnist_mpi_runs(pictures):
    pytest.importorskip("mpi4py")
    assert load("mnist_mpi").main(pictures, epochs=10, hidden=64) > 0.8


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_fits_on_a_screen_and_has_a_test(path):
    assert len(path.read_text().splitlines()) <= SCREEN
    assert f"test_{path.stem}_runs" in globals()


def needs_no_other_library(module):
    return not module.endswith("__main__") and ".peers." not in module


@pytest.mark.parametrize("name", list(filter(needs_no_other_library, MODULES)))
def test_examples_in_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
