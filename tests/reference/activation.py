"""Activations and their gradients."""

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
