"""Arguments of every function: parameters of any dtype and shape, foreign arrays, objects that raise."""

import contextlib
import ctypes
import sys

import ml_dtypes
import numpy as np
import pytest
import trimtab as tt
from helpers.foreign_arrays import OnlyArray, OnlyDLPack
from helpers.functions import FUNCTIONS, IN_PLACE, every_array
from helpers.strategies import BFLOAT16

PARAMETERS = {"parameter", "required parameter"}
REAL = [np.dtype(t) for t in ("f2", "f4", "f8", "g", "?", *"bBhHiIlLqQ")] + [BFLOAT16]


def rows(kinds):
    return [
        pytest.param(function, name, id=f"{function.name}-{name}")
        for function in FUNCTIONS
        for name in every_array(function)
        if function.kinds[name] in kinds
    ]


READ = {kind for function in FUNCTIONS for kind in function.kinds.values()} - IN_PLACE


def results_of(function, arguments):
    result = getattr(tt, function.name)(**arguments)
    return [np.asarray(r) for r in (result if isinstance(result, tuple) else (result,)) if r is not None]


def assert_same(got, expected):
    """Bit for bit where the dtypes are the same."""
    for result, value in zip(got, expected, strict=True):
        tolerance = 0
        if result.dtype != value.dtype:
            tolerance = max(float(ml_dtypes.finfo(dtype).eps) for dtype in (result.dtype, value.dtype))
        np.testing.assert_allclose(
            result.astype("f8").ravel(), value.astype("f8").ravel(), rtol=tolerance, atol=tolerance
        )


# ---- parameters, targets and running statistics ----


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize(("function", "name"), rows(PARAMETERS))
def test_parameters_may_have_any_real_dtype(function, name, dtype):
    """Small integers, which all dtypes hold, give the results of x's own dtype."""
    values = np.resize([1, 0, 1, 1, 0], function.valid()[name].shape)
    if name == "var":
        values = np.ones_like(values)
    expected = results_of(function, function.valid() | {name: values.astype("f4")})
    got = results_of(function, function.valid() | {name: values.astype(dtype)})
    assert_same(got, expected)


@pytest.mark.parametrize("shape", [(1, -1), (-1, 1), (1, -1, 1, 1), (-1, 1, 1)], ids=str)
@pytest.mark.parametrize(("function", "name"), rows(PARAMETERS | {"running"}))
def test_axes_of_length_1_do_not_count(function, name, shape):
    arguments, others = function.valid(), function.valid()
    around = [extent for extent in shape if extent == 1]
    before = 0 if shape[0] != 1 else 1
    given = (*around[:before], *arguments[name].shape, *around[before:])
    others[name] = others[name].reshape(given)
    assert_same(results_of(function, others), results_of(function, arguments))
    assert_same([others[name]], [arguments[name]])


BACKWARD = [f for f in FUNCTIONS if "gamma" in f.kinds and f.name.endswith("_backward")]


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("function", BACKWARD, ids=lambda function: function.name)
def test_gradients_have_the_dtype_and_shape_of_gamma(function, dtype):
    """The dtype of x where gamma is not floating or not given."""
    arguments = function.valid()
    floating = dtype == BFLOAT16 or dtype.kind == "f"
    gamma = np.ones((1, *arguments["gamma"].shape, 1), dtype)
    result = getattr(tt, function.name)(**arguments | {"gamma": gamma})
    plain = getattr(tt, function.name)(**arguments | {"gamma": np.ones(arguments["gamma"].shape)})
    for name in {"dgamma", "dbeta"} & set(result._fields):
        gradient = getattr(result, name)
        assert gradient.shape == gamma.shape
        assert gradient.dtype == (dtype if floating else np.float32)
        wide = getattr(plain, name)
        rounded = wide if gradient.dtype.itemsize > 4 else wide.astype(np.float32)
        np.testing.assert_array_equal(gradient.ravel(), rounded.astype(gradient.dtype))


