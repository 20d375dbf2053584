"""What training the published image flows needs: operations, memory traffic, hours of an epoch."""

from benchmarks.workloads import Cell, ImageWorkload
from tfnvp import recipes

#: Shapes and training images of the data sets, as the recipes divide them.
IMAGES = {
    "cifar10": ((32, 32, 3), 45_000),
    "imagenet32": ((32, 32, 3), 1_276_149),
    "imagenet64": ((64, 64, 3), 1_276_149),
    "lsun_bedroom": ((64, 64, 3), 3_033_042),
    "lsun_tower": ((64, 64, 3), 708_264),
    "lsun_church": ((64, 64, 3), 126_227),
    "celeb_a": ((64, 64, 3), 162_770),
}

#: Rates of arithmetic, in TFLOP/s, at which an epoch's hours are told.
RATES = (0.2, 5, 20, 100)

_FLOAT = 4
# Adam reads weights, gradients and two moments, and writes all but the gradients.
_ADAM_PASSES = 7


def need(recipe):
    """Returns weights, operations and bytes of a step, and steps of an epoch, of a recipe."""
    shape, images = IMAGES[recipe.dataset]
    work = ImageWorkload(
        recipe.name,
        recipe.description,
        "image_real_nvp",
        shape,
        couplings=0,
        hidden_units=(recipe.options["base_filters"],),
        cells=(),
        scales=recipe.options["scales"],
        residual_blocks=recipe.options["residual_blocks"],
    )
    layers = [layer for conditioner in work.conditioners() for layer in conditioner]
    weights = sum(layer.size**2 * layer.inputs * layer.outputs for layer in layers)
    # Every convolution reads its inputs and writes its outputs: forward, and twice backward.
    passed = sum(
        layer.pixels[0] * layer.pixels[1] * (layer.inputs + layer.outputs) for layer in layers
    )
    return {
        "weights": weights,
        "operations": work.operations(Cell("train", recipe.batch_size, 1)),
        "bytes": _FLOAT * (3 * recipe.batch_size * passed + _ADAM_PASSES * weights),
        "steps": -(-images // recipe.batch_size),
    }


def markdown():
    """Table of what the published recipes of Real NVP on images need."""
    rates = " | ".join(f"h at {rate:g}" for rate in RATES)
    lines = [
        f"| recipe | weights, M | batch | TFLOP a step | GB a step | steps an epoch | {rates} |",
        "|---" * (6 + len(RATES)) + "|",
    ]
    for recipe in recipes.RECIPES.values():
        if recipe.model != "image_real_nvp" or recipe.dataset not in IMAGES:
            continue
        found = need(recipe)
        tera = found["operations"] / 1e12
        hours = [tera * found["steps"] / rate / 3600 for rate in RATES]
        cells = [
            f"`{recipe.name}`",
            f"{found['weights'] / 1e6:.1f}",
            f"{recipe.batch_size}",
            f"{tera:.2f}",
            f"{found['bytes'] / 1e9:.1f}",
            f"{found['steps']:,}",
            *(f"{number:.2g}" if number < 10 else f"{number:.0f}" for number in hours),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
