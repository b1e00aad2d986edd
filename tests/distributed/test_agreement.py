"""What ranks must have in common, and what cannot be cut into parts: errors on all, before the first step."""

import re

import pytest
import trainings
from programs import CUTS, DIFFERENCES
from trimtab import Trainer

SEVERAL = [ranks for ranks in CUTS if ranks > 1]
MESSAGES = {  # the argument, and what is got; {last} is the number of the last rank
    "seed": r"rng: a state .* on rank 0 and a state .* on rank {last}",
    "dtype": r".*: .*float64.* on rank 0 and .*float32.* on rank {last}",
    "batch size": r"batch_size: 16 on rank 0 and 17 on rank {last}",
    "epochs": r"epochs: 2 on rank 0 and 3 on rank {last}",
    "targets": r"y: int64 of shape \(45,\) with the CRC-32 .* on rank {last}",
    "samples": r"x: float64 of .* on rank 0 and float32 of .* on rank {last}",
    "first sample": r"x: float64 of shape .* on rank 0 and float64 of shape .* on rank {last}",
    "validation": r"validation_data: int64 of shape \(45,\) with .* on rank {last}",
    "augmentation": r"augment: NoneType on rank 0 and jitter on rank {last}",
    "accumulation": r"accumulate: 1 on rank 0 and 2 on rank {last}",
    "weights": r"sample_weight: 45 weights with .* on rank {last}",
    "callback": r"callbacks: \[\] on rank 0 and \['StopOnNaN'\] on rank {last}",
    "shards": r"shards: 12 on rank 0 and 24 on rank {last}",
    "optimizer": r"optimizer: SGD.* on rank 0 and Adam.* on rank {last}",
}


def message_of(difference, ranks):
    """A pattern for the error of a difference."""
    if difference == "length":
        return rf"fit: y must have 45 entries as x, got shape \(44,\)\nraised on rank {ranks - 1} of {ranks}"
    name, _, values = MESSAGES[difference].replace("{last}", str(ranks - 1)).partition(": ")
    return rf"fit: {name} must be the same on all ranks, got {values}"


@pytest.mark.parametrize("difference", DIFFERENCES)
@pytest.mark.parametrize("ranks", SEVERAL)
def test_a_difference_is_named_on_all_ranks(on_ranks, ranks, difference):
    found = [of_rank[difference] for of_rank in on_ranks(ranks, "differences")]
    assert len(set(found)) == 1
    assert re.fullmatch(message_of(difference, ranks), found[0]), found[0]


def test_one_rank_has_nothing_to_agree_on(on_ranks):
    assert set(on_ranks(1, "differences")[0].values()) == {""}


@pytest.mark.parametrize("ranks", SEVERAL)
def test_other_weights_are_named_on_all_ranks(on_ranks, ranks):
    (message,), *others = on_ranks(ranks, "weights_differ")
    assert others == [[message]] * (ranks - 1)
    assert re.fullmatch(r"fit: model: 0.weight must be the same on all ranks, got .*", message)


REFUSALS = {
    "shards": "Trainer: shards must be a multiple of the number of ranks, {ranks}, got {more}",
    "ranks": "fit: batch_size must be at least the number of ranks, {ranks}, got batches of {less}",
    "batch": "fit: batch_size must be at least the number of shards, 12, got batches of 11",
    "ghost": "BatchNorm: virtual_batch_size must be None with comm, got 4",
    "renorm": "BatchNorm: renorm must be False with comm, got True",
    "whitening": "fit: model must take statistics over several shards in BatchNorm alone, got Whitening(6, "
    "num_groups=1, axis=1) at 0: put it into evaluation, or use BatchNorm",
    "adjustment": "fit: adjustment of 0, BatchNorm(6, axis=1), must be None with shards, got ",
    "frozen": "",
    "evaluating": "",
}


@pytest.mark.parametrize("ranks", SEVERAL)
def test_what_cannot_be_cut_is_refused(on_ranks, ranks):
    numbers = {"{ranks}": ranks, "{more}": ranks + 1, "{less}": ranks - 1}
    for found in on_ranks(ranks, "refusals"):
        for name, message in REFUSALS.items():
            for place, number in numbers.items():
                message = message.replace(place, str(number))
            matches = found[name].startswith(message) if message else found[name] == ""
            assert matches, (name, found[name])


@pytest.mark.parametrize("ranks", SEVERAL)
def test_streams_must_have_as_many_batches_on_all_ranks(on_ranks, ranks):
    expected = "fit: x must yield as many batches on all ranks, got fewer on rank 0", 2
    assert on_ranks(ranks, "streams_of_different_length") == [expected] * ranks


@pytest.mark.parametrize("ranks", CUTS)
def test_without_a_seed_all_ranks_draw_the_same(on_ranks, ranks):
    first, *others = on_ranks(ranks, "no_seed")
    assert others == [first] * (ranks - 1)
    assert first[0] != first[1]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (
            {"comm": 3},
            TypeError,
            r"Trainer: comm must be a communicator of mpi4py, such as MPI.COMM_WORLD, got 3",
        ),
        ({"shards": 0}, ValueError, r"Trainer: shards must be at least 1, got 0"),
        ({"shards": 2.0}, TypeError, r"Trainer: shards must be an int, got 2.0"),
    ],
)
def test_options_of_the_trainer_are_checked(options, kind, message):
    made = trainings.trainer()
    with pytest.raises(kind, match=rf"^{message}$"):
        Trainer(made.model, made.loss, made.optimizer, **options)
