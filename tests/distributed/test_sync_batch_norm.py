"""Batch norm over the parts of a batch on several ranks."""

import copy
import pickle

import numpy as np
import pytest
import reference
from programs import CUTS, NORM_CASES, norm_data, norm_layer, norm_pass
from trimtab import distributed, nn

CASES = [(ranks, case, cut) for ranks in CUTS for case in NORM_CASES for cut in range(len(CUTS[ranks]))]


def joined(results, name):
    return np.concatenate([result[name] for result in results])


@pytest.mark.parametrize(("ranks", "case", "cut"), CASES)
def test_parts_give_what_the_batch_gives_in_one_process(on_ranks, ranks, case, cut):
    """Uneven parts, parts of one sample and empty ones: to 1e-13, running statistics included."""
    results = [of_rank[case, cut] for of_rank in on_ranks(ranks, "batch_norm")]
    layer = norm_layer(case)
    for _ in range(2):
        whole = norm_pass(layer, *norm_data(case))
    for name in ("y", "dx", "dresidual"):
        if whole[name] is not None:
            np.testing.assert_allclose(joined(results, name), whole[name], rtol=1e-12, atol=1e-12)
    gradients = sum(result["gradients"] for result in results)
    np.testing.assert_allclose(gradients, whole["gradients"], rtol=1e-12, atol=1e-12)
    for result in results:
        np.testing.assert_allclose(result["running"], whole["running"], rtol=1e-13)
        assert result["batches"] == whole["batches"] == 2


@pytest.mark.parametrize("ranks", CUTS)
def test_parts_follow_the_formulas(on_ranks, ranks):
    results = [of_rank["rows", 0] for of_rank in on_ranks(ranks, "batch_norm")]
    x, _, dy = norm_data("rows")
    gamma, beta = [0.5, -1, 2], [0.1, 0.2, -0.3]
    y, mean, rstd = reference.batch_norm_forward(x, np.array(gamma), np.array(beta))
    dx, *_ = reference.batch_norm_backward(dy, x, mean, rstd, np.array(gamma))
    np.testing.assert_allclose(joined(results, "y"), y, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(joined(results, "dx"), dx, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("ranks", CUTS)
def test_one_value_per_channel_on_all_ranks_is_an_error_on_all(on_ranks, ranks):
    expected = "BatchNorm(2, axis=1): x must have at least two values per channel on all ranks, got 1"
    assert on_ranks(ranks, "too_few_values") == [[expected]] * ranks


@pytest.mark.parametrize("ranks", CUTS)
def test_conversion_of_a_model(on_ranks, ranks):
    mean = np.arange(ranks).mean()
    for rank, result in enumerate(on_ranks(ranks, "conversion")):
        assert result["same"]
        np.testing.assert_allclose(result["mean"], 0.1 * mean, rtol=1e-6)
        assert np.sign(result["y"][0, 0]) == np.sign(rank - mean)


def test_what_cannot_be_synchronized_is_refused():
    comm = distributed.world()
    with pytest.raises(ValueError, match=r"^BatchNorm: virtual_batch_size must be None with comm, got 4$"):
        nn.BatchNorm(2, virtual_batch_size=4, comm=comm)
    with pytest.raises(ValueError, match=r"^BatchNorm: renorm must be False with comm, got True$"):
        nn.BatchNorm(2, renorm=True, comm=comm)
    model = nn.Sequential(nn.BatchNorm(2), nn.BatchNorm(2, renorm=True))
    with pytest.raises(ValueError, match="renorm must be False with comm"):
        distributed.convert_sync_batchnorm(model, comm)
    assert model.layers[0].comm is None
    layer = nn.BatchNorm(2, comm=comm)
    layer.virtual_batch_size = 4
    with pytest.raises(ValueError, match="virtual_batch_size must be None with comm"):
        layer.forward(np.ones((8, 2), np.float32))


@pytest.mark.parametrize("comm", [1, "world", object()])
def test_comm_must_be_a_communicator(comm):
    with pytest.raises(TypeError, match=r"^BatchNorm: comm must be a communicator of mpi4py"):
        nn.BatchNorm(2, comm=comm)
    with pytest.raises(TypeError, match=r"^convert_sync_batchnorm: comm must be a communicator"):
        distributed.convert_sync_batchnorm(nn.BatchNorm(2), comm)


def test_evaluation_and_frozen_layers_do_not_wait_for_others():
    """They use the running statistics, which are the same with and without comm."""
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    for prepare in (lambda layer: layer.eval(), lambda layer: setattr(layer, "frozen", True)):
        plain, synchronized = nn.BatchNorm(2), nn.BatchNorm(2, comm=distributed.world())
        for layer in (plain, synchronized):
            prepare(layer)
        np.testing.assert_array_equal(synchronized.forward(x), plain.forward(x))
        assert synchronized.batches == 0


def test_copies_and_pickles_use_the_same_ranks():
    layer = nn.BatchNorm(2, comm=distributed.world())
    assert copy.deepcopy(layer).comm is layer.comm
    assert pickle.loads(pickle.dumps(layer)).comm is layer.comm
