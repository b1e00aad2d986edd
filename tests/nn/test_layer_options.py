"""Options of layers: checked in constructors and in assignments, integers of any type."""

import inspect
import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from trimtab import nn

NORMS = {
    "BatchNorm": lambda **options: nn.BatchNorm(4, **options),
    "LayerNorm": lambda **options: nn.LayerNorm(4, **options),
    "RMSNorm": lambda **options: nn.RMSNorm(4, **options),
    "GroupNorm": lambda **options: nn.GroupNorm(2, 4, **options),
    "InstanceNorm": lambda **options: nn.InstanceNorm(4, **options),
    "Whitening": lambda **options: nn.Whitening(4, **options),
}
NUMBERS = {  # (layer, option): a function that makes the layer, values that are refused
    **{(name, "eps"): (make, [-0.5, -1e-300, np.nan, np.inf]) for name, make in NORMS.items()},
    ("BatchNorm", "momentum"): (NORMS["BatchNorm"], [-0.1, 1.1, np.nan]),
    ("Whitening", "momentum"): (NORMS["Whitening"], [-0.1, 1.1, np.nan]),
    ("BatchNorm", "r_max"): (NORMS["BatchNorm"], [0.9, -1, np.nan]),
    ("BatchNorm", "d_max"): (NORMS["BatchNorm"], [-0.1, np.nan]),
    ("LeakyReLU", "negative_slope"): (nn.LeakyReLU, [np.nan, np.inf]),
    ("Dropout", "p"): (nn.Dropout, [-0.1, 1.1, np.nan]),
    ("DropPath", "p"): (nn.DropPath, [-0.1, 1.1, np.nan]),
    ("AlphaDropout", "p"): (nn.AlphaDropout, [-0.1, 1.0, np.nan]),
    ("GaussianDropout", "p"): (nn.GaussianDropout, [-0.1, 1.0, np.nan]),
}
WHOLE = {
    ("BatchNorm", "virtual_batch_size"): (NORMS["BatchNorm"], [0, -1]),
    **{(name, "axis"): (NORMS[name], []) for name in ("BatchNorm", "GroupNorm", "InstanceNorm", "Whitening")},
}
FLAGS = [("BatchNorm", name) for name in ("unbiased", "frozen", "strided", "renorm")]


@pytest.mark.parametrize(("layer", "option"), NUMBERS)
def test_numbers_are_checked_in_constructors_and_assignments(layer, option):
    make, refused = NUMBERS[layer, option]
    made = make()
    before = getattr(made, option)
    for value in refused:
        message = f"^{layer}: {option} must be .*, got {re.escape(str(value))}$"
        with pytest.raises(ValueError, match=message):
            make(**{option: value})
        with pytest.raises(ValueError, match=message):
            setattr(made, option, value)
    for value in ("0.5", [0.5], 1j, True, object()):
        with pytest.raises(TypeError, match=f"^{layer}: {option} must be a number, got "):
            make(**{option: value})
    assert getattr(made, option) == before
    for value in (np.float32(0.5), np.array(0.5)) if option != "r_max" else (np.float32(1.5), np.int8(2)):
        made = make(**{option: value})
        assert getattr(made, option) == value
        assert type(getattr(made, option)) is float


@pytest.mark.parametrize(("layer", "option"), WHOLE)
def test_ints_are_checked_in_constructors_and_assignments(layer, option):
    make, refused = WHOLE[layer, option]
    made = make()
    for value in refused:
        with pytest.raises(ValueError, match=f"^{layer}: {option} must be at least 1, got {value}"):
            make(**{option: value})
        with pytest.raises(ValueError, match=f"^{layer}: {option} must be at least 1, got {value}"):
            setattr(made, option, value)
    for value in (1.0, "1", True, [1]):
        with pytest.raises(TypeError, match=f"^{layer}: {option} must be an int, got "):
            make(**{option: value})
    assert type(getattr(make(**{option: np.uint8(2)}), option)) is int


