"""The report of the accuracy benchmark: numbers by hand, and text that is RST."""

from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from test_constraints import NEWEST

from benchmarks.accuracy import __main__ as accuracy
from benchmarks.accuracy import models, report, rst, studies, summary
from benchmarks.accuracy.protocol import METRICS, PROTOCOLS
from benchmarks.records import append, read


def record(dataset, model, score, split=0, **fields):
    """A record with one score in place of all metrics."""
    scores = {protocol: dict.fromkeys(METRICS, score) for protocol in PROTOCOLS}
    return {
        "dataset": dataset,
        "model": model,
        "split": split,
        "fraction": 1.0,
        "scores": scores,
        "ranking": {"log-loss": 1 - score, "macro-AP": score, "LRAP": score},
        "fit_seconds": 2.0,
        "predict_seconds": 0.1,
        "peak_mib": 300,
        "versions": {"torch": "2.13.0"},
    } | fields


def failure(dataset, model, text):
    fields = {"dataset": dataset, "model": model, "split": 0, "fraction": 1.0}
    return fields | {"failure": text}


def of_latent_space(**fields):
    fields |= {"epochs": 9, "best_epoch": 7, "probe_micro_F1": 0.456}
    dimensions = {"latent": 64, "active": 10, "stretched": 3}
    return fields | {f"{kind}_dimensions": n for kind, n in dimensions.items()}


@pytest.fixture
def records():
    """Two data sets, three models; MLkNN fails on one, which has two splits."""
    return [
        record("yeast", "C-GMVAE", 0.7, 0, **of_latent_space()),
        record("yeast", "C-GMVAE", 0.8, 1, **of_latent_space()),
        record("yeast", "logistic", 0.72, 0),
        record("yeast", "logistic", 0.72, 1),
        failure("yeast", "MLkNN", "|why| *not* `so`_ \\"),
        record("scene", "C-GMVAE", 0.5, 0, **of_latent_space()),
        record("scene", "logistic", 0.6, 0),
        record("scene", "MLkNN", 0.55, 0),
    ]


def row(text, start):
    """The cells of the first line of a table that starts with a name."""
    lines = (line.strip() for line in text.splitlines())
    line = next(line for line in lines if line.startswith(start + "  "))
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def warnings_of(text):
    """What docutils has to say about a text."""
    core = pytest.importorskip("docutils.core")
    nodes = pytest.importorskip("docutils.nodes")
    settings = {"report_level": 1, "halt_level": 5, "warning_stream": False}
    tree = core.publish_doctree(text, settings_overrides=settings)
    return [message.astext() for message in tree.findall(nodes.system_message)]


# Numbers


def test_means_are_over_the_splits_that_a_model_has(records):
    records = summary.full_size(
        [*records, record("yeast", "logistic", 0.0, fraction=0.1)]
    )
    scores = summary.mean_scores(records, ["yeast"], ["C-GMVAE", "logistic", "MLkNN"])
    np.testing.assert_allclose(scores[0, :, 0], [0.75, 0.72, np.nan])
    counts = summary.split_counts(records)
    assert counts["yeast", "C-GMVAE"] == 2 and counts["scene", "C-GMVAE"] == 1


def test_models_are_compared_on_the_splits_that_all_have(records):
    alone = record("yeast", "C-GMVAE", 0.0, 2)
    models = ["C-GMVAE", "logistic", "MLkNN", "MLP"]
    assert summary.on_shared_splits([*records, alone], models) == records
    # One that fails, if only on the second split, has no results, and is in nobody's
    # way; nor are the splits of another data set.
    partly = [record("scene", "MLP", 0.3, 0), failure("scene", "MLP", "no time")]
    partly[1]["split"] = 1
    found = summary.on_shared_splits([*records, *partly], models)
    assert found == [*records, partly[1]]


