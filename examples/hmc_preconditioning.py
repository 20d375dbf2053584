"""A flow as preconditioner of Hamiltonian Monte Carlo.

No fixed step size suits Neal's funnel: its neck is a thousand times narrower than its mouth. A
flow fitted to the funnel by variational inference maps it to nearly a normal, where the same
sampler works well: `tfp.mcmc.TransformedTransitionKernel` takes the flow's bijector.
"""

import argparse

import tensorflow as tf
import tensorflow_probability as tfp

import tfnvp

tfd = tfp.distributions


def funnel_log_prob(x):
    """x1 is normal with deviation 3, and x2 normal with log-variance x1."""
    x1, x2 = tf.unstack(x, axis=-1)
    return tfd.Normal(0.0, 3.0).log_prob(x1) + tfd.Normal(0.0, tf.exp(0.5 * x1)).log_prob(x2)


def effective_sample_size(start, draws, bijector=None):
    """Runs adapted HMC from `[chains, 2]` starts; returns the ESS of the worse coordinate."""
    kernel = tfp.mcmc.HamiltonianMonteCarlo(funnel_log_prob, step_size=0.5, num_leapfrog_steps=4)
    if bijector is not None:
        kernel = tfp.mcmc.TransformedTransitionKernel(kernel, bijector)
    kernel = tfp.mcmc.DualAveragingStepSizeAdaptation(
        kernel, num_adaptation_steps=draws // 2, target_accept_prob=0.8
    )

    @tf.function(autograph=False)
    def run():
        return tfp.mcmc.sample_chain(
            draws, start, kernel=kernel, num_burnin_steps=draws // 2, trace_fn=None, seed=(4, 5)
        )

    return float(tf.reduce_min(tfp.mcmc.effective_sample_size(run(), cross_chain_dims=1)))


def main(steps=1500, draws=500, chains=8):
    flow = tfnvp.RealNVP(2, couplings=4, hidden_units=(32, 32), scale="softclamp")
    tfp.vi.fit_surrogate_posterior(
        funnel_log_prob,
        flow.distribution,
        optimizer=tf.optimizers.Adam(0.005),
        num_steps=steps,
        sample_size=64,
        seed=(0, 1),
    )
    start = flow.sample(chains, seed=2)
    before = effective_sample_size(start, draws)
    after = effective_sample_size(start, draws, flow.bijector)
    print(f"effective samples of {draws * chains} draws: {before:.0f} plain, {after:.0f} with flow")
    return before, after


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    main(**({"steps": 20, "draws": 20, "chains": 4} if parser.parse_args().quick else {}))
