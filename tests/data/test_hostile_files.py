"""Files that nobody checked: each is read, or refused with a message, and does nothing else.

A corpus of mutations of small valid files, with a fixed seed, and of files made to do harm.
"""

import io
import json
import os
import pathlib
import resource
import sys
import zipfile

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image

from tests.data.test_named import write_prepared
from tfnvp import data

REFUSED = (ValueError, OSError, TypeError)
ROWS = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), "uint8")
LIMIT = 2**31


def load_table(file):
    data.load_table(file)
    sum(len(chunk) for chunk in data.table_chunks(file)[0])


def load_records(folder):
    splits = data.read_records(folder)
    sum(len(chunk) for chunk in splits.train.chunks())
    data.check_records(folder)


def load_prepared(folder):
    data.load_named("small", folder)


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """By kind, a valid file or folder, the files in it to change, and its reader."""
    folder = tmp_path_factory.mktemp("valid")
    np.save(folder / "t.npy", ROWS)
    np.savez_compressed(folder / "t.npz", rows=ROWS)
    table = pa.table(dict(zip("abc", ROWS.T, strict=True)))
    pa.csv.write_csv(table, folder / "t.csv")
    pa.parquet.write_table(table, folder / "t.parquet")
    for kind in ("png", "jpg"):
        (folder / kind).mkdir()
        for i in range(10):
            Image.fromarray(PIXELS).save(folder / kind / f"{i}.{kind}")
    data.write_records([np.tile(ROWS, (5, 1))], 100, folder / "records")
    write_prepared(folder / "tfds", np.tile(PIXELS[None, ..., :1], (10, 1, 1, 1)))
    return folder


# By kind, the pattern of files to change, the reader, and how many mutations.
KINDS = {
    "t.npy": ("", load_table, 20),
    "t.npz": ("", load_table, 20),
    "t.csv": ("", load_table, 20),
    "t.parquet": ("", load_table, 20),
    "png": ("0.png", data.load_images, 15),
    "jpg": ("0.jpg", data.load_images, 15),
    "records": ("*", load_records, 20),
    "tfds": ("small/1.0.0/*", load_prepared, 15),
}


def mutated(content, generator):
    """Returns bytes with one to three random changes."""
    content = bytearray(content)
    for _ in range(generator.integers(1, 4)):
        at = int(generator.integers(len(content) + 1))
        until = min(len(content), at + int(generator.integers(1, 40)))
        match generator.integers(6):
            case 0 if at < len(content):
                content[at] ^= 1 << int(generator.integers(8))
            case 1:
                del content[at:]
            case 2:
                del content[at:until]
            case 3:
                content[at:at] = generator.bytes(8)
            case 4:
                content[at:until] = b"\xff" * (until - at)
            case _:
                content[at:at] = content[at:until]
    return bytes(content)


def copy(source, target):
    """Copies a file or folder."""
    if source.is_file():
        target.write_bytes(source.read_bytes())
        return target
    for file in source.rglob("*"):
        if file.is_file():
            (target / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (target / file.relative_to(source)).write_bytes(file.read_bytes())
    return target


@pytest.fixture
def harmless(tmp_path, monkeypatch):
    """Fails if a test imports from the working directory, writes there, or takes 2 GB."""
    here = tmp_path / "here"
    here.mkdir()
    for module in ("evil", "riegeli", "array_record", "pydub", "datasets", "mlcroissant"):
        (here / f"{module}.py").write_text("raise SystemExit('foreign code runs')")
    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend("")
    before, rss = set(tmp_path.iterdir()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    files = set(here.rglob("*"))
    yield here
    assert set(here.rglob("*")) == files
    assert len(set(tmp_path.iterdir()) - before) <= 1
    assert not [m for m in list(sys.modules.values()) if str(here) in str(vars(m).get("__file__"))]
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - rss) * 1024 < LIMIT


def read_or_refuse(read, path):
    try:
        read(path)
    except REFUSED as error:
        assert len(str(error)) > 10  # noqa: PT017 (most files are refused, but not all)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "seed"), [(kind, seed) for kind, (*_, n) in KINDS.items() for seed in range(n)]
)
def test_mutations_are_read_or_refused(tmp_path, valid, harmless, kind, seed):
    pattern, read, _ = KINDS[kind]
    path = copy(valid / kind, tmp_path / kind)
    files = [path] if path.is_file() else sorted(path.glob(pattern))
    generator = np.random.default_rng([seed, *kind.encode()])
    file = files[seed % len(files)]
    file.write_bytes(mutated(file.read_bytes(), generator))
    read_or_refuse(read, path)


