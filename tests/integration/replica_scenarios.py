"""Trainings that must end at the same weights in one process and in several replicas.

Run as
`python -m tests.integration.replica_scenarios none|mirrored|multi_worker RESULT.npz [NAME...]`.
"""

import os
import signal
import sys
import tempfile

import keras
import numpy as np
import tensorflow as tf

import tfnvp
from tfnvp.bijectors import ActNorm, AffineCoupling, BatchNormalization, Chain
from tfnvp.conditioners import MLP, ResidualCNN
from tfnvp.partitions import Checkerboard, Split

# 21 rows in batches of 8: the last batch has 5, which two replicas cannot share evenly.
ROWS = np.random.default_rng(0).normal(1.0, 2.0, size=(21, 3)).astype("float32")
CONDITIONS = np.random.default_rng(1).normal(size=(21, 2)).astype("float32")
IMAGES = np.random.default_rng(2).uniform(size=(9, 4, 4, 1)).astype("float32")
SMALL = {"couplings": 2, "hidden_units": (8,)}


def fit(
    make, x, y=None, optimizer=lambda: keras.optimizers.SGD(0.05), compile_options=None, **options
):
    keras.utils.set_random_seed(0)
    with STRATEGY.scope():
        flow = make()
        # In one process too: XLA takes longer to compile than these steps take.
        flow.compile(optimizer(), **(compile_options or {"jit_compile": False}))
    history = flow.fit(
        x, y, **{"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0, **options}
    ).history
    return [*flow.get_weights(), *(np.array(history[name]) for name in sorted(history))]


def dense(**options):
    return fit(lambda: tfnvp.RealNVP(3, **SMALL), ROWS, **options)


def clipped():
    # The norm of the gradient is above the limit, and directions differ between replicas.
    return dense(optimizer=lambda: keras.optimizers.SGD(0.5, global_clipnorm=0.1))


def averaged_weights():
    def optimizer():
        return keras.optimizers.AdamW(0.01, weight_decay=0.1, use_ema=True, ema_momentum=0.9)

    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    return dense(optimizer=optimizer, validation_data=(ROWS,), callbacks=[swap])


def orthogonal_steps():
    return dense(optimizer=lambda: tfnvp.optimizers.Muon(0.01))


def weighted():
    # With options that replicas must ignore.
    return dense(
        sample_weight=np.linspace(0.0, 2.0, len(ROWS)).astype("float32"),
        compile_options={"jit_compile": True, "steps_per_execution": 3},
    )


def conditional():
    inputs = {"x": ROWS, "condition": CONDITIONS}
    dataset = tf.data.Dataset.from_tensor_slices(inputs).batch(8)
    return fit(lambda: tfnvp.RealNVP(3, condition_shape=2, **SMALL), dataset, batch_size=None)


def image():
    # Nine images in batches of four: the last batch leaves a replica without any.
    def make():
        network = ResidualCNN(2, filters=2, blocks=1, parity=0)
        coupling = AffineCoupling(network, Checkerboard(), (4, 4, 1))
        return tfnvp.Flow(Chain([coupling, BatchNormalization((4, 4, 1))]), (4, 4, 1))

    return fit(make, IMAGES, batch_size=4)


def normalizations():
    def make():
        coupling = AffineCoupling(MLP(2, (8,)), Split(2), 3)
        return tfnvp.Flow(Chain([BatchNormalization(3), coupling, ActNorm(3)]), 3)

    return fit(make, ROWS)


def starts_from_different_rows():
    # The order and the noise of a worker's own rows must not change its initialisation.
    rows = ROWS + TASK
    return fit(
        lambda: tfnvp.NICE(3, **SMALL), rows, optimizer=lambda: keras.optimizers.SGD(0.0), epochs=1
    )[:-1]


def the_chief_decides():
    """The first worker's callbacks change the learning rate, the weights, and stop training."""

    def on_epoch_end(epoch, logs):
        flow = callback.model
        flow.optimizer.learning_rate = 0.01
        flow.trainable_variables[0].assign_add(tf.ones_like(flow.trainable_variables[0]))
        flow.stop_training = epoch == 1

    callback = keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)
    return dense(epochs=4, callbacks=[callback] if TASK == 0 else [])


def answers():
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as folder, STRATEGY.scope():
        tfnvp.RealNVP(3, **SMALL).save(f"{folder}/flow.keras")
        flow = keras.saving.load_model(f"{folder}/flow.keras")
        inside = flow.log_prob(ROWS)
    z = flow.encode(ROWS)
    return [inside, flow.log_prob(ROWS), z, flow.decode(z), flow.sample(3, seed=0)]


def dropout():
    # Masks differ between replicas and one process, so only the fall of the loss is compared.
    *weights, loss = fit(lambda: tfnvp.RealNVP(3, dropout=0.5, **SMALL), ROWS)
    return [all(np.isfinite(weight).all() for weight in weights) and bool(loss[1] < loss[0])]


def continued_after_a_loss():
    """Three epochs of Adam; with LOST_WORKER set, that worker dies at the beginning of the last."""

    class Die(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2 and os.environ.get("LOST_WORKER") == str(TASK):
                os.kill(os.getpid(), signal.SIGKILL)

    callbacks = [Die()]
    if "BACKUP" in os.environ and TASK == 0:
        callbacks.append(keras.callbacks.BackupAndRestore(os.environ["BACKUP"]))
    # Without the history, which begins where training continued.
    return fit(
        lambda: tfnvp.RealNVP(3, **SMALL),
        ROWS,
        optimizer=lambda: keras.optimizers.Adam(0.01),
        epochs=3,
        callbacks=callbacks,
    )[:-1]


SCENARIOS = {
    function.__name__: function
    for function in (
        clipped,
        averaged_weights,
        orthogonal_steps,
        weighted,
        conditional,
        image,
        normalizations,
        starts_from_different_rows,
        the_chief_decides,
        answers,
        dropout,
    )
}
# The last one is also run by itself, with a worker that is lost.
EVERY = SCENARIOS | {"continued_after_a_loss": continued_after_a_loss}

if __name__ == "__main__":
    kind, path, *names = sys.argv[1:]
    STRATEGY, TASK = tf.distribute.get_strategy(), 0
    if kind == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
        STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    elif kind == "multi_worker":
        STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()
        TASK = STRATEGY.cluster_resolver.task_id
    results = {
        f"{name}/{i}": np.asarray(array)
        for name in names or SCENARIOS
        for i, array in enumerate(EVERY[name]())
    }
    np.savez(path, **results)
