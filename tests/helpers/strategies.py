"""Arrays as users have them: every dtype, odd lengths, any memory order."""

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16), BFLOAT16)
# Dtypes of parameters, by the dtype of x: its own first, the widest last.
PARAMETER_DTYPES = {
    dtype: sorted(DTYPES, key=lambda d, own=dtype: (d != own, d.itemsize)) for dtype in DTYPES
}

# Around the widths of vectors, the segments of a sum, and pages of memory.
LENGTHS = st.one_of(
    st.integers(1, 70), st.sampled_from([127, 128, 129, 130, 2047, 2048, 2049, 4095, 4096, 4097])
)


def at_offset(x, offset):
    """A copy of x that starts `offset` bytes after a multiple of 64."""
    buffer = np.empty(x.nbytes + 128, np.uint8)
    start = -buffer.ctypes.data % 64 + offset
    copy = buffer[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
    copy[...] = x
    return copy


def strided(x, steps):
    """A copy of x in every"""
    buffer = np.zeros([n * abs(step) for n, step in zip(x.shape, steps, strict=True)], x.dtype)
    copy = buffer[tuple(slice(None, None, step) for step in steps)]
    copy[...] = x
    return copy


def byte_swapped(x):
    """A copy of x in the other byte order; bfloat16 has one order only."""
    return x.copy() if x.dtype == BFLOAT16 else x.astype(x.dtype.newbyteorder())


def read_only(x):
    copy = x.copy()
    copy.flags.writeable = False
    return copy


# Each makes a writeable copy of an array.
WRITEABLE_LAYOUTS = {
    "contiguous": np.copy,
    "Fortran": lambda x: np.array(x, order="F"),
    "last axis outermost": lambda x: np.moveaxis(np.moveaxis(x, -1, 0).copy(), 0, -1),
    "reversed": lambda x: strided(x, [-1] * x.ndim),
    "every other": lambda x: strided(x, [2] * x.ndim),
    "every third, backwards": lambda x: strided(x, [-3] * x.ndim),
    "misaligned": lambda x: at_offset(x, 1),
}

# Each makes an input of the shape of x with its values, except "broadcast".
LAYOUTS = WRITEABLE_LAYOUTS | {
    "byte-swapped": byte_swapped,
    "read-only": read_only,
    "broadcast": lambda x: np.broadcast_to(x[:1] if x.ndim else x, x.shape),
}

# Inputs and outputs that share memory: at(offset) is an array that begins at element `offset`.
OVERLAPS = {
    "the same": lambda at, row: (at(0), at(0)),
    "output one row later": lambda at, row: (at(0), at(row)),
    "output one row earlier": lambda at, row: (at(row), at(0)),
    "output one element later": lambda at, row: (at(0), at(1)),
    "output one element earlier": lambda at, row: (at(1), at(0)),
    "first axis reversed": lambda at, row: (at(0), at(0)[::-1]),
    "last axis reversed": lambda at, row: (at(0), at(0)[..., ::-1]),
    "transposed": lambda at, row: (at(0), at(0).reshape(at(0).shape[::-1]).T),
}


def overlapping(kind, x):
    """An array with the values of x, and an array of the same shape that shares its memory."""
    memory = np.zeros(x.size + x.shape[-1], x.dtype)
    source, out = OVERLAPS[kind](
        lambda offset: memory[offset : offset + x.size].reshape(x.shape), x.shape[-1]
    )
    source[...] = x
    return source, out


@st.composite
def shapes(draw, min_dims=1, max_dims=5):
    """A shape with one axis of odd length among short ones."""
    short = draw(st.lists(st.integers(1, 3), min_size=min_dims - 1, max_size=max_dims - 1))
    position = draw(st.integers(0, len(short)))
    return (*short[:position], draw(LENGTHS), *short[position:])


@st.composite
def arrays(draw, shape, dtype):
    """Normally distributed values in any layout, from a seed and a scale that are drawn."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    values = rng.standard_normal(shape) * draw(st.sampled_from([1.0, 0.01, 30.0])) + draw(
        st.sampled_from([0.0, 3.0])
    )
    return draw(st.sampled_from([*LAYOUTS.values()]))(values.astype(dtype))


@st.composite
def parameters(draw, shape, dtype):
    """gamma or beta for an x of `dtype`: None, or of any of the dtypes."""
    parameter_dtype = draw(st.sampled_from([None, *PARAMETER_DTYPES[dtype]]))
    return None if parameter_dtype is None else draw(arrays(shape, parameter_dtype))