def test_large_integers_are_rounded_as_numpy_rounds_them():
    x, gamma = np.eye(3), np.array([2**62 + 1, 2**53 + 1, 2**64 - 1], np.uint64)
    np.testing.assert_array_equal(
        tt.batch_norm(x, np.zeros(3), np.ones(3), gamma, eps=0), x * gamma.astype("f8")
    )


@pytest.mark.parametrize("loss", ["mse", "huber"])
@pytest.mark.parametrize("shape", [(4,), (4, 1), (1, 4)])
def test_targets_of_shape_n_1_are_not_broadcast(loss, shape, rng):
    """(N, 1) with (N,) gives N values, not N x N."""
    pred, target = rng.standard_normal((2, 4))
    expected = getattr(tt, loss)(pred, target)
    got = getattr(tt, loss)(pred[:, None], target.reshape(shape))
    assert got.loss == expected.loss
    np.testing.assert_array_equal(got.dpred, expected.dpred[:, None])


# ---- foreign arrays ----


@pytest.mark.parametrize("kind", [OnlyDLPack, OnlyArray])
@pytest.mark.parametrize(("function", "name"), rows(READ))
def test_objects_are_read_once(function, name, kind):
    arguments = function.valid()
    given = kind(arguments[name])
    assert_same(results_of(function, arguments | {name: given}), results_of(function, function.valid()))
    assert given.reads == 1


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_dlpack_gives_memory_of_any_form(dtype, rng):
    """From old producers, read-only, in any order, empty."""
    x = rng.standard_normal((3, 4, 5)).astype(dtype)
    views = (x, x[::-1, ::2], x.T, x[1:1], np.asfortranarray(x))
    for view in views:
        for versioned in (False, True):
            np.testing.assert_array_equal(tt.tanh(OnlyDLPack(view, versioned)), tt.tanh(view.copy()))
    x.flags.writeable = False
    np.testing.assert_array_equal(tt.relu(OnlyDLPack(x)), np.maximum(x, 0))


def test_memory_by_dlpack_is_kept_while_it_is_used(rng):
    for _ in range(100):
        x = rng.standard_normal(1000)
        np.testing.assert_array_equal(tt.relu(OnlyDLPack(x)), np.maximum(x, 0))
    references = sys.getrefcount(x)
    tt.relu(OnlyDLPack(x))
    assert sys.getrefcount(x) == references


def test_memory_of_another_device_is_refused():
    class OnDevice(OnlyDLPack):
        def __dlpack_device__(self):
            return (2, 0)

    with pytest.raises(TypeError, match=r"^relu: x must be a float32.*device type 2, not on the CPU$"):
        tt.relu(OnDevice(np.ones(3)))

    class Converts(OnDevice):
        def __array__(self, dtype=None, copy=None):
            return self.array

    np.testing.assert_array_equal(tt.relu(Converts(np.ones(3))), 1)


class WithoutMemory(OnlyDLPack):
    """Its tensor's first field, the address of the values, is null."""

    def __dlpack__(self, **options):
        capsule = self.array.__dlpack__()
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
        ctypes.c_void_p.from_address(pointer(capsule, b"dltensor")).value = None
        return capsule


def test_dlpack_without_memory_has_no_elements():
    assert tt.relu(WithoutMemory(np.ones((3, 0)))).shape == (3, 0)
    for x in (np.ones((2, 3)), np.ones(())):
        with pytest.raises(
            TypeError, match=r"^relu: x must be .*: a DLPack tensor with elements has no memory$"
        ):
            tt.relu(WithoutMemory(x))


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


