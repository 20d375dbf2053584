"""Runs a SavedModel by OpenVINO, which sees its default signature alone: MODEL FEEDS ANSWERS.

FEEDS holds arrays named SIGNATURE/INPUT, all of the signature that MODEL has as its default;
ANSWERS gets arrays named SIGNATURE/OUTPUT.
"""

import sys

import numpy as np
import openvino

model, feeds, answers = sys.argv[1:]
feeds = np.load(feeds)
(signature,) = {name.split("/")[0] for name in feeds.files}
core = openvino.Core()
# Without the hint, CPUs that have bfloat16 use it.
compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
inputs = {name.split("/")[1]: feeds[name] for name in feeds.files}
results = compiled(inputs)
np.savez(answers, **{f"{signature}/{o.get_any_name()}": results[o] for o in compiled.outputs})
