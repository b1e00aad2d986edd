"""Training on several ranks is that of one process, up to rounding."""

import numpy as np
import pytest
import trainings
from programs import CUTS, SHARDS
from threadpoolctl import threadpool_limits
from trainings import VARIANTS
from trimtab import Trainer, losses, nn, optim


def require_close(found, expected, tolerance=1e-11):
    np.testing.assert_allclose(found["curve"], expected["curve"], rtol=tolerance)
    assert found["history"].keys() == expected["history"].keys()
    for name, values in expected["history"].items():
        np.testing.assert_allclose(found["history"][name], values, rtol=tolerance)
    for name, array in expected["arrays"].items():
        np.testing.assert_allclose(found["arrays"][name], array, rtol=tolerance, atol=tolerance, err_msg=name)
    assert found["rng"] == expected["rng"]
    assert found["skipped"] == expected["skipped"]
    assert found["evaluated"] == pytest.approx(expected["evaluated"], rel=tolerance)
    np.testing.assert_allclose(
        found["predicted"], expected["predicted"], rtol=max(tolerance, 1e-9) if tolerance else 0
    )


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("ranks", CUTS)
def test_ranks_train_as_one_process_does(on_ranks, ranks, variant):
    """Curve, history, weights, running statistics, buffers, generator; with dropout and augmentation, too."""
    expected = trainings.result(variant)
    first, *others = [of_rank[variant] for of_rank in on_ranks(ranks, "training")]
    # Adam divides gradients by their own size, and so enlarges the rounding error of those that are almost 0
    require_close(first, expected, tolerance=1e-6 if variant == "adam" else 1e-11)
    for other in others:
        require_close(other, first, tolerance=0)


def test_a_shard_is_a_part_of_the_batch():
    """Without draws, shards change nothing but the rounding."""
    expected, found = trainings.result("in order"), trainings.result("in order", shards=6)
    expected["rng"] = found["rng"]
    require_close(found, expected)


def test_a_sample_of_nan_is_skipped_by_all():
    for variant in ("skipped", "skipped by the optimizer"):
        assert trainings.result(variant)["skipped"] == 2  # in two epochs


def cases():
    return [(ranks, shards) for ranks in SHARDS for shards in SHARDS[ranks] if ranks > 1]


@pytest.mark.parametrize(("ranks", "shards"), cases())
def test_shards_give_the_same_bits_on_any_number_of_ranks(on_ranks, ranks, shards):
    """A whole training with batch norm, dropout, augmentation and decay, in every dtype."""
    alone = on_ranks(1, "sharded_training")[0]
    for of_rank in on_ranks(ranks, "sharded_training"):
        found = {key: value for key, value in of_rank.items() if key[0] == shards}
        assert len(found) >= 5
        for key, value in found.items():
            np.testing.assert_array_equal(value.pop("curve"), alone[key]["curve"])
            assert value == {name: alone[key][name] for name in value}


def test_the_number_of_shards_and_the_seed_decide_the_draws(on_ranks):
    of_shards = on_ranks(1, "sharded_training")[0]
    curves = [of_shards[shards, "augmented", "float64"]["curve"] for shards in SHARDS[1]]
    assert len({curve.tobytes() for curve in curves}) == len(curves)
    assert not np.array_equal(trainings.result("draws", shards=4, rng=8)["curve"], curves[1])


def test_shards_have_the_same_bits_whatever_the_threads_of_blas():
    """Products of this size have other bits on two threads than on one."""
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((256, 784), dtype=np.float32), rng.integers(0, 10, 256)
    results = []
    for threads in (1, 2):
        net = nn.Sequential(nn.Linear(784, 512, rng=0), nn.ReLU(), nn.Linear(512, 10, rng=1))
        made = Trainer(net, losses.CrossEntropy(), optim.SGD(net, 0.1), rng=0, shards=2)
        with threadpool_limits(threads, "blas"):
            made.fit(x, y, batch_size=128, epochs=2, progress=False)
            values = made.evaluate(x, y), made.predict(x).tobytes()
        results.append((values, {name: array.tobytes() for name, array in net.state_dict().items()}))
    assert results[0] == results[1]


@pytest.mark.parametrize("ranks", CUTS)
def test_each_rank_may_read_its_part_of_the_batches(on_ranks, ranks):
    x, y = trainings.data()
    batches = [(x[part : part + 10], y[part : part + 10]) for part in range(0, 40, 10)]
    made = trainings.trainer(draws=False)
    made.fit(batches, validation_data=batches, epochs=2, progress=False)
    for found in on_ranks(ranks, "stream"):
        for name, values in made.history.items():
            np.testing.assert_allclose(found["history"][name], values, rtol=1e-11)
        for name, array in trainings.arrays_of(made).items():
            np.testing.assert_allclose(found["arrays"][name], array, rtol=1e-11, atol=1e-11)
        assert len(found["predicted"]) == 40


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_shards_of_parts_that_ranks_read_give_the_same_bits(on_ranks, ranks):
    assert on_ranks(ranks, "sharded_stream") == on_ranks(1, "sharded_stream") * ranks


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_ranks_augment_parts_of_their_own_with_draws_of_their_own(on_ranks, ranks):
    """Parts of different sizes take different numbers of draws; the trainers' generators stay the same."""
    results = on_ranks(ranks, "augmented_stream")
    draws = [draw for result in results for draw in result["draws"]]
    assert len(set(draws)) == 3 * ranks
    assert all(result["rng"] == results[0]["rng"] for result in results)


@pytest.mark.parametrize("ranks", CUTS)
def test_the_cause_of_a_nan_is_named_on_all_ranks(on_ranks, ranks):
    expected = (
        "fit: loss must be finite, got nan in epoch 1, batch 0: its samples have NaN or Inf; "
        "nan='skip' leaves such batches out"
    )
    assert on_ranks(ranks, "nan_of_one_rank") == [[expected] * 2] * ranks
