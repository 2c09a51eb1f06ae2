"""Time the training, beside other loops and other models; report ratios of medians.

    SKCGMVAE_DATA=folder python -m benchmarks.speed run
    python -m benchmarks.speed run --tasks gpu
    python -m benchmarks.speed report

A case is measured in a process of its own, together with all that it is compared with,
on one thread unless it is about threads. A run that was killed goes on where it
stopped. Without a folder of data sets random data of their size are taken.
"""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.accuracy.running import versions
from benchmarks.records import append, read
from benchmarks.speed.report import write
from benchmarks.speed.tasks import MOST_ROUNDS, TASKS, measure
from skcgmvae._devices import resolve_device

RESULTS = Path(__file__).parents[1] / "results"

# A forked process has the libraries already, but not OpenMP's threads.
_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(["benchmarks.speed.tasks"])
_FRESH = multiprocessing.get_context("spawn")


def run(arguments):
    """Run what has no record yet, all cases once, then once more."""
    device = resolve_device(arguments.device)
    if "gpu" in arguments.tasks and device.type != "cuda":
        raise SystemExit(
            f"the task gpu needs CUDA, and torch {torch.__version__} has none here: "
            f"--device {arguments.device} is {device}."
        )
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    keys = "task", "case", "round", "device"
    done = {tuple(record[key] for key in keys) for record in read(arguments.records)}
    todo = [
        (task, case, number)
        for number in range(arguments.rounds)
        for task in arguments.tasks
        for case in arguments.cases or TASKS[task]
        if number < MOST_ROUNDS.get(task, arguments.rounds)
        and (task, case, number, name) not in done
    ]
    for task, case, number in (bar := tqdm(todo, unit="case")):
        bar.set_postfix_str(f"{task}, {case}")
        # CUDA does not survive a fork.
        context = _FORKED if device.type == "cpu" and task != "search" else _FRESH
        with ProcessPoolExecutor(1, mp_context=context) as process:
            measured = process.submit(measure, task, case, number, str(device)).result()
        record = dict(zip(keys, (task, case, number, name), strict=True))
        record |= {key: float(f"{value:.5g}") for key, value in measured.items()}
        append(arguments.records, record | {"versions": versions()})


def report(arguments):
    """Write the tables and the picture of all records."""
    records = read(arguments.records)
    if not records:
        raise SystemExit(f"no records in {arguments.records}")
    for name in write(records, arguments.output):
        print(arguments.output / name)


def main(argv=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=Path, default=RESULTS / "speed.jsonl")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("run", help="run what has no record yet")
    command.add_argument(
        "--tasks",
        nargs="+",
        choices=TASKS,
        default=[task for task in TASKS if task != "gpu"],
    )
    command.add_argument("--cases", nargs="+", help="of the tasks, if not all")
    command.add_argument("--rounds", type=int, default=5)
    command.add_argument("--device", default="auto")
    command.set_defaults(call=run)
    command = commands.add_parser("report", help="write tables and a picture")
    command.add_argument("--output", type=Path, default=RESULTS, help="a folder")
    command.set_defaults(call=report)
    arguments = parser.parse_args(argv)
    arguments.call(arguments)


if __name__ == "__main__":
    main()
