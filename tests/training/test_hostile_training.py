"""Hostile arguments of the training layer: an error that names them, and nothing changes."""

import inspect
from contextlib import suppress
from copy import deepcopy

import numpy as np
import pytest
import trimtab as tt
from helpers.faults import some
from helpers.hostile_calls import check, examine, planned
from helpers.hostile_values import KINDS
from trimtab import augment, callbacks, losses, nn, optim

# Valid values of arguments without a default; the valid value of others is their default.
REQUIRED = {
    nn.AvgPool2d: {"kernel_size": 2},
    nn.BatchNorm: {"channels": 3},
    nn.Conv2d: {"inputs": 3, "outputs": 2, "kernel_size": 3, "rng": 0},
    nn.Embedding: {"num": 5, "dim": 3, "rng": 0},
    nn.GroupNorm: {"num_groups": 3, "channels": 3},
    nn.InstanceNorm: {"channels": 3},
    nn.LayerNorm: {"shape": 3},
    nn.Linear: {"inputs": 3, "outputs": 2, "rng": 0},
    nn.MaxPool2d: {"kernel_size": 2},
    nn.Parameter: {"value": np.ones(3)},
    nn.RMSNorm: {"shape": 3},
    nn.Ramp: {"begin": 1.0, "end": 3.0, "start": 5, "stop": 9},
    nn.Whitening: {"channels": 3},
    losses.top_k: {"k": 1},
    callbacks.CSVLogger: {"path": "log.csv"},
    callbacks.Checkpoint: {"path": "model.safetensors"},
    callbacks.TensorBoard: {"folder": "runs"},
    callbacks.Monitor: {"owner": "Monitor", "name": "val_loss", "mode": "auto"},
    optim.SGD: {"parameters": nn.Linear(3, 2), "lr": 0.1},
    optim.Constant: {"lr": 0.1},
    optim.Cosine: {"lr": 0.1, "steps": 10},
    optim.OneCycle: {"lr": 0.1, "steps": 10},
    optim.Adam: {"parameters": nn.Linear(3, 2)},
    optim.AdamW: {"parameters": nn.Linear(3, 2)},
    optim.Step: {"lr": 0.1, "every_steps": 2, "every": None},
    optim.Exponential: {"lr": 0.1, "every_steps": 2},
    optim.Polynomial: {"lr": 0.1, "steps": 10},
    optim.Warmup: {"steps": 2, "schedule": optim.Constant(0.1)},
    augment.CutOut: {"size": 2},
}
# Values that are valid but take long, and numbers of open files.
REASONABLE = [kind for kind in KINDS if kind not in {"2147483648", "9223372036854775808"}]
NO_FILES = [kind for kind in REASONABLE if kind not in {"0", "1", "2", "True", "False"}]
NAMED = r"[A-Za-z_][\w.]*(\(.*\))?: "  # messages begin with the class, the layer, or the kernel

pytestmark = pytest.mark.filterwarnings("ignore")


def classes():
    """All classes whose constructor takes an argument."""
    for module in nn, losses, callbacks, optim, augment:
        for name in getattr(module, "__all__", vars(module)):
            made = getattr(module, name)
            own = inspect.isclass(made) and made.__module__.startswith("trimtab") and not name.startswith("_")
            if own and not inspect.isabstract(made) and options(made):
                yield pytest.param(made, id=f"{module.__name__}.{name}")


def options(made):
    """The arguments of a constructor; those without a default come from the table."""
    parameters = inspect.signature(made).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty} | REQUIRED.get(made, {})


@pytest.mark.parametrize("made", [*classes()])
def test_hostile_arguments_of_constructors_are_refused(made):
    def call(plan):
        check(made, planned(lambda: options(made), plan), plan, rf"{made.__name__}\b")

    hostile = [name for name in options(made) if name != "owner"]  # messages begin with what it is
    examine(hostile, call, NO_FILES if "path" in options(made) else REASONABLE)


