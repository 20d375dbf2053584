"""Eight Gaussians, a checkerboard, rings and two moons: affine couplings beside spline couplings.

Writes toy_densities.png: data, then density and samples of RealNVP and of NeuralSplineFlow.
"""

import argparse

import keras
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.datasets import make_moons

import tfnvp


def eight_gaussians(n, generator):
    angle = generator.integers(0, 8, n) * np.pi / 4
    centre = 3.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return centre + generator.normal(0.0, 0.3, (n, 2))


def checkerboard(n, generator):
    """Uniform on every second of 16 squares."""
    column, row = generator.integers(0, 4, n), generator.integers(0, 2, n)
    corner = np.stack([column, 2 * row + column % 2], axis=1)
    return 2.0 * (corner + generator.uniform(size=(n, 2))) - 4.0


def rings(n, generator):
    radius = generator.integers(1, 5, n)
    angle = generator.uniform(0.0, 2 * np.pi, n)
    circle = radius * np.stack([np.cos(angle), np.sin(angle)])
    return circle.T + generator.normal(0.0, 0.1, (n, 2))


def moons(n, generator):
    return make_moons(n, noise=0.05, random_state=int(generator.integers(2**31)))[0]


#: Function of how many points and a generator, and the window that is drawn: x1, then x2.
TOYS = {
    "eight Gaussians": (eight_gaussians, ((-4.5, 4.5), (-4.5, 4.5))),
    "checkerboard": (checkerboard, ((-4.5, 4.5), (-4.5, 4.5))),
    "rings": (rings, ((-4.5, 4.5), (-4.5, 4.5))),
    "two moons": (moons, ((-1.5, 2.5), (-1.0, 1.5))),
}

FLOWS = {
    "RealNVP": lambda: tfnvp.RealNVP(2, couplings=8, hidden_units=(64, 64)),
    "NeuralSplineFlow": lambda: tfnvp.NeuralSplineFlow(
        2, couplings=8, hidden_units=(64, 64), bins=16
    ),
}


def trained(make_flow, data, epochs):
    keras.utils.set_random_seed(0)
    flow = make_flow()
    steps = epochs * -(-len(data) // 256)
    flow.compile(tfnvp.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)))
    flow.fit(data, batch_size=256, epochs=epochs, verbose=0)
    return flow


def draw_points(axes, points, window):
    axes.plot(*points.T, ",", color="C0", alpha=0.7)
    axes.set(xlim=window[0], ylim=window[1], facecolor="white")


def draw_density(axes, flow, window):
    x1, x2 = (np.linspace(*ends, 160) for ends in window)
    grid = np.stack(np.meshgrid(x1, x2), axis=-1).astype("float32")
    nats = flow.log_prob(grid.reshape(-1, 2)).numpy().reshape(160, 160)
    axes.imshow(np.exp(nats), origin="lower", extent=(*window[0], *window[1]), aspect="auto")


def main(epochs=40, n=20_000, path="toy_densities.png"):
    figure = Figure(figsize=(9, 8.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(4, 5, subplot_kw={"xticks": [], "yticks": []})
    for row, (toy, (draw, window)) in zip(panels, TOYS.items(), strict=True):
        generator = np.random.default_rng(0)
        data, test = (draw(count, generator).astype("float32") for count in (n, 10_000))
        row[0].set_ylabel(toy)
        draw_points(row[0], data[:4000], window)
        for pair, (name, make_flow) in zip((row[1:3], row[3:]), FLOWS.items(), strict=True):
            flow = trained(make_flow, data, epochs)
            nats = float(np.mean(flow.log_prob(test)))
            print(f"{toy}, {name}: test log-likelihood {nats:.3f} nats", flush=True)
            draw_density(pair[0], flow, window)
            draw_points(pair[1], flow.sample(4000, seed=0).numpy(), window)
            pair[0].set_title(f"{name}\n{nats:.3f} nats", fontsize=9)
    figure.savefig(path, dpi=72)
    print(f"picture in {path}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    main(**({"epochs": 1, "n": 1000} if parser.parse_args().quick else {}))
