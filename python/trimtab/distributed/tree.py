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
from numpy.typing import DTypeLike

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


class ShardSum:
    """The sum of vectors of one length over all shards.

    Each rank adds up what it has, then a slice of the vector for all ranks, and gets the other slices: twice
    the vector goes in and out of a rank, as in an allreduce. The memory is kept from one sum to the next.
    """

    def __init__(self, ranks: Alone, shards: int, length: int, dtype: DTypeLike) -> None:
        self._ranks, self._shards = ranks, shards
        self._edges = [rank * length // ranks.size for rank in range(ranks.size + 1)]
        self._widths = [end - begin for begin, end in pairwise(self._edges)]
        self._nodes = [_nodes_of(rank, ranks.size, shards) for rank in range(ranks.size)]
        own, everywhere = len(self._nodes[ranks.rank]), sum(map(len, self._nodes))
        self._sent: Array = np.empty(own * length if own > 1 else 0, dtype)
        self._received: Array = np.empty(everywhere * self._widths[ranks.rank], dtype)
        self._total: Array = np.empty(length if ranks.size > 1 else 0, dtype)

    def of(self, vectors: Iterable[Array]) -> Array:
        """Return the sum of those of the shards of this rank, which are overwritten, and of all others.

        It is valid until the next one is computed.
        """
        ranks, shards = self._ranks, self._shards
        leaves = zip(shards_of(ranks.rank, ranks.size, shards), vectors, strict=True)
        own = [*merged({(0, number): vector for number, vector in leaves}, shards, _add_to_left).values()]
        if ranks.size == 1:
            return own[0]
        width = self._widths[ranks.rank]
        ranks.exchange(
            self._by_rank(own),
            [len(own) * width for width in self._widths],
            self._received,
            [len(nodes) * width for nodes in self._nodes],
        )
        nodes = [node for of_rank in self._nodes for node in of_rank]
        slices = self._received.reshape(len(nodes), width)
        (total,) = merged(dict(zip(nodes, slices, strict=True)), shards, _add_to_left).values()
        ranks.join(total, self._total, self._widths)
        return self._total

    def _by_rank(self, own: list[Array]) -> Array:
        """Return what is sent to the ranks, one after the other: their slices of each vector."""
        if len(own) == 1:
            return own[0]
        np.concatenate([v[slice(*ends)] for ends in pairwise(self._edges) for v in own], out=self._sent)
        return self._sent


def _add_to_left(left: Array, right: Array) -> Array:
    left += right
    return left
