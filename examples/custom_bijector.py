"""Your own bijector, tested by `check_bijector`, and a mistake in it that the check finds.

The bijector is y = sinh(tail * arcsinh(x)) with a learned tail for each variable: above 1 it gives
heavy tails, below 1 light ones. At the end of a flow it learns data with outliers.
"""

import argparse

import keras
import numpy as np
import tensorflow as tf

import tfnvp
from tfnvp.bijectors import ActNorm, AffineCoupling, Chain
from tfnvp.conditioners import MLP
from tfnvp.partitions import Split
from tfnvp.testing import check_bijector


@keras.saving.register_keras_serializable("examples")  # so that a flow with it can be saved
class Tails(tfnvp.bijectors.Bijector):
    """`y = sinh(exp(log_tail) * arcsinh(x))`, for each variable; both directions by formula."""

    def __init__(self, size, name="tails"):
        parameters = dict(locals())
        self.log_tail = keras.Variable(np.zeros(size, "float32"), name="log_tail")
        # The Keras variables and layers that it uses, so that TFP and Keras find them.
        super().__init__(1, [self.log_tail], parameters, name)

    def _forward_and_log_det(self, x):
        return self._stretch(x, tf.exp(tf.cast(self.log_tail.value, x.dtype)))

    def _inverse_and_log_det(self, y):
        return self._stretch(y, tf.exp(-tf.cast(self.log_tail.value, y.dtype)))

    def _stretch(self, x, tail):
        inner = tail * tf.asinh(x)
        log_slope = tf.math.log(tail) + tf.math.log(tf.cosh(inner)) - 0.5 * tf.math.log1p(x**2)
        return tf.sinh(inner), tf.reduce_sum(log_slope, axis=-1)


class Forgetful(Tails):
    """The same with a mistake: it forgets the factor `tail` in the derivative."""

    def _stretch(self, x, tail):
        y, log_det = super()._stretch(x, tail)
        return y, log_det - tf.reduce_sum(tf.math.log(tail))


def prices(n, seed):
    """Two correlated quantities with outliers: Student's t of 2.5 degrees of freedom."""
    rng = np.random.default_rng(seed)
    x = rng.standard_t(2.5, (n, 2))
    return (x @ [[1.0, 0.8], [0.0, 0.6]]).astype("float32")


def main(epochs=30, n=10_000):
    x = prices(16, seed=2)
    for bijector in (Tails(2), Forgetful(2)):
        bijector.log_tail.assign([0.3, -0.2])
        try:
            check_bijector(bijector, x)
            print(f"{type(bijector).__name__}: everything holds")
        except AssertionError as error:
            print(f"{type(bijector).__name__}: {str(error).splitlines()[0]}")

    nats = {}
    for name, ends in (("without tails", []), ("with tails", [Tails(2)])):
        keras.utils.set_random_seed(0)
        couplings = [
            AffineCoupling(MLP(2, (32, 32)), Split(1, swapped=i % 2 == 1), event_shape=2)
            for i in range(4)
        ]
        chain = Chain([ActNorm(2, data_init=False), *ends, *couplings])
        flow = tfnvp.Flow(chain, event_shape=2)
        flow.compile(keras.optimizers.Adam(1e-3, global_clipnorm=10.0))
        flow.fit(prices(n, 0), batch_size=250, epochs=epochs, verbose=0)
        nats[name] = float(np.mean(flow.log_prob(prices(20_000, 1))))
        print(f"{name}: test log-likelihood {nats[name]:.3f} nats")
    return nats


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    main(**({"epochs": 1, "n": 500} if parser.parse_args().quick else {}))
