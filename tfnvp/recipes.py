"""Named configurations: data, architecture, optimizer and schedule, with their source."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that determines a training run but its seed.

    Args:
      name: name on the command line.
      description: one line on what it is.
      dataset: name of the data set.
      model: "real_nvp" or "nice".
      options: arguments of the model's constructor besides shape and levels.
      epochs: most epochs; training stops earlier when validation no longer improves.
      batch_size: rows of a batch.
      learning_rate: peak of the schedule.
      warmup_epochs: epochs over which the learning rate rises to its peak; it then falls to zero
        along a cosine.
      weight_decay: decoupled weight decay (AdamW), or None.
      ema_momentum: of the moving average of weights that is evaluated and kept, or None.
      patience: epochs without a better validation loss after which training stops.
      source: where the configuration is from.
    """

    name: str
    description: str
    dataset: str
    model: str
    options: dict[str, Any]
    epochs: int
    batch_size: int
    learning_rate: float
    warmup_epochs: int = 0
    weight_decay: float | None = None
    ema_momentum: float | None = None
    patience: int = 50
    source: str = "tfnvp"

    def replace(self, **changes):
        """Returns the recipe with fields changed; `None` leaves a field as it is.

        Raises:
          ValueError: if a number is not positive.
        """
        changes = {key: value for key, value in changes.items() if value is not None}
        for key, value in changes.items():
            if isinstance(value, (int, float)) and not value > 0:
                raise ValueError(f"`{key}` must be positive. Received: {value}")
        return dataclasses.replace(self, **changes)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="realnvp-digits",
            description="Real NVP on scikit-learn's 8x8 digits: the default of `tfnvp train`",
            dataset="digits",
            model="real_nvp",
            options={"logit_alpha": 0.05, "dropout": 0.2},
            epochs=300,
            batch_size=256,
            learning_rate=1e-3,
        ),
        Recipe(
            name="nice-digits",
            description="NICE on scikit-learn's 8x8 digits",
            dataset="digits",
            model="nice",
            options={"logit_alpha": 0.05, "base": "logistic", "hidden_units": (256, 256)},
            epochs=300,
            batch_size=256,
            learning_rate=1e-3,
        ),
    )
}


def get(name):
    """Returns a recipe by its name.

    Raises:
      ValueError: if there is none of that name.
    """
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}: choose one of {', '.join(sorted(RECIPES))}")
    return RECIPES[name]
