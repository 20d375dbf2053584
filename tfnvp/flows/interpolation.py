"""The grid of latents between four corners."""

import math

import tensorflow as tf


def four_corner_latents(corners: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    """Returns the grid of latents that four corners span, along quarter circles.

    ::

        z = cos(a) (cos(b) z1 + sin(b) z2) + sin(a) (cos(b) z3 + sin(b) z4)

    Args:
      corners: `[4, ...]`: top left, top right, bottom left, bottom right.
      rows: int, number of angles `a` from 0 to pi/2.
      columns: int, number of angles `b` from 0 to pi/2.

    Returns:
      `[rows, columns, ...]`; its four corners are `corners`.

    Source: Dinh, Sohl-Dickstein and Bengio 2017 (Real NVP), equation 19.
    """
    a, b = tf.linspace(0.0, math.pi / 2, rows), tf.linspace(0.0, math.pi / 2, columns)
    down, along = tf.stack([tf.cos(a), tf.sin(a)], 1), tf.stack([tf.cos(b), tf.sin(b)], 1)
    shape = corners.shape[1:]
    corners = tf.reshape(corners, (2, 2, -1))
    grid = tf.einsum("ri,cj,ijd->rcd", down, along, corners)
    return tf.reshape(grid, (rows, columns, *shape))
