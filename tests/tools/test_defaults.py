"""The defaults of public functions and classes, as documented: changing one changes what programs compute."""

import importlib
import inspect

import pytest

DEFAULTS = {
    "augment.Blur": {"sigma": 1.0},
    "augment.Brightness": {"amount": 0.25},
    "augment.Contrast": {"low": 0.5, "high": 1.5},
    "augment.Crop": {"padding": 4},
    "augment.CutOut": {"fill": 0.0},
    "augment.Flip": {"p": 0.5},
    "augment.Rotation": {"degrees": 22.5},
    "augment.Shear": {"degrees": 8.6},
    "augment.Shift": {"fraction": 0.1},
    "augment.Zoom": {"amount": 0.15},
    "augment.plot": {"columns": 8},
    "callbacks.Checkpoint": {"mode": "auto"},
    "callbacks.EarlyStopping": {
        "monitor": "val_loss",
        "min_delta": 0.0,
        "patience": 0,
        "mode": "auto",
        "start_from_epoch": 0,
    },
    "callbacks.Monitor": {"min_delta": 0.0, "threshold": 0.0},
    "callbacks.ProgressBar": {"description": ""},
    "callbacks.ReduceLROnPlateau": {
        "monitor": "val_loss",
        "factor": 0.1,
        "patience": 10,
        "mode": "auto",
        "min_delta": 0.0001,
        "threshold": 0.0,
        "cooldown": 0,
        "min_lr": 0.0,
    },
    "callbacks.StopOnNaN": {"patience": 1},
    "callbacks.WeightAverage": {"decay": 0.999, "start_from_epoch": 0},
    "early_stopping.descend": {"theta": 0.0, "kappa_squared": 1.0},
    "early_stopping.descend_exactly": {"theta": 0.0, "kappa_squared": 1.0},
    "early_stopping.step_sizes": {"theta": 0.0, "kappa_squared": 1.0},
    "early_stopping.stopping_time": {"theta": 0.0},
    "losses.BinaryCrossEntropy": {"label_smoothing": 0.0},
    "losses.CrossEntropy": {"label_smoothing": 0.0},
    "losses.Huber": {"delta": 1.0},
    "losses.Mean": {"weight": 1.0},
    "nn.AlphaDropout": {"p": 0.5},
    "nn.AvgPool2d": {"padding": 0, "axis": 1},
    "nn.BatchNorm": {"axis": 1, "eps": 1e-05, "momentum": 0.1},
    "nn.Conv2d": {"stride": 1, "padding": 0, "groups": 1, "axis": 1, "init": "he"},
    "nn.DropPath": {"p": 0.5},
    "nn.Dropout": {"p": 0.5, "shared_axes": ()},
    "nn.GaussianDropout": {"p": 0.5},
    "nn.GroupNorm": {"axis": 1, "eps": 1e-05},
    "nn.InstanceNorm": {"axis": 1, "eps": 1e-05, "momentum": 0.1},
    "nn.LayerNorm": {"eps": 1e-05},
    "nn.LeakyReLU": {"negative_slope": 0.05},
    "nn.Linear": {"init": "he"},
    "nn.MaxPool2d": {"padding": 0, "axis": 1},
    "nn.RMSNorm": {"eps": 1e-06},
    "nn.Softmax": {"axis": -1},
    "nn.Whitening": {"num_groups": 1, "axis": 1, "eps": 1e-05, "momentum": 0.1},
    "nn.gradcheck": {"tolerance": 1e-06, "step": 1e-05},
    "nn.update_batch_norm": {"batch_size": 256},
    "optim.Adam": {"lr": 0.001},
    "optim.AdamW": {"lr": 0.001, "weight_decay": 0.01},
    "optim.Cosine": {"end": 0.0},
    "optim.Exponential": {"factor": 0.1},
    "optim.OneCycle": {"rise": 0.3},
    "optim.Optimizer.step": {"grad_scale": 1.0},
    "optim.Polynomial": {"power": 1.0, "end": 0.0},
    "optim.Step": {"factor": 0.1},
    "trainer.Trainer": {"callbacks": ()},
    "trainer.Trainer.fit": {
        "validation_split": 0.0,
        "epochs": 1,
        "batch_size": 32,
        "nan": "stop",
        "accumulate": 1,
    },
    "trainer.Trainer.evaluate": {"batch_size": 256},
    "trainer.Trainer.predict": {"batch_size": 256, "samples": 0},
}
MODULES = sorted({path.partition(".")[0] for path in DEFAULTS})


def public_callables(module):
    """Yield the path of each function, class and method of a module, and itself."""
    for name in module.__all__:
        found = getattr(module, name)
        if inspect.isfunction(found) or (inspect.isclass(found) and not issubclass(found, dict)):
            yield name, found
        if inspect.isclass(found):
            for method, function in vars(found).items():
                if inspect.isfunction(function) and not method.startswith("_"):
                    yield f"{name}.{method}", function


@pytest.mark.parametrize("name", MODULES)
def test_numbers_and_words_have_the_documented_defaults(name):
    found = {}
    for path, function in public_callables(importlib.import_module(f"trimtab.{name}")):
        parameters = inspect.signature(function).parameters.values()
        values = {p.name: p.default for p in parameters if type(p.default) in (int, float, str, tuple)}
        if values:
            found[f"{name}.{path}"] = values
    assert found == {path: values for path, values in DEFAULTS.items() if path.startswith(f"{name}.")}
