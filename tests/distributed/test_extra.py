"""What is missing where the extra is not installed, or only a part of it."""

import sys

import numpy as np
import pytest
import trainings
import trimtab as tt
from programs import CUTS, Threads
from trimtab import distributed, extras

INSTALL = r'pip install "trimtab\[mpi\]"'


def test_world_is_the_communicator_of_all_processes():
    from mpi4py import MPI

    assert distributed.world() is MPI.COMM_WORLD


def test_without_mpi4py_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.delitem(sys.modules, "mpi4py.MPI", raising=False)
    with pytest.raises(extras.MissingExtra, match=f"^mpi4py is not installed: {INSTALL}$"):
        distributed.world()


@pytest.mark.parametrize("kind", [ImportError, RuntimeError])
def test_without_an_mpi_the_error_says_what_to_install(monkeypatch, kind):
    def fail(module):
        raise kind("cannot load MPI library")

    monkeypatch.setattr(extras, "import_module", fail)
    with pytest.raises(
        extras.MissingExtra, match=rf"^mpi4py finds no MPI: {INSTALL}, .*cannot load MPI library"
    ):
        distributed.world()


@pytest.mark.parametrize("module", ["greenlet", "threadpoolctl"])
def test_shards_without_a_part_of_it_are_an_error_before_the_first_step(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    made = trainings.trainer(shards=4)
    with pytest.raises(extras.MissingExtra, match=f"^{module} is not installed: {INSTALL}$"):
        made.fit(*trainings.data(), **trainings.ARGUMENTS)
    assert made.optimizer.steps == 0


def test_nothing_of_it_is_imported_without_need(run_python):
    code = (
        "import sys; from trimtab import Trainer, distributed, nn; nn.BatchNorm(2);"
        "print(*({'mpi4py', 'greenlet', 'threadpoolctl'} & {*sys.modules}))"
    )
    assert run_python(code) == ""


@pytest.mark.parametrize("ranks", CUTS)
def test_ranks_share_the_cpus(on_ranks, ranks):
    """Where `mpirun` has not given them different ones; with shards, BLAS has one thread in any case."""
    for found in on_ranks(ranks, "threads"):
        own = max(1, found["cpus"] // ranks)
        kernels = min(own, found["before"][0])  # these may have a limit of their own
        assert found["in"] == [(kernels, {own}), (kernels, {1})]
        assert found["before"] == found["after"]


def test_a_limit_of_threads_is_not_raised():
    watch = Threads()
    tt.set_num_threads(1)
    trainings.trainer(watch, shards=2).fit(*trainings.data(), **trainings.ARGUMENTS)
    assert watch.seen == (1, {1})


def test_one_rank_trains_with_the_bits_of_a_trainer_without_comm():
    of_rank, alone = (
        trainings.result("augmented", **options) for options in ({"comm": distributed.world()}, {})
    )
    np.testing.assert_equal(of_rank, alone)
