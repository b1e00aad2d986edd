"""Hostile values for arguments, by name, as functions of the valid value."""

import decimal
import fractions
from contextlib import suppress

import ml_dtypes
import numpy as np
from helpers.foreign_arrays import OnlyDLPack
from helpers.strategies import BFLOAT16, WRITEABLE_LAYOUTS, byte_swapped, read_only


class HostileError(Exception):
    """The error of hostile objects: passed on, or replaced by an error about the argument."""


# ---- arrays ----

DTYPES = ["f2", "f4", "f8", "longdouble", "i1", "i8", "u8", "?", "c8", "O", "M8[s]", "S3", "U1", "V4"]
VALUES = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 3e38, 1e300]


class Subclass(np.ndarray):
    pass


def with_values(value, every):
    def change(x):
        copy = x.copy()
        if copy.dtype.kind == "f":
            with np.errstate(over="ignore", under="ignore"):
                copy.flat[::every] = value
        return copy

    return change


ARRAYS = (
    WRITEABLE_LAYOUTS
    | {f"dtype {dtype}": lambda x, dtype=dtype: np.ones(x.shape).astype(dtype) for dtype in DTYPES}
    | {f"{value} in all": with_values(value, 1) for value in VALUES}
    | {f"{value} in every fifth": with_values(value, 5) for value in VALUES}
    | {
        "byte-swapped": byte_swapped,
        "read-only": read_only,
        "dtype bfloat16": lambda x: np.ones(x.shape, BFLOAT16),
        "dtype float8": lambda x: np.ones(x.shape, ml_dtypes.float8_e4m3fn),
        "structured": lambda x: np.zeros(x.shape, [("a", "f4")]),
        "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
        "subclass": lambda x: x.view(Subclass),
        "masked": np.ma.array,
        "matrix": lambda x: np.asmatrix(x) if x.ndim <= 2 else np.ma.array(x),
        "0-d": lambda x: x.reshape(-1)[0:1].reshape(()).copy() if x.size else np.float64(1),
        "NumPy scalar": lambda x: x.reshape(-1)[0] if x.size else np.float64(1),
        "empty": lambda x: x[:0],
        "width zero": lambda x: x[..., :0],
        "huge without an element": lambda x: np.zeros((0, 2**50), x.dtype),
        "huge without an element, width zero": lambda x: np.zeros((2**50, 0), x.dtype),
        "one row": lambda x: x[:1],
        "one value too many": lambda x: np.ones((*x.shape[:-1], x.shape[-1] + 1), x.dtype),
        "flat": np.ravel,
        "one more axis": lambda x: x[..., None],
        "one axis first": lambda x: x[None],
        "64 axes": lambda x: np.ones((1,) * 64, x.dtype),
        "strides of zero": lambda x: np.lib.stride_tricks.as_strided(x.copy(), strides=(0,) * x.ndim),
        "rows that overlap": lambda x: np.lib.stride_tricks.as_strided(
            np.ones(x.size + 8, x.dtype), x.shape, (x.itemsize,) * x.ndim
        ),
        "list": lambda x: x.tolist(),
        "tuple": lambda x: tuple(x),
        "mapping": lambda x: {"a": x},
        "list of it and None": lambda x: [x, None],
        "list of it twice": lambda x: [x, x],
        "ragged list": lambda x: [x.tolist(), [1.0]],
        "memoryview": memoryview,
        "bytes": lambda x: x.tobytes(),
        "DLPack": OnlyDLPack,
    }
)  # fmt: skip


# ---- numbers, texts, containers ----


def recursive_list():
    items = []
    items.append(items)
    return items


def deep_list():
    items = [1.0]
    for _ in range(2000):
        items = [items]
    return items


NUMBERS = [0, 1, 2, -1, 3, 2**31, -(2**31) - 1, 2**63, 2**64, -(2**63), 10**400, -(10**400)]
NUMBERS += [0.5, 1.0, -0.5, 1.5, 1e-320, 1e300, float("nan"), float("inf"), -float("inf"), 1j, True, False]
NUMBERS += [
    np.float32(0.5),
    np.float64("nan"),
    np.int64(1),
    np.uint8(1),
    np.bool_(True),
    np.datetime64("nat"),
]
NUMBERS += [decimal.Decimal("0.5"), decimal.Decimal("nan"), fractions.Fraction(1, 3)]
TEXTS = [
    "",
    "relu",
    "mean",
    "none",
    "\0",
    "\udc80",
    "x" * 10**5,
    "ε",
    b"",
    b"relu",
    bytearray(4),
    np.str_("relu"),
]
CONTAINERS = [(), (0,), (0, 0), (0, 1), (1, 2, 3, 4, 5), (-1, None), ((0,),), (2**70,), (0.5,), [], [0], {}]
CONTAINERS += [{"a": 1}, set(), range(3), slice(None), np.array(0.5), np.array([0.5]), np.array(1)]
NAMES = [None, ..., NotImplemented, int, type, len, np.float32, np.dtype("f4"), np]
PLAIN = {repr(value)[:30]: value for value in [*NUMBERS, *TEXTS, *CONTAINERS, *NAMES]}
PLAIN |= {"recursive list": recursive_list(), "deep list": deep_list()}


# ---- objects ----

