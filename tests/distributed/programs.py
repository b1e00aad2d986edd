"""What the tests run on ranks: functions of the communicator and a folder that all ranks share."""

import contextlib
import importlib.util
import io
import os
from pathlib import Path

import numpy as np
import trainings
import trimtab as tt
from threadpoolctl import threadpool_info
from trimtab import Trainer, callbacks, distributed, losses, nn, optim
from trimtab.distributed.buckets import Buckets
from trimtab.distributed.ranks import ranks_of
from trimtab.distributed.tree import ShardSum, shards_of

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PROGRAMS = {}


def program(function):
    PROGRAMS[function.__name__] = function
    return function


# ---- batch norm ----

CHANNELS = 3
CUTS = {  # of 11 samples: equal and unequal parts, parts of one sample, parts without any
    1: ([0, 11],),
    2: ([0, 5, 11], [0, 11, 11]),
    3: ([0, 4, 8, 11], [0, 1, 1, 11]),
    4: ([0, 3, 6, 9, 11], [0, 0, 1, 2, 11]),
}
NORM_CASES = {
    "rows": ((11, CHANNELS), {}),
    "images": ((11, CHANNELS, 2, 2), {"momentum": None}),
    "channels last": ((11, 2, CHANNELS), {"axis": -1, "unbiased": False}),
    "relu": ((11, CHANNELS), {"activation": "relu"}),
    "residual": ((11, CHANNELS), {"activation": "relu"}),
    "no gamma": ((11, CHANNELS), {"affine": False}),
}


def norm_data(case):
    """Samples, residual and dy of the whole batch, far from 0."""
    shape, _ = NORM_CASES[case]
    rng = np.random.default_rng(len(case))
    x, residual, dy = rng.standard_normal((3, *shape))
    return 1e3 + 3 * x, residual if case == "residual" else None, dy


def norm_layer(case, **options):
    layer = nn.BatchNorm(CHANNELS, dtype=np.float64, **NORM_CASES[case][1], **options)
    if layer.gamma is not None:
        layer.gamma.value, layer.beta.value = [0.5, -1, 2], [0.1, 0.2, -0.3]
    return layer


def norm_pass(layer, x, residual, dy):
    y = layer.forward(x) if residual is None else layer.forward(x, residual)
    dx = layer.backward(dy)
    gradients = [] if layer.gamma is None else [layer.gamma.grad.copy(), layer.beta.grad.copy()]
    return {
        "y": y,
        "dx": dx,
        "dresidual": layer.dresidual,
        "gradients": np.array(gradients),
        "running": np.stack([layer.running_mean, layer.running_var]),
        "batches": int(layer.batches),
    }


@program
def batch_norm(comm, folder):
    """Two passes of each case with each cut of the batch."""
    found = {}
    for case in NORM_CASES:
        for cut, edges in enumerate(CUTS[comm.size]):
            own = slice(edges[comm.rank], edges[comm.rank + 1])
            layer = norm_layer(case, comm=comm)
            for _ in range(2):
                arrays = [None if array is None else array[own] for array in norm_data(case)]
                found[case, cut] = norm_pass(layer, *arrays)
    return found


@program
def too_few_values(comm, folder):
    layer = nn.BatchNorm(2, comm=comm)
    try:
        layer.forward(np.ones((1 if comm.rank == 0 else 0, 2), np.float32))
    except ValueError as error:
        return [str(error)]
    return []


@program
def conversion(comm, folder):
    """The channel means of y, and what the layers have learned to be, of a converted model."""
    model = nn.Sequential(nn.BatchNorm(2), nn.Residual(nn.BatchNorm(2)))
    same = distributed.convert_sync_batchnorm(model, comm) is model
    y = model.forward(np.full((2, 2), comm.rank, np.float32))
    return {"same": same, "y": y, "mean": model.layers[0].running_mean.copy()}


# ---- training ----


@program
def training(comm, folder):
    """Every variant, each batch shared by the ranks."""
    return {variant: trainings.result(variant, comm=comm) for variant in trainings.VARIANTS}


SHARDS = {1: (1, 4, 6, 8), 2: (4, 6, 8), 3: (6,), 4: (4, 8)}
SHARDED = ("augmented", "accumulated", "adam", "skipped", "skipped by the optimizer")
DTYPES = ("float64", "float32", "bfloat16")


