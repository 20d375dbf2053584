import warnings

import numpy as np
import pytest
from PIL import Image

from tfnvp import data


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
    with pytest.raises(ValueError, match="differ in size: give `size`"):
        data.load_images(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(ValueError, match=r"broken\.png is not a readable image"):
        data.load_images(tmp_path, size=4)


def test_the_current_folder_has_its_name(tmp_path, monkeypatch):
    (tmp_path / "faces.v2").mkdir()
    monkeypatch.chdir(tmp_path / "faces.v2")
    for i in range(10):
        Image.new("L", (4, 4), i).save(f"{i}.png")
    assert data.load_images(".").name == "faces.v2"


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


def test_black_and_white_images_get_advice(tmp_path):
    for i in range(10):
        Image.fromarray(np.uint8([[0, 255], [255 * (i % 2), 0]])).save(tmp_path / f"{i}.png")
    with pytest.warns(UserWarning, match="only black and white"):
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


def test_pieces_hold_the_images_of_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(data.images, "_ROWS", 5)
    for i in range(12):
        Image.new("RGB", (6, 4), (i, 0, 16 * i)).save(tmp_path / f"{i:02}.png")
    chunks, count = data.image_chunks(tmp_path, size=4, levels=16)
    chunks = list(chunks)
    assert count == 12
    assert [len(chunk) for chunk in chunks] == [5, 5, 2]
    whole = data.images.ImageFolder(tmp_path, size=4, levels=16).rows()
    np.testing.assert_array_equal(np.concatenate(chunks), whole)
    with pytest.raises(ValueError, match="`levels` of images in files"):
        data.image_chunks(tmp_path, levels=3)

    (tmp_path / "04.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"04\.png is not a readable image"):
        list(data.image_chunks(tmp_path)[0])
    with pytest.warns(UserWarning, match=r"1 of 12 images .* the first is 04\.png"):
        chunks, count = data.image_chunks(tmp_path, size=4, levels=16, skip_bad=True)
    np.testing.assert_array_equal(np.concatenate(list(chunks)), np.delete(whole, 4, axis=0))
    assert count == 11


def test_pieces_have_one_shape(tmp_path, monkeypatch):
    monkeypatch.setattr(data.images, "_ROWS", 2)
    for i in range(4):
        Image.new("L", (4, 4), i).save(tmp_path / f"{i}.png")
    Image.new("L", (5, 4), 0).save(tmp_path / "9.png")
    with pytest.raises(ValueError, match="differ in size: give `size`"):
        list(data.image_chunks(tmp_path)[0])
    for file in tmp_path.iterdir():
        file.write_bytes(b"")
    with pytest.raises(ValueError, match="all 5 are damaged"):
        data.image_chunks(tmp_path, skip_bad=True)


def mixed(folder):
    """A folder of images of which each needs something else."""
    for i in range(4):
        Image.new("L", (4, 4), i).save(folder / f"{i}.png")
    Image.new("RGB", (4, 8), (9, 9, 9)).save(folder / "9.png")
    Image.new("RGBA", (4, 4), (9, 9, 9, 0)).save(folder / "a.png")
    Image.fromarray(np.full((4, 4), 256, "uint16")).save(folder / "b.png")
    pages = [Image.new("L", (4, 4), i) for i in (50, 60)]
    pages[0].save(folder / "c.tif", save_all=True, append_images=pages[1:])
    Image.new("L", (1, 4), 70).save(folder / "d.png")
    (folder / "e.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("")
    return folder


@pytest.mark.parametrize("skip_bad", [False, True])
def test_pieces_say_what_the_whole_says_but_of_repeated_images(tmp_path, monkeypatch, skip_bad):
    monkeypatch.setattr(data.images, "_ROWS", 2)
    folder = mixed(tmp_path)
    if not skip_bad:
        (folder / "e.png").unlink()

    def rows_and_messages(read):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rows = read()
        texts = {str(warning.message).replace(f"{folder}", "F") for warning in caught}
        return rows, texts

    options = {"size": 4, "skip_bad": skip_bad, "background": "black"}
    whole, said = rows_and_messages(lambda: data.images.ImageFolder(folder, **options).rows())
    pieces, said_of_pieces = rows_and_messages(
        lambda: np.concatenate(list(data.image_chunks(folder, **options)[0]))
    )
    np.testing.assert_array_equal(pieces, whole)
    levels = [0, 1, 2, 3, 9, 0, 1, 50] + [70] * (not skip_bad)
    assert whole[:, 0, 0].tolist() == [[level] * 3 for level in levels]
    total = 10 if skip_bad else 9
    small = f"1 of {total} images in F are smaller than 4 x 4, and are "
    small += "left out" if skip_bad else "enlarged; `skip_bad` leaves them out"
    expected = [
        f"1 of {total + 1} files in F are not read, by their types (1 .txt); the first is "
        "notes.txt",
        f"{small}; the first is d.png",
        f"1 of {total} images in F hold several frames or pages, of which the first is read; the "
        "first is c.tif",
        f"1 of {total} images in F have 16 bits a channel, of which the upper 8 are read; the "
        "first is b.png",
        f"1 of {total} images in F are transparent, and lie on `background=black`; the first is "
        "a.png",
        f"{7 - skip_bad} of {total} images in F are grey, and become colour images; the first is "
        "0.png",
    ]
    if skip_bad:
        expected.append("1 of 10 images in F cannot be read, and are left out; the first is e.png")
    assert said_of_pieces == set(expected)
    repeated = f"2 of {total} images in F have the same pixels as an image before them; the first "
    assert said == {*expected, f"{repeated}is a.png"}


def test_black_and_white_is_said_once_all_pieces_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(data.images, "_ROWS", 2)
    for i in range(5):
        Image.new("1", (4, 4), i % 2).save(tmp_path / f"{i}.png")
    with pytest.warns(UserWarning, match="5 of 5 .* only black and white, among 256 levels"):
        list(data.image_chunks(tmp_path)[0])
    Image.new("L", (4, 4), 9).save(tmp_path / "4.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(data.image_chunks(tmp_path)[0])
        list(data.image_chunks(tmp_path, levels=2)[0])


def test_a_folder_of_small_images_alone_is_refused_with_skip_bad(tmp_path):
    Image.new("L", (1, 1), 9).save(tmp_path / "1.png")
    with pytest.raises(ValueError, match="all 1 are damaged or smaller than `size`"):
        data.images.ImageFolder(tmp_path, size=4, skip_bad=True).rows()


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3)])
def test_images_for_a_flow_have_its_shape_and_levels(tmp_path, shape):
    Image.new("L", (6, 4), 255).save(tmp_path / "a.png")
    Image.new("RGB", (9, 9), (0, 0, 0)).save(tmp_path / "b.png")
    images = data.images.ImageFolder(tmp_path, levels=17, event_shape=shape)
    converted = "1 of 2 .* a" if shape[-1] == 3 else "1 of 2 .* are in colour, and become grey.* b"
    with (
        pytest.warns(UserWarning, match=rf"{converted}"),
        pytest.warns(UserWarning, match=r"1 of 2 .* cropped and resized to 4 x 6; .* b\.png"),
    ):
        rows = images.rows()
    assert images.names == ["a.png", "b.png"]
    assert rows.shape == (2, *shape)
    assert [set(row.ravel().tolist()) for row in rows] == [{16}, {0}]
    with pytest.raises(ValueError, match=r"flow of 4 x 6 pixels must be that or left out.*: 8"):
        data.images.ImageFolder(tmp_path, size=8, event_shape=shape)


def test_other_shapes_and_levels_are_refused(tmp_path):
    Image.new("L", (4, 4), 9).save(tmp_path / "1.png")
    for shape in ((3,), (4, 4, 2), (4, 4, 3, 1)):
        with pytest.raises(ValueError, match="`event_shape` of images must be"):
            data.images.ImageFolder(tmp_path, event_shape=shape)
    for levels in (1, 257):
        with pytest.raises(ValueError, match="`levels` must be from 2 to 256"):
            data.images.ImageFolder(tmp_path, levels=levels)
