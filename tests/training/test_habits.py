"""Habits from PyTorch, Keras and NumPy take effect, or the error says what to do instead."""

import copy
import pickle
import sys

import numpy as np
import pytest
from helpers.interpreter import interpret
from numpy.testing import assert_array_equal
from trimtab import Trainer, augment, callbacks, losses, nn, optim, whiten_backward, whiten_forward


@pytest.fixture
def data(rng):
    x = rng.standard_normal((60, 3), dtype=np.float32)
    return x, (x[:, 0] > 0).astype(int)


def trainer(*hooks, model=None, loss=None):
    model = model or nn.Sequential(nn.Linear(3, 4, rng=0), nn.ReLU(), nn.Linear(4, 2, rng=1))
    return Trainer(model, loss or losses.CrossEntropy(), optim.SGD(model, 0.1), hooks, rng=0)


def fit(own, x, y, **options):
    return own.fit(x, y, **{"epochs": 2, "progress": False} | options)


# Attributes that do nothing here


@pytest.mark.parametrize("name", ["requires_grad", "trainable"])
def test_attributes_that_freeze_in_other_libraries_are_refused(name):
    layer = nn.Linear(3, 2)
    for target in (layer, layer.weight):
        with pytest.raises(AttributeError, match=f"{name}.*optimizer"):
            setattr(target, name, False)


def test_a_parameter_has_no_other_attributes():
    parameter = nn.Parameter(np.ones(2))
    with pytest.raises(AttributeError, match="its array is its value"):
        parameter.data = np.zeros(2)
    assert_array_equal(parameter.value, 1)


def test_a_custom_layer_may_define_such_an_attribute():
    class Layer(nn.Module):
        trainable = True

    layer = Layer()
    layer.trainable = False
    assert layer.trainable is False


@pytest.mark.parametrize("name", ["momentum", "weight_decay", "nesterov", "max_norm", "learning_rate"])
def test_options_of_an_optimizer_cannot_be_assigned(name):
    optimizer = optim.SGD(nn.Linear(3, 2), 0.1)
    with pytest.raises(AttributeError, match=f"SGD: {name} cannot be set"):
        setattr(optimizer, name, 0.5)


def test_options_of_early_stopping_can_be_assigned():
    stop = callbacks.EarlyStopping()
    stop.min_delta, stop.patience = 5, 2
    assert stop.min_delta == 5
    assert not stop._monitor.beats(1.0, 3.0)
    with pytest.raises(ValueError, match="EarlyStopping: patience"):
        stop.patience = -1
    with pytest.raises(AttributeError):
        stop.monitor = "loss"
    with pytest.raises(TypeError, match="EarlyStopping: restore_best_weights"):
        callbacks.EarlyStopping(restore_best_weights="no")


def test_the_mode_of_a_layer_is_a_bool():
    with pytest.raises(TypeError, match="Linear: training"):
        nn.Linear(3, 2).training = "yes"


def test_renorm_cannot_be_assigned():
    with pytest.raises(AttributeError, match="BatchNorm: renorm must stay False"):
        nn.BatchNorm(3).renorm = True


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"renorm": True}, {"activation": "relu"}),
        ({"renorm": True}, {"virtual_batch_size": 2}),
        ({}, {"strided": True}),
    ],
)
def test_incompatible_options_of_batch_norm_are_refused_in_forward(options, changed, data):
    norm = nn.BatchNorm(3, **options)
    for name, value in changed.items():
        setattr(norm, name, value)
    with pytest.raises(ValueError, match=r"BatchNorm: (renorm|strided) must be False"):
        norm(data[0])


# Parameters and state


@pytest.mark.parametrize("absent", ["gamma", "beta"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.LayerNorm(4),
        lambda: nn.GroupNorm(2, 4),
        lambda: nn.BatchNorm(4),
        lambda: nn.InstanceNorm(4),
    ],
)
def test_gamma_and_beta_may_be_absent_separately(make, absent, rng):
    x, present = rng.standard_normal((5, 4, 3)), {"gamma": "beta", "beta": "gamma"}[absent]
    if "LayerNorm" in repr(make()):
        x = np.swapaxes(x, 1, 2)
    with_both, norm = make(), make()
    neutral = {"gamma": 1.0, "beta": 0.0}[absent]
    for layer in (with_both, norm):
        getattr(layer, present).value[:] = [3, 4, 5, 6]
    getattr(with_both, absent).value[:] = neutral
    setattr(norm, absent, None)
    assert_array_equal(norm(x), with_both(x))
    assert_array_equal(norm.backward(np.ones_like(x)), with_both.backward(np.ones_like(x)))
    assert_array_equal(getattr(norm, present).grad, getattr(with_both, present).grad)


