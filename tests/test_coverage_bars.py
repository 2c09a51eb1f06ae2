"""Too little coverage is a failure, of lines and of branches alone."""

import pytest
from coverage_bars import main


@pytest.mark.parametrize(
    ("lines", "branches", "fails"),
    [(950, 90, 0), (949, 100, 1), (1000, 89, 1)],
)
def test_each_bar_stands_by_itself(lines, branches, fails, capsys):
    totals = {
        "covered_lines": lines,
        "num_statements": 1000,
        "covered_branches": branches,
        "num_branches": 100,
    }
    assert main(totals) == fails
    printed = capsys.readouterr().out
    assert f"{lines / 10:.2f} % of lines (at least 95)" in printed
    assert f"{branches:.2f} % of branches (at least 90)" in printed