def test_a_model_that_was_not_run_everywhere_is_not_ranked(records):
    kept = report.make(records)
    files = report.make([*records, record("scene", "kNN", 0.99)])
    assert files["accuracy_summary.rst"] == kept["accuracy_summary.rst"]
    assert files["critical_difference.svg"] == kept["critical_difference.svg"]
    text = files["accuracy.rst"]
    assert "not ranked: kNN" in text
    scene = text[text.index("scene, threshold chosen") :]
    assert row(scene, "kNN") == ["kNN", *["**0.990**"] * 5]


def test_a_data_set_without_a_common_split_is_said_to_be_left_out(records):
    records = [r for r in records if r["model"] != "MLkNN"]
    assert "Left out" not in report.make(records)["accuracy.rst"]
    apart = [record("birds", "C-GMVAE", 0.5, 0), record("birds", "logistic", 0.6, 1)]
    text = report.make([*records, *apart])["accuracy.rst"]
    assert "Left out is birds: there is no split" in text
    assert warnings_of(text) == []


def test_a_peer_is_compared_on_all_splits_of_a_data_set_or_not_at_all(records):
    def margin(*more):
        text = report.make([*records, *more])["accuracy.rst"]
        yeast = text[text.index("yeast, threshold chosen") :]
        costs = yeast[yeast.index("yeast, no threshold") :]
        margins = text[text.index("less the best peer") :]
        return row(margins, "yeast")[1], row(yeast, "kNN")[1], row(costs, "kNN")[1]

    once = record("yeast", "kNN", 0.9, 0)
    assert margin(once) == ("**+0.030**", "0.900", "0.100")
    # Not ranked, and still the best peer.
    twice = record("yeast", "kNN", 0.8, 1)
    assert margin(once, twice) == ("−0.100", "**0.850**", "**0.150**")


def test_level_models_share_ranks_and_lacking_ones_share_the_last():
    scores = np.array([[0.5, 0.7, 0.7, np.nan], [np.nan, 0.1, 0.2, np.nan]])
    ranks = summary.ranks(scores[:, :, np.newaxis])
    expected = [[3, 1.5, 1.5, 4], [3.5, 2, 1, 3.5]]
    np.testing.assert_array_equal(ranks[:, :, 0], expected)
    np.testing.assert_array_equal(summary.mean_ranks(ranks), [3.25, 1.75, 1.25, 3.75])
    # The first data set has two that are level: none is alone the best there.
    np.testing.assert_array_equal(summary.cells_first(ranks), [0, 0, 1, 0])


# Demsar (2006), table 5 (a); below, that paper's example.
@pytest.mark.parametrize("n_models, q", [(2, 1.960), (5, 2.728), (10, 3.164)])
def test_critical_values_are_the_published_ones(n_models, q):
    difference = summary.critical_difference(n_models, 6)
    factor = np.sqrt(n_models * (n_models + 1) / 36)
    assert difference == pytest.approx(q * factor, abs=1e-3 * factor)


def test_critical_difference_is_the_published_one():
    assert summary.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_groups_are_the_longest_runs_of_models_that_are_not_different():
    ranks = np.array([4.0, 1.0, 2.0, 2.5, 6.0])
    assert summary.groups_alike(ranks, 2.0) == [(1.0, 2.5), (2.5, 4.0)]
    # A difference as large as the critical one is a difference.
    assert summary.groups_alike(ranks, 0.5) == []
    assert summary.groups_alike(ranks, 9.0) == [(1.0, 6.0)]


def test_bars_are_of_the_best_peer_and_not_of_our_own_versions():
    names = ["C-GMVAE", "C-GMVAE, Eq. 7", "kNN", "MLP"]
    scores = np.array(
        [
            [0.800, 0.9, 0.805, 0.7],  # .005 below: level, whatever the last bit
            [0.800, 0.9, 0.806, 0.7],  # more: not level
            [0.800, 0.9, np.nan, 0.7],  # above the only peer
            [0.800, 0.9, 0.800, 0.1],  # as good: level, and not above
            [np.nan, 0.9, 0.100, 0.1],  # lacking: neither
        ]
    )[:, :, np.newaxis]
    margins = summary.margins(scores, names)
    np.testing.assert_allclose(margins[:, 0], [-0.005, -0.006, 0.1, 0, np.nan])
    margins[3] = 0.005  # above, but not clearly
    counts = {"cells": 5, "level": 3, "first": 2, "clearly first": 1}
    assert summary.count_bars(margins) == counts


