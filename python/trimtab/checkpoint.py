"""The file of a checkpoint: arrays in groups, and notes, in the safetensors format."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trimtab import extras
from trimtab._typing import Array

EXTRA = "checkpoint"
NOTES = "trimtab.checkpoint.1"  # where the notes stand in the metadata; another layout takes another number
SEPARATOR = "/"

Groups = dict[str, dict[str, Array]]


def require_safetensors() -> None:
    """Raise `MissingExtra` unless safetensors is installed."""
    extras.load("safetensors", EXTRA)


def write(path: str | os.PathLike[str], groups: Mapping[str, Mapping[str, Array]], notes: Any) -> None:
    """Write arrays in named groups, and notes that JSON can state; a file is there whole or not at all.

    An array is stored as ``group/name`` in C order, whatever its own: safetensors takes memory as it lies.
    """
    safetensors = extras.load("safetensors.numpy", EXTRA)
    arrays = {
        f"{group}{SEPARATOR}{name}": np.asarray(array, order="C")
        for group, members in groups.items()
        for name, array in members.items()
    }
    text = json.dumps(notes, default=lambda array: array.tolist())
    path = Path(path)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    try:
        safetensors.save_file(arrays, unfinished, metadata={NOTES: text})
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> tuple[Groups, Any]:
    """Return the groups and the notes of a file that `write` wrote.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged, or something else; the message names it.
    """
    safetensors = extras.load("safetensors", EXTRA)
    try:
        with safetensors.safe_open(path, framework="np") as file:
            notes, arrays = file.metadata() or {}, file.get_tensors()
    except safetensors.SafetensorError as error:
        raise ValueError(f"checkpoint: {os.fspath(path)} must be whole, got {error}") from error
    if NOTES not in notes:
        raise ValueError(f"checkpoint: {os.fspath(path)} must have the notes {NOTES}, got {sorted(notes)}")
    groups: Groups = {}
    for key, array in arrays.items():
        group, _, name = key.partition(SEPARATOR)
        groups.setdefault(group, {})[name] = array
    return groups, json.loads(notes[NOTES])
