"""One image file of each kind, and the pixels that are read of it."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tfnvp.data.pixels import ImageReader, is_grey

RAMP = np.uint16([[0, 0x1234], [0x8000, 0xFFFF]])
GREYS = (RAMP >> 8).tolist()
# Red beside black, 2 x 4.
WIDE = np.zeros((2, 4, 3), "uint8")
WIDE[:, :2, 0] = 255


def png(rows, bits, kind, chunks=()):
    """A PNG file that Pillow does not write: rows of bytes, bits of a channel, type of colour."""

    def chunk(name, content):
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    width = 8 * len(rows[0]) // (bits * channels)
    head = struct.pack(">IIBBBBB", width, len(rows), bits, kind, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    parts = [("IHDR", head), *chunks, ("IDAT", content), ("IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name.encode(), text) for name, text in parts)


def tiff(values, bits, white_is_zero=False):
    """A grey TIFF file of packed values, 2 x 2."""
    entries = {256: 2, 257: 2, 258: bits, 259: 1, 262: 0 if white_is_zero else 1}
    entries |= {273: 8 + 2 + 12 * 9 + 4, 277: 1, 278: 2, 279: len(values)}
    listed = b"".join(struct.pack("<HHIHH", tag, 3, 1, v, 0) for tag, v in entries.items())
    return b"II*\0" + struct.pack("<IH", 8, 9) + listed + struct.pack("<I", 0) + values


def deep(*channels):
    """Rows of bytes of images of 16 bits, big-endian, from arrays [H, W]."""
    return [row.tobytes() for row in np.stack(channels, axis=-1).astype(">u2")]


def saved(image, ending="png", **options):
    """What writes an image by Pillow."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    return lambda file: image.save(
        file, {"tif": "TIFF", "jpg": "JPEG"}.get(ending, ending), **options
    )


def palette(colours, **options):
    image = Image.new("P", (len(colours), 1))
    image.putdata(range(len(colours)))
    image.putpalette(np.ravel(colours).tolist())
    return saved(image, **options)


def frames(ending, **options):
    images = [Image.new("RGB", (2, 1), colour) for colour in ("red", "blue")]
    return saved(images[0], ending, save_all=True, append_images=images[1:], **options)


def turned(ending, **options):
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(WIDE, ending, exif=exif, **options)


