"""How a flow is saved in one `.keras` file, with the states of its random generators."""

import os
import pathlib
import tempfile
from typing import Any

import keras

from tfnvp import _internals, advice
from tfnvp.flows.serialization import check_keras_objects, deserialize, serialize

# Under these names, with a number, the states of random generators are saved.
_RANDOM_STATE = "random_state_"


class SavedFlow(keras.Model):
    """The saving and loading of `Flow`."""

    #: The Keras layer of conditions that all couplings share, or None.
    condition_network = None

    def save(self, filepath: Any, overwrite: bool = True, *args, **kwargs) -> None:
        """Saves weights, configuration and optimizer, with the arguments of `keras.Model.save`.

        Keras ignores `include_optimizer` for its format, which this is under all names.

        A name that ends in `.h5`, which tools such as MLflow choose, gives a warning: the file is
        in the format of `.keras`, and loads under a name that ends so.

        Raises:
          ValueError: for a name of another ending.
            Also if two different networks share a layer, which Keras would load as two layers.
          TypeError: for bijectors of classes of your own that are not registered with Keras.
        """
        path = pathlib.Path(filepath)
        if path.suffix == ".h5":
            if not overwrite and path.exists() and not _internals.may_overwrite(path):
                return
            advice.warn_of_hdf5(path)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                file = pathlib.Path(folder, "flow.keras")
                self.save(file, True, *args, **kwargs)
                os.replace(file, path)
            return
        if path.suffix != ".keras":
            raise ValueError(
                f"a flow is saved in a file whose name ends in .keras. Received: {filepath}"
            )
        # Fails for what cannot be saved before it opens the file, which may hold another flow.
        self.get_config()
        _refuse_shared_layers(self.keras_layers)
        super().save(filepath, overwrite, *args, **kwargs)

    def save_own_variables(self, store: Any) -> None:
        """Saves also the random states, which Keras leaves out: dropout continues from them."""
        super().save_own_variables(store)
        for name, state in self._random_states():
            store[name] = state.numpy()

    def load_own_variables(self, store: Any) -> None:
        stored = {name: store[name] for name in list(store.keys())}
        for name, state in self._random_states():
            if name in stored:
                state.assign(stored[name])
        super().load_own_variables(
            {name: value for name, value in stored.items() if not name.startswith(_RANDOM_STATE)}
        )

    def _random_states(self):
        weights = {id(v) for v in self.weights}
        states = [v for v in self.variables if id(v) not in weights]
        return [(f"{_RANDOM_STATE}{i}", state) for i, state in enumerate(states)]

    def compile_from_config(self, config: dict) -> None:
        """Compiles the flow as it was saved.

        Args:
          config: dict, of `get_compile_config`.

        Raises:
          ValueError: for a function of Keras that does more than compute.
        """
        check_keras_objects(config)
        super().compile_from_config(config)

    def get_config(self) -> dict:
        """Returns name and condition network, and what does not train though it could."""
        layers, variables = self._trainable_parts()
        frozen = {
            "layers": [i for i, layer in enumerate(layers) if not layer.trainable],
            "variables": [i for i, variable in enumerate(variables) if not variable.trainable],
        }
        config = {"name": self.name, "condition_network": serialize(self.condition_network)}
        return config | ({"frozen": frozen} if any(frozen.values()) else {})

    def _trainable_parts(self):
        """Returns all layers, outer before inner ones, and all variables that they can train."""
        layers = _internals.all_layers(self)
        return layers, [v for layer in layers for v in _internals.variables_to_train(layer)]

    @classmethod
    def from_config(cls, config: dict, custom_objects: Any = None) -> "SavedFlow":
        del custom_objects
        arguments = {key: deserialize(v) for key, v in config.items() if key != "frozen"}
        flow = cls(**arguments)
        if frozen := config.get("frozen"):
            # A layer hands its flag to its inner layers and variables, which come later.
            for name, parts in zip(("layers", "variables"), flow._trainable_parts(), strict=True):
                for i, part in enumerate(parts):
                    part.trainable = i not in frozen[name]
        return flow


def _refuse_shared_layers(networks):
    """Raises `ValueError` if a layer is inside of two networks."""
    holders = {}
    for i, network in enumerate(networks):
        for layer in _internals.all_layers(network):
            place = holders.setdefault(id(layer), i)
            if place != i:
                raise ValueError(
                    "a layer inside of two networks cannot be saved in a .keras file: use the same "
                    "network in both couplings, `flow.save_weights`, or `flow.export`. "
                    f"Received: {layer.name!r} in {networks[place].name!r} and {network.name!r}"
                )
