"""Label-balanced splits."""

from math import ceil

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_validate,
)
from sklearn.neighbors import KNeighborsClassifier

from skcgmvae.model_selection import (
    LabelBalancedKFold,
    LabelBalancedShuffleSplit,
    label_balanced_split,
)


def assert_partition(parts, n_rows):
    train, test = parts
    assert sorted([*train, *test]) == list(range(n_rows))
    assert len(train) > 0
    assert len(test) > 0
    for part in parts:
        assert (np.diff(part) > 0).all()


def random_labels(seed, n_rows=200, n_labels=6):
    rng = np.random.RandomState(seed)
    frequencies = rng.uniform(0.01, 0.6, n_labels)
    return (rng.rand(n_rows, n_labels) < frequencies).astype(int)


@settings(max_examples=50, deadline=None)
@given(
    n_rows=st.integers(2, 30),
    n_labels=st.integers(1, 4),
    density=st.floats(0, 1),
    test_size=st.floats(0.01, 0.5),
    seed=st.integers(0, 1000),
)
def test_parts_are_disjoint_complete_and_not_empty(
    n_rows, n_labels, density, test_size, seed
):
    rng = np.random.RandomState(seed)
    Y = rng.rand(n_rows, n_labels) < density
    parts = label_balanced_split(Y, test_size=test_size, random_state=seed)
    assert_partition(parts, n_rows)


@pytest.mark.parametrize("test_size", [0.01, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("n_rows", [2, 3, 5])
def test_few_rows_split_at_any_fraction(n_rows, test_size):
    Y = np.eye(n_rows, dtype=int)
    assert_partition(
        label_balanced_split(Y, test_size=test_size, random_state=0), n_rows
    )


def test_each_label_is_balanced_better_than_by_chance():
    def off(Y, test):
        empty = ~Y.any(axis=1, keepdims=True)
        everything = np.hstack([Y, empty])
        return np.abs(everything[test].sum(axis=0) - everything.sum(axis=0) / 4).sum()

    balanced, chance = [], []
    for seed in range(10):
        Y = random_labels(seed)
        _, test = label_balanced_split(Y, test_size=0.25, random_state=seed)
        balanced.append(off(Y, test))
        chance.append(off(Y, np.random.RandomState(seed).permutation(200)[:50]))
    assert np.mean(balanced) < np.mean(chance) / 2


@pytest.mark.parametrize("n_positive", [4, 8, 20])
def test_rare_label_is_shared_out_exactly(n_positive):
    for seed in range(5):
        Y = random_labels(seed, n_labels=4)
        Y[:, 3] = np.arange(200) < n_positive
        Y[:, :3] |= (np.arange(200) % 2 == 0)[:, None]
        _, test = label_balanced_split(Y, test_size=0.25, random_state=seed)
        assert abs(Y[test, 3].sum() - n_positive / 4) < 1


def test_rows_without_labels_are_balanced():
    Y = np.repeat([[0, 0], [1, 0], [0, 1]], [40, 20, 20], axis=0)
    _, test = label_balanced_split(Y, test_size=0.25, random_state=0)
    assert (~Y[test].any(axis=1)).sum() == 10
    assert Y[test].sum(axis=0).tolist() == [5, 5]


@pytest.mark.parametrize("value", [0, 1])
def test_labels_that_tell_nothing(value):
    Y = np.full((40, 3), value)
    train, test = label_balanced_split(Y, test_size=0.25, random_state=0)
    assert_partition((train, test), 40)
    assert len(test) == 10


def test_one_label():
    Y = (np.arange(40) < 12)[:, None]
    _, test = label_balanced_split(Y, test_size=0.25, random_state=0)
    assert Y[test].sum() == 3
    assert len(test) == 10


def test_same_seed_same_split_whatever_the_global_state():
    Y = random_labels(0)
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first = label_balanced_split(Y, random_state=3)
    assert (np.random.get_state()[1] == before).all()
    np.random.seed(2)
    second = label_balanced_split(Y, random_state=3)
    other = label_balanced_split(Y, random_state=4)
    assert [list(part) for part in first] == [list(part) for part in second]
    assert list(first[1]) != list(other[1])


def test_random_state_instance_moves_on():
    Y, rng = random_labels(0), np.random.RandomState(0)
    first, second = (label_balanced_split(Y, random_state=rng)[1] for _ in range(2))
    assert list(first) != list(second)


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_array, sp.coo_matrix])
def test_sparse_labels_split_like_dense_ones(kind):
    Y = random_labels(0)
    dense = label_balanced_split(Y, random_state=0)
    sparse = label_balanced_split(kind(Y), random_state=0)
    assert [list(part) for part in sparse] == [list(part) for part in dense]


