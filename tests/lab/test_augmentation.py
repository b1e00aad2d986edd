"""The experiment on augmentation, with a small net, and its claims on made-up errors."""

import numpy as np
import pytest
from helpers.lab import draw, failed, made_runs, runs_of
from trimtab import augment, nn
from trimtab.lab.experiments.augmentation import AUGMENTS, EXPERIMENT, Setting, network

SMALL = Setting(
    sets=("mnist",), sizes=(100,), channels=(2, 4), hidden=16, batch=20, steps=40, evaluations=2, lr=0.05
)


def made(light=(3.0, 3.1, 3.2), where=("mnist", 1_000)):
    """Errors of 5 % with decay and dropout, 6 % with nothing, and on one set others with light."""

    def result(seed, images, size, method):
        error = {"none": 6.0, "decay + dropout": 5.0}.get(method, 4.0 + 0.1 * seed)
        if method == "light" and (images, size) == where:
            error = light[seed]
        return {"error": np.array([50, error])}

    return Setting(), made_runs(EXPERIMENT, Setting(), result)


def test_the_methods_are_what_they_are_called():
    kinds = {name: [type(one) for one in getattr(how, "transforms", [how])] for name, how in AUGMENTS.items()}
    assert kinds["light"] == [augment.Flip, augment.Shift]
    assert kinds["shift"] == [augment.Shift]
    assert kinds["none"] == kinds["decay + dropout"] == [type(None)]
    for drops in (False, True):
        layers = network(SMALL, drops, 0).layers
        assert [layer.p for layer in layers if isinstance(layer, nn.Dropout)] == [0.5, 0.5] * drops
        assert sum(isinstance(layer, nn.Conv2d) for layer in layers) == 2


def test_small_nets_learn_and_every_method_has_an_effect():
    runs = runs_of(EXPERIMENT, SMALL)
    errors = [runs.values("error", method=method) for method in SMALL.methods]
    assert all(error.shape == (2, 2) for error in errors)
    assert np.all(errors[0][:, -1] < 60)
    assert len({error.tobytes() for error in errors}) == len(SMALL.methods)


def test_the_sets_are_those_of_the_data():
    assert {cell["images"] for cell in EXPERIMENT.cells(Setting())} == {"mnist", "fashion_mnist"}
    assert EXPERIMENT.data == ("mnist", "fashion-mnist")


def test_claims_hold_if_light_leads_clearly():
    assert failed(EXPERIMENT, *made()) == []
    first = [claim.measured for claim in EXPERIMENT.claims(*made())][:6]
    np.testing.assert_allclose(first, [1, 2.9, 1.9, 1.9, 19, 9])


@pytest.mark.parametrize("light", [(5.1, 5.2, 5.3), (4.0, 4.8, 5.2)])
def test_the_claim_fails_if_light_does_not_lead_or_not_by_two_deviations(light):
    (claim,) = failed(EXPERIMENT, *made(light))
    assert claim == "mnist, N = 1,000: lead of light over decay + dropout, in sd"


def test_other_sets_and_sizes_are_shown_only():
    assert failed(EXPERIMENT, *made((9.0, 9.0, 9.1), ("fashion_mnist", 5_000))) == []


def test_the_figure_has_a_panel_for_each_set():
    pytest.importorskip("matplotlib")
    panels = draw(EXPERIMENT, *made())
    assert [axes.get_title() for axes in panels] == ["mnist", "fashion_mnist"]
    assert panels[-1].get_legend_handles_labels()[1] == [*AUGMENTS]
