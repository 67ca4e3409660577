"""Sets of a benchmark's shape are what they are said to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import synthetic

from disentangle.data import datasets


def test_a_set_has_the_counts_and_means_of_its_shape(tmp_path: Path):
    shape = synthetic.SHAPES["amazon-670k"].times(0.005)
    synthetic.write(shape, tmp_path / "small")
    read = datasets.load_parts(tmp_path / "small")
    X, Y = read["X_trn"], read["Y_trn"]
    assert X.shape == (shape.n_train, shape.n_features)
    assert read["Y_tst"].shape == (shape.n_test, shape.n_labels)
    assert Y.nnz / shape.n_train == pytest.approx(shape.labels, rel=0.2)
    assert X.nnz / shape.n_train == pytest.approx(shape.terms, rel=0.2)
    assert np.asarray(X.multiply(X).sum(axis=1)) == pytest.approx(1, rel=1e-5)
