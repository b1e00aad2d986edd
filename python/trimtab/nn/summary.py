"""The table that `Module.summary` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trimtab.nn.options import sizes
from trimtab.nn.passes import evaluation, forward_hook, unchanged

if TYPE_CHECKING:
    from trimtab.nn.module import Module


def summary(model: Module, input_shape: tuple[int, ...]) -> str:
    """Return a line for each layer, aligned in columns: see `Module.summary`."""
    shapes = _output_shapes(model, input_shape)
    rows = [("layer", "description", "output", "parameters")]
    total = 0
    for path, module in model.modules():
        parameters = module._own_parameters()
        if parameters or not module.children():
            count = sum(parameter.value.size for parameter in parameters)
            rows.append((path, repr(module), str(shapes.get(module, "")), f"{count:,}"))
            total += count
    rows.append(("total", "", "", f"{total:,}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for *texts, number in rows:
        cells = map(str.ljust, texts, widths)
        lines.append("  ".join([*cells, number.rjust(widths[-1])]))
    return "\n".join(lines)


def _output_shapes(model: Module, input_shape: tuple[int, ...]) -> dict[Module, tuple[int, ...]]:
    """Map each module that runs to the shape of its output for one sample of zeros."""
    shapes: dict[Module, tuple[int, ...]] = {}

    def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        shapes[module] = np.shape(output)[1:]

    input_shape = sizes("summary: input_shape", input_shape)
    parameters = model.parameters()
    dtype = parameters[0].value.dtype if parameters else np.float32
    takes_ids = any(module.takes_ids for _, module in model.modules())
    x = np.zeros((1, *input_shape), np.int64 if takes_ids else dtype)
    with unchanged(model), evaluation(model, strict=True), forward_hook(model, note):
        model.forward(x)
    return shapes
