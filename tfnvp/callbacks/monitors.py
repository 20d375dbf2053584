"""Keras callbacks that measure or draw a flow in training, without an effect on its weights."""

import importlib.util
import os
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from scipy import stats

from tfnvp import plotting
from tfnvp.arguments import check_int
from tfnvp.evaluation import evaluate
from tfnvp.flows.diagnostics import judged_latents
from tfnvp.inputs.conversion import to_numbers
from tfnvp.quantization import MONITOR_NOISE, dequantize


class _EveryEpochs(keras.callbacks.Callback):
    """Calls `look(epoch)` after every `every` epochs, from the first one on."""

    #: Names of the logs that `look` returns.
    names = ()

    def __init__(self, every, condition=None):
        super().__init__()
        self.condition = condition
        check_int("every", every)
        self.every = every

    def on_train_begin(self, logs: dict | None = None) -> None:
        shape, name = self.model.condition_shape, type(self).__name__
        if shape is not None and self.condition is None:
            raise ValueError(f"{name} needs `condition=`, as the flow has condition_shape={shape}")
        if shape is None and self.condition is not None:
            raise ValueError(f"{name} has a `condition`, and the flow takes none")

    def look(self, epoch: int) -> dict[str, float] | None:
        """Returns a dictionary of logs, or None."""
        raise NotImplementedError

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        # Other callbacks expect the same logs after every epoch.
        found = self.look(epoch) if epoch % self.every == 0 else dict.fromkeys(self.names, np.nan)
        if logs is not None and found:
            logs.update(found)


class SampleGrid(_EveryEpochs):
    """Draws samples after epochs, always from the same latents: PNG files, TensorBoard, or both.

    Images become a grid, points in the plane a scatter plot.

    Args:
      folder: folder for `samples-0001.png` and so on, or None.
      log_dir: folder of TensorBoard's logs, or None. Needs the package `tensorboard`, which
        TensorFlow no longer installs.
      n: int, number of samples.
      every: int, epochs between pictures, from the first epoch on.
      seed: int, seed of the latents.
      temperature: as for `flow.sample`.
      condition: as for `flow.sample`, for conditional flows.

    Raises:
      ValueError: if neither `folder` nor `log_dir` is given; in `fit`, for a flow whose data
        points are neither images nor points in the plane.
      ImportError: if `log_dir` is given and `tensorboard` is not installed.

    >>> import tempfile, numpy as np, tfnvp
    >>> folder = tempfile.mkdtemp()
    >>> flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    >>> flow.compile("adam")
    >>> grid = tfnvp.callbacks.SampleGrid(folder, n=100, every=2)
    >>> x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    >>> history = flow.fit(x, epochs=3, callbacks=[grid], verbose=0)
    >>> sorted(file.name for file in pathlib.Path(folder).iterdir())
    ['samples-0001.png', 'samples-0003.png']
    """

    def __init__(
        self,
        folder: str | os.PathLike | None = None,
        log_dir: str | os.PathLike | None = None,
        n: int = 64,
        every: int = 1,
        seed: int | Sequence[int] = 0,
        temperature: float = 1.0,
        condition: npt.ArrayLike | None = None,
    ):
        super().__init__(every, condition)
        if folder is None and log_dir is None:
            raise ValueError("`folder` or `log_dir` must be given. Received: neither")
        if log_dir is not None and importlib.util.find_spec("tensorboard") is None:
            raise ImportError("`log_dir` needs the package tensorboard: `pip install tensorboard`")
        self.folder = None if folder is None else pathlib.Path(folder)
        self.log_dir = log_dir
        self._sampling = {"n": n, "seed": seed, "temperature": temperature, "condition": condition}
        self._writer = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        super().on_train_begin(logs)
        shape = self.model.event_shape
        if not plotting.has_picture(shape):
            raise ValueError(
                "SampleGrid draws images [H, W], [H, W, 1], [H, W, 3] and points [2]. "
                f"Received: a flow of shape {shape}"
            )
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        if self.log_dir is not None:
            self._writer = tf.summary.create_file_writer(str(self.log_dir))

    def look(self, epoch: int) -> None:
        """Draws one picture."""
        picture = plotting.samples_picture(self.model.sample(**self._sampling), self.model.levels)
        if self.folder is not None:
            picture.save(self.folder / f"samples-{epoch + 1:04d}.png")
        if self._writer is not None:
            pixels = np.asarray(picture.convert("RGB"))[np.newaxis]
            with self._writer.as_default():
                tf.summary.image("samples", pixels, step=epoch)
            self._writer.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        if self._writer is not None:
            self._writer.close()


