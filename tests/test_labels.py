"""Targets to a 0/1 matrix and back."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.exceptions import DataConversionWarning

from skcgmvae._labels import LabelCoder, count_labels

MATRIX = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])


def toarray(Y):
    return Y.toarray() if sp.issparse(Y) else np.asarray(Y)


def fitted(Y, **options):
    coder = LabelCoder(**options)
    coder.fit_transform(Y)
    return coder


def round_trip(Y, **options):
    """Encode, be certain of every label, and decide."""
    coder = LabelCoder(**options)
    code = coder.fit_transform(Y)
    again = coder.transform(Y)
    assert again.dtype == np.uint8
    assert (toarray(again) == toarray(code)).all()
    assert code.dtype == np.uint8
    sigmoid = np.where(toarray(code) == 1, 0.9, 0.2)
    return coder, code, coder.decide(coder.probabilities(sigmoid), 0.5)


# -- label matrices --------------------------------------------------------------


@pytest.mark.parametrize("dtype", [bool, np.int64, np.int8, np.uint8, np.float32])
@pytest.mark.parametrize(
    "kind", [np.asarray, sp.csr_matrix, sp.csc_array, sp.coo_matrix]
)
def test_label_matrix(kind, dtype):
    Y = kind(MATRIX.astype(dtype))
    coder, code, back = round_trip(Y)
    assert (toarray(code) == MATRIX).all()
    assert (toarray(back) == MATRIX).all()
    assert back.dtype == dtype
    assert sp.issparse(back) == sp.issparse(code) == sp.issparse(Y)
    assert coder.classes_.tolist() == [0, 1, 2]
    assert coder.n_labels_ == 3
    assert coder.label_names_ is None
    assert not coder.is_multiclass_


def test_list_of_lists():
    _, code, back = round_trip(MATRIX.tolist())
    assert (code == MATRIX).all()
    assert (back == MATRIX).all()
    assert isinstance(back, np.ndarray)


@pytest.mark.parametrize("dtype", [int, bool, float, "Int64"])
def test_data_frame_keeps_its_names(dtype):
    frame = pd.DataFrame(MATRIX, columns=["sea", "sun", "sky"]).astype(dtype)
    coder, code, back = round_trip(frame)
    assert coder.label_names_.tolist() == ["sea", "sun", "sky"]
    assert coder.classes_.tolist() == [0, 1, 2]
    assert (code == MATRIX).all()
    assert (back == MATRIX).all()


def test_data_frame_of_mixed_columns():
    frame = pd.DataFrame({"a": [True, False], "b": [0, 1], "c": [1.0, 0.0]})
    _, code, _ = round_trip(frame)
    assert code.tolist() == [[1, 0, 1], [0, 1, 0]]


def test_data_frame_with_numbers_for_names_has_none():
    assert fitted(pd.DataFrame(MATRIX)).label_names_ is None


@pytest.mark.parametrize(
    "column",
    [
        np.array([[1], [0], [1]]),
        np.array([[True], [False], [True]]),
        sp.csr_matrix([[1], [0], [1]]),
        [[1], [0], [1]],
        pd.DataFrame({"sea": [1, 0, 1]}),
    ],
    ids=["int", "bool", "sparse", "list", "frame"],
)
def test_one_column_is_a_label_matrix(column):
    coder, code, back = round_trip(column)
    assert coder.is_matrix_
    assert coder.classes_.tolist() == [0]
    assert toarray(code).tolist() == [[1], [0], [1]]
    assert toarray(back).tolist() == [[1], [0], [1]]


def test_probabilities_of_a_matrix_are_each_labels_own():
    sigmoid = np.array([[0.2, 0.9, 0.4]])
    coder = fitted(MATRIX)
    assert coder.probabilities(sigmoid).tolist() == sigmoid.tolist()
    assert coder.decide(sigmoid, 0.4).tolist() == [[0, 1, 1]]
    assert coder.decide(sigmoid, np.array([0.1, 0.95, 0.5])).tolist() == [[1, 0, 0]]


def test_matrix_of_another_kind_is_encoded_too():
    coder = fitted(MATRIX)
    assert (coder.transform(sp.csr_matrix(MATRIX)).toarray() == MATRIX).all()
    assert (fitted(sp.csr_matrix(MATRIX)).transform(MATRIX.tolist()) == MATRIX).all()


def test_stored_zeros_are_not_labels():
    Y = sp.csr_matrix(([1, 0, 1], ([0, 0, 1], [0, 1, 1])), shape=(2, 2))
    code = LabelCoder().fit_transform(Y)
    assert code.nnz == 2
    assert code.toarray().tolist() == [[1, 0], [0, 1]]


def test_input_is_left_alone():
    Y = sp.csr_matrix(([1, 0, 1], ([0, 0, 1], [0, 1, 1])), shape=(2, 2))
    LabelCoder().fit_transform(Y)
    assert Y.nnz == 3


# -- vectors of classes ----------------------------------------------------------


@pytest.mark.parametrize(
    "y",
    [
        np.array([0, 1, 1, 0]),
        np.array([-1, 7, 7, -1]),
        np.array([False, True, True, False]),
        np.array(["no", "yes", "yes", "no"]),
        np.array(["no", "yes", "yes", "no"], dtype=object),
        [2.0, 5.0, 5.0, 2.0],
        pd.Series(["no", "yes", "yes", "no"]),
    ],
    ids=["int", "signs", "bool", "str", "object", "float list", "series"],
)
def test_two_classes_are_one_label(y):
    coder, code, back = round_trip(y)
    assert code.tolist() == [[0], [1], [1], [0]]
    assert back.tolist() == list(y)
    assert coder.classes_.tolist() == sorted(set(y))
    assert not coder.is_multiclass_
    probabilities = coder.probabilities(np.array([[0.25]]))
    assert probabilities.tolist() == [[0.75, 0.25]]
    assert coder.decide(probabilities, 0.2).tolist() == [coder.classes_[1]]
    assert coder.decide(probabilities, 0.3).tolist() == [coder.classes_[0]]


@pytest.mark.parametrize(
    "y",
    [np.array([3, 1, 2, 1]), np.array(["c", "a", "b", "a"]), ["c", "a", "b", "a"]],
    ids=["int", "str", "list"],
)
def test_more_classes_are_one_label_each(y):
    coder, code, back = round_trip(y)
    assert code.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert back.tolist() == list(y)
    assert coder.is_multiclass_
    probabilities = coder.probabilities(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.6]]))
    np.testing.assert_allclose(probabilities, [[0.5, 0.25, 0.25], [0.125, 0.125, 0.75]])


def test_column_of_classes_is_taken_as_a_vector_with_a_warning():
    with pytest.warns(DataConversionWarning, match="column-vector"):
        coder = fitted(np.array([["a"], ["b"], ["a"]]))
    assert coder.classes_.tolist() == ["a", "b"]


def test_all_classes_may_be_announced():
    coder = fitted([1, 1], classes=[3, 1, 2])
    assert coder.classes_.tolist() == [1, 2, 3]
    assert coder.transform([3, 1]).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert fitted([1, 1], classes=[0, 1]).transform([0, 1]).tolist() == [[0], [1]]


def test_classes_of_a_matrix_are_its_columns():
    assert fitted(MATRIX, classes=[0, 1, 2]).classes_.tolist() == [0, 1, 2]


# -- errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("Y", "message"),
    [
        ([[0, 2], [1, 0]], r"Y must hold 0 and 1 only.*values \[2\]"),
        ([[0, -1], [1, 0.5]], r"0 and 1 only.*values \[-1.0, 0.5\]"),
        (sp.csr_matrix([[0, 3], [1, 0]]), r"Y must hold 0 and 1 only.*values \[3\]"),
        (
            sp.csr_matrix((np.ones(2), ([0, 0], [1, 1])), shape=(2, 2)),
            r"0 and 1 only.*values \[2.0\]",
        ),
        ([[0, np.nan], [1, 0]], "Input Y contains NaN"),
        ([[0, np.inf], [1, 0]], "Input Y contains infinity"),
        (sp.csr_matrix([[0, np.nan], [1, 0]]), r"values \[nan\]"),
        ([[0, 1], [1]], "rows of different lengths.*MultiLabelBinarizer"),
        (np.zeros((2, 2, 2)), "Found array with dim 3"),
        ([0.5, 1.25, 3.75], "continuous"),
        ([0.0, np.nan, 1.0], "Input y contains NaN"),
        ([4, 4, 4], r"one class only \(\[4\]\).*at least two classes"),
        (["a", "a"], r"one class only \(\['a'\]\)"),
    ],
)
def test_targets_that_are_none(Y, message):
    with pytest.raises(ValueError, match=message):
        fitted(Y)


def test_matrix_of_strings_is_told_what_y_must_hold():
    with pytest.raises(ValueError, match="Y"):
        fitted([("sea", "sun"), ("sky", "sea")])


def test_sparse_matrix_without_columns_is_refused_like_a_dense_one():
    for Y in (np.zeros((5, 0)), sp.csr_matrix((5, 0))):
        with pytest.raises(ValueError, match=r"0 feature|at least one column"):
            fitted(Y)


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (MATRIX, MATRIX[:, :2], r"Y must have 3 columns.*shape \(4, 2\)"),
        (MATRIX, [0, 1, 0], r"Y must have 3 columns.*shape \(3,\)"),
        (MATRIX, [[0, 1, 2]], r"0 and 1 only.*\[2\]"),
        ([0, 1], [0, 2], r"not announced: \[2\].*classes are \[0, 1\]"),
        (["a", "b", "c"], ["a", "d"], r"not announced: \['d'\]"),
        ([0, 1, 2], np.eye(3), r"should be a 1d array.*\(3, 3\)"),
    ],
)
def test_later_targets_that_do_not_fit_the_first(first, then, message):
    with pytest.raises(ValueError, match=message):
        fitted(first).transform(then)


def test_classes_must_match_the_columns():
    with pytest.raises(ValueError, match="classes names 2 labels, but Y has 3 columns"):
        fitted(MATRIX, classes=[0, 1])


def test_one_class_announced_is_not_enough():
    with pytest.raises(ValueError, match="one class only"):
        fitted([1, 1], classes=[1])


# -- many rows -------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_all_rows_are_looked_at_in_parts(monkeypatch, kind):
    monkeypatch.setattr("skcgmvae._labels.CHUNK_MEMORY", 20 / 2**20)
    rng = np.random.RandomState(0)
    Y = rng.randint(2, size=(100, 3))
    rows = np.flatnonzero(rng.rand(100) < 0.8)
    np.testing.assert_array_equal(count_labels(kind(Y), rows), Y[rows].sum(axis=0))
    for row in (0, 50, 99):
        spoilt = Y.copy()
        spoilt[row, 1] = 3
        with pytest.raises(ValueError, match=r"0 and 1 only.*the values \[3\]"):
            fitted(kind(spoilt))


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_a_matrix_in_bytes_is_copied_unless_told_not_to(kind):
    Y = kind(MATRIX.astype(np.uint8))
    parts = ("data", "indices", "indptr") if sp.issparse(Y) else ("T",)
    for copy in (True, False):
        coder = LabelCoder()
        for code in (coder.fit_transform(Y, copy=copy), coder.transform(Y, copy=copy)):
            for part in parts:
                ours, theirs = getattr(code, part), getattr(Y, part)
                assert np.shares_memory(ours, theirs) == (not copy)
