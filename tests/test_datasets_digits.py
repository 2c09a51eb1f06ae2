"""The built-in data against a truth table."""

import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from skcgmvae.datasets import load_digit_attributes

# odd, prime, square, power of two, multiple of three, greater than four, closed loop
TRUTH = {
    0: (0, 0, 1, 0, 1, 0, 1),
    1: (1, 0, 1, 1, 0, 0, 0),
    2: (0, 1, 0, 1, 0, 0, 0),
    3: (1, 1, 0, 0, 1, 0, 0),
    4: (0, 0, 1, 1, 0, 0, 0),
    5: (1, 1, 0, 0, 0, 1, 0),
    6: (0, 0, 0, 0, 1, 1, 1),
    7: (1, 1, 0, 0, 0, 1, 0),
    8: (0, 0, 0, 1, 0, 1, 1),
    9: (1, 0, 1, 0, 1, 1, 1),
}
NAMES = [
    "odd",
    "prime",
    "square",
    "power_of_two",
    "multiple_of_three",
    "greater_than_four",
    "closed_loop",
]


def test_digit_attributes_follow_the_truth_table():
    digits = load_digit_attributes()
    images, y = load_digits(return_X_y=True)
    np.testing.assert_array_equal(digits.data, images)
    np.testing.assert_array_equal(digits.target, [TRUTH[digit] for digit in y])
    assert digits.target.dtype == np.int64
    assert digits.target_names == NAMES
    assert len(digits.feature_names) == digits.data.shape[1] == 64
    assert digits.frame is None
    assert set(digits) == {
        "data",
        "target",
        "frame",
        "feature_names",
        "target_names",
        "DESCR",
    }


def test_digit_attributes_occur_together_as_worked_out_by_hand():
    Y = load_digit_attributes().target
    counts = np.bincount(load_digits().target)
    together = Y.T @ Y
    odd, prime, square, power, three, above_four, loop = range(7)
    assert together[prime, square] == 0
    assert together[power, three] == 0
    assert together[prime, loop] == 0
    assert together[odd, prime] == counts[[3, 5, 7]].sum()
    assert together[square, power] == counts[[1, 4]].sum()
    assert together[three, loop] == counts[[0, 6, 9]].sum()
    assert together[above_four, loop] == counts[[6, 8, 9]].sum()
    assert together[odd, odd] == counts[1::2].sum()


def test_digit_attributes_description():
    description = load_digit_attributes().DESCR
    assert "4 is counted as open" in description
    assert all(name in description for name in NAMES)
    per_row = load_digit_attributes().target.sum(axis=1)
    assert (per_row.min(), per_row.max()) == (2, 5)
    assert f"{per_row.mean():.1f} on average, 2 at least and 5 at most" in description


def test_digit_attributes_as_arrays():
    X, Y = load_digit_attributes(return_X_y=True)
    assert X.shape == (1797, 64)
    assert Y.shape == (1797, 7)


def test_digit_attributes_as_frame():
    pytest.importorskip("pandas")
    arrays, frames = load_digit_attributes(), load_digit_attributes(as_frame=True)
    np.testing.assert_array_equal(frames.data.to_numpy(), arrays.data)
    np.testing.assert_array_equal(frames.target.to_numpy(), arrays.target)
    assert list(frames.target.columns) == NAMES
    assert list(frames.frame.columns) == arrays.feature_names + NAMES
    X, Y = load_digit_attributes(as_frame=True, return_X_y=True)
    assert X.equals(frames.data)
    assert Y.equals(frames.target)


def test_digit_attributes_as_frame_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"load_digit_attributes\(as_frame=True\)"):
        load_digit_attributes(as_frame=True)
    assert load_digit_attributes().frame is None
