"""The random stream: the published cipher, masks and normal numbers, and test vectors."""

import re
import statistics
from fractions import Fraction
from math import ceil
from pathlib import Path

import numpy as np
import pytest
import reference
import trimtab as tt

DEFINITION = Path(__file__).parents[2] / "docs" / "random-stream.md"
SEEDS = [0, 1, 2**32 - 1, 2**32, 0x0123456789ABCDEF, 2**64 - 1]


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_the_cipher_gives_the_published_vectors(counter, key, words):
    assert " ".join(f"{word:08x}" for word in reference.philox(counter, key)) == words


def bytes_of_the_stream(count, seed):
    """The bytes of elements: a byte is the number of k >= 1 for which p = k/256 keeps its element."""
    masks = [tt.dropout_mask(count, k / 256, rng=seed) for k in range(1, 257)]
    return np.unpackbits(masks, axis=1, count=count, bitorder="little").sum(0, dtype=int)


def test_decisions_begin_with_the_first_published_vector():
    words = np.array([0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8], "<u4")
    np.testing.assert_array_equal(bytes_of_the_stream(16, 0), words.view(np.uint8))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_byte_follows_the_definition(seed):
    words = reference.random_words(seed, reference.DECISIONS, np.arange(300))
    np.testing.assert_array_equal(bytes_of_the_stream(4800, seed), words.view(np.uint8).ravel())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "p", [0, 5e-324, 2**-72, 2**-20, 0.001, 0.1, 0.25 + 2**-20, 1 / 3, 0.5, 0.999, 1 - 2**-53, 1]
)
def test_masks_follow_the_definition(p, seed):
    for count in (0, 1, 7, 8, 63, 64, 65, 1000, 4095, 4096, 4097, 20_001):
        np.testing.assert_array_equal(
            tt.dropout_mask(count, p, rng=seed), reference.dropout_mask(count, p, rng=seed), str(count)
        )


@pytest.mark.parametrize("below", [True, False])
def test_a_tie_is_decided_by_all_of_its_bits(below):
    """The largest p that keeps an element, and the next double."""
    seed, element = 3, 5
    byte = int(reference.random_words(seed, reference.DECISIONS, [0]).view(np.uint8)[0, element])
    further = int(reference.random_words(seed, reference.TIES, [element])[:, :2].copy().view("<u8")[0, 0])
    limit = Fraction(byte * 2**64 + further, 2**72)
    nearest = float(limit)
    p = nearest if (Fraction(nearest) <= limit) == below else np.nextafter(nearest, 0 if below else 1)
    kept = np.unpackbits(tt.dropout_mask(16, p, rng=seed), bitorder="little")[element]
    assert kept == below == (ceil(Fraction(p) * 2**72) <= byte * 2**64 + further)


def test_elements_beyond_32_bits_follow_the_definition():
    """Tie blocks have numbers above 32 bits there; byte blocks do not, as each serves 16 elements."""
    count = 2**32 + 5000
    mask = tt.dropout_mask(count, 0.1, rng=11)
    elements = np.arange(count - 10_000, count)
    kept = np.unpackbits(mask[elements[0] // 8 :], bitorder="little")[: len(elements)]
    np.testing.assert_array_equal(kept, reference.decide(elements, 0.1, 11))
    del mask
    tt.trim_memory()


def test_the_definition_shows_the_reference():
    code = re.search(r"^DECISIONS.*?(?=\n```)", DEFINITION.read_text("utf-8"), re.DOTALL | re.MULTILINE)[0]
    assert "def decide(" in code
    assert code in Path(reference.random_stream.__file__).read_text("utf-8")


def vectors(heading):
    """The rows of a table in the definition, as lists of their cells."""
    section = DEFINITION.read_text("utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [re.findall(r"`([^`]+)`", line) for line in section.splitlines() if line.startswith("| `")]
    assert len(rows) >= 4
    return rows


def test_masks_have_the_vectors_of_the_definition():
    for seed, p, count, mask in vectors("Test vectors: masks"):
        got = tt.dropout_mask(int(count), float(Fraction(p)), rng=int(seed, 0))
        assert got.tobytes().hex(" ") == mask


def test_normal_numbers_have_the_vectors_of_the_definition():
    for seed, numbers in vectors("Test vectors: normal numbers"):
        expected = np.array([float.fromhex(number) for number in numbers.split()], np.float32)
        np.testing.assert_array_equal(drawn_normals(len(expected), int(seed, 0)), expected)


def drawn_normals(count, seed):
    """For p = 1/2 the noise is 1 + z; in float64, 1 + z holds every bit of a float32 z that is not tiny."""
    return tt.gaussian_dropout_forward(np.ones(count), 0.5, rng=seed).noise - 1


def polynomial(coefficients, v):
    total = np.full_like(v, np.float32(coefficients[0]))
    for coefficient in coefficients[1:]:
        total = total * v + np.float32(coefficient)
    return total


def normals_by_definition(words):
    """docs/random-stream.md in float32 NumPy."""
    number = words.view("<i4")
    magnitude = number ^ number >> 31
    u = magnitude.astype(np.float32) * np.float32(2**-31) + np.float32(2**-32)
    beyond = (0x7FFFFFFF - magnitude).astype(np.float32) * np.float32(2**-31) + np.float32(2**-32)
    scaled = (beyond * (u + np.float32(1))).view(np.int32) - 0x3F2AAAAB
    f = ((scaled & 0x7FFFFF) + 0x3F2AAAAB).view(np.float32) - np.float32(1)
    coefficients = vectors("Coefficients")
    logarithm, numerator, denominator = ([float(c) for c in row[1].split()] for row in coefficients[:3])
    exponent, log2 = (scaled >> 23).astype(np.float32), float(coefficients[3][1])
    t = polynomial(logarithm, f) * f - exponent * np.float32(log2)
    z = u * polynomial(numerator, t) / polynomial(denominator, t)
    return np.where(number < 0, -z, z)


def test_normal_numbers_have_the_bits_of_the_definition():
    words = reference.random_words(5, reference.NORMALS, np.arange(50_000)).ravel()
    by_definition = normals_by_definition(words).astype(float)
    np.testing.assert_array_equal(drawn_normals(len(words), 5), (by_definition + 1) - 1)


def test_normal_numbers_are_quantiles():
    np.testing.assert_allclose(drawn_normals(20_001, 6), reference.normals(20_001, 6), rtol=4e-7, atol=3e-16)


def test_quantiles_of_the_tails_are_accurate():
    """By the definition, whose bits the library has."""
    edge = np.concatenate([np.arange(1000), 2**31 - 1 - np.unique(np.geomspace(1, 2**31, 3000).astype(int))])
    words = np.concatenate([edge, 2**32 - 1 - edge]).astype("<u4")
    signed = words.view("<i4").astype(float)
    beyond = (2**31 - 0.5 - np.where(signed < 0, -1 - signed, signed)) / 2**32
    quantiles = np.array([-statistics.NormalDist().inv_cdf(q) for q in beyond])
    np.testing.assert_allclose(
        normals_by_definition(words), np.where(signed < 0, -quantiles, quantiles), rtol=5e-7
    )
