"""Refinement of codes: maximum a posteriori estimates, from the encoder's on."""

import tensorflow as tf

from .losses import nearest_indices
from .recipes import AFTER_FAILURE, AFTER_SUCCESS, ANY_DIRECTION, DAMPING, PROBE


def refine(decoder, prior_std, n_steps, points, normals, codes, noise):
    """
    Refine codes by steps of Levenberg and Marquardt to their maximum a posteriori.

    Semi-amortized inference (Kim et al. 2018) of the code z that minimizes

    .. math:: d(x, D(z)) + \\nu \\|z\\|^2 / \\sigma^2

    with the prior's standard deviation sigma, the noise nu and `losses.plane_distance` d: where on
    a smooth wall a point was sampled is no property of the shape. Neighbours and derivatives (by
    finite differences) are found anew in each step. The energy of a code never rises. A number of
    the code about which the cloud tells less than the prior stays as the encoder has it, such as
    one that does no more than choose between two kinds: its maximum lies where the prior's half
    for one kind ends.

    Parameters
    ----------
    decoder : function
        Codes (n, code_size) -> clouds (n, m_points, 3).
    prior_std : float
    n_steps : int
    points, normals : (n, n_points, 3) tensors
        Normalized clouds and their unit normals.
    codes : (n, code_size) tensor
        To start from.
    noise : scalar tensor
        In squared normalized units, see `training.estimate_noise`.

    Returns
    -------
    (n, code_size) tensor
    """
    weight, code_size = noise / prior_std**2, codes.shape[1]
    codes = best = codes[..., None]  # (n, code_size, 1), as the slope
    curvature = identity = tf.eye(code_size, batch_shape=tf.shape(codes)[:1])
    slope, least = tf.zeros_like(codes), tf.fill(tf.shape(codes[:, :1]), float("inf"))
    damping = tf.fill(tf.shape(least), DAMPING)
    for _ in tf.range(n_steps + 1):
        distance, *derivatives = _linearized(decoder, prior_std, points, normals, codes[..., 0])
        energy = distance[:, None, None] + weight * tf.reduce_sum(codes**2, axis=1, keepdims=True)
        better = energy < least
        least, best = tf.where(better, energy, least), tf.where(better, codes, best)
        slope = tf.where(better, derivatives[0], slope)
        curvature = tf.where(better, derivatives[1], curvature)
        damping *= tf.where(better, AFTER_SUCCESS, AFTER_FAILURE)
        system = curvature + weight * identity
        scale = tf.linalg.trace(system)[:, None, None] / code_size
        # A number of which the cloud tells less than the prior has no slope: no step moves it.
        told = tf.cast(tf.linalg.diag_part(curvature) > weight, tf.float32)[..., None]
        system *= told * tf.linalg.matrix_transpose(told)
        system += (damping * scale + 1e-12) * identity
        codes = best - tf.linalg.solve(system, told * (slope + weight * best))
    return best[..., 0]


def _linearized(decoder, prior_std, points, normals, codes):
    """
    Linearize `plane_distance` of decoded clouds in their codes.

    Returns the distance (n,), half its gradient (n, code_size, 1) and half its Hessian.
    """
    n, code_size = tf.shape(codes)[0], codes.shape[1]
    moved = codes[:, None] + PROBE * prior_std * tf.eye(code_size)
    probes = tf.reshape(tf.concat([codes[:, None], moved], axis=1), [-1, code_size])
    clouds = tf.reshape(decoder(probes), [n, 1 + code_size, -1, 3])
    decoded = clouds[:, 0]
    slopes = (clouds[:, 1:] - decoded[:, None]) / (PROBE * prior_std)
    slopes = tf.transpose(slopes, [0, 2, 3, 1])  # (n, m_points, 3, code_size)
    to_points, to_decoded = nearest_indices(decoded, points), nearest_indices(points, decoded)
    there = decoded - tf.gather(points, to_points, batch_dims=1)
    back = tf.gather(decoded, to_decoded, batch_dims=1) - points
    distance, slope, curvature = 0.0, 0.0, 0.0
    for way, normal, moves in (
        (there, tf.gather(normals, to_points, batch_dims=1), slopes),
        (back, normals, tf.gather(slopes, to_decoded, batch_dims=1)),
    ):
        along = tf.reduce_sum(way * normal, axis=-1, keepdims=True)
        along_moves = tf.einsum("npx,npxk->npk", normal, moves)
        flat, flat_moves = tf.reshape(way, [n, -1, 1]), tf.reshape(moves, [n, -1, code_size])
        for weight, residual, jacobian in (
            (1.0, along, along_moves),
            (ANY_DIRECTION, flat, flat_moves),
        ):
            share = weight / tf.cast(tf.shape(way)[1], tf.float32)
            distance += share * tf.reduce_sum(residual**2, axis=[1, 2])
            slope += share * tf.matmul(jacobian, residual, transpose_a=True)
            curvature += share * tf.matmul(jacobian, jacobian, transpose_a=True)
    return distance, slope, curvature
