"""Sums over ranks and shards."""

import numpy as np
import pytest
from programs import CUTS, LENGTHS, summands, vectors


@pytest.mark.parametrize("ranks", CUTS)
def test_arrays_of_any_size_and_dtype_are_summed_in_place(on_ranks, ranks):
    of_ranks = [*zip(*map(summands, range(ranks)), strict=True)]
    expected = [np.sum(arrays, axis=0, dtype=float).astype(arrays[0].dtype) for arrays in of_ranks]
    for found in on_ranks(ranks, "sums"):
        np.testing.assert_equal(found, expected)


def tree_sum(values):
    """Neighbors are added, then neighboring sums; one without a neighbor goes up as it is."""
    while len(values) > 1:
        pairs = [values[place : place + 2] for place in range(0, len(values), 2)]
        values = [pair[0] + pair[1] if len(pair) == 2 else pair[0] for pair in pairs]
    return values[0]


@pytest.mark.parametrize("ranks", CUTS)
def test_shards_are_summed_in_the_order_of_the_tree(on_ranks, ranks):
    """Bit for bit, also where the shards of a rank are no subtree, and vectors are shorter than the ranks."""
    for found in on_ranks(ranks, "shard_sums"):
        assert len(found) == 24 // ranks * len(LENGTHS)
        for (shards, length), total in found.items():
            np.testing.assert_array_equal(total, tree_sum(list(vectors(shards, length))))


def test_the_order_shows_in_the_bits():
    values = list(vectors(8, 1000))
    assert not np.array_equal(tree_sum(values), sum(values[1:], values[0]))
