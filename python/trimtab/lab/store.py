"""Finished runs, kept as one JSON file each, so that none is done twice."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np

import trimtab as tt
from trimtab.lab.experiment import Run


@dataclass(frozen=True)
class Key:
    """What a run depends on."""

    name: str
    version: str
    setting: dict[str, Any]
    cell: dict[str, Any]
    seed: int

    @classmethod
    def of(cls, name: str, setting: Any, cell: dict[str, Any], seed: int) -> Key:
        """Return the key of a run of this version."""
        return cls(name, tt.__version__, plain(asdict(setting)), plain(cell), seed)

    @property
    def file(self) -> str:
        """A file name that no other key has."""
        digest = sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"{self.name}-{digest[:16]}.json"


class Store:
    """The runs in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: Key, cell: dict[str, Any]) -> Run | None:
        """Return the run of a key; None if it is not there, or its file is damaged."""
        kept = _read(self.folder / key.file)
        if kept.get("key") != asdict(key) or not kept.keys() >= {"result", "seconds"}:
            return None
        return Run(cell, key.seed, kept["result"], kept["seconds"])

    def write(self, key: Key, cell: dict[str, Any], result: dict[str, Any], seconds: float) -> Run:
        """Keep a run; its file appears whole or not at all."""
        result = plain(result)
        self.folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=self.folder, suffix=".part", delete=False) as file:
            try:
                json.dump({"key": asdict(key), "result": result, "seconds": seconds}, file)
                file.close()
                os.replace(file.name, self.folder / key.file)
            except BaseException:
                os.unlink(file.name)
                raise
        return Run(cell, key.seed, result, seconds)

    def other_versions(self, name: str) -> dict[str, int]:
        """Return how many runs of an experiment there are of each other version."""
        counts: dict[str, int] = {}
        for path in sorted(self.folder.glob(f"{name}-*.json")):
            version = _read(path).get("key", {}).get("version", tt.__version__)
            if version != tt.__version__:
                counts[version] = counts.get(version, 0) + 1
        return counts


def plain(value: Any) -> Any:
    """Return the value as JSON gives it back: arrays and tuples as lists, NumPy's numbers as Python's."""
    return json.loads(json.dumps(value, default=_without_numpy))


def _without_numpy(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        # A long double is not a number of JSON.
        return (array.astype(np.float64) if array.dtype.kind == "f" else array).tolist()
    raise TypeError(f"lab: result must have numbers, strings, lists and arrays, got {value!r}")


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