def test_fit_times_are_compared_on_what_both_have():
    seconds = np.array([[1.0, 2.0, 0.0], [4.0, 2.0, np.nan], [np.nan, 9.0, 1.0]])
    ratios = summary.fit_ratios(seconds, ["C-GMVAE", "kNN", "MLP"])
    # (2 / 1 * 2 / 4) ** (1 / 2); a fit of 0 seconds counts as one hundredth.
    np.testing.assert_allclose(ratios, [1, 1, 0.01])


def test_common_datasets_are_those_of_all_models_with_results():
    scores = np.array([[0.1, 0.2, np.nan], [0.1, np.nan, np.nan]])[:, :, np.newaxis]
    np.testing.assert_array_equal(summary.common_datasets(scores), [True, False])


# Text


def test_the_best_is_bold_as_far_as_a_reader_can_see():
    texts = rst.best_in_bold([0.7114, 0.7112, 0.2, np.nan, None])
    assert texts == ["**0.711**", "**0.711**", "0.200", "", ""]
    assert rst.best_in_bold([3.0, 1.0], ".1f", min) == ["3.0", "**1.0**"]
    assert rst.best_in_bold([np.nan]) == [""]


def test_what_is_not_compared_is_not_bold():
    texts = rst.best_in_bold([0.1, 0.3, None, 0.2], ".1f", among=[1, 0, 1, 1])
    assert texts == ["0.1", "0.3", "", "**0.2**"]
    assert rst.best_in_bold([0.1, None], ".1f", among=[0, 1]) == ["0.1", ""]


def test_a_table_parses_and_shows_what_is_lacking():
    text = rst.rst_table(["model", "HA"], [["a", "0.5"], ["b", ""]], "A caption")
    assert row(text, "b") == ["b", "–"]
    assert warnings_of(text) == []


def test_scores_of_the_report(records):
    files = report.make(records)
    text = files["accuracy.rst"]
    yeast = text[text.index("yeast, threshold chosen") :]
    assert row(yeast, "C-GMVAE") == ["C-GMVAE", *["**0.750**"] * 5]
    assert row(yeast, "logistic") == ["logistic", *["0.720"] * 5]
    costs = text[text.index("yeast, no threshold") :]
    assert row(costs, "logistic")[1:4] == ["0.280", "0.720", "0.720"]
    assert row(costs, "logistic")[-1] == "2"
    assert "test rows themselves, no fair estimate" in text
    assert "torch 2.13.0" in text
    latent = text[text.index("Latent space") :]
    assert row(latent, "yeast")[2:] == ["10 of 64", "3", "0.456", "0.750", "7 of 9"]
    # The mean is of scene alone: MLkNN lacks yeast.
    small = row(files["accuracy_summary.rst"], "C-GMVAE")
    assert small == ["C-GMVAE", "2.00", "**5**", "2", "0.500", "2"]
    assert row(files["accuracy_summary.rst"], "MLkNN")[3] == "1"


