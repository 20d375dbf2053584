"""Pictures of samples: grids of images and scatter plots, drawn without a display."""

import math
import os
import pathlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from tfnvp._atomic import replacing
from tfnvp.quantization import quantize


def image_grid(
    images: npt.ArrayLike,
    columns: int | None = None,
    scale: int | None = None,
    gap: int = 1,
    smooth: bool | None = None,
) -> Image.Image:
    """Draws a grid of images.

    Args:
      images: array `[n, H, W]`, `[n, H, W, 1]` or `[n, H, W, 3]`, or with two leading axes
        `[rows, columns, ...]`; floats in [0, 1], others are clipped, or whole grey levels from 0 to
        255, or bools.
      columns: int, images per row; default: the second leading axis, or about a square.
      scale: int, factor of enlargement; default: to images of about 64 pixels.
      gap: int, white pixels between images, before enlargement.
      smooth: bool, whether to enlarge by bicubic interpolation instead of repeating pixels.
        Default: for images of fewer than 16 pixels, which are hard to recognise as blocks.

    Returns:
      `PIL.Image.Image`.

    Raises:
      ValueError: if the images have another shape.
    """
    images = _as_floats(images, 256)
    if images.ndim == 5 or (images.ndim == 4 and images.shape[-1] not in (1, 3)):
        columns = columns or images.shape[1]
        images = images.reshape((-1, *images.shape[2:]))
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or len(images) == 0:
        raise ValueError(
            f"`images` must be [n, H, W], [n, H, W, 1 or 3] or a grid. Received: {images.shape}"
        )
    count, height, width, channels = images.shape
    scale = scale or max(1, round(64 / height))
    smooth = height < 16 if smooth is None else smooth
    filter_ = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    size = ((columns * (width + gap) + gap) * scale, (rows * (height + gap) + gap) * scale)
    picture = Image.new("L" if channels == 1 else "RGB", size, "white")
    levels = np.uint8(np.round(255 * np.clip(images, 0.0, 1.0)))
    for i, image in enumerate(levels.squeeze(-1) if channels == 1 else levels):
        left, top = (i % columns) * (width + gap) + gap, (i // columns) * (height + gap) + gap
        enlarged = Image.fromarray(image).resize((width * scale, height * scale), filter_)
        picture.paste(enlarged, (left * scale, top * scale))
    return picture


def save_grid(path: str | os.PathLike, images: npt.ArrayLike, **kwargs) -> pathlib.Path:
    """Writes `image_grid(images, **kwargs)` as a PNG file and returns its path."""
    return _saved(path, image_grid(images, **kwargs))


def has_picture(event_shape: tuple[int, ...]) -> bool:
    """Returns whether `samples_picture` can draw data points of a shape: images, or points."""
    return event_shape == (2,) or len(event_shape) == 2 or event_shape[2:] in ((1,), (3,))


def samples_picture(samples: npt.ArrayLike, levels: int | None = None) -> Image.Image | None:
    """Draws samples: images as a grid, points in the plane as a scatter plot.

    Args:
      samples: array `[n, ...]`.
      levels: int, number of grey levels of the data; images are drawn in these.

    Returns:
      `PIL.Image.Image`, or None for samples of another shape.
    """
    samples = np.asarray(samples)
    if not has_picture(samples.shape[1:]):
        return None
    if samples.ndim == 2:
        return scatter(samples)
    return image_grid(in_grey_levels(samples, levels), smooth=smoothing(levels))


def in_grey_levels(images: npt.ArrayLike, levels: int | None) -> npt.ArrayLike:
    """Rounds images in [0, 1] to grey levels, scaled to [0, 1]; without `levels`, returns them.

    Whole numbers are grey levels already, from 0 to `levels - 1`.

    >>> in_grey_levels([0.1, 0.7], levels=2).tolist()
    [0.0, 1.0]
    """
    if levels is None:
        return images
    images = _as_floats(images, levels)
    if levels > 256:  # Picture files have at most 256.
        return images
    return quantize(images, levels).numpy() / (levels - 1)


def _as_floats(images, levels):
    """Returns images as float32: whole grey levels are scaled to [0, 1]."""
    images = np.asarray(images)
    largest = levels - 1 if images.dtype.kind in "iu" else 1
    return images.astype("float32") / np.float32(largest)


def smoothing(levels: int | None) -> bool | None:
    """Returns the argument `smooth` of `image_grid` for images with a number of grey levels.

    Interpolation would turn black and white into grey.
    """
    return False if levels == 2 else None


def save_samples(
    path: str | os.PathLike, samples: npt.ArrayLike, levels: int | None = None
) -> pathlib.Path | None:
    """Writes `samples_picture(samples, levels)` as a PNG file.

    Returns:
      The path, or None for samples of another shape, for which it writes no file.
    """
    picture = samples_picture(samples, levels)
    return None if picture is None else _saved(path, picture)


def save_separately(
    folder: str | os.PathLike, images: npt.ArrayLike, levels: int | None = None
) -> list[pathlib.Path]:
    """Writes each image as a PNG file of its own, `001.png` and so on, of its own size.

    Args:
      folder: path of a folder, which is made if it does not exist.
      images: array `[n, H, W]`, `[n, H, W, 1]` or `[n, H, W, 3]`; floats in [0, 1], others are
        clipped, or whole grey levels from 0 to `levels - 1`.
      levels: int, number of grey levels of the data; images are drawn in these.

    Returns:
      The paths of the files, in order.

    Raises:
      ValueError: if the images have another shape.

    >>> import tempfile
    >>> files = save_separately(tempfile.mkdtemp(), np.zeros([2, 4, 4]))
    >>> [file.name for file in files], Image.open(files[0]).size
    (['001.png', '002.png'], (4, 4))
    """
    folder, images = pathlib.Path(folder), np.asarray(in_grey_levels(images, levels))
    folder.mkdir(parents=True, exist_ok=True)
    digits = max(3, len(str(len(images))))
    return [
        save_grid(folder / f"{i:0{digits}}.png", image[np.newaxis], scale=1, gap=0)
        for i, image in enumerate(images, start=1)
    ]


def _saved(path, picture):
    with replacing(path) as temporary:
        picture.save(temporary)
    return pathlib.Path(path)


def scatter(points: npt.ArrayLike, title: str = "samples") -> Image.Image:
    """Draws points `[n, 2]` as a scatter plot.

    Returns:
      `PIL.Image.Image`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.scatter(*np.asarray(points).T, s=2, alpha=0.5, linewidths=0)
    axes.set(title=title, xlabel="x₁", ylabel="x₂", aspect="equal")
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
