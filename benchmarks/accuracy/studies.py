"""Tables of variants of one model: the paper's experiments, and our own."""

import numpy as np

from benchmarks.accuracy import summary
from benchmarks.accuracy.models import LATENT, OURS, PAPER, STUDIES
from benchmarks.accuracy.protocol import METRICS, PROTOCOLS
from benchmarks.accuracy.rst import (
    best_in_bold,
    number,
    paragraph,
    rst_table,
    short,
    title,
)

# The paper's Tables 1, 2 and 3: its C-GMVAE on the data sets that are here too.
PRINTED = {
    "delicious": {"example-F1": 0.381, "macro-F1": 0.197, "p@1": 0.707},
    "reuters": {"example-F1": 0.917, "macro-F1": 0.582, "p@1": 0.939},
    "scene": {"example-F1": 0.777, "macro-F1": 0.769, "p@1": 0.788},
    "sider": {"example-F1": 0.771, "macro-F1": 0.691, "p@1": 0.962},
    "yeast": {"example-F1": 0.656, "macro-F1": 0.487, "p@1": 0.751},
}
OTHER_FEATURES = ("reuters", "sider")

# What it prints of other systems: example-F1, macro-F1 and p@1.
PRINTED_PEERS = {
    "scene": {
        "SLEEC": (0.718, 0.699, 0.730),
        "C2AE": (0.698, 0.728, 0.703),
        "LaMP": (0.728, 0.745, 0.746),
        "MPVAE": (0.751, 0.750, 0.777),
    },
    "yeast": {
        "SLEEC": (0.643, 0.425, 0.745),
        "C2AE": (0.614, 0.427, 0.749),
        "LaMP": (0.624, 0.480, 0.740),
        "MPVAE": (0.648, 0.482, 0.743),
    },
}


def studies(records):
    """A section a study that there are records of; C-GMVAE itself is a row of each."""
    full = summary.full_size(records)
    yield from beside_the_paper(full)
    yield from peers_beside_the_paper(full)
    for name, variants in STUDIES.items():
        datasets = summary.datasets_of(r for r in full if r["model"] in variants)
        if datasets:
            yield title(name, "-")
            names = [OURS, *(variant for variant in variants if variant != OURS)]
            yield ablation_table(full, datasets, names)
            yield paragraph("Means over splits; " + PROTOCOLS["validation"] + ".")
            if name == LATENT:
                shared = summary.on_shared_splits(full, names)
                yield from latent_space(shared, datasets, names)
    yield from fewer_rows(records)


def beside_the_paper(records):
    """The figures that the paper prints, and what came of its protocol here."""
    ours = [r for r in records if r["model"] in (OURS, *PAPER)]
    datasets = [name for name in summary.datasets_of(ours) if name in PRINTED]
    if not datasets:
        return
    rows = []
    for dataset in datasets:
        here = [record for record in ours if record["dataset"] == dataset]
        models = summary.models_of(here)
        here = summary.on_shared_splits(here, models)
        scores = summary.mean_scores(here, [dataset], models, "test")[0]
        metrics = PRINTED[dataset]
        chosen = scores[:, [METRICS.index(metric) for metric in metrics]]
        chosen = np.vstack([list(metrics.values()), chosen])
        name = f"{dataset}, other features" if dataset in OTHER_FEATURES else dataset
        counts = summary.split_counts(here)
        splits = [None, *(counts.get((dataset, model), 0) for model in models)]
        columns = [best_in_bold(column) for column in chosen.T]
        columns.append([number(n, "d") for n in splits])
        names = ["as printed in the paper", *models]
        rows += zip([name] * len(names), names, *columns, strict=True)
    yield title("Beside the paper's own figures", "-")
    yield rst_table(["data set", "model", *PRINTED["yeast"], "splits"], rows)
    yield paragraph(
        f"""By the protocol of the paper: {PROTOCOLS["test"]}. The splits are random
        ones, the paper's are others. Where the features are others too, nothing follows
        from the comparison."""
    )


