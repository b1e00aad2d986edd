"""The same bits for every number of threads, every alignment and every instruction set.

`CASES` are computed here and, by running this file as a program, in other processes; new families add theirs.
"""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import trimtab as tt
from helpers.strategies import DTYPES, at_offset

# Large enough for several threads, with odd lengths.
ROWS = [(67, 5), (300, 768), (5, 40_001), (3000, 130)]
CHANNELS = [  # shape, channel axis
    ((3000, 67), 1),
    ((20_000, 5), 1),
    ((16, 33, 28, 28), 1),
    ((64, 130, 7, 7), 1),
    ((16, 28, 28, 33), -1),
]
WEIGHTS = [(40_001,), *[(3, 5), (64,)] * 20, (300, 257), (1,)]
WEIGHTS_OPTIONS = [
    {},
    {"dampening": 0.3, "weight_decay": 0.1, "l1": 0.01},
    {"nesterov": True, "weight_decay": 0.1, "decoupled": True, "maximize": True, "grad_scale": 0.3},
    {"l1": 0.3, "proximal": True, "first_step": True},
]
ADAM_OPTIONS = [
    {},
    {"decoupled": False, "weight_decay": 0.1, "l1": 0.01},
    {"betas": (0.3, 0.9), "weight_decay": 0.1, "maximize": True, "grad_scale": 0.3},
    {"l1": 0.3, "proximal": True, "zero_grad": True},
]
LEVELS = {  # instruction sets that a machine can run, by its best one
    "avx512": ["avx512", "avx2", "baseline"],
    "avx2": ["avx2", "baseline"],
    "neon": ["neon", "baseline"],
}


def data(shape, dtype, count):
    """The same numbers in each process."""
    rng = np.random.default_rng(1)
    return [(rng.standard_normal(shape) + 0.5).astype(dtype) for _ in range(count)]


def row_norms_case(shape, dtype, place):
    dy, x = map(place, data(shape, dtype, 2))
    gamma, beta = map(place, data(shape[-1:], dtype, 2))
    y, mean, rstd = tt.layer_norm_forward(x, gamma, beta)
    root = tt.rms_norm_forward(x, gamma)
    sums = [*tt.add_layer_norm_forward(x, dy, gamma, beta), *tt.add_rms_norm_forward(x, dy, gamma)]
    gradients = tt.layer_norm_backward(dy, x, mean, rstd, gamma)
    return [y, mean, rstd, *gradients, *root, *tt.rms_norm_backward(dy, x, root.rstd, gamma), *sums]


def batch_norm_case(shape, axis, dtype, place):
    dy, x, residual = map(place, data(shape, dtype, 3))
    channels = (shape[axis],)
    gamma, beta, running_mean, running_var = map(place, data(channels, dtype, 4))
    running_var **= 2
    y, mean, rstd = tt.batch_norm_forward(
        x, gamma, beta, running_mean=running_mean, running_var=running_var, axis=axis
    )
    gradients = tt.batch_norm_backward(dy, x, mean, rstd, gamma, axis=axis)[:3]
    inference = tt.batch_norm(x, running_mean, running_var, gamma, beta, axis=axis)
    fused = {"axis": axis, "activation": "relu", "virtual_batch_size": 5}
    fused_y, *blocks = tt.batch_norm_forward(x, gamma, beta, residual=residual, **fused)
    fused_gradients = tt.batch_norm_backward(dy, x, *blocks, gamma, y=fused_y, residual=True, **fused)
    plain = [y, mean, rstd, running_mean, running_var, *gradients, inference]
    return [*plain, fused_y, *blocks, *fused_gradients]


def batch_norm_parts_case(shape, axis, dtype, place):
    dy, x = map(place, data(shape, dtype, 2))
    mean, var, count = tt.batch_moments(x, axis=axis)
    sums = tt.batch_norm_backward_sums(dy, x, mean, var, axis=axis)
    dx = tt.batch_norm_backward_apply(dy, x, mean, var, None, *sums, count, axis=axis)
    running = {"running_mean": data(mean.shape, dtype, 1)[0], "running_std": np.ones_like(mean, dtype)}
    renormed = tt.batch_renorm_forward(x, **running, r_max=1.5, d_max=0.5, axis=axis)
    gradients = tt.batch_renorm_backward(dy, x, *renormed[1:], axis=axis)
    return [mean, var, *sums, dx, *running.values(), *renormed, *gradients]


