"""Batches from a folder of files, of which each rank reads a part."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import trainings
from programs import CUTS
from trimtab import distributed


@pytest.mark.parametrize("ranks", CUTS)
def test_the_parts_of_the_ranks_are_the_batches(on_ranks, ranks):
    """45 samples in batches of 11; the single one that is left joins the last batch."""
    x, y = trainings.data()
    sizes = [11, 11, 11, 12]
    results = on_ranks(ranks, "npy_batches")
    for number, rows in enumerate(np.split(np.arange(45), np.cumsum(sizes)[:-1])):
        parts = [result["batches"][number] for result in results]
        np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), x[rows])
        np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), y[rows])
        assert np.ptp([len(part[0]) for part in parts]) <= 1
    assert {result["length"] for result in results} == {len(sizes)}


@pytest.mark.parametrize("ranks", CUTS)
def test_training_on_files_is_that_on_the_batches(on_ranks, ranks):
    x, y = trainings.data()
    edges = [0, 11, 22, 33, 45]
    batches = [(x[begin:end], y[begin:end]) for begin, end in pairwise(edges)]
    made = trainings.trainer(draws=False)
    made.fit(batches, epochs=2, progress=False)
    for result in on_ranks(ranks, "npy_batches"):
        for name, array in trainings.arrays_of(made).items():
            np.testing.assert_allclose(result["arrays"][name], array, rtol=1e-11, atol=1e-11)


def save(folder, **files):
    for name, array in files.items():
        np.save(folder / f"{name}.npy", array)


def test_one_batch_at_a_time_is_in_memory(tmp_path):
    """Of two files of 8 MB, batches of 64 kB."""
    x = np.ones((1000, 1000))
    save(tmp_path, x0=x, x1=x, y0=np.zeros(1000, int), y1=np.ones(1000, int))
    batches = distributed.NpyBatches(tmp_path, 8)
    tracemalloc.start()
    assert sum(y.sum() for _, y in batches) == 1000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"files x\*\.npy, got"),
        ({"x": np.ones((2, 3))}, r"files y\*\.npy, got"),
        ({"x": np.ones((2, 3)), "y": np.ones(3)}, r"as many targets .*, got \[2\] and \[3\]"),
        ({"x0": np.ones((2, 3)), "x1": np.ones((2, 4))}, r"files x\*\.npy of float64 .* x1\.npy"),
        ({"x0": np.ones((2, 3)), "x1": np.ones((2, 3), "f4")}, r"files .*, got float32 of .* x1\.npy"),
        ({"x0": np.ones(())}, r"files x\*\.npy of .* got float64 of shape \(\) in x0\.npy"),
    ],
)
def test_other_files_are_refused(tmp_path, files, message):
    save(tmp_path, **files)
    with pytest.raises(ValueError, match=rf"^NpyBatches: folder must have {message}"):
        distributed.NpyBatches(tmp_path, 2)


def test_batches_of_one_sample_stay_apart(tmp_path):
    save(tmp_path, x=np.ones((3, 2)), y=np.arange(3))
    assert [len(x) for x, _ in distributed.NpyBatches(tmp_path, 1)] == [1, 1, 1]


def test_arguments_are_checked(tmp_path):
    with pytest.raises(ValueError, match=r"^NpyBatches: batch_size must be at least 1, got 0$"):
        distributed.NpyBatches(tmp_path, 0)
    with pytest.raises(TypeError, match=r"^NpyBatches: comm must be a communicator"):
        distributed.NpyBatches(tmp_path, 2, comm=1)
    with pytest.raises(TypeError, match=r"^NpyBatches: folder must"):
        distributed.NpyBatches(3, 2)
