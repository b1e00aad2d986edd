"""The estimators beside scikit-learn's nets on scikit-learn's own data sets: five folds, repeated.

    python bench/estimators_folds.py

Each fit chooses its regularization by cross-validation within the training folds: `alpha` of one grid for
both, and for trimtab also dropout and batch norm or none. A row has the scores (accuracy or R²), and the
difference with the p-value of the corrected resampled t-test (Nadeau and Bengio 2003), whose variance counts
the overlap of training sets.
"""

import argparse
import warnings
from typing import Any

import numpy as np
import sklearn.neural_network
import trimtab.estimators
from scipy import stats
from sklearn import datasets
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, RepeatedKFold, RepeatedStratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDS = 5
ALPHAS = [1e-4, 1e-2, 1.0]
GRIDS: dict[Any, dict[str, list[Any]]] = {
    sklearn.neural_network: {"alpha": ALPHAS},
    trimtab.estimators: {"alpha": ALPHAS, "dropout": [0.0, 0.3], "normalization": [None, "batch"]},
}
CLASSIFICATION = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}
REGRESSION = {"diabetes": datasets.load_diabetes, "linnerud": datasets.load_linnerud}


def tuned(module: Any, kind: str, epochs: int) -> Any:
    """Return an estimator that scales the features, and the targets of a regression, and tunes itself."""
    net = getattr(module, kind)(max_iter=epochs, learning_rate_init=0.003, batch_size=64, random_state=0)
    pipeline = make_pipeline(StandardScaler(), net)
    prefix = f"{kind.lower()}__"
    if kind == "MLPRegressor":
        pipeline = TransformedTargetRegressor(pipeline, transformer=StandardScaler())
        prefix = f"regressor__{prefix}"
    grid = {prefix + name: values for name, values in GRIDS[module].items()}
    return GridSearchCV(pipeline, grid, cv=3)


def corrected_p_value(differences: np.ndarray) -> float:
    """Return the p-value of the corrected resampled t-test of a mean of 0."""
    variance = differences.var(ddof=1) * (1 / len(differences) + 1 / (FOLDS - 1))
    if variance == 0:
        return 1.0 if differences.mean() == 0 else 0.0
    return float(2 * stats.t.sf(abs(differences.mean()) / np.sqrt(variance), len(differences) - 1))


def main() -> None:
    """Print a row for each data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=1, help="folds at a time")
    options = parser.parse_args()
    print("data           scikit-learn   trimtab  difference  p-value")
    for kind, sets, splitter in (
        ("MLPClassifier", CLASSIFICATION, RepeatedStratifiedKFold),
        ("MLPRegressor", REGRESSION, RepeatedKFold),
    ):
        for name, load in sets.items():
            x, y = load(return_X_y=True)
            folds = splitter(n_splits=FOLDS, n_repeats=options.repeats, random_state=0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                warnings.filterwarnings("ignore", "Got `batch_size`", UserWarning)  # the smallest set
                theirs, ours = (
                    cross_val_score(tuned(module, kind, options.epochs), x, y, cv=folds, n_jobs=options.jobs)
                    for module in GRIDS
                )
            gain = ours - theirs
            print(
                f"{name:13}  {theirs.mean():12.4f}  {ours.mean():8.4f}  {gain.mean():+10.4f}"
                f"  {corrected_p_value(gain):7.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