def group_norm_case(shape, axis, dtype, place):
    dy, x = map(place, data(shape, dtype, 2))
    gamma, beta = map(place, data((shape[axis],), dtype, 2))
    results = []
    for num_groups in (1, shape[axis]):
        if num_groups * shape[0] == x.size:
            continue  # one value each
        y, mean, rstd = tt.group_norm_forward(x, num_groups, gamma, beta, axis=axis)
        gradients = tt.group_norm_backward(dy, x, mean, rstd, num_groups, gamma, axis=axis)
        results += [y, mean, rstd, *gradients]
    return results


def dropout_case(shape, dtype, place):
    dy, x, residual = map(place, data(shape, dtype, 3))
    (bias,) = map(place, data(shape[-1:], dtype, 1))
    y, mask = tt.dropout_forward(x, 0.1, rng=1)
    noisy, noise = tt.gaussian_dropout_forward(x, 0.3, rng=2)
    others = [
        *tt.dropout_forward(x, 0.3, rng=3, shared_axes=0),
        *tt.drop_path_forward(x, 0.3, rng=4),
        *tt.alpha_dropout_forward(x, 0.3, rng=5),
        *tt.add_dropout_forward(x, bias, residual, 0.3, rng=6),
    ]
    backward = [tt.dropout_backward(dy, mask, 0.1), tt.gaussian_dropout_backward(dy, noise)]
    return [y, mask, noisy, noise, *others, *backward]


def weights_case(dtype, place):
    """All forms of the update, norms and sums, on many small arrays and some large ones."""
    results = []
    for options in WEIGHTS_OPTIONS:
        w, g, v = ([place(array) for shape in WEIGHTS for array in data(shape, dtype, 1)] for _ in range(3))
        masters = [place(array.astype("f4")) for array in w] if dtype.itemsize == 2 else []
        v = [place(array.astype("f4")) for array in v] if masters else v
        norms = tt.sgd_update(
            w, g, v, masters=masters or None, lr=0.1, momentum=0.9, statistics=True, **options
        )
        norm = tt.clip_grad_norm(g, 3.0)
        bounded = [tt.max_norm(array, 5.0, axis=-1) for array in w]
        penalty = tt.penalty(w, l1=0.1, l2=0.1)
        results += [*w, *g, *v, *masters, *bounded, np.array([*norms, norm, penalty])]
    return results


def adam_case(dtype, place):
    results = []
    for options in ADAM_OPTIONS:
        w, g, m = ([place(array) for shape in WEIGHTS for array in data(shape, dtype, 1)] for _ in range(3))
        masters = [place(array.astype("f4")) for array in w] if dtype.itemsize == 2 else []
        m = [place(array.astype("f4")) for array in m] if masters else m
        v, u = ([place(np.abs(array)) for array in m] for _ in range(2))
        largest = u if options.get("maximize") else None
        state = {"masters": masters or None, "max_exp_avg_sqs": largest}
        norms = tt.adam_update(w, g, m, v, step=2, lr=0.1, statistics=True, **state, **options)
        results += [*w, *g, *m, *v, *u, *masters, np.array(norms)]
    return results


def activation_case(shape, dtype, place):
    dy, x = map(place, data(shape, dtype, 2))
    names = ("relu", "leaky_relu", "sigmoid", "tanh")
    results = [getattr(tt, name)(x) for name in names]
    results += [getattr(tt, f"{name}_backward")(dy, y) for name, y in zip(names, results, strict=True)]
    for name in ("softmax", "log_softmax"):
        y = getattr(tt, name)(x)
        results += [y, getattr(tt, f"{name}_backward")(dy, y)]
    for approximate in (False, True):
        results += [tt.gelu(x, approximate), tt.gelu_backward(dy, x, approximate)]
    return [*results, tt.silu(x), tt.silu_backward(dy, x)]


def losses_case(shape, dtype, place):
    logits, target = map(place, data(shape, dtype, 2))
    labels = np.arange(len(logits)) % shape[1]
    smoothed = tt.softmax_cross_entropy(logits, labels, label_smoothing=0.1, ignore_index=1)
    soft = tt.softmax_cross_entropy(logits, target, reduction="none")
    weight = np.linspace(0, 3, len(logits))
    weighted = {"class_weight": np.linspace(1, 2, shape[1]), "sample_weight": weight}
    results = [*smoothed, *soft, *tt.softmax_cross_entropy(logits, labels, **weighted)]
    results += [*tt.mse(logits, target), *tt.huber(logits, target, delta=0.3)]
    results += [*tt.huber(logits, target, sample_weight=weight), *tt.mae(logits, target)]
    binary = {"pos_weight": 3, "label_smoothing": 0.1, "sample_weight": weight}
    results += tt.binary_cross_entropy(logits, target > 0, **binary)
    return [np.asarray(result) for result in results]


