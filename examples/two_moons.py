"""Two moons: the density that a flow learns, and what it does to a grid of latents.

Writes two_moons.png: data, samples, density, and the grid before and after.
"""

import argparse

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.datasets import make_moons

import tfnvp


def moons(n, seed):
    return make_moons(n, noise=0.05, random_state=seed)[0].astype("float32")


def draw(flow, data, path):
    figure = Figure(figsize=(15, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    points, samples, density, latents, decoded = figure.subplots(1, 5)
    points.scatter(*data[:2000].T, s=1)
    points.set_title("data")
    samples.scatter(*flow.sample(2000, seed=0).numpy().T, s=1)
    samples.set_title("samples")

    x1, x2 = np.linspace(-1.5, 2.5, 200), np.linspace(-1.0, 1.5, 200)
    grid = np.stack(np.meshgrid(x1, x2), axis=-1).astype("float32")
    nats = flow.log_prob(grid.reshape(-1, 2)).numpy().reshape(200, 200)
    density.pcolormesh(x1, x2, np.exp(nats))
    density.set_title("density")
    for axes in (points, samples, density):
        axes.set(xlim=(-1.5, 2.5), ylim=(-1.0, 1.5))

    # Lines of constant z1, then of constant z2, each of 400 points.
    across, along = np.meshgrid(np.linspace(-2.5, 2.5, 21), np.linspace(-2.5, 2.5, 400))
    lines = np.stack([across, along], axis=-1).swapaxes(0, 1)
    for i, family in enumerate((lines, lines[..., ::-1])):
        z = family.reshape(-1, 2).astype("float32")
        x = flow.decode(z).numpy().reshape(family.shape)
        latents.plot(*np.moveaxis(family, -1, 0).swapaxes(1, 2), f"C{i}", linewidth=0.5)
        decoded.plot(*np.moveaxis(x, -1, 0).swapaxes(1, 2), f"C{i}", linewidth=0.5)
    latents.set_title("grid of latents")
    decoded.set(title="the same grid, decoded", xlim=(-1.5, 2.5), ylim=(-1.0, 1.5))
    figure.savefig(path, dpi=100)


def main(epochs=60, n=20_000, path="two_moons.png"):
    flow = tfnvp.RealNVP(2, couplings=8, hidden_units=(64, 64))
    flow.compile("adam", jit_compile=True)
    data = moons(n, seed=0)
    flow.fit(data, batch_size=256, epochs=epochs, verbose=0)
    nats = float(np.mean(flow.log_prob(moons(10_000, seed=1))))
    print(f"test log-likelihood {nats:.4f} nats (that of the true density is -0.2897)")
    draw(flow, data, path)
    print(f"picture in {path}")
    return nats


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    main(**({"epochs": 1, "n": 1000} if parser.parse_args().quick else {}))
