"""From records to numbers: means, ranks, and how far C-GMVAE is from its peers.

Tables of scores and ranks are arrays (data sets, models, metrics); a score that is
lacking, because a fit failed or was not made, is NaN.
"""

import numpy as np
from scipy.stats import rankdata, studentized_range

from benchmarks.accuracy.models import COMPARED, OURS
from benchmarks.accuracy.protocol import METRICS

# The defaults of C-GMVAE were chosen by looking at these data sets. Of the last two it
# was seen, on test rows, that one higher linear_penalty does not suit both.
CHOSEN_ON = ("yeast", "emotions", "bibtex", "sider", "corel16k001", "reuters")

# So much below the best peer still counts as level with it.
LEVEL = 0.005

# Records hold hundredths of a second; a fit takes no less, so that ratios exist.
SHORTEST_FIT = 0.01


def full_size(records):
    """The records of fits on all training rows, in the order of their splits."""
    chosen = [record for record in records if record["fraction"] == 1]
    return sorted(chosen, key=lambda record: record["split"])


def run_everywhere(records, models):
    """The models that were run on every data set, whether or not they failed."""
    datasets = set(datasets_of(records))
    found = {(record["dataset"], record["model"]) for record in records}
    return [m for m in models if all((dataset, m) in found for dataset in datasets)]


def splits_of(records):
    """The splits that there are results of, {(dataset, model): set}."""
    splits = {}
    for record in records:
        if "failure" not in record:
            key = record["dataset"], record["model"]
            splits.setdefault(key, set()).add(record["split"])
    return splits


def on_shared_splits(records, models):
    """The records on splits that all of ``models`` have, and all failures.

    Models are compared on the same rows. One that fails on a split of a data set has no
    results there, and is in no other model's way.
    """
    failed = {(r["dataset"], r["model"]) for r in records if "failure" in r}
    shared = {}
    for (dataset, model), found in splits_of(records).items():
        if model in models and (dataset, model) not in failed:
            shared[dataset] = shared.get(dataset, found) & found

    def counts(record):
        if (record["dataset"], record["model"]) in failed:
            return "failure" in record
        splits = shared.get(record["dataset"], {record["split"]})
        return record["split"] in splits

    return [record for record in records if counts(record)]


def on_splits_of(records, model):
    """The records on the splits of a model, of what was run on all of these."""
    splits = splits_of(records)

    def counts(record):
        wanted = splits.get((record["dataset"], model), set())
        found = splits.get((record["dataset"], record["model"]), set())
        return wanted <= found and record["split"] in wanted

    return [record for record in records if counts(record)]


def datasets_of(records):
    """The data sets that there are records of, by name."""
    return sorted({record["dataset"] for record in records})


def models_of(records, names=COMPARED):
    """Those of the names that there are records of, in the given order."""
    recorded = {record["model"] for record in records}
    return [name for name in names if name in recorded]


def is_peer(model):
    """Whether a model is none of the versions of C-GMVAE."""
    return not model.startswith(OURS)


def split_means(records, value):
    """The mean of ``value(record)`` over splits, {(dataset, model): mean}.

    ``value`` is a number or some, or None.
    """
    values = {}
    for record in records:
        if "failure" not in record and (found := value(record)) is not None:
            values.setdefault((record["dataset"], record["model"]), []).append(found)
    # Rounded, so that equal means are equal however they were added up.
    return {key: np.round(np.mean(v, axis=0), 12) for key, v in values.items()}


def split_counts(records):
    """How many splits the means are of, {(dataset, model): number}."""
    return {key: len(found) for key, found in splits_of(records).items()}


def mean_scores(records, datasets, models, protocol="validation"):
    """Means over splits, (datasets, models, metrics); NaN where there are none."""

    def scores(record):
        return [record["scores"][protocol][metric] for metric in METRICS]

    means = split_means(records, scores)
    lacking = np.full(len(METRICS), np.nan)
    return np.array([[means.get((d, m), lacking) for m in models] for d in datasets])


