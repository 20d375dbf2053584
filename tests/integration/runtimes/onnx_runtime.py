"""Runs a SavedModel by ONNX Runtime, converted by tf2onnx: MODEL FEEDS ANSWERS.

FEEDS holds arrays named SIGNATURE/INPUT, ANSWERS gets arrays named SIGNATURE/OUTPUT.
"""

import os
import sys
import tempfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import onnxruntime
import tf2onnx.convert

model, feeds, answers = sys.argv[1:]
feeds = np.load(feeds)
results = {}
for signature in sorted({name.split("/")[0] for name in feeds.files}):
    file = os.path.join(tempfile.mkdtemp(), signature + ".onnx")
    sys.argv[1:] = ["--saved-model", model, "--signature_def", signature, "--output", file]
    tf2onnx.convert.main()
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    inputs = {i.name: feeds[f"{signature}/{i.name.split(':')[0]}"] for i in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]
    for name, value in zip(names, session.run(names, inputs), strict=True):
        results[f"{signature}/{name.split(':')[0]}"] = value
np.savez(answers, **results)
