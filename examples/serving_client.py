"""Asks a flow behind TensorFlow Serving, by REST or by gRPC.

REST needs `pip install requests`, gRPC `pip install grpcio tensorflow-serving-api`:

    python serving_client.py digits sample_rows '{"seed": [[1, 0], [2, 0]], "temperature": [1, 1]}'
    python serving_client.py digits decode @latents.json --grpc localhost:8500
"""

import argparse
import json
import pathlib
import sys


def predict_rest(server, model, signature, inputs, version=None, timeout=60):
    """Returns what a signature answers: an object of named outputs, or the only output."""
    import requests

    which = f"/versions/{version}" if version else ""
    try:
        reply = requests.post(
            f"http://{server}/v1/models/{model}{which}:predict",
            json={"signature_name": signature, "inputs": inputs},
            timeout=timeout,
        ).json()
    except requests.ConnectionError:
        raise RuntimeError("no server answers there") from None
    if "error" in reply:
        raise RuntimeError(reply["error"])
    return reply["outputs"]


def predict_grpc(server, model, signature, inputs, version=None, timeout=60):
    """Returns a dictionary of NumPy arrays by the names of the signature's outputs."""
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    with grpc.insecure_channel(server) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            types = types_of_inputs(stub, model, signature, version, timeout)
            request = to_request(model, signature, inputs, types, version)
            return from_response(stub.Predict(request, timeout))
        except grpc.RpcError as error:
            raise RuntimeError(f"{error.code().name}: {error.details()}") from None


def types_of_inputs(stub, model, signature, version=None, timeout=60):
    """Asks a server for the types of a signature's inputs, as TensorFlow numbers them, by name."""
    from tensorflow_serving.apis import get_model_metadata_pb2

    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    _specify(request.model_spec, model, version)
    response = stub.GetModelMetadata(request, timeout)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    return {name: info.dtype for name, info in signatures.signature_def[signature].inputs.items()}


def to_request(model, signature, inputs, types, version=None):
    """Makes a PredictRequest of lists or arrays in the types of `types_of_inputs`."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    _specify(request.model_spec, model, version)
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        # The server names an input that the signature does not have.
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value, types.get(name)))
    return request


def _specify(model_spec, model, version):
    model_spec.name = model
    if version:
        model_spec.version.value = version


def from_response(response):
    """Returns a PredictResponse as a dictionary of NumPy arrays."""
    import tensorflow as tf

    return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="digits")
    parser.add_argument("signature", nargs="?", default="sample_rows")
    parser.add_argument(
        "inputs",
        nargs="?",
        default='{"seed": [[1, 0]], "temperature": [0.8]}',
        help="JSON object of inputs by name, or @FILE that holds one",
    )
    parser.add_argument("--rest", default="localhost:8501", metavar="HOST:PORT")
    parser.add_argument("--grpc", metavar="HOST:PORT", help="ask by gRPC instead of REST")
    parser.add_argument("--version", type=int, help="default: the latest")
    parser.add_argument("--quick", action="store_true", help="print the request, ask no server")
    arguments = parser.parse_args()
    text = arguments.inputs
    try:
        inputs = json.loads(pathlib.Path(text[1:]).read_text() if text[:1] == "@" else text)
    except (OSError, json.JSONDecodeError) as error:
        parser.error(f"the inputs cannot be read as JSON: {error}")
    if arguments.quick:
        print(json.dumps({"signature_name": arguments.signature, "inputs": inputs}))
        return
    what = (arguments.model, arguments.signature, inputs, arguments.version)
    try:
        if arguments.grpc:
            answer = predict_grpc(arguments.grpc, *what)
            answer = {name: value.tolist() for name, value in answer.items()}
        else:
            answer = predict_rest(arguments.rest, *what)
    except Exception as error:  # No server, no such model, wrong input: the message says which.
        sys.exit(f"{arguments.grpc or arguments.rest}: {error}")
    json.dump(answer, sys.stdout)
    print()


if __name__ == "__main__":
    main()
