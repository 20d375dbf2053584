"""Runs a SavedModel by TensorFlow.js in Node: MODEL FEEDS ANSWERS; the package is in $NODE_PATH.

FEEDS holds arrays named SIGNATURE/INPUT, ANSWERS gets arrays named SIGNATURE/OUTPUT.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

PROGRAM = """
const fs = require('fs');
const tf = require('@tensorflow/tfjs');
const [folder, feeds] = process.argv.slice(1);
const model = JSON.parse(fs.readFileSync(folder + '/model.json'));
// TensorFlow.js expects the shape as a tensor, where TensorFlow has an attribute.
model.modelTopology.node.filter(n => n.op === 'EnsureShape').forEach(n => n.op = 'Identity');
const parts = model.weightsManifest.flatMap(group => group.paths);
const bytes = new Uint8Array(Buffer.concat(parts.map(p => fs.readFileSync(folder + '/' + p))));
const artifacts = {
  modelTopology: model.modelTopology,
  signature: model.signature,
  weightSpecs: model.weightsManifest.flatMap(group => group.weights),
  weightData: bytes.buffer,
};
(async () => {
  const graph = await tf.loadGraphModel({load: async () => artifacts});
  const inputs = {};
  for (const [name, {shape, values}] of Object.entries(JSON.parse(fs.readFileSync(feeds)))) {
    inputs[model.signature.inputs[name].name] = tf.tensor(values, shape, 'float32');
  }
  const answers = {};
  for (const [name, {name: tensor}] of Object.entries(model.signature.outputs)) {
    const answer = await graph.executeAsync(inputs, tensor);
    answers[name] = {shape: answer.shape, values: Array.from(await answer.data())};
  }
  console.log(JSON.stringify(answers));
})();
"""

model, feeds, answers = sys.argv[1:]
feeds = np.load(feeds)
results = {}
for signature in sorted({name.split("/")[0] for name in feeds.files}):
    folder = pathlib.Path(tempfile.mkdtemp())
    converter = pathlib.Path(sys.executable).with_name("tensorflowjs_converter")
    arguments = ["--input_format=tf_saved_model", f"--signature_name={signature}", model, folder]
    subprocess.run([converter, *arguments], check=True, capture_output=True)
    inputs = {
        name.split("/")[1]: {"shape": feeds[name].shape, "values": feeds[name].ravel().tolist()}
        for name in feeds.files
        if name.startswith(f"{signature}/")
    }
    (folder / "feeds.json").write_text(json.dumps(inputs))
    node = ["node", "-e", PROGRAM, str(folder), str(folder / "feeds.json")]
    run = subprocess.run(node, capture_output=True, text=True, env=os.environ)
    if run.returncode:
        sys.exit(run.stderr)
    for name, answer in json.loads(run.stdout.strip().splitlines()[-1]).items():
        values = np.array(answer["values"], "float32").reshape(answer["shape"])
        results[f"{signature}/{name}"] = values
np.savez(answers, **results)
