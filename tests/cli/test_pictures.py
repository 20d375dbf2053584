"""The commands that draw what a flow of images has learned."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

import tfnvp
from tests.command_line import run
from tests.conftest import perturb
from tfnvp import data
from tfnvp.cli.pictures import nearest_rows
from tfnvp.runs.folder import RunFolder


@pytest.mark.parametrize(
    ("command", "size"),
    [
        (["interpolate", "--rows", "3", "--columns", "4", "--corners", "0,1,2,3"], (4, 3)),
        (["inpaint", "-n", "2", "--steps", "5", "--mask", "left"], (2, 3)),
        (["reconstruct", "-n", "3"], (3, 2)),
        (["nearest", "-n", "2", "--neighbours", "3"], (4, 2)),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_pictures_have_their_rows_and_columns(trained, capsys, command, size):
    name, *options = command
    assert run(name, trained.run.path, *options, "--output", "picture.png", "--json") == 0
    columns, rows = size
    assert Image.open("picture.png").size == (8 * (9 * columns + 1), 8 * (9 * rows + 1))
    found = json.loads(capsys.readouterr().out)
    assert found["output"] == "picture.png"
    assert (name == "reconstruct") == (0 < found.get("largest_error", 0) < 1e-3)


def test_the_corners_of_an_interpolation_are_the_images(trained):
    assert run("interpolate", trained.run.model, "--corners", "5,6,7,8", "-o", "four.png") == 0
    pixels = np.asarray(Image.open("four.png"))[4::8, 4::8] / 255
    corners = [pixels[1:9, 1:9], pixels[1:9, -9:-1], pixels[-9:-1, 1:9], pixels[-9:-1, -9:-1]]
    test = data.load_digits().test[5:9] / 17
    # Within the noise of dequantization, and the smoothing of the picture.
    assert np.abs(np.stack(corners) - test).max() < 0.2


@pytest.fixture
def photos():
    """A folder of two pictures of other sizes than the digits, one in colour."""
    folder = pathlib.Path("photos")
    folder.mkdir()
    Image.fromarray(np.repeat(np.uint8([[0, 255]]), 20, axis=0).repeat(30, axis=1)).save(
        folder / "b.jpg"
    )
    Image.new("RGB", (9, 30), "white").save(folder / "a.png")
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ("interpolate", "--corners", "0,1,1,0", "--rows", 2, "--columns", 2),
        ("inpaint", "--steps", 2),
        ("reconstruct",),
    ],
    ids=lambda command: command[0],
)
def test_pictures_of_any_images_have_the_size_of_the_model(trained, photos, capsys, command):
    name, *options = command
    assert run(name, trained.run.path, "--images", photos, *options, "-o", "picture.png") == 0
    error = capsys.readouterr().err
    assert "2 of 2 images in photos are of another size" in error
    assert "1 of 2 images in photos are in colour, and become grey; the first is a.png" in error
    pixels = np.asarray(Image.open("picture.png"))
    if name == "interpolate":
        # The files in order: white, then black beside white.
        assert (pixels[10:70, 10:70] > 200).all()
        assert (pixels[10:70, 90:105] < 60).all()


def test_four_images_are_needed_for_corners_that_are_not_given(trained, photos, capsys):
    assert run("interpolate", trained.run.path, "--images", photos) == 2
    assert (
        "or `--corners` that repeat some, such as 0,0,1,1. Received: 2" in capsys.readouterr().err
    )


@pytest.mark.usefixtures("eagerly")
def test_scales_of_a_folder_of_images_are_drawn(scans):
    flow = tfnvp.ImageRealNVP((4, 4, 1), scales=2, base_filters=2, residual_blocks=1, levels=2)
    perturb(flow, 0.1).save("scales.keras")
    assert run("hierarchy", "scales.keras", "--images", scans, "-n", 2) == 0
    assert Image.open("hierarchy.png").size == (16 * 11, 16 * 11)


def test_pictures_have_the_grey_levels_of_the_data(scans_run):
    assert run("reconstruct", scans_run.path, "-n", 2, "--output", "picture.png") == 0
    assert set(np.unique(Image.open("picture.png"))) == {0, 255}


def test_images_that_changed_since_the_training_are_refused(scans_run, scans, capsys):
    made = RunFolder(shutil.copytree(scans_run.path, "made"))
    made.write_config({**made.config(), "data_crc32": 1})
    for command in ("reconstruct", "nearest", "evaluate"):
        assert run(command, "made") == 2
        assert "is no longer the data that made was trained on" in capsys.readouterr().err
    assert run("evaluate", "made", "--all-rows", "--draws", 1, "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 20
    # Other data, as far as anybody knows.
    assert run("reconstruct", "made", "--images", scans, "-n", 2) == 0


def test_a_flow_of_records_has_pictures(scans, capsys):
    assert run("records", "streamed", "--images", scans, "--levels", 2) == 0
    flow = tfnvp.RealNVP((4, 4, 1), couplings=2, hidden_units=(4,), levels=2)
    made = RunFolder("made")
    made.path.mkdir()
    made.save_model(flow)
    assert run("nearest", "made", "--records", "streamed", "-n", 2, "--neighbours", 3) == 0
    # Not yet a run folder: it has no configuration.
    assert pathlib.Path("nearest.png").is_file()
    made.write_config({"dataset": "scans", "source_of_data": {"records": "streamed"}})
    assert run("nearest", "made", "-n", 2, "--neighbours", 3, "--output", "again.png") == 0
    assert Image.open("nearest.png").size == Image.open("again.png").size
    capsys.readouterr()
    assert run("evaluate", "made", "--split", "train") == 2
    assert "training rows of records are streamed" in capsys.readouterr().err


def test_nearest_rows_are_found_piece_by_piece():
    generator = np.random.default_rng(0)
    points, rows = generator.normal(size=(3, 2, 2)), generator.normal(size=(20, 2, 2))
    distances = np.square(points[:, None] - rows).sum(axis=(2, 3))
    expected = rows[np.argsort(distances, axis=1)[:, :4]]
    pieces = (rows[:2], rows[2:9], rows[9:])
    np.testing.assert_array_equal(nearest_rows(points, pieces, 4), expected)
    with pytest.raises(ValueError, match="21 neighbours need as many images"):
        nearest_rows(points, pieces, 21)
