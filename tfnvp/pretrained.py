"""Small trained flows that come with the package."""

import pathlib
from typing import TYPE_CHECKING

from tfnvp.arguments import check_one_of
from tfnvp.runs.folder import load_model

if TYPE_CHECKING:
    from tfnvp.flows import Flow

__all__ = ["PRETRAINED", "load_pretrained"]

FOLDER = pathlib.Path(__file__).parent / "pretrained_models"

#: Descriptions by name; `saved_models/NAME` in the repository is the same model, exported.
PRETRAINED = {
    "digits": "Real NVP on scikit-learn's 8x8 digits, recipe realnvp-digits",
    "digits-nice": "NICE on scikit-learn's 8x8 digits, recipe nice-digits",
    "mnist": "Real NVP with convolutions on MNIST, recipe realnvp-mnist-small",
    "mnist-modern": "Real NVP with gated networks on MNIST, recipe realnvp-mnist-modern, 20 epochs",
    "two-moons": "Real NVP on two moons in the plane, noise 0.05",
}

#: Names of their data sets, as in `tfnvp.data.load_named`; the two moons have none.
DATA = {
    "digits": "digits",
    "digits-nice": "digits",
    "mnist": "mnist",
    "mnist-modern": "mnist",
    "two-moons": None,
}


def load_pretrained(name: str) -> "Flow":
    """Loads a trained flow by its name, without a download.

    | name | data | shape |
    |---|---|---|
    | `digits` | scikit-learn's digits, Real NVP | `[8, 8]`, in [0, 1), 17 grey levels |
    | `digits-nice` | the same, NICE | `[8, 8]`, in [0, 1), 17 grey levels |
    | `mnist` | MNIST, convolutional Real NVP | `[28, 28, 1]`, in [0, 1), 256 grey levels |
    | `mnist-modern` | the same, gated networks and learned dequantization | the same |
    | `two-moons` | two moons, noise 0.05, Real NVP | `[2]` |

    How each was trained, and its test likelihood, is in `saved_models/NAME/1/model_card.md`.

    Args:
      name: one of the names above.

    Returns:
      `tfnvp.Flow`, not compiled; `compile` and `fit` train it further.

    Raises:
      ValueError: if the name is unknown.

    >>> import tfnvp
    >>> tfnvp.load_pretrained("digits").sample(2, seed=0).shape.as_list()
    [2, 8, 8]

    Source: tfnvp; `saved_models/train.py` makes them.
    """
    check_one_of("name", name, PRETRAINED)
    return load_model(file_of(name))


def data_of(path: pathlib.Path) -> str | None:
    """Returns the name of the data set of a model file, which is "digits" unless it is known."""
    return DATA[path.stem] if path.parent == FOLDER else "digits"


def file_of(name: str) -> pathlib.Path:
    """Returns the file of a flow that comes with the package."""
    return FOLDER / f"{name}.keras"
