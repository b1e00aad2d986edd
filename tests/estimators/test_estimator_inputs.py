"""Wrong parameters and data: scikit-learn's own errors where it has them."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from trimtab.callbacks import Callback, EarlyStopping
from trimtab.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 3)), np.arange(40) % 3


def classifier(**options):
    return MLPClassifier(**{"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0, **options})


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("solver", "lbfgs"),
        ("solver", None),
        ("normalization", "instance"),
        ("activation", "gelu"),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("dropout", np.nan),
        ("input_dropout", 1),
        ("hidden_layer_sizes", "100"),
        ("hidden_layer_sizes", 0),
        ("max_iter", 0),
        ("batch_size", 0),
        ("alpha", -1),
        ("l1", -1),
        ("decoupled_weight_decay", -0.1),
        ("max_norm", 0),
        ("max_grad_norm", 0.0),
        ("learning_rate_init", 0.0),
        ("learning_rate", "cosine"),
        ("validation_fraction", 1.0),
        ("n_iter_no_change", 0),
        ("momentum", 1.1),
        ("beta_1", 1.0),
        ("epsilon", 0.0),
        ("callbacks", 3),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(estimator, name, value):
    with pytest.raises(ValueError, match=rf"The '{name}' parameter of {estimator.__name__} must be .* Got"):
        estimator(**{name: value}).fit(X, Y)


@pytest.mark.parametrize(("name", "value"), [("label_smoothing", 1.0), ("class_weight", "even")])
def test_parameters_of_the_classifier_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of MLPClassifier must be"):
        classifier(**{name: value}).fit(X, Y)


@pytest.mark.parametrize("sizes", [(3, 0), [-1]])
def test_hidden_layers_have_units(sizes):
    with pytest.raises(ValueError, match=r"hidden_layer_sizes must be > 0, got \["):
        classifier(hidden_layer_sizes=sizes).fit(X, Y)


@pytest.mark.parametrize("sizes", [("3",), (2.5,), (True,)])
def test_numbers_of_units_are_integers(sizes):
    with pytest.raises(TypeError, match="hidden_layer_sizes must be integers, got "):
        classifier(hidden_layer_sizes=sizes).fit(X, Y)


def test_decoupled_weight_decay_is_a_strength():
    with pytest.raises(ValueError, match="decoupled_weight_decay must be a number, got True"):
        classifier(decoupled_weight_decay=True).fit(X, Y)


def test_callbacks_are_callbacks():
    with pytest.raises(TypeError, match="MLPClassifier: callbacks must be a sequence of Callback, got"):
        classifier(callbacks=["print"]).fit(X, Y)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_are_finite(value):
    wrong = X.copy()
    wrong[3, 1] = value
    with pytest.raises(ValueError, match="Input X contains"):
        classifier().fit(wrong, Y)
    with pytest.raises(ValueError, match="Input X contains"):
        classifier().fit(X, Y).predict(wrong)


def test_classes_are_two_at_least():
    with pytest.raises(ValueError, match="The number of classes has to be greater than one; got 1 class"):
        classifier().fit(X, np.zeros(40))
    with pytest.raises(ValueError, match="The number of classes has to be greater than one; got 1 class"):
        classifier().partial_fit(X, np.zeros(40), classes=[0])


@pytest.mark.parametrize("y", [X[:, 0], X])
def test_targets_of_a_classifier_are_classes(y):
    with pytest.raises(ValueError, match="Unknown label type"):
        classifier().fit(X, y)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.full(40, -1.0), "Negative values in data passed to `sample_weight`"),
        (np.full(40, np.nan), "Input sample_weight contains NaN"),
        (np.ones(39), r"sample_weight.shape == \(39,\), expected \(40,\)"),
        (np.zeros(40), "Sample weights must contain at least one non-zero number"),
    ],
)
def test_sample_weights_are_weights(weight, message):
    with pytest.raises(ValueError, match=message):
        classifier().fit(X, Y, weight)


@pytest.mark.parametrize(
    ("dtype", "options", "weight", "least"),
    [
        ("f4", {}, 1e-320, "1.2e-38"),
        ("f4", {}, 2e-40, "1.2e-38"),
        ("f8", {}, 1e-320, "2.2e-308"),
        ("f8", {"alpha": 1e5}, 1e-305, "5.6e-304"),
        ("f8", {"l1": 1e5}, 1e-305, "5.6e-304"),
    ],
)
@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
def test_the_sum_of_sample_weights_is_one_to_divide_by(dtype, options, weight, least, fit):
    """With float32, alpha over the sum was infinite, or the weights were taken as 0."""
    net = classifier(**options)
    classes = {"classes": [0, 1, 2]} if fit == "partial_fit" else {}
    message = (
        rf"^The sum of class_weight and sample_weight .* finite and at least {least}, got {40 * weight:g}$"
    )
    with pytest.raises(ValueError, match=message):
        getattr(net, fit)(X.astype(dtype), Y, sample_weight=np.full(40, weight), **classes)
    assert not hasattr(net, "network_")


def test_batches_of_next_to_no_weight_are_left_out():
    weight = np.where(np.arange(40) < 20, 1e-320, 1.0)
    made = [
        classifier(batch_size=20, shuffle=False, max_iter=3).fit(X, Y, sample_weight=each)
        for each in (weight, np.round(weight))
    ]
    np.testing.assert_array_equal(made[0].coefs_[0], made[1].coefs_[0])


def regressor(**options):
    return MLPRegressor(**{"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0, **options})


def test_the_loss_of_a_regressor_is_checked():
    with pytest.raises(ValueError, match=r"The 'loss' parameter of MLPRegressor must be .* Got 'huber'"):
        regressor(loss="huber").fit(X, Y)
    net = regressor(loss="poisson", warm_start=True)
    for fit in net.fit, net.partial_fit:
        with pytest.raises(ValueError, match=r"^loss='poisson' requires y >= 0, got -0.5$"):
            fit(X, Y - 0.5)
    assert not hasattr(net, "network_")
    net.fit(X, Y)
    before = net.coefs_[0].copy()
    for fit in net.set_params(loss="squared_error").fit, net.partial_fit:
        with pytest.raises(
            ValueError, match=r"continue with out_activation_='exp', got a loss .* 'identity'"
        ):
            fit(X, Y)
    np.testing.assert_array_equal(net.coefs_[0], before)
    assert net.predict(X).min() > 0


@pytest.mark.filterwarnings("ignore:overflow")
def test_scores_of_early_stopping_are_nan_where_predictions_are_not_finite():
    net = regressor(loss="poisson", early_stopping=True, max_iter=1)

    class Explodes(Callback):
        def on_batch_end(self, trainer, batch, logs):
            trainer.model[-1].bias.value[...] = 1e4

    net.set_params(callbacks=[Explodes()]).fit(X, Y)
    assert np.isnan(net.validation_scores_).all()
    assert np.isfinite(net.predict(X)).all()  # of the net before


@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
def test_class_weights_are_of_the_classes(fit):
    classes = {"classes": [0, 1, 2]} if fit == "partial_fit" else {}
    with pytest.raises(ValueError, match=r"The classes, \[7\], are not in y, but in class_weight"):
        getattr(classifier(class_weight={0: 1.0, 7: 2.0}), fit)(X, Y, **classes)
    with pytest.raises(ValueError, match=r"class_weight must be finite factors >= 0, got \{0: -1"):
        getattr(classifier(class_weight={0: -1.0, 1: 1.0, 2: 1.0}), fit)(X, Y, **classes)


def test_balanced_class_weights_need_all_samples():
    with pytest.raises(ValueError, match="class_weight 'balanced' is not supported for partial_fit"):
        classifier(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])


def test_validation_needs_samples():
    with pytest.raises(ValueError, match=r"The validation set is too small\. Increase 'validation_fraction'"):
        classifier(early_stopping=True, validation_fraction=0.01).fit(X, Y)
    with pytest.raises(ValueError, match="should be greater or equal to the number of classes"):
        classifier(early_stopping=True, validation_fraction=0.01).fit(X, Y > 0)


def test_partial_fit_has_no_early_stopping():
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        classifier(early_stopping=True).partial_fit(X, Y, classes=[0, 1, 2])


def test_first_partial_fit_needs_the_classes_and_later_ones_keep_them():
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        classifier().partial_fit(X, Y)
    fitted = classifier().partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"`y` has classes not in `self\.classes_`"):
        fitted.partial_fit(X, Y + 1)


def test_warm_start_keeps_classes_and_layers():
    fitted = classifier(warm_start=True).fit(X, Y)
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same classes"):
        fitted.fit(X, Y > 0)
    with pytest.raises(ValueError, match=r"continue with layers of \[3, 4, 3\] units, got \[3, 5, 3\]"):
        fitted.set_params(hidden_layer_sizes=(5,)).fit(X, Y)


def test_batch_norm_needs_two_samples():
    with pytest.raises(ValueError, match="normalization='batch' needs at least two samples, got 1"):
        classifier(normalization="batch").partial_fit(X[:1], Y[:1], classes=[0, 1, 2])


def test_batch_size_beyond_the_samples_is_clipped_with_a_warning():
    with pytest.warns(UserWarning, match=r"larger than sample size\. It is going to be clipped$"):
        classifier(batch_size=100).fit(X, Y)


def test_divergence_is_an_error():
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="Solver produced non-finite parameter"):
        MLPRegressor(solver="sgd", learning_rate_init=1e200, max_iter=5).fit(X * 1e100, Y)


@pytest.mark.parametrize(
    ("before", "options", "message"),
    [
        ({}, {"activation": "tanh"}, "activation='relu', got 'tanh'"),
        ({}, {"normalization": "rms"}, "normalization=None, got 'rms'"),
        ({}, {"dropout": 0.5}, "dropout=0.0, got 0.5"),
        ({"input_dropout": 0.1}, {"input_dropout": 0.0}, "input_dropout=0.1, got 0.0"),
    ],
)
def test_a_fit_that_continues_keeps_the_layers(before, options, message):
    fitted = classifier(warm_start=True, **before).fit(X, Y).set_params(**options)
    with pytest.raises(ValueError, match=message):
        fitted.fit(X, Y)
    with pytest.raises(ValueError, match=message):
        fitted.partial_fit(X, Y)


LABELS = np.stack([Y == 0, Y == 1, Y == 2], axis=1).astype(int)


@pytest.mark.parametrize(("first", "then"), [(Y, LABELS), (LABELS, Y)])
def test_a_fit_that_continues_keeps_the_kind_of_targets(first, then):
    with pytest.raises(ValueError, match="`y` of the same kind"):
        classifier(warm_start=True).fit(X, first).fit(X, then)
    with pytest.raises(ValueError, match="`y` of the same kind"):
        classifier().fit(X, first).partial_fit(X, then)


def test_partial_fit_takes_samples_of_some_classes_with_warm_start_too():
    fitted = classifier(warm_start=True).partial_fit(X, Y, classes=[0, 1, 2])
    expected = classifier().partial_fit(X, Y, classes=[0, 1, 2]).partial_fit(X[:2], Y[:2]).coefs_[0]
    np.testing.assert_array_equal(fitted.partial_fit(X[:2], Y[:2]).coefs_[0], expected)


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
def test_early_stopping_may_change_before_a_fit_that_continues(estimator):
    fitted = estimator(hidden_layer_sizes=4, max_iter=2, random_state=0, warm_start=True).fit(X, Y)
    fitted.set_params(early_stopping=True).fit(X, Y)
    assert len(fitted.validation_scores_) == 2
    assert fitted.best_validation_score_ == max(fitted.validation_scores_)
    assert fitted.best_loss_ is None
    fitted.set_params(early_stopping=False).partial_fit(X, Y)
    assert fitted.best_loss_ == fitted.loss_curve_[-1]
    assert fitted.validation_scores_ is None
    assert len(fitted.loss_curve_) == 5


def test_weights_of_classes_and_samples_count_together():
    only_first = (Y == 0).astype(float)
    for fit in [classifier(class_weight={0: 0.0, 1: 0.0, 2: 0.0}), classifier(class_weight={0: 0.0})]:
        weight = None if len(fit.class_weight) == 3 else only_first
        with pytest.raises(ValueError, match="class_weight and sample_weight must not be 0 for all samples"):
            fit.fit(X, Y, sample_weight=weight)
    with pytest.raises(ValueError, match=r"sum of class_weight and sample_weight .* must be finite .* inf$"):
        classifier().fit(X, Y, sample_weight=np.full(len(X), 1e308))
    many = np.full(len(X), 1e300)  # beyond float32
    fitted = [classifier(alpha=0).fit(X.astype("f4"), Y, sample_weight=each) for each in (many, many / many)]
    np.testing.assert_allclose(fitted[0].coefs_[0], fitted[1].coefs_[0], rtol=1e-5)
    part = classifier(class_weight={0: 0.0}).fit(X, Y)  # a part of a stream may have no weight
    before = part.coefs_[0].copy()
    np.testing.assert_array_equal(part.partial_fit(X[Y == 0], Y[Y == 0]).coefs_[0], before)


@pytest.mark.parametrize(("fraction", "lacks"), [(0.1, "validation"), (0.9, "training")])
def test_both_sides_of_early_stopping_have_weight(fraction, lacks):
    weight = np.zeros(len(X))
    weight[0] = 1
    net = MLPRegressor(early_stopping=True, validation_fraction=fraction, random_state=0)
    with pytest.raises(ValueError, match=f"needs {lacks} samples whose weight is not 0"):
        net.fit(X, Y, sample_weight=weight)


def test_batch_norm_needs_batches_of_two_samples():
    with pytest.raises(ValueError, match="normalization='batch' needs a batch_size of at least 2, got 1"):
        classifier(normalization="batch", batch_size=1).fit(X, Y)
    with pytest.raises(ValueError, match="normalization='batch' needs at least two samples, got 1"):
        MLPRegressor(normalization="batch", early_stopping=True, validation_fraction=0.6).fit(X[:3], Y[:3])


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
def test_data_that_are_refused_change_nothing(estimator):
    made = estimator(hidden_layer_sizes=4, max_iter=2, random_state=0)
    with pytest.raises(ValueError, match="Negative"):
        made.fit(X, Y, sample_weight=-np.ones(len(X)))
    assert vars(made).keys() == made.get_params().keys()
    expected = made.fit(X, Y).predict(X)
    with pytest.raises(ValueError, match="Negative"):
        made.fit(X[:, :2], Y % 2, sample_weight=-np.ones(len(X)))
    np.testing.assert_array_equal(made.predict(X), expected)


def test_first_partial_fit_may_be_tried_again():
    made = classifier()
    with pytest.raises(ValueError, match="Negative"):
        made.partial_fit(X, Y, sample_weight=-np.ones(len(X)), classes=[0, 1, 2, 3])
    assert made.partial_fit(X, Y, classes=[0, 1, 2]).classes_.tolist() == [0, 1, 2]


class Interrupt(Callback):
    """Stands for Ctrl-C in the first batch."""

    def on_batch_begin(self, trainer, batch):
        raise KeyboardInterrupt


def test_interrupt_in_the_first_epoch_leaves_an_empty_curve():
    with pytest.warns(UserWarning, match="interrupted by user"):
        fitted = classifier(callbacks=[Interrupt()]).fit(X, Y)
    assert fitted.loss_curve_ == []
    assert fitted.n_iter_ == 0


def test_callbacks_are_checked_before_anything_changes():
    fitted = classifier().fit(X, Y)
    expected = fitted.predict_proba(X)
    fitted.set_params(callbacks=[EarlyStopping("val_loss")])
    with pytest.raises(ValueError, match="monitor must be one of loss, learning_rate, got 'val_loss'"):
        fitted.fit(X, Y % 2)
    np.testing.assert_array_equal(fitted.predict_proba(X), expected)


def test_layers_that_are_too_large_are_refused():
    with pytest.raises(ValueError, match=r"outputs must be at most 2147483647, got 1000000000000"):
        classifier(hidden_layer_sizes=10**12).fit(X, Y)
