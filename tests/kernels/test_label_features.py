"""Sums of labels' instances."""

import numpy as np
import pytest
import scipy.sparse as sp

from disentangle.kernels.label_features import summing
from disentangle.storage.compressed import flat


@pytest.mark.parametrize("n_columns", [3, 8, 64, 65, 1000])
def test_sums_are_those_of_the_dense_product_and_one_call_leaves_nothing_to_the_next(n_columns: int):
    rng = np.random.default_rng(0)
    X = sp.random(40, n_columns, 0.3, "csr", np.float32, rng)
    X.data[:] = rng.integers(-3, 4, X.nnz)  # sums are exact, some of them 0
    is_label = rng.random((12, 40)) < 0.2
    is_label[3] = False
    labels = sp.csr_matrix(is_label.astype(np.float32))
    summed = summing(flat(labels), flat(X), n_columns)
    expected = (labels @ X).toarray()
    assert (expected == 0).any()
    for rows in (np.arange(12), np.array([11, 3, 0]), np.array([3]), np.arange(0)):
        indptr, indices, values = summed(rows)
        found = sp.csr_matrix((values, indices, indptr), shape=(len(rows), n_columns))
        assert found.has_canonical_format
        assert found.toarray().tolist() == expected[rows].tolist()
        assert (values != 0).all()
