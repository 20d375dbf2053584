"""One flow, asked by several threads at once, also while it is still being compiled."""

import concurrent.futures

import numpy as np

import tfnvp
from tests.conftest import perturb


def ask(flow, i, x, condition):
    """What a thread asks, with one of two numbers of rows."""
    x = x[i : i + 3 + i % 2]
    z = flow.encode(x, condition)
    drawn = flow.sample(2, seed=i, condition=condition)
    return [flow.log_prob(x, condition), z, flow.decode(z, condition), drawn]


def test_threads_get_the_answers_of_one(moons):
    flow = perturb(tfnvp.RealNVP(2, couplings=2, hidden_units=(8,), condition_shape=1), 0.1)
    twin = type(flow).from_config(flow.get_config())
    twin.set_weights(flow.get_weights())
    condition = np.ones((1,), "float32")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: ask(flow, i, moons, condition), range(24)))
    for i, answer in enumerate(answers):
        for one, other in zip(answer, ask(twin, i, moons, condition), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_threads_ask_the_distribution_eagerly(moons):
    flow = perturb(tfnvp.RealNVP(2, couplings=2, hidden_units=(8,)), 0.1)
    expected = flow.log_prob(moons[:24]).numpy()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda i: flow.distribution.log_prob(moons[i : i + 1]), range(24))
        answers = np.concatenate([answer.numpy() for answer in answers])
    np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-4)
