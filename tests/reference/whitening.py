"""Whitening (ZCA, decorrelated batch norm): Huang et al. 2018."""

from typing import NamedTuple

import numpy as np

from reference.axes import wide
from reference.batch_norm import update_running


class Whitened(NamedTuple):
    y: np.ndarray
    mean: np.ndarray
    matrix: np.ndarray
    saved: tuple


def whiten_forward(
    x, *, num_groups=1, axis=1, eps=1e-5, running_mean=None, running_matrix=None, momentum=0.1
):
    """Y = W Xc with W = D L^(-1/2) D', from Xc Xc' / m + eps I = D L D', for each group of channels

    mean (C,), matrix W (G, C / G, C / G)
    """
    x = wide(x)
    channels_first = np.moveaxis(x, axis, 0)
    values = channels_first.reshape(num_groups, x.shape[axis] // num_groups, -1)
    mean = values.mean(2, keepdims=True)
    centered = values - mean
    covariance = centered @ centered.mT / values.shape[2]
    eigenvalues, vectors = np.linalg.eigh(covariance + eps * np.eye(values.shape[1]))
    matrix = vectors / np.sqrt(eigenvalues)[:, None, :] @ vectors.mT
    if running_mean is not None:
        update_running(running_mean, mean.ravel(), momentum)
        update_running(running_matrix, matrix, momentum)
    y = np.moveaxis((matrix @ centered).reshape(channels_first.shape), 0, axis)
    return Whitened(y, mean.ravel(), matrix, (centered, eigenvalues, vectors, axis))


def whiten_backward(dy, saved):
    """dXc = W G + 2/m dS Xc, dX = dXc - mean(dXc)

    dS = D (K * (D' sym(G Xc') D)) D', K_ij = -1 / (a b (a + b)), a = sqrt(L_i), b = sqrt(L_j)
    """
    centered, eigenvalues, vectors, axis = saved
    channels_first = np.moveaxis(wide(dy), axis, 0)
    g = channels_first.reshape(centered.shape)
    a = np.sqrt(eigenvalues)[:, :, None]
    b = a.mT
    product = g @ centered.mT
    in_eigenbasis = vectors.mT @ ((product + product.mT) / 2) @ vectors
    dcovariance = vectors @ (-in_eigenbasis / (a * b * (a + b))) @ vectors.mT
    matrix = vectors / b @ vectors.mT
    dcentered = matrix @ g + 2 / centered.shape[2] * dcovariance @ centered
    dvalues = dcentered - dcentered.mean(2, keepdims=True)
    return np.moveaxis(dvalues.reshape(channels_first.shape), 0, axis)