def test_labels_of_any_dtype():
    Y = random_labels(0)
    expected = list(label_balanced_split(Y, random_state=0)[1])
    for dtype in (bool, np.uint8, np.float32):
        assert (
            list(label_balanced_split(Y.astype(dtype), random_state=0)[1]) == expected
        )


def test_one_row_cannot_be_split():
    with pytest.raises(ValueError, match="Y must have at least 2 rows .* got 1"):
        label_balanced_split(np.ones((1, 2)))


@pytest.mark.parametrize("test_size", [0, 1, 1.5, -0.1, float("nan"), "0.1", None])
def test_size_that_is_no_fraction(test_size):
    message = (
        f"test_size must be the fraction .* above 0 and below 1; got {test_size!r}"
    )
    with pytest.raises(ValueError, match=message):
        label_balanced_split(random_labels(0), test_size=test_size)
    with pytest.raises(ValueError, match=message):
        LabelBalancedShuffleSplit(test_size=test_size)


@pytest.mark.parametrize(
    ("Y", "message"),
    [
        (None, "y must be a label matrix or a vector of classes; got None"),
        ([[0, 2], [1, 0]], r"Y must hold 0 and 1 only, .*; got the values \[2\]"),
        ([[0, 1], [1]], "Y must be .* got rows of different lengths"),
        ([0.1, 0.2, 0.7], "Unknown label type: continuous"),
        (np.ones((2, 2, 2)), "dim 3"),
    ],
)
def test_what_holds_no_labels_is_not_split(Y, message):
    with pytest.raises(ValueError, match=message):
        label_balanced_split(Y)
    with pytest.raises(ValueError, match=message):
        next(LabelBalancedKFold(2).split(None, Y))


# -- splitters -----------------------------------------------------------------------


def folds(splitter, Y):
    return [test.tolist() for _, test in splitter.split(None, Y)]


