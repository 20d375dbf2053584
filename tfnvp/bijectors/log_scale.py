"""How an affine coupling turns a network's raw output into a log-scale, and its bounds."""

import math

import tensorflow as tf

SIGMOID_FLOOR = 1e-3
SOFTCLAMP_BOUND = 2.0


def tanh(raw, factor):
    """A learned factor times the tanh of `raw`: within `±|factor|` (Real NVP's choice)."""
    return factor * tf.tanh(raw)


def sigmoid(raw, factor):
    """`log(sigmoid(raw + 2) + 0.001)`: from -6.91 to 0.001, so a scale never above 1.001."""
    del factor
    return tf.math.log(tf.sigmoid(raw + 2.0) + SIGMOID_FLOOR)


def exp(raw, factor):
    """`raw`: without bounds, the scale can overflow."""
    del factor
    return raw


def softclamp(raw, factor):
    """`(4 / pi) * arctan(pi * raw / 4)`: within ±2, with slope 1 at 0."""
    del factor
    steepness = math.pi / (2.0 * SOFTCLAMP_BOUND)
    return tf.atan(raw * steepness) / steepness


LOG_SCALES = {"tanh": tanh, "sigmoid": sigmoid, "exp": exp, "softclamp": softclamp}
