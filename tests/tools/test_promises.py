"""What `docs/promises.md` promises: files and seeds of earlier versions give what they gave."""

import importlib.util
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import trimtab as tt

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
DATA = ROOT / "tests" / "data"
VERSIONS = sorted(folder.name for folder in DATA.iterdir() if re.fullmatch(r"\d+\.\d+", folder.name))

spec = importlib.util.spec_from_file_location("write_data", DATA / "write.py")
writer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(writer)


def test_every_minor_version_has_its_files():
    assert ".".join(tt.__version__.split(".")[:2]) in VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_a_seed_gives_the_same_masks_and_noise_as_in_earlier_versions(version):
    drawn = json.loads((DATA / version / "stream.json").read_text())
    assert len(drawn) == len(writer.SEEDS)
    for one in drawn:
        seed, p = one["seed"], one["p"]
        noise = tt.gaussian_dropout_forward(np.ones(16, np.float32), p, rng=seed).noise
        assert tt.dropout_mask(400, p, rng=seed).tobytes().hex() == one["mask"]
        assert noise.tobytes().hex() == one["noise"]


@pytest.mark.parametrize("version", VERSIONS)
def test_weights_of_earlier_versions_are_loaded(version):
    trainer, x, _ = writer.training()
    with np.load(DATA / version / "weights.npz") as weights:
        trainer.model.load_state_dict(weights)
        state = trainer.model.state_dict()
        assert state.keys() == set(weights)
        for name in state:
            np.testing.assert_array_equal(state[name], weights[name])
    assert np.isfinite(trainer.predict(x)).all()


@pytest.mark.parametrize("version", VERSIONS)
def test_trainings_of_earlier_versions_are_resumed(version):
    pytest.importorskip("safetensors")
    path = DATA / version / "training.safetensors"
    trainer, x, labels = writer.training()
    trainer.load(path)
    assert trainer.history.epochs == writer.EPOCHS_SAVED
    with np.load(DATA / version / "weights.npz") as weights:
        state = trainer.model.state_dict()
        for name in state:
            np.testing.assert_array_equal(state[name], weights[name])
    assert trainer.optimizer.steps == writer.EPOCHS_SAVED * 5

    history = trainer.fit(x, labels, epochs=writer.EPOCHS, batch_size=8, progress=False, resume=path)
    whole, *data = writer.training()
    expected = whole.fit(*data, epochs=writer.EPOCHS, batch_size=8, progress=False)
    assert history.epochs == writer.EPOCHS
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-3)


def test_names_of_earlier_versions_are_kept():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from trimtab import early_stopping
    assert early_stopping.stopping_time is tt.early_stopping_theory.stopping_time


def test_the_page_names_tests_that_exist():
    page = (ROOT / "docs" / "promises.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(named) >= 8
    for path, name in named:
        assert f"def {name}(" in (ROOT / path).read_text(), name
