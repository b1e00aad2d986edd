"""Arguments that share memory, in every function: the result of copies, or an error that names them.

Arrays share memory where they have a byte in common. Interleaved arrays do not.
"""

import numpy as np
import pytest
import trimtab as tt
from helpers.functions import FUNCTIONS, IN_PLACE, LISTED, every_array


def buffer(nbytes):
    return np.zeros(nbytes + 64, np.uint8)


def at(memory, start, like):
    return memory[start : start + like.nbytes].view(like.dtype).reshape(like.shape)


def shifted(elements):
    """The written array begins some of its elements after the other array."""

    def place(written, other):
        memory = buffer(written.nbytes + other.nbytes)
        before = 16
        return at(memory, before + elements * written.itemsize, written), at(memory, before, other)

    return place


def backwards(written, other):
    memory = buffer(max(written.nbytes, other.nbytes))
    return at(memory, 0, written)[..., ::-1], at(memory, 0, other)


def behind_the_end(written, other):
    """The last element of one array is the first of the other, if they have the same size."""
    memory = buffer(written.nbytes + other.nbytes)
    return at(memory, max(other.nbytes - written.itemsize, 0) // 16 * 16, written), at(memory, 0, other)


def in_columns(gap):
    """Interleaved elements, or elements that overlap by half."""

    def place(written, other):
        width = max(written.itemsize, other.itemsize)
        rows = max(written.size, other.size)
        memory = np.zeros((rows, 2 * width), np.uint8)

        def column(start, like):
            strided = memory[:, start : start + like.itemsize].view(like.dtype)[: like.size, 0]
            return np.lib.stride_tricks.as_strided(
                strided, like.shape, [2 * width * (s // like.itemsize) for s in np.empty_like(like).strides]
            )

        return column(width if gap else width // 2, written), column(0, other)

    return place


PLACES = {
    "at the same place": shifted(0),
    "an element later": shifted(1),
    "an element earlier": shifted(-1),
    "backwards": backwards,
    "at the end": behind_the_end,
    "in turn": in_columns(gap=True),
    "in turn, over halves": in_columns(gap=False),
}
CASES = [
    pytest.param(function, written, other, id=f"{function.name}-{written}-{other}")
    for function in FUNCTIONS
    for written in every_array(function)
    for other in every_array(function)
    if written != other and function.kinds[written] in IN_PLACE
]


def numbers(result):
    """The results of a function as float64 arrays."""
    results = result if isinstance(result, tuple) else (result,)
    return [np.asarray(r, np.float64) for r in results if r is not None]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("function", "written", "other"), CASES)
def test_shared_memory_gives_the_result_of_copies_or_is_refused(function, written, other, place):
    arguments = function.valid()
    pair = PLACES[place](arguments[written], arguments[other])
    for name, array in zip((written, other), pair, strict=True):
        array[...] = arguments[name]
        arguments[name] = array
    both_are_written = {function.kinds[written], function.kinds[other]} <= IN_PLACE
    refused_where_shared = both_are_written or function.kinds[written] in LISTED
    copies = {n: v.copy() if isinstance(v, np.ndarray) else v for n, v in arguments.items()}
    before = {n: v.tobytes() for n, v in copies.items() if isinstance(v, np.ndarray)}
    with np.errstate(all="ignore"):
        if np.shares_memory(*pair) and refused_where_shared:
            with pytest.raises(
                ValueError, match=rf"^{function.name}: \w+ must not overlap \w+, got "
            ) as error:
                getattr(tt, function.name)(**arguments)
            assert written in str(error.value)
            assert other in str(error.value)
            assert all(arguments[name].tobytes() == memory for name, memory in before.items())
            return
        expected = getattr(tt, function.name)(**copies)
        result = getattr(tt, function.name)(**arguments)
    for got, value in zip(numbers(result), numbers(expected), strict=True):
        np.testing.assert_array_equal(got, value)
    np.testing.assert_array_equal(*(np.asarray(a[written], np.float64) for a in (arguments, copies)))


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_out_may_overlap_a_parameter(rng, dtype):
    """A parameter as long as a row, of the dtype of x and of others."""
    x = rng.standard_normal((1, 64)).astype(dtype)
    for parameter in ("f2", "f4", "f8"):
        gamma = rng.standard_normal((8, 64)).astype(parameter)
        expected = tt.layer_norm(x, gamma[0].copy(), gamma[0].copy())
        out = gamma.view(dtype).reshape(-1)[:64].reshape(1, 64)
        assert tt.layer_norm(x, gamma[0], gamma[0], out=out) is out
        np.testing.assert_array_equal(out, expected)


def test_columns_of_one_array_are_updated_in_lists(rng):
    table = rng.standard_normal((50, 9)).astype("f4")
    columns = list(table.T)
    expected = table.copy()
    expected[:, :3] -= np.float32(0.5) * expected[:, 3:6]
    tt.sgd_update(columns[:3], columns[3:6], columns[6:], lr=0.5)
    np.testing.assert_array_equal(table[:, :6], expected[:, :6])