ASKED = [
    *("__array__", "__array_interface__", "__array_struct__", "__array_ufunc__", "__array_function__"),
    *("__dlpack__", "__dlpack_device__", "__len__", "__getitem__", "__iter__", "__index__", "__int__"),
    *("__float__", "__complex__", "__bool__", "__eq__", "__lt__", "__hash__", "__repr__", "__str__"),
    *("__format__", "__getattr__", "__call__", "__fspath__", "keys", "dtype", "shape", "random"),
    *("bit_generator", "integers"),
]
ANSWERED = [
    *("__array__", "__array_struct__", "__array_ufunc__", "__dlpack__", "__dlpack_device__", "__len__"),
    *("__iter__", "__index__", "__float__", "__bool__", "__repr__"),
]
ANSWERS = {"None": None, "text": "junk", "-1": -1, "2**70": 2**70, "nan": np.nan, "list": [1.0], "type": int}
PROPERTIES = {"__array_interface__", "__array_struct__"}
NUMERIC = ["__array__", "__float__", "__index__"]


def raising(names, error=HostileError):
    """An object that raises an error on access to any of these names."""

    def fail(self, *arguments, **keywords):
        raise error(names[0])

    methods = {name for name in names if name.startswith("__")} - PROPERTIES
    members = {name: fail if name in methods else property(fail) for name in names}
    return type("Raising", (), members | ({"__hash__": None} if "__eq__" in names else {}))()


def lying(**answers):
    """An object whose methods give these answers to any arguments."""
    members = {
        name: property(lambda self, answer=answer: answer)
        if name in PROPERTIES
        else lambda self, *_, answer=answer, **__: answer
        for name, answer in answers.items()
    }
    return type("Lying", (), members)()


def used_capsule():
    on_the_cpu = {"__dlpack__": np.ones((4, 3), np.float32).__dlpack__(), "__dlpack_device__": (1, 0)}
    np.from_dlpack(lying(**on_the_cpu))
    return lying(**on_the_cpu)


OBJECTS = {
    "object": object,
    "raises KeyboardInterrupt": lambda: raising(NUMERIC, KeyboardInterrupt),
    "raises MemoryError": lambda: raising(NUMERIC, MemoryError),
    "raises at everything": lambda: raising(ASKED),
    "on a GPU": lambda: lying(__dlpack__=None, __dlpack_device__=(2, 0)),
    "used capsule": used_capsule,
}
OBJECTS |= {f"raises at {name}": lambda name=name: raising([name]) for name in ASKED}
OBJECTS |= {
    f"{name} gives {label}": lambda name=name, answer=answer: lying(
        **{"__dlpack_device__": (1, 0)} if name == "__dlpack__" else {}, **{name: answer}
    )
    for name in ANSWERED
    for label, answer in ANSWERS.items()
}


# ---- objects that change the other arguments while they are read ----


def resized(x):
    x.resize((4096, *x.shape[1:]), refcheck=False)


def shrunk(x):
    x.resize((0,), refcheck=False)


def reshaped(x):
    x.shape = (x.size,)


def retyped(x):
    x.dtype = np.uint8


def frozen(x):
    x.flags.writeable = False


MEDDLING = {meddle.__name__: meddle for meddle in (resized, shrunk, reshaped, retyped, frozen)}


class Meddler:
    """Behaves like its value, but changes all other arrays when it is read."""

    def __init__(self, value, others, meddle):
        self._value, self._others, self._meddle = value, others, meddle

    def _read(self):
        for x in self._others:
            with suppress(ValueError, TypeError, AttributeError):
                self._meddle(x)
        return self._value

    def __array__(self, dtype=None, copy=None):
        return np.array(self._read())

    def __index__(self):
        return int(self._read())

    def __float__(self):
        return float(self._read())

    def __bool__(self):
        return bool(self._read())

    def __len__(self):
        return len(self._read())

    def __getitem__(self, i):
        return self._read()[i]

    def __repr__(self):
        self._read()
        return "Meddler"


# ---- hostile values for a valid argument ----

MEDDLED = [f"others are {name}" for name in MEDDLING]
SHARED = ["another argument", "over another argument"]
KINDS = [*ARRAYS, *PLAIN, *OBJECTS, *MEDDLED, *SHARED]


def hostile(kind, name, arguments):
    """A hostile value of this kind for the argument `name` of `arguments`."""
    valid = arguments[name]
    others = [value for other, value in arguments.items() if other != name and isinstance(value, np.ndarray)]
    if kind in ARRAYS:
        return ARRAYS[kind](valid if isinstance(valid, np.ndarray) and valid.ndim else np.ones((4, 3), "f4"))
    if kind in PLAIN:
        return PLAIN[kind]
    if kind in OBJECTS:
        return OBJECTS[kind]()
    if kind == "another argument":
        return others[0] if others else valid
    if kind == "over another argument":
        return over(valid, others)
    return Meddler(valid, others, MEDDLING[kind.removeprefix("others are ")])


def over(valid, others):
    """An array like the valid one in the memory of another, from its second element or its first."""
    if not isinstance(valid, np.ndarray):
        return valid
    for other in others:
        memory = other.reshape(-1).view(np.uint8)
        for start in (valid.itemsize, 0):
            if memory.size - start >= valid.nbytes:
                return memory[start : start + valid.nbytes].view(valid.dtype).reshape(valid.shape)
    return valid
