"""Every compiled function is in the tables of the tests."""

import re
from inspect import isbuiltin
from pathlib import Path

import trimtab as tt
from helpers.functions import FUNCTIONS
from helpers.large_calls import every_call

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
COMPILED = {name for name in tt.__all__ if isbuiltin(getattr(tt, name))}
SETTINGS = {
    *("get_memory_cap", "get_num_threads", "get_threading", "isa"),
    *("set_memory_cap", "set_num_threads", "set_threading", "trim_memory"),
}


def test_arguments_of_every_function_are_described():
    assert {function.name for function in FUNCTIONS} == COMPILED - SETTINGS


def test_every_function_is_called_with_large_arrays():
    assert {label.rpartition("-")[0] for label in every_call()} >= COMPILED - SETTINGS


def test_every_kernel_has_a_digest():
    kernels = re.findall(r"\b(\w+)\[dtype_count\]", (ROOT / "cpp" / "kernels.h").read_text())
    digest = (ROOT / "tests" / "isa" / "digest.cpp").read_text()
    assert len(kernels) > 30
    assert not [kernel for kernel in kernels if not re.search(rf"[.>]{kernel}\b", digest)]
