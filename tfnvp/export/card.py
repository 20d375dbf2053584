"""The two descriptions beside an exported model: one for programs, one for people."""

import hashlib
import html
import json
import pathlib
from collections.abc import Mapping

import jinja2
import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfnvp._atomic import json_text, read_json, reading
from tfnvp._version import __version__
from tfnvp.export.signatures import Signature

SIGNATURE_FILE = "signature.json"
CARD_FILE = "model_card.md"

# Headings of what the export itself says.
_FLOW, _VERSIONS = "Flow", "Versions"
_RESERVED = (_FLOW, _VERSIONS, "Signatures", "SHA-256")


def _plain(value):
    """Returns a value as Markdown that shows its text, in a paragraph or a cell of a table."""
    text = html.escape(str(value), quote=False).replace("|", "&#124;")
    return "<br>".join(text.splitlines())


_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("tfnvp.export", "."),
    trim_blocks=True,
    keep_trailing_newline=True,
    finalize=_plain,
)


def check(card: Mapping | None) -> None:
    """Raises unless a card can be written.

    Args:
      card: as for `write`.

    Raises:
      TypeError: if it is not a mapping, or holds what JSON cannot express.
      ValueError: for a heading that the export itself uses.
    """
    if card is None:
        return
    if not isinstance(card, Mapping):
        raise TypeError(f"`card` must be a mapping of headings to contents. Received: {card!r}")
    if taken := [heading for heading in card if heading in _RESERVED]:
        raise ValueError(
            f"`card` must have other headings than {', '.join(_RESERVED)}, which the export "
            f"writes. Received: {', '.join(taken)}"
        )
    try:
        json_text(dict(card))
    except TypeError as error:
        raise TypeError(
            f"`card` must hold texts, numbers, lists and mappings, as JSON does: {error}. "
            f"Received: {card!r}"
        ) from None


def write(
    folder: pathlib.Path,
    model: str,
    flow: keras.Model,
    signatures: Mapping[str, Signature],
    options: Mapping,
    card: Mapping | None,
    condition_range: bool = False,
) -> None:
    """Writes `signature.json` and `model_card.md` into a SavedModel; servers ignore both.

    Args:
      folder: the SavedModel, complete but for these files.
      model: name of the model.
      flow: the `tfnvp.Flow`.
      signatures: dictionary from names to `Signature`.
      options: `weights_dtype`, `jit_compile` and `max_samples` of the export.
      card: mapping of headings to texts or to mappings, or None, as `check` allows it.
      condition_range: bool, tell the smallest and largest conditions in training.
    """
    folder = pathlib.Path(folder)
    described = {
        "class": type(flow).__name__,
        **_shapes(flow),
        "base": flow.base if isinstance(flow.base, str) else flow.base.name,
        **({} if flow.angles is None else {"angles": flow.angles.tolist()}),
        "levels": flow.levels,
        **_condition_statistics(flow, condition_range),
        "parameters": flow.count_params(),
    }
    content = {
        "model": model,
        "flow": described,
        **options,
        "signatures": {name: _describe(signature) for name, signature in signatures.items()},
        "versions": {
            "tfnvp": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "tensorflow_probability": tfp.__version__,
        },
        "sha256": _checksums(folder),
        "card": dict(card or {}),
    }
    facts = {name.replace("_", " "): value for name, value in described.items()}
    facts |= {
        "weights stored as": options["weights_dtype"],
        "compiled by XLA": options["jit_compile"],
        "most samples of a request": options["max_samples"],
    }
    sections = {_FLOW: facts, **content["card"], _VERSIONS: content["versions"]}
    text = _TEMPLATES.get_template(CARD_FILE).render(content, sections=sections)
    (folder / SIGNATURE_FILE).write_text(json_text(content) + "\n")
    (folder / CARD_FILE).write_text(text)


def changed_shapes(version: pathlib.Path, flow: keras.Model) -> dict:
    """Returns the shapes that differ between an exported version and a flow.

    Args:
      version: folder of a SavedModel; one without `signature.json` has no known shapes.
      flow: the `tfnvp.Flow` to be exported next.

    Returns:
      dictionary of names of shapes to pairs `(in the version, of the flow)`.
    """
    file = pathlib.Path(version) / SIGNATURE_FILE
    if not file.is_file():
        return {}
    now = json.loads(json.dumps(_shapes(flow)))
    with reading(file):
        before = read_json(file)["flow"]
        return {name: (before[name], now[name]) for name in now if before[name] != now[name]}


def _shapes(flow):
    names = ("event_shape", "latent_shape", "condition_shape")
    return {name: getattr(flow, name) for name in names}


def _condition_statistics(flow, with_range):
    """Returns mean and spread of the conditions in training, which tell clients their units."""
    if flow.condition_scale.seen() is None:
        return {}
    figures = flow.condition_scale.figures()
    names = [*figures] if with_range else ["mean", "standard_deviation"]
    return {
        f"condition_{name}": tf.nest.map_structure(np.ndarray.tolist, figures[name])
        for name in names
    }


def _describe(signature):
    """Names, types and shapes of a signature's inputs and outputs; null is any number of rows."""
    outputs = signature.function.get_concrete_function(*signature.inputs).structured_outputs
    return {
        "inputs": {s.name: _type(s) for s in signature.inputs},
        "outputs": {name: _type(output) for name, output in outputs.items()},
        "server_side_batching": signature.has_rows,
    }


def _type(tensor):
    return {"dtype": tensor.dtype.name, "shape": tensor.shape.as_list()}


def _checksums(folder):
    """SHA-256 of every file of the model, as `sha256sum` prints it."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
