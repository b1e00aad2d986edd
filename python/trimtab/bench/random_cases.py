"""Cases of shapes drawn at random, beside those of the table: kernels must be fast for classes of shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from math import exp, log, prod

import numpy as np

from trimtab.bench.cases import QUICK_SIZE, Case, Shape, Weights

LARGEST_SIZE = 2**24
# Bounds of the extents by the number of axes. Statistics of less than 8 values are mostly rounding errors.
ROWS, WIDTHS = (8, 2**16), (8, 2**16)
SAMPLES, CHANNELS, PIXELS = (1, 64), (1, 512), (4, 128)
PARAMETERS, MOST_PARAMETERS = (1, 2**12), 32


def random_cases(table: Sequence[Case], count: int, seed: int, quick: bool) -> list[Case]:
    """Draw shapes for each operation of a table; the same seed draws the same for whatever other operations.

    Parameters
    ----------
    table : sequence of Case
        Layouts, groups and probabilities are those of the table in turn.
    count : int
        The number of cases for each operation.
    seed : int
    quick : bool
        Draw only shapes of a quick run.
    """
    largest = QUICK_SIZE if quick else LARGEST_SIZE
    return [
        case
        for op in dict.fromkeys(case.op for case in table)
        for case in islice(drawn([case for case in table if case.op == op], seed, largest), count)
    ]


def drawn(templates: Sequence[Case], seed: int, largest: int) -> Iterator[Case]:
    """Draw cases of one operation without end."""
    rng = np.random.default_rng([seed, *templates[0].op.encode()])
    for template in cycle(templates):
        case = draw(template, rng)
        while case.size > largest:
            case = draw(template, rng)
        yield case


def draw(template: Case, rng: np.random.Generator) -> Case:
    """Draw the shape of a case, each extent log-uniform."""

    def extent(bounds: tuple[int, int]) -> int:
        low, high = bounds
        return min(high, int(exp(rng.uniform(log(low), log(high + 1)))))

    if template.weights:
        shapes: tuple[Shape, ...] = tuple(
            (extent(PARAMETERS), extent(PARAMETERS)) for _ in range(extent((1, MOST_PARAMETERS)))
        )
        elements = sum(map(prod, shapes))
        weights = Weights(f"{len(shapes)} matrices, {elements:,} values", shapes)
        return replace(template, shape=shapes[0], weights=weights)
    if len(template.shape) == 2:
        return replace(template, shape=(extent(ROWS), extent(WIDTHS)))
    samples, height, width = extent(SAMPLES), extent(PIXELS), extent(PIXELS)
    groups = template.groups or 1
    channels = groups * max(1, extent(CHANNELS) // groups)
    plane = (height, width)
    shape = (samples, channels, *plane) if template.axis == 1 else (samples, *plane, channels)
    return replace(template, shape=shape)
