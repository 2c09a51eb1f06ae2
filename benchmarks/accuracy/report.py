"""From records to tables and a picture; nothing here is written by hand.

The same records give the same files, letter for letter, in whatever order they are.
"""

import numpy as np

from benchmarks.accuracy import summary
from benchmarks.accuracy.models import OURS
from benchmarks.accuracy.picture import critical_difference_svg
from benchmarks.accuracy.protocol import METRICS, PROTOCOLS, THRESHOLDS
from benchmarks.accuracy.rst import (
    best_in_bold,
    counted,
    listed,
    number,
    paragraph,
    plain,
    rst_table,
    short,
    title,
)
from benchmarks.accuracy.studies import latent_space, studies

FILES = (
    "accuracy.rst",
    "accuracy_summary.rst",
    "accuracy_studies.rst",
    "critical_difference.svg",
)

WRITTEN = ".. Written by ``python -m benchmarks.accuracy report``: do not edit."

F1 = "macro-F1"

# What needs no threshold, and which end of it is the better one.
RANKING = {"log-loss": min, "macro-AP": max, "LRAP": max}


def write(records, folder):
    """Write the report, and remove files of an earlier one that it does not have."""
    folder.mkdir(parents=True, exist_ok=True)
    report = make(records)
    for name in FILES:
        if name in report:
            (folder / name).write_text(report[name], encoding="utf-8", newline="\n")
        else:
            (folder / name).unlink(missing_ok=True)
    return list(report)


def make(records):
    """The files of the report, {name: text}."""
    everything, records = records, summary.full_size(records)
    models = summary.models_of(records)
    compared = [record for record in records if record["model"] in models]
    ranked = summary.run_everywhere(compared, models)
    recorded = summary.datasets_of(compared)
    compared = summary.on_shared_splits(compared, ranked)
    datasets = summary.datasets_of(compared)
    scores = summary.mean_scores(compared, datasets, ranked)
    files = {}
    if ranked:
        files["accuracy.rst"] = document(
            title("Accuracy", "="),
            *picture_in_text(ranked),
            protocol_in_words(compared, datasets),
            title("Mean ranks", "-"),
            *mean_rank_table(compared, scores, datasets, ranked),
            *not_ranked(models, ranked),
            *left_out([name for name in recorded if name not in datasets]),
            *beside_the_best_peer(compared, datasets, models),
            *(part for d in datasets for part in dataset_section(compared, d, models)),
            *titled("Latent space", latent_space(compared, datasets, models)),
        )
        files["accuracy_summary.rst"] = document(
            *summary_table(compared, scores, datasets, ranked)
        )
    if len(ranked) > 1:
        files["critical_difference.svg"] = critical_difference_svg(
            ranked,
            summary.mean_ranks(summary.ranks(scores)),
            summary.critical_difference(len(ranked), len(datasets)),
        )
    if sections := list(studies(everything)):
        files["accuracy_studies.rst"] = document(title("Studies", "="), *sections)
    return files


def document(*parts):
    """Parts with a blank line between them."""
    return "\n\n".join([WRITTEN, *parts]) + "\n"


def titled(text, parts):
    """The parts of a section under its title, or none if there are none."""
    parts = list(parts)
    return [title(text, "-"), *parts] if parts else []


def picture_in_text(models):
    """The picture, where there are two models to compare."""
    if len(models) < 2:
        return
    yield (
        ".. image:: critical_difference.svg\n"
        "    :alt: Mean ranks; bars join models that are not different"
    )
    # A page elsewhere, for which the path of the picture is another, starts here:
    yield ".. below the picture"


def protocol_in_words(records, datasets):
    """What a reader has to know of all the tables."""
    splits = len({record["split"] for record in records})
    versions = [
        f"{package} {' / '.join(found)}"
        for package, found in summary.versions_of(records).items()
    ]
    seen = [name for name in summary.CHOSEN_ON if name in datasets]
    texts = [
        f"""{counted(len(datasets), "data set")}, each split at random into 80 %
        training, 10 % validation and 10 % test rows, {counted(splits, "time")} at
        most. A model sees the training rows only; rows to stop or to calibrate by are
        taken from these. Figures are of the test rows, and means over the splits that
        all ranked models were run on. One that is not ranked may have fewer, which the
        last of a data set's tables tells, and is then never printed in bold.""",
        f"""{listed(METRICS[:-1])} need a threshold on the probabilities, one for all
        labels, from {THRESHOLDS[0]:g} to {THRESHOLDS[-1]:g} in steps of 0.05. There
        are three ways to come by it, each with tables of its own: for each metric the
        one that is best on the validation rows, by which all ranks here go; 0.5; and
        the one that is best on the test rows themselves. The last is the protocol of
        the paper, and no fair estimate. p@1 and the metrics of a table's end need no
        threshold.""",
        f"""Each fit ran on one thread in a process of its own. Peak MiB is the most
        memory the process held, Python and libraries included. Software:
        {", ".join(versions)}.""",
    ]
    if seen and any(record["model"] == OURS for record in records):
        texts.append(
            f"""The defaults of {OURS} were chosen by looking at {listed(seen)}: what
            is said of these may flatter it. The settings of the peers are in
            ``benchmarks/accuracy/models.py``."""
        )
    return "\n\n".join(map(paragraph, texts))


