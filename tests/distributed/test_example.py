"""`examples/mnist_mpi.py` on several ranks."""

import re

import pytest


@pytest.mark.parametrize("ranks", [2, 4])
def test_mnist_mpi_writes_the_same_checkpoint_on_any_number_of_ranks(on_ranks, ranks):
    alone, shown, checkpoint = on_ranks(1, "example")[0]
    assert alone > 0.5
    assert re.fullmatch(r"test accuracy [\d.]+%, checkpoint [0-9a-f]{8}, 1 processes", shown.splitlines()[-1])
    first, *others = on_ranks(ranks, "example")
    assert first == (alone, shown.replace("1 processes", f"{ranks} processes"), checkpoint)
    assert others == [(alone, "", checkpoint)] * (ranks - 1)