def test_a_state_may_contain_the_arrays_of_the_model():
    model = nn.Sequential(nn.Linear(3, 3, rng=0), nn.Linear(3, 3, rng=1))
    first, second = (model.state_dict()[f"{layer}.weight"] for layer in (0, 1))
    state = {parameter.name: parameter.value for parameter in model.parameters()}
    state["0.weight"], state["1.weight"] = state["1.weight"], state["0.weight"]
    model.load_state_dict(state)
    assert_array_equal(model.layers[0].weight.value, second)
    assert_array_equal(model.layers[1].weight.value, first)


def test_a_state_that_cannot_be_converted_changes_nothing():
    model = nn.Linear(3, 2, rng=0)
    before = model.state_dict()
    with pytest.raises(RuntimeWarning):  # as an error
        model.load_state_dict({"weight": np.zeros((2, 3)), "bias": np.full(2, 1e300)})
    for name, array in before.items():
        assert_array_equal(model.state_dict()[name], array)


# Gradients


@pytest.mark.parametrize(
    "layer", [nn.Sigmoid(), nn.Tanh(), nn.ReLU(), nn.BatchNorm(3, activation="relu")], ids=repr
)
def test_an_output_that_backward_needs_is_read_only(layer, data):
    y = layer(data[0])
    with pytest.raises(ValueError, match="read-only"):
        y -= 1
    layer.eval()
    y = layer(data[0])
    y -= 1  # nothing was saved


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_made_in_a_hook_returns_dx(copied, data):
    class Keep(callbacks.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            self.model = copied(trainer.model)

    keep = Keep()
    fit(trainer(keep), *data)
    y = keep.model(data[0])
    assert keep.model.backward(np.ones_like(y)).shape == data[0].shape


# Labels and metrics


def test_probabilities_of_one_class_are_refused(data):
    model = nn.Linear(3, 1, rng=0)
    with pytest.raises(ValueError, match=r"fit: y: probabilities must be of two classes"):
        fit(trainer(model=model), data[0], data[1][:, None].astype(np.float32))


@pytest.mark.parametrize("row", [[5.0, -4.0], [0.0, 0.0], [1, 1]])
def test_rows_that_are_not_probabilities_are_quoted(row, data):
    targets = np.tile(np.array([0, 1], np.asarray(row).dtype), (60, 1))
    targets[7] = row
    with pytest.raises(ValueError, match=r"add up to 1, got .* at sample 7"):
        fit(trainer(), data[0], targets)


def test_metrics_get_labels_of_shape_n(data):
    loss = losses.CrossEntropy()
    loss.metrics["own"] = lambda output, target: np.mean(output.argmax(1) == target)
    own = trainer(loss=loss)
    metrics = own.evaluate(data[0], data[1][:, None])
    assert metrics["own"] == metrics["accuracy"]


@pytest.mark.parametrize(
    ("logits", "labels"), [((4, 3, 4), (4, 4)), ((4, 3), (4, 5)), ((4, 3), (4, 3, 1)), ((4, 3), (2, 2))]
)
def test_metrics_refuse_other_shapes(logits, labels):
    for metric in (losses.accuracy, losses.top_k(1)):
        with pytest.raises(ValueError, match="must have"):
            metric(np.zeros(logits), np.zeros(labels, int))


# Training


class OwnHead(nn.Module):
    def __init__(self):
        self.linear, self.last = nn.Linear(3, 2, rng=0), nn.Softmax()

    def forward(self, x):
        return self.last(self.linear(x))

    def backward(self, dy):
        return self.linear.backward(self.last.backward(dy))


@pytest.mark.parametrize(
    ("model", "loss", "layer"),
    [
        (lambda: nn.Sequential(nn.Linear(3, 2, rng=0), nn.Softmax()), losses.CrossEntropy(), "Softmax"),
        (lambda: nn.Sequential(nn.Linear(3, 2, rng=0), nn.Sigmoid()), losses.CrossEntropy(), "Sigmoid"),
        (lambda: nn.Sequential(nn.Linear(3, 1, rng=0), nn.Sigmoid()), losses.BinaryCrossEntropy(), "Sigmoid"),
        (OwnHead, losses.CrossEntropy(), "Softmax"),
    ],
)
def test_a_second_softmax_or_sigmoid_is_refused(model, loss, layer, data):
    """As in PyTorch, and unlike Keras, these losses take logits: training would be slow without a reason."""
    learner = trainer(model=model(), loss=loss)
    message = f"^fit: model must return logits for {type(loss).__name__}, .* got the output of {layer}"
    with pytest.raises(ValueError, match=message):
        fit(learner, *data)
    loss.takes_logits = False
    fit(learner, *data)


def test_softmax_and_sigmoid_go_with_other_losses_and_inside_a_model(data):
    x, y = data
    fit(trainer(model=nn.Sequential(nn.Linear(3, 1, rng=0), nn.Sigmoid()), loss=losses.MSE()), x, y)
    fit(trainer(model=nn.Sequential(nn.Linear(3, 4, rng=0), nn.Sigmoid(), nn.Linear(4, 2, rng=0))), x, y)


def test_an_augmentation_may_change_the_size_of_images(rng):
    images, labels = rng.random((40, 1, 8, 8), dtype=np.float32), rng.integers(0, 2, 40)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 2, rng=0))
    history = fit(trainer(model=model), images, labels, augment=augment.Crop(0, size=(6, 6), axis=1))
    assert history.epochs == 2


