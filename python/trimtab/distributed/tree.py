"""The sum over k shards in the order of one binary tree, whatever ranks have the shards.

Neighbors are added, then neighboring pairs, and so on; what has no neighbor goes up as it is. A node of the
tree is (level, number): it covers the shards from ``number * 2**level`` on. Addition of two numbers is
commutative to the bit, so the tree alone decides the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import TypeAlias, TypeVar

import numpy as np

from trimtab._typing import Array
from trimtab.distributed.ranks import Alone

Node: TypeAlias = tuple[int, int]
Value = TypeVar("Value")


def merged(
    nodes: Mapping[Node, Value], shards: int, add: Callable[[Value, Value], Value]
) -> dict[Node, Value]:
    """Return the sums that can be computed from those of some nodes; of all nodes, the root's alone."""
    level, found = 0, dict(nodes)
    while 1 << level < shards:
        for node in sorted(node for node in found if node[0] == level):
            number = node[1]
            neighbor = level, number ^ 1
            if number % 2 == 0 and neighbor in found:
                found[level + 1, number // 2] = add(found.pop(node), found.pop(neighbor))
            elif number % 2 == 0 and (number + 1) << level >= shards:
                found[level + 1, number // 2] = found.pop(node)
        level += 1
    return found


def shards_of(rank: int, ranks: int, shards: int) -> range:
    """The numbers of the shards that a rank computes."""
    each = shards // ranks
    return range(rank * each, (rank + 1) * each)


def _nodes_of(rank: int, ranks: int, shards: int) -> list[Node]:
    """The nodes whose sums a rank computes by itself."""
    leaves = {(0, shard): None for shard in shards_of(rank, ranks, shards)}
    return [*merged(leaves, shards, lambda left, right: None)]


def sum_of_shards(arrays: Iterable[Array], ranks: Alone, shards: int) -> Array:
    """Return the sum of the vectors of all shards on every rank; those of this rank are overwritten.

    Each rank adds up what it has, then a slice of the vector for all ranks, and gets the other slices: twice
    the vector goes in and out of a rank, as in an allreduce.
    """
    numbers = shards_of(ranks.rank, ranks.size, shards)
    own = merged({(0, n): array for n, array in zip(numbers, arrays, strict=True)}, shards, _add_to_left)
    if ranks.size == 1:
        (total,) = own.values()
        return total
    length = len(next(iter(own.values())))
    edges = [rank * length // ranks.size for rank in range(ranks.size + 1)]
    widths = [end - begin for begin, end in pairwise(edges)]
    sent = [np.concatenate([array[slice(*ends)] for array in own.values()]) for ends in pairwise(edges)]
    places = [_nodes_of(rank, ranks.size, shards) for rank in range(ranks.size)]
    received = ranks.exchange(sent, [len(nodes) * widths[ranks.rank] for nodes in places])
    nodes: dict[Node, Array] = {}
    for there, sums in zip(places, received, strict=True):
        nodes |= zip(there, sums.reshape(len(there), -1), strict=True)
    (total,) = merged(nodes, shards, _add_to_left).values()
    return ranks.join(total, widths)


def _add_to_left(left: Array, right: Array) -> Array:
    left += right
    return left
