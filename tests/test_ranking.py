"""The best entries of each row, beside a sort of all."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skcgmvae._ranking import is_top_k

# Many of them equal.
VALUES = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0])


@given(st.data())
def test_they_are_the_first_of_a_stable_sort(data):
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=2))
    values = data.draw(hnp.arrays(float, shape, elements=VALUES))
    k = data.draw(st.integers(1, shape[1]))
    expected = np.zeros(shape, dtype=bool)
    for row, taken in zip(values, expected, strict=True):
        taken[sorted(range(len(row)), key=lambda i: -row[i])[:k]] = True
    np.testing.assert_array_equal(is_top_k(values, k), expected)
