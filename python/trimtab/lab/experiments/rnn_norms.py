"""Batch norm does not fit recurrent nets; layer norm does.

A recurrent net reads sequences x of different lengths, h(t) = tanh(norm(W x(t) + U h(t - 1))). Batch norm
needs statistics of its own for every step, and those of the late steps come from the few long sequences.
Layer norm takes its statistics from each sample and step alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

import trimtab as tt
from trimtab._typing import Array
from trimtab.lab.data import Data
from trimtab.lab.experiment import SHOWN, Claim, Experiment, Runs, at_least, at_most, deviation
from trimtab.lab.nets import minibatches
from trimtab.lab.progress import Progress
from trimtab.optim.schedules import Polynomial

NORMS = ("none", "layer", "batch")
CLASSES, SIDE = 10, 28


@dataclass(frozen=True)
class Setting:
    """MNIST, row by row from the top, cut to random numbers of rows; Adam, its rate falls linearly to 0."""

    samples: int = 10_000
    tests: int = 10_000
    pooling: int = 1  # pixels whose mean is taken, in both directions
    shortest: float = 0.5  # share of the rows
    late: float = 0.95  # share of the rows that sequences have which are looked at by themselves
    units: int = 100
    batches: tuple[int, ...] = (16, 128)
    rates: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1)
    epochs: int = 10
    noise: float = 0.1  # standard deviation of the initial states in training
    averaging: float = 0.1  # of batch norm's running statistics
    largest_gradient: float = 1.0  # norm to which gradients are clipped
    trained: float = 60.0  # accuracy in percent, from which on a net counts as trained


def cells(setting: Setting) -> list[dict[str, Any]]:
    """Every norm with every batch size and learning rate."""
    return [
        {"norm": norm, "batch": batch, "lr": lr}
        for norm, batch, lr in product(NORMS, setting.batches, setting.rates)
    ]


class Recurrent:
    """The net, whose parameters are the float32 arrays of a dict."""

    def __init__(
        self, setting: Setting, norm: str, columns: int, rng: np.random.Generator, dtype: Any = np.float32
    ) -> None:
        self.norm, self.averaging = norm, setting.averaging
        units = setting.units

        def matrix(outputs: int, inputs: int) -> Array:
            drawn: Array = (rng.standard_normal((outputs, inputs)) / np.sqrt(inputs)).astype(dtype)
            return drawn

        self.parameters = {
            "W": matrix(units, columns),
            "U": np.linalg.qr(rng.standard_normal((units, units)))[0].astype(dtype),
            "gamma": np.ones(units, dtype),
            "beta": np.zeros(units, dtype),
            "V": matrix(CLASSES, units),
            "c": np.zeros(CLASSES, dtype),
        }
        self.means, self.variances = np.zeros((SIDE, units)), np.ones((SIDE, units))  # running, of each step

    def forward(self, x: Array, lengths: Array, state: Array, training: bool = False) -> Array:
        """Return the logits (N, 10) of x (N, rows, columns), from initial states; keep what backward needs.

        The samples are in decreasing order of their lengths, so that those still read are the first ones.
        """
        p = self.parameters
        inputs = x @ p["W"].T
        self.x, self.tape = x, []
        for t in range(lengths[0]):
            active = int(np.sum(lengths > t))
            before = state[:active]
            a = inputs[:active, t] + before @ p["U"].T
            y, *statistics = self.normalize(a, t, training)
            after = tt.tanh(y)
            self.tape.append((before, a, statistics, after))
            state = np.concatenate([after, state[active:]])
        self.state = state
        logits: Array = state @ p["V"].T + p["c"]
        return logits

    def backward(self, dlogits: Array) -> dict[str, Array]:
        """Return the gradients of the parameters."""
        p = self.parameters
        found = {name: np.zeros_like(value) for name, value in p.items()}
        found["V"] += dlogits.T @ self.state
        found["c"] += dlogits.sum(axis=0)
        dstate = dlogits @ p["V"]
        for t, (before, a, statistics, after) in reversed([*enumerate(self.tape)]):
            active = len(a)
            da, *others = self.normalize_backward(tt.tanh_backward(dstate[:active], after), a, *statistics)
            for name, gradient in zip(("gamma", "beta"), others, strict=True):
                found[name] += gradient
            found["W"] += da.T @ self.x[:active, t]
            found["U"] += da.T @ before
            dstate = np.concatenate([da @ p["U"], dstate[active:]])
        return found

    def normalize(self, a: Array, t: int, training: bool) -> tuple[Any, ...]:
        """Return the normalized array, and the statistics that it was normalized with."""
        gamma, beta = self.parameters["gamma"], self.parameters["beta"]
        if self.norm == "layer":
            return tt.layer_norm_forward(a, gamma, beta)
        if self.norm == "none":
            return (a + beta,)
        mean, var = self.means[t], self.variances[t]
        if training and len(a) > 1:  # one sample has no variance
            return tt.batch_norm_forward(
                a, gamma, beta, running_mean=mean, running_var=var, momentum=self.averaging
            )
        return tt.batch_norm(a, mean, var, gamma, beta), mean, 1 / np.sqrt(var + 1e-5)

    def normalize_backward(self, dy: Array, a: Array, *statistics: Array) -> tuple[Array, Array, Array]:
        """Return the gradients of the array, gamma and beta."""
        gamma = self.parameters["gamma"]
        if self.norm == "none":
            return dy, np.zeros_like(gamma), dy.sum(axis=0)
        mean, rstd = statistics
        if self.norm == "layer":
            return tt.layer_norm_backward(dy, a, mean, rstd, gamma)
        dx, dgamma, dbeta, _ = tt.batch_norm_backward(dy, a, mean, rstd, gamma, training=len(a) > 1)
        return dx, dgamma, dbeta


def sequences(
    setting: Setting, x: Array, labels: Array, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Return images (N, rows, columns), standardized, labels, and lengths in decreasing order."""
    rows = SIDE // setting.pooling
    lengths = -np.sort(-rng.integers(round(setting.shortest * rows), rows, len(x), endpoint=True))
    images = x.reshape(len(x), rows, setting.pooling, rows, setting.pooling).mean(axis=(2, 4))
    return (images - images.mean()) / images.std(), labels, lengths


