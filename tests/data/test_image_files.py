"""Which files of a folder are images, and what is said of the others."""

import os
import warnings

import pytest

from tfnvp.data.image_files import image_files


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")


def found(folder, **options):
    return [str(path.relative_to(folder)) for path in image_files(folder, **options)]


def test_images_are_sorted_by_path_whatever_their_endings(tmp_path):
    names = ["a.TIF", "b/1.gif", "b/2.jpe", "c.jfif", "d.tiff", "e.webp", "f.Bmp"]
    make(tmp_path, *reversed(names))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found(tmp_path) == names


def test_hidden_files_and_thumbnails_are_ignored(tmp_path):
    folder = tmp_path / ".hidden"  # Only what lies in the folder is hidden.
    hidden = [".thumbnails/1.png", "__MACOSX/1.png", "a/@eaDir/1.jpg", ".ipynb_checkpoints/1.png"]
    make(folder, "1.png", "._1.png", "Thumbs.db", "a/desktop.ini", ".DS_Store", *hidden)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found(folder) == ["1.png"]


def test_other_files_are_counted_by_their_endings(tmp_path):
    make(tmp_path, "1.png", "notes.txt", "labels.txt", "2.HEIC", "README")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    message = (
        rf"5 of 6 files in {tmp_path} are not read, by their types \(2 \.txt, 1 .*\); "
        r"the first is 2\.HEIC"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        assert found(tmp_path) == ["1.png"]
    assert {"1 .heic", "1 without ending", "1 broken links or devices"} <= set(
        str(caught[0].message).split("(")[1].split(")")[0].split(", ")
    )
    (tmp_path / "1.png").unlink()
    with pytest.raises(ValueError, match=r"no images in .* end in \(.*\), and found 2 \.txt"):
        found(tmp_path)


def test_linked_folders_are_followed_once_and_only_if_asked_for(tmp_path):
    folder, other = tmp_path / "images", tmp_path / "other"
    make(folder, "1.png", "a/2.png")
    make(other, "3.png")
    (folder / "link.png").symlink_to(folder / "1.png")  # Links to files are files.
    (folder / "b").symlink_to(other)
    (folder / "a" / "loop").symlink_to(folder)
    (other / "back").symlink_to(folder / "a")
    own = ["1.png", "a/2.png", "link.png"]
    with pytest.warns(UserWarning, match="2 of 3 folders in .* are links, which `follow_links`"):
        assert found(folder) == own
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found(folder, follow_links=True) == sorted([*own, "b/3.png"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_folders_that_cannot_be_read_are_an_error(tmp_path):
    make(tmp_path, "1.png", "locked/2.png")
    (tmp_path / "locked").chmod(0)
    try:
        with pytest.raises(PermissionError, match="locked"):
            found(tmp_path)
    finally:
        (tmp_path / "locked").chmod(0o700)