@program
def sharded_training(comm, folder):
    """Variants with each number of shards that fits the ranks, and each dtype."""
    import ml_dtypes  # noqa: F401  # registers bfloat16

    found = {}
    for shards in SHARDS[comm.size]:
        for variant, dtype in [(name, "float64") for name in SHARDED] + [
            ("augmented", name) for name in DTYPES
        ]:
            made = trainings.result(variant, comm=comm, shards=shards, dtype=np.dtype(dtype))
            made["arrays"] = {name: array.tobytes() for name, array in made["arrays"].items()}
            made["predicted"] = made["predicted"].tobytes()
            found[shards, variant, dtype] = made
    return found


@program
def stream(comm, folder):
    """A training on batches of which each rank reads a part, and the output for samples of each."""
    x, y = trainings.data()
    rows = np.arange(40).reshape(4, 10)
    parts = [np.array_split(of_batch, comm.size)[comm.rank] for of_batch in rows]
    batches = [(x[part], y[part]) for part in parts]
    made = trainings.trainer(comm=comm, draws=False)
    made.fit(batches, validation_data=batches, epochs=2, progress=False)
    return {
        "arrays": trainings.arrays_of(made),
        "history": dict(made.history),
        "predicted": made.predict(batches),
    }


# ---- what must be the same on all ranks ----


DIFFERENCES = {  # what the last rank does otherwise: model, options of the trainer, arguments of fit
    "seed": lambda last: ({"rng": 7 + last}, {}),
    "dtype": lambda last: ({"dtype": np.float32 if last else np.float64}, {}),
    "batch size": lambda last: ({}, {"batch_size": 16 + last}),
    "epochs": lambda last: ({}, {"epochs": 2 + last}),
    "targets": lambda last: ({}, {"y": np.roll(trainings.data()[1], last)}),
    "samples": lambda last: ({}, {"x": trainings.data()[0].astype("f4" if last else "f8")}),
    "first sample": lambda last: ({}, {"x": trainings.data()[0] + last}),
    "validation": lambda last: (
        {},
        {"validation_data": (trainings.data()[0], (trainings.data()[1] + last) % 3), "validation_split": 0},
    ),
    "length": lambda last: ({}, {"y": trainings.data()[1][last:]}),
    "augmentation": lambda last: ({}, {"augment": trainings.jitter if last else None}),
    "accumulation": lambda last: ({}, {"accumulate": 1 + last}),
    "weights": lambda last: ({}, {"sample_weight": np.arange(trainings.SAMPLES) + last}),
    "callback": lambda last: ({"called": [callbacks.StopOnNaN()] * last}, {}),
    "shards": lambda last: ({"shards": 12 * (1 + last)}, {"batch_size": 24}),
    "optimizer": lambda last: ({"optimizer": optim.Adam if last else optim.SGD}, {}),
}


@program
def differences(comm, folder):
    """The error of each difference, and whether the training has changed the weights."""
    found = {}
    for name, difference in DIFFERENCES.items():
        of_trainer, of_fit = difference(int(0 < comm.rank == comm.size - 1))
        made = trainings.trainer(*of_trainer.pop("called", ()), comm=comm, **of_trainer)
        x, y = trainings.data()
        before = trainings.arrays_of(made)
        try:
            made.fit(**{"x": x, "y": y, **trainings.ARGUMENTS, **of_fit})
            found[name] = ""
        except ValueError as error:
            found[name] = "\n".join([str(error), *getattr(error, "__notes__", [])])
            after = trainings.arrays_of(made)
            assert all(np.array_equal(before[key], after[key]) for key in before)
    return found


@program
def weights_differ(comm, folder):
    made = trainings.trainer(comm=comm)
    made.model.layers[0].weight.value[0, 0] += comm.rank
    try:
        made.fit(*trainings.data(), **trainings.ARGUMENTS)
    except ValueError as error:
        return [str(error)]
    return []


