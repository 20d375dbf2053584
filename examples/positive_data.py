"""Density of positive data: Real NVP couplings between bijectors of TensorFlow Probability.

`tfb.Softplus` ends the chain, so every sample is positive; the couplings before it act on real
numbers. `tfnvp.Flow` trains the whole chain, log-dets of both libraries included.
"""

import argparse

import numpy as np
import tensorflow_probability as tfp

import tfnvp
from tfnvp.bijectors import AffineCoupling
from tfnvp.conditioners import MLP
from tfnvp.partitions import Split

tfb = tfp.bijectors


def incomes(n, seed=0):
    """Two correlated positive quantities, such as income and rent."""
    rng = np.random.default_rng(seed)
    income = rng.lognormal(0.0, 0.5, n)
    rent = 0.3 * income + rng.gamma(4.0, 0.05, n)
    return np.stack([income, rent], axis=1).astype("float32")


def main(epochs=30, n=10_000):
    couplings = [
        AffineCoupling(MLP(2, (64, 64)), Split(1, swapped=i % 2 == 1), event_shape=2)
        for i in range(6)
    ]
    flow = tfnvp.Flow(tfb.Chain([tfb.Softplus(), *couplings]), event_shape=2)
    flow.compile(optimizer="adam")
    flow.fit(incomes(n), batch_size=250, epochs=epochs, verbose=0)

    samples = flow.sample(1000, seed=1).numpy()
    nats = float(np.mean(flow.log_prob(incomes(1000, seed=2))))
    print(f"smallest sample {samples.min():.4f}, test log-likelihood {nats:.3f} nats")
    return nats, samples


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    main(**({"epochs": 1, "n": 1000} if parser.parse_args().quick else {}))
