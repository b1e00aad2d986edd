"""The experiment on norms and small batches, with a small net, and its claims about made-up accuracies."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from helpers.lab import draw, failed, made_runs, runs_of
from trimtab.lab.experiments.small_batch_norms import ALL_CLASSES, EXPERIMENT, LABELS, Setting, alike, cells

SHORT = Setting(
    samples=200, widths=(784, 32, 10), epochs=10, lr_per_sample=0.5 / 32, batches=(2, 32), alike_batch=20
)


def made(**changes):
    """Accuracies in points as they should be, but for those of the given cells, norm_batch or norm_few."""
    accuracies = {"batch_2": 60, "renorm_2": 75, "batch_few": 70} | changes

    def result(seed, norm, batch, classes):
        name = f"{norm}_{'few' if classes else batch}"
        return {"accuracy": accuracies.get(name, 80) / 100, "accuracy by all": 0.65}

    return made_runs(EXPERIMENT, Setting(), result)


def test_batches_of_few_classes_use_each_sample_at_most_once_in_an_epoch():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 50))
    epoch = [*islice(alike(labels, 20, 2, seed=0), 25)]
    assert len(np.unique(epoch)) == 500
    assert max(len(np.unique(labels[batch])) for batch in epoch) == 2
    assert len({tuple(np.unique(labels[batch])) for batch in epoch}) > 10
    assert np.any(np.concatenate([*islice(alike(labels, 20, 2, seed=1), 25)]) != np.concatenate(epoch))


def test_every_cell_is_trained_and_tested():
    runs = runs_of(EXPERIMENT, SHORT)
    for cell in cells(SHORT):
        accuracy = runs.values("accuracy", **cell)
        assert accuracy.shape == (2,)
        assert np.all((accuracy >= 0) & (accuracy <= 1))
    assert [cell["batch"] for cell in cells(SHORT) if cell["norm"] == "layer"] == [2, 32, 20]
    for norm in LABELS:  # at a batch size that suits all of them
        assert np.all(runs.values("accuracy", norm=norm, batch=32, classes=ALL_CLASSES) > 0.6)


def test_statistics_of_all_samples_replace_the_running_averages():
    """After a single step the averages are nearly those of the start, mean 0 and variance 1."""
    setting = replace(SHORT, samples=32, epochs=1, batches=(32,), lr_per_sample=1e-3)
    runs = runs_of(EXPERIMENT, setting, seeds=1)
    cell = {"norm": "batch", "batch": 32, "classes": ALL_CLASSES}
    assert runs.values("accuracy by all", **cell) != runs.values("accuracy", **cell)


def test_claims_hold_for_accuracies_as_published():
    assert failed(EXPERIMENT, Setting(), made()) == []


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        ({"layer_8": 78.4}, "spread of accuracy over batches of 2 to 128, points, layer norm"),
        ({"group_4": 81.6}, "spread of accuracy over batches of 2 to 128, points, group norm"),
        ({"batch_2": 78.1, "renorm_2": 80}, "loss of accuracy at batches of 2, points, batch norm"),
        ({"renorm_2": 69.9}, "share of it that batch renorm recovers, %"),
        (
            {"layer_few": 69},
            "loss of accuracy by batches of 32 samples of 2 classes, points, batch norm - layer norm",
        ),
    ],
)
def test_a_claim_fails_for_other_accuracies(change, claim):
    assert failed(EXPERIMENT, Setting(), made(**change)) == [claim]


def test_the_share_of_the_running_averages_is_shown():
    claims = {claim.claim: claim for claim in EXPERIMENT.claims(Setting(), made())}
    shown = claims["the same, statistics of all samples instead of running averages, %"]
    assert shown.measured == pytest.approx(25)  # 5 of 20 points
    assert shown.holds is None


def test_the_figure_has_a_line_for_each_norm():
    pytest.importorskip("matplotlib")
    left, right = draw(EXPERIMENT, Setting(), made())
    assert [text.get_text() for text in left.get_legend().get_texts()] == [*LABELS.values()]
    assert len(right.containers) == len(LABELS)
