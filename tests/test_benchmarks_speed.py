"""The speed benchmark: the loops that are compared, its records and its report."""

import os
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from pytest import approx
from skorch.callbacks import Callback

from benchmarks.records import append, read
from benchmarks.speed import __main__ as speed
from benchmarks.speed import memory, report, tasks, timing
from benchmarks.speed.plain import PlainLoop, SkorchLoop
from skcgmvae import CGMVAEClassifier, _step

X, Y = timing.random_data(300, 20, 9, 2.0)
X[:, :2] = X[:, :2] > [0.5, 1.5]  # indicators, one of them rare


class Losses(Callback):
    """Those of each step."""

    def on_train_begin(self, net, **kwargs):
        self.found = []

    def on_batch_end(self, net, loss=None, **kwargs):
        self.found.append(float(loss))


def training(n_members, **parameters):
    """A net before its first step, the rows it is to see, and what reads its losses."""
    losses = Losses()
    clf = CGMVAEClassifier(
        **parameters,
        n_members=n_members,
        early_stopping=False,
        min_steps_per_epoch=1,
        max_iter=1,
        random_state=0,
        device="cpu",
        callbacks=[losses],
    ).fit(X, Y)
    clf.net_.forget_steps()
    members = clf.net_.module_.members
    rows = clf._rows(clf.net_, X, Y, None)
    index = np.broadcast_to(np.arange(len(X)), (*members, len(X))).copy()
    return clf.net_, rows.only(index), losses


@pytest.mark.parametrize("n_members, n_bins", [(1, 8), (3, 8), (3, 0)])
def test_the_loop_by_hand_comes_to_the_same(n_members, n_bins):
    net, rows, losses = training(n_members, n_bins=n_bins, linear_penalty=300.0)
    assert (net.module_.linear_path.feature_cost != 1).any()
    assert (Y.sum(axis=1) == 0).any()
    by_hand = PlainLoop(net, rows)
    torch.manual_seed(3)
    net.max_epochs = 3
    net.partial_fit(rows)
    torch.manual_seed(3)
    found = sum((by_hand.epoch() for _ in range(3)), [])
    assert len(found) == 9
    np.testing.assert_allclose(found, losses.found, rtol=1e-5)
    averages = dict(zip(by_hand.weights, by_hand.average, strict=True))
    for name, weight in net.module_.named_parameters():
        # Where a gradient vanishes, Adam's first steps are of its last digit.
        difference = (averages[name].reshape(weight.shape) - weight).abs()
        assert difference.mean() < 1e-5, name
        # One number, or one and the same.
        if not name.endswith((".n_batches", ".log_factor")):
            assert weight.detach().std() > 1e-5, name


def test_the_loop_of_skorch_has_the_same_losses():
    net, rows, _ = training(1)
    by_skorch = SkorchLoop(net, rows.X, rows.y.float()).initialize()
    assert by_skorch.optimizer_.param_groups[0]["lr"] == net.lr
    x, y = rows.take(torch.arange(128))
    net._set_training(True)
    steps = []
    for loop, batch in ((net, (x, y)), (by_skorch, (x["x"], y))):
        torch.manual_seed(3)
        steps.append(loop.train_step_single(batch)["loss"].item())
    assert steps[0] == steps[1]
    by_skorch.epoch()
    assert len(by_skorch.history[-1, "batches"]) == 3


# -- records -------------------------------------------------------------------------


def command(path, *arguments):
    speed.main(["--records", str(path / "records.jsonl"), *arguments])
    return read(path / "records.jsonl")


proc = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")


@proc
def test_a_peak_is_that_since_it_was_forgotten():
    array = np.ones(2**23)  # 64 MiB
    held, peak = memory.held(), memory.peak()
    assert peak >= held > array.nbytes
    del array
    memory.forget_peak()
    assert held - memory.peak() > 2**25


@proc
def test_a_run_goes_on_where_it_stopped(tmp_path):
    one = ["run", "--tasks", "curves", "--cases", "rows 300", "--device", "cpu"]
    (first,) = command(tmp_path, *one, "--rounds", "1")
    assert first["device"] == "cpu" and first["seconds"] > 0
    assert 0 <= first["added"] < 100
    records = command(tmp_path, *one, "--rounds", "9")
    assert records[0] == first
    assert [record["round"] for record in records] == [0, 1, 2]  # and no more
    assert command(tmp_path, *one, "--rounds", "9") == records


def test_rows_a_second_of_predictions(monkeypatch):
    monkeypatch.setitem(tasks.SIZES, "yeast", (200, 8, 3, 1.0))
    one, many = (
        tasks.measure("predict", case, 0, "cpu")["rows_a_second"]
        for case in ("1 row", "1000 rows")
    )
    assert 10 < one < many


