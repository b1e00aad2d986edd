"""Arguments and results in another order of memory than that of kernels: they are copied in tiles."""

import itertools

import numpy as np
import pytest
import trimtab as tt
from helpers.strategies import BFLOAT16
from trimtab import _core

STORAGE = [np.dtype(code) for code in ("f2", "f4", "f8")] + [BFLOAT16]

# Below, at and above the sides of a tile (2 to 16) and what a task copies (64 bytes of rows, 1024 columns).
SHAPES = [
    (1, 1),
    (3, 5),
    (16, 16),
    (17, 33),
    (31, 47),
    (64, 2),
    (33, 1030),
    (2, 3, 4, 5),
    (5, 21, 9, 8),
    (4, 16, 16, 16),
    (3, 1, 7, 2),
    (3, 2, 1, 17, 2),
]


def distinct(shape, dtype):
    """An array without equal neighbors, of both signs."""
    values = np.arange(np.prod(shape)) * 37 % 127 - 63
    return values.reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", STORAGE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_order_of_the_axes_is_read(shape, dtype):
    x = distinct(shape, dtype)
    for order in itertools.permutations(range(x.ndim)):
        view = x.transpose(order)
        read = _core.as_array(view)
        assert read.flags.c_contiguous
        np.testing.assert_array_equal(read.astype(float), view.astype(float))


@pytest.mark.parametrize("dtype", STORAGE, ids=str)
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[::-1, ::-1].T,
        lambda x: x[:, ::2].T,
        lambda x: x[::3].T,
        lambda x: x[3:, 5:].T,
        lambda x: np.broadcast_to(x[:, :1], x.shape),
        lambda x: np.broadcast_to(x[0], (19, 40, x.shape[1])).transpose(2, 0, 1),
        lambda x: x.astype(x.dtype.newbyteorder()).T if x.dtype.kind == "f" else x.T,
    ],
    ids=["reversed", "other columns", "third rows", "cut", "broadcast", "broadcast rows", "swapped"],
)
def test_views_are_read(view, dtype):
    x = view(distinct((40, 53), dtype))
    np.testing.assert_array_equal(_core.as_array(x).astype(float), x.astype(float))


@pytest.mark.parametrize("dtype", STORAGE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_order_of_the_axes_is_written(shape, dtype):
    x = distinct(shape, dtype)
    for order in itertools.permutations(range(x.ndim)):
        memory = np.full([2 * extent for extent in shape], 9, dtype)
        out = memory[tuple(slice(extent) for extent in shape)].transpose(order)
        assert tt.relu(x.transpose(order), out=out) is out
        np.testing.assert_array_equal(out.astype(float), np.maximum(x.astype(float), 0).transpose(order))
        assert (memory.astype(float) == 9).sum() >= memory.size - x.size  # nothing else is written


@pytest.mark.parametrize("threads", [1, 3])
def test_a_copy_on_several_threads_is_complete(threads):
    tt.set_num_threads(threads)
    x = distinct((700, 5, 901), np.float32)
    for order in itertools.permutations(range(3)):
        np.testing.assert_array_equal(_core.as_array(x.transpose(order)), x.transpose(order))


def test_parameters_of_another_order_are_updated(rng):
    weight = rng.standard_normal((70, 41)).T
    table = rng.standard_normal((70, 82))
    gradient = table[:, ::2].T  # of an order that no memory has: it is copied
    expected = weight - 0.5 * gradient
    tt.sgd_update([weight], [gradient], lr=0.5)
    np.testing.assert_array_equal(weight, expected)