@program
def refusals(comm, folder):
    """The errors of what cannot be cut into as many parts as there are ranks."""

    def error_of(function):
        try:
            function()
        except ValueError as error:
            return str(error)
        return ""

    x, y = trainings.data()
    parts = {"comm": comm, "shards": 12}
    small = {**trainings.ARGUMENTS, "batch_size": comm.size - 1 or 1}

    def trainer_of(*layers, **options):
        model = nn.Sequential(*layers, nn.Linear(6, 3, rng=0))
        return Trainer(model, losses.CrossEntropy(), optim.SGD(model, 0.1), rng=0, **options)

    def fit(made, **arguments):
        made.fit(x.astype(np.float32), y, **{**trainings.ARGUMENTS, **arguments})

    def adjust(shape, rng):
        return np.ones(shape), np.zeros(shape)

    return {
        "shards": error_of(lambda: trainings.trainer(comm=comm, shards=comm.size + 1)),
        "ranks": error_of(lambda: trainings.trainer(comm=comm).fit(x, y, **small)),
        "batch": error_of(lambda: trainings.trainer(**parts).fit(x, y, **{**small, "batch_size": 11})),
        "ghost": error_of(lambda: fit(trainer_of(nn.BatchNorm(6, virtual_batch_size=4), **parts))),
        "renorm": error_of(lambda: fit(trainer_of(nn.BatchNorm(6, renorm=True), **parts))),
        "whitening": error_of(lambda: fit(trainer_of(nn.Whitening(6), **parts))),
        "adjustment": error_of(lambda: fit(trainer_of(nn.BatchNorm(6, adjustment=adjust), **parts))),
        "frozen": error_of(lambda: fit(trainer_of(nn.BatchNorm(6, renorm=True, frozen=True), **parts))),
        "evaluating": error_of(lambda: fit(trainer_of(nn.Whitening(6).eval(), **parts))),
    }


@program
def streams_of_different_length(comm, folder):
    x, y = trainings.data()
    made = trainings.trainer(comm=comm)
    batches = [(x[:10], y[:10])] * (3 if comm.rank else 2)
    try:
        made.fit(batches, progress=False)
    except ValueError as error:
        return str(error), made.optimizer.steps
    return "", made.optimizer.steps


@program
def no_seed(comm, folder):
    """Trainers without a seed have the same generator on all ranks, and another one in each trainer."""
    return [trainings.trainer(comm=comm, rng=None).rng.integers(2**63) for _ in range(2)]


# ---- files, callbacks, resuming ----


class Calls(callbacks.Callback):
    """Names the hooks that are called."""

    def __init__(self, writes):
        self.writes, self.names = writes, []

    def on_fit_begin(self, trainer, epochs, batches):
        self.names.append("begin")

    def on_epoch_end(self, trainer, epoch, logs):
        self.names.append(epoch)


@program
def files(comm, folder):
    """What each rank writes into a folder of its own: files of the first rank alone appear."""
    own = folder / f"files{comm.rank}"
    own.mkdir()
    called = [
        Calls(False),
        Calls(True),
        callbacks.CSVLogger(own / "log.csv"),
        callbacks.Checkpoint(own / "c"),
    ]
    made = trainings.trainer(*called, comm=comm)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        made.fit(*trainings.data(), **{**trainings.ARGUMENTS, "progress": True})
    made.save(own / "saved")
    names = sorted(path.name for path in own.iterdir())
    return {"files": names, "calls": [item.names for item in called[:2]], "shown": shown.getvalue()}


class Stop(callbacks.Callback):
    """Ends training on one rank after a number of batches."""

    def __init__(self, rank, batches):
        self.rank, self.batches = rank, batches

    def on_batch_end(self, trainer, batch, logs):
        self.batches -= 1
        if self.batches == 0 and trainer.ranks.rank == self.rank:
            trainer.stop()


@program
def stopping(comm, folder):
    """A training that one rank stops, in the middle of an epoch and at its end."""
    found = []
    for batches in (2, 3):
        made = trainings.trainer(Stop(comm.size - 1, batches), comm=comm)
        made.fit(*trainings.data(), **trainings.ARGUMENTS)
        found.append((made.optimizer.steps, made.history.epochs))
    return found


@program
def saving(comm, folder):
    """Checkpoints in the middle of the second epoch, with and without shards, and at the end."""
    arguments = {**trainings.ARGUMENTS, "augment": trainings.jitter}
    for shards in (None, 12):
        middle = folder / f"middle{shards}"
        made = trainings.trainer(Stop(0, 5), comm=comm, shards=shards)
        made.fit(*trainings.data(), **arguments)
        made.callbacks.clear()
        made.save(middle)
        made.fit(*trainings.data(), **arguments, resume=middle)
        made.save(folder / f"end{shards}")
    comm.Barrier()
    return {name: (folder / name).read_bytes() for name in ("middleNone", "endNone", "middle12", "end12")}


