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


def test_the_images_of_all_pieces_have_one_shape_and_mode(tmp_path, monkeypatch):
    monkeypatch.setattr(data.images, "_ROWS", 2)
    for i in range(4):
        Image.new("L", (4, 4), i).save(tmp_path / f"{i}.png")
    Image.new("RGB", (4, 4), (9, 9, 9)).save(tmp_path / "9.png")
    rows = np.concatenate(list(data.image_chunks(tmp_path)[0]))
    assert rows.shape == (5, 4, 4, 1)
    assert rows[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 9]
    Image.new("L", (5, 4), 0).save(tmp_path / "9.png")
    with pytest.raises(ValueError, match="differ in size: give `size`"):
        list(data.image_chunks(tmp_path)[0])
    for file in tmp_path.iterdir():
        file.write_bytes(b"")
    with pytest.raises(ValueError, match="all 5 are damaged"):
        data.image_chunks(tmp_path, skip_bad=True)