@settings(max_examples=50, deadline=None)
@given(
    n_rows=st.integers(2, 30),
    n_splits=st.integers(2, 30),
    n_labels=st.integers(1, 4),
    density=st.floats(0, 1),
    shuffle=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_each_row_is_tested_once_and_no_fold_is_empty(
    n_rows, n_splits, n_labels, density, shuffle, seed
):
    n_splits = min(n_splits, n_rows)
    Y = np.random.RandomState(seed).rand(n_rows, n_labels) < density
    splitter = LabelBalancedKFold(
        n_splits, shuffle=shuffle, random_state=seed if shuffle else None
    )
    tested = []
    for parts in splitter.split(None, Y):
        assert_partition(parts, n_rows)
        assert len(parts[1]) in (n_rows // n_splits, -(-n_rows // n_splits))
        tested.extend(parts[1])
    assert splitter.get_n_splits() == n_splits
    assert sorted(tested) == list(range(n_rows))


@settings(max_examples=30, deadline=None)
@given(
    n_rows=st.integers(2, 30),
    density=st.floats(0, 1),
    test_size=st.floats(0.01, 0.99),
    seed=st.integers(0, 1000),
)
def test_parts_of_the_shuffle_split_are_complete(n_rows, density, test_size, seed):
    Y = np.random.RandomState(seed).rand(n_rows, 3) < density
    splitter = LabelBalancedShuffleSplit(3, test_size=test_size, random_state=seed)
    splits = list(splitter.split(None, Y))
    assert len(splits) == splitter.get_n_splits() == 3
    for parts in splits:
        assert_partition(parts, n_rows)
        assert len(parts[1]) == min(ceil(test_size * n_rows), n_rows - 1)


@pytest.mark.parametrize("shuffle", [False, True])
def test_folds_share_out_each_label_and_the_rows_without(shuffle):
    def off(Y, tests):
        everything = np.hstack([Y, ~Y.any(axis=1, keepdims=True)])
        share = everything.sum(axis=0) / len(tests)
        return np.mean([abs(everything[test].sum(axis=0) - share) for test in tests])

    balanced, chance = [], []
    for seed in range(5):
        Y = random_labels(seed)
        splitter = LabelBalancedKFold(
            4, shuffle=shuffle, random_state=seed if shuffle else None
        )
        balanced.append(off(Y, folds(splitter, Y)))
        order = np.random.RandomState(seed).permutation(200)
        chance.append(off(Y, np.split(order, 4)))
    assert np.mean(balanced) < np.mean(chance) / 2


@pytest.mark.parametrize("n_positive", [4, 8, 20])
def test_rare_label_is_in_each_fold_equally_often(n_positive):
    Y = random_labels(0, n_labels=4)
    Y[:, 3] = np.arange(200) < n_positive
    Y[:, :3] |= (np.arange(200) % 2 == 0)[:, None]
    counts = [Y[test, 3].sum() for test in folds(LabelBalancedKFold(4), Y)]
    assert counts == [n_positive / 4] * 4


def test_rows_without_labels_are_in_each_fold_equally_often():
    for seed in range(3):
        rng = np.random.RandomState(seed)
        Y = rng.rand(200, 12) < rng.uniform(0.01, 0.35, 12)
        splitter = LabelBalancedKFold(4, shuffle=True, random_state=seed)
        counts = [(~Y[test].any(axis=1)).sum() for test in folds(splitter, Y)]
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("test_size", [0.1, 0.25, 0.8])
def test_size_of_the_test_part(test_size):
    """Also where each label is so rare that no row of it is due to a smaller part."""
    for Y in (random_labels(0), np.eye(200)):
        splitter = LabelBalancedShuffleSplit(3, test_size=test_size, random_state=0)
        for test in folds(splitter, Y):
            assert len(test) == ceil(200 * test_size)


def test_single_split_is_the_first_of_the_shuffle_split():
    Y = random_labels(0)
    splitter = LabelBalancedShuffleSplit(2, test_size=0.3, random_state=5)
    _, test = label_balanced_split(Y, test_size=0.3, random_state=5)
    assert folds(splitter, Y)[0] == test.tolist()


def test_classes_are_balanced_as_scikit_learn_does():
    classes = np.repeat(["a", "b", "c"], [9, 12, 30])
    for y in (classes, classes.tolist(), pd.Series(classes), classes == "a"):
        expected = sorted(
            np.unique(np.asarray(y)[test], return_counts=True)[1].tolist()
            for _, test in StratifiedKFold(3).split(classes, y)
        )
        for splitter in (LabelBalancedKFold(3), LabelBalancedKFold(3, shuffle=True)):
            counts = sorted(
                np.unique(np.asarray(y)[test], return_counts=True)[1].tolist()
                for test in folds(splitter, y)
            )
            assert counts == expected
        _, test = label_balanced_split(y, test_size=1 / 3, random_state=0)
        counts = np.unique(np.asarray(y)[test], return_counts=True)[1].tolist()
        assert counts == expected[0]


@pytest.mark.parametrize(
    "kind",
    [sp.csr_matrix, sp.coo_array, sp.lil_matrix, pd.DataFrame, np.ndarray.tolist],
)
@pytest.mark.parametrize("splitter", [LabelBalancedKFold, LabelBalancedShuffleSplit])
def test_labels_of_any_kind_split_alike(splitter, kind):
    Y = random_labels(0)
    shuffled = {"shuffle": True} if splitter is LabelBalancedKFold else {}
    splitter = splitter(3, random_state=0, **shuffled)
    assert folds(splitter, kind(Y)) == folds(splitter, Y)


@pytest.mark.parametrize("X", [range(200), [["a"]] * 200, sp.eye(200), None])
def test_only_the_length_of_X_matters(X):
    Y = random_labels(0)
    splitter = LabelBalancedKFold(3)
    assert [test.tolist() for _, test in splitter.split(X, Y)] == folds(splitter, Y)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[3, 4\]"):
        next(LabelBalancedKFold(2).split(np.zeros((3, 1)), np.eye(4)))


@pytest.mark.parametrize(
    "splitter",
    [
        lambda **state: LabelBalancedKFold(3, shuffle=True, **state),
        lambda **state: LabelBalancedShuffleSplit(3, **state),
    ],
)
def test_seed_decides_the_splits(splitter):
    Y = random_labels(0)
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    seeded = splitter(random_state=3)
    first = folds(seeded, Y)
    assert (np.random.get_state()[1] == before).all()
    np.random.seed(2)
    assert folds(seeded, Y) == first
    assert folds(splitter(random_state=4), Y) != first
    moving = splitter(random_state=np.random.RandomState(3))
    assert folds(moving, Y) == first
    assert folds(moving, Y) != first
    assert folds(splitter(), Y) != folds(splitter(), Y)
    assert len({str(test) for test in first}) == 3


def test_without_shuffling_the_folds_depend_on_the_labels_alone():
    Y = random_labels(0)
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first = folds(LabelBalancedKFold(3), Y)
    assert (np.random.get_state()[1] == before).all()
    assert folds(LabelBalancedKFold(3), Y) == first
    assert folds(LabelBalancedKFold(3, shuffle=True, random_state=0), Y) != first


@pytest.mark.parametrize(
    ("splitter", "arguments", "message"),
    [
        (LabelBalancedKFold, {"n_splits": 1}, "n_splits must be .* from 2 on; got 1"),
        (LabelBalancedKFold, {"n_splits": 2.0}, "n_splits must be .* 2 on; got 2.0"),
        (LabelBalancedKFold, {"n_splits": True}, "n_splits must be .*; got True"),
        (LabelBalancedKFold, {"shuffle": 0}, "shuffle must be True or False; got 0"),
        (
            LabelBalancedKFold,
            {"random_state": 0},
            "random_state has an .* shuffle=True",
        ),
        (LabelBalancedShuffleSplit, {"n_splits": 0}, "n_splits .* from 1 on; got 0"),
    ],
)
def test_parameters_of_the_splitters_are_checked(splitter, arguments, message):
    with pytest.raises(ValueError, match=message):
        splitter(**arguments)


def test_more_folds_than_rows():
    with pytest.raises(ValueError, match="n_splits must be .* rows, 3; got 4"):
        next(LabelBalancedKFold(4).split(None, np.eye(3)))


def test_groups_are_ignored_with_a_warning():
    Y = random_labels(0)
    splitter = LabelBalancedKFold(3)
    with pytest.warns(UserWarning, match="groups .* ignored by LabelBalancedKFold"):
        train, test = next(splitter.split(None, Y, groups=np.arange(200)))
    assert test.tolist() == folds(splitter, Y)[0]


def test_splitters_show_their_parameters():
    assert repr(LabelBalancedKFold(3, shuffle=True, random_state=1)) == (
        "LabelBalancedKFold(n_splits=3, random_state=1, shuffle=True)"
    )
    assert repr(LabelBalancedShuffleSplit(test_size=0.2)) == (
        "LabelBalancedShuffleSplit(n_splits=10, random_state=None, test_size=0.2)"
    )


@pytest.mark.parametrize("routing", [False, True])
def test_splitters_serve_as_cv(routing):
    Y = random_labels(0)
    X, knn = np.random.RandomState(0).rand(200, 3), KNeighborsClassifier()
    splitter = LabelBalancedKFold(4, shuffle=True, random_state=0)
    with config_context(enable_metadata_routing=routing):
        results = cross_validate(knn, X, Y, cv=splitter, return_indices=True)
        predicted = cross_val_predict(knn, X, Y, cv=splitter)
        search = clone(
            GridSearchCV(knn, {"n_neighbors": [1, 5]}, cv=LabelBalancedShuffleSplit(3))
        ).fit(X, Y)
    tested = [test.tolist() for test in results["indices"]["test"]]
    assert tested == folds(splitter, Y)
    assert predicted.shape == Y.shape
    assert search.n_splits_ == 3
