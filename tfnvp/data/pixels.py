"""The pixels of one image file: its first frame, upright, opaque, in sRGB, 8 bits a channel."""

import contextlib
import dataclasses
import functools
import io
import pathlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

# The formats that files are read in, whatever their names: others of Pillow run programs, such as
# Ghostscript.
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF")

# Most pixels of an image: some formats make gigabytes of a few kilobytes.
_PIXELS = 2**26

# Modes of Pillow that are grey, and in colour. Palettes, "P" and "PA", are either.
_GREY = ("1", "L", "LA", "La")
_COLOUR = ("RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
_DEEP_GREY = ("I;16", "I;16L", "I;16B", "I;16N")
_REFUSED = {
    "I": "integers with a sign or of 32 bits, whose white is unknown: convert them to 8 or 16 bits",
    "F": "floats, whose white is unknown: convert them to 8 or 16 bits",
    "LAB": "colours in the space LAB: convert them to RGB",
}

# Modes of the colours that a profile describes.
_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}

# How to turn an image upright, by the number in its Exif data, in the names of Pillow.
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


@dataclasses.dataclass(frozen=True)
class ImageReader:
    """Reads image files in one way.

    Args:
      size: `(height, width)`, to which images are cropped at their centre and resized. Default: as
        they are.
      channels: 1 for grey, 3 for colour. Default: as they are.
      background: "white", "black" or "#rrggbb", the colour behind transparent pixels.

    Raises:
      ValueError: for another background.

    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("LA", (3, 2), (0, 0)).save(file, "PNG")
    >>> pixels, done = ImageReader(size=(4, 4)).read(file)
    >>> pixels.shape, pixels.max(), done
    ((4, 4, 1), np.uint8(255), ['transparent', 'small'])
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    background: str = "white"

    def __post_init__(self) -> None:
        if not re.fullmatch("white|black|#[0-9a-fA-F]{6}", self.background):
            raise ValueError(
                f"`background` must be white, black or #rrggbb. Received: {self.background!r}"
            )

    def read(self, file: pathlib.Path) -> tuple[np.ndarray, list[str]]:
        """Reads a file.

        Returns:
          `(pixels, done)`: uint8 `[height, width, channels]`, and what was done to the image, in
          the words of `tfnvp.data.images.DONE`.

        Raises:
          ValueError: if it is not an image of a known format, damaged, larger than 2^26 pixels, or
            of a kind whose grey levels or colours are unknown.
        """
        from PIL import Image, ImageOps

        with _opened(file) as image:
            done = ["frames"] * bool(getattr(image, "is_animated", False))
            is_grey, bits = _is_grey(image), _bits(image)
            if bits > 8:
                done.append("deep")
            image.load()
            if image.mode == "L" and "transparency" in image.info:
                # Pillow scales the pixels of fewer bits, but not the level that is transparent.
                image.info["transparency"] *= 255 // (2**bits - 1)
            orientation = _UPRIGHT.get(image.getexif().get(_ORIENTATION))
            image = _opaque(image, is_grey, self.background, done)
            if orientation is not None:
                image = image.transpose(Image.Transpose[orientation])
            if self.channels is not None and is_grey != (self.channels == 1):
                done.append("grey" if is_grey else "colour")
                image = image.convert("RGB" if is_grey else "L")
            size = image.size if self.size is None else self.size[::-1]
            if image.size != size:
                is_small = image.width < size[0] or image.height < size[1]
                done.append("small" if is_small else "resized")
                image = ImageOps.fit(image, size)
            return np.atleast_3d(image), done


def is_grey(file: pathlib.Path) -> bool | None:
    """Returns whether a file is grey, by its header and palette; None if it cannot be read."""
    try:
        with _opened(file) as image:
            return _is_grey(image)
    except ValueError:
        return None


@contextlib.contextmanager
def _opened(file: pathlib.Path) -> Iterator["Image"]:
    """Opens an image, and names the file in every error."""
    from PIL import Image

    try:
        with Image.open(file, formats=_FORMATS) as image:
            if image.width * image.height > _PIXELS:
                raise ValueError(f"{image.size} are more than {_PIXELS:,} pixels")
            yield image
    except Exception as error:  # What Pillow raises for damaged files depends on their format.
        raise ValueError(f"{file} is not a readable image: {error}") from error


def _is_grey(image):
    """Whether an image, of which the pixels are not loaded yet, is grey."""
    if image.mode in ("P", "PA"):
        # Colours of transparent entries are not seen.
        key = image.info.get("transparency", b"")
        hidden = [key] if isinstance(key, int) else [i for i, alpha in enumerate(key) if not alpha]
        colours = np.reshape(image.getpalette(), (-1, 3)).tolist()
        return all(len(set(c)) == 1 for i, c in enumerate(colours) if i not in hidden)
    if image.mode not in (*_GREY, *_DEEP_GREY, *_COLOUR):
        raise ValueError(f"its pixels are {_REFUSED.get(image.mode, f'of mode {image.mode}')}")
    # Pillow reads grey with alpha, of 16 bits, in colour.
    return image.mode not in _COLOUR or any("LA;16" in str(tile) for tile in image.tile)


def _bits(image):
    """Returns the bits of a channel, before the pixels are loaded."""
    # Pillow names the layout of pixels, such as "L;4", or "BGR;16" for three channels together.
    found = re.search(r"(?<!BGR);(\d+)", str(image.tile))
    return int(found[1]) if found else 1 if image.mode == "1" else 8


def _opaque(image, is_grey, background, done):
    """Returns an image of mode "L" or "RGB": what is transparent shows the background."""
    from PIL import Image, ImageColor

    mode, layers = ("L", "LA") if is_grey else ("RGB", "RGBA")
    if image.mode in _DEEP_GREY:
        image = _of_8_bits(image)
    elif image.mode == "RGB" and max(image.info.get("transparency", (0,))) > 255:
        raise ValueError("one of its colours of 16 bits is transparent: save it with an alpha")
    profile = image.info.get("icc_profile")
    if not image.has_transparency_data:
        image = image if image.mode == "CMYK" else _of_mode(image, mode)
        return _of_mode(_in_srgb(image, profile, done), mode)
    image = image.convert(layers)
    alpha, image = image.getchannel("A"), _in_srgb(image.convert(mode), profile, done)
    image = _of_mode(image, mode)
    if alpha.getextrema()[0] == 255:
        return image
    done.append("transparent")
    opaque = Image.new(mode, image.size, ImageColor.getcolor(background, mode))
    opaque.paste(image, mask=alpha)
    return opaque


def _of_mode(image, mode):
    return image if image.mode == mode else image.convert(mode)


def _in_srgb(image, profile, done):
    """Returns an opaque image in the colours of sRGB, if it has a profile of others that fits it.

    Source: International Color Consortium, specification ICC.1.
    """
    from PIL import ImageCms

    if not profile:
        return image
    try:
        found = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in (found.profile.profile_description or ""):
            return image
        mode = _SPACES.get(found.profile.xcolor_space.strip())
        if (image.mode, mode) not in ((mode, mode), ("L", "RGB")):
            return image
        converted = ImageCms.profileToProfile(
            _of_mode(image, mode), found, _srgb(), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):  # A broken profile describes no colours.
        return image
    done.append("profile")
    return converted


@functools.cache
def _srgb():
    from PIL import ImageCms

    return ImageCms.createProfile("sRGB")


def _of_8_bits(image):
    """Returns a grey image of 12 or 16 bits as one of 8, "L", or "LA" if a level is transparent."""
    from PIL import Image

    tags = getattr(image, "tag_v2", {})  # Of TIFF: the bits, and whether 0 is white.
    (bits,), white = tags.get(258, (16,)), tags.get(262) == 0
    values = np.asarray(image)
    grey = Image.fromarray((values >> (bits - 8) ^ 255 * white).astype("uint8"))
    transparent = image.info.get("transparency")
    if transparent is None:
        return grey
    alpha = Image.fromarray(np.uint8(255) * (values != transparent))
    return Image.merge("LA", (grey, alpha))
