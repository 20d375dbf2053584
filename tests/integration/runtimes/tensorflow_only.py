"""Runs SavedModels where Python has TensorFlow and nothing of ours: FOLDER.

For every FOLDER/NAME.npz, which holds arrays named SIGNATURE/INPUT, writes FOLDER/NAME-python.npz
by TensorFlow's Python loader, and FOLDER/NAME-session.npz by its C++ loader, in a Session. Eight
threads ask the Session at once; it fails unless all get the same answers.
"""

import concurrent.futures
import importlib.abc
import importlib.machinery
import pathlib
import sys

OURS = ("tfnvp", "keras", "tf_keras", "tensorflow_probability")


class Blocked(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes the import of some packages fail, as if they were not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in OURS:
            # TensorFlow asks where Keras is, without importing it.
            return importlib.machinery.ModuleSpec(name, self, origin="nowhere/__init__.py")
        return None

    def create_module(self, spec):
        raise ModuleNotFoundError(spec.name)

    def exec_module(self, module):
        raise ModuleNotFoundError(module.__name__)


sys.meta_path.insert(0, Blocked())

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402


def by_signature(feeds):
    signatures = {}
    for name in feeds.files:
        signature, argument = name.split("/")
        signatures.setdefault(signature, {})[argument] = feeds[name]
    return signatures


for file in sorted(pathlib.Path(sys.argv[1]).glob("*.npz")):
    model, signatures = str(file.with_suffix("") / "1"), by_signature(np.load(file))

    loaded = tf.saved_model.load(model).signatures
    answers = {}
    for signature, arguments in signatures.items():
        tensors = {name: tf.constant(value) for name, value in arguments.items()}
        for name, value in loaded[signature](**tensors).items():
            answers[f"{signature}/{name}"] = value.numpy()
    np.savez(file.with_name(f"{file.stem}-python"), **answers)

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        definitions = tf.compat.v1.saved_model.load(session, ["serve"], model).signature_def

        def ask(_, session=session, definitions=definitions, signatures=signatures):
            answers = {}
            for signature, arguments in signatures.items():
                inputs, outputs = definitions[signature].inputs, definitions[signature].outputs
                values = session.run(
                    {name: tensor.name for name, tensor in outputs.items()},
                    {inputs[name].name: value for name, value in arguments.items()},
                )
                answers |= {f"{signature}/{name}": value for name, value in values.items()}
            return answers

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            first, *others = pool.map(ask, range(8))
        for name, value in first.items():
            for other in others:
                np.testing.assert_array_equal(other[name], value, name)
    np.savez(file.with_name(f"{file.stem}-session"), **first)

print("modules of ours:", [name for name in sys.modules if name.split(".")[0] in OURS])
