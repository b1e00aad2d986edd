"""Training on an iterable of batches."""

import numpy as np
import pytest
from helpers.training import WeightedSquares, linear_trainer, small_trainer, state_of, two_classes
from numpy.testing import assert_allclose
from trimtab.callbacks import Callback


@pytest.fixture
def data(rng):
    return two_classes(rng)


def batches_of(x, y, *weight, size=8):
    return [tuple(part[begin : begin + size] for part in (x, y, *weight)) for begin in range(0, len(x), size)]


class Loader:
    """Yields the batches anew each time; its length is what it says."""

    def __init__(self, batches, length=None):
        self.batches, self.length, self.passes = batches, length, 0

    def __iter__(self):
        self.passes += 1
        yield from self.batches

    def __len__(self):
        if self.length is None:
            raise TypeError("no length")
        return self.length


@pytest.mark.parametrize("length", [None, 5, 3, 99, -1])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_iterable_trains_as_the_arrays_of_its_batches(length, accumulate, data):
    loader, learner, other = Loader(batches_of(*data), length), small_trainer(), small_trainer()
    history = learner.fit(loader, epochs=3, accumulate=accumulate, progress=False)
    expected = other.fit(*data, epochs=3, batch_size=8, shuffle=False, accumulate=accumulate, progress=False)
    assert history == expected
    assert state_of(learner)[0] == state_of(other)[0]
    assert loader.passes == 3


def test_an_iterator_trains_for_one_epoch(data):
    learner, other = small_trainer(), small_trainer()
    before = state_of(learner)
    with pytest.raises(
        ValueError,
        match="fit: x must be iterable once for each of 2 epochs, got a generator, which is used up",
    ):
        learner.fit((batch for batch in batches_of(*data)), epochs=2, progress=False)
    assert state_of(learner) == before
    learner.fit((batch for batch in batches_of(*data)), progress=False)
    other.fit(*data, batch_size=8, shuffle=False, progress=False)
    assert state_of(learner)[0] == state_of(other)[0]


def test_an_iterable_that_is_used_up_is_noticed(data):
    class Once:
        batches = iter(batches_of(*data))

        def __iter__(self):
            return (batch for batch in self.batches)

    with pytest.raises(ValueError, match="fit: x must yield batches in every pass, got none in a later one"):
        small_trainer().fit(Once(), epochs=2, progress=False)


def test_the_number_of_batches_is_told_where_it_is_known(data):
    seen = []

    class Look(Callback):
        def on_fit_begin(self, trainer, epochs, batches):
            seen.append(batches)

    for length, accumulate in ((5, 1), (5, 2), (None, 1), (7, 3)):
        small_trainer(Look()).fit(Loader(batches_of(*data), length), accumulate=accumulate, progress=False)
    assert seen == [5, 3, 0, 3]


def test_batches_are_read_when_they_are_needed(data):
    read, trained = [], []

    class Look(Callback):
        def on_batch_end(self, trainer, batch, logs):
            trained.append(batch)
            assert len(read) == batch + 1

    def lazy():
        for batch in batches_of(*data):
            read.append(len(batch))
            yield batch

    small_trainer(Look()).fit(lazy(), progress=False)
    assert len(read) == len(trained) == 5


def test_batches_may_have_weights_and_any_size(rng):
    x, y, weight = rng.standard_normal((11, 3)), rng.standard_normal(11), rng.uniform(0, 2, 11)
    parts = [(x[:4], y[:4], weight[:4]), [x[4:5].tolist(), y[4:5].tolist(), weight[4:5].tolist()]]
    parts.append((x[5:], y[5:], weight[5:]))
    learner, other = linear_trainer(), linear_trainer()
    history = learner.fit(parts, accumulate=3, validation_data=Loader(parts), progress=False)
    other.fit(x, y, sample_weight=weight, batch_size=99, progress=False)
    for name, array in other.model.state_dict().items():
        assert_allclose(learner.model.state_dict()[name], array, rtol=1e-12)
    assert_allclose(history["val_loss"], [learner.evaluate(x, y, sample_weight=weight)["loss"]], rtol=1e-12)
    assert isinstance(learner.loss, WeightedSquares)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_list_of_pairs_is_validation_data_in_batches(count, rng):
    """Two pairs of arrays of the same shape are not samples and targets."""
    x, y = rng.standard_normal((24, 3)), rng.standard_normal((24, 1))
    parts = [(x[begin::count], y[begin::count, 0]) for begin in range(count)]
    learner, other = linear_trainer(), linear_trainer()
    found = learner.fit(x, y[:, 0], validation_data=parts, epochs=2, progress=False)
    expected = other.fit(x, y[:, 0], validation_data=(x, y[:, 0]), epochs=2, progress=False)
    assert_allclose(found["val_loss"], expected["val_loss"], rtol=1e-12)
    rows = [[*x], y[:, 0]]
    assert other.fit(x, y[:, 0], validation_data=rows, progress=False).epochs == 1


