"""Trainings that end after two epochs, for programs that are tried and not measured."""

import contextlib
import functools

import pytest

import tfnvp


@contextlib.contextmanager
def short_trainings():
    """Two epochs are enough, and compiling would take longer than everything else."""
    fit, compile_ = tfnvp.Flow.fit, tfnvp.Flow.compile

    @functools.wraps(fit)
    def short_fit(flow, *args, epochs=1, **kwargs):
        return fit(flow, *args, epochs=kwargs.get("initial_epoch", 0) + min(epochs, 2), **kwargs)

    @functools.wraps(compile_)
    def compile_without_xla(flow, *args, **kwargs):
        return compile_(flow, *args, **{"jit_compile": False, **kwargs})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfnvp.Flow, "fit", short_fit)
        patch.setattr(tfnvp.Flow, "compile", compile_without_xla)
        yield