def test_thresholds_by_label_stand_beside_one_for_all(records):
    assert "for each label" not in report.make(records)["accuracy.rst"]
    of = {("C-GMVAE", 0): 0.6, ("C-GMVAE", 1): 0.7, ("logistic", 0): 0.5}
    of |= {("logistic", 1): 0.9}
    for r in records:
        if (r["model"], r["split"]) in of and r["dataset"] == "yeast":
            r["scores"]["per label"] = {"macro-F1": of[r["model"], r["split"]]}
    kNN = [record("yeast", "kNN", 0.74, split) for split in (0, 1)]
    for r in kNN:
        r["scores"]["per label"] = {"macro-F1": 0.1}
    failed = failure("scene", "kNN", "no time")
    text = report.make([*records, *kNN, failed])["accuracy.rst"]
    assert warnings_of(text) == []
    found = row(text[text.index("for each label") :], "yeast")
    one, each = ["**0.750**", "0.740 (kNN)"], ["0.650", "**0.700** (logistic)"]
    assert found == ["yeast", *one, *each]


def test_thresholds_by_label_are_compared_on_the_same_splits(records):
    # kNN lacks them on the split where all are worse.
    more = [record("yeast", "kNN", 0.1, split) for split in (0, 1)]
    of = {("C-GMVAE", 0): 0.9, ("C-GMVAE", 1): 0.5, ("kNN", 0): 0.8}
    of |= {("logistic", 0): 0.6, ("logistic", 1): 0.4}
    for r in (records := [*records, *more]):
        if (r["model"], r["split"]) in of and r["dataset"] == "yeast":
            r["scores"]["per label"] = {"macro-F1": of[r["model"], r["split"]]}
    text = report.make(records)["accuracy.rst"]
    found = row(text[text.index("for each label") :], "yeast")
    assert found[3:] == ["**0.700**", "0.500 (logistic)"]


def test_splits_that_only_a_peer_has_do_not_count(records):
    more = record("yeast", "MLP", 0.9, 5)
    kept = summary.on_splits_of(
        [*records, more, record("yeast", "MLP", 0.1, 0)], "C-GMVAE"
    )
    assert all(r["model"] != "MLP" for r in kept)
    once = [r for r in records if r["dataset"] != "yeast" or r["split"] == 0]
    peer = [
        record("yeast", "MLP", value, split) for split, value in enumerate((0.5, 0.6))
    ]
    kept = summary.on_splits_of([*once, *peer], "C-GMVAE")
    assert peer[0] in kept and peer[1] not in kept


def test_a_latent_space_that_was_not_looked_at_is_told_of(records):
    ours = next(r for r in records if r["model"] == "C-GMVAE")
    ours["failure_of_probe"] = "more than 10 GiB"
    text = report.make(records)["accuracy.rst"]
    assert "of C-GMVAE on split 0 is not told of: more than 10 GiB" in text
    assert row(text, "C-GMVAE")[-2] == "2 of 2"


def test_a_failure_is_told_in_words_and_ranked_last(records):
    text = report.make(records)["accuracy.rst"]
    assert f"MLkNN failed on split 0: {rst.plain(records[4]['failure'])}" in text
    # Third of yeast, second of scene.
    assert row(text, "MLkNN") == ["MLkNN", *["2.50"] * 6, "1 of 2", "1"]
    assert row(text, "logistic") == ["logistic", *["**1.50**"] * 6, "2 of 2", "1"]


def test_the_report_is_rst_and_the_picture_svg(monkeypatch, records):
    monkeypatch.setattr(studies, "STUDIES", {"Less": ["logistic"]})
    files = report.make(records)
    assert set(files) == set(report.FILES)
    for name, text in files.items():
        if name.endswith(".rst"):
            assert warnings_of(text) == []
    picture = files["critical_difference.svg"]
    texts = [node.text for node in ElementTree.fromstring(picture).iter() if node.text]
    assert {"C-GMVAE", "logistic", "MLkNN", "2.50"} <= set(texts)
    assert len(picture) < 60_000


def test_the_report_depends_on_nothing_but_the_records(records):
    files = report.make(records)
    assert report.make(records) == files
    assert report.make(records[::-1]) == files


