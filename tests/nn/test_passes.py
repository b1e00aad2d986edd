"""Forward and backward passes: saved activations, modes by thread, hooks."""

import contextlib
import gc
import sys
import threading
import weakref

import numpy as np
import pytest
from helpers.layers import LAYERS
from numpy.testing import assert_array_equal
from trimtab import Trainer, losses, nn, optim
from trimtab.nn.passes import evaluation

f64 = np.float64


class Scale(nn.Module):
    """A custom layer as the documentation describes it."""

    def __init__(self):
        self.factor = nn.Parameter(np.full(3, 2.0))

    def forward(self, x):
        self.saved = x
        return x * self.factor.value

    def backward(self, dy):
        self.factor.grad = np.sum(dy * self.saved, axis=0)
        return dy * self.factor.value * np.ones_like(self.saved)


def network():
    return nn.Sequential(
        nn.Linear(4, 3, rng=0, dtype=f64), nn.BatchNorm(3, dtype=f64), Scale(), nn.Dropout(), nn.Tanh()
    ).use_rng(3)


def kept(model):
    return [path for path, module in model.modules() if hasattr(module, "saved")]


# ---- saved activations ----


@pytest.mark.parametrize("name", LAYERS)
def test_backward_consumes_the_saved_activations(name, rng):
    make, shape = LAYERS[name]
    model, x = make().use_rng(3), rng.standard_normal(shape)
    assert not kept(model)
    y = model(x)
    assert kept(model)
    model.backward(np.ones_like(y))
    assert not kept(model)
    seen = weakref.ref(x)
    del x, y
    gc.collect()
    assert seen() is None
    with pytest.raises(RuntimeError, match=r"\): backward must come after forward in training"):
        model.backward(np.ones((1,)))


@pytest.mark.parametrize("name", LAYERS)
def test_evaluation_saves_no_activations(name, rng):
    make, shape = LAYERS[name]
    model, x = make().use_rng(3), rng.standard_normal(shape)
    model(x)  # saves activations, which the next forward discards
    y = model.eval()(x)
    assert not kept(model)
    with pytest.raises(
        RuntimeError, match=r"\): backward must come after forward in training; a forward in eval"
    ):
        model.backward(y)


def test_a_custom_layer_follows_the_same_rules(rng):
    layer, x = Scale(), rng.standard_normal((5, 3))
    layer.eval()(x)
    with pytest.raises(RuntimeError, match=r"^Scale\(\): backward must come after forward in training"):
        layer.backward(x)
    layer.train()(x)
    layer.backward(x)
    assert_array_equal(layer.factor.grad, (x * x).sum(0))
    assert not hasattr(layer, "saved")


def test_saved_set_in_any_way_follows_the_same_rules():
    layer = nn.ReLU()
    for mode in (True, False):
        layer.train(mode)
        object.__setattr__(layer, "saved", 3)
        assert hasattr(layer, "saved") is mode
    assert nn.ReLU.saved is nn.Module.saved
    assert nn.ReLU.training


def test_a_failed_backward_consumes_nothing(rng):
    layer, x = nn.Linear(4, 3, rng=0, dtype=f64), rng.standard_normal((5, 4))
    layer(x)
    with pytest.raises(ValueError, match="dy must have shape"):
        layer.backward(np.ones((5, 4)))
    layer.backward(np.ones((5, 3)))
    assert_array_equal(layer.weight.grad[0], x.sum(0))


def test_reading_saved_does_not_raise():
    layer = nn.ReLU()
    assert not hasattr(layer, "saved")
    assert getattr(layer, "saved", 7) == 7
    for name in dir(layer):
        getattr(layer, name, None)
    with pytest.raises(AttributeError, match=r"ReLU\(\): backward must come after forward"):
        layer.saved  # noqa: B018
    layer(np.ones(3))
    assert_array_equal(layer.saved, np.ones(3))


def test_a_forward_without_backward_does_not_disturb_training(rng):
    model, other = network(), network()
    x, looked = rng.standard_normal((2, 6, 4))
    for one in (model, other):
        one[3].p = 0
    model(looked)
    y = model(x)
    dx = model.backward(y)
    assert_array_equal(dx, other.backward(other(x)))


class Twice(nn.Module):
    def __init__(self, inner):
        self.inner = inner

    def forward(self, x):
        return self.run(self.run(x))

    def backward(self, dy):
        return self.inner.backward(dy)

    def run(self, x):
        return self.inner(x)


class TwiceByForward(Twice):
    def run(self, x):
        return self.inner.forward(x)


