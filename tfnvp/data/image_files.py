"""Which files of a folder are read as images, and what is said of the others."""

import collections
import os
import pathlib

from tfnvp.advice import warn_of_images

_ENDINGS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".tif", ".tiff", ".gif")

# Names that systems and programs give to folders of thumbnails and to files of their own, in small
# letters. Hidden names, such as `.thumbnails` and `.ipynb_checkpoints`, are ignored as well.
_OF_SYSTEMS = {
    "__macosx",
    "@eadir",
    "$recycle.bin",
    "lost+found",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
}


def image_files(folder: str | pathlib.Path, follow_links: bool = False) -> list[pathlib.Path]:
    """Returns the images in a folder and its sub-folders, in order, by the endings of their names.

    Hidden files and folders, and those of thumbnails, are ignored. A warning counts files of other
    types and links that are not followed.

    Args:
      folder: path of the folder.
      follow_links: bool, also look into folders that are symbolic links. Each is read once.

    Raises:
      ValueError: if there is no such folder, or no image in it.
      OSError: if a folder cannot be read.

    >>> import tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("b.png", "a.JPG", ".c.png"):
    ...     (folder / name).touch()
    >>> [file.name for file in image_files(folder)]
    ['a.JPG', 'b.png']
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise ValueError(f"no folder {folder}")
    images, others, folders, links = [], [], 0, []
    for path, is_folder in _paths(folder, follow_links):
        if is_folder:
            folders += 1
            links += [path] * (path.is_symlink() and not follow_links)
        elif path.suffix.lower() in _ENDINGS and path.is_file():
            images.append(path)
        else:
            others.append(path)
    kinds = collections.Counter(map(_kind, others))
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(8))
    if not images:
        found = f", and found {listed}" if others else ""
        raise ValueError(f"no images in {folder}: looked for files that end in {_ENDINGS}{found}")

    def say(of, total, what, paths):
        if paths:
            names = [str(path.relative_to(folder)) for path in sorted(paths)]
            warn_of_images(f"{of} {folder}", total, {what: names})

    say("files in", len(images + others), f"are not read, by their types ({listed})", others)
    say("folders in", folders, "are links, which `follow_links` follows", links)
    return sorted(images)


def _paths(folder, follow_links):
    """Yields what lies in a folder and its sub-folders, and whether it is a folder.

    What is hidden or of systems is left out.
    """

    def refuse(error):
        raise error

    seen = set()
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=follow_links):
        status = os.stat(place)
        if (key := (status.st_dev, status.st_ino)) in seen:
            folders.clear()
            continue
        seen.add(key)
        folders[:] = sorted(filter(_is_seen, folders))
        yield from ((pathlib.Path(place, name), True) for name in folders)
        yield from ((pathlib.Path(place, name), False) for name in files if _is_seen(name))


def _is_seen(name):
    return not name.startswith(".") and name.lower() not in _OF_SYSTEMS


def _kind(path):
    if not path.is_file():
        return "broken links or devices"
    return path.suffix.lower() or "without ending"