def test_a_rate_out_of_range_is_refused_before_training(data):
    own = trainer()
    fit(own, *data)
    history = copy.deepcopy(own.history)
    own.optimizer.lr = lambda step: -1.0
    with pytest.raises(ValueError, match="SGD: lr"):
        fit(own, *data)
    assert own.history == history


@pytest.mark.parametrize("function", ["load", "fit"])
def test_a_trainer_runs_one_function_at_a_time(function, data, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "one.safetensors"

    class Again(callbacks.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            trainer.load(path) if function == "load" else fit(trainer, *data)

    own = trainer()
    fit(own, *data)
    own.save(path)
    own.callbacks = [Again()]
    with pytest.raises(RuntimeError, match=f"{function}: trainer must not be in another fit"):
        fit(own, *data)
    own.callbacks = []
    own.load(path)
    assert own.history.epochs == 2


def test_targets_that_are_not_finite_are_named(data):
    model = nn.Linear(3, 1, rng=0)
    with pytest.raises(FloatingPointError, match="its targets have NaN or Inf"):
        fit(trainer(model=model, loss=losses.MSE()), data[0], np.full((60, 1), np.nan))

    class OfNames(losses.Loss):
        def __call__(self, output, target):
            return np.nan, np.zeros_like(output)

    with pytest.raises(FloatingPointError, match=r"^fit: loss must be finite, got nan .* try a lower"):
        fit(trainer(loss=OfNames()), data[0], np.full(60, "cat"))


@pytest.mark.parametrize(
    ("note", "value"),
    [
        ("rng", {"bit_generator": "PCG64"}),
        ("rng", {"bit_generator": "PCG64", "state": "x"}),
        ("history", {"loss": ["x"]}),
        ("history", {"loss": [1.0], "accuracy": []}),
        ("history", 3),
        ("position", {"batch": -3}),
        ("position", {"epoch_rng": {"bit_generator": "PCG64"}}),
    ],
)
def test_metadata_of_a_checkpoint_are_checked_before_anything_changes(note, value, data, tmp_path):
    pytest.importorskip("safetensors")
    from trimtab.training import checkpoint_file as checkpoint

    path, own = tmp_path / "one.safetensors", trainer()
    fit(own, *data)
    own.save(path)
    groups, notes = checkpoint.read(path)
    notes[note] = {**notes[note], **value} if note == "position" else value
    checkpoint.write(path, groups, notes)
    before = own.model.state_dict()
    with pytest.raises(ValueError, match=r"load: .*one.safetensors must have whole notes"):
        own.load(path)
    for name, array in own.model.state_dict().items():
        assert_array_equal(array, before[name])


@pytest.mark.parametrize(("shape", "error"), [("3", TypeError), ((-3,), ValueError), (2.5, TypeError)])
def test_the_shape_of_a_summary_is_checked(shape, error):
    with pytest.raises(error, match="summary: input_shape"):
        nn.Linear(3, 2).summary(shape)


def test_a_summary_takes_the_number_of_features():
    assert nn.Linear(3, 2).summary(3) == nn.Linear(3, 2).summary((3,))


def test_whitening_ignores_directions_without_variance():
    x = np.ones((9, 3))
    y, _, _, saved = whiten_forward(x, eps=0)
    assert_array_equal(y, 0)
    assert_array_equal(whiten_backward(np.ones((9, 3)), saved), 0)
    with pytest.raises(ValueError, match="whiten_forward: x must have more than one value"):
        whiten_forward(np.ones((9, 0)))


def test_import_in_a_subinterpreter_is_an_error():
    interpreters = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    code = f"import {interpreters} as s; i = s.create(); print(s.run_string(i, 'import trimtab'))"
    child = interpret(code, check=False)
    assert "ImportError" in child.stdout + child.stderr
