"""Text to features: what scikit-learn would do, without holding the texts, and saved without pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from disentangle.data import tfidf
from disentangle.data.tfidf import Vectorizer
from disentangle.errors import DisentangleError
from disentangle.params import TfidfParams

TEXTS = ["the red fox", "The red red hen", "a blue fox and the hen", "", "fox"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"min_df": 1},
        {"min_df": 1, "max_df": 0.4},
        {"min_df": 1, "ngram_range": (1, 3)},
        {"sublinear_tf": True},
        {"lowercase": False, "min_df": 1},
        {"token_pattern": r"\w", "min_df": 3},
        {"max_features": 2},
    ],
)
def test_the_same_as_scikit_learn(settings: dict[str, Any]):
    params = TfidfParams(**settings)
    ours = tfidf.fit(iter(TEXTS), params)
    theirs = TfidfVectorizer(**{"min_df": 2, **settings})
    X = theirs.fit_transform(TEXTS).astype(np.float32)
    assert ours.terms == theirs.get_feature_names_out().tolist()
    assert (ours.transform(TEXTS) != X).nnz == 0
    new = ["a red hen unseen", "unseen"]
    assert (ours.transform(new) != theirs.transform(new).astype(np.float32)).nnz == 0


@given(
    st.lists(
        st.lists(st.sampled_from(["aa", "bb", "cc", "dd", "ee"]), max_size=6).map(" ".join),
        min_size=1,
        max_size=8,
    )
)
def test_the_same_as_scikit_learn_for_any_texts(texts: list[str]):
    theirs = TfidfVectorizer(min_df=2)
    try:
        X = theirs.fit_transform(texts).astype(np.float32)
    except ValueError:
        with pytest.raises(DisentangleError, match="at least 2 training texts"):
            tfidf.fit(texts, TfidfParams())
    else:
        assert (tfidf.fit(texts, TfidfParams()).transform(texts) != X).nnz == 0


def test_terms_that_occur_equally_often_are_kept_in_the_order_of_the_alphabet():
    params = TfidfParams(min_df=1, max_features=3)
    assert tfidf.fit(["dd cc bb aa", "dd dd"], params).terms == ["aa", "bb", "dd"]


def test_it_comes_back_from_its_file(tmp_path: Path):
    params = TfidfParams(ngram_range=(1, 2), max_features=5)
    vectorizer = tfidf.fit(TEXTS, params)
    (tmp_path / "v.json").write_text(vectorizer.as_json())
    loaded = Vectorizer.load(tmp_path / "v.json")
    assert loaded == vectorizer
    assert (loaded.transform(TEXTS) != vectorizer.transform(TEXTS)).nnz == 0


GOOD = json.loads(tfidf.fit(TEXTS, TfidfParams()).as_json())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        json.dumps(GOOD | {"terms": GOOD["terms"][1:]}).encode(),
        json.dumps(GOOD | {"terms": GOOD["terms"][::-1]}).encode(),
        json.dumps(GOOD | {"terms": [1, 2, 3, 4]}).encode(),
        json.dumps(GOOD | {"frequencies": [2, 2, 2, 6]}).encode(),
        json.dumps(GOOD | {"frequencies": 4}).encode(),
        json.dumps(GOOD | {"n_instances": "5"}).encode(),
        json.dumps(GOOD | {"params": {"min_df": 2}}).encode(),
        json.dumps(GOOD | {"params": GOOD["params"] | {"analyzer": "os.system"}}).encode(),
        json.dumps(GOOD | {"params": GOOD["params"] | {"token_pattern": "("}}).encode(),
        json.dumps(GOOD | {"params": GOOD["params"] | {"token_pattern": 3}}).encode(),
        json.dumps(GOOD | {"params": GOOD["params"] | {"min_df": None}}).encode(),
        json.dumps(GOOD | {"n_instances": True, "frequencies": [1] * len(GOOD["terms"])}).encode(),
        json.dumps(GOOD | {"terms": "".join(term[0] for term in GOOD["terms"])}).encode(),
        json.dumps(GOOD).replace('"max_df": 1.0', '"max_df": NaN').encode(),
        json.dumps(GOOD).replace('"max_df": 1.0', '"max_df": 1e999').encode(),
        json.dumps(GOOD).replace("[1, 1]", "[1.5, 2.5]").encode(),
        json.dumps(GOOD).replace("[1, 1]", '"11"').encode(),
        json.dumps(GOOD).replace('"min_df": 2', '"min_df": "2"').encode(),
        json.dumps(GOOD | {"params": GOOD["params"] | {"token_pattern": "(a+)+$"}}).encode(),
        json.dumps(GOOD | {"params": GOOD["params"] | {"token_pattern": "\ud800" * 5000}}).encode(),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "v.json").write_bytes(content)
    with pytest.raises(DisentangleError, match=r"v\.json is damaged or no vectorizer") as error:
        Vectorizer.load(tmp_path / "v.json")
    assert len(str(error.value)) < 800 + len(str(tmp_path))
    assert str(error.value).isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([*GOOD, *GOOD["params"]]), JSON)
def test_whatever_stands_in_a_place_of_the_file_it_loads_or_is_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: Any
):
    spoilt = GOOD | {key: value} if key in GOOD else GOOD | {"params": GOOD["params"] | {key: value}}
    path = tmp_path_factory.mktemp("json") / "v.json"
    path.write_text(json.dumps(spoilt))
    try:
        loaded = Vectorizer.load(path)
    except DisentangleError:
        return
    assert loaded.transform(TEXTS).shape == (len(TEXTS), len(GOOD["terms"]))


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(DisentangleError, match=r"cannot read .*v\.json: No such file"):
        Vectorizer.load(tmp_path / "v.json")
