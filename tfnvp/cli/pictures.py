"""The commands that draw what a flow of images has learned."""

import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from tfnvp.cli.options import (
    DataDir,
    Dataset,
    Images,
    ImageSize,
    Json,
    Model,
    Records,
    Source,
    console,
    import_tensorflow,
    load_data_of,
    load_flow,
    print_result,
)

if TYPE_CHECKING:
    import numpy as np

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
    records: Records = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    json_output: Json = False,
) -> None:
    """Draw the manifold that four test images, shown at the corners, span in latent space.

    Example: tfnvp interpolate runs/digits-real_nvp-1 --corners 3,14,15,92
    """
    source = Source(dataset, images, records=records, data_dir=data_dir, image_size=image_size)
    flow, splits = _flow_and_data(model, source)
    chosen = (
        _rows(splits.test, 4, seed) if corners is None else _rows_by_number(corners, splits.test)
    )
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
    records: Records = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    json_output: Json = False,
) -> None:
    """Fill in the hidden part of test images. Rows: the image, its visible part, the result.

    Example: tfnvp inpaint runs/digits-real_nvp-1 --mask bottom --steps 5000
    """
    source = Source(dataset, images, records=records, data_dir=data_dir, image_size=image_size)
    flow, splits = _flow_and_data(model, source)
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
    records: Records = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    json_output: Json = False,
) -> None:
    """Encode and decode test images, and print the largest error of the round trip.

    Example: tfnvp reconstruct runs/digits-real_nvp-1
    """
    source = Source(dataset, images, records=records, data_dir=data_dir, image_size=image_size)
    flow, splits = _flow_and_data(model, source)
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
    records: Records = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    json_output: Json = False,
) -> None:
    """Show what each scale of a multi-scale flow encodes. Rows: the image, then the image with its
    finest latents set to zero, with the next finer ones set to zero, too, and so on.

    Example: tfnvp hierarchy runs/mnist-image_real_nvp-1
    """
    source = Source(dataset, images, records=records, data_dir=data_dir, image_size=image_size)
    flow, splits = _flow_and_data(model, source)
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
    records: Records = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    json_output: Json = False,
) -> None:
    """Draw samples, each beside the training images nearest to it: has the flow memorised?

    Example: tfnvp nearest runs/digits-real_nvp-1
    """
    source = Source(dataset, images, records=records, data_dir=data_dir, image_size=image_size)
    flow, splits = _flow_and_data(model, source)
    import numpy as np

    samples = np.clip(flow.sample(n, seed=seed), 0.0, 1.0)
    images = (_middles(flow, rows) for rows in splits.source().chunks())
    pairs = np.concatenate([samples[:, None], nearest_rows(samples, images, neighbours)], axis=1)
    _save(flow, pairs, output or pathlib.Path("nearest.png"), json_output)


def nearest_rows(points: "np.ndarray", pieces: "Iterable[np.ndarray]", n: int) -> "np.ndarray":
    """Returns the rows nearest to each point, the nearest first, without all rows in memory.

    Args:
      points: `[m, ...]`.
      pieces: the rows, as arrays `[rows, ...]`.
      n: how many rows for each point.

    Returns:
      `[m, n, ...]`.

    Raises:
      ValueError: if there are fewer than `n` rows.
    """
    import numpy as np
    from sklearn.metrics import pairwise_distances

    flat = points.reshape(len(points), -1)
    nearest = np.empty((len(points), 0, *points.shape[1:]), points.dtype)
    distances = np.empty((len(points), 0))
    for rows in pieces:
        new = pairwise_distances(flat, rows.reshape(len(rows), -1))
        chosen = np.argsort(new, axis=1, kind="stable")[:, :n]
        nearest = np.concatenate([nearest, rows[chosen]], axis=1)
        distances = np.concatenate([distances, np.take_along_axis(new, chosen, axis=1)], axis=1)
        best = np.argsort(distances, axis=1, kind="stable")[:, :n]
        distances = np.take_along_axis(distances, best, axis=1)
        nearest = np.stack([some[order] for some, order in zip(nearest, best, strict=True)])
    if nearest.shape[1] < n:
        raise ValueError(f"{n} neighbours need as many images. Received: {nearest.shape[1]}")
    return nearest


def _flow_and_data(model, source):
    import_tensorflow()
    flow = load_flow(model)
    if flow.levels is None or len(flow.event_shape) < 2:
        raise ValueError(f"{model} is not a flow of images")
    return flow, load_data_of(model, flow, source)


def _rows(rows, n, seed):
    import numpy as np

    return rows[np.random.RandomState(seed).permutation(len(rows))[:n]]


def _rows_by_number(text, rows):
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
    from tfnvp.quantization import PICTURE_NOISE, dequantize

    return dequantize(rows, flow.levels, seed=(PICTURE_NOISE, seed))


def _middles(flow, rows):
    """Returns images in [0, 1], in the middle of their grey levels."""
    return (rows + 0.5) / flow.levels


def _save(flow, images, path, json_output, exactly=False, **found):
    """Writes a picture, in the grey levels of the flow's data, or `exactly` as it is."""
    from tfnvp import plotting

    images = images if exactly else plotting.in_grey_levels(images, flow.levels)
    plotting.save_grid(path, images, smooth=plotting.smoothing(flow.levels))
    print_result(f"picture in {path}", {"output": str(path), **found}, json_output)
