"""The command that turns tables and images into records."""

import pathlib
from typing import Annotated

import typer

from tfnvp.cli.options import (
    Columns,
    Images,
    ImageSize,
    Json,
    Levels,
    SkipBad,
    Source,
    TableFile,
    import_tensorflow,
    print_result,
)


def write_records(
    output: Annotated[pathlib.Path, typer.Argument(help="Folder to write.", metavar="DIR")],
    images: Images = None,
    table: TableFile = None,
    columns: Columns = None,
    image_size: ImageSize = None,
    levels: Levels = None,
    skip_bad: SkipBad = False,
    seed: Annotated[int, typer.Option(help="Seed of the division into splits.")] = 0,
    json_output: Json = False,
) -> None:
    """Turn a table or image folder larger than memory into records, for `train --records`.

    Example: tfnvp records big --table big.parquet
    """
    if (images is None) == (table is None):
        raise ValueError("give one of --images and --table")
    Source(images=images, table=table, columns=columns, levels=levels)  # Checks them.
    import_tensorflow()
    from tfnvp import data

    if images:
        meaning = {"levels": levels or 256}
        chunks, count = data.image_chunks(images, image_size, skip_bad=skip_bad, **meaning)
    else:
        chunks, count = data.table_chunks(table, skip_bad, columns)
        meaning = {"columns": data.table_columns(table, columns)}
    data.write_records(chunks, count, output, (images or table).stem, seed=seed, **meaning)
    result = {"output": str(output), "rows": count}
    print_result(f"{count} rows in {output}", result, json_output)