class TestTorch:
    @pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
    def test_tensors_of_every_dtype_are_read(self, torch, dtype):
        tensor = torch.arange(-3.0, 3.0).reshape(2, 3).to(getattr(torch, dtype))
        y = tt.relu(tensor)
        assert y.dtype.name == dtype
        np.testing.assert_array_equal(y.astype("f8"), np.maximum(tensor.double().numpy(), 0))

    def test_bfloat16_tensors_are_read_in_every_role(self, torch):
        x = torch.randn(4, 3).bfloat16()
        ones = torch.ones(3).bfloat16()
        expected = tt.layer_norm(x.float().numpy().astype(ml_dtypes.bfloat16))
        np.testing.assert_array_equal(tt.layer_norm(x, ones, torch.zeros(3)), expected)
        assert tt.mse(np.ones(3), ones).loss == 0
        assert tt.penalty([ones, ones], l1=1.0) == 6

    def test_tensors_are_labels_and_masks(self, torch):
        assert tt.softmax_cross_entropy(np.zeros((2, 3)), torch.tensor([0, 2])).loss == pytest.approx(
            np.log(3)
        )
        kept = torch.tensor([True, False, True])
        np.testing.assert_array_equal(tt.dropout_backward(np.ones(3), kept, 0.5), [2, 0, 2])

    def test_the_advice_of_torch_is_in_the_message(self, torch):
        tensor = torch.ones(2, 3, requires_grad=True)
        with pytest.raises(TypeError, match=r"(?s)^layer_norm: x must be .*detach\(\)") as error:
            tt.layer_norm(tensor)
        assert "detach()" in str(error.value.__cause__)

    def test_tensors_are_not_updated_in_place(self, torch):
        tensor = torch.ones(2, 3)
        with pytest.raises(TypeError, match=r"^relu: out must be a numpy.ndarray, got Tensor"):
            tt.relu(np.ones((2, 3), "f4"), out=tensor)


@pytest.mark.usefixtures("torch")
def test_bfloat16_needs_ml_dtypes(run_python):
    code = """import sys; sys.modules["ml_dtypes"] = None
import torch, trimtab as tt
try: tt.relu(torch.ones(2).bfloat16())
except TypeError as error: print(error)"""
    assert run_python(code).endswith("pip install ml_dtypes")


# ---- errors of objects ----

PASSED_ON = (KeyboardInterrupt, SystemExit, MemoryError, OSError, ZeroDivisionError, KeyError)


class Raises:
    """Raises an error from one of its methods."""

    def __init__(self, method, error):
        def fail(*_, **__):
            raise error

        self.__class__ = type("Raises", (Raises,), {method: fail})


def assert_passed_on(function, name, given, error):
    arguments = function.valid() | {name: given}
    before = {n: v.tobytes() for n, v in arguments.items() if isinstance(v, np.ndarray)}
    with pytest.raises(type(error)) as raised:
        getattr(tt, function.name)(**arguments)
    assert raised.value is error
    assert all(arguments[n].tobytes() == memory for n, memory in before.items())


@pytest.mark.parametrize("error", PASSED_ON)
@pytest.mark.parametrize("method", ["__array__", "__dlpack_device__", "__getattr__"])
@pytest.mark.parametrize(("function", "name"), rows(READ))
def test_errors_of_arrays_are_passed_on(function, name, method, error):
    value = error("once")
    given = Raises(method, value)
    if method == "__dlpack_device__":
        type(given).__dlpack__ = None
    assert_passed_on(function, name, given, value)


NUMBERS = {"eps", "finite", "non-negative", "bound", "momentum", "p", "p below 1", "at least 1"}
INTEGERS = {"axis", "axis of 3", "axes", "any axes", "groups", "virtual batch size", "chance", "ignore index"}


def options(kinds):
    return [
        pytest.param(function, name, id=f"{function.name}-{name}")
        for function in FUNCTIONS
        for name, kind in function.kinds.items()
        if kind in kinds
    ]


@pytest.mark.parametrize("error", PASSED_ON)
@pytest.mark.parametrize(("function", "name"), options(NUMBERS))
def test_errors_of_numbers_are_passed_on(function, name, error):
    value = error("once")
    assert_passed_on(function, name, Raises("__float__", value), value)