def run(
    setting: Setting, seed: int, data: Data, progress: Progress, norm: str, batch: int, lr: float
) -> dict[str, Any]:
    """Return the test accuracy in percent, of all sequences and of the long ones.

    For batch norm also that of the long ones with the statistics of the test sequences themselves.
    """
    rng = np.random.default_rng(seed)
    mnist = data.mnist
    x, labels, lengths = sequences(
        setting, mnist.x_train[: setting.samples], mnist.y_train[: setting.samples], rng
    )
    net = Recurrent(setting, norm, x.shape[2], rng)
    parameters = net.parameters
    moments = [{name: np.zeros_like(value) for name, value in parameters.items()} for _ in range(2)]
    chosen, steps = minibatches(len(x), batch, seed), setting.epochs * (len(x) // batch)
    rate = Polynomial(lr, steps)
    for step in progress(range(steps)):
        few = np.sort(next(chosen))  # longest first
        states = (setting.noise * rng.standard_normal((batch, setting.units))).astype(x.dtype)
        logits = net.forward(x[few], lengths[few], states, training=True)
        gradients = net.backward(tt.softmax_cross_entropy(logits, labels[few])[1])
        tt.clip_grad_norm([*gradients.values()], setting.largest_gradient)
        tt.adam_update(parameters, gradients, *moments, step=step + 1, lr=rate(step), decoupled=False)
    x, labels, lengths = sequences(setting, mnist.x_test[: setting.tests], mnist.y_test[: setting.tests], rng)
    late = lengths >= setting.late * x.shape[1]
    states = np.zeros((len(x), setting.units), x.dtype)
    right, by_itself = (
        100 * (net.forward(x, lengths, states, own).argmax(axis=1) == labels) for own in (False, True)
    )
    return {"accuracy": right.mean(), "late": right[late].mean(), "late, own": by_itself[late].mean()}


def accuracies(setting: Setting, runs: Runs, norm: str, batch: int, key: str = "accuracy") -> Array:
    """Return an accuracy at each learning rate: (seeds, rates)."""
    return np.stack([runs.values(key, norm=norm, batch=batch, lr=lr) for lr in setting.rates], axis=1)


def best(setting: Setting, runs: Runs, norm: str, batch: int, key: str = "accuracy") -> Array:
    """Return an accuracy of each seed at the rate where that of all sequences is best in the mean."""
    rate = accuracies(setting, runs, norm, batch).mean(axis=0).argmax()
    found: Array = accuracies(setting, runs, norm, batch, key)[:, rate]
    return found


def largest_rate(setting: Setting, runs: Runs, norm: str, batch: int) -> float:
    """Return the largest rate at which the net is trained, in the mean over the seeds; 0 if there is none."""
    means = accuracies(setting, runs, norm, batch).mean(axis=0)
    rates = zip(setting.rates, means, strict=True)
    return max((rate for rate, mean in rates if mean >= setting.trained), default=0.0)


def claims(setting: Setting, runs: Runs) -> list[Claim]:
    """Compare the largest rates, batch sizes, and long sequences."""
    found = []
    for batch in setting.batches:
        largest = {norm: largest_rate(setting, runs, norm, batch) for norm in NORMS}
        others = max(largest["none"], largest["batch"])
        rates = ", ".join(f"{norm} {rate:g}" for norm, rate in largest.items())
        found.append(
            Claim(
                f"batch {batch}: largest rate that trains layer norm less that of the others ({rates})",
                largest["layer"] - others,
                at_least(0),
            )
        )
    small, *_, large = setting.batches
    for norm, wanted in (("layer", at_most(1.5)), ("none", SHOWN), ("batch", SHOWN)):
        gap = best(setting, runs, norm, large) - best(setting, runs, norm, small)
        text = f"accuracy at best rate, batch {large} less batch {small}, {norm}: points"
        found.append(Claim(f"{text}, magnitude", abs(float(gap.mean())), wanted, float(deviation(gap))))
    for batch in setting.batches:
        lead = best(setting, runs, "layer", batch) - best(setting, runs, "batch", batch)
        found.append(
            Claim.of_mean(f"accuracy at best rate, batch {batch}, layer less batch norm", lead, SHOWN)
        )
        own, running = (best(setting, runs, "batch", batch, key) for key in ("late, own", "late"))
        text = f"batch norm, batch {batch}: points that running statistics cost long sequences"
        found.append(Claim.of_mean(text, own - running, SHOWN))
    return found


def draw(setting: Setting, runs: Runs, figure: Any) -> None:
    """Draw the accuracy over the learning rate, a panel for each batch size."""
    panels = figure.subplots(1, len(setting.batches), sharey=True, squeeze=False)[0]
    for axes, batch in zip(panels, setting.batches, strict=True):
        for norm in NORMS:
            found = accuracies(setting, runs, norm, batch)
            axes.errorbar(setting.rates, found.mean(axis=0), deviation(found), capsize=3, label=norm)
        axes.axhline(setting.trained, color="black", lw=0.8, ls=":")
        axes.set(xscale="log", xlabel="learning rate of Adam", title=f"batch {batch}")
        axes.set_xticks(setting.rates, [f"{rate:g}" for rate in setting.rates])
        axes.minorticks_off()
    panels[0].set_ylabel("test accuracy, %, mean and sd over seeds")
    panels[0].legend(frameon=False, title="norm")


EXPERIMENT = Experiment(
    name="rnn_norms",
    claim="Batch norm does not fit recurrent nets, layer norm does",
    source="Ba, Kiros and Hinton 2016; Cooijmans, Ballas, Laurent, Gülçehre and Courville 2017",
    passes="Layer norm is trained at the largest rate of the three, and its accuracy at batches 16 and 128 "
    "differs by at most 1.5 points; what batch norm's running statistics cost is shown.",
    minutes=25,
    setting=Setting(),
    quick=Setting(tests=2_000, pooling=4, rates=(0.01, 0.03), epochs=3),
    run=run,
    claims=claims,
    draw=draw,
    cells=cells,
    data=("mnist",),
    notes="The first rows of digits are blank: without noise on the initial states, which the paper of 2017 "
    "has, too, batch norm divides by sqrt(eps) there, its gradient explodes, and in one trial it stayed "
    "below 30 %. The best rate is that of the test images. Where one sequence is left, batch norm uses its "
    "running statistics.",
)
