"""The workloads: what is computed, on how much data, and how many operations it takes at least."""

import dataclasses
import itertools

import numpy as np


@dataclasses.dataclass(frozen=True)
class Cell:
    """One thing that is timed: a task on batches of one size, in blocks of so many steps."""

    task: str  # "train", "log_prob" or "sample"
    batch: int
    steps: int

    @property
    def name(self):
        return f"{self.task}-{self.batch}"


@dataclasses.dataclass(frozen=True)
class Convolution:
    """One convolution of a conditioner, square filters, as many pixels out as in."""

    pixels: tuple[int, int]
    size: int
    inputs: int
    outputs: int

    @property
    def products(self):
        """Multiplications for one image."""
        return self.pixels[0] * self.pixels[1] * self.size**2 * self.inputs * self.outputs


@dataclasses.dataclass(frozen=True)
class Dense:
    """One matrix product of a conditioner."""

    inputs: int
    outputs: int

    @property
    def products(self):
        """Multiplications for one row."""
        return self.inputs * self.outputs


@dataclasses.dataclass(frozen=True)
class Workload:
    """A flow, the same in every library, and its cells."""

    name: str
    description: str
    kind: str  # "nice", "real_nvp", "neural_spline" or "image_real_nvp"
    event_shape: tuple[int, ...]
    couplings: int
    hidden_units: tuple[int, ...]
    cells: tuple[Cell, ...]
    bins: int = 0  # of each spline of "neural_spline"

    @property
    def dimensions(self):
        return int(np.prod(self.event_shape))

    @property
    def parameters_per_variable(self):
        return {"nice": 1, "neural_spline": 3 * self.bins - 1}.get(self.kind, 2)

    def conditioners(self):
        """The layers of every coupling's conditioner: a list of lists of `Dense`.

        Halves pass in turns, of an odd number of variables the smaller one first.
        """
        small = self.dimensions // 2
        halves = (small, self.dimensions - small)
        return [self.conditioner(halves[i % 2], halves[1 - i % 2]) for i in range(self.couplings)]

    def conditioner(self, passed, moved):
        """The layers of a network from some variables to the parameters of others."""
        widths = (passed, *self.hidden_units, moved * self.parameters_per_variable)
        return [Dense(a, b) for a, b in itertools.pairwise(widths)]

    def operations(self, cell):
        """Floating-point operations of one step's products: forward, and two backward in training.

        The gradient for the data itself is not needed, so the first layer has one fewer.
        """
        layers = [layer for conditioner in self.conditioners() for layer in conditioner]
        forward = sum(layer.products for layer in layers)
        products = 3 * forward - layers[0].products if cell.task == "train" else forward
        return 2 * cell.batch * products

    def rows(self, n, seed=0):
        """Data: float32 `[n, *event_shape]`; NICE's in [0, 1], points for two variables."""
        generator = np.random.default_rng(seed)
        if self.event_shape == (2,):
            return _two_moons(n, generator)
        if self.kind in ("real_nvp", "neural_spline"):
            mixing = generator.normal(0.0, 0.2, (self.dimensions, self.dimensions))
            x = generator.normal(size=(n, self.dimensions))
            return (x + np.tanh(x @ mixing)).astype("float32")
        return generator.uniform(size=(n, *self.event_shape)).astype("float32")

    def batches(self, cell):
        """A block of training data: float32 `[steps, batch, *event_shape]`."""
        rows = self.rows(cell.steps * cell.batch)
        return rows.reshape(cell.steps, cell.batch, *self.event_shape)


@dataclasses.dataclass(frozen=True)
class ImageWorkload(Workload):
    """Real NVP with the paper's convolutions; `hidden_units` is the width of the first scale."""

    scales: int = 2
    residual_blocks: int = 2

    def conditioners(self):
        """The layers of every coupling's conditioner: a list of lists of `Convolution`."""
        height, width, channels = self.event_shape
        (filters,) = self.hidden_units
        conditioners = []
        for scale in range(self.scales):
            last = scale == self.scales - 1
            # Positive and negative parts of all channels, and the pattern.
            checkerboard = self._network((height, width), 2 * channels + 1, filters, 2 * channels)
            conditioners += [checkerboard] * (4 if last else 3)
            if not last:
                height, width, filters = height // 2, width // 2, 2 * filters
                # Half of the four times as many channels pass.
                half = 2 * channels
                conditioners += [self._network((height, width), 2 * half, filters, 2 * half)] * 3
                channels = half
        return conditioners

    def _network(self, pixels, inputs, filters, outputs):
        def layer(size, inputs, outputs):
            return Convolution(pixels, size, inputs, outputs)

        return [
            layer(3, inputs, filters),
            *[layer(3, filters, filters)] * (2 * self.residual_blocks),
            *[layer(1, filters, filters)] * (self.residual_blocks + 1),
            layer(1, filters, outputs),
        ]