@pytest.mark.parametrize("name", ["C-GMVAE", "logistic"])
def test_a_single_model_has_tables_and_no_picture(records, name):
    files = report.make([r for r in records if r["model"] == name])
    expected = {"accuracy.rst", "accuracy_summary.rst"}
    if name == "C-GMVAE":
        expected.add("accuracy_studies.rst")  # the paper's figures are for it
    assert set(files) == expected
    for text in files.values():
        assert warnings_of(text) == []
        assert "image::" not in text


def test_peers_alone_and_a_model_that_always_fails(records):
    records = [r for r in records if r["model"] == "logistic"]
    failures = [failure(d, "MLP", "out of memory") for d in ("yeast", "scene")]
    files = report.make([*records, *failures])
    for name in ("accuracy.rst", "accuracy_summary.rst"):
        assert warnings_of(files[name]) == []
    assert row(files["accuracy.rst"], "MLP")[-1] == "0 of 2"


def test_ablation_table_is_by_data_set_with_their_mean(records):
    variants = ["logistic", "C-GMVAE", "MLkNN", "never run"]
    # MLkNN lacks yeast, so that there is no mean to compare, and no row of dashes.
    text = studies.ablation_table(records, ["scene", "yeast"], variants)
    assert "mean of" not in text and "never run" not in text
    assert text.count("MLkNN") == 1 and text.count("logistic") == 2
    text = studies.ablation_table(records, ["scene", "yeast"], variants[:2])
    assert warnings_of(text) == []
    assert row(text, "mean of 2") == ["mean of 2", "logistic", *["**0.660**"] * 5, "–"]
    assert row(text, "scene") == ["scene", "logistic", *["**0.600**"] * 5, "1"]


def test_the_papers_figures_stand_beside_those_of_its_protocol(records):
    for r in records:
        if "scores" in r:
            r["scores"]["test"] = dict.fromkeys(METRICS, 0.75)
    records.append(record("yeast", "C-GMVAE, Eq. 7", 0.1, split=1))
    records.append(record("sider", "C-GMVAE", 0.7))
    text = "\n\n".join(studies.beside_the_paper(records))
    assert warnings_of(text) == []
    printed = ["0.656", "0.487", "**0.751**", "–"]
    assert row(text, "yeast")[1:] == ["as printed in the paper", *printed]
    ours = [line.split() for line in text.splitlines() if "C-GMVAE   " in line]
    assert [line[0] for line in ours] == ["scene", "sider,", "yeast"]
    assert ours[0][2:] == [*["0.750"] * 3, "1"]
    # Of the two splits one is what both configurations have.
    assert ours[2][2:] == ["**0.750**", "**0.750**", "0.750", "1"]
    eq7 = next(line for line in text.splitlines() if "Eq. 7" in line)
    assert eq7.split()[-4:] == [*["0.100"] * 3, "1"]
    assert "scene, other" not in text and "sider, other features" in text
    assert "best on the test rows themselves" in " ".join(text.split())


def test_other_systems_stand_beside_what_the_paper_prints_of_them(records):
    for split, value in ((0, 0.6), (1, 0.7)):
        records.append(record("yeast", "SLEEC", value, split=split))
        records[-1]["scores"]["test"] = dict.fromkeys(METRICS, value)
    text = "\n\n".join(studies.peers_beside_the_paper(records))
    assert warnings_of(text) == []
    printed = ["0.643", "0.425", "0.745"]
    expected = [figure for metric in printed for figure in (metric, "0.650")]
    assert row(text, "yeast") == ["yeast", "SLEEC", *expected, "2"]
    assert "MPVAE" not in text and "scene" not in text
    assert "best on the test rows themselves" in " ".join(text.split())


def test_fewer_rows_stand_beside_all_rows(records):
    half = [record | {"fraction": 0.5} for record in records if "failure" not in record]
    half = [record for record in half if record["model"] == "C-GMVAE"]
    text = report.make(records + half)["accuracy_studies.rst"]
    assert warnings_of(text) == []
    rows = [line for line in text.splitlines() if "of the rows" in line]
    named = [line.split("C-GMVAE, ")[1][:10] for line in rows if "scene" in line]
    assert named == ["100% of th", "50% of the"]
    assert "logistic" not in text
    # They are in no other table.
    assert (
        report.make(records + half)["accuracy.rst"]
        == report.make(records)["accuracy.rst"]
    )