@pytest.mark.parametrize("error", PASSED_ON)
@pytest.mark.parametrize(("function", "name"), options(INTEGERS | {"extents"}))
def test_errors_of_integers_are_passed_on(function, name, error):
    value = error("once")
    assert_passed_on(function, name, Raises("__index__", value), value)


def test_errors_of_sequences_are_passed_on():
    for error in (kind("once") for kind in PASSED_ON):
        for method in ("__iter__", "__getitem__"):
            given = Raises(method, error)
            type(given).__len__ = lambda _: 1
            for call in (tt.penalty, lambda grads: tt.clip_grad_norm(grads, 1.0)):
                with pytest.raises(type(error)):
                    call(given)


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array.resize((4096, 3), refcheck=False),
        lambda array: array.resize((0,), refcheck=False),
        lambda array: setattr(array, "shape", (12,)),
        lambda array: setattr(array, "dtype", np.uint8),
    ],
)
def test_options_cannot_change_arrays_that_were_read_before(change, rng):
    """The call uses the array as it was, or the change fails."""

    class Changes:
        def __float__(self):
            with contextlib.suppress(ValueError):
                change(array)
            return 0.5

    array = rng.standard_normal((4, 3))
    expected = tt.layer_norm(array.copy(), eps=0.5)
    np.testing.assert_array_equal(tt.layer_norm(array, eps=Changes()), expected)
    array = rng.standard_normal((4, 3))
    updated = array - 0.5
    tt.sgd_update(array, np.ones((4, 3)), lr=Changes())
    np.testing.assert_array_equal(array.view("f8").ravel(), updated.ravel())


@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_failed_conversions_are_type_errors_with_their_cause(error):
    """The message ends with that of the cause."""
    cause = error("no numbers here")
    with pytest.raises(TypeError, match=r"(?s)^relu: x must be a float32.*: no numbers here$") as raised:
        tt.relu(Raises("__array__", cause))
    assert raised.value.__cause__ is cause


# ---- options ----


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.array(0.5), np.float16(0.5)])
@pytest.mark.parametrize(("function", "name"), options(NUMBERS - {"at least 1"}))
def test_numbers_of_numpy_are_taken(function, name, value):
    expected = results_of(function, function.valid() | {name: 0.5})
    assert_same(results_of(function, function.valid() | {name: value}), expected)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.array])
@pytest.mark.parametrize(("function", "name"), options(INTEGERS - {"any axes", "ignore index"}))
def test_integers_of_numpy_are_taken(function, name, kind):
    valid = function.valid()[name]
    value = valid if valid >= 0 else 1
    expected = results_of(function, function.valid() | {name: value})
    assert_same(results_of(function, function.valid() | {name: kind(value)}), expected)


@pytest.mark.parametrize(("function", "name"), options({"flag"}))
def test_bools_of_numpy_are_taken(function, name):
    value = function.valid()[name]
    expected = results_of(function, function.valid())
    assert_same(results_of(function, function.valid() | {name: np.bool(value)}), expected)


@pytest.mark.parametrize(("function", "name"), options({"eps", "non-negative", "finite"}))
def test_numbers_beyond_the_range_of_floats_are_refused(function, name):
    with pytest.raises(ValueError, match=f"^{function.name}: {name} must be a number .* got 1000"):
        getattr(tt, function.name)(**function.valid() | {name: 10**400})


def test_a_random_state_gives_64_bits_a_call():
    """64 bits of it are the seed of a call."""
    x = np.ones(1000, "f4")
    state, same = np.random.RandomState(5), np.random.RandomState(5)
    for _ in range(2):
        seed = int(same.randint(0, 2**64, dtype=np.uint64))
        np.testing.assert_array_equal(tt.dropout(x, rng=state), tt.dropout(x, rng=seed))
