"""Shards in one process: what each draws, what callbacks change, parts without samples."""

import numpy as np
import trainings
from trimtab import callbacks, losses
from trimtab._batches import Batch
from trimtab.training.evaluation import evaluate_part


def test_shards_draw_different_numbers():
    draws = []

    def noted(batch, rng):
        draws.append(rng.random())
        return batch

    made = trainings.trainer(shards=4)
    made.fit(*trainings.data(), epochs=2, batch_size=15, augment=noted, progress=False)
    assert len(set(draws)) == len(draws) == 2 * 3 * 4


class Freeze(callbacks.Callback):
    """Freezes a batch norm before the second epoch, and notes its statistics."""

    def on_epoch_begin(self, trainer, epoch):
        norm = trainer.model.layers[1]
        norm.frozen = epoch > 1
        self.before = norm.running_mean.copy()


def test_what_a_callback_changes_before_an_epoch_counts_in_it():
    watch = Freeze()
    made = trainings.trainer(watch, shards=4)
    made.fit(*trainings.data(), **trainings.ARGUMENTS)
    assert watch.before.any()
    np.testing.assert_array_equal(made.model.layers[1].running_mean, watch.before)


class MeanOfSquares(losses.Loss):
    """A loss of the user's own, which is NaN with a warning where there are no samples."""

    def __call__(self, output, target):
        difference = output - target[:, None]
        return np.mean(difference**2), 2 * difference / difference.size


def test_a_loss_is_not_called_for_a_part_without_samples():
    loss = MeanOfSquares()
    loss.metrics["largest"] = lambda output, target: np.abs(output).max()
    output = np.empty((0, 3))
    values, gradient = evaluate_part("fit", loss, output, Batch(output, np.empty(0), None))
    assert {name: value.weight for name, value in values.items()} == {"loss": 0, "largest": 0}
    assert gradient.shape == (0, 3)