def _two_moons(n, generator):
    """Two interleaved half circles with noise of 0.05, as scikit-learn draws them."""
    angle = generator.uniform(0.0, np.pi, n)
    upper = generator.integers(0, 2, n).astype(bool)
    x = np.where(upper, np.cos(angle), 1.0 - np.cos(angle))
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle))
    noise = generator.normal(0.0, 0.05, (n, 2))
    return (np.stack([x, y], axis=1) + noise).astype("float32")


WORKLOADS = {
    work.name: work
    for work in (
        Workload(
            "W1",
            "NICE, 784 variables, 4 additive couplings of 5x1000",
            "nice",
            (784,),
            couplings=4,
            hidden_units=(1000,) * 5,
            cells=(Cell("train", 200, 16), Cell("log_prob", 1000, 3), Cell("sample", 1000, 3)),
        ),
        Workload(
            "W2",
            "Real NVP, 64 variables, 8 affine couplings of 2x128",
            "real_nvp",
            (64,),
            couplings=8,
            hidden_units=(128, 128),
            cells=(
                Cell("train", 256, 128),
                Cell("train", 1024, 48),
                Cell("log_prob", 10_000, 16),
                Cell("sample", 10_000, 16),
            ),
        ),
        Workload(
            "W3",
            "Real NVP, 2 variables, 8 affine couplings of 2x64",
            "real_nvp",
            (2,),
            couplings=8,
            hidden_units=(64, 64),
            cells=(
                Cell("train", 256, 384),
                Cell("log_prob", 10_000, 64),
                Cell("sample", 10_000, 64),
            ),
        ),
        ImageWorkload(
            "W4",
            "Real NVP, images of 32x32x3, 2 scales, 32 maps, 2 residual blocks",
            "image_real_nvp",
            (32, 32, 3),
            couplings=10,
            hidden_units=(32,),
            cells=(Cell("train", 32, 4),),
        ),
        Workload(
            "W5",
            "Neural spline flow, 64 variables, 8 couplings of 2x128, splines of 8 bins",
            "neural_spline",
            (64,),
            couplings=8,
            hidden_units=(128, 128),
            cells=(
                Cell("train", 256, 32),
                Cell("train", 1024, 12),
                Cell("log_prob", 10_000, 4),
                Cell("sample", 10_000, 4),
            ),
            bins=8,
        ),
        Workload(
            "tiny",
            "Real NVP, 4 variables, 2 affine couplings of 8: to try the harness itself",
            "real_nvp",
            (4,),
            couplings=2,
            hidden_units=(8,),
            cells=(Cell("train", 16, 4), Cell("log_prob", 32, 4), Cell("sample", 32, 4)),
        ),
        Workload(
            "tiny-nice",
            "NICE, 4 variables, 2 additive couplings of 2x8: to try the harness itself",
            "nice",
            (4,),
            couplings=2,
            hidden_units=(8, 8),
            cells=(Cell("train", 16, 4), Cell("log_prob", 32, 4), Cell("sample", 32, 4)),
        ),
        Workload(
            "tiny-spline",
            "Neural spline flow, 4 variables, 2 couplings of 8, 3 bins: to try the harness itself",
            "neural_spline",
            (4,),
            couplings=2,
            hidden_units=(8,),
            cells=(Cell("train", 16, 4), Cell("log_prob", 32, 4), Cell("sample", 32, 4)),
            bins=3,
        ),
    )
}

#: End of the interval that splines change, in every library; its default in tfnvp and zuko.
BOUND = 5.0

#: One of couplings, width and batch grows, the others are as in the first training of W2.
SWEEPS = {
    "couplings": (2, 4, 8, 16, 32),
    "width": (32, 64, 128, 256, 512),
    "batch": (64, 256, 1024, 4096, 16384),
}


def _grown(quantity, value):
    base = WORKLOADS["W2"]
    sizes = {"couplings": base.couplings, "width": 128, "batch": 256, quantity: value}
    cell = Cell("train", sizes["batch"], 0)
    work = dataclasses.replace(
        base,
        name=f"{quantity}-{value}",
        description=f"W2 with {quantity} {value}",
        couplings=sizes["couplings"],
        hidden_units=(sizes["width"],) * 2,
    )
    # About half a second at 50 GFLOP/s.
    steps = int(min(100, max(2, 25e9 // work.operations(cell))))
    return dataclasses.replace(work, cells=(dataclasses.replace(cell, steps=steps),))


SCALING = {
    work.name: work
    for work in (_grown(quantity, n) for quantity, values in SWEEPS.items() for n in values)
}
