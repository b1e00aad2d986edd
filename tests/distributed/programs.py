"""What the tests run on ranks: functions of the communicator and a folder that all ranks share."""

import numpy as np
import trainings
from trimtab import distributed, nn

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
SHARDED = ("augmented", "accumulated", "adam")
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
