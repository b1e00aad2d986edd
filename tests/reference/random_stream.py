"""The random stream: Philox4x32-10, Salmon et al. 2011. docs/random-stream.md is its definition."""

import fractions
import math
import statistics

import numpy as np

DECISIONS, TIES, NORMALS = range(3)


def philox(counter, key):
    """Four arrays of 32-bit words from the four of a counter and the two of a key, in uint64."""
    low = np.uint64(0xFFFFFFFF)
    a, b, c, d = np.broadcast_arrays(*np.asarray(counter, np.uint64))
    k, m = np.asarray(key, np.uint64)
    for _ in range(10):
        left, right = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b, c, d = right >> 32 ^ b ^ k, right & low, left >> 32 ^ d ^ m, left & low
        k, m = k + np.uint64(0x9E3779B9) & low, m + np.uint64(0xBB67AE85) & low
    return a, b, c, d


def random_words(seed, purpose, numbers):
    """(n, 4): the blocks of a purpose with these numbers"""
    numbers = np.asarray(numbers, np.uint64)
    zeros = np.zeros_like(numbers)
    counter = [numbers & 0xFFFFFFFF, numbers >> 32, zeros, zeros + purpose]
    return np.stack(philox(counter, divmod(seed, 2**32)[::-1]), -1).astype("<u4")


def decide(elements, p, seed):
    """Kept, of consecutive elements: those whose byte, followed by 64 further bits, is not below p 2^72."""
    blocks = np.arange(elements[0] // 16, elements[-1] // 16 + 1)
    byte = random_words(seed, DECISIONS, blocks).view(np.uint8).ravel()[elements[0] % 16 :][: len(elements)]
    further = random_words(seed, TIES, elements)[:, :2].copy().view("<u8").ravel()
    threshold, rest = divmod(math.ceil(fractions.Fraction(p) * 2**72), 2**64)
    return (byte > threshold) | ((byte == threshold) & (further >= rest))


def normals(count, seed):
    """The quantile at (i + 1/2) / 2^32 + 1/2 for each random word i, read as a signed number."""
    words = random_words(seed, NORMALS, np.arange((count + 3) // 4)).view("<i4").ravel()[:count]
    return np.array([statistics.NormalDist().inv_cdf(q) for q in (words + 0.5) / 2**32 + 0.5])
