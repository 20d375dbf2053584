"""Ten bugs, planted one line at a time into the package: `check_bijector` catches ten of ten.

That the same bijectors pass without the bugs is in `tests/bijectors/test_every_bijector.py`.
"""

import pytest
import tensorflow as tf

from tests.bijector_builders import act_norm, coupling, points, scaling
from tfnvp.bijectors import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    DiagonalScaling,
    Logit,
    SplineCoupling,
)
from tfnvp.bijectors.bijector import Bijector
from tfnvp.bijectors.coupling import Coupling
from tfnvp.bijectors.value_and_log_det import _Memory
from tfnvp.partitions import EvenOdd
from tfnvp.testing import check_bijector


def log_det_sign(original):
    def patched(self, moved, *parameters):
        value, log_det = original(self, moved, *parameters)
        return value, -log_det

    return patched


def merge_order(original):
    return lambda self, passed, moved: original(self, moved, passed)


def no_factor(original):
    return lambda self, raw: tf.tanh(raw)


def shift_added(original):
    return lambda self, moved, shift: (moved + shift, None)


def no_span(original):
    def patched(self, x):
        value, log_det = original(self, x)
        return value, log_det - tf.math.log(tf.cast(1.0 - 2.0 * self.alpha, x.dtype))

    return patched


def one_position(original):
    return lambda self, x, log_scale: original(self, x, log_scale) / self.event_shape[0]


def scaling_sign(original):
    def patched(self, x, log_scale):
        value, log_det = original(self, x, log_scale)
        return value, -log_det

    return patched


def never_a_new_version(original):
    return lambda self, weights: (0, 0)


def no_weights(original):
    def patched(self, event_ndims, keras_objects=(), parameters=None, name=None, **kwargs):
        original(self, event_ndims, (), parameters, name, **kwargs)

    return patched


def called_twice(original):
    def patched(self, *args):
        original(self, *args)
        return original(self, *args)

    return patched


BUGS = [
    (AffineCoupling, "_inverse_moved", log_det_sign, coupling, "log-dets"),
    (
        SplineCoupling,
        "_inverse_moved",
        log_det_sign,
        lambda: coupling("spline", bins=2),
        "log-dets",
    ),
    (EvenOdd, "merge", merge_order, coupling, "round trip"),
    (AffineCoupling, "_log_scale", no_factor, coupling, "gradients"),
    (
        AdditiveCoupling,
        "_inverse_moved",
        shift_added,
        lambda: coupling("additive"),
        "round trip",
    ),
    (Logit, "_forward_and_log_det", no_span, Logit, "log-dets"),
    (ActNorm, "_log_det", one_position, lambda: act_norm((2, 4)), "log-dets"),
    (DiagonalScaling, "_scale", scaling_sign, scaling, "log-dets"),
    (_Memory, "version", never_a_new_version, coupling, "stale answers"),
    (Bijector, "__init__", no_weights, coupling, "variables"),
    (Coupling, "_parameters_at", called_twice, coupling, "conditioner calls"),
]


@pytest.mark.parametrize(
    ("cls", "method", "bug", "make", "property_"), BUGS, ids=[b[2].__name__ for b in BUGS]
)
def test_planted_bug_is_caught(monkeypatch, cls, method, bug, make, property_):
    shape = (3, 2, 4) if bug is one_position else (3, 4)
    x = tf.sigmoid(points(*shape))  # In [0, 1], which is in the domain of all of them.
    monkeypatch.setattr(cls, method, bug(getattr(cls, method)))
    with pytest.raises(AssertionError, match=property_):
        check_bijector(make(), x)
