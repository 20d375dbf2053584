"""Keras' progress bar, where programs hold several batches."""

import numpy as np

import tfnvp


def test_the_bar_ends_where_the_batches_end(capsys):
    flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(4,))
    x = np.random.default_rng(0).normal(size=(28, 3)).astype("float32")
    flow.compile("adam", steps_per_execution=4, jit_compile=False)
    flow.fit(x, batch_size=4, verbose=1)
    flow.evaluate(x, batch_size=4)
    flow.predict(x, batch_size=4)
    shown = capsys.readouterr().out
    assert shown.count("7/7") >= 3
    assert "8/7" not in shown
    flow.fit(x, batch_size=4, verbose=0)
    flow.evaluate(x, batch_size=4, verbose=0)
    assert not capsys.readouterr().out
