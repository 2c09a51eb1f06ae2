"""Run models on real data sets, a record a data set, model and split; report them.

    SKCGMVAE_DATA=folder python -m benchmarks.accuracy run --datasets yeast scene
    python -m benchmarks.accuracy report

A run that was killed goes on where it stopped: what has a record is not run again.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import sklearn
import torch
from scipy.sparse import issparse
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler
from tqdm import tqdm

import skcgmvae
from benchmarks.accuracy.protocol import (
    METRICS,
    THRESHOLDS,
    evaluate,
    split,
    thresholded_scores,
)
from benchmarks.peers import Peer
from benchmarks.records import append, read
from skcgmvae import CGMVAEClassifier
from skcgmvae.baselines import HARAM, MLARAM, BinaryRelevance, MLkNN
from skcgmvae.datasets import load_npz

RESULTS = Path(__file__).parents[1] / "results"


def logistic(X):
    """One logistic regression a label, on features scaled as suits them."""
    scaler = MaxAbsScaler() if issparse(X) else StandardScaler()
    return make_pipeline(scaler, BinaryRelevance(LogisticRegression(max_iter=500)))


# "peer" is scikit-multilearn-ng.
MODELS = {
    "C-GMVAE": lambda X, seed: CGMVAEClassifier(random_state=seed, device="cpu"),
    "logistic": lambda X, seed: logistic(X),
    "MLkNN": lambda X, seed: MLkNN(),
    "MLkNN, exclude_self": lambda X, seed: MLkNN(exclude_self=True),
    "MLARAM": lambda X, seed: MLARAM(),
    "HARAM": lambda X, seed: HARAM(),
    "MLkNN, peer": lambda X, seed: Peer("MLkNN"),
    "MLARAM, peer": lambda X, seed: make_pipeline(
        MinMaxScaler(clip=True), Peer("MLARAM")
    ),
}


def probe(model, X_train, Y_train, X_test, Y_test):
    """What the latent space knows: active dimensions, and a logistic probe on it."""
    Z = model.transform(X_test)
    linear = OneVsRestClassifier(LogisticRegression(max_iter=500))
    linear.fit(model.transform(X_train), Y_train)
    micro = thresholded_scores(Y_test, linear.predict_proba(Z))[:, 1 + 1]
    return {
        "active_dimensions": int((Z.std(axis=0) > 0.1).sum()),
        "probe_micro_F1": float(micro.max()),
    }


def run_one(dataset, name, seed, with_probe):
    """Train and evaluate one model on one split; the record as a dict."""
    X, Y = load_npz(dataset, return_X_y=True)
    Y = Y.toarray() if issparse(Y) else Y
    train, valid, test = split(len(Y), seed)
    model = MODELS[name](X, seed)
    start = time.perf_counter()
    model.fit(X[train], Y[train])
    fitted = time.perf_counter()
    P_valid, P_test = model.predict_proba(X[valid]), model.predict_proba(X[test])
    record = {
        "dataset": dataset,
        "model": name,
        "split": seed,
        "scores": evaluate(Y[valid], P_valid, Y[test], P_test),
        "fit_seconds": round(fitted - start, 2),
        "predict_seconds": round(time.perf_counter() - fitted, 3),
        "threads": torch.get_num_threads(),
        "versions": {
            "skcgmvae": skcgmvae.__version__,
            "scikit-learn": sklearn.__version__,
            "torch": torch.__version__,
        },
    }
    if isinstance(model, CGMVAEClassifier):
        record |= {"epochs": model.n_iter_, "best_epoch": model.best_epoch_}
        if with_probe:
            record |= probe(model, X[train], Y[train], X[test], Y[test])
    return record


def run(arguments):
    """Run what has no record yet, and append its record."""
    torch.set_num_threads(arguments.threads)
    done = {(r["dataset"], r["model"], r["split"]) for r in read(arguments.records)}
    wanted = [
        (dataset, model, seed)
        for dataset in arguments.datasets
        for model in arguments.models
        for seed in range(arguments.splits)
    ]
    todo = [key for key in wanted if key not in done]
    for dataset, model, seed in (bar := tqdm(todo, unit="fit")):
        bar.set_postfix_str(f"{dataset}, {model}, split {seed}")
        record = run_one(dataset, model, seed, arguments.probe)
        append(arguments.records, record)


def report(arguments):
    """Print means over the splits, a block a data set and protocol."""
    records = read(arguments.records)
    print(f"Thresholds: {THRESHOLDS[0]} to {THRESHOLDS[-1]} in steps of 0.05.")
    for dataset in dict.fromkeys(r["dataset"] for r in records):
        for protocol in ("half", "validation", "test"):
            note = " (no fair estimate)" if protocol == "test" else ""
            print(f"\n{dataset}, threshold: {protocol}{note}")
            heads = [*METRICS, "fit s", "splits", "active", "probe"]
            print(f"{'':20s}" + "".join(f"{head:>11s}" for head in heads))
            for model in dict.fromkeys(r["model"] for r in records):
                rows = [r for r in records if r["dataset"] == dataset]
                rows = [r for r in rows if r["model"] == model]
                if rows:
                    print(f"{model:20s}" + "".join(cells(rows, protocol)))


def cells(rows, protocol):
    """The cells of a model's line: means, and '-' for what was not measured."""
    for metric in METRICS:
        yield f"{np.mean([r['scores'][protocol][metric] for r in rows]):11.3f}"
    yield f"{np.median([r['fit_seconds'] for r in rows]):11.1f}"
    yield f"{len(rows):11d}"
    for key, form in (("active_dimensions", ".0f"), ("probe_micro_F1", ".3f")):
        values = [r[key] for r in rows if key in r]
        yield f"{format(np.mean(values), form) if values else '-':>11s}"


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=Path, default=RESULTS / "accuracy.jsonl")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("run", help="run what has no record yet")
    command.add_argument("--datasets", nargs="+", required=True)
    command.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    command.add_argument("--splits", type=int, default=3)
    command.add_argument("--threads", type=int, default=1)
    command.add_argument(
        "--probe", action="store_true", help="judge the latent space too"
    )
    commands.add_parser("report", help="print the means over the splits")
    arguments = parser.parse_args()
    {"run": run, "report": report}[arguments.command](arguments)


if __name__ == "__main__":
    main()
