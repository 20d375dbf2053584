"""A flow as one distribution among others in a `tfd.JointDistributionNamed`.

A trained flow is the prior of a signal that is observed with noise. The joint distribution samples
both and has their log-density, which weights draws of the prior for the signal's posterior mean.
"""

import argparse

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from sklearn.datasets import make_moons

import tfnvp

tfd = tfp.distributions
NOISE = 0.3


def main(epochs=30, n=5000, draws=5000):
    prior = tfnvp.RealNVP(2, couplings=8, hidden_units=(64, 64))
    prior.compile(optimizer="adam")
    moons = make_moons(n, noise=0.05, random_state=0)[0].astype("float32")
    prior.fit(moons, batch_size=250, epochs=epochs, verbose=0)

    joint = tfd.JointDistributionNamed(
        {
            "signal": prior.distribution,
            "seen": lambda signal: tfd.Independent(tfd.Normal(signal, NOISE), 1),
        }
    )
    truth = joint.sample(500, seed=(0, 1))

    # Draws of the prior, weighted by the likelihood of the observation: [draws, 500].
    signal = prior.sample(draws, seed=2)[:, tf.newaxis]
    log_joint = joint.log_prob({"signal": signal, "seen": truth["seen"]})
    weights = tf.nn.softmax(log_joint - prior.distribution.log_prob(signal), axis=0)
    mean = tf.einsum("ij,ik->jk", weights, signal[:, 0])

    before, after = (
        float(np.sqrt(np.mean((x - truth["signal"]) ** 2))) for x in (truth["seen"], mean)
    )
    print(f"error of what is seen {before:.3f}, of the posterior mean {after:.3f}")
    return before, after


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    main(**({"epochs": 1, "n": 500, "draws": 100} if parser.parse_args().quick else {}))