def mean_rank_table(records, scores, datasets, models):
    """Ranks of all models, the best first, and what the picture shows."""
    ranks = summary.ranks(scores)
    overall = summary.mean_ranks(ranks)
    by_metric = ranks.mean(axis=0)
    ran = summary.datasets_run(scores)
    header = ["model", "all", *METRICS, "data sets"]
    columns = [best_in_bold(overall, ".2f", min)]
    columns += [best_in_bold(by_metric[:, m], ".2f", min) for m in range(len(METRICS))]
    columns.append([f"{n} of {len(datasets)}" for n in ran])
    if OURS in models:
        seconds = summary.fit_seconds(records, datasets, models)
        header.append("fit time")
        columns.append([short(r) for r in summary.fit_ratios(seconds, models)])
    yield rst_table(header, rows_by_rank(models, overall, columns))
    yield paragraph(
        f"""Mean ranks, 1 being the best, over {scores[:, 0].size} cells:
        {counted(len(datasets), "data set")} by {len(METRICS)} metrics. Level models
        share their ranks. On a data set where its fit failed a model is last.
        {fit_time_in_words(models)}"""
    )
    if len(models) > 1:
        difference = summary.critical_difference(len(models), len(datasets))
        yield paragraph(
            f"""Mean ranks that differ by less than {difference:.2f} are not different
            at the level of 5 % (Nemenyi's test, Demsar 2006). It counts
            {counted(len(datasets), "observation")}, the data sets, each with its mean
            rank over the metrics: the metrics of one data set judge the same
            predictions, and are not independent."""
        )


def not_ranked(models, ranked):
    """The models that were not run on every data set."""
    if rest := [model for model in models if model not in ranked]:
        yield paragraph(f"Not run on every data set, so not ranked: {'; '.join(rest)}.")


def left_out(datasets):
    """The data sets on which the ranked models cannot be compared."""
    if datasets:
        yield paragraph(
            f"""Left out is {listed(datasets)}: there is no split that all ranked models
            were run on."""
        )


def fit_time_in_words(models):
    if OURS not in models:
        return ""
    return f"""Fit time is relative to that of {OURS}: the geometric mean of the ratios
    on the data sets that both have."""


def rows_by_rank(models, overall, columns):
    """The rows of a table, the best rank first."""
    order = np.argsort(overall, kind="stable")
    return [[models[i], *(column[i] for column in columns)] for i in order]


def beside_the_best_peer(records, datasets, models):
    """C-GMVAE beside whatever was run on the same splits of a data set."""
    records = summary.on_splits_of(records, OURS)
    models = summary.models_of(records, models)
    if OURS not in models or not any(map(summary.is_peer, models)):
        return
    scores = summary.mean_scores(records, datasets, models)
    yield from bars(scores, datasets, models)
    yield from thresholds_by_label(records, datasets, models)


def bars(scores, datasets, models):
    """C-GMVAE beside the best peer of each cell."""
    margins = summary.margins(scores, models)
    new = [name not in summary.CHOSEN_ON for name in datasets]
    kinds = {
        f"all {len(datasets)}": margins,
        f"the {sum(new)} that no default was chosen on": margins[new],
    }
    yield title(f"{OURS} and the best peer", "-")
    header = [
        "data sets",
        "cells",
        f"within {summary.LEVEL:g} of it, or above",
        "above it",
        f"by more than {summary.LEVEL:g}",
    ]
    rows = [
        [kind, *map(str, summary.count_bars(cells).values())]
        for kind, cells in kinds.items()
    ]
    yield rst_table(header, rows)
    yield paragraph(
        f"""The best peer is the best, in that cell, of all models that were run on the
        same splits, ranked or not, but the versions of {OURS}. {OURS} less the best
        peer, bold where it is above:"""
    )
    rows = [
        [dataset, *(f"**{text}**" if cell > 0 else text for cell, text in cells)]
        for dataset, cells in (
            (dataset, [(cell, number(cell, "+.3f")) for cell in row])
            for dataset, row in zip(datasets, margins, strict=True)
        )
    ]
    yield rst_table(["data set", *METRICS], rows)


def thresholds_by_label(records, datasets, models):
    """Macro-F1 where each label has a threshold of its own, beside one for all."""
    records = [r for r in records if "per label" in r.get("scores", {})]
    records = summary.on_splits_of(records, OURS)
    kinds = [
        summary.split_means(records, lambda r, of=of: r["scores"][of][F1])
        for of in ("validation", "per label")
    ]
    shown = [m for m in models if m == OURS or summary.is_peer(m)]
    rows = []
    for dataset in datasets:
        have = [m for m in shown if (dataset, m) in kinds[0]]
        if not {OURS} < set(have):
            continue
        cells = []
        for means in kinds:
            best = max((m for m in have if m != OURS), key=lambda m: means[dataset, m])
            pair = best_in_bold([means[dataset, OURS], means[dataset, best]])
            cells += [pair[0], f"{pair[1]} ({best})"]
        rows.append([dataset, *cells])
    if not rows:
        return
    yield title("Macro-F1 with a threshold for each label", "-")
    one, each = f"one threshold: {OURS}", f"one a label: {OURS}"
    yield rst_table(["data set", one, "best peer", each, "best peer"], rows)
    yield paragraph(
        """Macro-F1 is a mean over labels, each of which may have the threshold that
        suits it best; on the right each has, chosen on the validation rows, for all
        models alike. Each best peer is the best by the thresholds of its side. All
        ranks go by one threshold for all labels."""
    )