@pytest.mark.parametrize(("layer", "option"), FLAGS)
def test_flags_are_bools(layer, option):
    for value in (1, "yes", None):
        with pytest.raises(TypeError, match=f"^{layer}: {option} must be a bool, got "):
            NORMS[layer](**{option: value})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Linear(2, 3, bias=1), "Linear: bias must be a bool, got 1"),
        (lambda: nn.Conv2d(2, 3, 1, bias=0), "Conv2d: bias must be a bool, got 0"),
        *(
            (lambda make=make: make(affine=1), f"{name}: affine must be a bool, got 1")
            for name, make in NORMS.items()
            if name != "Whitening"
        ),
        (lambda: nn.Dropout(classical="no"), "Dropout: classical must be a bool, got 'no'"),
        (lambda: nn.Dropout(shared_axes=1.0), "Dropout: shared_axes must be an int, got 1.0"),
        (lambda: nn.BatchNorm(3, adjustment=3), "BatchNorm: adjustment must be a function or None, got 3"),
        (lambda: nn.Linear(2, 3, gain="big"), "Linear: gain must be a number, got 'big'"),
        (lambda: nn.Linear(2.0, 3), "Linear: inputs must be an int, got 2.0"),
        (lambda: nn.Linear(2, True), "Linear: outputs must be an int, got True"),
        (lambda: nn.Conv2d(2.0, 3, 1), "Conv2d: inputs must be an int, got 2.0"),
        (lambda: nn.Conv2d(2, 3, 1, groups=1.0), "Conv2d: groups must be an int, got 1.0"),
        (lambda: nn.Conv2d(2, 3, 1, axis=True), "Conv2d: axis must be an int, got True"),
        (lambda: nn.BatchNorm(3.0), "BatchNorm: channels must be an int, got 3.0"),
        (lambda: nn.GroupNorm(True, 3), "GroupNorm: num_groups must be an int, got True"),
        (lambda: nn.Whitening(4, num_groups=2.0), "Whitening: num_groups must be an int, got 2.0"),
        (lambda: nn.LayerNorm(3.5), "LayerNorm: shape must be an int, got 3.5"),
        (lambda: nn.RMSNorm((3, "4")), "RMSNorm: shape must be an int, got '4'"),
        (lambda: nn.Ramp(1, "3", 5, 6), "Ramp: end must be a number, got '3'"),
        (lambda: nn.Linear(2, 3, dtype="f16"), "Linear: dtype must be a floating type, got float128"),
    ],
)
def test_values_of_other_types_are_type_errors(make, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Linear(2, 3, gain=np.nan), "Linear: gain must be finite, got nan"),
        (lambda: nn.Linear(2, 3, init=None), "Linear: init must be one of he, xavier,"),
        (lambda: nn.BatchNorm(0), "BatchNorm: channels must be at least 1, got 0"),
        (
            lambda: nn.BatchNorm(3, activation="tanh"),
            "BatchNorm: activation must be None or 'relu', got 'tanh'",
        ),
        (lambda: nn.LayerNorm(0), "LayerNorm: shape must be at least 1, got 0"),
        (lambda: nn.LayerNorm(()), "LayerNorm: shape must have at least one axis, got ()"),
        (lambda: nn.Whitening(0), "Whitening: channels must be at least 1, got 0"),
        (lambda: nn.MaxPool2d(True), "MaxPool2d: kernel_size must be one or two ints >= 1, got True"),
        (lambda: nn.MaxPool2d(2.0), "MaxPool2d: kernel_size must be one or two ints >= 1, got 2.0"),
        (lambda: nn.AvgPool2d({2}), "AvgPool2d: kernel_size must be one or two ints >= 1, got {2}"),
        (lambda: nn.AvgPool2d(2, stride=[1]), "AvgPool2d: stride must be one or two ints >= 1, got [1]"),
        (lambda: nn.Ramp(1, 3, 5, 5), "Ramp: stop must be finite and > 5, got 5"),
        (lambda: nn.Ramp(1, 3, 5, 4), "Ramp: stop must be finite and > 5, got 4"),
        (lambda: nn.Ramp(np.nan, 3, 5, 6), "Ramp: begin must be finite, got nan"),
    ],
)
def test_other_values_are_value_errors(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        make()


THREE = [3, np.int64(3), np.uint8(3), np.array(3)]


@pytest.mark.parametrize("three", THREE, ids=repr)
def test_sizes_are_any_integers(three):
    x = np.random.default_rng(0).standard_normal((4, 3, 6, 6))
    for layer in (
        nn.Conv2d(three, three, three, three, three, groups=three, rng=0, dtype="f8"),
        nn.MaxPool2d(three, three, np.int8(1)),
        nn.BatchNorm(three, axis=np.int64(1), dtype="f8"),
        nn.GroupNorm(three, three, dtype="f8"),
        nn.InstanceNorm(three, dtype="f8"),
        nn.Whitening(three, num_groups=three, dtype="f8"),
    ):
        assert layer(x).shape[:2] == (4, 3)
        assert "3" in repr(layer)
        assert "int" not in repr(layer)
    for layer in (
        nn.Linear(three, three, dtype="f8"),
        nn.LayerNorm(three, dtype="f8"),
        nn.RMSNorm(three, dtype="f8"),
    ):
        assert layer(x[..., :3]).shape == (4, 3, 6, 3)


@pytest.mark.parametrize("pair", [(3, 2), [3, 2], np.array([3, 2]), (np.int64(3), np.int32(2))], ids=repr)
def test_pairs_are_any_sequences(pair):
    x = np.random.default_rng(0).standard_normal((2, 1, 9, 8))
    for make in (
        lambda pair: nn.Conv2d(1, 1, pair, pair, pair, rng=0, dtype="f8"),
        lambda pair: nn.MaxPool2d(pair, pair, [1, 0]),
        lambda pair: nn.AvgPool2d(pair),
    ):
        assert_array_equal(make(pair)(x), make((3, 2))(x))
    for layer in (nn.LayerNorm(pair, dtype="f8"), nn.RMSNorm(pair, dtype="f8")):
        assert layer.shape == (3, 2)
        assert layer(np.ones((4, 3, 2))).shape == (4, 3, 2)
    assert nn.Dropout(shared_axes=[2, np.int64(3)]).options["shared_axes"] == (2, 3)


def test_the_dropout_probability_may_change(rng):
    """Also in the classical form, whose scale follows."""
    x = rng.standard_normal((50, 40))
    layer = nn.Dropout(0.9, classical=True).use_rng(0)
    layer.p = 0.25
    assert abs((layer(x) == 0).mean() - 0.25) < 0.05
    assert_array_equal(layer.eval()(x), 0.75 * x)
    with pytest.raises(ValueError, match=r"^Dropout: p must be between 0 and 1, got 2"):
        layer.p = 2


def test_a_ramp_is_linear_between_its_ends():
    ramp = nn.Ramp(1, 3, 4, 8)
    assert [ramp(batch) for batch in (0, 4, 5, 6, 8, 100)] == [1, 1, 1.5, 2, 3, 3]


SWITCHES = {"affine": True, "scale": True, "bias": True, "dtype": np.float32}
DEFAULTS = {
    nn.Linear: {"bias": True, "init": "he", "gain": None, "rng": None, "dtype": np.float32},
    nn.Conv2d: {
        "stride": 1,
        "padding": 0,
        "groups": 1,
        "bias": True,
        "axis": 1,
        "init": "he",
        "gain": None,
        "rng": None,
        "dtype": np.float32,
    },
    nn.MaxPool2d: {"stride": None, "padding": 0, "axis": 1},
    nn.AvgPool2d: {"stride": None, "padding": 0, "axis": 1},
    nn.LeakyReLU: {"negative_slope": 0.05},
    nn.Embedding: {"padding_index": None, "rng": None, "dtype": np.float32},
    nn.Residual: {"shortcut": None},
    nn.LayerNorm: {"axis": None, "eps": 1e-5} | SWITCHES,
    nn.RMSNorm: {"axis": None, "eps": 1e-6, "affine": True, "dtype": np.float32},
    nn.GroupNorm: {"axis": 1, "eps": 1e-5} | SWITCHES,
    nn.InstanceNorm: {"axis": 1, "eps": 1e-5, "track_running_stats": False, "momentum": 0.1} | SWITCHES,
    nn.Whitening: {"num_groups": 1, "axis": 1, "eps": 1e-5, "momentum": 0.1, "dtype": np.float32},
    nn.BatchNorm: {
        "axis": 1,
        "eps": 1e-5,
        "momentum": 0.1,
        "unbiased": True,
        "activation": None,
        "virtual_batch_size": None,
        "strided": False,
        "renorm": False,
        "adjustment": None,
        "frozen": False,
        "comm": None,
        # the schedule of the paper
        "r_max": nn.Ramp(1, 3, 5_000, 40_000),
        "d_max": nn.Ramp(0, 5, 5_000, 25_000),
    }
    | SWITCHES,
    nn.Dropout: {"p": 0.5, "classical": False, "shared_axes": ()},
    nn.DropPath: {"p": 0.5},
    nn.AlphaDropout: {"p": 0.5},
    nn.GaussianDropout: {"p": 0.5},
}


@pytest.mark.parametrize("layer", DEFAULTS)
def test_defaults_are_the_documented_ones(layer):
    parameters = inspect.signature(layer).parameters.values()
    assert {p.name: p.default for p in parameters if p.default is not p.empty} == DEFAULTS[layer]


@pytest.mark.parametrize("size", [2**31, 2**64, 2**100])
def test_sizes_are_bounded(size):
    for make in (nn.BatchNorm, nn.LayerNorm, nn.Whitening, nn.MaxPool2d, lambda n: nn.Linear(2, n)):
        with pytest.raises(ValueError, match=rf"^\w+: \w+.* must be .*, got .*{size}"):
            make(size)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda n: nn.Linear(n, n - 1), (2**31 - 2, 2**31 - 1)),
        (lambda n: nn.Linear(2**30, 2**30, init="orthogonal"), (2**30, 2**30)),  # 2^63 bytes, one too many
        (lambda n: nn.Conv2d(n, 1, (n, n)), (1, *3 * (2**31 - 1,))),
        (lambda n: nn.LayerNorm((n, n)), (2**31 - 1, 2**31 - 1)),
        (lambda n: nn.RMSNorm((n, n)), (2**31 - 1, 2**31 - 1)),
        (lambda n: nn.Whitening(n), (1, 2**31 - 1, 2**31 - 1)),
    ],
)
def test_parameters_that_no_memory_holds_are_a_memory_error(make, shape):
    message = rf"^\w+: parameters must fit in the address space, got shape {re.escape(str(shape))}$"
    with pytest.raises(MemoryError, match=message):
        make(2**31 - 1)


def test_a_dtype_of_none_is_refused():
    with pytest.raises(TypeError, match=r"^Linear: dtype must be a floating type, got None"):
        nn.Linear(2, 3, dtype=None)
