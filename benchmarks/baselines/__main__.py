"""Time the baselines beside scikit-multilearn-ng; report ratios of medians.

    SKCGMVAE_DATA=folder python -m benchmarks.baselines run
    python -m benchmarks.baselines report

A task is run in a process of its own, on one thread unless its name says otherwise, in
turns with what it is compared with. A run that was killed goes on where it stopped.
"""

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.baselines.tasks import measure
from benchmarks.records import append, read

RESULTS = Path(__file__).parents[1] / "results"

# What is compared: a title, the slower task, the faster ones, the least of their ratio.
COMPARISONS = [
    ("MLkNN, fit and predict, delicious", "mlknn_peer", ["mlknn_ours"], 20),
    (
        "MLARAM, fit and predict, scene",
        "mlaram_peer",
        ["mlaram_ours", "mlaram_ours_two_threads"],
        20,
    ),
    ("MLARAM and HARAM, predict, tmc2007", "mlaram_tmc", ["haram_tmc"], 3),
    ("Threshold search, 100,000 x 1,000", "threshold_search", [], None),
]


def run(arguments):
    """Run what has no record yet, round by round."""
    records = read(arguments.records)
    done = {(record["task"], record["round"]) for record in records}
    todo = [
        (task, number)
        for _, slower, faster, _ in COMPARISONS
        for number in range(arguments.rounds)
        for task in (slower, *faster)
        if (task, number) not in done
    ]
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for task, number in (bar := tqdm(todo, unit="task")):
        bar.set_postfix_str(task)
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            measured = process.submit(measure, task).result()
        record = {"task": task, "round": number}
        record |= {name: round(value, 4) for name, value in measured.items()}
        append(arguments.records, record)


def report(arguments):
    """Write the table of medians."""
    records = read(arguments.records)
    columns = ("seconds", "peak_mib", "micro_f1", "ratio", "wanted", "rounds")
    lines = [
        "Medians of the rounds of `python -m benchmarks.baselines run`, each task in a",
        "process of its own; peer is scikit-multilearn-ng 0.0.8.",
        "",
        f"{'':26s}" + "".join(f"{column:>10s}" for column in columns),
    ]
    for title, slower, faster, wanted in COMPARISONS:
        lines.append(title)
        base = medians(records, slower)
        for task in (slower, *faster):
            cells = medians(records, task)
            if cells and task in faster:
                cells["ratio"] = base["seconds"] / cells["seconds"]
                cells["wanted"] = wanted
            values = (f"{cells[c]:10.4g}" if c in cells else 10 * " " for c in columns)
            lines.append(f"  {task:24s}" + "".join(values))
    arguments.table.write_text("\n".join(lines) + "\n")
    print(arguments.table.read_text())


def medians(records, task):
    """Median of every measurement of a task, and the number of rounds."""
    records = [record for record in records if record["task"] == task]
    if not records:
        return {}
    names = records[0].keys() - {"task", "round"}
    values = {name: np.median([record[name] for record in records]) for name in names}
    return values | {"rounds": len(records)}


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=Path, default=RESULTS / "baselines.jsonl")
    parser.add_argument("--table", type=Path, default=RESULTS / "baselines.txt")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("run", help="run what has no record yet")
    command.add_argument("--rounds", type=int, default=5)
    commands.add_parser("report", help="write the table")
    arguments = parser.parse_args()
    {"run": run, "report": report}[arguments.command](arguments)


if __name__ == "__main__":
    main()
