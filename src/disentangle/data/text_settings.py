"""Settings for features of texts that have a name."""

from __future__ import annotations

from ..params import TfidfParams

USUAL = "usual"
TEXT_SETTINGS = {
    USUAL: TfidfParams(),
    "bigrams": TfidfParams(ngram_range=(1, 2)),
    # Those of Omikuji at Finto AI, the National Library of Finland's service: ngram 2, min_df 5.
    "finto-ai": TfidfParams(ngram_range=(1, 2), min_df=5),
}
