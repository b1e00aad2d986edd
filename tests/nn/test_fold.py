"""Batch norms folded into the layers before them: equal outputs in inference."""

import copy

import numpy as np
import pytest
from helpers.layers import trained
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import nn

f64 = np.float64


def test_a_folded_model_has_equal_outputs_in_inference(rng):
    x = rng.standard_normal((20, 4))
    model = nn.Sequential(
        nn.Linear(4, 5, rng=0, dtype=f64),
        nn.BatchNorm(5, dtype=f64, activation="relu"),
        nn.Sequential(
            nn.Linear(5, 6, bias=False, rng=1, dtype=f64), nn.BatchNorm(6, affine=False, dtype=f64)
        ),
        nn.ReLU(),
        nn.BatchNorm(6, dtype=f64),
        nn.Linear(6, 3, rng=2, dtype=f64),
        nn.BatchNorm(3, renorm=True, dtype=f64, axis=-1),
    )
    trained(model, x, 2 * x + 1)
    state = model.state_dict()
    folded = nn.fold(model)
    kinds = [type(module).__name__ for _, module in folded.modules()]
    assert kinds == ["Sequential", "Linear", "ReLU", "Sequential", "Linear", "ReLU", "BatchNorm", "Linear"]
    assert not any(module.training for _, module in folded.modules())
    assert model.training
    for name, array in model.state_dict().items():
        assert_array_equal(array, state[name])
    assert_allclose(folded(x), model.eval()(x), rtol=1e-12, atol=1e-12)
    folded[0].weight.value += 1
    assert_array_equal(model[0].weight.value, state["0.weight"])


@pytest.mark.parametrize("axis", [1, -1])
def test_convolutions_are_folded(rng, axis):
    def convolution(inputs, outputs, **options):
        return nn.Conv2d(inputs, outputs, 3, padding=1, axis=axis, rng=outputs, dtype=f64, **options)

    def norm(channels, axis=axis):
        return nn.BatchNorm(channels, axis=axis, dtype=f64)

    x = rng.standard_normal((3, 4, 4, 4))
    model = nn.Sequential(
        convolution(4, 6, groups=2),
        norm(6),
        nn.Residual(convolution(6, 4, bias=False), norm(4, axis % 4), nn.ReLU(), convolution(4, 6), norm(6)),
        convolution(6, 4),
        norm(4, axis=2),
    )
    trained(model, x, x + 1)
    folded = nn.fold(model)
    kinds = [type(module).__name__ for _, module in folded.modules()]
    inside = ["Conv2d", "ReLU", "Conv2d"]
    assert kinds == ["Sequential", "Conv2d", "Residual", *inside, "Conv2d", "BatchNorm"]
    assert_allclose(folded(x), model.eval()(x), rtol=1e-11, atol=1e-11)


def assert_same_outputs(model, folded, *inputs):
    for x in inputs:
        assert_allclose(folded(x), model.eval()(x), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("axis", [1, -1])
def test_folded_linear_layers_are_right_for_arrays_of_any_rank(axis, rng):
    """With outputs on axis 2, a norm of axis 1 normalizes something else."""
    rows, stacks = rng.standard_normal((6, 3)), rng.standard_normal((4, 5, 3))
    norm = nn.BatchNorm(5, axis=axis, activation="relu", dtype=f64)
    model = trained(nn.Sequential(nn.Linear(3, 5, rng=0, dtype=f64), norm, nn.ReLU()), rows, rows + 1)
    folded = nn.fold(model)
    assert "BatchNorm" not in repr(folded)
    assert_same_outputs(model, folded, rows, stacks)
    again = copy.deepcopy(folded)
    assert_same_outputs(model, again, rows, stacks)
    with nn.recording(folded), nn.recording(model):
        dy = np.ones_like(model(rows))
        folded(rows)
    assert_allclose(folded.backward(dy), model.backward(dy), rtol=1e-11)
    assert list(folded.state_dict()) == ["0.weight", "0.bias"]
    if axis == 1:
        folded.load_state_dict(folded.state_dict())
        assert_same_outputs(model, folded, rows)
        with pytest.raises(ValueError, match=r"^Linear\(3, 5\): x must have shape \(N, 3\)"):
            folded(stacks)


def test_layers_whose_outputs_might_differ_are_not_folded(rng):
    class OwnNorm(nn.BatchNorm):
        def forward(self, x, residual=None):
            return 2 * super().forward(x, residual)

    class OwnLinear(nn.Linear):
        def forward(self, x):
            return super().forward(x) + 1

    class Backwards(nn.Sequential):
        def forward(self, x):
            for layer in reversed(self.layers):
                x = layer(x)
            return x

    def linear(inputs=3, outputs=3, kind=nn.Linear):
        return kind(inputs, outputs, rng=0, dtype=f64)

    def norm(channels=3, kind=nn.BatchNorm, **options):
        return kind(channels, dtype=f64, **options)

    rows, stacks, images = (rng.standard_normal(shape) for shape in ((6, 3), (3, 5, 3), (2, 3, 4, 5)))
    for model, x in (
        (nn.Sequential(linear(), norm(kind=OwnNorm)), rows),
        (nn.Sequential(linear(kind=OwnLinear), norm()), rows),
        (Backwards(linear(), norm()), rows),
        (nn.Sequential(linear(), nn.Tanh(), norm()), rows),
        (nn.Sequential(linear(outputs=7), norm(5)), stacks),
        (nn.Sequential(linear(), norm(axis=0)), rows[:3]),
        (nn.Sequential(linear(), norm(5, axis=-2)), stacks),
        (nn.Sequential(nn.Conv2d(3, 2, 1, rng=0, dtype=f64), norm(4, axis=2)), images),
    ):
        trained(model, x, 2 * x + 1)
        folded = nn.fold(model)
        assert len(folded.layers) == len(model.layers)
        assert_same_outputs(model, folded, x)


@pytest.mark.parametrize(
    "options",
    [
        {"frozen": True},
        {"renorm": True},
        {"momentum": None},
        {"virtual_batch_size": 2},
        {"virtual_batch_size": 3, "strided": True},
        {"adjustment": lambda shape, rng: (2.0, 1.0)},
        {"affine": False},
        {"unbiased": False, "eps": 0.5},
    ],
    ids=lambda options: " ".join(options),
)
def test_every_kind_of_batch_norm_is_folded(options, rng):
    x = rng.standard_normal((6, 3))
    model = nn.Sequential(nn.Linear(3, 4, rng=0, dtype=f64), nn.BatchNorm(4, dtype=f64, **options))
    trained(model, x, 2 * x + 1)
    folded = nn.fold(model)
    assert len(folded.layers) == 1
    assert_same_outputs(model, folded, x)


def test_layers_in_lists_and_custom_modules_are_folded(rng):
    class Own(nn.Module):
        def __init__(self):
            self.blocks = [
                nn.Sequential(nn.Linear(3, 3, rng=seed, dtype=f64), nn.BatchNorm(3, dtype=f64))
                for seed in (0, 1)
            ]

        def forward(self, x):
            return self.blocks[1](self.blocks[0](x))

    x = rng.standard_normal((6, 3))
    model = trained(Own(), x, 2 * x + 1)
    folded = nn.fold(model)
    assert [len(block) for block in folded.blocks] == [1, 1]
    assert_same_outputs(model, folded, x)
    assert [len(block) for block in model.blocks] == [2, 2]
