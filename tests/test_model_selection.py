"""Label-balanced splits."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from skcgmvae.model_selection import label_balanced_split


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