RED, HALF_RED = [255, 0, 0], [255, 127, 127]
UPRIGHT = np.repeat(WIDE[:1], 2, axis=0).transpose(1, 0, 2).tolist()
OPAQUE = np.full_like(RAMP, 0xFFFF)
# What is written, the pixels that are read, and what is said.
KINDS = {
    "16 bits": (saved(RAMP), GREYS, ["deep"]),
    "16 bits of TIFF": (saved(RAMP, "tif"), GREYS, ["deep"]),
    "16 bits of TIFF, big-endian": (saved(RAMP.astype(">u2"), "tif"), GREYS, ["deep"]),
    "16 bits, compressed": (saved(RAMP, "tif", compression="tiff_lzw"), GREYS, ["deep"]),
    "16 bits, white is 0": (
        tiff(RAMP.tobytes(), 16, white_is_zero=True),
        (255 - (RAMP >> 8)).tolist(),
        ["deep"],
    ),
    "12 bits": (tiff(bytes([0, 0x01, 0x23, 0x80, 0x0F, 0xFF]), 12), GREYS, ["deep"]),
    "16 bits of colour": (
        png(deep(RAMP, 0 * RAMP, OPAQUE), 16, 2),
        np.stack([RAMP >> 8, 0 * RAMP, OPAQUE >> 8], axis=-1).tolist(),
        ["deep"],
    ),
    "16 bits and alpha": (png(deep(RAMP, OPAQUE), 16, 4), GREYS, ["deep"]),
    "16 bits, one transparent": (
        png(deep(RAMP), 16, 0, [("tRNS", b"\x80\x00")]),
        [GREYS[0], [255, 255]],
        ["deep", "transparent"],
    ),
    "1 bit": (saved(Image.fromarray(np.array([[True, False]]))), [[255, 0]], []),
    "4 bits": (png([[0x05, 0xAF]], 4, 0), [[0, 85, 170, 255]], []),
    "4 bits, one transparent": (
        png([[0x05, 0xAF]], 4, 0, [("tRNS", b"\0\x05")]),
        [[0, 255, 170, 255]],
        ["transparent"],
    ),
    "colour and alpha": (
        saved(Image.new("RGBA", (1, 1), (*RED, 128))),
        [[HALF_RED]],
        ["transparent"],
    ),
    "opaque alpha": (saved(Image.new("RGBA", (1, 1), (*RED, 255))), [[RED]], []),
    "grey and alpha": (saved(Image.new("LA", (1, 1), (100, 128))), [[177]], ["transparent"]),
    "WebP and alpha": (
        saved(Image.new("RGBA", (1, 1), (*RED, 128)), "webp", lossless=True),
        [[HALF_RED]],
        ["transparent"],
    ),
    "one colour transparent": (
        saved(np.uint8([[[1, 2, 3], [4, 5, 6]]]), transparency=(1, 2, 3)),
        [[[255] * 3, [4, 5, 6]]],
        ["transparent"],
    ),
    "palette": (palette([RED, [0, 0, 9]]), [[RED, [0, 0, 9]]], []),
    "palette and alpha": (
        palette([RED, [0, 0, 9]], transparency=bytes([128, 255])),
        [[HALF_RED, [0, 0, 9]]],
        ["transparent"],
    ),
    "grey palette": (palette([[7] * 3, [9] * 3]), [[7, 9]], []),
    # Nobody sees the colour of what is transparent.
    "grey palette, one transparent": (
        palette([[255, 0, 255], [9] * 3], transparency=0),
        [[255, 9]],
        ["transparent"],
    ),
    "palette and alpha of TIFF": (saved(Image.new("PA", (1, 1)), "tif"), [[255]], ["transparent"]),
    "CMYK": (saved(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "tif"), [[RED]], []),
    "turned PNG": (turned("png"), UPRIGHT, []),
    "turned TIFF": (turned("tif"), UPRIGHT, []),
    "turned WebP": (turned("webp", lossless=True), UPRIGHT, []),
    "frames of GIF": (frames("gif"), [[RED, RED]], ["frames"]),
    "frames of WebP": (frames("webp", lossless=True), [[RED, RED]], ["frames"]),
    "pages of TIFF": (frames("tif"), [[RED, RED]], ["frames"]),
}
REFUSED = {
    "LAB": (saved(Image.new("LAB", (1, 1)), "tif"), "colours in the space LAB"),
    "floats": (saved(np.zeros((1, 1), "float32"), "tif"), "floats, whose white is unknown"),
    "32 bits": (saved(np.zeros((1, 1), "int32"), "tif"), "integers with a sign or of 32 bits"),
    "a colour of 16 bits": (
        png(deep(RAMP, RAMP, RAMP), 16, 2, [("tRNS", b"\xff\xff" * 3)]),
        "one of its colours of 16 bits is transparent",
    ),
    "of no known format": (b"P6 1 1 255 abc", "cannot identify"),
}


def written(content, file):
    file.write_bytes(content) if isinstance(content, bytes) else content(file)
    return file


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_has_its_pixels(tmp_path, kind):
    content, expected, done = KINDS[kind]
    file = written(content, tmp_path / "image")
    pixels, said = ImageReader().read(file)
    assert pixels.dtype == np.uint8
    expected = np.atleast_3d(expected)
    np.testing.assert_array_equal(pixels, expected)
    assert said == done
    assert is_grey(file) == (expected.shape[-1] == 1)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_has_no_known_grey_levels_is_refused_by_name(tmp_path, kind):
    content, message = REFUSED[kind]
    file = written(content, tmp_path / "image")
    with pytest.raises(ValueError, match=f"image is not a readable image: .*{message}"):
        ImageReader().read(file)


def test_jpegs_are_upright_whatever_their_orientation(tmp_path):
    # The pixels as stored, by orientation, of one picture: red above, then black.
    above = np.zeros((64, 32, 3), "uint8")
    above[:32, :, 0] = 255
    stored = {1: above, 2: above[:, ::-1], 3: above[::-1, ::-1], 4: above[::-1]}
    sideways = above.transpose(1, 0, 2)
    stored |= {5: sideways, 6: sideways[::-1], 7: sideways[::-1, ::-1], 8: sideways[:, ::-1]}
    above[:, :8] //= 2
    for orientation, pixels in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
        found, _ = ImageReader().read(tmp_path / "a.jpg")
        assert np.abs(found.astype(int) - above).max() < 9, orientation


@pytest.mark.parametrize(
    ("background", "colour", "grey"),
    [("black", [127, 0, 0], 50), ("#0000ff", [127, 0, 127], 64)],
)
def test_transparent_pixels_show_the_background(tmp_path, background, colour, grey):
    reader = ImageReader(background=background)
    for mode, pixel, expected in (("RGBA", (*RED, 127), colour), ("LA", (100, 127), grey)):
        Image.new(mode, (1, 1), pixel).save(tmp_path / "a.png")
        pixels, done = reader.read(tmp_path / "a.png")
        assert done == ["transparent"]
        assert np.abs(pixels[0, 0].astype(int) - expected).max() <= 1
    for unknown in ("blue", "#00f", ""):
        with pytest.raises(ValueError, match="`background` must be white, black or #rrggbb"):
            ImageReader(background=unknown)


