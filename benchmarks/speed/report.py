"""The report of the speed benchmark: tables of medians as text, and a picture."""

import io

import numpy as np

from benchmarks.accuracy.picture import STYLE
from benchmarks.speed.tasks import CURVES, FIXED, TASKS

KEYS = {"task", "case", "round", "device", "versions"}


def write(records, folder):
    """Write ``speed.txt`` and ``speed.svg``; the names of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"speed.txt": text(records)}
    if any(record["task"] == "curves" for record in records):
        files["speed.svg"] = picture(records)
    for name, content in files.items():
        (folder / name).write_text(content)
    return list(files)


def medians(records, task):
    """By case the median of every measurement, in the order of the cases."""
    found = {}
    for case in TASKS[task]:
        of_case = [r for r in records if (r["task"], r["case"]) == (task, case)]
        if of_case:
            found[case] = {
                name: float(np.median([record[name] for record in of_case]))
                for name in of_case[0]
                if name not in KEYS
            } | {"rounds": len(of_case)}
    return found


def text(records):
    """All tables, those of each device by itself."""
    lines = ["Medians of the rounds of `python -m benchmarks.speed run`.", ""]
    devices = {record["device"] for record in records}
    for device in sorted(devices, key=lambda name: (name != "cpu", name)):
        own = [record for record in records if record["device"] == device]
        versions = own[-1]["versions"]
        named = ", ".join(f"{name} {version}" for name, version in versions.items())
        lines += [f"Device {device}; {named}", ""]
        sections = step, curves, predict, peers, search, precision, scale, gpu
        for section in sections:
            cases = medians(own, section.__name__)
            if cases:
                lines += [*section(cases), ""]
    return "\n".join(lines).rstrip() + "\n"


def table(columns, rows):
    """Names to the left, numbers to the right; what is lacking stays empty."""

    def cell(value):
        if value is None:
            return ""
        return value if isinstance(value, str) else f"{value:.4g}"

    body = [[cell(value) for value in row] for row in [columns, *rows]]
    widths = [max(map(len, column)) for column in zip(*body, strict=True)]
    return [
        "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in body
    ]


def step(cases):
    columns = ["", "ours", "by hand", "skorch", "bfloat16", "ours / by hand"]
    columns += ["skorch / ours", "bfloat16 / ours", "whole fit", "validation", "rounds"]
    rows = [
        [
            f"{case} member{'' if case.endswith(' 1') else 's'}",
            of["ours"],
            of["by_hand"],
            of.get("skorch"),
            of["bfloat16"],
            of["ratio"],
            of["skorch"] / of["ours"] if "skorch" in of else None,
            of["bfloat16"] / of["ours"],
            of["whole_fit"],
            f"{of['validation_share']:.1%}",
            of["rounds"],
        ]
        for case, of in cases.items()
    ]
    lines = [
        "Milliseconds a training step of 128 rows, on random data as large as these",
        "(of delicious 2,560 rows), one thread. Wanted: at most 1.10 of the loop by",
        "hand, by the median of what was taken one after the other. Steps alone, of",
        "yeast those of a second epoch, nothing held out; whole fit: all of fit, a",
        "step. Validation: its part of an epoch that passes once over nine tenths of",
        "the rows and holds out the others. skorch as it comes averages no weights.",
        *table(columns, rows),
    ]
    rows = [
        [
            f"{case} member{'' if case.endswith(' 1') else 's'}",
            of["compiled"],
            of["compiled"] / of["ours"],
            of["first_compiled_fit"],
        ]
        for case, of in cases.items()
        if "compiled" in of
    ]
    if rows:
        columns = ["", "compiled", "compiled / ours", "seconds of the first fit"]
        lines += [
            "",
            "The same steps with compile=True. The first fit compiles, with nothing",
            "in torch's cache.",
            *table(columns, rows),
        ]
    return lines


def curves(cases):
    lines = [
        "Two epochs of one network on one thread: seconds, and MiB that they add to",
        "the process. Slopes on log axes are over all points, or between the last two.",
        ", ".join(f"{size:,} {axis}" for axis, size in FIXED.items()) + " if not said.",
    ]
    for axis in CURVES:
        points = curve(cases, axis)
        rows = [[f"{s:,.0f}", *of] for s, *of in points.tolist()]
        if len(points) > 1:
            rows += [["slope", *slopes(points)], ["last two", *slopes(points[-2:])]]
        lines += ["", *table([axis, "seconds", "MiB"], rows)]
    return lines


def curve(cases, axis):
    """Size, seconds and MiB of each point (n, 3)."""
    points = [
        (int(case.split()[1]), of["seconds"], max(of["added"], 1))
        for case, of in cases.items()
        if case.split()[0] == axis
    ]
    return np.array(points).reshape(-1, 3)


def slopes(points):
    """Of seconds and of MiB against the size, on log axes, by least squares."""
    size, *measured = np.log(points.T)
    return [float(np.polyfit(size, values, 1)[0]) for values in measured]


def predict(cases):
    return [
        "Rows a second of predict_proba: defaults, yeast-sized data, one thread.",
        *table(
            ["rows in a call", "rows a second", "rounds"],
            [
                [c.split()[0], of["rows_a_second"], of["rounds"]]
                for c, of in cases.items()
            ],
        ),
    ]


def peers(cases):
    lines = [
        "Seconds with the defaults on one thread: fit on 80 % of the rows,",
        "predict_proba of the others.",
    ]
    for case, of in cases.items():
        names = [name.removesuffix(", fit") for name in of if name.endswith(", fit")]
        rows = [[name, of[f"{name}, fit"], of[f"{name}, predict"]] for name in names]
        data, n_rows = case.split()
        title = f"{data}, {int(n_rows):,} rows"
        lines += ["", *table([title, "fit", "predict"], rows)]
    return lines


def search(cases):
    (of,) = cases.values()
    names = {
        "n_jobs=1": "one",
        "n_jobs=1, torch.set_num_threads(1)": "one_thread",
        "n_jobs=2, workers to be started": "cold",
        "n_jobs=2": "two",
    }
    rows = [[text, of[name], of["one"] / of[name]] for text, name in names.items()]
    return [
        "GridSearchCV, 6 candidates, 3 folds, yeast-sized data. Wanted: n_jobs=2 at",
        "least 1.6 times as fast as n_jobs=1, both once everything is imported.",
        f"torch has {of['threads']:.0f} threads in the process that asks, and "
        f"{of['threads_of_workers']:.0f} in each worker of joblib.",
        *table(["", "seconds", "times as fast"], rows),
    ]


def precision(cases):
    columns = [
        f"{measure}, {name}"
        for measure in ("log-loss", "LRAP")
        for name in ("float32", "bfloat16")
    ]
    return [
        "What validation rows say of one network trained in either precision; splits",
        "of the accuracy benchmark.",
        *table(
            ["", *columns, "splits"],
            [[case, *map(of.get, columns), of["rounds"]] for case, of in cases.items()],
        ),
    ]


def scale(cases):
    lines = []
    if "labels" in cases:
        of = cases["labels"]
        rows = [
            ["seconds a step, 4,096 labels in each", of["step_seconds"]],
            ["seconds of predict, 1,000 rows", of["predict_seconds"]],
            ["seconds of predict_top_k, 1,000 rows, k=5", of["top_k_seconds"]],
            ["precision at 1 after an epoch", of["precision_at_1"]],
            ["peak of memory, MiB", of["peak_mib"]],
        ]
        lines += [
            "A hundred thousand labels: 20,000 rows, 1,000 features, all sparse, one",
            "network. Wanted: within 8 GiB.",
            *table(["", ""], rows),
        ]
    if "sparse" in cases:
        of = cases["sparse"]
        names = "libraries", "arrays", "model", "gradient", "optimizer", "average"
        rows = [[f"{name}, MiB", of[name] / 2**20] for name in ("peak", *names)]
        rows.insert(0, ["seconds an epoch", of["epoch_s"]])
        lines += [
            *([""] if lines else []),
            "A million CSR rows of 100,000 features, 20 stored, and 1,000 labels: one",
            "epoch of one network in batches of 2,048. Wanted: beside libraries, model",
            "with gradient, optimiser and average, at most 3 times the arrays.",
            *table(["", ""], [*rows, ["the rest, in arrays", of["ratio"]]]),
        ]
    return lines


def gpu(cases):
    lines = []
    if "yeast" in cases:
        of = cases["yeast"]
        rows = [
            [name, value, value / of["skorch"]]
            for name, value in of.items()
            if name != "rounds"
        ]
        lines += [
            "Rows a second of training, yeast-sized data. Wanted: 8 times skorch's.",
            *table(["", "rows a second", "times skorch"], rows),
        ]
    rows = [
        [case, of["rows_a_second"], f"{of['share']:.1%}"]
        for case, of in cases.items()
        if "share" in of
    ]
    if rows:
        lines += [
            *([""] if lines else []),
            "A million rows, 500 features, 100 labels, batches of 4,096, bfloat16.",
            "Wanted: half of the FLOPs of one large product.",
            *table(["", "rows a second", "of the FLOPs"], rows),
        ]
    return lines


def picture(records):
    """Seconds and MiB against rows, features and labels, on log axes, as SVG."""
    import matplotlib.style
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    cases = medians([r for r in records if r["device"] == "cpu"] or records, "curves")
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=(9, 5), facecolor="white", layout="constrained")
        axes = figure.subplots(2, len(CURVES), sharex="col", sharey="row")
        for column, axis in enumerate(CURVES):
            points = curve(cases, axis)
            for row, name in enumerate(("seconds", "MiB")):
                panel = axes[row, column]
                panel.loglog(points[:, 0], points[:, row + 1], "o-", color="#0b5cad")
                if len(points) > 1:
                    slope = slopes(points[-2:])[row]
                    panel.set_title(f"slope at the end {slope:.2f}", fontsize=10)
                panel.grid(color="#dddddd")
                if column == 0:
                    panel.set_ylabel(name)
            axes[1, column].set_xlabel(axis)
        file = io.BytesIO()
        metadata = {"Date": None, "Creator": None}
        FigureCanvasSVG(figure).print_svg(file, metadata=metadata)
    return file.getvalue().decode()
