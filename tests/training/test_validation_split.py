"""The samples that a fit holds out: at random, in proportion to the classes, and the same ones ever after."""

import tracemalloc

import numpy as np
import pytest
from helpers.training import small_trainer, state_of
from numpy.testing import assert_array_equal
from trimtab import losses
from trimtab._batches import Data
from trimtab.callbacks import Callback


def numbered(samples, classes=2):
    """Samples that say which one they are, and labels."""
    x = np.repeat(np.arange(samples, dtype=np.float32)[:, None], 3, axis=1)
    return x, np.arange(samples) % classes


def held_out(learner, x, y, **options):
    """Fit, and return the numbers of the samples that were not trained on."""
    seen = set()

    def augment(batch, rng):
        seen.update(batch[:, 0].astype(int).tolist())
        return batch

    learner.fit(x, y, augment=augment, progress=False, **options)
    return sorted(set(range(len(x))) - seen)


def test_samples_are_held_out_at_random_by_the_generator():
    x, y = numbered(40)
    chosen = [held_out(small_trainer(), x, y, validation_split=0.3) for _ in range(2)]
    assert chosen[0] == chosen[1] != [*range(28, 40)]
    assert len(chosen[0]) == 12
    other = small_trainer()
    other.rng = np.random.default_rng(5)
    assert held_out(other, x, y, validation_split=0.3) != chosen[0]


def test_validation_data_are_the_samples_that_are_held_out():
    x, y = numbered(40)
    learner = small_trainer()
    chosen = held_out(learner, x, y, validation_split=0.25, epochs=2)
    assert learner.history["val_loss"][-1] == learner.evaluate(x[chosen], y[chosen])["loss"]


def test_every_sample_is_chosen_equally_often():
    x, y = numbered(10)
    counts = np.zeros(10)
    for seed in range(300):
        learner = small_trainer()
        learner.rng = np.random.default_rng(seed)
        counts[held_out(learner, x, y, validation_split=0.3)] += 1
    assert counts.sum() == 900
    assert np.all(abs(counts - 90) < 4 * np.sqrt(300 * 0.3 * 0.7))


def test_later_fits_hold_out_the_same_samples():
    x, y = numbered(40)
    learner = small_trainer()
    chosen = []
    for _ in range(3):
        chosen.append(held_out(learner, x, y, validation_split=0.3))
        assert held_out(learner, x, y) == []
    assert chosen[0] == chosen[1] == chosen[2]


@pytest.mark.parametrize("stop_after", [1, 4])
def test_a_resumed_training_holds_out_the_same_samples(stop_after, tmp_path):
    pytest.importorskip("safetensors")
    x, y = numbered(40)
    path = tmp_path / "run.safetensors"
    options = {"validation_split": 0.3, "epochs": 3, "batch_size": 10, "stratify": True, "progress": False}

    class Stop(Callback):
        left = stop_after

        def on_batch_end(self, trainer, batch, logs):
            self.left -= 1
            if not self.left:
                trainer.stop()

    whole, stopped, resumed = small_trainer(), small_trainer(Stop()), small_trainer()
    whole.fit(x, y, **options)
    stopped.fit(x, y, **options)
    stopped.save(path)
    resumed.rng = np.random.default_rng(77)
    resumed.fit(x, y, resume=path, **options)
    assert state_of(resumed) == state_of(whole)
    assert resumed.position.split_seed == whole.position.split_seed


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("share", [0.2, 0.37])
def test_a_stratified_split_has_the_same_share_of_each_class(shuffle, share):
    x = numbered(60)[0]
    y = np.repeat([0, 1, 2], [30, 25, 5])
    y = y[np.random.default_rng(1).permutation(60)]
    chosen = held_out(small_trainer(outputs=3), x, y, validation_split=share, stratify=True, shuffle=shuffle)
    assert len(chosen) == 60 - round(60 * (1 - share))
    counts = np.bincount(y[chosen], minlength=3)
    assert counts.tolist() == {0.2: [6, 5, 1], 0.37: [11, 9, 2]}[share]  # the largest remainders get one more
    if not shuffle:
        for label, count in enumerate(counts):
            assert_array_equal(np.array(chosen)[y[chosen] == label], np.flatnonzero(y == label)[-count:])


def test_a_class_of_one_sample_cannot_be_stratified():
    x, y = numbered(40)
    y[3] = 2
    with pytest.raises(
        ValueError, match="fit: stratify must have two samples of each class, got one of class 2"
    ):
        small_trainer(outputs=3).fit(x, y, validation_split=0.5, stratify=True, progress=False)
    y[5] = 2
    chosen = held_out(small_trainer(outputs=3), x, y, validation_split=0.5, stratify=True)
    assert np.count_nonzero(y[chosen] == 2) == 1


def test_a_memory_map_is_split_without_a_copy(tmp_path):
    """Also one in Fortran order, which `take` would copy as a whole for each batch."""
    x, y = numbered(40_000)
    for order in "CF":
        data = Data(np.asarray(x, order=order), y)
        tracemalloc.start()
        assert_array_equal(data.take(np.array([7, 3])).x, x[[7, 3]])
        assert tracemalloc.get_traced_memory()[1] < 10_000 < x.nbytes
        tracemalloc.stop()
    x, y = numbered(4000)
    path = tmp_path / "x.npy"
    for order in "CF":
        np.save(path, np.asarray(x, order=order))
        learner, other = (small_trainer(loss=losses.CrossEntropy()) for _ in range(2))
        mapped = np.load(path, mmap_mode="r")
        options = {"validation_split": 0.3, "progress": False}
        assert learner.fit(mapped, y, **options) == other.fit(x, y, **options)


def test_a_resumed_training_is_stratified_as_it_was(tmp_path):
    """Another split would validate on samples that were trained on."""
    pytest.importorskip("safetensors")
    x, y = numbered(40)
    options = {"validation_split": 0.3, "progress": False, "resume": tmp_path / "run.safetensors"}
    learner = small_trainer()
    learner.fit(x, y, **options | {"resume": None, "stratify": True})
    learner.save(options["resume"])
    with pytest.raises(ValueError, match=r"^fit: stratify must be True as in .*, got False"):
        small_trainer().fit(x, y, epochs=2, **options)
    assert len(small_trainer().fit(x, y, epochs=2, stratify=True, **options)["loss"]) == 2
