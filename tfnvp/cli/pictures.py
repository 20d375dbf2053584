"""The commands that draw what a flow of images has learned."""

import dataclasses
import functools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

import tfnvp
from tfnvp.cli import completion, loading, options

if TYPE_CHECKING:
    import numpy as np

_SOURCE = ("dataset", "images", "records", "data_dir", "image_size")
_SOURCE += ("skip_bad", "background", "follow_links")
_ENDINGS = (".png", ".jpg", ".jpeg")
_Images = Annotated[int, Option("--number", "-n", help="How many images.", min=1)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Picture:
    """The options of all pictures, and what they name; the first use imports TensorFlow."""

    model: options.Model
    seed: Annotated[int, Option(help="Seed of noise and of the choice of images.")] = 0
    output: Annotated[
        Path | None,
        Option(
            "--output",
            "-o",
            help="PNG file to write. Default: in the run folder, or here without one.",
            metavar="FILE",
            autocompletion=completion.pictures,
        ),
    ] = None
    force: options.Force = False
    source: Annotated[options.Source, *_SOURCE]
    json_output: options.Json = False

    def at(self, name):
        """Returns the picture with its path: the given one, or that of the default name."""
        from tfnvp.cli import files

        path = files.place_for(self.output, self.model, name, _ENDINGS, self.force)
        return dataclasses.replace(self, output=path)

    @functools.cached_property
    def flow(self):
        options.import_tensorflow()
        return loading.load_image_flow(self.model)

    @functools.cached_property
    def splits(self):
        return loading.load_data_of(self.model, self.flow, self.source)

    @functools.cached_property
    def rows(self):
        """The images to choose from: all of a folder that is given, or else the test split."""
        if self.source.images is not None:
            return loading.read_images_of(self.model, self.flow, self.source)[1]
        return self.splits.test

    def images(self, n):
        """Returns images chosen by the seed, dequantized."""
        import numpy as np

        rows = self.rows
        return self.dequantized(rows[np.random.RandomState(self.seed).permutation(len(rows))[:n]])

    def dequantized(self, rows):
        from tfnvp.quantization import PICTURE_NOISE, dequantize

        return dequantize(rows, self.flow.levels, seed=(PICTURE_NOISE, self.seed))

    def save(self, images, exactly=False, **found):
        """Writes a picture, in the grey levels of the flow's data, or `exactly` as it is."""
        path, levels = self.output, self.flow.levels
        images = images if exactly else tfnvp.plotting.in_grey_levels(images, levels)
        tfnvp.plotting.save_grid(path, images, smooth=tfnvp.plotting.smoothing(levels))
        result = {"output": str(path), **found}
        options.print_result(f"picture in {path}", result, self.json_output)


def interpolate(
    corners: Annotated[
        str | None,
        Option(
            help="Four rows, such as 0,1,2,3, of the test split, or of the sorted --images. "
            "Default: by seed."
        ),
    ] = None,
    rows: Annotated[int, Option(min=2)] = 8,
    columns: Annotated[int, Option(min=2)] = 8,
    *,
    picture: _Picture,
) -> None:
    """Draw the manifold that four test images, shown at the corners, span in latent space.

    --images DIR takes any pictures instead, at the model's size.

    Example: tfnvp interpolate runs/digits-real_nvp-1 --corners 3,14,15,92
    """
    picture = picture.at("interpolation.png")
    if corners is None:
        if len(picture.rows) < 4:
            raise ValueError(
                "four images are needed, or `corners` that repeat some, such as 0,0,1,1. Received: "
                f"{len(picture.rows)}"
            )
        images = picture.images(4)
    else:
        images = picture.dequantized(_rows_by_number(corners, picture.rows))
    picture.save(picture.flow.interpolate(images, rows, columns))


def inpaint(
    mask: Annotated[
        str,
        Option(
            help="Hidden: top, bottom, left, right, even, center, random.",
            autocompletion=completion.choices("mask"),
        ),
    ] = "top",
    n: _Images = 10,
    steps: Annotated[int, Option(help="Steps of gradient ascent.", min=1)] = 3000,
    step_size: Annotated[float, Option(help="Size of the steps.")] = 1e-4,
    *,
    picture: _Picture,
) -> None:
    """Fill in the hidden part of test images. Rows: the image, its visible part, the result.

    --images DIR takes any pictures instead, at the model's size.

    Example: tfnvp inpaint runs/digits-real_nvp-1 --mask bottom --steps 5000
    """
    picture = picture.at("inpainting.png")
    flow, seed = picture.flow, picture.seed
    import numpy as np

    from tfnvp.flows.inpainting import hidden_mask, inpaint

    hidden = hidden_mask(mask, flow.event_shape, seed)
    whole = picture.images(n)
    with options.console.status(f"{steps} steps of gradient ascent"):
        filled = inpaint(flow, whole, hidden, steps, step_size, seed)
    whole, filled = tfnvp.plotting.in_grey_levels(np.stack([whole, filled]), flow.levels)
    seen = np.where(hidden, 0.5, whole)
    picture.save(np.stack([whole, seen, filled]), exactly=True)


def reconstruct(n: _Images = 10, *, picture: _Picture) -> None:
    """Encode and decode test images, and print the largest error of the round trip.

    --images DIR takes any pictures instead, at the model's size.

    Example: tfnvp reconstruct runs/digits-real_nvp-1
    """
    picture = picture.at("reconstruction.png")
    flow = picture.flow
    import numpy as np

    whole = picture.images(n).numpy()
    again = flow.decode(flow.encode(whole)).numpy()
    error = float(np.abs(again - whole).max())
    picture.save(np.stack([whole, again]), largest_error=error)
    if not picture.json_output:
        options.console.print(f"largest error {error:.1e}")


def hierarchy(n: _Images = 10, *, picture: _Picture) -> None:
    """Show what each scale of a multi-scale flow encodes. Rows: the image, then the image with its
    finest latents set to zero, with the next finer ones set to zero, too, and so on.

    Example: tfnvp hierarchy runs/mnist-image_real_nvp-1
    """
    picture = picture.at("hierarchy.png")
    flow = picture.flow
    import numpy as np

    if not isinstance(flow, tfnvp.ImageRealNVP):
        raise ValueError(f"{picture.model} has no scales: it is a {type(flow).__name__}")
    scales = flow.latent_scales()
    z = flow.encode(picture.images(n)).numpy()
    rows = [flow.decode(np.where(scales >= first, z, 0.0)) for first in range(flow.scales)]
    picture.save(np.stack(rows))


def nearest(
    n: Annotated[int, Option("--number", "-n", help="How many samples.", min=1)] = 10,
    neighbours: Annotated[int, Option(help="Training images beside each.", min=1)] = 5,
    *,
    picture: _Picture,
) -> None:
    """Draw samples, each beside the training images nearest to it: has the flow memorised?

    Example: tfnvp nearest runs/digits-real_nvp-1
    """
    picture = picture.at("nearest.png")
    flow = picture.flow
    import numpy as np

    samples = np.clip(flow.sample(n, seed=picture.seed), 0.0, 1.0)
    # In the middle of their grey levels.
    images = ((rows + 0.5) / flow.levels for rows in picture.splits.source().chunks())
    pairs = np.concatenate([samples[:, None], nearest_rows(samples, images, neighbours)], axis=1)
    picture.save(pairs)


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
