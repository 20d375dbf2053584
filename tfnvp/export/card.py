"""The two files beside a model that say what it is: one for machines, one for people."""

import hashlib
import json
import pathlib
import warnings
from collections.abc import Mapping

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfnvp._version import __version__

MACHINES = "signature.json"
PEOPLE = "model_card.md"


def write(folder, model, flow, signatures, weights_dtype, jit_compile, card):
    """Writes `signature.json` and `model_card.md` into a SavedModel; servers ignore both.

    Args:
      folder: the SavedModel, complete but for these files.
      model: name of the model.
      flow: the `tfnvp.Flow`.
      signatures: dictionary from names to `Signature`.
      weights_dtype: type that kernels are stored in.
      jit_compile: bool, whether XLA compiles it.
      card: mapping of headings to texts or to mappings, or None.

    Raises:
      TypeError: if `card` holds what JSON cannot express.
    """
    folder = pathlib.Path(folder)
    content = {
        "model": model,
        "flow": {
            "class": type(flow).__name__,
            **_shapes(flow),
            "base": flow.base if isinstance(flow.base, str) else flow.base.name,
            "levels": flow.levels,
            **_conditions(flow),
            "parameters": flow.count_params(),
        },
        "weights_dtype": weights_dtype,
        "jit_compile": bool(jit_compile),
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
    (folder / MACHINES).write_text(json.dumps(content, indent=2) + "\n")
    (folder / PEOPLE).write_text(_markdown(content))


def _shapes(flow):
    names = ("event_shape", "latent_shape", "condition_shape")
    return {name: getattr(flow, name) for name in names}


def _conditions(flow):
    """Says in which units conditions go in: the model standardises them itself."""
    if flow.condition_scale.seen() is None:
        return {}
    figures = flow.condition_scale.figures()
    return {f"condition_{name}": values.tolist() for name, values in figures.items()}


def warn_of_other_shapes(version, flow):
    """Warns where a version that is there already has data of other shapes than a flow.

    Args:
      version: folder of a SavedModel; nothing is said of one without our card.
      flow: the `tfnvp.Flow` that is to follow it.
    """
    file = pathlib.Path(version) / MACHINES
    if not file.is_file():
        return
    before = json.loads(file.read_text())["flow"]
    now = json.loads(json.dumps(_shapes(flow)))
    changed = [
        f"{name} {before[name]}, now {value}"
        for name, value in now.items()
        if before[name] != value
    ]
    if changed:
        warnings.warn(
            f"{version} has other shapes: {'; '.join(changed)}. Clients of the model get the new "
            "version at once; another model belongs into a folder of its own",
            stacklevel=4,
        )


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
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def _markdown(content):
    lines = [f"# {content['model']}", ""]
    flow = {name.replace("_", " "): value for name, value in content["flow"].items()}
    storage = {
        "weights stored as": content["weights_dtype"],
        "compiled by XLA": content["jit_compile"],
    }
    sections = {"Flow": {**flow, **storage}, **content["card"], "Versions": content["versions"]}
    for heading, section in sections.items():
        lines += [f"## {heading}", "", *_section(section), ""]
    lines += ["## Signatures", "", "| signature | inputs | outputs |", "|---|---|---|"]
    for name, signature in content["signatures"].items():
        lines.append(
            f"| `{name}` | {_named(signature['inputs'])} | {_named(signature['outputs'])} |"
        )
    lines += ["", "## SHA-256", "", "```"]
    lines += [f"{checksum}  {file}" for file, checksum in content["sha256"].items()]
    return "\n".join([*lines, "```", ""])


def _section(section):
    if not isinstance(section, Mapping):
        return [str(section)]
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in section.items())]


def _named(tensors):
    return ", ".join(
        f"`{name}` {tensor['dtype']}"
        f"[{', '.join('batch' if size is None else str(size) for size in tensor['shape'])}]"
        for name, tensor in tensors.items()
    )
