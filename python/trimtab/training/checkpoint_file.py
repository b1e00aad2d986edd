"""The file format of checkpoints: arrays in named groups, and notes, in safetensors."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

import numpy as np

from trimtab import extras
from trimtab._files import replaced
from trimtab._typing import Array

EXTRA = "checkpoint"
NOTES = "trimtab.checkpoint.1"  # the key of the notes in the metadata; a new layout gets a new number
SEPARATOR = "/"

Groups = dict[str, dict[str, Array]]


def require_safetensors() -> None:
    """Raise `MissingExtra` unless safetensors is installed."""
    extras.load("safetensors", EXTRA)


def write(path: str | os.PathLike[str], groups: Mapping[str, Mapping[str, Array]], notes: Any) -> None:
    """Write arrays in named groups, and notes for JSON. The file appears whole or not at all.

    An array is stored as ``group/name`` in C order, because safetensors ignores strides.

    Raises
    ------
    OSError
        If the file cannot be written; the message names it, and an existing file is unchanged.
    """
    safetensors = extras.load("safetensors.numpy", EXTRA)
    arrays = {
        f"{group}{SEPARATOR}{name}": np.asarray(array, order="C")
        for group, members in groups.items()
        for name, array in members.items()
    }
    text = json.dumps(notes, default=lambda array: array.tolist())
    try:
        with replaced(path) as unfinished:
            safetensors.save_file(arrays, unfinished, metadata={NOTES: text})
    except (OSError, extras.load("safetensors").SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(getattr(error, "errno", None), f"checkpoint: {reason}", os.fspath(path)) from error


def read(path: str | os.PathLike[str]) -> tuple[Groups, Any]:
    """Return the groups and the notes of a file written by `write`.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged, or not a checkpoint; the message names it.
    """
    safetensors = extras.load("safetensors", EXTRA)
    with suppress(ImportError):  # it registers bfloat16 with NumPy
        import_module("ml_dtypes")
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    try:
        with safetensors.safe_open(os.fspath(path), framework="np") as file:
            notes, keys = file.metadata() or {}, file.keys()
            arrays = {key: file.get_tensor(key) for key in keys}
    except safetensors.SafetensorError as error:
        raise ValueError(f"checkpoint: {os.fspath(path)} must be whole, got {error}") from error
    if NOTES not in notes:
        raise ValueError(f"checkpoint: {os.fspath(path)} must have the notes {NOTES}, got {sorted(notes)}")
    groups: Groups = {}
    for key, array in arrays.items():
        group, _, name = key.partition(SEPARATOR)
        groups.setdefault(group, {})[name] = array
    try:
        return groups, json.loads(notes[NOTES])
    except ValueError as error:
        raise ValueError(f"checkpoint: {os.fspath(path)} must be whole, got notes with {error}") from error