@program
def example(comm, folder):
    """The accuracy, the output and the checkpoint of the example."""
    spec = importlib.util.spec_from_file_location("mnist_mpi", EXAMPLES / "mnist_mpi.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.CHECKPOINT = folder / "example"
    if module.SHARDS % comm.size:
        return None
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        accuracy = module.main(trainings.pictures(), epochs=8, hidden=32)
    return accuracy, shown.getvalue(), module.CHECKPOINT.read_bytes()


@program
def npy_batches(comm, folder):
    """The batches of files that the first rank writes, and a training on them."""
    place = folder / "npy"
    x, y = trainings.data()
    if comm.rank == 0:
        place.mkdir()
        for number, rows in enumerate(np.split(np.arange(45), [7, 8, 30])):
            np.save(place / f"x{number}.npy", x[rows])
            np.save(place / f"y{number}.npy", y[rows])
    comm.Barrier()
    made = trainings.trainer(comm=comm, draws=False)
    batches = distributed.NpyBatches(place, 11, comm)
    made.fit(batches, epochs=2, progress=False)
    return {"batches": list(batches), "length": len(batches), "arrays": trainings.arrays_of(made)}


# ---- sums ----


def summands(rank):
    """Arrays of a rank: small ones, large ones, of several dtypes; sums of whole numbers are exact.

    Those of 16 bits begin with 2048, 1, 1 and so on: 2048 + 1 is 2048 in 16 bits.
    """
    rng = np.random.default_rng(rank)
    forms = [
        ((5,), "f4"),
        ((150, 200), "f4"),
        ((3, 2), "f8"),
        ((9000,), "f8"),
        ((7,), "f2"),
        ((40_000,), "f2"),
    ]
    arrays = [rng.integers(-9, 9, shape).astype(dtype) for shape, dtype in forms]
    for array in arrays[-2:]:
        array[0] = 1 if rank else 2048
    return arrays


@program
def sums(comm, folder):
    arrays = summands(comm.rank)
    Buckets(ranks_of("comm", comm), arrays).add()
    return arrays


LENGTHS = (0, 1, 5, 1000)


def vectors(shards, length):
    return np.random.default_rng(shards).standard_normal((shards, length)).astype(np.float32)


@program
def shard_sums(comm, folder):
    """Sums of random vectors over each number of shards, twice with the same memory."""
    ranks, found = ranks_of("comm", comm), {}
    for shards in range(comm.size, 25, comm.size):
        for length in LENGTHS:
            shard_sum = ShardSum(ranks, shards, length, np.float32)
            for _ in range(2):
                own = vectors(shards, length)[shards_of(comm.rank, comm.size, shards)]
                found[shards, length] = shard_sum.of(list(own)).copy()
    return found


class Threads(callbacks.Callback):
    """Notes the limits of threads of the kernels and of BLAS."""

    def on_epoch_begin(self, trainer, epoch):
        self.seen = limits_of_threads()


def limits_of_threads():
    blas = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    return tt.get_num_threads(), blas


@program
def threads(comm, folder):
    """The CPUs of a process, and the limits before, in and after a training, and in one with shards."""
    before, found = limits_of_threads(), []
    for shards in (None, 12):
        watch = Threads()
        trainings.trainer(watch, comm=comm, shards=shards).fit(*trainings.data(), **trainings.ARGUMENTS)
        found.append(watch.seen)
    return {"cpus": len(os.sched_getaffinity(0)), "in": found, "before": before, "after": limits_of_threads()}


@program
def sharded_stream(comm, folder):
    """The weights after a training on batches of which each rank reads a part, cut into shards."""
    x, y = trainings.data()
    own = np.array_split(np.arange(24), comm.size)[comm.rank]
    made = trainings.trainer(comm=comm, shards=12)
    made.fit([(x[own], y[own])] * 3, augment=trainings.jitter, progress=False)
    return {name: array.tobytes() for name, array in trainings.arrays_of(made).items()}


@program
def augmented_stream(comm, folder):
    """The first draw of the augmentation of each part, and the generator after a training."""
    draws = []

    def noted(batch, rng):
        draws.append(rng.random())
        return batch + 0.1 * rng.standard_normal(batch.shape)

    x, y = trainings.data()
    own = np.array_split(np.arange(10), comm.size)[comm.rank]
    made = trainings.trainer(comm=comm, draws=False)
    made.fit([(x[own], y[own])] * 3, augment=noted, progress=False)
    return {"draws": draws, "rng": made.rng.bit_generator.state}


@program
def nan_of_one_rank(comm, folder):
    """The error on each rank after a NaN in the last sample of the first batch, with and without shards."""
    x, y = trainings.data()
    x[15] = np.nan
    messages = []
    for shards in (None, 12):
        try:
            made = trainings.trainer(comm=comm, draws=False, shards=shards)
            made.fit(x, y, batch_size=16, shuffle=False, progress=False)
        except FloatingPointError as error:
            messages.append(str(error))
    return messages
