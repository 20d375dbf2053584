"""Imports TensorFlow without the lines that its C++ side writes before any logging is set up."""

import contextlib
import os
import sys
import tempfile


@contextlib.contextmanager
def _stderr_held_back():
    """Sends the process's standard error to a file, shown only if something fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held, os.fdopen(os.dup(2), "wb") as stderr:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            stderr.write(held.read())
            raise
        finally:
            stderr.flush()
            os.dup2(stderr.fileno(), 2)


def import_tensorflow():
    """Imports TensorFlow, and lets it look for its devices, silently."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _stderr_held_back():
        import tensorflow as tf

        import tfnvp.flows  # noqa: F401  (its dependencies have their say too)

        # A strategy of several workers must be made before anything looks at devices.
        if "TF_CONFIG" not in os.environ:
            tf.zeros(())