@pytest.fixture
def compiled_for(monkeypatch):
    """The device and the members of steps that were to be compiled; they are not."""
    steps = set()

    def compiled(device_type):
        def losses(module, *rest):
            steps.add((device_type, module.members))
            return _step.step_losses(module, *rest)

        return losses

    monkeypatch.setattr(_step, "compiled", compiled)
    return steps


def test_steps_are_of_all_contestants(monkeypatch, compiled_for):
    monkeypatch.setitem(tasks.SIZES, "delicious", (200, 8, 3, 1.0))  # one turn
    measured = tasks.measure("step", "delicious 1", 1, "cpu")
    names = {"ours", "by_hand", "skorch", "bfloat16", "compiled"}
    names |= {"ratio", "whole_fit", "first_compiled_fit", "validation_share"}
    assert measured.keys() == names and compiled_for == {("cpu", ())}
    assert measured["whole_fit"] > measured["ours"] > 0
    assert 0 < measured["validation_share"] < 1
    # Of one turn.
    assert measured["ratio"] == approx(measured["ours"] / measured["by_hand"])


def test_an_ensemble_is_not_compared_with_skorch(monkeypatch, compiled_for):
    monkeypatch.setitem(tasks.SIZES, "delicious", (200, 8, 3, 1.0))
    measured = tasks.measure("step", "delicious 2", 1, "cpu")
    assert "skorch" not in measured and measured["ratio"] > 0


def test_nothing_forks_where_there_is_cuda(monkeypatch, tmp_path):
    contexts = []

    class Executor(ThreadPoolExecutor):
        def __init__(self, n_workers, mp_context):
            contexts.append(mp_context.get_start_method())
            super().__init__(n_workers)

    def run(device):
        monkeypatch.setattr(speed, "resolve_device", lambda _: torch.device(device))
        command(tmp_path, "run", "--tasks", "predict", "search", "--rounds", "1")

    monkeypatch.setattr(speed, "ProcessPoolExecutor", Executor)
    monkeypatch.setattr(speed, "measure", lambda *_: {"seconds": 1.0})
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "H200")
    run("cpu")
    run("cuda")
    assert contexts == 3 * ["forkserver"] + 5 * ["spawn"]


def test_contestants_take_turns():
    calls = []
    contestants = {name: lambda name=name: calls.append(name) for name in "abc"}
    assert list(timing.in_turns(contestants, 1)) == ["a", "b", "c"]
    assert calls == list("abccab")  # all once before
    assert timing.in_turns({"a": lambda: 7.0}, 0) == {"a": 7.0}
    calls.clear()
    timing.in_turns(contestants, 0, n_turns=3)
    assert calls == list("abcabccabbca")
    took = iter([9.0, 1.0, 5.0, 2.0, 4.0])
    seconds = timing.in_turns({"a": lambda: next(took)}, 0, n_turns=4)
    assert seconds["a"].tolist() == [1.0, 5.0, 2.0, 4.0]  # the 9 was before
    assert timing.medians(seconds, scale=10) == {"a": 30.0}


def test_without_cuda_the_gpu_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="gpu needs CUDA.*--device cpu is cpu"):
        command(tmp_path, "run", "--tasks", "gpu", "--device", "cpu")


# -- the report ----------------------------------------------------------------------


def record(task, case, number=0, device="cpu", **measured):
    keys = {"task": task, "case": case, "round": number, "device": device}
    return keys | measured | {"versions": {"torch": "2.13.0"}}


def row(text, start):
    lines = (line.strip() for line in text.splitlines())
    line = next(line for line in lines if line.startswith(start + "  "))
    return [cell.strip() for cell in line.split("  ") if cell.strip()][1:]


def test_rows_a_second_beside_skorch(monkeypatch, compiled_for):
    monkeypatch.setitem(tasks.SIZES, "yeast", (200, 8, 3, 1.0))
    measured = tasks.measure("gpu", "yeast", 0, "cpu")
    ours = {f"{name}{of}" for name in ("ours", "compiled") for of in ("", "_4_members")}
    assert measured.keys() == ours | {"skorch"}
    assert min(measured.values()) > 0
    assert compiled_for == {("cpu", ()), ("cpu", (4,))}


def of_step(by_hand, **more):
    steps = {"ours": 10.0, "by_hand": by_hand, "ratio": 12 / by_hand}
    steps |= {"bfloat16": 5.0, **more}
    return steps | {"whole_fit": 11.0, "validation_share": 0.125}


