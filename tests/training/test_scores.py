"""Metrics of all samples at once: equal to scikit-learn's, whatever the batch size."""

import pickle

import numpy as np
import pytest
from trimtab import callbacks, losses, metrics, nn, optim
from trimtab.trainer import Trainer

sklearn_metrics = pytest.importorskip("sklearn.metrics")


@pytest.fixture
def classified(rng):
    return rng.standard_normal((57, 4)), rng.integers(0, 4, 57)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("shape", [(57,), (57, 1)])
def test_f1_of_classes_is_that_of_the_largest_logits(classified, average, shape):
    logits, labels = classified
    expected = sklearn_metrics.f1_score(labels, logits.argmax(1), average=average)
    assert metrics.f1(average)(logits, labels.reshape(shape)) == pytest.approx(expected, rel=1e-15)


def test_f1_of_two_classes_and_of_many_labels_takes_positive_logits(rng):
    logits = rng.standard_normal((57, 3))
    labels = rng.integers(0, 2, (57, 3))
    expected = sklearn_metrics.f1_score(labels, logits > 0, average="macro")
    assert metrics.f1()(logits, labels) == pytest.approx(expected, rel=1e-15)
    expected = sklearn_metrics.f1_score(labels[:, 0], logits[:, 0] > 0)
    for column in logits[:, 0], logits[:, :1]:
        assert metrics.f1()(column, labels[:, :1]) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_roc_auc_of_classes_is_one_against_the_rest(classified, average):
    logits, labels = classified
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = sklearn_metrics.roc_auc_score(labels, probabilities, multi_class="ovr", average=average)
    assert metrics.roc_auc(average)(logits, labels) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("average", ["macro", "weighted", "micro"])
def test_roc_auc_of_labels_is_that_of_their_logits(rng, average):
    logits, labels = rng.standard_normal((57, 3)), rng.integers(0, 2, (57, 3))
    expected = sklearn_metrics.roc_auc_score(labels, logits, average=average)
    assert metrics.roc_auc(average)(logits, labels) == pytest.approx(expected, rel=1e-14)
    expected = sklearn_metrics.roc_auc_score(labels[:, 1], logits[:, 1])
    assert metrics.roc_auc(average)(logits[:, 1], labels[:, 1]) == pytest.approx(expected, rel=1e-14)


def test_roc_auc_of_one_class_is_nan(rng):
    assert np.isnan(metrics.roc_auc()(rng.standard_normal(5), np.ones(5)))
    assert np.isnan(metrics.roc_auc()(rng.standard_normal((5, 3)), [0, 1, 0, 1, 1]))


def test_ignored_samples_do_not_count(classified):
    logits, labels = classified
    marked, counted = np.where(np.arange(57) % 3 == 0, -1, labels), np.arange(57) % 3 != 0
    for score in metrics.f1, metrics.roc_auc:
        expected = score()(logits[counted], labels[counted])
        assert score(ignore_index=-1)(logits, marked) == pytest.approx(expected, rel=1e-15)


def test_r2_and_mean_absolute_error_are_those_of_scikit_learn(rng):
    outputs, targets = rng.standard_normal((2, 30, 3))
    assert metrics.r2()(outputs, targets) == pytest.approx(sklearn_metrics.r2_score(targets, outputs))
    expected = sklearn_metrics.mean_absolute_error(targets, outputs)
    found = metrics.mean_absolute_error(outputs.astype("f4"), targets)
    assert found == pytest.approx(expected, rel=1e-6)
    assert found.weight == 90
    assert metrics.r2()(outputs[:, :1], targets[:, 0]) == pytest.approx(
        sklearn_metrics.r2_score(targets[:, 0], outputs[:, 0])
    )
    assert np.isnan(metrics.mean_absolute_error([], []))


@pytest.fixture
def trainer(rng):
    model = nn.Sequential(nn.Linear(5, 3, rng=0, dtype="float64"))
    loss = losses.CrossEntropy()
    loss.metrics |= {"f1": metrics.f1(), "auc": metrics.roc_auc()}
    return Trainer(model, loss, optim.SGD(model, lr=0.1), rng=0)


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_evaluate_computes_scores_of_all_samples(rng, trainer, batch_size):
    x, y = rng.standard_normal((40, 5)), rng.integers(0, 3, 40)
    found = trainer.evaluate(x, y, batch_size=batch_size)
    assert [*found] == ["loss", "accuracy", "f1", "auc"]
    expected = sklearn_metrics.f1_score(y, trainer.predict(x).argmax(1), average="macro")
    assert found["f1"] == pytest.approx(expected, rel=1e-12)


def test_fit_computes_scores_on_the_validation_data_alone(rng, trainer):
    x, y = rng.standard_normal((40, 5)), rng.integers(0, 3, 40)
    best = callbacks.EarlyStopping(monitor="val_auc", mode="max", patience=5)
    trainer.callbacks = (best,)
    history = trainer.fit(x, y, validation_data=(x, y), epochs=2, progress=False)
    assert [*history] == [
        *("loss", "accuracy", "val_loss", "val_accuracy", "val_f1", "val_auc"),
    ]
    assert history["val_f1"][-1] == pytest.approx(trainer.evaluate(x, y)["f1"], rel=1e-12)
    assert best.best == max(history["val_auc"])


def test_fit_without_validation_data_has_no_scores(rng, trainer):
    x, y = rng.standard_normal((40, 5)), rng.integers(0, 3, 40)
    assert [*trainer.fit(x, y, epochs=1, progress=False)] == ["loss", "accuracy"]