def ranks(scores):
    """Ranks of the models in each cell (a data set and metric), 1 being the best.

    Models that are level share the mean of their ranks; so do, at the end, those that
    lack the data set.
    """
    return rankdata(-np.nan_to_num(scores, nan=-np.inf), axis=1)


def mean_ranks(cell_ranks):
    """The mean rank of each model over all cells.

    All data sets have the same metrics, so this is the mean over data sets of a data
    set's rank, which is the mean over its metrics.
    """
    return cell_ranks.mean(axis=(0, 2))


def cells_first(cell_ranks):
    """In how many cells each model is the best of all, and alone in that."""
    return (cell_ranks == 1).sum(axis=(0, 2))


def critical_difference(n_models, n_datasets, alpha=0.05):
    """The difference of mean ranks that Nemenyi's test asks for (Demsar, 2006).

    ``n_datasets`` is the number of data sets, not of cells: the metrics of one data set
    are of the same predictions, and no independent observations.
    """
    q = studentized_range.ppf(1 - alpha, n_models, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(n_models * (n_models + 1) / (6 * n_datasets)))


def groups_alike(ranks_of_models, difference):
    """The longest runs of models in the order of rank that differ by less.

    Pairs of a first and a last rank; a model alone is no group.
    """
    ordered = np.sort(ranks_of_models)
    groups = []
    for first in ordered:
        last = ordered[ordered - first < difference][-1]
        # A run that ends where the one before it ends is a part of that one.
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((float(first), float(last)))
    return groups


def margins(scores, models):
    """C-GMVAE less the best peer, (datasets, metrics); NaN where either is lacking."""
    peers = scores[:, [is_peer(model) for model in models]]
    best = np.nan_to_num(peers, nan=-np.inf).max(axis=1, initial=-np.inf)
    best[np.isinf(best)] = np.nan
    return np.round(scores[:, models.index(OURS)] - best, 12)


def count_bars(margins_of_cells):
    """How many cells there are, how many level with the best peer, how many above.

    A cell that C-GMVAE lacks counts, and is none of these.
    """
    return {
        "cells": margins_of_cells.size,
        "level": int((margins_of_cells >= -LEVEL).sum()),
        "first": int((margins_of_cells > 0).sum()),
        "clearly first": int((margins_of_cells > LEVEL).sum()),
    }


def datasets_run(scores):
    """On how many data sets each model has results, (models,)."""
    return (~np.isnan(scores).any(axis=2)).sum(axis=0)


def common_datasets(scores):
    """Which data sets all models have that have any, a mask (datasets,)."""
    has = ~np.isnan(scores).any(axis=2)
    return has[:, has.any(axis=0)].all(axis=1)


def fit_seconds(records, datasets, models):
    """Mean seconds of a fit, (datasets, models)."""
    means = split_means(records, lambda record: record["fit_seconds"])
    rows = [[means.get((d, m), np.nan) for m in models] for d in datasets]
    return np.array(rows)


def fit_ratios(seconds, models):
    """How many times as long as C-GMVAE's a model's fits take, (models,).

    The geometric mean over the data sets that both have; NaN if there is none.
    """
    logarithms = np.log(np.maximum(seconds, SHORTEST_FIT))
    differences = logarithms - logarithms[:, [models.index(OURS)]]
    have = ~np.isnan(differences)
    sums = np.where(have, differences, 0).sum(axis=0)
    counts = have.sum(axis=0)
    means = np.full(len(models), np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return np.exp(means)


def versions_of(records):
    """Every version of each package that the records are of, {package: [version]}."""
    versions = {}
    for record in records:
        for package, version in record.get("versions", {}).items():
            versions.setdefault(package, set()).add(version)
    return {package: sorted(found) for package, found in sorted(versions.items())}
