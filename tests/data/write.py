"""Write the files of this version that every later version must read.

    python tests/data/write.py

A new minor version adds a folder; files that exist are never written again.
"""

import json
from contextlib import chdir
from pathlib import Path

import numpy as np
import trimtab as tt
from trimtab import Trainer, callbacks, losses, nn, optim

FOLDER = Path(__file__).parent / ".".join(tt.__version__.split(".")[:2])
EPOCHS_SAVED, EPOCHS = 2, 5
SEEDS = {0: 0.5, 1: 0.1, 2**63 + 5: 1 / 3, 2**64 - 1: 0.9}


def training() -> tuple[Trainer, np.ndarray, np.ndarray]:
    """Return a trainer with every kind of state, and its data."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 4)).astype(np.float32)
    labels = (x[:, 0] > x[:, 1]).astype(int) + (x[:, 2] > 1)
    model = nn.Sequential(
        *(nn.Linear(4, 8, rng=rng), nn.BatchNorm(8), nn.ReLU(), nn.Dropout(0.25), nn.LayerNorm(8)),
        *(nn.Linear(8, 8, rng=rng), nn.BatchNorm(8, renorm=True), nn.Tanh(), nn.Linear(8, 3, rng=rng)),
    )
    schedule = optim.Warmup(10, optim.Cosine(0.05, steps=40))
    optimizer = optim.AdamW(model, schedule, weight_decay=0.01, amsgrad=True)
    watching = [
        callbacks.EarlyStopping("loss", patience=10, restore_best_weights=True),
        callbacks.WeightAverage(0.9),
    ]
    return Trainer(model, losses.CrossEntropy(label_smoothing=0.1), optimizer, watching, rng=1), x, labels


def main() -> None:
    """Write the training, its weights alone, and masks and noise."""
    FOLDER.mkdir()
    trainer, x, labels = training()
    trainer.callbacks = [*trainer.callbacks, callbacks.Checkpoint("training.safetensors")]
    with chdir(FOLDER):  # the file has the path as it was given
        trainer.fit(x, labels, epochs=EPOCHS_SAVED, batch_size=8, progress=False)
    saved, *_ = training()  # without the averages that the callback puts in at the end
    saved.load(FOLDER / "training.safetensors")
    np.savez_compressed(FOLDER / "weights.npz", **saved.model.state_dict())
    stream = [
        {
            "seed": seed,
            "p": p,
            "mask": tt.dropout_mask(400, p, rng=seed).tobytes().hex(),
            "noise": tt.gaussian_dropout_forward(np.ones(16, np.float32), p, rng=seed).noise.tobytes().hex(),
        }
        for seed, p in SEEDS.items()
    ]
    (FOLDER / "stream.json").write_text(json.dumps(stream, indent=1) + "\n")


if __name__ == "__main__":
    main()
