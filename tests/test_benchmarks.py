"""The protocol and the records of the accuracy benchmark."""

import time

import numpy as np
import pytest
from common import small
from scipy.sparse import csr_matrix
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import log_loss

from benchmarks.accuracy import __main__ as accuracy
from benchmarks.accuracy import running
from benchmarks.accuracy.models import COMPARED, MODELS, NEURAL_PEERS, Forest
from benchmarks.accuracy.protocol import THRESHOLDS, evaluate, split
from benchmarks.accuracy.running import (
    Setting,
    Task,
    about_training,
    stretched_dimensions,
)
from benchmarks.records import read
from skcgmvae.datasets import load_npz


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
    # Either label is told apart by a threshold of its own, .5 and .2, on those rows; on
    # the test rows that of the second lets the .2 through.
    assert scores["per label"] == {"macro-F1": pytest.approx((1 + 2 / 3) / 2)}
    P_valid[:, 1] = [0.3, 0.7]
    assert evaluate(Y, P_valid, Y, P_test)["per label"] == {"macro-F1": 1.0}


@pytest.fixture
def folder(tmp_path):
    """A folder with one small data set, and room for records."""
    X, Y = make_multilabel_classification(60, 5, n_classes=3, random_state=0)
    arrays = {"X": X.astype(np.float32), "Y": Y.astype(np.uint8)}
    names = {"feature_names": list("abcde"), "label_names": list("xyz")}
    np.savez(tmp_path / "toy.npz", **arrays, **names)
    return tmp_path


def command(folder, *arguments):
    accuracy.main(["--records", str(folder / "records.jsonl"), *arguments])
    return read(folder / "records.jsonl")


def run(folder, *models, splits="1", **options):
    options = [text for item in options.items() for text in item]
    names = ["run", "--datasets", "toy", "--models", *models, "--splits", splits]
    return command(folder, *names, "--folder", str(folder), *options)


def test_a_run_goes_on_where_it_stopped(folder):
    (first,) = run(folder, "logistic")
    records = run(folder, "logistic", splits="2")
    assert records[0] == first
    assert [record["split"] for record in records] == [0, 1]
    assert run(folder, "logistic", splits="2") == records


def test_a_record_holds_what_its_task_gives(folder):
    (record,) = run(folder, "logistic", **{"--fraction": "0.5"})
    assert record["fraction"] == 0.5 and record["peak_mib"] > 50
    X, Y = load_npz("toy", folder=folder, return_X_y=True)
    train, _, test = split(60, 0, fraction=0.5)
    assert len(train) == 24
    P = MODELS["logistic"](X, 0).fit(X[train], Y[train]).predict_proba(X[test])
    assert record["scores"]["half"]["p@1"] == pytest.approx(
        Y[test][range(len(test)), P.argmax(axis=1)].mean()
    )
    losses = [log_loss(Y[test][:, i], P[:, i], labels=[0, 1]) for i in range(3)]
    assert record["ranking"]["log-loss"] == pytest.approx(np.mean(losses))


