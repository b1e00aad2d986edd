"""A table with numbers and categories, in a pipeline: a regression on the diabetes data.

    python examples/sklearn_mixed_table.py

Sex is a category and the other columns are numbers. The net stands at the end of a pipeline, and is compared
with one without regularization over 5 folds, which has learned the noise by then.
"""

import warnings

import numpy as np
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from trimtab.estimators import MLPRegressor

SEX = 1  # the column


def score(epochs: int, **options: float | str) -> np.ndarray:
    """Return R² in each of 5 folds."""
    x, y = load_diabetes(return_X_y=True, scaled=False)
    numbers = [column for column in range(x.shape[1]) if column != SEX]
    net = MLPRegressor((64,), learning_rate_init=0.01, max_iter=epochs, tol=0, random_state=0, **options)
    pipeline = make_pipeline(
        make_column_transformer((StandardScaler(), numbers), (OneHotEncoder(drop="if_binary"), [SEX])), net
    )
    model = TransformedTargetRegressor(pipeline, transformer=StandardScaler())
    return cross_val_score(model, x, y, cv=KFold(5, shuffle=True, random_state=0))


def main(epochs: int = 150) -> tuple[float, float]:
    """Return the mean R² without and with regularization."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    plain = score(epochs)
    regularized = score(epochs, dropout=0.4, input_dropout=0.1, decoupled_weight_decay=0.1)
    for name, folds in (("plain", plain), ("dropout and decay", regularized)):
        print(f"{name:17}  R² {folds.mean():.3f}  folds {folds.round(2)}")
    return plain.mean(), regularized.mean()


if __name__ == "__main__":
    main()
