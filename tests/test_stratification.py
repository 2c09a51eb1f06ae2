"""Rows dealt out label by label, against direct loops and iterative-stratification."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st
from iterstrat.ml_stratifiers import IterativeStratification

from skcgmvae._stratification import deal_out
from skcgmvae.model_selection import LabelBalancedKFold, LabelBalancedShuffleSplit


def paper(Y, shares, sizes):
    """Algorithm 1, row by row; and what is still due to each part, of labels and rows.

    Of equally good labels, rows and parts the first is taken.
    """
    shares = [Fraction(int(share), int(sum(shares))) for share in shares]
    due = [[share * int(n) for n in Y.sum(axis=0)] for share in shares]
    room, parts = [int(size) for size in sizes], {}
    while len(parts) < len(Y):
        rest = Y[[row not in parts for row in range(len(Y))]].sum(axis=0)
        label = min(np.flatnonzero(rest), key=lambda label: rest[label])
        for row in np.flatnonzero(Y[:, label]):
            if row not in parts:
                part = max(range(len(room)), key=lambda j: (due[j][label], room[j]))
                parts[row] = part
                room[part] -= 1
                for other in np.flatnonzero(Y[row]):
                    due[part][other] -= 1
    return [parts[row] for row in range(len(Y))], due, room


def moved(Y, parts, due, room):
    """The sizes put right, a row at a time: the one that does most good, or least harm.

    How far parts are from what is due to them is summed anew for each row, and a label
    that would vanish from a part is as bad as a whole row of a label that has one.
    """

    def distance(part, label, change):
        return (due[part][label] - change) ** 2 * (len(Y) // int(Y[:, label].sum()))

    def harm(row):
        labels = np.flatnonzero(Y[row])
        members = [[i for i, p in enumerate(parts) if p == j] for j in (source, target)]
        vanish = [
            Y[members[0], label].sum() == 1 and Y[members[1], label].any()
            for label in labels
        ]
        return 2 * len(Y) * sum(vanish) + sum(
            distance(source, label, -1)
            - distance(source, label, 0)
            + distance(target, label, 1)
            - distance(target, label, 0)
            for label in labels
        )

    while any(room):
        source, target = np.argmin(room), np.argmax(room)
        row = min((row for row, p in enumerate(parts) if p == source), key=harm)
        parts[row] = target
        for part, change in (source, 1), (target, -1):
            room[part] += change
            for label in np.flatnonzero(Y[row]):
                due[part][label] += change
    return parts


def sharing(n_rows, n_parts, random_state):
    """Shares and sizes as for folds, or as for parts of two sizes."""
    if random_state % 2:
        return np.ones(n_parts, int), (n_rows + np.arange(n_parts)[::-1]) // n_parts
    sizes = np.array([n_rows - n_rows // (n_parts + 1), n_rows // (n_parts + 1)])
    return sizes, sizes


@settings(max_examples=60, deadline=None)
@given(
    n_rows=st.integers(3, 40),
    n_labels=st.integers(1, 6),
    n_parts=st.integers(2, 5),
    density=st.floats(0.05, 0.95),
    seed=st.integers(0, 1000),
)
# A label would vanish from a part.
@example(n_rows=30, n_labels=6, n_parts=5, density=0.2, seed=48)
@example(n_rows=20, n_labels=6, n_parts=2, density=0.1, seed=28)
def test_rows_are_dealt_as_by_the_loops_of_the_paper(
    n_rows, n_labels, n_parts, density, seed
):
    Y = (np.random.RandomState(seed).rand(n_rows, n_labels) < density).astype(np.uint8)
    Y = np.column_stack([Y, ~Y.any(axis=1)]).astype(np.uint8)
    shares, sizes = sharing(n_rows, n_parts, seed)
    expected = moved(Y, *paper(Y, shares, sizes))
    assert deal_out(sp.csr_matrix(Y), shares, sizes).tolist() == expected


def test_many_rows_that_are_too_many_move_together_to_where_they_are_due():
    """All labels are so rare that the small part is due none by rounding."""
    Y = sp.eye(1000, dtype=np.uint8, format="csr")
    Y = sp.hstack([Y, np.ones((1000, 1), np.uint8)], format="csr")
    sizes = np.array([900, 100])
    part = deal_out(Y, sizes, sizes)
    assert np.bincount(part).tolist() == [900, 100]


# -- against iterative-stratification ------------------------------------------------


def skewed_labels(seed, n_rows=600, n_labels=40):
    """Labels that come together and of which most are rare; every one is there."""
    rng = np.random.RandomState(seed)
    log_odds = rng.randn(n_rows, 3) @ rng.randn(3, n_labels)
    log_odds -= rng.uniform(0, 5, n_labels)
    Y = rng.rand(n_rows, n_labels) < 1 / (1 + np.exp(-log_odds))
    Y[rng.permutation(n_rows)[:n_labels], np.arange(n_labels)] = True
    return Y


def imbalance(Y, parts):
    """Of labels over parts: how far shares are off, and odds; how many are missing.

    The second is the "label distribution" measure of the paper.
    """
    n_rows, total = len(Y), Y.sum(axis=0)
    shares, odds, missing = [], [], 0
    for test in parts:
        n_with, n_test = Y[test].sum(axis=0), len(test)
        shares.append(abs(n_with / n_test - total / n_rows).mean())
        odds.append(abs(n_with / (n_test - n_with) - total / (n_rows - total)).mean())
        missing += (n_with == 0).sum()
    return np.mean(shares), np.mean(odds), missing


@pytest.mark.parametrize("n_splits", [None, 5, 10])
def test_labels_are_no_worse_balanced_than_by_the_reference(n_splits):
    ours, reference = [], []
    for seed in range(8):
        Y = skewed_labels(seed)
        groups, rng = np.column_stack([Y, ~Y.any(axis=1)]), np.random.RandomState(seed)
        if n_splits is None:
            shares = np.array([0.8, 0.2])
            splitter = LabelBalancedShuffleSplit(1, test_size=0.2, random_state=seed)
            train, test = next(splitter.split(None, Y))
            parts = [train, test]
        else:
            shares = np.full(n_splits, 1 / n_splits)
            splitter = LabelBalancedKFold(n_splits, shuffle=True, random_state=seed)
            parts = [test for _, test in splitter.split(None, Y)]
        ours.append(imbalance(Y, parts))
        order = rng.permutation(len(Y))
        part = IterativeStratification(groups[order], shares, rng)
        parts = [order[part == number] for number in range(len(shares))]
        reference.append(imbalance(Y, parts))
    assert (np.mean(ours, axis=0) <= np.mean(reference, axis=0)).all()


# -- many labels ---------------------------------------------------------------------


@pytest.mark.parametrize("splitter", [LabelBalancedKFold, LabelBalancedShuffleSplit])
def test_sparse_labels_stay_sparse(splitter):
    n_rows, n_labels = 500, 20_000
    rng = np.random.RandomState(0)
    columns = rng.randint(n_labels, size=3 * n_rows)
    Y = sp.csr_matrix(
        (np.ones(3 * n_rows, bool), columns, 3 * np.arange(n_rows + 1)),
        (n_rows, n_labels),
    )
    tracemalloc.start()
    splits = list(splitter(2).split(None, Y))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(splits) == 2
    assert peak < n_rows * n_labels / 4


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_dense_labels_are_not_held_in_many_bytes(dtype):
    Y = np.zeros((50_000, 100), dtype)
    Y[np.arange(50_000), np.arange(50_000) % 100] = 1
    tracemalloc.start()
    list(LabelBalancedShuffleSplit(2).split(None, Y))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A byte a label as they are encoded, and some while they are checked.
    assert peak < 4 * Y.size
