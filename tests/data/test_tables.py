import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image

from tfnvp import data


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(20, 3)).astype("float32")


def write(path, rows):
    if path.suffix == ".npy":
        np.save(path, rows)
    elif path.suffix == ".npz":
        np.savez(path, rows=rows)
    else:
        table = pa.table({f"c{i}": column for i, column in enumerate(rows.T)})
        writer = pyarrow.csv.write_csv if path.suffix == ".csv" else pyarrow.parquet.write_table
        writer(table, path)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".parquet"])
def test_tables_of_every_kind_hold_the_same_rows(tmp_path, rows, suffix):
    splits = data.load_table(write(tmp_path / f"table{suffix}", rows))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (16, 2, 2)
    together = np.concatenate([splits.train, splits.validation, splits.test])
    order = np.lexsort(together.T)
    np.testing.assert_allclose(together[order], rows[np.lexsort(rows.T)], rtol=1e-6)
    assert splits.levels is None
    assert splits.event_shape == (3,)


def test_an_archive_that_is_divided_keeps_its_division(tmp_path, rows):
    file = tmp_path / "divided.npz"
    np.savez(file, train=rows[:12], validation=rows[12:15], test=rows[15:])
    splits = data.load_table(file)
    np.testing.assert_array_equal(splits.train, rows[:12])
    np.testing.assert_array_equal(splits.validation, rows[12:15])
    np.testing.assert_array_equal(splits.test, rows[15:])
    some = data.load_table(file, columns="2,0")
    np.testing.assert_array_equal(some.validation, rows[12:15][:, [2, 0]])
    rows[13, 2] = np.inf
    np.savez(file, train=rows[:12], validation=rows[12:15], test=rows[15:])
    with pytest.raises(ValueError, match="row 2, column '2'"):
        data.load_table(file)
    np.savez(file, train=rows[:12], validation=rows[12], test=rows[15:])
    with pytest.raises(ValueError, match=r"validation of .* must hold rows"):
        data.load_table(file)


def test_patches_become_rows_without_their_mean():
    patches = np.random.default_rng(0).integers(0, 256, (5, 4, 4)).astype("uint8")
    rows = data.patches_to_rows(patches)
    assert rows.shape == (5, 15)
    last = -rows.sum(axis=1, keepdims=True)
    pixels = np.concatenate([rows, last], axis=1)
    levels = 256 * (pixels - pixels[:, :1]) + patches.reshape(5, 16)[:, :1]
    # Each pixel less the first has the noise of two.
    assert np.abs(levels - patches.reshape(5, 16)).max() < 1.01
    assert np.abs(levels - patches.reshape(5, 16)).max() > 0.3
    with pytest.raises(TypeError, match="`patches` must be uint8"):
        data.patches_to_rows(rows)


def test_broken_tables_are_refused(tmp_path, rows):
    with pytest.raises(ValueError, match="no table at"):
        data.load_table(tmp_path / "nothing.csv")
    rows[4, 1] = np.nan
    with pytest.raises(ValueError, match="row 5, column 'c1'"):
        data.load_table(write(tmp_path / "hole.parquet", rows))
    (tmp_path / "words.csv").write_text("a,b\n1,x\n2,y\n")
    with pytest.raises(ValueError, match="column 'b' holds no numbers"):
        data.load_table(tmp_path / "words.csv")
    (tmp_path / "table.txt").write_text("1 2")
    with pytest.raises(ValueError, match=r"must be \.csv"):
        data.load_table(tmp_path / "table.txt")
    (tmp_path / "broken.parquet").write_text("nothing")
    with pytest.raises(ValueError, match="cannot be read"):
        data.load_table(tmp_path / "broken.parquet")
    with pytest.raises(ValueError, match="rows of two or more numbers"):
        data.load_table(write(tmp_path / "flat.npy", rows[:, 0]))


def test_some_columns_of_a_table(tmp_path):
    file = tmp_path / "mixed.csv"
    lines = [f"{i / 7},name{i},{i / 3}" for i in range(12)]
    file.write_text("\n".join(["a,label,b", *lines]))
    splits = data.load_table(file, columns="b, a")
    assert splits.columns == ("b", "a")
    np.testing.assert_allclose(splits.train[:, 0] * 3, splits.train[:, 1] * 7, rtol=1e-5)
    with pytest.raises(ValueError, match=r"column 'label' holds no numbers.*--columns"):
        data.load_table(file)
    lines = [f"{line},2026-11-27" for line in lines]
    file.write_text("\n".join(["a,label,b,day", *lines]))
    with pytest.raises(ValueError, match=r"Further columns that are not of numbers alone: 'day'"):
        data.load_table(file)
    with pytest.raises(ValueError, match=r"lacks the columns \['c'\]; it has \['a', 'label'"):
        data.load_table(file, columns="a,c")


def test_suspicious_tables_are_warned_of(tmp_path):
    file = tmp_path / "table.csv"
    numbers = [f"{i / 7},{i % 3}" for i in range(12)]
    file.write_text("\n".join(numbers))
    with pytest.warns(UserWarning, match="seems to have no header"):
        data.load_table(file)
    file.write_text("\n".join(["a,b", *numbers]))
    with pytest.warns(UserWarning, match="whole numbers alone in 'b'"):
        data.load_table(file)
    file.write_text("a,b\n")
    with pytest.raises(ValueError, match="has no rows"):
        data.load_table(file)
    file.write_text("a;b\n1,5;2\n")
    with pytest.raises(ValueError, match="has commas between its values"):
        data.load_table(file)