# name: a function of the placement of arrays that returns all results
CASES = {
    **{f"weights-{dtype}": (lambda place, dtype=dtype: weights_case(dtype, place)) for dtype in DTYPES},
    **{f"adam-{dtype}": (lambda place, dtype=dtype: adam_case(dtype, place)) for dtype in DTYPES},
    **{
        f"dropout-{'x'.join(map(str, shape))}-{dtype}": (
            lambda place, shape=shape, dtype=dtype: dropout_case(shape, dtype, place)
        )
        for shape in ROWS
        for dtype in DTYPES
    },
    **{
        f"activation-{'x'.join(map(str, shape))}-{dtype}": (
            lambda place, shape=shape, dtype=dtype: activation_case(shape, dtype, place)
        )
        for shape in ROWS[:2]
        for dtype in DTYPES
    },
    **{
        f"losses-{'x'.join(map(str, shape))}-{dtype}": (
            lambda place, shape=shape, dtype=dtype: losses_case(shape, dtype, place)
        )
        for shape in ROWS[:2]
        for dtype in DTYPES
    },
    **{
        f"row_norms-{'x'.join(map(str, shape))}-{dtype}": (
            lambda place, shape=shape, dtype=dtype: row_norms_case(shape, dtype, place)
        )
        for shape in ROWS
        for dtype in DTYPES
    },
    **{
        f"{name}-{'x'.join(map(str, shape))}-{axis}-{dtype}": (
            lambda place, case=case, shape=shape, axis=axis, dtype=dtype: case(shape, axis, dtype, place)
        )
        for name, case in (
            ("batch_norm", batch_norm_case),
            ("batch_norm_parts", batch_norm_parts_case),
            ("group_norm", group_norm_case),
        )
        for shape, axis in CHANNELS
        for dtype in DTYPES
    },
}


def digest(case, place=np.copy):
    sha = hashlib.sha256()
    for result in CASES[case](place):
        sha.update(result.tobytes())
    return sha.hexdigest()


def digests():
    return {case: digest(case) for case in CASES}


@pytest.fixture(scope="module")
def expected():
    """The bits of one thread and of the instruction set chosen at import."""
    threads = tt.get_num_threads()
    tt.set_num_threads(1)
    bits = digests()
    tt.set_num_threads(threads)
    return bits


def assert_same_bits(bits, expected):
    assert not [case for case in CASES if bits[case] != expected[case]]


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_any_number_of_threads_gives_the_same_bits(threads, expected):
    tt.set_num_threads(threads)
    if tt.get_num_threads() != threads:
        pytest.skip(f"this process may use {tt.get_num_threads()} threads only")
    assert_same_bits(digests(), expected)


@pytest.mark.parametrize("case", [case for case in CASES if "-67x5-" in case or "-16x" in case])
def test_any_alignment_of_large_arrays_gives_the_same_bits(case, expected):
    for offset in (1, 4, 16, 33):
        assert digest(case, lambda x, offset=offset: at_offset(x, offset)) == expected[case], offset


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [5, 16, 33, 130])
def test_every_alignment_gives_the_same_bits(width, dtype):
    """Of inputs and of outputs."""
    (x,) = data((7, width), dtype, 1)
    rows, channels = tt.layer_norm(x), tt.batch_norm_forward(x).y
    for offset in range(64):
        shifted = at_offset(x, offset)
        out = at_offset(x, (offset * 7) % 64)
        assert tt.layer_norm(shifted).tobytes() == rows.tobytes(), offset
        assert tt.layer_norm(x, out=out).tobytes() == rows.tobytes(), offset
        assert tt.batch_norm_forward(shifted).y.tobytes() == channels.tobytes(), offset
        assert tt.batch_norm_forward(x, out=out).y.tobytes() == channels.tobytes(), offset


@pytest.mark.parametrize("level", LEVELS.get(tt.isa(), ["baseline"]))
def test_all_instruction_sets_give_the_same_bits(level, expected):
    """Each is forced in another process, which reports the one it used."""
    environment = {**os.environ, "TRIMTAB_ISA": level, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert child.returncode == 0, child.stderr
    result = json.loads(child.stdout)
    assert result["isa"] == level
    assert_same_bits(result["digests"], expected)


if __name__ == "__main__":
    print(json.dumps({"isa": tt.isa(), "digests": digests()}))
