"""Seconds and peak memory of an import of text: how they grow with the number of lines.

    PYTHONPATH=src python benchmarks/import_speed.py [LINES ...]

makes LINES (100000 and 500000) instances of text, deterministically, each of five random texts of the
embedded dataset with the labels of all five, in three formats; imports them by the command line, one after
the other; and writes benchmarks/results/import_speed.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from disentangle.data import components
from disentangle.data.formats import FORMATS
from disentangle.data.formats.attentionxml import one_word
from disentangle.data.formats.blocks import binary_rows
from disentangle.data.formats.part import Part
from disentangle.data.lines import read_lines
from disentangle.runtime import provenance
from disentangle.storage import atomic, matrices

EMBEDDED = Path(__file__).parents[1] / "dataset" / "xmc-base" / "wordnet-hypernyms"
RESULTS = Path(__file__).parent / "results" / "import_speed.json"
FILES = {"attentionxml": ("_texts.txt", "_labels.txt"), "pecos": (".txt",), "jsonl": (".jsonl",)}
TEXTS_PER_INSTANCE = 5
N_TEST = 10_000


def make(folder: Path, n_lines: int) -> None:
    """Write both parts in each format."""
    texts = [line.text for line in read_lines(EMBEDDED / "X.trn.txt")]
    Y = matrices.load_labels(EMBEDDED / "Y.trn.npz")
    names = [one_word(name) for name in components.label_names(EMBEDDED, Y.shape[1])]
    generator = np.random.default_rng(0)
    for part, n in (("trn", n_lines), ("tst", N_TEST)):
        drawn = generator.integers(len(texts), size=(n, TEXTS_PER_INSTANCE))
        joined = folder / f"X.{part}.txt"
        with joined.open("w", encoding="utf-8") as file:
            file.writelines(" ".join(texts[i] for i in row) + "\n" for row in drawn)
        labels = binary_rows(
            [[label for i in row for label in Y.indices[Y.indptr[i] : Y.indptr[i + 1]]] for row in drawn],
            Y.shape[1],
        )
        for form in FILES:
            (folder / form).mkdir(exist_ok=True)
            FORMATS[form].write(folder / form, Part(part, labels, labels, joined, names))
    components.write_lines(folder / "names.txt", names)


def measure(folder: Path, form: str, n_lines: int) -> dict[str, object]:
    """Import one format in a process of its own."""
    parts = {part: [folder / form / f"{part}{end}" for end in FILES[form]] for part in ("trn", "tst")}
    command = [sys.executable, "-m", "disentangle", "data", "import", form, "--format", form]
    command += ["--trn", *map(str, parts["trn"]), "--tst", *map(str, parts["tst"])]
    command += ["--output-items", str(folder / "names.txt"), "--data-dir", str(folder / "data")]
    subprocess.run(command, check=True)
    made = folder / "data" / form
    record = json.loads((made / "stage.json").read_text())
    size = sum(path.stat().st_size for path in parts["trn"])
    seconds = record["seconds"]["import"]
    return {
        "format": form,
        "lines": n_lines,
        "text_mb": round(size / 1e6, 1),
        "matrix_mb": round(8e-6 * matrices.load_sparse(made / "tfidf-attnxml" / "X.trn.npz").nnz, 1),
        "seconds": seconds,
        "lines_per_second": round((n_lines + N_TEST) / seconds),
        "peak_rss_mib": record["peak_rss_mib"],
    }


def main(sizes: list[int]) -> None:
    runs = []
    for n_lines in sizes:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), n_lines)
            for form in FILES:
                runs.append(measure(Path(folder), form, n_lines))
                print(runs[-1])
    atomic.write_json(
        RESULTS, {"machine": provenance.machine(), "versions": provenance.versions(), "runs": runs}
    )


if __name__ == "__main__":
    main([int(arg) for arg in sys.argv[1:]] or [100_000, 500_000])
