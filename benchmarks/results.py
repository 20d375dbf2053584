"""Measured results: JSON lines in, tables out."""

import json
import pathlib
import statistics

from benchmarks.libraries import FLOORS, LABELLED, OTHERS, OURS

FLOOR = "floor"
_START, _END = "<!-- table -->", "<!-- /table -->"


def append(path, results):
    """Adds results to a file of JSON lines."""
    with pathlib.Path(path).open("a", encoding="utf-8") as file:
        for result in results:
            file.write(json.dumps(result) + "\n")


def read(path):
    """Reads a file of JSON lines; of a cell measured twice in a library the later one counts.

    Returns:
      Dict from `(work, cell)` to a dict from library to result, where a result has `median` and
      `best` milliseconds, and the faster of the floors stands under "floor" too.
    """
    cells = {}
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        result = json.loads(line)
        result["median"] = statistics.median(result["milliseconds"])
        result["best"] = min(result["milliseconds"])
        cells.setdefault((result["work"], result["cell"]), {})[result["library"]] = result
    for libraries in cells.values():
        floors = [libraries[name] for name in FLOORS if name in libraries]
        if floors:
            libraries[FLOOR] = min(floors, key=lambda result: result["median"])
    return dict(sorted(cells.items(), key=lambda item: item[0][0]))


def publish(text, path):
    """Prints a text, or with a path replaces what stands there between the markers of tables.

    These are `<!-- table -->` and `<!-- /table -->`.
    """
    if path is None:
        print(text)
        return
    path = pathlib.Path(path)
    before, rest = path.read_text(encoding="utf-8").split(_START, 1)
    _, after = rest.split(_END, 1)
    path.write_text(f"{before}{_START}\n\n{text}\n\n{_END}{after}", encoding="utf-8")


def first_steps_markdown(answers):
    """Table of medians of the seconds to the first step."""
    head = ["library", "import s", "build s", "first step s", "together s", "peak MiB"]
    rows = []
    for name in dict.fromkeys(answer["library"] for answer in answers):
        of_library = [answer for answer in answers if answer["library"] == name]
        imported, built, stepped, peak = (
            statistics.median(answer[key] for answer in of_library)
            for key in ("imported", "built", "first_step", "peak_mib")
        )
        seconds = (imported, built - imported, stepped - built, stepped)
        rows.append([name, *(f"{value:.1f}" for value in seconds), f"{peak:.0f}"])
    return "\n".join(table(head, rows))


def pipeline_markdown(cells):
    """Table of the share of a training step that the input pipeline takes."""
    head = ["cell", "no pipeline ms", "shuffled ms", "share", "shuffled, dequantized ms", "share"]
    rows = []
    for (work, cell), libraries in cells.items():
        row = [f"{work} {cell}", _time(libraries["tfnvp_cached"])]
        for name in ("tfnvp", "tfnvp_dequantized"):
            share = 1 - libraries["tfnvp_cached"]["median"] / libraries[name]["median"]
            row += [_time(libraries[name]), f"{share:.0%}"]
        rows.append(row)
    return "\n".join(table(head, rows))


def ratios(libraries):
    """Median times of a cell's libraries as multiples of the floor."""
    floor = libraries[FLOOR]["median"]
    return {name: result["median"] / floor for name, result in libraries.items()}


def best_other(libraries):
    """Name of the other library with the lowest median, or None."""
    present = [name for name in OTHERS if name in libraries]
    return min(present, key=lambda name: libraries[name]["median"], default=None)


def markdown(cells):
    """Tables of tfnvp, the floor and the best other library, and of all ratios to the floor."""
    return "\n".join([*_summary(cells), "", *_ratios(cells), "", *_conditions(cells)])


def _summary(cells):
    ours = [name for name in (*OURS, *LABELLED) if _anywhere(cells, name)]
    head = ["cell", "floor ms"]
    for name in ours:
        head += [f"{name} ms (min)", "× floor"]
    head += ["best other library ms (min)", "tfnvp / best"]
    rows = []
    for (work, cell), libraries in cells.items():
        row = [f"{work} {cell}", _time(libraries.get(FLOOR))]
        for name in ours:
            row += [_time(libraries.get(name), least=True), _over_floor(libraries, name)]
        best = best_other(libraries)
        row += [f"{_time(libraries[best], least=True)} {best}" if best else "–"]
        row += [_ratio(libraries, "tfnvp", best)]
        rows.append(row)
    return table(head, rows)


def _ratios(cells):
    names = [n for n in (*FLOORS, *OURS, *LABELLED, *OTHERS) if _anywhere(cells, n)]
    rows = [
        [f"{work} {cell}", *[_over_floor(libraries, name) for name in names]]
        for (work, cell), libraries in cells.items()
    ]
    return table(["× floor", *names], rows)


def _conditions(cells):
    results = [result for libraries in cells.values() for result in libraries.values()]
    versions = sorted({pair for result in results for pair in result["versions"].items()})
    machines = sorted({f"{r['processor']}, {r['threads']} threads" for r in results})
    rounds = sorted({len(result["milliseconds"]) for result in results})
    return [
        f"Medians (and minima) of {' or '.join(map(str, rounds))} blocks; "
        f"{'; '.join(machines)}; {', '.join(' '.join(pair) for pair in versions)}."
    ]


def _anywhere(cells, name):
    return any(name in libraries for libraries in cells.values())


def _time(result, least=False):
    if result is None:
        return "–"
    text = f"{result['median']:.3g}"
    return f"{text} ({result['best']:.3g})" if least else text


def _over_floor(libraries, name):
    return _ratio(libraries, name, FLOOR)


def _ratio(libraries, name, reference):
    if name not in libraries or reference not in libraries:
        return "–"
    return f"{libraries[name]['median'] / libraries[reference]['median']:.2f}"


def table(head, rows):
    """Lines of a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]
