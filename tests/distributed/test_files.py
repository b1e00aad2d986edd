"""Files, callbacks and checkpoints of a training on several ranks."""

import numpy as np
import pytest
import trainings
from programs import CUTS
from trimtab import callbacks

ARGUMENTS = {**trainings.ARGUMENTS, "augment": trainings.jitter}


@pytest.mark.parametrize("ranks", CUTS)
def test_the_first_rank_alone_writes_and_shows(on_ranks, ranks):
    first, *others = on_ranks(ranks, "files")
    assert first["files"] == ["c", "log.csv", "saved"]
    assert first["shown"].count("epoch") == 2
    assert first["calls"] == [["begin", 1, 2]] * 2
    for other in others:
        assert other == {"files": [], "shown": "", "calls": [["begin", 1, 2], []]}


@pytest.mark.parametrize("kind", ["CSVLogger", "Checkpoint", "ProgressBar", "TensorBoard"])
def test_callbacks_that_write_say_so(kind):
    assert getattr(callbacks, kind).writes
    assert not callbacks.EarlyStopping.writes


@pytest.mark.parametrize("ranks", CUTS)
def test_a_rank_that_stops_ends_training_on_all_after_the_same_batch(on_ranks, ranks):
    assert on_ranks(ranks, "stopping") == [[(2, 0), (3, 1)]] * ranks


@pytest.mark.parametrize("ranks", CUTS)
def test_checkpoints_with_shards_have_the_same_bytes_on_any_number_of_ranks(on_ranks, ranks):
    alone, found = on_ranks(1, "saving")[0], on_ranks(ranks, "saving")[0]
    assert found["middle12"] == alone["middle12"]
    assert found["end12"] == alone["end12"]
    assert found["middle12"] != found["end12"]


@pytest.mark.parametrize("shards", [None, 12])
@pytest.mark.parametrize("ranks", CUTS)
def test_a_training_continues_on_another_number_of_ranks(on_ranks, ranks, shards, tmp_path):
    """On one process without MPI, from the middle of an epoch; with shards bit for bit."""
    files = on_ranks(ranks, "saving")[0]
    (tmp_path / "middle").write_bytes(files[f"middle{shards}"])
    made = trainings.trainer(shards=shards)
    made.fit(*trainings.data(), **ARGUMENTS, resume=tmp_path / "middle")
    made.save(tmp_path / "end")
    if shards is None:
        whole = trainings.trainer()
        whole.fit(*trainings.data(), **ARGUMENTS)
        for name, array in trainings.arrays_of(whole).items():
            np.testing.assert_allclose(trainings.arrays_of(made)[name], array, rtol=1e-11, atol=1e-11)
    else:
        assert (tmp_path / "end").read_bytes() == files["end12"]


@pytest.mark.parametrize(("saved", "shards"), [(None, 12), (12, None), (12, 6)])
def test_another_number_of_shards_cannot_continue(on_ranks, saved, shards, tmp_path):
    (tmp_path / "middle").write_bytes(on_ranks(1, "saving")[0][f"middle{saved}"])
    made = trainings.trainer(shards=shards)
    with pytest.raises(ValueError, match=rf"^fit: shards must be {saved} as in .*middle, got {shards}$"):
        made.fit(*trainings.data(), **ARGUMENTS, resume=tmp_path / "middle")
    assert made.optimizer.steps == 0
