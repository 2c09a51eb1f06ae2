"""Embeddings that keep given inner products: singular value projection.

Bhatia, Jain, Kar, Varma and Jain (NIPS 2015), algorithm 2; the projection is that of
Jain, Meka and Dhillon (NIPS 2010).
"""

import numpy as np
from scipy.linalg import eigh
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import LinearOperator, eigsh
from sklearn.utils import gen_batches
from sklearn.utils._chunking import get_chunk_n_rows
from sklearn.utils.extmath import safe_sparse_dot


def nearest_label_products(Y, n_neighbors, rng):
    """Inner products of label vectors with the nearest ones, P_Omega(Y Y^T), CSR.

    What is stored is Omega, zeros as well: each row's nearest, of the largest inner
    products, itself included, and the same the other way round. What is nearest among
    equals is drawn. ``Y`` is CSR of float32.
    """
    n_rows = Y.shape[0]
    n_neighbors = min(n_neighbors, n_rows)
    near, products = [], []
    # For a pair of rows: their product, sparse and dense, a draw, and an index.
    for rows in gen_batches(n_rows, get_chunk_n_rows(row_bytes=32 * n_rows)):
        ranked = safe_sparse_dot(Y[rows], Y.T, dense_output=True)
        # Products are integers: what is below 1 ranks equals, and a row before others.
        ranked += rng.uniform(0, 0.25, ranked.shape)
        ranked[np.arange(len(ranked)), np.arange(n_rows)[rows]] += 0.5
        best = np.argpartition(ranked, n_rows - n_neighbors, axis=1)[:, -n_neighbors:]
        near.append(best.ravel())
        products.append(np.floor(np.take_along_axis(ranked, best, axis=1)).ravel())
    stored = np.concatenate(products).astype(float) + 1  # or zeros would get lost
    ends = np.arange(n_rows + 1) * n_neighbors
    G = csr_matrix((stored, np.concatenate(near), ends), (n_rows, n_rows))
    G = G.maximum(G.T)
    G.data -= 1
    return G


def singular_value_projection(G, rank, max_iter, tol, rng):
    """Embeddings Z whose inner products are those stored in G, CSR and symmetric.

    M <- the nearest positive semi-definite matrix of the rank to M + G - P_Omega(M),
    from M = 0 on, until the error on Omega falls by less than ``tol`` times that of
    M = 0. M = Z Z^T is only ever held as Z. Returns Z, the steps, and whether it ended.
    """
    n_rows = G.shape[0]
    rank = min(rank, n_rows)
    Z = np.zeros((n_rows, rank))
    scale = np.linalg.norm(G.data)
    residual, error = G.copy(), 1.0
    row_of = np.repeat(np.arange(n_rows), np.diff(G.indptr))
    start = rng.uniform(-1, 1, n_rows)
    chunk = get_chunk_n_rows(row_bytes=24 * rank)
    for n_iter in range(1, max_iter + 1):
        values, vectors = _largest_eigenpairs(Z, residual, rank, start)
        Z = vectors * np.sqrt(np.maximum(values, 0))
        for pairs in gen_batches(G.nnz, chunk):
            of, with_ = Z[row_of[pairs]], Z[G.indices[pairs]]
            residual.data[pairs] = G.data[pairs] - np.einsum("ij,ij->i", of, with_)
        fall = error - np.linalg.norm(residual.data) / scale
        error -= fall
        if fall < tol:
            return Z, n_iter, True
    return Z, max_iter, False


def _largest_eigenpairs(Z, residual, rank, start):
    """Of Z Z^T + residual, low rank and sparse, of which neither is made dense."""
    n_rows = len(Z)
    if n_rows <= 2 * rank:  # too many are wanted for Lanczos to be worthwhile
        matrix = Z @ Z.T + residual.toarray()
        return eigh(matrix, subset_by_index=(n_rows - rank, n_rows - 1))

    def multiply(V):
        return Z @ (Z.T @ V) + residual @ V

    operator = LinearOperator(residual.shape, multiply, matmat=multiply, dtype=float)
    return eigsh(operator, rank, which="LA", v0=start, tol=1e-4)