@pytest.mark.parametrize("make", [Twice, TwiceByForward])
@pytest.mark.parametrize(
    "inner", [lambda: nn.Linear(4, 4, rng=0), lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh())]
)
def test_a_layer_that_runs_twice_in_a_pass_is_refused_by_name(make, inner):
    model, x = make(inner()), np.ones((2, 4), np.float32)
    message = r"^(Linear|Tanh).*: forward must run once in a pass of its model, ran more often"
    for _ in range(2):
        model(x)
        with pytest.raises(RuntimeError, match=message):
            model.backward(x)
    model.eval()(x)  # allowed where no gradient is wanted
    inner = model.inner
    inner.train()(x)  # a new pass may run it again
    inner.backward(x)


def test_a_layer_with_two_backwards_in_a_pass_is_refused_by_name():
    class Both(Twice):
        def backward(self, dy):
            return self.inner.backward(self.inner.backward(dy))

    model, x = Both(nn.Linear(4, 4)), np.ones((2, 4), np.float32)
    model(x)
    with pytest.raises(RuntimeError, match=r"^Linear\(4, 4\): forward must run once"):
        model.backward(x)


def test_a_module_that_keeps_saved_activations_may_run_a_layer_often(rng):
    """As a recurrent net does."""
    x = rng.standard_normal((4, 2, 3))

    class Recurrent(nn.Module):
        def __init__(self):
            self.cell = nn.Linear(3, 3, bias=False, rng=0, dtype=f64)

        def forward(self, h):
            self.steps = []
            for part in x:
                h = self.cell(h + part)
                self.steps.append(self.cell.saved)
            return h

        def backward(self, dh):
            total = np.zeros((3, 3))
            for saved in reversed(self.steps):
                self.cell.saved = saved
                dh = self.cell.backward(dh)
                total += self.cell.weight.grad
            self.cell.weight.grad = total
            return dh

    assert nn.gradcheck(Recurrent(), rng.standard_normal((2, 3)))


