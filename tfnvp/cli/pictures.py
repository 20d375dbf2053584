"""The commands that draw what a flow of images has learned."""

import pathlib
from typing import Annotated

import typer

from tfnvp.cli.options import (
    DataDir,
    Dataset,
    Images,
    ImageSize,
    Json,
    Model,
    console,
    import_tensorflow,
    load_data_of,
    load_flow,
    print_result,
)

Output = Annotated[
    pathlib.Path | None,
    typer.Option("--output", "-o", help="PNG file to write.", metavar="FILE"),
]
Seed = Annotated[int, typer.Option(help="Seed of noise and of the choice of images.")]


def interpolate(
    model: Model,
    corners: Annotated[
        str | None, typer.Option(help="Four rows of the test split: 0,1,2,3. Default: by seed.")
    ] = None,
    rows: Annotated[int, typer.Option(min=2)] = 8,
    columns: Annotated[int, typer.Option(min=2)] = 8,
    seed: Seed = 0,
    output: Output = None,
    dataset: Dataset = None,
    images: Images = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    json_output: Json = False,
):
    """Draw the manifold that four test images span in latent space, themselves in the corners.

    Example: tfnvp interpolate runs/digits-real_nvp-1 --corners 3,14,15,92
    """
    flow, splits = _flow_and_data(model, dataset, images, data_dir, image_size)
    chosen = _rows(splits.test, 4, seed) if corners is None else _numbers(corners, splits.test)
    grid = flow.interpolate(_dequantized(flow, chosen, seed), rows, columns)
    _save(flow, grid, output or pathlib.Path("interpolation.png"), json_output)


def inpaint(
    model: Model,
    mask: Annotated[
        str, typer.Option(help="Hidden: top, bottom, left, right, even, center, random.")
    ] = "top",
    n: Annotated[int, typer.Option("--number", "-n", help="How many images.", min=1)] = 10,
    steps: Annotated[int, typer.Option(help="Steps of gradient ascent.", min=1)] = 3000,
    step_size: Annotated[float, typer.Option(help="Size of the steps.")] = 1e-4,
    seed: Seed = 0,
    output: Output = None,
    dataset: Dataset = None,
    images: Images = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    json_output: Json = False,
):
    """Fill in the hidden part of test images. Rows: the image, what is seen, the result.

    Example: tfnvp inpaint runs/digits-real_nvp-1 --mask bottom --steps 5000
    """
    flow, splits = _flow_and_data(model, dataset, images, data_dir, image_size)
    import numpy as np

    from tfnvp import plotting
    from tfnvp.flows.inpainting import hidden_mask, inpaint

    hidden = hidden_mask(mask, flow.event_shape, seed)
    whole = _dequantized(flow, _rows(splits.test, n, seed), seed)
    with console.status(f"{steps} steps of gradient ascent"):
        filled = inpaint(flow, whole, hidden, steps, step_size, seed)
    whole, filled = (plotting.in_grey_levels(images, flow.levels) for images in (whole, filled))
    seen = np.where(hidden, 0.5, whole)
    path = output or pathlib.Path("inpainting.png")
    _save(flow, np.stack([whole, seen, filled]), path, json_output, exactly=True)


def reconstruct(
    model: Model,
    n: Annotated[int, typer.Option("--number", "-n", help="How many images.", min=1)] = 10,
    seed: Seed = 0,
    output: Output = None,
    dataset: Dataset = None,
    images: Images = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    json_output: Json = False,
):
    """Encode and decode test images, and print the largest error of the round trip.

    Example: tfnvp reconstruct runs/digits-real_nvp-1
    """
    flow, splits = _flow_and_data(model, dataset, images, data_dir, image_size)
    import numpy as np

    whole = _dequantized(flow, _rows(splits.test, n, seed), seed).numpy()
    again = flow.decode(flow.encode(whole)).numpy()
    error = float(np.abs(again - whole).max())
    path = output or pathlib.Path("reconstruction.png")
    _save(flow, np.stack([whole, again]), path, json_output, largest_error=error)
    if not json_output:
        console.print(f"largest error {error:.1e}")


def hierarchy(
    model: Model,
    n: Annotated[int, typer.Option("--number", "-n", help="How many images.", min=1)] = 10,
    seed: Seed = 0,
    output: Output = None,
    dataset: Dataset = None,
    images: Images = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    json_output: Json = False,
):
    """Show what each scale of a multi-scale flow encodes. Rows: the image, then without its finest
    latents (set to zero), without the next finer ones, and so on.

    Example: tfnvp hierarchy runs/mnist-image_real_nvp-1
    """
    flow, splits = _flow_and_data(model, dataset, images, data_dir, image_size)
    import numpy as np

    from tfnvp.flows import ImageRealNVP

    if not isinstance(flow, ImageRealNVP):
        raise ValueError(f"{model} has no scales: it is a {type(flow).__name__}")
    scales = flow.latent_scales()
    z = flow.encode(_dequantized(flow, _rows(splits.test, n, seed), seed)).numpy()
    rows = [flow.decode(np.where(scales >= first, z, 0.0)) for first in range(flow.scales)]
    _save(flow, np.stack(rows), output or pathlib.Path("hierarchy.png"), json_output)


def nearest(
    model: Model,
    n: Annotated[int, typer.Option("--number", "-n", help="How many samples.", min=1)] = 10,
    neighbours: Annotated[int, typer.Option(help="Training images beside each.", min=1)] = 5,
    seed: Seed = 0,
    output: Output = None,
    dataset: Dataset = None,
    images: Images = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    json_output: Json = False,
):
    """Draw samples, each beside the training images nearest to it: has the flow memorised?

    Example: tfnvp nearest runs/digits-real_nvp-1
    """
    flow, splits = _flow_and_data(model, dataset, images, data_dir, image_size)
    import numpy as np
    from sklearn.neighbors import NearestNeighbors

    samples = np.clip(flow.sample(n, seed=seed), 0.0, 1.0)
    train = (splits.train + 0.5) / flow.levels
    search = NearestNeighbors(n_neighbors=neighbours).fit(train.reshape(len(train), -1))
    indices = search.kneighbors(samples.reshape(n, -1), return_distance=False)
    _save(
        flow,
        np.concatenate([samples[:, None], train[indices]], axis=1),
        output or pathlib.Path("nearest.png"),
        json_output,
    )


def _flow_and_data(model, dataset, images, data_dir, image_size):
    import_tensorflow()
    flow = load_flow(model)
    if flow.levels is None or len(flow.event_shape) < 2:
        raise ValueError(f"{model} is no flow of images")
    options = {"dataset": dataset, "images": images, "data_dir": data_dir, "image_size": image_size}
    return flow, load_data_of(model, flow, **options)


def _rows(rows, n, seed):
    import numpy as np

    return rows[np.random.RandomState(seed).permutation(len(rows))[:n]]


def _numbers(text, rows):
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4 or not all(0 <= number < len(rows) for number in numbers):
        raise ValueError(
            f"`--corners` must be four numbers from 0 to {len(rows) - 1}. Received: {text!r}"
        )
    return rows[numbers]


def _dequantized(flow, rows, seed):
    from tfnvp.data import dequantize

    return dequantize(rows, flow.levels, seed=(3, seed))


def _save(flow, images, path, json_output, exactly=False, **found):
    """Writes a picture, in the grey levels of the flow's data unless `exactly` as it is."""
    from tfnvp import plotting

    images = images if exactly else plotting.in_grey_levels(images, flow.levels)
    plotting.save_grid(path, images, smooth=plotting.smoothing(flow.levels))
    print_result(f"picture in {path}", {"output": str(path), **found}, json_output)
