"""What adaptors in JAX share: training by `lax.scan` or step by step, and compiled evaluation."""

import functools

import jax
import optax

from benchmarks.libraries.fastest import fastest, with_mode


def training(work, cell, parameters, loss):
    """Blocks of Adam steps on a `loss(parameters, x)`."""
    batches = jax.device_put(work.batches(cell))
    optimizer = optax.adam(1e-3)
    state = [parameters, optimizer.init(parameters)]

    def step(carry, x):
        parameters, moments = carry
        value, gradients = jax.value_and_grad(loss)(parameters, x)
        updates, moments = optimizer.update(gradients, moments)
        return (optax.apply_updates(parameters, updates), moments), value

    whole = jax.jit(lambda carry, xs: jax.lax.scan(step, carry, xs), donate_argnums=0)
    single = jax.jit(step, donate_argnums=0)

    def by_scan():
        state[:], _ = jax.block_until_ready(whole(tuple(state), batches))

    def by_steps():
        carry = tuple(state)
        for x in batches:
            carry, _ = single(carry, x)
        state[:] = jax.block_until_ready(carry)

    return fastest({"jit, scan": by_scan, "jit": by_steps})


def trained(parameters, log_prob, parts):
    """Takes an Adam step on every batch; after each part yields the log-density of rows."""
    optimizer = optax.adam(1e-3)

    def step(carry, x):
        parameters, moments = carry
        gradients = jax.grad(lambda parameters: -log_prob(parameters, x).mean())(parameters)
        updates, moments = optimizer.update(gradients, moments)
        return (optax.apply_updates(parameters, updates), moments), None

    run = jax.jit(lambda carry, xs: jax.lax.scan(step, carry, xs)[0])
    evaluate = jax.jit(log_prob)
    carry = (parameters, optimizer.init(parameters))
    for part in parts:
        carry = run(carry, part)
        yield functools.partial(evaluate, carry[0])


def log_prob(work, cell, parameters, log_prob):
    """Blocks of calls of `log_prob(parameters, x)`."""
    x = jax.device_put(work.rows(cell.batch))
    function = jax.jit(log_prob)

    def block():
        for _ in range(cell.steps):
            jax.block_until_ready(function(parameters, x))

    return with_mode(block, "jit")


def sampling(cell, parameters, sample):
    """Blocks of calls of `sample(parameters, key)`."""
    keys = list(jax.random.split(jax.random.key(0), cell.steps))
    function = jax.jit(sample)

    def block():
        for key in keys:
            jax.block_until_ready(function(parameters, key))

    return with_mode(block, "jit")
