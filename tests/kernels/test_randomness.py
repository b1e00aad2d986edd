"""Statistical tests of the random stream of dropout, with fixed seeds."""

import math

import numpy as np
import pytest
import trimtab as tt

COUNT = 2**22
PROBABILITIES = [0.0, 2**-20, 0.001, 0.1, 1 / 3, 0.5, 0.9, 0.999, 1.0]


def kept(count, p, seed):
    return np.unpackbits(tt.dropout_mask(count, p, rng=seed), count=count, bitorder="little").astype(bool)


def deviations(observed, expected):
    """The distance of chi-square from its mean, in standard deviations."""
    observed, expected = np.asarray(observed, float), np.asarray(expected, float)
    freedom = len(observed) - 1
    return (np.sum((observed - expected) ** 2 / expected) - freedom) / math.sqrt(2 * freedom)


@pytest.mark.parametrize("p", [*PROBABILITIES, *(k / 256 + 2**-20 for k in (0, 64, 128, 255))])
def test_the_fraction_kept_is_1_minus_p(p):
    count = 2**26 if p < 1e-4 else COUNT
    dropped = count - int(np.bitwise_count(tt.dropout_mask(count, p, rng=1)).sum())
    assert abs(dropped - count * p) <= 4 * math.sqrt(count * p * (1 - p))


@pytest.mark.parametrize("k", [0, 25, 127, 255])
@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.9])
def test_ties_are_decided_with_the_right_probability(k, fraction):
    """Of the elements whose byte is k, p = (k + f) / 256 drops the fraction f."""
    below, above, between = (kept(COUNT, (k + s) / 256, 2) for s in (0, 1, fraction))
    tied = below & ~above
    assert abs(tied.sum() - COUNT / 256) < 4 * math.sqrt(COUNT / 256)
    assert abs((~between[tied]).sum() - fraction * tied.sum()) < 4 * math.sqrt(
        tied.sum() * fraction * (1 - fraction)
    )
    np.testing.assert_array_equal(between[~tied], below[~tied])


@pytest.mark.parametrize("p", [0.1, 1 / 3, 0.5, 0.9])
def test_lengths_of_runs_are_geometric(p):
    decisions = kept(COUNT, p, 3)
    ends = np.flatnonzero(np.diff(decisions))
    lengths, of_kept = np.diff(ends), decisions[ends[1:]]
    for state, staying in ((True, 1 - p), (False, p)):
        runs = lengths[of_kept == state]
        longest = 1 + int(math.log(50 / len(runs)) / math.log(staying))
        ending = (1 - staying) * staying ** np.arange(longest - 1)
        expected = len(runs) * np.append(ending, staying ** (longest - 1))
        observed = np.bincount(np.minimum(runs, longest), minlength=longest + 1)[1:]
        assert abs(deviations(observed, expected)) < 4


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_pairs_at_any_lag_are_independent(p):
    decisions = kept(2**20, p, 4) - (1 - p)
    scale = p * (1 - p) * math.sqrt(2**20)
    correlations = np.array([decisions[lag:] @ decisions[:-lag] for lag in range(1, 257)]) / scale
    assert np.abs(correlations).max() < 4
    assert abs(np.sum(correlations**2) - 256) < 4 * math.sqrt(2 * 256)


def test_bytes_of_masks_are_uniform():
    counts = np.bincount(tt.dropout_mask(2**24, 0.5, rng=5), minlength=256)
    assert abs(deviations(counts, np.full(256, 2**21 / 256))) < 4


def test_masks_of_consecutive_seeds_are_independent():
    seeds = [*range(16), *(2**32 * k for k in range(1, 9)), *(2**64 - 1 - k for k in range(8))]
    signs = np.array([kept(2**16, 0.5, seed) for seed in seeds]) * 2.0 - 1
    correlations = (signs @ signs.T / math.sqrt(2**16))[np.triu_indices(len(seeds), 1)]
    assert np.abs(correlations).max() < 4.5
    assert abs(np.mean(correlations**2) - 1) < 4 * math.sqrt(2 / len(correlations))


def test_masks_and_noise_of_a_seed_are_independent():
    signs = kept(2**20, 0.5, 6) * 2.0 - 1
    noise = tt.gaussian_dropout_forward(np.ones(2**20), 0.5, rng=6).noise - 1
    for lag in range(16):
        assert abs(signs[: 2**20 - lag] @ noise[lag:]) < 4 * 2**10


def test_noise_has_the_moments_and_tails_of_a_normal_distribution():
    p, count = 0.2, 2**21
    noise = tt.gaussian_dropout_forward(np.ones(count), p, rng=7).noise
    z = (noise - 1) / math.sqrt(p / (1 - p))
    for power, moment, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)]:
        assert abs(np.mean(z**power) - moment) < 4 * math.sqrt(variance / count), power
    for limit in (1, 2, 3, 4, 4.5):
        chance = math.erfc(limit / math.sqrt(2)) / 2
        for beyond in (z > limit, z < -limit):
            assert abs(beyond.sum() - count * chance) < 4 * math.sqrt(count * chance), limit
    bins = np.floor(256 * np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in z[: 2**17]])).astype(int)
    assert abs(deviations(np.bincount(bins, minlength=256), np.full(256, 2**17 / 256))) < 4
    for lag in (1, 2, 3, 4, 8, 32):
        assert abs(z[lag:] @ z[:-lag]) < 4 * math.sqrt(count)