def test_image_folders_are_read_cropped_and_split(tmp_path):
    generator = np.random.default_rng(0)
    (tmp_path / "deeper").mkdir()
    for i in range(12):
        pixels = generator.integers(0, 256, (6, 8, 3)).astype("uint8")
        Image.fromarray(pixels).save(tmp_path / ("deeper" if i % 2 else "") / f"{i}.png")
    assert data.load_images(tmp_path).event_shape == (6, 8, 3)
    splits = data.load_images(tmp_path, size=4)
    assert splits.event_shape == (4, 4, 3)
    assert splits.train.dtype == np.uint8
    assert splits.levels == 256
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 12

    Image.fromarray(pixels[:4]).save(tmp_path / "other.png")
    with pytest.raises(ValueError, match="differ in size"):
        data.load_images(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(ValueError, match=r"broken\.png is not a readable image"):
        data.load_images(tmp_path, size=4)


def test_grey_folders_have_one_channel(tmp_path):
    for i in range(10):
        Image.fromarray(np.full((4, 4), i, "uint8")).save(tmp_path / f"{i}.png")
    splits = data.load_images(tmp_path)
    assert splits.event_shape == (4, 4, 1)
    with pytest.raises(ValueError, match="no folder"):
        data.load_images(tmp_path / "nothing")
    Image.new("RGB", (4, 4), (200, 0, 0)).save(tmp_path / "colour.png")
    with pytest.warns(UserWarning, match="10 of 11 images .* are grey"):
        assert data.load_images(tmp_path).event_shape == (4, 4, 3)


def test_black_and_white_folders_are_told_of_two_levels(tmp_path):
    for i in range(10):
        Image.fromarray(np.uint8([[0, 255], [255 * (i % 2), 0]])).save(tmp_path / f"{i}.png")
    with pytest.warns(UserWarning, match="black and white alone"):
        assert data.load_images(tmp_path).levels == 256
    splits = data.load_images(tmp_path, levels=2)
    assert splits.levels == 2
    assert set(np.unique(splits.train)) == {0, 1}
    with pytest.raises(ValueError, match="`levels` of images in files must be one of 2, 4"):
        data.load_images(tmp_path, levels=3)


def test_images_of_fewer_levels(tmp_path):
    for i in range(16):
        Image.fromarray(np.full((2, 2), 16 * i + 5, "uint8")).save(tmp_path / f"{i:02}.png")
    splits = data.load_images(tmp_path, levels=16)
    found = np.concatenate([splits.train, splits.validation, splits.test])[:, 0, 0, 0]
    assert sorted(found) == list(range(16))


def test_damaged_images_are_refused_or_left_out_and_counted(tmp_path):
    for i in range(12):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / f"{i:02}.png")
    whole = (tmp_path / "05.png").read_bytes()
    (tmp_path / "05.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "07.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"05\.png is not a readable image"):
        data.load_images(tmp_path)
    with pytest.warns(UserWarning, match=r"2 of 12 images .* the first is 05\.png"):
        splits = data.load_images(tmp_path, skip_bad=True)
    together = np.concatenate([splits.train, splits.validation, splits.test])
    assert sorted(together[:, 0, 0, 0]) == [0, 1, 2, 3, 4, 6, 8, 9, 10, 11]


def test_a_folder_of_damaged_images_alone_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="all 1 are damaged"):
        data.load_images(tmp_path, skip_bad=True)


def test_bad_rows_of_a_table_are_left_out_and_counted(tmp_path, rows):
    rows[[3, 8], [1, 0]] = np.nan, np.inf
    table = write(tmp_path / "holes.csv", rows)
    with pytest.warns(UserWarning, match=r"2 of 20 rows of .* the first is row 4"):
        splits = data.load_table(table, skip_bad=True)
    assert sum(len(part) for part in (splits.train, splits.validation, splits.test)) == 18
    assert np.isfinite(splits.train).all()


@pytest.mark.parametrize("name", ["table.npy", "table.npz", "table.parquet"])
def test_truncated_tables_are_refused(tmp_path, rows, name):
    table = write(tmp_path / name, rows)
    table.write_bytes(table.read_bytes()[:60])
    with pytest.raises(ValueError, match="cannot be read as a table"):
        data.load_table(table)


def test_a_table_is_never_unpickled(tmp_path):
    np.save(tmp_path / "table.npy", np.array([[print, print]]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"cannot be read as a table: .*allow_pickle=False"):
        data.load_table(tmp_path / "table.npy")


def test_an_archive_of_several_arrays_is_refused(tmp_path, rows):
    file = tmp_path / "several.npz"
    np.savez(file, train=rows, test=rows)
    with pytest.raises(ValueError, match=r"one array, or `train`.*arrays: train, test"):
        data.load_table(file)
    np.savez(file, only=rows)
    assert data.load_table(file).event_shape == rows.shape[1:]


def test_texts_among_numbers_are_named_or_left_out(tmp_path):
    file = tmp_path / "mixed.csv"
    lines = [f"{i / 7},{'?' if i in (3, 5) else i / 3}" for i in range(20)]
    file.write_text("\n".join(["a,b", *lines]))
    with pytest.raises(ValueError, match=r"'b' holds no numbers in 2 of 20 rows, .*row 4: '\?'"):
        data.load_table(file)
    with pytest.warns(UserWarning, match="2 of 20 rows .* the first is row 4"):
        splits = data.load_table(file, skip_bad=True)
    rows = np.concatenate([splits.train, splits.validation, splits.test])
    assert len(rows) == 18
    np.testing.assert_allclose(7 * rows[:, 0], 3 * rows[:, 1], rtol=1e-5)


def test_a_column_named_twice_is_refused(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("a,b\n" + "1.5,2.5\n" * 20)
    with pytest.raises(ValueError, match="name 'a' more than once"):
        data.load_table(file, columns="a,a")