def peers_beside_the_paper(records):
    """What the paper prints of other systems, and what came of them here."""
    rows, counts = [], summary.split_counts(records)
    for dataset, printed in PRINTED_PEERS.items():
        for model in (m for m in printed if (dataset, m) in counts):
            scores = summary.mean_scores(records, [dataset], [model], "test")[0, 0]
            pairs = zip(PRINTED["yeast"], printed[model], strict=True)
            columns = [(number(p), number(scores[METRICS.index(m)])) for m, p in pairs]
            splits = number(counts[dataset, model], "d")
            rows.append([dataset, model, *sum(columns, ()), splits])
    if not rows:
        return
    heads = [head for metric in PRINTED["yeast"] for head in (metric, "here")]
    yield title("The paper's other systems beside its figures", "-")
    yield rst_table(["data set", "model", *heads, "splits"], rows)
    yield paragraph(
        f"""Each metric as printed, and as it came out here, by the paper's protocol
        ({PROTOCOLS["test"]}), with the defaults of this package. The means of all
        models under the fair protocol are in the tables by data set."""
    )


def fewer_rows(records):
    """Models trained on a part of the training rows, beside all models on all."""
    parts = [record for record in records if record["fraction"] < 1]
    if not parts:
        return
    shown = {record["model"] for record in parts} | {"C-GMVAE, published code"}
    datasets = summary.datasets_of(parts)
    named = [
        record | {"model": f"{record['model']}, {record['fraction']:.0%} of the rows"}
        for record in sorted(records, key=lambda r: (r["model"], -r["fraction"]))
        if record["model"] in shown
    ]
    names = list(dict.fromkeys(record["model"] for record in named))
    yield title("Fewer training rows (the paper's Table 5 and figure 2)", "-")
    yield ablation_table(named, datasets, names)
    yield paragraph("Means over splits; " + PROTOCOLS["validation"] + ".")


def ablation_table(records, datasets, variants):
    """Variants by metrics: for each data set those that it has, then their mean.

    The mean is over the data sets that all the variants have, and has no block where
    this is but one.
    """
    variants = summary.models_of(records, variants)
    chosen = [r for r in records if r["model"] in variants and r["dataset"] in datasets]
    records = summary.on_shared_splits(chosen, variants)
    scores = summary.mean_scores(records, datasets, variants)
    counts = summary.split_counts(records)
    blocks = [
        (dataset, scores[d], [counts.get((dataset, v), 0) for v in variants])
        for d, dataset in enumerate(datasets)
    ]
    common = summary.common_datasets(scores)
    if common.sum() > 1:
        mean = scores[common].mean(axis=0)
        blocks.append((f"mean of {common.sum()}", mean, [None] * len(variants)))
    rows = []
    for name, block, splits in blocks:
        columns = [best_in_bold(block[:, m]) for m in range(len(METRICS))]
        columns.append([number(n, "d") for n in splits])
        block_rows = zip([name] * len(variants), variants, *columns, strict=True)
        rows += [row for row, n in zip(block_rows, splits, strict=True) if n != 0]
    return rst_table(["data set", "model", *METRICS, "splits"], rows)


def latent_space(records, datasets, models):
    """How much of its latent space each version of C-GMVAE uses, and for what."""
    records = [record for record in records if "latent_dimensions" in record]
    if not records:
        return
    values = [
        summary.split_means(records, value)
        for value in (
            lambda r: r["active_dimensions"],
            lambda r: r["latent_dimensions"],
            lambda r: r.get("stretched_dimensions", 0),
            lambda r: r["probe_micro_F1"],
            lambda r: r["scores"]["validation"]["micro-F1"],
            lambda r: r["best_epoch"],
            lambda r: r["epochs"],
        )
    ]
    rows = []
    for key in ((d, m) for d in datasets for m in models):
        if key in values[0]:
            active, of, stretched, probe, micro, best, epochs = (v[key] for v in values)
            latent = f"{short(active)} of {short(of)}", short(stretched)
            training = f"{short(best)} of {short(epochs)}"
            rows.append([*key, *latent, number(probe), number(micro), training])
    columns = "active", "stretched", "probe", "model itself", "best epoch"
    yield rst_table(["data set", "model", *columns], rows)
    yield paragraph(
        """A latent dimension is active if its mean differs between test rows, by a
        standard deviation of more than 0.1, and stretched if ``min_latent_std`` widens
        it in predictions. The probe is a logistic regression on
        the latent means, its penalty chosen on validation rows; so is the threshold of
        its micro-F1, and of that of the model itself."""
    )
