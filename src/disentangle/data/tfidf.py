"""Text to tf-idf features by scikit-learn, fitted on a stream of texts and saved as JSON."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from ..errors import DisentangleError
from ..params import TfidfParams
from ..storage import files
from ..storage.npz import MAX_SIZE
from .features import VECTORIZER_FILE as VECTORIZER_FILE

# Some hundred bytes a term, of which the largest vocabularies have millions.
_MOST_BYTES = 1 << 31


@dataclass(frozen=True)
class Vectorizer:
    """What `TfidfVectorizer` learns from training texts, in numbers that can be saved without pickle.

    Attributes
    ----------
    params : TfidfParams
    n_instances : int
        Training texts.
    terms : list of str
        Sorted; a feature each.
    frequencies : list of int
        Training texts that each term is in.
    """

    params: TfidfParams
    n_instances: int
    terms: list[str]
    frequencies: list[int]

    @cached_property
    def _learnt(self) -> tuple[Callable[[str], list[str]], dict[str, int], np.ndarray]:
        """What makes terms of a text, the column of each term, and its idf."""
        columns = {term: column for column, term in enumerate(self.terms)}
        # As scikit-learn's TfidfTransformer computes it, with smooth_idf.
        frequencies = np.array(self.frequencies, np.float64)
        return (
            _unfitted(self.params).build_analyzer(),
            columns,
            np.log((self.n_instances + 1) / (frequencies + 1)) + 1,
        )

    def transform(self, texts: Iterable[str]) -> sp.csr_matrix:
        """Features of texts: csr_matrix of shape (n_texts, n_terms), float32, rows of length 1 or 0.

        They are those of `TfidfVectorizer.transform`, which takes a millisecond for one text: it checks and
        copies a matrix time and again.
        """
        analyze, columns, idf = self._learnt
        indices, counts, indptr = array("i"), array("i"), [0]
        for text in texts:
            seen: dict[int, int] = {}
            for term in analyze(text):
                if (column := columns.get(term)) is not None:
                    seen[column] = seen.get(column, 0) + 1
            for column in sorted(seen):
                indices.append(column)
                counts.append(seen[column])
            indptr.append(len(indices))
        values: np.ndarray = np.array(counts, np.float64)
        if self.params.sublinear_tf:
            values = np.log(values) + 1
        values *= idf[indices]
        n = len(indptr) - 1
        rows = np.repeat(np.arange(n), np.diff(indptr))
        values /= np.sqrt(np.bincount(rows, values**2, n))[rows]
        arrays = values.astype(np.float32), np.array(indices, np.int32), indptr
        return sp.csr_matrix(arrays, shape=(n, len(idf)))

    def as_json(self) -> str:
        """Everything that `load` needs."""
        learnt = {name: getattr(self, name) for name in ("n_instances", "terms", "frequencies")}
        return json.dumps({"params": asdict(self.params)} | learnt, indent=0) + "\n"

    @classmethod
    def load(cls, path: Path) -> Vectorizer:
        """Read a file that holds what `as_json` gave.

        Raises
        ------
        DisentangleError
            If the file is missing or holds something else.
        """
        content = files.read(path, _MOST_BYTES, "a vectorizer saved by an import of text")
        try:
            read = json.loads(content.decode())
            params = TfidfParams(**dict(read["params"], ngram_range=tuple(read["params"]["ngram_range"])))
            params.validate()
            loaded = cls(params, read["n_instances"], read["terms"], read["frequencies"])
            if not loaded._is_consistent():
                raise ValueError
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            reason = f": {error}" if isinstance(error, DisentangleError) else ""
            raise DisentangleError(
                f"{path} is damaged or no vectorizer saved by an import of text{reason}"
            ) from error
        return loaded

    def _is_consistent(self) -> bool:
        terms, frequencies, n_instances = self.terms, self.frequencies, self.n_instances
        return (
            isinstance(terms, list)
            and isinstance(frequencies, list)
            and 0 < len(terms) == len(frequencies) <= MAX_SIZE
            and all(isinstance(term, str) for term in terms)
            and all(type(n) is int for n in (n_instances, *frequencies, *self.params.ngram_range))
            and min(frequencies) >= 1
            and max(frequencies) <= n_instances <= MAX_SIZE
            and all(a < b for a, b in pairwise(terms))
        )


def fit(texts: Iterable[str], params: TfidfParams, source: str = "the training texts") -> Vectorizer:
    """Learn terms and their frequencies from training texts, seen once and never held.

    The result is that of `TfidfVectorizer.fit`, which would hold a count for each term of each text.
    Where `max_features` cuts between terms that occur equally often, those first in the alphabet stay.

    Raises
    ------
    DisentangleError
        If no term is left.
    """
    analyze = _unfitted(params).build_analyzer()
    frequencies: Counter[str] = Counter()
    occurrences: Counter[str] = Counter()
    n = 0
    for text in texts:
        terms = analyze(text)
        frequencies.update(set(terms))
        if params.max_features is not None:
            occurrences.update(terms)
        n += 1
    most = params.max_df * n
    kept = sorted(term for term, df in frequencies.items() if params.min_df <= df <= most)
    if params.max_features is not None:
        kept = sorted(sorted(kept, key=lambda term: -occurrences[term])[: params.max_features])
    if not kept:
        raise DisentangleError(
            f"a term must be in at least {params.min_df} training texts (--min-df) and at most {most:g} "
            f"(--max-df), found none in the {n} of {source}"
        )
    return Vectorizer(params, n, kept, [frequencies[term] for term in kept])


def _unfitted(params: TfidfParams) -> TfidfVectorizer:
    return TfidfVectorizer(**{field.name: getattr(params, field.name) for field in fields(params)})
