"""A regression with bands of uncertainty: dropout at prediction (Gal and Ghahramani 2016).

    python examples/sklearn_monte_carlo.py

Each forward pass draws another net; mean and spread of many are the curve and the band. Where there are no
samples, the nets disagree. Writes sklearn_monte_carlo.png.
"""

import copy
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from trimtab.estimators import MLPRegressor


def draws(net: MLPRegressor, x: np.ndarray, count: int) -> np.ndarray:
    """Return the predictions of nets that are drawn by dropout, a row for each."""
    model = copy.deepcopy(net.network_).eval(dropout=True).use_rng(0)
    return np.stack([model(x)[:, 0] for _ in range(count)])


def main(epochs: int = 1500, count: int = 200) -> tuple[float, float]:
    """Return the mean spread among the samples and in the gap between them."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-4, -1, 100), rng.uniform(2, 4, 100)])[:, None]
    y = np.sin(x[:, 0]) + 0.1 * rng.standard_normal(len(x))
    net = MLPRegressor((128, 128), dropout=0.1, max_iter=epochs, n_iter_no_change=epochs, random_state=0)
    net.fit(x, y)

    grid = np.linspace(-6, 6, 300)[:, None]
    drawn = draws(net, grid, count)
    mean, spread = drawn.mean(axis=0), drawn.std(axis=0)
    known = ((grid > -4) & (grid < -1) | (grid > 2) & (grid < 4))[:, 0]
    print(f"spread among the samples {spread[known].mean():.2f}, elsewhere {spread[~known].mean():.2f}")

    figure, axes = plt.subplots(layout="constrained")
    axes.fill_between(grid[:, 0], mean - 2 * spread, mean + 2 * spread, alpha=0.3, label="2 spreads")
    axes.plot(grid[:, 0], mean, label="mean")
    axes.plot(grid[:, 0], np.sin(grid[:, 0]), "k--", label="truth")
    axes.plot(x[:, 0], y, "k.", markersize=3, label="samples")
    axes.set(xlabel="x", ylabel="y", ylim=(-4, 4))
    axes.legend()
    figure.savefig("sklearn_monte_carlo.png")
    plt.close(figure)
    return spread[known].mean(), spread[~known].mean()


if __name__ == "__main__":
    main()