@pytest.mark.parametrize("number", [2, 5, 7])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_training_on_an_iterable_resumes(number, accumulate, data, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "run.safetensors"

    class Stop(Callback):
        left = number

        def on_batch_end(self, trainer, batch, logs):
            self.left -= 1
            if self.left == 0:
                trainer.stop()

    options = {"epochs": 3, "accumulate": accumulate, "progress": False}
    whole, stopped, resumed = small_trainer(), small_trainer(Stop()), small_trainer()
    whole.fit(batches_of(*data), **options)
    stopped.fit(batches_of(*data), **options)
    assert stopped.optimizer.steps == number
    stopped.save(path)
    resumed.fit(batches_of(*data), resume=path, **options)
    assert state_of(resumed) == state_of(whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": 3}, "x must be an iterable of batches, got 3"),
        ({"x": []}, "x must yield at least one batch, got none"),
        (
            {"x": [np.ones((4, 3))]},
            r"x must yield \(x, y\) or \(x, y, sample_weight\), got a ndarray as batch 0",
        ),
        ({"x": [(1, 2, 3, 4)]}, r"x must yield \(x, y\) or .*, got a tuple of 4 as batch 0"),
        ({"x": np.ones((4, 3))}, "y must be given with an array, got None and x, a ndarray"),
        ({"x": [(np.ones((4, 3)), [0, 1])]}, r"y of batch 0 must have 4 entries as x, got shape \(2,\)"),
        ({"x": [(np.ones((2, 3)), [0, 2])]}, "y of batch 0: labels must be classes from 0 to 1, got 2"),
        (
            {"sample_weight": np.ones(40)},
            "sample_weight must be None with an iterable of batches, which yields",
        ),
        ({"class_weight": "balanced"}, "class_weight must be None with an iterable of batches"),
        ({"validation_split": 0.5}, "validation_split must be 0 with an iterable of batches, got 0.5"),
        (
            {"validation_data": iter([(np.ones((2, 3)), [0, 1])])},
            "x of validation_data must be iterable once for each of 2 epochs, got a list_iterator",
        ),
    ],
)
def test_wrong_iterables_are_refused_and_change_nothing(change, message, data):
    learner = small_trainer()
    before = state_of(learner)
    with pytest.raises((TypeError, ValueError), match=f"^fit: {message}"):
        learner.fit(**({"x": batches_of(*data), "epochs": 2, "progress": False} | change))
    assert state_of(learner) == before


def test_a_bad_batch_names_itself(data):
    batches = batches_of(*data)
    batches[3] = (batches[3][0], batches[3][1][:5])
    learner = small_trainer()
    with pytest.raises(ValueError, match=r"^fit: y of batch 3 must have 8 entries as x, got shape \(5,\)"):
        learner.fit(batches, progress=False)
    assert learner.optimizer.steps == 3


def test_the_other_batches_of_a_skipped_step_are_skipped(data):
    bad = (np.full((8, 3), np.nan, np.float32), data[1][:8])
    good = batches_of(*data)
    learner, other = small_trainer(), small_trainer()
    learner.fit([bad, good[0], *good[1:3]], accumulate=2, nan="skip", progress=False)
    other.fit(good[1:3], accumulate=2, progress=False)
    assert (learner.skipped, learner.optimizer.steps) == (1, 1)
    assert state_of(learner)[0] == state_of(other)[0]


@pytest.mark.parametrize("error", [FloatingPointError, RuntimeError])
def test_a_fit_that_fails_in_its_first_batch_keeps_the_history(error, data):
    learner = small_trainer()
    learner.fit(*data, epochs=2, progress=False)
    before = state_of(learner), learner.position, learner.metric_names
    x = data[0].copy()
    x[:] = np.nan

    def fail(batch, rng):
        rng.random()
        raise RuntimeError

    with pytest.raises(error):
        learner.fit(x, data[1], augment=fail if error is RuntimeError else None, progress=False)
    assert (state_of(learner), learner.position, learner.metric_names) == before
    assert learner.history.epochs == 2