def test_scores_have_a_panel_in_the_plot_of_the_history(rng, trainer):
    pytest.importorskip("matplotlib").use("agg")
    x, y = rng.standard_normal((40, 5)), rng.integers(0, 3, 40)
    panels = trainer.fit(x, y, validation_data=(x, y), epochs=2, progress=False).plot()
    assert [panel.get_ylabel() for panel in panels] == ["loss", "accuracy", "f1", "auc"]
    assert [len(panel.lines) for panel in panels] == [2, 2, 1, 1]


def test_scores_are_pickled(classified):
    for score in metrics.f1("micro"), metrics.roc_auc("weighted"), metrics.r2():
        assert pickle.loads(pickle.dumps(score))(*[classified[0][:, 0]] * 2) == score(
            *[classified[0][:, 0]] * 2
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.f1("mean"), "f1: average must be 'macro', .* or 'binary', got 'mean'"),
        (
            lambda: metrics.roc_auc("binary"),
            "roc_auc: average must be 'macro', 'weighted' or 'micro', got 'binary'",
        ),
        (lambda: metrics.f1()(np.ones((3, 2)), np.ones(4)), "f1: targets must have an entry .* got \\(4,\\)"),
        (lambda: metrics.roc_auc()(np.ones((3, 2, 2)), np.ones(3)), "roc_auc: targets must have an entry"),
        (lambda: metrics.r2()(np.ones(3), np.ones(4)), "r2: targets must have shape \\(3,\\), got \\(4,\\)"),
        (
            lambda: metrics.mean_absolute_error(np.ones(3), np.ones((3, 2))),
            "mean_absolute_error: targets must have shape \\(3,\\), got \\(3, 2\\)",
        ),
    ],
)
def test_bad_arguments_of_scores_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_score_is_a_function():
    with pytest.raises(TypeError, match="Score: function must be a function, got 3"):
        metrics.Score(3)


@pytest.mark.parametrize("score", [metrics.f1(), metrics.roc_auc(), metrics.r2()])
def test_score_of_no_samples_or_of_nan_is_nan_without_a_warning(score, rng):
    outputs, targets = rng.standard_normal(6), np.array([0, 1, 0, 1, 1, 0])
    assert np.isfinite(score(outputs, targets))
    assert np.isnan(score([], []))
    outputs[2] = np.nan
    assert np.isnan(score(outputs, targets))


@pytest.mark.parametrize("score", [metrics.f1, metrics.roc_auc])
def test_score_is_nan_if_all_samples_are_ignored_or_a_class_has_nan(score, classified):
    logits, labels = classified
    assert np.isnan(score(ignore_index=-1)(logits, np.full(57, -1)))
    logits[3, 2] = np.nan
    assert np.isnan(score()(logits, labels))
    labels[3] = -1
    assert np.isfinite(score(ignore_index=-1)(logits, labels))


def test_roc_auc_takes_logits_as_large_as_they_come(classified):
    logits, labels = classified
    expected = metrics.roc_auc()(logits * 1e9, labels)
    assert metrics.roc_auc()(logits * 1e307, labels) == pytest.approx(expected, rel=1e-15)
    logits[0, 0] = -np.inf
    assert np.isfinite(metrics.roc_auc()(logits, labels))
    logits[0, 0] = np.inf
    assert np.isnan(metrics.roc_auc()(logits, labels))


def test_r2_is_nan_where_it_is_undefined():
    for outputs in [1.0], 1.0, [[1.0, 2.0]], np.zeros((3, 0)), [1.0, np.inf]:
        assert np.isnan(metrics.r2()(outputs, outputs)), outputs
    assert np.isnan(metrics.r2()([1.0, 2.0], [1.0, -np.inf]))
    assert metrics.r2()([1e300, 2.0], [1.0, 2.0]) == -np.inf


@pytest.mark.parametrize("columns, targets", [(3, [0, 1, 1]), (2, np.eye(3, 2))])
def test_f1_of_the_positive_class_is_refused_for_several(columns, targets):
    message = f"f1: average must be 'macro', .*, got 'binary' and outputs of shape \\(3, {columns}\\)"
    with pytest.raises(ValueError, match=message):
        metrics.f1("binary")(np.eye(3, columns), targets)
    assert metrics.f1("binary")(np.eye(3, 2), [0, 1, 1]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("function", [metrics.f1, metrics.roc_auc])
@pytest.mark.parametrize("average", [None, "samples", np.array(["macro", "micro"])])
def test_average_must_be_one_of_those_listed(function, average):
    with pytest.raises(ValueError, match=rf"{function.__name__}: average must be 'macro', .*, got"):
        function(average)


@pytest.mark.parametrize("ignored", [1.5, "a", True])
def test_ignored_class_must_be_an_int(ignored, classified):
    makers = {
        "f1": metrics.f1,
        "roc_auc": metrics.roc_auc,
        "top_k": lambda **options: metrics.top_k(2, **options),
        "accuracy": lambda **options: metrics.accuracy(*classified, **options),
    }
    for name, make in makers.items():
        with pytest.raises(TypeError, match=f"{name}: ignore_index must be an int, got {ignored!r}"):
            make(ignore_index=ignored)


@pytest.mark.parametrize("metric", ["val_f1", "val_auc", "val_roc_auc", "r2"])
def test_larger_scores_are_better(metric):
    assert callbacks.EarlyStopping(metric).mode == "max"