class BitsPerDim(_EveryEpochs):
    """Logs bits per dimension of held-out data over several draws of noise, with standard error.

    The metric `bits_per_dim` of `fit` uses one draw of noise for each image, and of training data
    dropout and weights that change during the epoch. This callback gives the figure to report, by
    `tfnvp.evaluation.evaluate`.

    Args:
      x: `[n, *event_shape]`, whole grey levels.
      draws: int, draws of noise for each image, the same after every epoch.
      every: int, epochs between measurements, from the first epoch on; the logs of the other epochs
        are NaN.
      name: the logs are `NAME_bits_per_dim` and `NAME_bits_per_dim_standard_error`.
      condition: as for `flow.log_prob`, for conditional flows.

    Raises:
      ValueError: in `fit`, for a flow without grey levels.

    >>> import tfnvp
    >>> digits = tfnvp.data.load_digits()
    >>> flow = tfnvp.RealNVP((8, 8), couplings=2, hidden_units=(8,), levels=17)
    >>> flow.compile("adam")
    >>> held_out = tfnvp.callbacks.BitsPerDim(digits.validation)
    >>> x = tfnvp.data.dequantize(digits.train, 17, seed=(0, 0))
    >>> history = flow.fit(x, epochs=1, callbacks=[held_out], verbose=0).history
    >>> "held_out_bits_per_dim" in history
    True
    """

    def __init__(
        self,
        x: npt.ArrayLike,
        draws: int = 5,
        every: int = 1,
        name: str = "held_out",
        condition: npt.ArrayLike | None = None,
    ):
        super().__init__(every, condition)
        self.x = np.asanyarray(to_numbers(x))
        self.draws = draws
        self.names = (f"{name}_bits_per_dim", f"{name}_bits_per_dim_standard_error")

    def on_train_begin(self, logs: dict | None = None) -> None:
        super().on_train_begin(logs)
        if self.model.levels is None:
            raise ValueError("BitsPerDim needs a flow made with `levels`. Received: None")

    def look(self, epoch: int) -> dict[str, float]:
        """Measures once."""
        found = evaluate(self.model, self.x, self.draws, condition=self.condition)
        numbers = (found.bits_per_dim, found.bits_per_dim_standard_error)
        return dict(zip(self.names, numbers, strict=True))


class LatentDiagnostics(_EveryEpochs):
    """Logs how close the latents of held-out data are to the base, and how exact inverses are.

    | log | for a perfect fit with the base "normal" |
    |---|---|
    | `latent_mean`, `latent_std`, `latent_kurtosis` of all latents together (excess) | 0, 1, 0 |
    | `latent_mean_deviation`, `latent_covariance_deviation`, the largest over all variables | 0 |
    | `round_trip_max`, the largest `|decode(encode(x)) - x|` | below 1e-4 |

    Args:
      x: `[n, *event_shape]`, two points or more; whole grey levels get the same noise each time.
        Rows of density 0 are left out.
      condition: as for `flow.log_prob`.
      every: int, epochs between measurements, from the first epoch on; the logs of the other epochs
        are NaN.

    >>> import numpy as np, tfnvp
    >>> flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    >>> flow.compile("adam")
    >>> x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    >>> diagnostics = tfnvp.callbacks.LatentDiagnostics(x)
    >>> logs = flow.fit(x, callbacks=[diagnostics], verbose=0).history
    >>> round(logs["latent_std"][0], 1), logs["round_trip_max"][0] < 1e-4
    (1.0, True)
    """

    names = (
        "latent_mean",
        "latent_std",
        "latent_kurtosis",
        "latent_mean_deviation",
        "latent_covariance_deviation",
        "round_trip_max",
    )

    def __init__(self, x: npt.ArrayLike, condition: npt.ArrayLike | None = None, every: int = 1):
        super().__init__(every, condition)
        self.x = np.asanyarray(to_numbers(x))

    def look(self, epoch: int) -> dict[str, float]:
        """Measures once."""
        x = self.x
        if x.dtype.kind in "iu" and self.model.levels is not None:
            x = dequantize(x, self.model.levels, seed=(MONITOR_NOISE, 0)).numpy()
        z = judged_latents(self.model, x, self.condition)[0].astype("float64")
        found = self.model.check(x, self.condition)
        moments = (z.mean(), z.std(), stats.kurtosis(z, axis=None))
        numbers = (*moments, *(getattr(found, name) for name in self.names[3:]))
        return dict(zip(self.names, map(float, numbers), strict=True))
