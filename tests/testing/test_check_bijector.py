"""`check_bijector` passes what is right, and names what is wrong.

That it passes every bijector of ours is in `tests/bijectors/test_every_bijector.py`.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfnvp
from tests.bijector_builders import act_norm, coupling, points, scaling
from tfnvp.bijectors import (
    ActNorm,
    Bijector,
    Chain,
)
from tfnvp.testing import CHECKS, check_bijector

tfb = tfp.bijectors
OF_ANY_DTYPE = {"tapes", "stale answers", "copies", "equality", "conditioner calls"}
CALLS_ALONE = CHECKS.keys() - {"conditioner calls"}


def test_passes_float64():
    x = points(3, 4, dtype=tf.float64)
    check_bijector(coupling(dtype="float64"), x, atol=1e-12, skip=OF_ANY_DTYPE)


def test_passes_splines_of_float64():
    b = coupling("spline", dtype="float64", bins=2)
    check_bijector(b, points(3, 4, dtype=tf.float64), atol=1e-12, skip=OF_ANY_DTYPE)


def test_passes_scalar_events():
    check_bijector(tfb.Exp(), points(5))


def test_passes_events_of_one_variable():
    check_bijector(Chain([act_norm(1), scaling(1)]), points(3, 1))


@pytest.mark.parametrize(
    "make",
    [
        tfb.Softplus,
        lambda: tfb.Reshape((2, 2), (4,)),
        # They cannot be pickled, the last cannot be copied either.
        lambda: tfb.Inline(tf.exp, lambda y: tf.math.log(y), forward_min_event_ndims=0),
        lambda: tfb.Blockwise([tfb.Exp(), tfb.Scale(2.0)], [1, 3]),
        # Its error says "unknown TensorShape".
        tfb.DiscreteCosineTransform,
    ],
)
def test_passes_bijectors_of_tfp(make):
    check_bijector(make(), points(3, 4))


@pytest.mark.parametrize("chain", [Chain, tfb.Chain])
def test_passes_conditional_bijectors(chain):
    members = [coupling(condition_shape=2, name="first"), tfb.Tanh()]
    check_bijector(chain(members), points(3, 4), points(3, 2, seed=2).numpy())


def test_leaves_weights_and_conditioner_as_they_were():
    coupling_ = coupling()
    norm = ActNorm(4)
    chain = Chain([coupling_, norm])
    before = [v.numpy() for v in chain.variables]
    check_bijector(chain, points(3, 4))
    for old, new in zip(before, chain.variables, strict=True):
        np.testing.assert_array_equal(old, new)
    assert int(norm.initialized.value) == 0
    assert "call" not in vars(coupling_.conditioner)


# --- Wrong bijectors ----------------------------------------------------------------------------


class Scale(Bijector):
    """A right bijector, from which the wrong ones differ in one line each."""

    def __init__(self, name="scale"):
        self.log_scale = keras.Variable([0.2, -0.4, 0.1], name="log_scale")
        super().__init__(1, self.registered(), {"name": name}, name)

    def registered(self):
        return (self.log_scale,)

    def _scaled(self, x, sign):
        log_scale = sign * tf.cast(self.log_scale.value, x.dtype)
        return x * tf.exp(log_scale), tf.fill(tf.shape(x)[:-1], tf.reduce_sum(log_scale))

    def _forward_and_log_det(self, x):
        return self._scaled(x, 1.0)

    def _inverse_and_log_det(self, y):
        return self._scaled(y, -1.0)


class WrongSign(Scale):
    def _inverse_and_log_det(self, y):
        x, log_det = super()._inverse_and_log_det(y)
        return x, -log_det


class WrongSignsBoth(Scale):
    def _scaled(self, x, sign):
        y, log_det = super()._scaled(x, sign)
        return y, -log_det


class ScalarLogDet(Scale):
    def _scaled(self, x, sign):
        y, _ = super()._scaled(x, sign)
        return y, sign * tf.cast(tf.reduce_sum(self.log_scale.value), x.dtype)


class WrongInverse(Scale):
    def _inverse_and_log_det(self, y):
        x, log_det = super()._inverse_and_log_det(y)
        return x + 0.01, log_det


class Unregistered(Scale):
    def registered(self):
        return ()


class HiddenVariable(Scale):
    """Holds no Keras object in sight: found only because its variable is read."""

    def __init__(self):
        super().__init__()
        variable = tf.Variable(0.3, name="hidden")
        self._offset = lambda: variable

    def _forward_and_log_det(self, x):
        y, log_det = super()._forward_and_log_det(x)
        return y + tf.cast(self._offset(), x.dtype), log_det

    def _inverse_and_log_det(self, y):
        return super()._inverse_and_log_det(y - tf.cast(self._offset(), y.dtype))


class Stale(Scale):
    def _current_weights(self):
        return ()


class UnusedVariable(Scale):
    def __init__(self):
        self.unused = keras.Variable(1.0, name="unused")
        super().__init__()

    def registered(self):
        return (self.log_scale, self.unused)


class NoLogDetGradient(Scale):
    def _scaled(self, x, sign):
        y, log_det = super()._scaled(x, sign)
        return y, tf.stop_gradient(log_det)


class NotFinite(Scale):
    def _scaled(self, x, sign):
        y, log_det = super()._scaled(x, sign)
        return y, log_det + tf.where(x[..., 0] > 0, tf.cast(float("nan"), x.dtype), 0.0)


class WrongEventShape(Scale):
    def _forward_event_shape(self, shape):
        return tf.TensorShape([6])


class Float32Only(Scale):
    def _scaled(self, x, sign):
        y, log_det = super()._scaled(x, sign)
        return y, tf.cast(log_det, tf.float16)


class Raises(Scale):
    def _inverse_and_log_det(self, y):
        raise NotImplementedError("no inverse yet")


class OneResultForAllTapes(Scale):
    def _value_and_log_det(self, x, inverse, kwargs):
        if not tf.executing_eagerly():
            return self._compute(x, inverse, kwargs)
        known = vars(self).setdefault("known", {})
        key = id(x), inverse, self.log_scale.numpy().tobytes()
        return known.setdefault(key, (x, *self._compute(x, inverse, kwargs)))[1:]


class EqualToAll(Scale):
    def __eq__(self, other):
        return type(self) is type(other)

    def __hash__(self):
        return hash(type(self))


class HashOfValues(Scale):
    def __hash__(self):
        return hash(self.log_scale.numpy().tobytes())


class HoldsAFunction(Scale):
    def __init__(self):
        super().__init__()
        self.function = lambda x: x


class SharesItsVariables(Scale):
    def __deepcopy__(self, memo):
        return self


class NeedsRows(Scale):
    def _scaled(self, x, sign):
        if x.shape[0] == 0:
            raise IndexError("no first row")
        return super()._scaled(x, sign)


class OfOneDtype(Scale):
    def _compute(self, x, inverse, kwargs):
        return (
            x * self.log_scale.value if x.dtype.size == 2 else super()._compute(x, inverse, kwargs)
        )


class WiderThanHalf(Scale):
    def _compute(self, x, inverse, kwargs):
        return super()._compute(tf.cast(x, tf.float32) if x.dtype.size == 2 else x, inverse, kwargs)


class NeedsARank(Scale):
    def _compute(self, x, inverse, kwargs):
        self.last_axis = x.shape.rank - 1
        return super()._compute(x, inverse, kwargs)


WRONG = [
    (WrongSign, r"log-dets: inverse_log_det_jacobian.*1 against|log-dets: .*0\.1"),
    (WrongSignsBoth, "forward_log_det_jacobian against autodiff"),
    (ScalarLogDet, r"forward_log_det_jacobian of a batch has shape \(\), expected \(3,\)"),
    (WrongInverse, r"round trip: inverse\(forward\(x\)\).*0\.01"),
    (Unregistered, "variables: .*log_scale.* held by a Keras layer"),
    (HiddenVariable, "variables: hidden.* is read"),
    (Stale, "stale answers: forward of a tensor held"),
    (UnusedVariable, "gradients: neither forward nor its log-det .*unused"),
    (NoLogDetGradient, "log-dets: gradient of forward_log_det_jacobian .*log_scale"),
    (NotFinite, "finite values: 1 of 3 values of forward_log_det_jacobian"),
    (WrongEventShape, r"shapes: forward_event_shape.* is \[6\]"),
    (Float32Only, "shapes: forward_log_det_jacobian of float32 inputs is float16"),
    (Raises, "a method raised NotImplementedError: no inverse yet"),
    (OneResultForAllTapes, "tapes: gradient of forward on a tape"),
    (EqualToAll, "equality: it equals one with other variables"),
    (HashOfValues, "equality: the hash changes"),
    (HoldsAFunction, "copies: pickle raised"),
    (SharesItsVariables, "copies: one by copy.deepcopy shares variables"),
    (NeedsRows, "shapes: a method raised IndexError: no first row"),
    (OfOneDtype, "half precision: a method raised InvalidArgumentError"),
    (WiderThanHalf, "half precision: forward of float16: its dtype is float32"),
    (NeedsARank, "shapes: a method raised TypeError: unsupported operand"),
]


def test_passes_the_right_bijector_that_the_wrong_ones_come_from():
    check_bijector(Scale(), points(3, 3))


@pytest.mark.parametrize(("wrong", "message"), WRONG, ids=lambda w: getattr(w, "__name__", ""))
def test_names_what_is_wrong(wrong, message):
    with pytest.raises(AssertionError, match=message):
        check_bijector(wrong(), points(3, 3))


def test_names_two_conditioner_calls(monkeypatch):
    bijector = coupling()
    # TFP's default cache remembers values, and computes log-dets on their own.
    monkeypatch.setattr(Bijector, "_cache", tfb.Bijector._cache)
    message = "conditioner calls: forward with its log-det called .* 2 times, expected 1"
    with pytest.raises(AssertionError, match=message):
        check_bijector(bijector, points(3, 4), skip=["shapes"])


def test_counts_shared_conditioners_once_for_each_coupling():
    shared = coupling()
    twin = type(shared)(shared.conditioner, shared.partition, 4, name="twin")
    check_bijector(Chain([shared, twin]), points(3, 4), skip=CALLS_ALONE)


def test_counts_a_coupling_as_often_as_it_occurs_in_a_chain():
    twice = coupling()
    inner = tfb.Invert(tfb.Chain([twice, tfb.Permute([3, 2, 1, 0])]))
    chain = tfb.Chain([twice, inner, tfb.Permute([1, 0, 3, 2])])
    check_bijector(chain, points(3, 4), skip=CALLS_ALONE)


def test_passes_weights_that_a_constraint_masks():
    network = tfb.AutoregressiveNetwork(2, hidden_units=[4])
    bijector = tfb.MaskedAutoregressiveFlow(network)
    bijector.forward(points(3, 2))
    mathematics = {"log-dets", "gradients", "variables"}
    check_bijector(bijector, points(3, 2), skip=CHECKS.keys() - mathematics)


def test_says_that_a_single_event_was_asked_for():
    layer = keras.layers.Dense(4)
    layer.build((None, 4))

    class OnlyBatches(tfb.Bijector):
        def __init__(self):
            super().__init__(forward_min_event_ndims=1)

        def _forward(self, x):
            return x + 0 * layer(x)

        def _inverse(self, y):
            return y - 0 * layer(y)

        def _forward_log_det_jacobian(self, x):
            return tf.zeros(tf.shape(x)[:-1])

    with pytest.raises(AssertionError, match=r"a single event of shape \(4,\), without a batch"):
        check_bijector(OnlyBatches(), points(3, 4))


def test_finds_what_tfp_own_bijectors_lack():
    shift = tfb.Shift(tf.Variable(1.0))
    with pytest.raises(AssertionError, match="stale answers"):
        check_bijector(shift, points(3, 4))
    check_bijector(shift, points(3, 4), skip=["stale answers"])


@pytest.mark.parametrize(
    ("error", "arguments", "keywords", "message"),
    [
        (TypeError, ("exp", [1.0]), {}, "`bijector` must be"),
        (TypeError, (tfb.Exp(), [1]), {}, "floating dtype. Received: int32"),
        (ValueError, (Scale(), [1.0, 2.0, 3.0]), {}, "batch of events of rank 1"),
        (ValueError, (tfb.Exp(), tf.zeros([0, 2])), {}, "at least one point"),
        (ValueError, (tfb.Exp(), [1.0]), {"skip": ["speed"]}, "`skip` must be among"),
    ],
)
def test_arguments(error, arguments, keywords, message):
    with pytest.raises(error, match=message):
        check_bijector(*arguments, **keywords)


def test_public_names():
    assert tfnvp.testing.check_bijector is check_bijector
    assert next(iter(CHECKS)) == "shapes"
