"""Iterative stratification of sparse labels.

Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data", ECML PKDD
2011, algorithm 1, with two differences. All rows of a label are dealt out in one go:
which parts they go to depends on nothing that is dealt out meanwhile. And parts have
the sizes that are asked for: at the end, rows that do least harm move.
"""

import numpy as np


def deal_out(Y, shares, sizes):
    """Deal rows out so that each label is shared out among the parts.

    Parameters
    ----------
    Y : CSR matrix of shape (n_samples, n_labels)
        Which rows have each label; every row has one. Equally good rows and labels are
        taken in their order.
    shares : ndarray of shape (n_parts,), int
        What is due to each part of a label's rows, in proportion. Whole numbers, for
        then it is exact whether two parts are due the same.
    sizes : ndarray of shape (n_parts,), int
        Rows of each part; together they are ``n_samples``.

    Returns
    -------
    ndarray of shape (n_samples,), int
        The part of each row.
    """
    unit = shares.sum()
    by_label = Y.tocsc()
    total = np.diff(by_label.indptr).astype(np.int64)
    left = total.astype(np.int32)  # the rows of each label that are not dealt out yet
    dealt = np.zeros((len(total), len(sizes)), dtype=np.int64)
    room = sizes.astype(np.int64)
    part = np.full(Y.shape[0], -1)
    done = np.iinfo(left.dtype).max
    left[left == 0] = done
    while left[label := left.argmin()] < done:
        rows = by_label.indices[slice(*by_label.indptr[label : label + 2])]
        rows = rows[part[rows] < 0]
        desired = total[label] * shares - unit * dealt[label]
        part[rows] = _parts_in_turn(len(rows), desired, room, unit)
        room -= np.bincount(part[rows], minlength=len(room))
        labels, n_labels = _labels_of(Y, rows)
        np.add.at(
            dealt.reshape(-1),
            labels * len(room) + np.repeat(part[rows], n_labels),
            1,
        )
        np.subtract.at(left, labels, 1)
        left[labels[left[labels] == 0]] = done
    _make_room(Y, part, shares, room, total, dealt)
    return part


def _parts_in_turn(n_rows, desired, room, unit):
    """The parts of the next rows of one label, in the order in which they are dealt.

    Each goes to the part that desires most, of those to the one with most room, of
    those to the first; which then desires a row, a ``unit``, less, and has room for a
    row less.
    """
    n_parts = len(room)
    # Parts that desire the same but for whole rows stay in one order: a claim is how
    # many whole rows, and then the place in that order.
    whole, rest = np.divmod(desired, unit)
    order = np.lexsort((-np.arange(n_parts), room - whole, rest))
    first = whole[order] * n_parts + np.arange(n_parts)
    # No part gets more than if the others desired as little as any.
    most = min(n_rows, np.ptp(whole) + n_rows // n_parts + 2)
    claims = first - n_parts * np.arange(most)[:, None]
    return order[np.sort(claims, axis=None)[::-1][:n_rows] % n_parts]


def _labels_of(Y, rows):
    """The labels of these rows, one after another, and how many each has."""
    start, end = Y.indptr[rows], Y.indptr[rows + 1]
    counts = (end - start).astype(np.int64)
    before = counts.cumsum() - counts
    index = np.arange(counts.sum()) + np.repeat(start - before, counts)
    return Y.indices[index].astype(np.int64), counts


def _make_room(Y, part, shares, room, total, dealt):
    """Move rows, in place, from parts that are too large to those that are too small.

    Those go first that bring the squared distances of ``dealt`` from what is desired
    down most, relative to the rows of the label; a label that would vanish from a part
    counts for more than that. They go an eighth at a time, for each changes what the
    next is worth.
    """
    unit = shares.sum()
    weight = len(part) // np.maximum(total, 1)
    while room.any():
        source, target = room.argmin(), room.argmax()
        n_rows = max(1, min(-room[source], room[target]) // 8)
        more = total * (shares[target] - shares[source])
        more -= unit * (dealt[:, target] - dealt[:, source] + 1)
        lost = (dealt[:, source] == 1) & (dealt[:, target] > 0)
        gain = Y @ (weight * more - len(part) * unit * lost)
        rows = np.flatnonzero(part == source)
        gain = gain[rows]
        best = np.flatnonzero(gain >= np.partition(gain, -n_rows)[-n_rows])
        rows = rows[best[np.argsort(-gain[best], kind="stable")][:n_rows]]
        part[rows] = target
        moved = np.bincount(_labels_of(Y, rows)[0], minlength=len(total))
        dealt[:, source] -= moved
        dealt[:, target] += moved
        room[source] += n_rows
        room[target] -= n_rows
