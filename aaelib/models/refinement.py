"""Refinement of codes: maximum a posteriori estimates, from the encoder's on."""

import tensorflow as tf

from .losses import ANY_DIRECTION, nearest_indices

_STEP = 0.05  # of the finite differences, in standard deviations of the prior
_DAMPING, _AFTER_FAILURE, _AFTER_SUCCESS = 0.1, 4.0, 0.3


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
    weight = noise / prior_std**2
    identity = tf.eye(codes.shape[1], batch_shape=tf.shape(codes)[:1])
    damping = tf.fill(tf.shape(codes)[:1], _DAMPING)[:, None, None]
    best, energy_of_best = codes, tf.fill(tf.shape(damping), float("inf"))
    slope_of_best, curvature_of_best, told_of_best = codes, identity, codes > 0
    for _ in tf.range(n_steps + 1):
        energy, slope, curvature = _linearized(decoder, prior_std, points, normals, codes)
        energy = (energy + weight * tf.reduce_sum(codes**2, axis=1))[:, None, None]
        told = tf.linalg.diag_part(curvature) > weight
        better = energy < energy_of_best
        energy_of_best = tf.where(better, energy, energy_of_best)
        best = tf.where(better[..., 0], codes, best)
        told_of_best = tf.where(better[..., 0], told, told_of_best)
        slope_of_best = tf.where(better[..., 0], slope + weight * codes, slope_of_best)
        curvature_of_best = tf.where(better, curvature + weight * identity, curvature_of_best)
        damping *= tf.where(better, _AFTER_SUCCESS, _AFTER_FAILURE)
        free = tf.cast(told_of_best, tf.float32)[..., None]
        scale = tf.linalg.trace(curvature_of_best)[:, None, None] / codes.shape[1]
        # A number that is not told has no slope, so that no step moves it.
        system = curvature_of_best * free * tf.linalg.matrix_transpose(free)
        step = tf.linalg.solve(
            system + (damping * scale + 1e-12) * identity, free * slope_of_best[..., None]
        )
        codes = best - step[..., 0]
    return best


def _linearized(decoder, prior_std, points, normals, codes):
    """`plane_distance` (n,) of decoded clouds, half its gradient and half its Hessian in codes."""
    n, code_size = tf.shape(codes)[0], codes.shape[1]
    moved = codes[:, None] + _STEP * prior_std * tf.eye(code_size)
    probes = tf.reshape(tf.concat([codes[:, None], moved], axis=1), [-1, code_size])
    clouds = tf.reshape(decoder(probes), [n, 1 + code_size, -1, 3])
    decoded = clouds[:, 0]
    slopes = (clouds[:, 1:] - decoded[:, None]) / (_STEP * prior_std)
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
            slope += share * tf.matmul(jacobian, residual, transpose_a=True)[..., 0]
            curvature += share * tf.matmul(jacobian, jacobian, transpose_a=True)
    return distance, slope, curvature
