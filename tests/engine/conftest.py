"""Tests of threads run with each engine."""

import os

import pytest
import trimtab as tt


@pytest.fixture(params=["team", "openmp"])
def engine(request, monkeypatch):
    """Each engine in turn, here and in processes that a test starts."""
    if request.param == "openmp":
        try:
            tt.set_threading("openmp")
        except RuntimeError as error:
            pytest.skip(str(error))
        if "libtsan" in os.environ.get("LD_PRELOAD", ""):
            pytest.skip("the sanitizer does not see how an OpenMP runtime synchronizes")
    monkeypatch.setenv("TRIMTAB_THREADING", request.param)
    tt.set_threading(request.param)
    return request.param
