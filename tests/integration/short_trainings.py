"""Small flows and trainings of one epoch, for programs that are tried and not measured."""

import contextlib
import functools

import pytest

import tfnvp
from tests.conftest import functions_eager
from tfnvp.runs import any_table

# The most that a flow gets of what takes time to trace.
SMALL = {"couplings": 2, "residual_blocks": 1, "base_filters": 4, "bins": 3}


@contextlib.contextmanager
def short_trainings(signatures=None, epochs=1, eagerly=True):
    """Within it, `fit` takes few epochs or steps, for which XLA takes longer than it saves.

    Args:
      signatures: names; the signatures of exports that name none. Default: all.
      epochs: most epochs of a `fit`.
      eagerly: bool, whether nothing is traced but exports: that takes longer than a few steps.
    """
    fit, compile_, export = tfnvp.Flow.fit, tfnvp.Flow.compile, tfnvp.Flow.export

    @functools.wraps(fit)
    def short_fit(flow, *args, **kwargs):
        most = kwargs.get("initial_epoch", 0) + epochs
        return fit(flow, *args, **{**kwargs, "epochs": min(kwargs.get("epochs", 1), most)})

    @functools.wraps(compile_)
    def compile_without_xla(flow, *args, **kwargs):
        return compile_(flow, *args, **{"jit_compile": False, **kwargs})

    @functools.wraps(export)
    def export_few(flow, path, **kwargs):
        kwargs["signatures"] = kwargs.get("signatures") or signatures
        with functions_eager(False):
            return export(flow, path, **kwargs)

    with pytest.MonkeyPatch.context() as patch, functions_eager(eagerly):
        patch.setattr(tfnvp.Flow, "fit", short_fit)
        patch.setattr(tfnvp.Flow, "compile", compile_without_xla)
        patch.setattr(tfnvp.Flow, "export", export_few)
        patch.setattr(any_table, "steps_for", lambda *shape: epochs)
        yield


@contextlib.contextmanager
def small_flows():
    """Within it, flows have few couplings."""

    def small(kind, defaults):
        @functools.wraps(kind)
        def make(*args, **kwargs):
            wanted = {**defaults, **kwargs}
            for name in wanted.keys() & SMALL:
                wanted[name] = min(wanted[name], SMALL[name])
            return kind(*args, **wanted)

        return make

    with pytest.MonkeyPatch.context() as patch:
        for name, defaults in {
            "NICE": {"couplings": 2, "hidden_units": (16,)},
            "RealNVP": {"couplings": 2},
            "NeuralSplineFlow": {"couplings": 2, "bins": 3},
            "ImageRealNVP": {"residual_blocks": 1, "base_filters": 4},
        }.items():
            patch.setattr(tfnvp, name, small(getattr(tfnvp, name), defaults))
        yield
