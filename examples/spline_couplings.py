"""Affine couplings beside spline couplings: what one coupling does, and how many a density takes.

Writes spline_couplings.png. First, the maps of one trained coupling, for some values of the
variable that passes: straight lines, or splines. Then the densities of 2, 4 and 8 couplings, fitted
to the same eight Gaussians.
"""

import argparse

import keras
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import tfnvp

KINDS = {"affine couplings": tfnvp.RealNVP, "spline couplings": tfnvp.NeuralSplineFlow}
WINDOW = (-4.5, 4.5)


def gaussians(n, seed):
    """Eight Gaussians on a circle of radius 3, with the standard deviation 0.3."""
    rng = np.random.default_rng(seed)
    angle = rng.integers(0, 8, n) * np.pi / 4
    centre = 3.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (centre + rng.normal(0.0, 0.3, (n, 2))).astype("float32")


def trained(kind, couplings, data, epochs):
    keras.utils.set_random_seed(0)
    flow = kind(2, couplings=couplings, hidden_units=(64, 64))
    flow.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, epochs * 80)))
    flow.fit(data, batch_size=256, epochs=epochs, verbose=0)
    return flow


def draw_maps(axes, flow):
    coupling = flow.bijector.bijectors[1]  # Behind the standardisation.
    moved = np.linspace(-3.0, 3.0, 300, dtype="float32")[:, np.newaxis]
    for passed in (-1.0, 0.0, 1.0):
        x = coupling.partition.merge(np.full_like(moved, passed), moved)
        axes.plot(moved, coupling.partition.split(coupling.inverse(x))[1], label=passed)
    axes.set(title="one coupling, data to latents", xlabel="moved variable", aspect="equal")
    axes.legend(title="passed", fontsize=8)


def draw_density(axes, flow):
    x = np.linspace(*WINDOW, 160)
    grid = np.stack(np.meshgrid(x, x), axis=-1).astype("float32").reshape(-1, 2)
    density = np.exp(flow.log_prob(grid)).reshape(160, 160)
    axes.imshow(density, origin="lower", extent=(*WINDOW, *WINDOW), vmax=0.12)


def main(epochs=40, n=20_480, counts=(2, 4, 8), path="spline_couplings.png"):
    data, test = gaussians(n, seed=0), gaussians(10_000, seed=1)
    figure = Figure(figsize=(13, 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 1 + len(counts))
    for (maps, *densities), (name, kind) in zip(panels, KINDS.items(), strict=True):
        maps.set_ylabel(name)
        for axes, couplings in zip(densities, counts, strict=True):
            flow = trained(kind, couplings, data, epochs)
            nats = float(np.mean(flow.log_prob(test)))
            print(f"{couplings} {name}: test log-likelihood {nats:.3f} nats", flush=True)
            draw_density(axes, flow)
            axes.set_title(f"{couplings} couplings: {nats:.3f} nats")
        draw_maps(maps, flow)
    figure.savefig(path, dpi=70)
    print(f"picture in {path}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    main(**({"epochs": 1, "n": 1024, "counts": (2,)} if parser.parse_args().quick else {}))