def test_a_quick_run_is_of_the_defaults_on_two_small_sets(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(accuracy, "run_all", lambda tasks, *_: seen.extend(tasks))
    command(tmp_path, "run", "--quick")
    assert {(task.dataset, task.split) for task in seen} == {
        ("emotions", 0),
        ("sider", 0),
    }
    models = {task.model for task in seen}
    assert models == {name for name in COMPARED if "," not in name} - {*NEURAL_PEERS}
    assert {"C-GMVAE", "logistic", "HARAM"} < models
    seen.clear()
    command(tmp_path, "run", "--quick", "--models", "C-GMVAE, Eq. 7")
    assert [task.model for task in seen] == ["C-GMVAE, Eq. 7"] * 2
    seen.clear()
    command(tmp_path, "run")
    assert {task.model for task in seen} == set(COMPARED)


def test_a_quick_run_has_a_file_of_its_own(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    used = []
    monkeypatch.setattr(accuracy, "run_all", lambda tasks, path, *_: used.append(path))
    accuracy.main(["run", "--quick"])
    accuracy.main(["run"])
    quick, usual = used
    assert tmp_path in quick.parents and not quick.exists()
    assert usual == accuracy.RECORDS
    assert capsys.readouterr().out.split() == [str(quick), str(usual)]


def test_what_fails_is_recorded_in_words_and_not_tried_on_other_splits(folder):
    records = run(folder, "kNN", splits="3", **{"--max-seconds": "0"})
    assert [(r["split"], r["failure"]) for r in records] == [(0, "not ended after 0 s")]
    assert run(folder, "kNN", splits="3") == records
    records = run(folder, "MLP", **{"--max-gib": "0.001"})
    assert "failure" in records[-1]


def test_what_fails_on_all_rows_is_tried_on_a_part_of_them(folder):
    run(folder, "kNN", **{"--max-seconds": "0"})
    *_, last = run(folder, "kNN", **{"--fraction": "0.5"})
    assert last["fraction"] == 0.5 and "scores" in last


def scores_and_a_long_probe(sender, task, setting):
    sender.send(task._asdict() | {"scores": 1})
    time.sleep(setting.max_seconds + 1)
    sender.send({"probe_micro_F1": 2})


def scores_and_a_failure(sender, task, setting):
    sender.send(task._asdict() | {"scores": 1})
    sender.send(task._asdict() | {"failure": "of the probe"})


def test_the_limit_of_time_is_on_the_model_alone(monkeypatch):
    task, setting = Task("toy", "C-GMVAE", 0), Setting(max_seconds=3)
    # The first process of all takes longer to start.
    monkeypatch.setattr(running, "_send", scores_and_a_failure)
    record = running.run_apart(task, setting._replace(max_seconds=60))
    expected = task._asdict() | {"scores": 1, "failure_of_probe": "of the probe"}
    assert record == expected
    monkeypatch.setattr(running, "_send", scores_and_a_long_probe)
    record = running.run_apart(task, setting)
    assert record == task._asdict() | {"scores": 1, "probe_micro_F1": 2}


def test_the_latent_space_is_judged(folder):
    (record,) = run(folder, "C-GMVAE, n_members 1")
    assert 0 <= record["active_dimensions"] <= record["latent_dimensions"]
    assert 0 < record["probe_micro_F1"] <= 1
    assert record["stretched_dimensions"] <= record["latent_dimensions"]
    assert 1 <= record["best_epoch"] <= record["epochs"]
    assert "smoothed_epochs" not in record


def test_smoothed_epochs_are_counted():
    X, Y = make_multilabel_classification(80, 6, n_classes=3, random_state=0)
    clf = small(label_smoothing="auto", max_iter=5).fit(X, Y)
    clf.best_epoch_ = 4
    for epoch, amount in zip(clf.history_, [0.0, 0.1, 0.0, 0.2, 0.3], strict=True):
        epoch["label_smoothing"] = amount
    assert about_training(clf)["smoothed_epochs"] == 2


def test_stretched_dimensions_are_counted():
    X, Y = make_multilabel_classification(80, 6, n_classes=3, random_state=0)
    counts = [
        stretched_dimensions(small(n_members=2, min_latent_std=width).fit(X, Y))
        for width in (0, 1e-6, 1e6)
    ]
    assert counts == [0, 0, 16]


@pytest.mark.parametrize("name", COMPARED)
def test_every_model_gives_probabilities(name):
    if "LightGBM" in name:
        pytest.importorskip("lightgbm")
    X, Y = make_multilabel_classification(80, 6, n_classes=3, random_state=0)
    for form in (np.asarray, csr_matrix):
        model = MODELS[name](form(X), 0)
        if name.startswith("C-GMVAE") or name in NEURAL_PEERS:
            model.set_params(max_iter=1, min_steps_per_epoch=1)
        P = model.fit(form(X), Y).predict_proba(form(X))
        assert P.shape == Y.shape and np.isfinite(P).all()


def test_unknown_names_are_refused(folder, capsys):
    with pytest.raises(SystemExit):
        run(folder, "no such model")
    assert "no such model" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["logistic", "MLP"])
def test_no_peer_mixes_up_more_labels_than_a_byte_can_count(name):
    rng = np.random.RandomState(0)
    X = rng.randn(150, 3)
    often = np.linspace(0.02, 0.9, 300)
    Y = (rng.rand(150, 300) < often).astype(np.uint8)
    P = MODELS[name](X, 0).fit(X, Y).predict_proba(X)
    assert np.corrcoef(P.mean(axis=0), often)[0, 1] > 0.9


@pytest.mark.parametrize(
    "name", ["logistic", "linear SVM", "chain of logistic", "kNN", "MLkNN", "SLEEC"]
)
def test_of_sparse_rows_only_the_shares_count(name):
    X, Y = make_multilabel_classification(80, 6, n_classes=3, random_state=0)
    longer = X * np.linspace(1, 9, 80)[:, np.newaxis]
    P, longer_P = (
        MODELS[name](csr_matrix(rows), 0)
        .fit(csr_matrix(rows), Y)
        .predict_proba(csr_matrix(rows))
        for rows in (X, longer)
    )
    np.testing.assert_allclose(longer_P, P, atol=1e-6)


def test_a_chain_may_have_a_label_that_is_always_the_same():
    X, Y = make_multilabel_classification(80, 6, n_classes=3, random_state=0)
    Y[:, 0] = 0
    P = MODELS["chain of logistic"](X, 0).fit(X, Y).predict_proba(X)
    assert (P[:, 0] < 1e-9).all() and 0.1 < P[:, 1:].std()


def test_a_forest_is_smaller_where_it_would_not_fit_in_memory(monkeypatch):
    X, Y = make_multilabel_classification(40, 4, n_classes=3, random_state=0)
    for most, n_trees in ((Y.size, 500), (Y.size - 1, 100)):
        monkeypatch.setattr(Forest, "MOST_LABELS", most)
        for name in ("random forest", "extra trees"):
            model = MODELS[name](X, 0).fit(X, Y)
            assert len(model.estimator.estimators_) == n_trees
