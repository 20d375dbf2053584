"""The command that turns tables and images into records."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from tfnvp.cli import loading, options
from tfnvp.cli.options import Source

_TABLE = ("table", "columns", "bounds", "delimiter", "encoding")
_SOURCE = ("images", *_TABLE, "image_size", "levels", "skip_bad", "background", "follow_links")


def records(
    output: Annotated[Path, Argument(help="Folder to write.", metavar="DIR")],
    source: Annotated[Source, *_SOURCE],
    seed: Annotated[int, Option(help="Seed of the division into splits.")] = 0,
    json_output: options.Json = False,
) -> None:
    """Turn a table or image folder larger than memory into records, for `train --records`.

    Example: tfnvp records big --table big.parquet
    """
    from tfnvp import data

    images, table, skip_bad = source.images, source.table, source.skip_bad
    if (images is None) == (table is None):
        raise ValueError("give one of --images and --table")
    options.import_tensorflow()
    if images:
        meaning = {"levels": source.levels or 256}
        size, background = source.image_size, source.background or "white"
        how = (skip_bad, background, source.follow_links)
        chunks, count = data.image_chunks(images, size, meaning["levels"], *how)
    else:
        how = source.columns, source.delimiter, source.encoding
        bounds = loading.bounds_in(source.bounds)
        chunks, count = data.table_chunks(table, skip_bad, *how, bounds)
        meaning = {"columns": data.table_columns(table, *how), "bounds": bounds}
    name = data.images.folder_name(images) if images else table.stem
    data.write_records(chunks, count, output, name, seed=seed, **meaning)
    result = {"output": str(output), "rows": count}
    options.print_result(f"{count} rows in {output}", result, json_output)
