"""Batches: each row once, aligned, and predictions that do not depend on company."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skcgmvae import CGMVAEClassifier
from skcgmvae._batches import Batches, Chunks, Rows
from skcgmvae._network import SparseRows


def numbered_rows(n_rows, *, sparse_x=False, sparse_y=False):
    """Rows that say in their features, labels and weight which they are."""
    number = np.arange(n_rows)
    X = np.column_stack([number, number % 2, -number]).astype(np.float32)
    Y = np.array([[int(bit) for bit in f"{i:010b}"] for i in number], dtype=np.uint8)
    return Rows(
        sp.csr_matrix(X) if sparse_x else X,
        sp.csr_matrix(Y) if sparse_y else Y,
        number.astype(float) + 1,
    )


def read(x):
    return x.to_dense(3) if isinstance(x, SparseRows) else x


def numbers(batches):
    return [read(x["x"])[:, 0].long().tolist() for x, _ in batches]


@settings(deadline=None)
@given(
    n_rows=st.integers(1, 300), batch_size=st.integers(1, 130), shuffle=st.booleans()
)
def test_a_pass_deals_each_row_once_in_batches_of_even_size(
    n_rows, batch_size, shuffle
):
    batches = Batches(numbered_rows(n_rows), batch_size, shuffle=shuffle)
    dealt = numbers(batches)
    assert sorted(sum(dealt, [])) == list(range(n_rows))
    sizes = [len(batch) for batch in dealt]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert len(batches) == len(dealt)
    # No smaller number of batches would have done.
    assert (len(dealt) - 1) * batch_size < n_rows


@settings(deadline=None, max_examples=50)
@given(
    n_rows=st.integers(1, 60),
    batch_size=st.integers(1, 20),
    min_steps=st.integers(1, 30),
)
def test_min_steps_repeats_whole_passes(n_rows, batch_size, min_steps):
    batches = Batches(numbered_rows(n_rows), batch_size, min_steps, shuffle=True)
    dealt = numbers(batches)
    assert len(batches) == len(dealt) >= min_steps
    counts = np.bincount(sum(dealt, []), minlength=n_rows)
    assert len(set(counts)) == 1
    one_pass = len(dealt) // counts[0]
    assert len(dealt) - one_pass < min_steps or counts[0] == 1


def test_order_is_kept_without_shuffling():
    assert sum(numbers(Batches(numbered_rows(10), 4)), []) == list(range(10))


def test_shuffling_follows_the_seed_of_torch_and_changes_from_pass_to_pass():
    batches = Batches(numbered_rows(20), 20, min_steps=2, shuffle=True)
    torch.manual_seed(0)
    first = numbers(batches)
    torch.manual_seed(0)
    again = numbers(batches)
    torch.manual_seed(1)
    other = numbers(batches)
    assert first == again
    assert first != other
    assert first[0] != first[1]
    assert first[0] != list(range(20))


@pytest.mark.parametrize("sparse_x", [False, True])
@pytest.mark.parametrize("sparse_y", [False, True])
def test_features_labels_and_weights_stay_together(sparse_x, sparse_y):
    rows = numbered_rows(50, sparse_x=sparse_x, sparse_y=sparse_y)
    seen = 0
    for x, y in Batches(rows, 7, shuffle=True):
        assert y.dtype == torch.float32
        features = read(x["x"])
        number = features[:, 0]
        assert (features[:, 1] == number % 2).all()
        assert (features[:, 2] == -number).all()
        assert (y @ 2.0 ** torch.arange(9, -1, -1) == number).all()
        assert (x["sample_weight"] == number + 1).all()
        seen += len(y)
    assert seen == 50


def test_sparse_batches_hold_what_dense_ones_hold():
    X = sp.random(40, 9, density=0.2, format="csr", random_state=0, dtype=np.float32)
    assert (np.diff(X.indptr) == 0).any()
    for size in (1, 7, 40):
        torch.manual_seed(0)
        sparse = [x["x"] for x, _ in Batches(Rows(X), size, shuffle=True)]
        torch.manual_seed(0)
        dense = [x["x"] for x, _ in Batches(Rows(X.toarray()), size, shuffle=True)]
        for found, expected in zip(sparse, dense, strict=True):
            torch.testing.assert_close(found.to_dense(9), expected)


def test_neither_labels_nor_weights_are_needed():
    (x, y) = next(iter(Batches(Rows(np.ones((3, 2), np.float32)), 3)))
    assert y is None
    assert set(x) == {"x"}


def test_arrays_that_torch_cannot_view_are_copied():
    X = np.arange(24, dtype=np.float32).reshape(4, 6)
    frozen = X.copy()
    frozen.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for array in (X[::-1], X[:, ::2], np.asfortranarray(X), X.T, frozen):
            x, _ = Rows(array).take(torch.tensor([2, 0]))
            assert (x["x"].numpy() == array[[2, 0]]).all()


# -- prediction ------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [1, 127, 128, 129, 300])
def test_chunks_have_one_size_and_hold_the_rows_in_order(n_rows):
    chunks = list(Chunks(numbered_rows(n_rows)))
    assert {len(x["x"]) for x, _ in chunks} == {Chunks.size}
    assert len(chunks) == -(-n_rows // Chunks.size)
    dealt = sum(numbers(chunks), [])
    assert dealt[:n_rows] == list(range(n_rows))
    assert set(dealt[n_rows:]) <= set(range(n_rows))


@pytest.fixture(scope="module", params=["dense", "sparse"])
def fitted(request):
    rng = np.random.RandomState(0)
    X = rng.randn(300, 20) * (rng.rand(300, 20) < 0.4)
    Y = (X @ rng.randn(20, 5) > 0).astype(int)
    X = sp.csr_matrix(X) if request.param == "sparse" else X
    # The sizes of the paper: small products use other kernels.
    clf = CGMVAEClassifier(
        n_members=1, max_iter=1, min_steps_per_epoch=1, random_state=0
    )
    return clf.fit(X, Y), clf._scaler.transform(X)


@pytest.mark.parametrize("method", ["forward", "encode", "embed"])
def test_result_for_a_row_does_not_depend_on_how_many_are_sent(fitted, method):
    clf, X = fitted
    function = getattr(clf.net_.module_, method)
    everything = clf.net_.apply(X, function)
    assert len(np.unique(everything, axis=0)) == 300
    for n_rows in (1, 2, 127, 128, 129, 255, 256, 257, 299):
        assert (clf.net_.apply(X[:n_rows], function) == everything[:n_rows]).all()


def test_result_for_a_row_hardly_depends_on_where_it_is_sent(fitted):
    """Not to the last bit: narrow matrix products treat some rows of a chunk apart."""
    clf, X = fitted
    everything = clf.net_.logits(X)
    close = {"rtol": 1e-5, "atol": 1e-6}
    for row in (1, 63, 127, 128, 200, 299):
        alone = clf.net_.logits(X[[row]])[0]
        np.testing.assert_allclose(alone, everything[row], **close)
    order = np.random.RandomState(0).permutation(300)
    np.testing.assert_allclose(clf.net_.logits(X[order]), everything[order], **close)


def test_padding_does_not_show():
    rng = np.random.RandomState(0)
    X, Y = rng.randn(130, 4), rng.randint(2, size=(130, 3))
    clf = CGMVAEClassifier(
        n_members=1, max_iter=1, min_steps_per_epoch=1, random_state=0, device="cpu"
    )
    clf.fit(X, Y)
    logits = clf.net_.logits(clf._scaler.transform(X))
    with torch.inference_mode():
        scaled = torch.from_numpy(clf._scaler.transform(X))
        expected = clf.net_.module_.eval()(scaled).mean(dim=1).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
