"""The examples run, and print what they say they print."""

import runpy
import sys
import warnings
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import scipy.sparse as sp

import skcgmvae
from skcgmvae.datasets import load_digit_attributes
from skcgmvae.model_selection import label_balanced_split

EXAMPLES = Path(__file__).parents[1] / "examples"
QUICKSTART = EXAMPLES / "plot_quickstart.py"
COMPARISON = EXAMPLES / "plot_compare_baselines.py"
CLASSIFIERS = ["C-GMVAE", "BR", "MLkNN", "HARAM"]


class Short(skcgmvae.CGMVAEClassifier):
    """Training that takes a moment; those that were fitted are kept."""

    fitted = []

    def fit(self, X, Y):
        self.set_params(max_iter=2, min_steps_per_epoch=20)
        Short.fitted.append(self)
        return super().fit(X, Y)

    # The parameters of scikit-learn's estimators are read off the signature.
    __init__ = skcgmvae.CGMVAEClassifier.__init__


def run_example(path, monkeypatch, capsys, *arguments):
    """Run a script with short training; what it prints."""
    Short.fitted.clear()
    monkeypatch.setattr(skcgmvae, "CGMVAEClassifier", Short)
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runpy.run_path(str(path), run_name="__main__")
    return capsys.readouterr().out


@pytest.fixture
def quickstart(monkeypatch, capsys, tmp_path):
    """Run the script; give its table, C-GMVAE, its picture and what it prints."""

    def run(*arguments):
        output = tmp_path / "pictures"
        printed = run_example(
            QUICKSTART, monkeypatch, capsys, "--output", str(output), *arguments
        )
        table = {
            name: [float(value) for value in line.removeprefix(name).split()]
            for name in CLASSIFIERS
            for line in printed.splitlines()
            if line.startswith(name)
        }
        (picture,) = output.glob("*.png")
        assert f"label similarity: {picture.resolve()}" in printed
        return table, Short.fitted[0], picture, printed

    return run


def metrics_by_hand(Y, probabilities, threshold):
    """The five metrics from their definitions."""
    predicted = probabilities >= threshold
    true = Y.astype(bool)

    def f1(true, predicted):
        of_both = true.sum() + predicted.sum()
        return 2 * (true & predicted).sum() / of_both if of_both else 0.0

    return [
        (true == predicted).mean(),
        np.mean([f1(*row) for row in zip(true, predicted, strict=True)]),
        f1(true, predicted),
        np.mean([f1(*label) for label in zip(true.T, predicted.T, strict=True)]),
        np.mean([row[p.argmax()] for row, p in zip(true, probabilities, strict=True)]),
    ]


def check_picture(path):
    pixels = matplotlib.image.imread(path)[..., :3]
    assert min(pixels.shape[:2]) > 300
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


def test_quickstart_on_the_built_in_data(quickstart):
    table, classifier, picture, printed = quickstart("--seed", "3")
    assert list(table) == CLASSIFIERS
    X, Y = load_digit_attributes(return_X_y=True)
    _, test = label_balanced_split(Y, test_size=0.2, random_state=3)
    assert f"{len(test)} held-out rows" in printed
    *metrics, threshold, seconds = table["C-GMVAE"]
    expected = metrics_by_hand(Y[test], classifier.predict_proba(X[test]), threshold)
    # The threshold is printed with three digits: a label or two may fall between.
    np.testing.assert_allclose(metrics, expected, atol=3e-3)
    assert 0 < threshold < 1
    assert seconds > 0
    for name in CLASSIFIERS[1:]:
        assert len(table[name]) == 7
        assert all(0.85 < metric <= 1 for metric in table[name][:5])
    assert picture.name == "label_similarity_digit_attributes.png"
    check_picture(picture)


@pytest.mark.parametrize("sparse", [False, True])
def test_quickstart_on_a_file(quickstart, monkeypatch, tmp_path, sparse):
    rng = np.random.RandomState(0)
    X = rng.poisson(0.4, (150, 12)).astype(np.float32)
    # Rows without labels, a label that never occurs, one that always does, and one
    # that a single row has.
    Y = (X[:, :6] > 0).astype(np.uint8)
    Y[:, 3], Y[:, 4], Y[:, 5] = 0, 1, np.arange(150) == 7
    Y[:10] = 0
    Y[:, 4] = 1
    arrays = {"X": X, "Y": Y}
    if sparse:
        arrays = {
            f"{name}_{part}": value
            for name, matrix in arrays.items()
            for part in ("data", "indices", "indptr", "shape")
            for value in [getattr(sp.csr_matrix(matrix), part)]
        }
    names = {
        "feature_names": [f"f{i}" for i in range(12)],
        "label_names": [f"l{i}" for i in range(6)],
    }
    np.savez(tmp_path / "made.npz", **arrays, **names)
    monkeypatch.setenv("SKCGMVAE_DATA", str(tmp_path))
    table, classifier, picture, printed = quickstart("--dataset", "made")
    assert "made: 150 rows, 12 features, 6 labels" in printed
    assert list(table) == CLASSIFIERS
    for *metrics, _, _ in table.values():
        assert all(0 <= metric <= 1 for metric in metrics)
    _, test = label_balanced_split(Y, test_size=0.2, random_state=0)
    probabilities = classifier.predict_proba(X[test])
    expected = metrics_by_hand(Y[test], probabilities, table["C-GMVAE"][5])
    np.testing.assert_allclose(table["C-GMVAE"][:5], expected, atol=2e-2)
    check_picture(picture)


def test_quickstart_says_what_to_do_about_a_missing_file(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("SKCGMVAE_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(QUICKSTART), "--dataset", "nothing"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(QUICKSTART), run_name="__main__")
    assert "nothing.npz" in capsys.readouterr().err


def test_comparison_of_the_baselines(monkeypatch, capsys, tmp_path):
    printed = run_example(
        COMPARISON, monkeypatch, capsys, "--output", str(tmp_path / "pictures")
    )
    lines = [line for line in printed.splitlines() if ", " in line]
    assert [line.split(",")[0] for line in lines] == np.repeat(CLASSIFIERS, 2).tolist()
    scores = np.array([line[18:].split() for line in lines], dtype=float)
    assert ((scores > 0.7) & (scores <= 1)).all()
    # Three folds for four classifiers, of which one is C-GMVAE.
    assert len(Short.fitted) == 3
    check_picture(tmp_path / "pictures" / "compare_baselines.png")
