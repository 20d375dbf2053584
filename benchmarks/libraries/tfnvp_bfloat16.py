"""tfnvp with its conditioners in bfloat16; likelihoods stay float32."""

import keras

from benchmarks.libraries import tfnvp

KINDS, PACKAGES = tfnvp.KINDS, tfnvp.PACKAGES

train, log_prob, sample = tfnvp.train, tfnvp.log_prob, tfnvp.sample

keras.config.set_dtype_policy("mixed_bfloat16")
