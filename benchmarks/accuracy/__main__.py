"""Run models on real data sets, a record a data set, model and split; report them.

    SKCGMVAE_DATA=folder python -m benchmarks.accuracy --records mine.jsonl run
    python -m benchmarks.accuracy --records mine.jsonl report --output mine

A run that was killed goes on where it stopped: what has a record is not run again.
Without ``--records`` both go by the records of the repository.
"""

import argparse
from itertools import product
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.accuracy.models import COMPARED, MODELS, OURS, PEERS
from benchmarks.accuracy.report import write
from benchmarks.accuracy.running import Setting, Task, run_all
from benchmarks.records import read

RESULTS = Path(__file__).parents[1] / "results"
RECORDS = RESULTS / "accuracy.jsonl"

# From the quickest to the slowest.
DATASETS = (
    "emotions",
    "sider",
    "yeast",
    "scene",
    "norberg_birds",
    "bibtex",
    "corel16k001",
    "reuters",
    "tmc2007",
    "delicious",
    "imdb",
)

QUICK = ("emotions", "sider")


def run(arguments):
    """Run what has no record yet, and append its record."""
    models = arguments.models or COMPARED
    if arguments.quick:
        arguments.datasets, arguments.splits = QUICK, 1
        models = arguments.models or [OURS, *PEERS]
        # All of it has a record in the repository, and would not be run.
        arguments.records = arguments.records or Path(mkdtemp()) / RECORDS.name
    # One split of everything first, then the next.
    tasks = [
        Task(dataset, model, seed, arguments.fraction)
        for seed, dataset, model in product(
            range(arguments.splits), arguments.datasets, models
        )
    ]
    setting = Setting(arguments.folder, arguments.max_seconds, arguments.max_gib)
    records = arguments.records or RECORDS
    run_all(tasks, records, setting, arguments.jobs)
    print(records)


def report(arguments):
    """Write the tables and the picture of all records."""
    path = arguments.records or RECORDS
    records = read(path)
    if not records:
        raise SystemExit(f"no records in {path}")
    for name in write(records, arguments.output):
        print(arguments.output / name)


def main(argv=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=Path, help="a file, if not the repository's")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("run", help="run what has no record yet")
    command.add_argument("--datasets", nargs="+", default=DATASETS)
    command.add_argument("--models", nargs="+", choices=MODELS, metavar="MODEL")
    command.add_argument("--folder", help="of the data sets, if not SKCGMVAE_DATA")
    command.add_argument("--splits", type=int, default=3)
    command.add_argument(
        "--quick",
        action="store_true",
        help="two data sets, one split, C-GMVAE's defaults and the peers that train in "
        "seconds, in a file of its own",
    )
    command.add_argument("--fraction", type=float, default=1.0, help="of training rows")
    command.add_argument("--jobs", type=int, default=1, help="fits at a time")
    command.add_argument("--max-seconds", type=float, default=1800.0, help="of one fit")
    command.add_argument("--max-gib", type=float, default=10.0, help="of one fit")
    command.set_defaults(call=run)
    command = commands.add_parser("report", help="write tables and a picture")
    command.add_argument("--output", type=Path, default=RESULTS, help="a folder")
    command.set_defaults(call=report)
    arguments = parser.parse_args(argv)
    arguments.call(arguments)


if __name__ == "__main__":
    main()