def test_the_command_writes_and_removes_what_is_of_an_earlier_report(
    monkeypatch, tmp_path, capsys, records
):
    for one in records:
        append(tmp_path / "records.jsonl", one)
    output = tmp_path / "output"
    command = ["--records", str(tmp_path / "records.jsonl"), "report"]
    command += ["--output", str(output)]
    monkeypatch.setattr(studies, "STUDIES", {"Less": ["logistic"]})
    accuracy.main(command)
    assert {path.name for path in output.iterdir()} == set(report.FILES)
    assert str(output / "accuracy.rst") in capsys.readouterr().out
    monkeypatch.setattr(studies, "STUDIES", {})
    monkeypatch.setattr(studies, "PRINTED", {})
    accuracy.main(command)
    written = {path.name for path in output.iterdir()}
    assert written == set(report.FILES) - {"accuracy_studies.rst"}


def test_without_records_an_earlier_report_is_left_alone(tmp_path):
    (tmp_path / "accuracy.rst").write_text("earlier")
    command = ["--records", str(tmp_path / "none.jsonl"), "report"]
    with pytest.raises(SystemExit, match="no records in"):
        accuracy.main([*command, "--output", str(tmp_path)])
    assert (tmp_path / "accuracy.rst").read_text() == "earlier"


@pytest.mark.parametrize("name", report.FILES)
def test_the_committed_report_is_that_of_the_committed_records(tmp_path, name):
    records = accuracy.RECORDS
    if not records.exists():
        pytest.skip("no records")
    if name.endswith(".svg") and matplotlib.__version__ != NEWEST["matplotlib"]:
        pytest.skip("each version of matplotlib draws a little differently")
    report.write(read(records), tmp_path)
    fresh, committed = tmp_path / name, accuracy.RESULTS / name
    again = "run python -m benchmarks.accuracy report"
    assert fresh.exists() == committed.exists(), again
    if fresh.exists():
        # Compared apart: pytest would take minutes to draw up how they differ.
        same = fresh.read_bytes() == committed.read_bytes()
        assert same, again


def test_a_system_of_the_paper_that_failed_is_not_in_its_table(records):
    ran = record("scene", "MPVAE", 0.7)
    text = "\n".join(studies.studies([*records, ran, failure("scene", "LaMP", "no")]))
    table = text[text.index("other systems") :]
    assert row(table, "scene")[1] == "MPVAE"
    assert "LaMP" not in table


def test_latent_spaces_with_and_without_a_least_width_are_compared(records):
    own = of_latent_space() | {"active_dimensions": 64, "probe_micro_F1": 0.567}
    del own["stretched_dimensions"]  # older records have none
    name = "equal costs, constant penalty, min_latent_std 0"
    records.append(record("yeast", f"C-GMVAE, {name}", 0.75, 1, **own))
    text = "\n".join(studies.studies(records))
    text = text[text.index(models.LATENT) :]
    lines = [line.split("  ") for line in text.splitlines() if " of 64" in line]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    # Of the split that both have, and no other data set.
    assert cells == [
        ["yeast", "C-GMVAE", "10 of 64", "3", "0.456", "0.800", "7 of 9"],
        ["yeast", f"C-GMVAE, {name}", "64 of 64", "0", "0.567", "0.750", "7 of 9"],
    ]


def test_the_figures_of_the_readme_are_those_of_the_records():
    root = Path(__file__).parents[1]
    written = (root / "benchmarks/results/accuracy_summary.rst").read_text()
    figures = written.split("\n\n", 1)[1].strip()
    assert figures in (root / "README.rst").read_text()