def test_ratios_are_of_medians():
    text = report.text(
        [record("step", "yeast 1", i, **of_step(h)) for i, h in enumerate([8, 9.5, 1])]
        + [record("step", "yeast 4", **of_step(4.0, skorch=30.0))]
        + [record("step", "yeast 4", device="A100", **of_step(2.0, skorch=30.0))]
    )
    assert text.index("Device cpu; torch 2.13.0") < text.index("Device A100")
    text = text[: text.index("Device A100")]
    assert row(text, "yeast 1 member") == "10 8 5 1.5 0.5 11 12.5% 3".split()
    assert "compile=True" not in text
    four = "10 4 30 5 3 3 0.5 11 12.5% 1".split()
    assert row(text, "yeast 4 members") == four


def test_compiled_steps_have_a_table_of_their_own():
    of = {"compiled": 2.5, "first_compiled_fit": 40.0}
    text = report.text([record("step", "yeast 4", **of_step(4.0, **of))])
    text = text[text.index("compile=True") :]
    assert row(text, "yeast 4 members") == ["2.5", "0.25", "40"]


def test_slopes_are_those_of_log_axes():
    records = [
        record("curves", f"rows {n}", seconds=n**2 / 1e6, added=3.0 * n)
        for n in (300, 1000, 3000)
    ]
    text = report.text(records)
    assert row(text, "1,000") == ["1", "3000"]
    assert row(text, "slope") == row(text, "last two") == ["2", "1"]
    ElementTree.fromstring(report.picture(records))


def test_searches_are_compared_with_one_job():
    times = {"one": 16.0, "two": 8.0, "cold": 10.0, "one_thread": 20.0}
    text = report.text(
        [record("search", "yeast", **times, threads=2, threads_of_workers=1)]
    )
    assert row(text, "n_jobs=2") == ["8", "2"]
    assert row(text, "n_jobs=1, torch.set_num_threads(1)") == ["20", "0.8"]
    assert "torch has 2 threads" in text and "1 in each worker" in text


def test_the_other_tables(tmp_path):
    measured = {
        ("predict", "10000 rows"): {"rows_a_second": 5000.0},
        ("peers", "yeast 2417"): {"MLkNN, fit": 2.0, "MLkNN, predict": 0.5},
        ("precision", "scene"): {
            "log-loss, float32": 0.21,
            "log-loss, bfloat16": 0.22,
            "LRAP, float32": 0.88,
            "LRAP, bfloat16": 0.87,
        },
        ("scale", "labels"): {
            "step_seconds": 0.7,
            "predict_seconds": 4.0,
            "top_k_seconds": 5.0,
            "precision_at_1": 0.6,
            "peak_mib": 3700.0,
        },
        ("scale", "sparse"): {
            name: 2.0**20 * value
            for value, name in enumerate(
                "peak libraries arrays model gradient optimizer average".split(), 1
            )
        }
        | {"epoch_s": 300.0, "ratio": 2.5},
        ("gpu", "yeast"): {"ours": 80.0, "compiled_4_members": 160.0, "skorch": 10.0},
        ("gpu", "million"): {"rows_a_second": 3e6, "share": 0.55},
        ("gpu", "million, compiled"): {"rows_a_second": 4e6, "share": 0.7},
    }
    for keys, values in measured.items():
        append(tmp_path / "records.jsonl", record(*keys, **values))
    command(tmp_path, "report", "--output", str(tmp_path))
    text = (tmp_path / "speed.txt").read_text()
    assert row(text, "10000") == ["5000", "1"]
    assert row(text, "MLkNN") == ["2", "0.5"]
    assert row(text, "scene") == ["0.21", "0.22", "0.88", "0.87", "1"]
    assert row(text, "peak of memory, MiB") == ["3700"]
    assert row(text, "seconds an epoch") == ["300"]
    assert row(text, "optimizer, MiB") == ["6"]
    assert row(text, "the rest, in arrays") == ["2.5"]
    assert row(text, "compiled_4_members") == ["160", "16"]
    assert row(text, "million") == ["3e+06", "55.0%"]
    assert row(text, "million, compiled") == ["4e+06", "70.0%"]


def test_without_records_there_is_no_report(tmp_path):
    with pytest.raises(SystemExit, match="no records in"):
        command(tmp_path, "report")


def test_the_committed_report_is_that_of_the_records(tmp_path):
    records = read(speed.RESULTS / "speed.jsonl")
    for name in report.write(records, tmp_path):
        if name.endswith(".txt"):
            assert (tmp_path / name).read_text() == (speed.RESULTS / name).read_text()
