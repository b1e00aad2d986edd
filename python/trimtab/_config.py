"""The version, and what the library runs on."""

import platform

import numpy as np

from trimtab import _core

__version__ = "0.2.0"


def show_config() -> dict[str, str | int]:
    """Print the instruction set, threads, memory cap and build in use, and return them.

    Returns
    -------
    config : dict
        "trimtab", "numpy", "python", "machine", "isa", "isa_levels", "compiler", "num_threads",
        "threading", "openmp_runtime" and "memory_cap" (bytes).

    Examples
    --------
    >>> import trimtab as tt
    >>> config = tt.show_config()  # doctest: +ELLIPSIS
    trimtab ...
    """
    config: dict[str, str | int] = {
        "trimtab": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        **_core.build_info(),
    }
    width = max(map(len, config))
    print("\n".join(f"{name:<{width}}  {value}" for name, value in config.items()))
    return config
