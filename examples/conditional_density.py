"""The density p(x | c): a whole distribution for every value of a condition.

Here x lies on a circle whose radius is the condition. `fit(x, condition)` learns it, and
`log_prob` and `sample` take the condition.
"""

import argparse

import numpy as np

import tfnvp


def circles(n, seed=0):
    """Points around circles, and the circles' radii."""
    rng = np.random.default_rng(seed)
    radius = rng.uniform(1.0, 3.0, (n, 1))
    angle = rng.uniform(0.0, 2 * np.pi, (n, 1))
    x = radius * np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    return (x + rng.normal(0.0, 0.1, (n, 2))).astype("float32"), radius.astype("float32")


def main(epochs=40, n=10_000):
    flow = tfnvp.RealNVP(2, couplings=8, hidden_units=(64, 64), condition_shape=1)
    flow.compile(optimizer="adam")
    flow.fit(*circles(n), batch_size=250, epochs=epochs, verbose=0)

    radii = {}
    for radius in (1.0, 2.0, 3.0):
        samples = flow.sample(1000, seed=0, condition=[radius]).numpy()
        radii[radius] = float(np.median(np.linalg.norm(samples, axis=1)))
        print(f"condition {radius}: median radius of samples {radii[radius]:.2f}")
    x, condition = circles(1000, seed=1)
    print(f"test log-likelihood {np.mean(flow.log_prob(x, condition)):.3f} nats")
    return radii


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    main(**({"epochs": 1, "n": 1000} if parser.parse_args().quick else {}))
