"""Handwritten digits, labelled with properties of the digit."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

from skcgmvae.datasets._frames import as_frames

# Which digits have each property, in the order of the label columns.
_ATTRIBUTES = {
    "odd": (1, 3, 5, 7, 9),
    "prime": (2, 3, 5, 7),
    "square": (0, 1, 4, 9),
    "power_of_two": (1, 2, 4, 8),
    "multiple_of_three": (0, 3, 6, 9),
    "greater_than_four": (5, 6, 7, 8, 9),
    "closed_loop": (0, 6, 8, 9),
}

_DESCR = """\
.. _digit_attributes:

Attributes of handwritten digits
--------------------------------

:Samples: 1797
:Features: 64, the pixels of an 8 x 8 image, whole numbers from 0 to 16
:Labels: 7, each 0 or 1
:Labels a sample: 3.0 on average, 2 at least and 5 at most

The images are those of :func:`sklearn.datasets.load_digits`, a part of the UCI
"Optical recognition of handwritten digits" data set (E. Alpaydin and C. Kaynak,
1998). The labels are properties of the digit in the image:

=================  =============
label              digits
=================  =============
odd                1, 3, 5, 7, 9
prime              2, 3, 5, 7
square             0, 1, 4, 9
power_of_two       1, 2, 4, 8
multiple_of_three  0, 3, 6, 9
greater_than_four  5, 6, 7, 8, 9
closed_loop        0, 6, 8, 9
=================  =============

A 4 is counted as open, though some print and write it with a closed loop.

Which labels go together can be worked out by hand. No digit is both prime and
square, or a power of two and a multiple of three; three of the four multiples of
three have a closed loop, and three of the four primes are odd.
"""


def load_digit_attributes(*, return_X_y=False, as_frame=False):
    """Load images of digits, labelled with seven properties of the digit.

    =================   ==============
    Samples total                 1797
    Dimensionality                  64
    Features             integers 0-16
    Labels                           7
    =================   ==============

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Give ``data`` and ``target`` as DataFrames, and ``frame`` with both.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Its attributes:

        data : {ndarray, DataFrame} of shape (1797, 64), float64
            The pixels, row by row.
        target : {ndarray, DataFrame} of shape (1797, 7), int64
            The labels, 0 or 1.
        frame : DataFrame of shape (1797, 71) or None
            ``data`` and ``target`` side by side; only with ``as_frame=True``.
        feature_names : list of str
            Names of the pixels.
        target_names : list of str
            Names of the labels.
        DESCR : str
            Description of the data set.

    (data, target) : tuple if ``return_X_y=True``
        The first two of these.

    See Also
    --------
    load_npz : Load a data set from a file.

    Examples
    --------
    >>> from skcgmvae.datasets import load_digit_attributes
    >>> digits = load_digit_attributes()
    >>> digits.data.shape
    (1797, 64)
    >>> digits.target_names[:3]
    ['odd', 'prime', 'square']
    >>> digits.target[:3, :3]  # the digits 0, 1 and 2
    array([[0, 0, 1],
           [1, 0, 1],
           [0, 1, 0]])
    """
    digits = load_digits()
    data, feature_names = digits.data, list(digits.feature_names)
    target = np.column_stack(
        [np.isin(digits.target, having) for having in _ATTRIBUTES.values()]
    ).astype(np.int64)
    target_names = list(_ATTRIBUTES)
    frame = None
    if as_frame:
        data, target, frame = as_frames(
            "load_digit_attributes", data, target, feature_names, target_names
        )
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        frame=frame,
        feature_names=feature_names,
        target_names=target_names,
        DESCR=_DESCR,
    )