def dataset_section(records, dataset, models):
    """All that was measured on one data set."""
    yield title(dataset, "-")
    if dataset in summary.CHOSEN_ON and OURS in models:
        yield paragraph(f"One of those that the defaults of {OURS} were chosen on.")
    records = [record for record in records if record["dataset"] == dataset]
    counts = summary.split_counts(records)
    have = [model for model in models if (dataset, model) in counts]
    if have:
        for protocol, in_words in PROTOCOLS.items():
            yield score_table(records, dataset, have, counts, protocol, in_words)
        yield cost_table(records, dataset, have, counts)
    if notes := list(notes_on_fits(records, dataset, models, have)):
        yield "\n".join(f"- {note}" for note in notes)


def score_table(records, dataset, models, counts, protocol, in_words):
    """One protocol: models by metrics."""
    scores = summary.mean_scores(records, [dataset], models, protocol)[0]
    fair = on_most_splits(dataset, models, counts)
    columns = [best_in_bold(column, among=fair) for column in scores.T]
    rows = zip(models, *columns, strict=True)
    return rst_table(["model", *METRICS], rows, f"{dataset}, {in_words}")


def cost_table(records, dataset, models, counts):
    """What needs no threshold, and what a fit costs."""

    def column(value):
        means = summary.split_means(records, value)
        return [means.get((dataset, model)) for model in models]

    fair = on_most_splits(dataset, models, counts)
    columns = [
        best_in_bold(column(lambda r, of=of: r["ranking"][of]), best=best, among=fair)
        for of, best in RANKING.items()
    ]
    for field in ("fit_seconds", "predict_seconds"):
        columns.append(list(map(short, column(lambda r, f=field: r[f]))))
    columns.append([number(v, ".0f") for v in column(lambda r: r["peak_mib"])])
    columns.append([str(counts[dataset, model]) for model in models])
    header = ["model", *RANKING, "fit s", "predict s", "peak MiB", "splits"]
    rows = zip(models, *columns, strict=True)
    return rst_table(header, rows, f"{dataset}, no threshold; time and memory")


def on_most_splits(dataset, models, counts):
    """Of each model, whether none was run on more splits of the data set."""
    splits = [counts[dataset, model] for model in models]
    return [n == max(splits) for n in splits]


def notes_on_fits(records, dataset, models, have):
    """Failures, models that were not run, and models with fewer splits, in words."""
    failures = [record for record in records if "failure" in record]
    for model in models:
        for record in failures:
            if record["model"] == model:
                why = plain(record["failure"])
                yield f"{model} failed on split {record['split']}: {why}"
    for record in records:
        if "failure_of_probe" in record:
            where = f"{record['model']} on split {record['split']}"
            why = plain(record["failure_of_probe"])
            yield f"The latent space of {where} is not told of: {why}"
    failed = {record["model"] for record in failures}
    if absent := [m for m in models if m not in have and m not in failed]:
        yield f"Not run: {'; '.join(absent)}."


def summary_table(records, scores, datasets, models):
    """One small table of all data sets."""
    ranks = summary.ranks(scores)
    overall = summary.mean_ranks(ranks)
    common = summary.common_datasets(scores)
    seconds = summary.fit_seconds(records, datasets, models)
    macro = fit = np.full(len(models), np.nan)
    if common.any():
        macro = scores[common][:, :, METRICS.index("macro-F1")].mean(axis=0)
        fit = np.median(seconds[common], axis=0)
    columns = [
        best_in_bold(overall, ".2f", min),
        best_in_bold(summary.cells_first(ranks), "d"),
        list(map(str, summary.datasets_run(scores))),
        best_in_bold(macro),
        list(map(short, fit)),
    ]
    header = ["model", "mean rank", "cells first", "data sets", "macro-F1", "fit s"]
    yield rst_table(header, rows_by_rank(models, overall, columns))
    difference = ""
    if len(models) > 1:
        enough = summary.critical_difference(len(models), len(datasets))
        difference = f"""{counted(len(datasets), "data set")} tell mean ranks apart that
        differ by {enough:.1f} or more (Nemenyi's test)."""
    yield paragraph(
        f"""Mean rank, and in how many cells a model is alone the best, of
        {scores[:, 0].size} cells ({counted(len(datasets), "data set")} by
        {len(METRICS)} metrics), thresholds chosen on validation rows. On a data set
        that it could not run, for want of time or memory, a model is last. {difference}
        Mean macro-F1, and the median of the seconds of a fit on one thread, over what
        all models could run: {counted(common.sum(), "data set")}."""
    )
