"""The protocol and the records of the accuracy benchmark."""

import json
import sys

import numpy as np
import pytest
from sklearn.datasets import make_multilabel_classification

from benchmarks.accuracy import __main__ as accuracy
from benchmarks.accuracy.protocol import THRESHOLDS, evaluate, split
from benchmarks.records import read


def test_split_is_the_permutation_of_the_seed():
    train, valid, test = split(50, seed=3)
    assert (len(train), len(valid), len(test)) == (40, 5, 5)
    order = np.random.RandomState(3).permutation(50)
    np.testing.assert_array_equal(np.concatenate([train, valid, test]), order)


def test_metrics_and_the_choice_of_the_threshold_by_hand():
    Y = np.array([[1, 0], [1, 1]])
    P_valid = np.array([[0.3, 0.1], [0.3, 0.3]])  # best cut: between .1 and .3
    P_test = np.array([[0.8, 0.2], [0.8, 0.6]])  # best cut: between .2 and .6
    scores = evaluate(Y, P_valid, Y, P_test)
    assert set(scores["half"].values()) == set(scores["test"].values()) == {1.0}
    # The threshold .15, best on the validation rows, lets one wrong label through.
    assert THRESHOLDS[2] == 0.15
    chosen = scores["validation"]
    assert chosen["HA"] == pytest.approx(3 / 4)
    assert chosen["micro-F1"] == pytest.approx(6 / 7)
    assert chosen["example-F1"] == pytest.approx((2 / 3 + 1) / 2)
    assert chosen["macro-F1"] == pytest.approx((1 + 2 / 3) / 2)


def test_a_run_goes_on_where_it_stopped(monkeypatch, tmp_path, capsys):
    data = make_multilabel_classification(60, 5, n_classes=3, random_state=0)
    monkeypatch.setattr(accuracy, "load_npz", lambda *_, **__: data)
    records = tmp_path / "records.jsonl"

    def run(*arguments):
        monkeypatch.setattr(
            sys, "argv", ["accuracy", "--records", str(records), *arguments]
        )
        accuracy.main()

    command = ["run", "--datasets", "toy", "--models", "logistic", "--splits"]
    run(*command, "1")
    first = records.read_text()
    run(*command, "2")
    assert records.read_text().startswith(first)
    assert [json.loads(line)["split"] for line in records.open()] == [0, 1]
    capsys.readouterr()
    run("report")
    printed = capsys.readouterr().out
    mean = np.mean([r["scores"]["half"]["HA"] for r in read(records)])
    assert f"{mean:.3f}" in printed and "no fair estimate" in printed