def header(shape, dtype="<f4", version=1):
    """Returns an `.npy` of a header alone."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    size = 2 if version == 1 else 4
    return b"\x93NUMPY" + bytes((version, 0)) + len(text).to_bytes(size, "little") + text


ARRAYS = {
    "rows": header("(10**12, 3)".replace("10**12", str(10**12))),
    "no_rows": header(f"(0, {10**15})"),
    "no_columns": header(f"({10**12}, 0)"),
    "one_row": header(f"(1, {10**9})"),
    "empty_texts": header(f"({10**12}, 3)", "<U0"),
    "void": header(f"({10**12}, 3)", "|V0"),
    "negative": header("(-1, 3)"),
    "objects": header("(10, 3)", "|O"),
    "complex": header("(1, 2)", "<c16") + bytes(32),
    "nested": header("(" * 9000),
    "long": header("(3, 3)", version=2)[:8] + b"\xff" * 4 + b" " * 100,
    "bits": header(f"({2**62}, 4)"),
}


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("content", ARRAYS.values(), ids=ARRAYS)
def test_headers_that_claim_too_much_are_refused(tmp_path, harmless, content, suffix):
    file = tmp_path / f"t{suffix}"
    file.write_bytes(content)
    if suffix == ".npz":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("rows.npy", content)
    with pytest.raises(REFUSED, match=f"t{suffix}"):
        load_table(file)


def compressed(file):
    """As a terabyte of zeros would begin."""
    np.savez_compressed(file, rows=ROWS)
    content = file.read_bytes()
    at = content.rindex(b"PK\x01\x02") + 24
    file.write_bytes(content[:at] + b"\xff\xff\xff\x7f" + content[at + 4 :])


def bad_checksum(file):
    np.savez(file, rows=ROWS)
    content = bytearray(file.read_bytes())
    content[250] ^= 1
    file.write_bytes(content)


def encrypted(file):
    np.savez(file, rows=ROWS)
    content = file.read_bytes()
    at = content.rindex(b"PK\x01\x02") + 8
    file.write_bytes(content[:at] + b"\x01" + content[at + 1 :])


def repeated(file):
    """2**28 values in kilobytes."""
    rows = pa.nulls(2**27, pa.int8())
    pa.parquet.write_table(pa.table({"a": rows, "b": rows}), file, row_group_size=2**27)


def many_columns(file):
    file.write_text(",".join(["a"] * 2**15) + "\n")


BOMBS = {
    "t.npz": (compressed, "too much memory"),
    "crc.npz": (bad_checksum, "Bad CRC-32"),
    "encrypted.npz": (encrypted, "encrypted"),
    "t.parquet": (repeated, "too much memory"),
    "t.csv": (many_columns, "several columns of the name 'a'"),
    "quote.csv": (lambda file: file.write_text('a,b\n"1,2\n' * 9), "row 9 must have 2 values"),
    "zeros.csv": (lambda file: file.write_bytes(bytes(1000)), "zeros.csv"),
    "empty.csv": (lambda file: file.write_text(""), "has no rows"),
    "pipe.csv": (os.mkfifo, "no table at"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_tables_made_to_do_harm_are_refused(tmp_path, harmless, name):
    write, message = BOMBS[name]
    write(tmp_path / name)
    with pytest.raises(ValueError, match=message):
        load_table(tmp_path / name)


def postscript(file):
    file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")


def as_ico(file):
    Image.fromarray(PIXELS).save(file, "ICO")


def large(file, **options):
    Image.new("1", (9000, 9000)).save(file, **options)


IMAGES = {
    "postscript.png": (postscript, "is not a readable image"),
    "ico.png": (as_ico, "is not a readable image"),
    "large.png": (large, "are more than"),
    "larger.png": (lambda file: Image.new("1", (20_000, 20_000)).save(file), "decompression bomb"),
    "large.bmp": (large, "are more than"),
    "large.gif": (large, "are more than"),
    "large.tif": (lambda file: large(file, compression="group4"), "are more than"),
    "empty.webp": (lambda file: file.write_text(""), "is not a readable image"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", IMAGES)
def test_images_made_to_do_harm_are_refused(tmp_path, valid, harmless, name):
    write, message = IMAGES[name]
    folder = copy(valid / "png", tmp_path / "png")
    write(folder / name)
    with pytest.raises(ValueError, match=rf"{name} .*{message}|{name} {message}"):
        data.load_images(folder)


def test_only_regular_files_are_images(tmp_path, valid, harmless):
    folder = copy(valid / "png", tmp_path / "png")
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    (folder / "device.png").symlink_to("/dev/zero")
    assert len(data.load_images(folder).train) == 8


@pytest.mark.parametrize("name", ["evil.X", "tensorflow_datasets.scripts.cli.main.X", "evil", ""])
def test_features_of_prepared_data_import_nothing(tmp_path, valid, harmless, name):
    folder = copy(valid / "tfds", tmp_path / "tfds")
    features = json.dumps({"pythonClassName": name})
    (folder / "small" / "1.0.0" / "features.json").write_text(features)
    with pytest.raises(ValueError, match="unknown class of features"):
        data.load_named("small", folder)


@pytest.mark.parametrize("change", ["riegeli", "array_record", "zzz"])
def test_other_formats_of_prepared_data_import_nothing(tmp_path, valid, harmless, change):
    folder = copy(valid / "tfds", tmp_path / "tfds")
    info = folder / "small" / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace("tfrecord", change))
    with pytest.raises(ValueError, match="small"):
        data.load_named("small", folder)


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
def test_prepared_data_are_regular_files(tmp_path, valid, harmless, name):
    folder = copy(valid / "tfds", tmp_path / "tfds")
    (folder / "small" / "1.0.0" / name).unlink()
    os.mkfifo(folder / "small" / "1.0.0" / name)
    with pytest.raises(ValueError, match="regular"):
        data.load_named("small", folder)


def black(size, form):
    stream = io.BytesIO()
    Image.new("L", size).save(stream, form)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([black((4096, 4096), "PNG")] * 5, r"data set: /\S+ would take too much memory"),
        ([black((8, 8), "GIF")], "cannot be read as a prepared data set"),
        ([b""], "cannot be read as a prepared data set"),
    ],
    ids=["png", "gif", "empty"],
)
def test_images_of_prepared_data_that_unpack_to_too_much_are_refused(
    tmp_path, harmless, content, message
):
    write_prepared(tmp_path / "tfds", np.zeros((len(content), 4096, 4096, 1), "uint8"), content)
    with pytest.raises(ValueError, match=message):
        data.load_named("small", tmp_path / "tfds")


def test_prepared_images_can_be_jpeg(tmp_path):
    write_prepared(tmp_path, np.zeros((10, 8, 6, 1), "uint8"), [black((6, 8), "JPEG")] * 10)
    assert data.load_named("small", tmp_path).event_shape == (8, 6, 1)


def test_only_images_of_prepared_data_are_unpacked(tmp_path, valid, harmless):
    folder = copy(valid / "tfds", tmp_path / "tfds")
    file = folder / "small" / "1.0.0" / "features.json"
    text = file.read_text().replace("image_feature.Image", "tensor_feature.Tensor")
    file.write_text(text.replace('"image": {"dtype"', '"tensor": {"encoding": "zlib", "dtype"'))
    with pytest.raises(ValueError, match="it has no images"):
        data.load_named("small", folder)


@pytest.mark.parametrize("kind", [h5py.ExternalLink, h5py.SoftLink])
def test_patches_are_numbers_inside_of_the_file(tmp_path, harmless, kind):
    file = tmp_path / "BSDS300" / "BSDS300.hdf5"
    file.parent.mkdir()
    with h5py.File(file, "w") as patches, h5py.File(file.with_name("x"), "w") as other:
        other["x"] = ROWS
        for part in ("train", "validation", "test"):
            patches[part] = kind("/x") if kind is h5py.SoftLink else kind(other.filename, "/x")
    with pytest.raises(ValueError, match=r"BSDS300\.hdf5 cannot be read .* in it is a link"):
        data.load_benchmark_table("bsds300", tmp_path)


def test_archives_and_texts_are_no_benchmark_tables(tmp_path, harmless):
    file = tmp_path / "power" / "data.npy"
    file.parent.mkdir()
    for rows in (np.array([["a"] * 8]), header(f"({10**12}, 8)", "<U0"), {"rows": ROWS}):
        with file.open("wb") as stream:
            if isinstance(rows, dict):
                np.savez(stream, **rows)
            elif isinstance(rows, bytes):
                stream.write(rows)
            else:
                np.save(stream, rows)
        with pytest.raises(ValueError, match=r"data\.npy cannot be read as a table"):
            data.load_benchmark_table("power", tmp_path)


def test_pickles_are_never_loaded(tmp_path, harmless):
    stream = io.BytesIO()
    np.save(stream, np.array([[print]]), allow_pickle=True)
    for name in ("t.npy", "power/data.npy"):
        file = pathlib.Path(tmp_path / "tables", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(stream.getvalue())
    for read in (
        lambda: data.load_table(tmp_path / "tables" / "t.npy"),
        lambda: data.load_benchmark_table("power", tmp_path / "tables"),
    ):
        with pytest.raises(ValueError, match="cannot be read as a table"):
            read()
