"""One flow, asked by several threads at once, also while it is still being compiled."""

import concurrent.futures

import numpy as np
import pytest

import tfnvp
from tests.conftest import perturb


@pytest.mark.parametrize("condition_shape", [None, 1])
def test_threads_get_the_answers_of_one(moons, condition_shape):
    flow = perturb(
        tfnvp.RealNVP(2, couplings=2, hidden_units=(8,), condition_shape=condition_shape), 0.1
    )
    condition = None if condition_shape is None else np.ones((1,), "float32")
    twin = type(flow).from_config(flow.get_config())
    twin.set_weights(flow.get_weights())

    def ask(model, i):
        x = moons[i : i + 10 + i % 3]
        z = model.encode(x, condition)
        return [
            model.log_prob(x, condition),
            z,
            model.decode(z, condition),
            model.sample(5, seed=i, condition=condition),
        ]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: ask(flow, i), range(64)))
    for i, answer in enumerate(answers):
        for one, other in zip(answer, ask(twin, i), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_threads_ask_the_distribution_eagerly(moons):
    flow = perturb(tfnvp.RealNVP(2, couplings=2, hidden_units=(8,)), 0.1)
    expected = flow.log_prob(moons[:64]).numpy()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda i: flow.distribution.log_prob(moons[i : i + 1]), range(64))
        answers = np.concatenate([answer.numpy() for answer in answers])
    np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-4)
