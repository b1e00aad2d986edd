"""Activations and their gradients."""

import math

import numpy as np

from reference.axes import wide


def relu(x):
    """y = max(x, 0)"""
    return np.maximum(wide(x), 0)


def relu_backward(dy, y):
    """dx = dy where y > 0, else 0"""
    return np.where(wide(y) > 0, wide(dy), 0)


def leaky_relu(x, negative_slope=0.05):
    """y = x where x > 0, else negative_slope * x"""
    return wide(x) * np.where(wide(x) > 0, 1, negative_slope)


def leaky_relu_backward(dy, x, negative_slope=0.05):
    """dx = dy where x > 0, else negative_slope * dy"""
    return wide(dy) * np.where(wide(x) > 0, 1, negative_slope)


def sigmoid(x):
    """y = 1 / (1 + exp(-x)), where x < 0 as exp(x) / (1 + exp(x)), which cannot overflow"""
    e = np.exp(-np.abs(wide(x)))
    return np.where(wide(x) >= 0, 1, e) / (1 + e)


def sigmoid_backward(dy, y):
    """dx = dy * y * (1 - y)"""
    return wide(dy) * wide(y) * (1 - wide(y))


def tanh(x):
    """y = tanh(x)"""
    return np.tanh(wide(x))


def tanh_backward(dy, y):
    """dx = dy * (1 - y^2), as (1 - y) (1 + y), which does not cancel"""
    return wide(dy) * ((1 - wide(y)) * (1 + wide(y)))


def silu(x):
    """y = x / (1 + exp(-x))"""
    return wide(x) * sigmoid(x)


def silu_backward(dy, x):
    """dx = dy (p + x p (1 - p)) with p = 1 / (1 + exp(-x))"""
    p, q = sigmoid(x), sigmoid(-wide(x))
    return wide(dy) * (p + wide(x) * p * q)


def normal_distribution(x, approximate):
    """P(x) = erfc(-x / sqrt(2)) / 2; approximate: 1 / (1 + exp(-2 sqrt(2 / pi) (x + 0.044715 x^3)))"""
    if approximate:
        return sigmoid(2 * np.sqrt(2 / np.pi) * (wide(x) + 0.044715 * wide(x) ** 3))
    return np.vectorize(math.erfc, otypes=[float])(-wide(x) / np.sqrt(2)) / 2


def gelu(x, approximate=False):
    """y = x P(x)"""
    return wide(x) * normal_distribution(x, approximate)


def gelu_backward(dy, x, approximate=False):
    """dx = dy (P(x) + x P'(x)), P'(x) = exp(-x^2 / 2) / sqrt(2 pi); approximate: P (1 - P) u'"""
    p, z = normal_distribution(x, approximate), wide(x)
    slope = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    if approximate:
        slope = p * normal_distribution(-z, True) * 2 * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * z**2)
    return wide(dy) * (p + z * slope)