def test_images_get_the_size_and_channels_that_are_asked_for(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(WIDE).save(tmp_path / "a.png", exif=exif)
    # Upright it is of this size already.
    pixels, done = ImageReader((4, 2), 1).read(tmp_path / "a.png")
    assert (pixels.shape, done) == ((4, 2, 1), ["colour"])
    pixels, done = ImageReader((2, 2), 3).read(tmp_path / "a.png")
    assert (pixels.shape, done) == ((2, 2, 3), ["resized"])
    Image.new("L", (5, 3), 7).save(tmp_path / "b.png")
    pixels, done = ImageReader((4, 4), 3).read(tmp_path / "b.png")
    assert (pixels.shape, done) == ((4, 4, 3), ["grey", "small"])
    assert (pixels == 7).all()


def profile(space, name, gamma, *primaries):
    """A profile of colours by their primaries, in XYZ, or of grey, and their gamma."""

    def xyz(values):
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * v) for v in values))

    white, curve = (
        (0.9642, 1.0, 0.8249),
        b"curv\0\0\0\0" + struct.pack(">IHxx", 1, int(256 * gamma)),
    )
    text = struct.pack(">I", len(name) + 1) + name.encode() + bytes(1 + 4 + 4 + 2 + 1 + 67)
    tags = {"desc": b"desc\0\0\0\0" + text, "wtpt": xyz(white)}
    tags |= {f"{channel}XYZ": xyz(v) for channel, v in zip("rgb", primaries, strict=False)}
    tags |= {f"{channel}TRC": curve for channel in ("rgb" if primaries else "k")}
    listed, content, start = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, value in tags.items():
        value += bytes(-len(value) % 4)
        listed += tag.encode() + struct.pack(">II", start + len(content), len(value))
        content += value
    head = struct.pack(
        ">I4xI4s4s4s12x4s", start + len(content), 0x02400000, b"mntr", space, b"XYZ ", b"acsp"
    )
    head += bytes(28) + struct.pack(">3i", *(round(65536 * v) for v in white)) + bytes(48)
    return head + struct.pack(">I", len(tags)) + listed + content


# Columns of primaries in XYZ under D50.
SRGB = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
DISPLAY_P3 = np.array(
    [[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]]
)
P3 = profile(b"RGB ", "Display P3", 2.0, *DISPLAY_P3.T)
LINEAR = profile(b"GRAY", "linear grey", 1.0)
PIXELS = np.uint8([[[200, 100, 50], [90, 120, 90]]])
IN_P3 = (PIXELS / 255) ** 2.0 @ DISPLAY_P3.T @ np.linalg.inv(SRGB).T


def encoded(linear):
    return 255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)


@pytest.mark.parametrize(
    ("image", "icc", "expected", "done"),
    [
        (PIXELS, P3, encoded(IN_P3), ["profile"]),
        (np.dstack([PIXELS, [[255, 255]]]).astype("uint8"), P3, encoded(IN_P3), ["profile"]),
        (GREYS, LINEAR, encoded(RAMP // 256 / 255)[..., None], ["profile"]),
        (GREYS, P3, encoded((RAMP // 256 / 255) ** 2.0)[..., None], ["profile"]),
        (PIXELS, P3.replace(b"Display P3", b"sRGB of us"), PIXELS, []),
        (PIXELS, LINEAR, PIXELS, []),  # It is for others.
        (PIXELS, P3[:200], PIXELS, []),
        (PIXELS, b"broken", PIXELS, []),
    ],
)
def test_colours_of_a_profile_become_those_of_srgb(tmp_path, image, icc, expected, done):
    Image.fromarray(np.uint8(image)).save(tmp_path / "a.png", icc_profile=icc)
    pixels, said = ImageReader().read(tmp_path / "a.png")
    assert (pixels.shape, said) == (np.shape(expected), done)
    assert np.abs(pixels - np.round(expected)).max() <= bool(done)


def test_what_is_transparent_shows_the_background_as_it_is(tmp_path):
    image = np.dstack([PIXELS, [[255, 0]]]).astype("uint8")
    Image.fromarray(image).save(tmp_path / "a.png", icc_profile=P3)
    pixels, said = ImageReader(background="#5a785a").read(tmp_path / "a.png")
    assert (pixels[0, 1].tolist(), said) == ([90, 120, 90], ["profile", "transparent"])
    assert np.abs(pixels[0, 0] - encoded(IN_P3)[0, 0]).max() < 1.5
