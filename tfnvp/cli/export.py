"""The command that writes a SavedModel."""

from pathlib import Path
from typing import Annotated

from typer import Option

from tfnvp.cli import completion, options


def export(
    model: options.Model,
    saved_models: options.SavedModels = Path("saved_models"),
    name: Annotated[str | None, Option(help="Name of the served model.")] = None,
    weights_dtype: Annotated[
        str,
        Option(
            help="float32, or bfloat16 for half the space.",
            metavar="DTYPE",
            autocompletion=completion.choices("weights_dtype"),
        ),
    ] = "float32",
    jit_compile: Annotated[bool, Option(help="Let XLA compile it where it runs.")] = False,
    warmup: Annotated[
        list[int] | None,
        Option(
            help="Batch size of warm-up requests; repeat for several. Default: 1.", metavar="ROWS"
        ),
    ] = None,
    condition_range: Annotated[
        bool,
        Option(
            "--condition-range",
            help="Tell the smallest and largest conditions in training, values of single rows.",
        ),
    ] = False,
    json_output: options.Json = False,
) -> None:
    """Write a model as a SavedModel, SAVED_MODELS/NAME/VERSION, for TensorFlow Serving.

    Example: tfnvp export runs/digits-real_nvp-1 --name digits
    """
    options.import_tensorflow()
    from tfnvp._atomic import reading
    from tfnvp.runs.card import read_card
    from tfnvp.runs.folder import CONFIG, RunFolder, load_model, plain_name

    flow = load_model(model)
    run = RunFolder.of(model)
    config = run.config()
    with reading(run.path / CONFIG):
        default = run.served_name(config["dataset"], config["model"]) if config else flow.name
    exported = flow.export(
        saved_models / plain_name(name or default),
        weights_dtype=weights_dtype,
        jit_compile=jit_compile,
        warmup=warmup or (1,),
        card=read_card(model, weights_dtype),
        condition_range=condition_range,
    )
    result = {"saved_model": str(exported)}
    options.print_result(f"SavedModel   {exported}", result, json_output)