def test_a_forward_that_calls_super_counts_once(rng):
    class Loud(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

        def backward(self, dy):
            return super().backward(2 * dy)

    layer = Loud(4, 3, rng=0, dtype=f64)
    seen = []
    with nn.forward_hook(layer, lambda module, inputs, output: seen.append(output)):
        y = layer(rng.standard_normal((5, 4)))
    assert len(seen) == 1
    assert_array_equal(seen[0], y)
    assert nn.gradcheck(layer, rng.standard_normal((5, 4)))
    assert nn.gradcheck(nn.Sequential(layer, nn.Tanh()), rng.standard_normal((5, 4)))


@pytest.mark.parametrize("nan", ["stop", "skip"])
def test_a_fit_leaves_no_saved_activations(nan, rng):
    """Also where a batch had no backward."""
    model = nn.Sequential(nn.Linear(4, 3, rng=0), nn.BatchNorm(3))
    trainer = Trainer(model, losses.CrossEntropy(), optim.SGD(model, 0.1), rng=0)
    x, labels = rng.standard_normal((30, 4), np.float32), rng.integers(0, 3, 30)
    trainer.fit(x, labels, progress=False)
    assert not kept(model)
    x[25, 1] = np.nan
    with contextlib.suppress(FloatingPointError):
        trainer.fit(x, labels, batch_size=10, shuffle=False, nan=nan, progress=False)
    assert not kept(model)


# ---- modes ----


def test_evaluation_applies_within_its_block(rng):
    model, x = network(), rng.standard_normal((6, 4))
    model(x)
    before, saved = model.state_dict(), kept(model)
    attributes = [dict(vars(module)) for _, module in model.modules()]
    drawn = model.rng.bit_generator.state
    expected = network()
    expected.load_state_dict(before)
    expected = expected.eval()(x)
    with evaluation(model):
        assert not any(module.training for _, module in model.modules())
        assert_array_equal(model(x), expected)
        assert_array_equal(model(2 * x[:3]), model(2 * x[:3]))
    assert all(module.training for _, module in model.modules())
    assert kept(model) == saved
    assert [dict(vars(module)) for _, module in model.modules()] == attributes
    assert model.rng.bit_generator.state == drawn
    for name, array in model.state_dict().items():
        assert_array_equal(array, before[name])
    model.backward(np.ones((6, 3)))


@pytest.mark.parametrize("set_modes", [lambda m: m.eval(dropout=True), lambda m: m.eval()[3].train()])
def test_evaluation_keeps_the_modes_of_a_model_in_evaluation(set_modes, rng):
    model, x = network(), rng.standard_normal((6, 4))
    set_modes(model)
    with evaluation(model):
        assert [module.training for _, module in model.modules()] == [False] * 4 + [True, False]
        assert not np.array_equal(model(x), model(x))
    assert not kept(model)
    with evaluation(model, strict=True):
        assert_array_equal(model(x), model(x))


def test_evaluations_nest_and_concern_one_model():
    model, other = network(), network()
    with evaluation(model):
        with evaluation(model):
            assert not model.training
        assert not model.training
        assert other.training
    assert model.training


def test_other_threads_train_while_one_evaluates():
    model, modes = network(), []
    with evaluation(model):
        thread = threading.Thread(target=lambda: modes.append(model[3].training))
        thread.start()
        thread.join()
        assert not model[3].training
    assert modes == [True]


def test_several_threads_evaluate_one_model_at_once(rng):
    """While it trains, with its own activations and generator."""
    model, x = network(), rng.standard_normal((64, 4))
    model(x)
    with evaluation(model):
        expected = model(x)
    model[1].momentum = 0.0  # otherwise training would change the statistics
    right, failures = [], []

    def work():
        try:
            for _ in range(50):
                with evaluation(model):
                    right.append(np.array_equal(model(x), expected))
                model.rng.standard_normal(3)
        except Exception as error:
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(50):
            model.backward(np.ones_like(model(x)))
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failures
    assert right == [True] * 200


def test_threads_that_only_evaluate_agree(rng):
    model, x = network().eval(), rng.standard_normal((64, 4))
    expected, right = model(x), []
    threads = [
        threading.Thread(target=lambda: right.extend(np.array_equal(model(x), expected) for _ in range(100)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 400


def test_recording_allows_backward_in_evaluation(rng):
    model, x = network(), rng.standard_normal((6, 4))
    model(x)
    model.eval()
    assert nn.gradcheck(model, x)
    with nn.recording(model):
        y = model(x)
    dx = model.backward(np.ones_like(y))
    h = 1e-6 * rng.standard_normal((6, 4))
    np.testing.assert_allclose((dx * h).sum(), (model(x + h) - model(x - h)).sum() / 2, rtol=1e-6)
    assert not kept(model)


@pytest.mark.parametrize("path", ["1", "2", "3"])
def test_a_layer_in_evaluation_has_gradients_in_training(path, rng):
    """Such as a batch norm that `eval` has frozen."""
    model, x = network(), rng.standard_normal((6, 4))
    model(x)
    layer = dict(model.modules())[path].eval()
    before = layer.state_dict()
    assert nn.gradcheck(model, x)
    model(x)
    model.backward(np.ones((6, 3)))
    for name, array in layer.state_dict().items():
        assert_array_equal(array, before[name])
    assert not kept(model)


# ---- calls and hooks ----


def test_a_call_passes_all_arguments_to_forward(rng):
    class Asks(nn.Module):
        def forward(self, x, y, *more, scale=1):
            return scale * (x + y + sum(more))

    assert Asks()(1, 2, 3, scale=2) == Asks().forward(1, 2, 3, scale=2) == 12
    assert Asks()(x=1, y=2) == 3
    x, residual = rng.standard_normal((2, 6, 3))
    assert_array_equal(nn.BatchNorm(3, dtype=f64)(x, residual), nn.BatchNorm(3, dtype=f64)(x) + residual)
    assert_array_equal(
        nn.BatchNorm(3, dtype=f64)(x, residual=residual), nn.BatchNorm(3, dtype=f64)(x) + residual
    )


def test_hooks_see_every_module_that_runs(rng):
    class Own(nn.Module):
        def __init__(self):
            self.first, self.others, self.unused = nn.Linear(4, 3), [nn.ReLU(), nn.Tanh()], nn.ReLU()

        def forward(self, x):
            return self.others[1](self.others[0].forward(self.first(x)))

    model, x = nn.Sequential(Own()), rng.standard_normal((5, 4))
    seen = []
    with nn.forward_hook(model, lambda *arguments: seen.append(arguments)):
        y = model(x)
    own = model[0]
    assert [module for module, _, _ in seen] == [own.first, *own.others, own, model]
    assert seen[0][1][0] is x
    assert seen[-1][2] is y
    assert_array_equal(seen[1][2], np.maximum(seen[1][1][0], 0))
    model(x)
    nn.ReLU()(x)
    assert len(seen) == 5


def test_a_hook_concerns_its_thread_and_returns_nothing(rng):
    model, seen = nn.Sequential(nn.ReLU()), []
    with nn.forward_hook(model, lambda *arguments: seen.append(arguments)):
        thread = threading.Thread(target=model, args=(np.ones(3),))
        thread.start()
        thread.join()
        assert not seen
        with (
            nn.forward_hook(model[0], lambda module, inputs, output: output),
            pytest.raises(TypeError, match="hook"),
        ):
            model(np.ones(3))
