"""What scikit-learn's nets lack: each option by its effect."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy.special import expit, log_softmax
from sklearn.datasets import load_digits
from trimtab import callbacks, nn
from trimtab.estimators import MLPClassifier, MLPRegressor
from trimtab.estimators.objectives import Logistic

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = (array[:300] for array in load_digits(return_X_y=True))
X = X / 16
WEIGHT = np.random.default_rng(0).uniform(0.1, 3, 300)


def classifier(**options):
    return MLPClassifier(**{"hidden_layer_sizes": (32,), "max_iter": 5, "random_state": 0, **options})


def one_step(y=Y, weight=None, **options):
    """Return the weights before and after a step of size 1 on all samples, and the estimator."""
    options = {"solver": "sgd", "momentum": 0.0, "alpha": 0.0, "learning_rate_init": 1.0, **options}
    fitted = classifier(hidden_layer_sizes=(), batch_size=300, max_iter=1, **options).fit(X, y, weight)
    return beginning(y).coefs_[0], fitted.coefs_[0], fitted


def beginning(y=Y):
    """Return an estimator with the initial weights."""
    return classifier(hidden_layer_sizes=(), solver="sgd", learning_rate_init=1e-300, max_iter=1).fit(X, y)


def layers(fitted):
    return [type(layer) for layer in fitted.network_.layers]


@pytest.mark.parametrize(
    ("normalization", "layer"),
    [("batch", nn.BatchNorm), ("layer", nn.LayerNorm), ("rms", nn.RMSNorm), ("group", nn.GroupNorm)],
)
def test_normalization_stands_before_the_activation(normalization, layer):
    fitted = classifier(normalization=normalization, hidden_layer_sizes=(32, 24), dropout=0.1)
    fitted.set_params(learning_rate_init=0.02).fit(X, Y)
    hidden = [nn.Linear, layer, nn.ReLU, nn.Dropout]
    assert layers(fitted) == [*hidden, *hidden, nn.Linear]
    assert np.abs(fitted.network_.layers[1].gamma.value - 1).max() > 0  # it is trained
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0] / 2


@pytest.mark.parametrize(("width", "groups"), [(8, 1), (32, 2), (100, 5), (512, 32), (97, 1)])
def test_groups_have_16_units_or_more(width, groups):
    fitted = classifier(normalization="group", hidden_layer_sizes=(width,), max_iter=1).fit(X, Y)
    assert fitted.network_.layers[1].num_groups == groups


@pytest.mark.parametrize(("option", "place"), [("dropout", 2), ("input_dropout", 0)])
def test_dropout_is_drawn_from_the_random_state(option, place):
    fitted = classifier(**{option: 0.3}).fit(X, Y)
    assert layers(fitted).index(nn.Dropout) == place
    assert fitted.network_.layers[place].p == 0.3
    again, other = classifier(**{option: 0.3}).fit(X, Y), classifier(**{option: 0.4}).fit(X, Y)
    assert np.array_equal(again.coefs_[0], fitted.coefs_[0])
    assert not np.array_equal(other.coefs_[0], fitted.coefs_[0])
    assert np.array_equal(fitted.predict_proba(X), fitted.predict_proba(X))  # nothing is dropped


def test_a_sample_left_over_joins_the_batch_before_it():
    fitted = classifier(normalization="batch", batch_size=13).fit(X[:40], Y[:40])
    assert fitted.t_ == 5 * 40


def test_l1_is_a_penalty_by_the_size_of_the_batch():
    start, plain, _ = one_step()
    _, pulled, fitted = one_step(l1=6.0)
    np.testing.assert_allclose(plain - pulled, 6 / 300 * np.sign(start), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(fitted.loss_ - one_step()[2].loss_, 6 / 300 * np.abs(start).sum())


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_decoupled_decay_is_taken_besides_the_step(solver):
    start, plain, _ = one_step(solver=solver, learning_rate_init=0.5)
    _, decayed, _ = one_step(solver=solver, learning_rate_init=0.5, decoupled_weight_decay=0.2)
    np.testing.assert_allclose(plain - decayed, 0.1 * start, rtol=1e-9, atol=1e-12)
    _, penalized, _ = one_step(solver=solver, learning_rate_init=0.5, alpha=30.0, l1=3.0)
    _, both, _ = one_step(
        solver=solver, learning_rate_init=0.5, alpha=30.0, l1=3.0, decoupled_weight_decay=0.2
    )
    np.testing.assert_allclose(penalized - both, 0.1 * start, rtol=1e-9, atol=1e-12)


def test_max_norm_bounds_the_weights_into_each_unit():
    free = classifier(learning_rate_init=0.05).fit(X, Y)
    bounded = classifier(learning_rate_init=0.05, max_norm=0.7).fit(X, Y)
    for coefs, large in zip(bounded.coefs_, free.coefs_, strict=True):
        assert np.linalg.norm(large, axis=0).max() > 1
        np.testing.assert_allclose(np.linalg.norm(coefs, axis=0).max(), 0.7)


def test_max_grad_norm_bounds_the_step():
    start, _, _ = one_step()
    _, after, fitted = one_step(max_grad_norm=1e-3)
    shift = fitted.intercepts_[0] - beginning().intercepts_[0]
    step = np.hypot(np.linalg.norm(after - start), np.linalg.norm(shift))
    np.testing.assert_allclose(step, 1e-3)


def test_label_smoothing_is_that_of_szegedy():
    start, _, fitted = one_step(label_smoothing=0.1)
    logs = log_softmax(X @ start + beginning().intercepts_[0], axis=1)
    np.testing.assert_allclose(fitted.loss_, -np.mean(0.9 * logs[range(300), Y] + 0.1 * logs.mean(axis=1)))
    start, _, fitted = one_step(Y > 4, label_smoothing=0.1)
    first = classifier(hidden_layer_sizes=(), solver="sgd", learning_rate_init=1e-300, max_iter=1).fit(
        X, Y > 4
    )
    p = expit(X @ start + first.intercepts_[0])[:, 0]
    target = np.where(Y > 4, 0.95, 0.05)
    np.testing.assert_allclose(fitted.loss_, -np.mean(target * np.log(p) + (1 - target) * np.log(1 - p)))


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("labels", [Y, (Y > 6).astype(int)])
def test_class_weights_multiply_sample_weights(labels, weight):
    classes, counts = np.unique(labels, return_counts=True)
    balanced = 300 / len(classes) / counts[labels]
    expected = one_step(labels, balanced if weight is None else balanced * weight)[1]
    np.testing.assert_allclose(one_step(labels, weight, class_weight="balanced")[1], expected, rtol=1e-9)
    chosen = {label: 1.0 + label for label in classes}
    expected = one_step(labels, (1.0 + labels) * (1.0 if weight is None else weight))[1]
    np.testing.assert_allclose(one_step(labels, weight, class_weight=chosen)[1], expected, rtol=1e-9)


def test_batches_without_weight_change_nothing():
    weight = np.zeros(300)
    weight[:10] = 1
    fitted = classifier(batch_size=100, shuffle=False, solver="sgd", momentum=0.0).fit(X, Y, weight)
    alone = classifier(batch_size=100, shuffle=False, solver="sgd", momentum=0.0).fit(
        X[:100], Y[:100], weight[:100]
    )
    assert fitted.score(X, Y) >= 0
    np.testing.assert_allclose(fitted.loss_curve_[0] * 3, alone.loss_curve_[0], rtol=1e-9)


def test_history_has_loss_rate_and_score():
    fitted = classifier(early_stopping=True, solver="sgd", learning_rate="invscaling").fit(X, Y)
    assert fitted.history_["loss"] == fitted.loss_curve_
    assert fitted.history_["validation_score"] == fitted.validation_scores_
    expected = [0.001, *(0.001 / (270 * epoch + 1) ** 0.5 for epoch in range(1, 5))]
    np.testing.assert_allclose(fitted.history_["learning_rate"], expected)


def test_plot_has_the_loss_and_the_scores():
    pytest.importorskip("matplotlib").use("agg")
    fitted = classifier(early_stopping=True).fit(X, Y)
    axes = fitted.plot_loss_curve()
    assert list(axes.lines[0].get_ydata()) == fitted.loss_curve_
    assert list(axes.figure.axes[1].lines[0].get_ydata()) == fitted.validation_scores_
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "training loss",
        "validation score",
    ]
    alone = classifier().fit(X, Y).plot_loss_curve(axes)
    assert alone is axes
    later = classifier(warm_start=True).fit(X, Y).set_params(early_stopping=True).fit(X, Y)
    curve, scores = later.plot_loss_curve().figure.axes
    epochs = len(curve.lines[0].get_xdata())
    assert list(scores.lines[0].get_xdata()) == [
        *range(epochs + 1 - len(later.validation_scores_), epochs + 1)
    ]


class Recorder(callbacks.Callback):
    def __init__(self):
        self.seen = []

    def on_fit_begin(self, trainer, epochs, batches):
        self.seen.append(("fit", epochs, batches))

    def on_epoch_begin(self, trainer, epoch):
        self.seen.append(("begin", epoch))

    def on_batch_end(self, trainer, batch, logs):
        self.seen.append(("batch", batch, logs["loss"]))

    def on_epoch_end(self, trainer, epoch, logs):
        self.seen.append(("end", epoch, logs["loss"], trainer.history["loss"][-1], trainer.optimizer.lr))
        if epoch == 2:
            trainer.stop()

    def on_fit_end(self, trainer):
        self.seen.append("over")


def test_callbacks_see_the_fit_and_may_end_it():
    fitted = classifier(callbacks=[Recorder()], batch_size=150).fit(X, Y)
    seen = fitted.callbacks[0].seen
    assert [entry[0] for entry in seen] == [*("fit", *2 * ("begin", "batch", "batch", "end")), "o"]
    assert seen[0] == ("fit", 5, 2)
    assert [entry[1:] for entry in seen if entry[0] == "end"] == [
        (epoch, loss, loss, 0.001) for epoch, loss in enumerate(fitted.loss_curve_, start=1)
    ]
    np.testing.assert_allclose((seen[2][2] + seen[3][2]) / 2, fitted.loss_curve_[0])


def test_early_stopping_of_our_own_restores_the_best_weights():
    stopping = callbacks.EarlyStopping("loss", patience=0, min_delta=10.0, restore_best_weights=True)
    fitted = classifier(callbacks=[stopping], max_iter=20).fit(X, Y)
    once = classifier(max_iter=1).fit(X, Y)
    assert fitted.n_iter_ == 2
    assert np.array_equal(fitted.coefs_[0], once.coefs_[0])


def test_rates_are_logged_and_lowered_by_callbacks(tmp_path):
    own = [callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=100.0)]
    own += [callbacks.LearningRateLogger(), callbacks.CSVLogger(tmp_path / "log.csv")]
    fitted = classifier(callbacks=own, max_iter=4).fit(X, Y)
    assert fitted.history_["learning_rate"] == [0.001, 0.001, 0.0005, 0.00025]
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert rows[0] == "epoch,loss,learning_rate,lr"
    assert len(rows) == 5


def test_a_rate_that_falls_by_itself_is_not_lowered_by_callbacks():
    """The formula of "invscaling" would undo what the callback did."""
    lower = callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=100.0)
    net = classifier(callbacks=[lower], learning_rate="invscaling", max_iter=3)
    net.fit(X, Y)  # Adam has a constant rate
    assert net.history_["learning_rate"] == [0.001, 0.001, 0.0005]
    with pytest.raises(ValueError, match="numbers as learning rates, got the schedule invscaling"):
        net.set_params(solver="sgd").fit(X, Y)
    adaptive = net.set_params(learning_rate="adaptive", solver="sgd").fit(X, Y)
    assert adaptive.history_["learning_rate"] == [0.001, 0.001, 0.0005]


def test_an_average_leaves_the_weights_that_were_restored_before():
    """As in a trainer: the first callback that gives the model other weights wins."""
    stopping = callbacks.EarlyStopping("loss", mode="max", patience=9, restore_best_weights=True)
    average = callbacks.WeightAverage(0.5)
    first = {}

    class Keep(callbacks.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            if epoch == 1:
                first.update(trainer.validated_state())

    fitted = classifier(callbacks=[Keep(), stopping, average], max_iter=3).fit(X, Y)
    assert stopping.best_epoch == 1
    for name, array in fitted.network_.state_dict().items():
        np.testing.assert_array_equal(array, first[name])
    fitted = classifier(callbacks=[average], max_iter=3).fit(X, Y)
    np.testing.assert_array_equal(fitted.coefs_[0], average.average["0.weight"].T)


def test_callbacks_are_told_the_largest_number_of_epochs():
    seen = []

    class Look(callbacks.Callback):
        def check_fit(self, trainer, metric_names, epochs, batches):
            seen.append((epochs, batches))

        def on_fit_begin(self, trainer, epochs, batches):
            seen.append((epochs, batches))

    net = classifier(callbacks=[Look()], max_iter=3, batch_size=100).fit(X, Y)
    net.partial_fit(X[:200], Y[:200])
    assert seen == [(3, 3), (3, 3), (1, 2), (1, 2)]


def test_checkpoints_are_refused(tmp_path):
    pytest.importorskip("safetensors")
    with pytest.raises(TypeError, match="an estimator is saved by pickle or joblib"):
        classifier(callbacks=[callbacks.Checkpoint(tmp_path / "c.safetensors")]).fit(X, Y)


def test_callbacks_of_scikit_learn_see_the_epochs_and_may_end_them():
    pytest.importorskip("sklearn.callback")

    class Scores:
        seen = ()

        def setup(self, estimator, context):
            self.seen = [context.max_subtasks]

        def teardown(self, estimator, context):
            self.seen.append("over")

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
            if context.task_name == "epoch":
                self.seen.append((context.task_id, fitted_estimator.score(X, y), metadata["sample_weight"]))
            return context.task_id == 1

    scores = Scores()
    fitted = classifier().set_callbacks(scores).fit(X, Y)
    assert fitted.n_iter_ == 2
    first = classifier(max_iter=1).fit(X, Y).score(X, Y)
    assert scores.seen == [5, (0, first, None), (1, fitted.score(X, Y), None), "over"]


def test_monte_carlo_dropout_by_the_net():
    x = np.linspace(-1, 1, 50)[:, None]
    fitted = MLPRegressor((64,), dropout=0.2, max_iter=20, random_state=0).fit(x, x[:, 0])
    fitted.network_.eval(dropout=True).use_rng(0)
    draws = np.stack([fitted.network_(x)[:, 0] for _ in range(20)])
    assert draws.std(axis=0).min() > 0


def test_logarithms_of_probabilities_near_1_keep_their_digits():
    """``log p = -log(1 + exp(-z))``, which is ``-exp(-z)`` for a large z."""
    outputs = np.array([[40.0], [700.0], [-40.0]])
    found = Logistic(0.0).log_predictions(np.hstack([outputs, -outputs]))
    small = np.exp([-40.0, -700.0])
    np.testing.assert_allclose(found[:2, 0], -small, rtol=1e-15)
    np.testing.assert_allclose(found[:, 1], [-40.0, -700.0, -small[0]], rtol=1e-15)