LAYERS = {
    "Linear": lambda: nn.Linear(3, 2, rng=0),
    "Conv2d": lambda: nn.Conv2d(3, 2, 3, rng=0),
    "MaxPool2d": lambda: nn.MaxPool2d(2),
    "AvgPool2d": lambda: nn.AvgPool2d(2),
    "Flatten": nn.Flatten,
    "ReLU": nn.ReLU,
    "LeakyReLU": nn.LeakyReLU,
    "Sigmoid": nn.Sigmoid,
    "Tanh": nn.Tanh,
    "BatchNorm": lambda: nn.BatchNorm(3),
    "BatchNorm, renorm": lambda: nn.BatchNorm(3, renorm=True),
    "BatchNorm, virtual": lambda: nn.BatchNorm(3, virtual_batch_size=2),
    "LayerNorm": lambda: nn.LayerNorm(3),
    "RMSNorm": lambda: nn.RMSNorm(3),
    "GroupNorm": lambda: nn.GroupNorm(3, 3),
    "InstanceNorm": lambda: nn.InstanceNorm(3),
    "Whitening": lambda: nn.Whitening(3),
    "Dropout": lambda: nn.Dropout(0.5),
    "DropPath": lambda: nn.DropPath(0.5),
    "AlphaDropout": lambda: nn.AlphaDropout(0.5),
    "GaussianDropout": lambda: nn.GaussianDropout(0.5),
    "Sequential": lambda: nn.Sequential(nn.Linear(3, 2, rng=0), nn.ReLU()),
    "Residual": lambda: nn.Residual(nn.Linear(3, 3, rng=0), nn.ReLU()),
}
ON_IMAGES = {"Conv2d", "MaxPool2d", "AvgPool2d", "GroupNorm", "InstanceNorm"}


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", LAYERS)
def test_hostile_inputs_of_layers_change_nothing(name, mode):
    layer = getattr(LAYERS[name](), mode)()
    state = {key: value.copy() for key, value in layer.state_dict().items()}

    def valid():
        layer.load_state_dict(state)
        return {"x": some(2, 3, 6, 6) if name in ON_IMAGES else some(4, 3)}

    def forward(x):
        try:
            return layer(x)
        except Exception:
            for key, value in layer.state_dict().items():
                np.testing.assert_array_equal(value, state[key])
            raise

    examine(valid(), lambda plan: check(forward, planned(valid, plan), plan, NAMED))


@pytest.mark.parametrize("made", [losses.CrossEntropy, losses.MSE, losses.Huber])
def test_hostile_inputs_of_losses_are_refused(made):
    loss, targets = made(), np.array([0, 2, 1, 0]) if made is losses.CrossEntropy else some(4, 3)

    def valid():
        return {"outputs": some(4, 3), "targets": targets.copy()}

    def call(outputs, targets):
        return [loss(outputs, targets), *(metric(outputs, targets) for metric in loss.metrics.values())]

    examine(valid(), lambda plan: check(call, planned(valid, plan), plan, NAMED))


SMALL = {augment.Crop: {"padding": 1}, augment.CutOut: {"size": 2}}


@pytest.mark.parametrize("name", sorted({*augment.__all__} - {"Compose", "Transform", "Warp", "plot"}))
def test_hostile_images_of_transforms_are_refused(name):
    made = getattr(augment, name)
    transform = made(**SMALL.get(made, {}))

    def valid():
        return {"images": some(4, 6, 6), "rng": 0}

    def call(images, rng):
        return transform(images, rng=rng)

    examine(valid(), lambda plan: check(call, planned(valid, plan), plan, NAMED))


def make_trainer():
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.BatchNorm(4), nn.Linear(4, 2, rng=1))
    return tt.Trainer(model, losses.CrossEntropy(), optim.SGD(model, 0.1, momentum=0.9), rng=0)


DATA = {"x": some(8, 3), "y": np.array([0, 1] * 4)}
METHODS = {"fit": DATA | {"batch_size": 4}, "evaluate": DATA | {"batch_size": 4}, "predict": {"x": DATA["x"]}}
LONG = {"epochs", "accumulate", "samples"}  # large numbers are valid but take long


@pytest.mark.parametrize("method", METHODS)
def test_hostile_arguments_of_trainers_change_nothing(method, tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    monkeypatch.chdir(tmp_path)
    parameters = inspect.signature(getattr(tt.Trainer, method)).parameters.values()
    optional = {p.name: p.default for p in parameters if p.default is not p.empty}
    names = (optional | METHODS[method]).keys() - LONG

    def run(**arguments):
        trainer = make_trainer()
        before = {key: value.copy() for key, value in trainer.model.state_dict().items()}
        try:
            return getattr(trainer, method)(**arguments)
        except Exception:
            for key, value in trainer.model.state_dict().items():
                np.testing.assert_array_equal(value, before[key])
            raise

    def call(plan):
        arguments = planned(lambda: deepcopy(optional | METHODS[method]), plan)
        message = "" if callable(arguments.get("augment")) else NAMED  # errors of callables are passed on
        # `fit` documents these for a missing `resume` file and for samples that are not finite.
        with suppress(FileNotFoundError, FloatingPointError):
            check(run, arguments, plan, message)

    examine(sorted(names), call, NO_FILES)
