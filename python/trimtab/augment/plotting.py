"""`plot`: images before and after a transform."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from trimtab import extras
from trimtab._checks import whole
from trimtab._inputs import as_array, as_generator
from trimtab._typing import Seed


def plot(
    transform: Any, images: ArrayLike, *, columns: int = 8, axis: int | None = None, rng: Seed = None
) -> Any:
    """Plot a row for each image: the image itself, then the results of several draws of a transform.

    Parameters
    ----------
    transform : callable
        ``transform(images, rng=None) -> images``.
    images : array_like
        A few images, gray (one channel or no channel axis) or in color (three or four channels).
    columns : int
        Number of pictures in a row.
    axis : {None, 1, -1}
        The channel axis.
    rng : int, numpy.random.Generator or None
        Source of the draws of the transform.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import augment
    >>> images = np.random.default_rng(0).random((8, 16, 16))
    >>> figure = augment.plot(augment.light(), images, rng=0)
    """
    columns = whole("plot: columns", columns, 1)
    generator = as_generator("plot: rng", rng)
    originals = as_array("plot: images", images)
    drawn = [originals, *(transform(originals, rng=generator) for _ in range(columns - 1))]
    pyplot = extras.load("matplotlib.pyplot")
    figure, panels = pyplot.subplots(
        len(originals), columns, figsize=(columns, len(originals)), squeeze=False, layout="constrained"
    )
    for column, pictures in enumerate(drawn):
        for row, picture in enumerate(pictures):
            shown = picture if axis is None else np.moveaxis(picture, 0 if axis == 1 else -1, -1)
            panel = panels[row, column]
            panel.imshow(shown.squeeze(), cmap="gray", vmin=originals.min(), vmax=originals.max())
            panel.set_axis_off()
    return figure
