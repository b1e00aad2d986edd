"""What several ranks or shards need: the same arguments everywhere, and layers that can be shared."""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np

from trimtab import _checks, extras
from trimtab._batches import Data
from trimtab._typing import Array
from trimtab.callbacks.dispatch import labeled
from trimtab.distributed.ranks import EXTRA
from trimtab.nn.batch_norm import BatchNorm
from trimtab.training.plan import Plan, Request
from trimtab.training.protocol import TrainerState


def require_shareable(trainer: TrainerState, plan: Plan) -> None:
    """Raise an error unless every batch and every layer can be cut into parts."""
    parts, kind = (trainer.ranks.size, "ranks") if trainer.shards is None else (trainer.shards, "shards")
    if trainer.shards is not None:
        extras.load("greenlet", EXTRA)
    if parts == 1:
        return
    batch_size = plan.source.settings.get("batch_size", parts)
    if batch_size < parts:
        raise ValueError(
            f"fit: batch_size must be at least the number of {kind}, {parts}, got batches of {batch_size}"
        )
    trains = trainer.model.training
    for path, module in trainer.model.modules():
        if trains and not module.training:
            continue
        if isinstance(module, BatchNorm):
            if not module.frozen:
                module.require_synchronizable()
            if module.adjustment is not None and trainer.shards is not None:
                raise ValueError(
                    f"fit: adjustment of {path}, {module!r}, must be None with shards, "
                    f"got {_checks.shown(module.adjustment)}"
                )
        elif module.buffer_names:
            raise ValueError(
                f"fit: model must take statistics over several {kind} in BatchNorm alone, "
                f"got {module!r} at {path or 'the top'}: put it into evaluation, or use BatchNorm"
            )


def facts_of(trainer: TrainerState, request: Request, plan: Plan) -> dict[str, str]:
    """Return what must be the same on all ranks, by the name of an argument or array."""
    options = {name: getattr(request, name) for name in ("epochs", "nan", "validation_split")}
    options |= plan.source.settings
    facts = {name: str(value) for name, value in options.items()}
    facts["augment"] = _kind_of(request.augment)
    facts["x"] = _form_of(request.x)
    facts["y"] = "none" if request.y is None else described(np.asarray(request.y))
    facts["validation_data"] = described(plan.validation.y) if isinstance(plan.validation, Data) else "none"
    facts["metrics"] = ", ".join(plan.metric_names)
    facts["callbacks"] = str([label for label, item in labeled(trainer.callbacks) if not item.writes])
    facts["loss"] = _kind_of(trainer.loss) + _plain_options(trainer.loss)
    facts["rng"] = described_state(trainer.rng.bit_generator.state)
    facts["optimizer"] = repr(trainer.optimizer)
    saved = plan.saved
    facts["resume"] = "None" if saved is None else described_state(saved.position.notes(trainer.model))
    for owner, state in (
        ("model", trainer.model.state_dict()),
        ("optimizer", trainer.optimizer.state_dict()),
    ):
        facts |= {f"{owner}: {name}": described(array) for name, array in state.items()}
    return facts | {"model": repr(trainer.model)}


def described(array: Array) -> str:
    """Return the dtype, the shape and a checksum of an array."""
    return f"{array.dtype} of shape {array.shape} with the CRC-32 {zlib.crc32(array.tobytes()):08x}"


def described_state(state: Any) -> str:
    """Return a checksum of values for JSON."""
    text = json.dumps(state, default=lambda array: array.tolist())
    return f"a state with the CRC-32 {zlib.crc32(text.encode()):08x}"


def _form_of(x: Any) -> str:
    if hasattr(x, "dtype") and hasattr(x, "shape"):
        return f"{x.dtype} of shape {tuple(x.shape)} that begins with {described(np.asarray(x[:1]))}"
    return type(x).__name__


def _kind_of(thing: Any) -> str:
    return getattr(thing, "__name__", type(thing).__name__)


def _plain_options(thing: Any) -> str:
    plain = {
        name: value for name, value in vars(thing).items() if isinstance(value, bool | int | float | str)
    }
    return f" with {plain}" if plain else ""
