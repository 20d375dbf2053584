"""A flow over a learned mixture: clusters that no continuous map of one normal can separate.

Any `tfd.Distribution` can be the base, and the `tf.Variable`s inside it train with the flow.
"""

import argparse

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import tfnvp

tfd = tfp.distributions


def rings(n, seed=0):
    """Three separate curved clusters."""
    rng = np.random.default_rng(seed)
    cluster = rng.integers(3, size=n)
    angle = rng.normal(0.0, 0.2, n) + cluster * 2 * np.pi / 3
    radius = 2.0 + rng.normal(0.0, 0.1, n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype("float32")


def mixture(components=3):
    # Spread evenly: two components with the same start would share a cluster.
    angle = tf.range(components, dtype=tf.float32) * (2 * np.pi / components)
    locations = 1.5 * tf.stack([tf.cos(angle), tf.sin(angle)], axis=1)
    return tfd.MixtureSameFamily(
        tfd.Categorical(logits=tf.Variable(tf.zeros(components), name="logits")),
        tfd.MultivariateNormalDiag(
            loc=tf.Variable(locations, name="locations"), scale_diag=tf.fill([components, 2], 0.5)
        ),
    )


def main(epochs=30, n=10_000):
    nats = {}
    for name, base in (("normal", "normal"), ("mixture", mixture())):
        flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(32, 32), base=base)
        flow.compile(optimizer="adam")
        flow.fit(rings(n), batch_size=250, epochs=epochs, verbose=0)
        nats[name] = float(np.mean(flow.log_prob(rings(2000, seed=1))))
        print(f"base {name}: test log-likelihood {nats[name]:.3f} nats")
    return nats


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    main(**({"epochs": 1, "n": 1000} if parser.parse_args().quick else {}))
