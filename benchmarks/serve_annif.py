"""A real Annif whose `http` project asks `serve`: it suggests and evaluates, and so does its client.

Annif is installed in an environment of its own, together with annif-client.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

import scipy.sparse as sp
from serving import serving

import disentangle
from disentangle.evaluate.metrics import precision, rank

PROJECT = "held"
_CONFIGURATION = """\
[{project}]
name=Labels from another server
language=en
backend=http
vocab=labels
endpoint={endpoint}
limit=10
"""
_CLIENT = """\
import json, sys
from annif_client import AnnifClient

address, name, texts = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
client = AnnifClient(api_base=address + "/v1/")
try:
    client.get_project("no-such-project")
except ValueError as error:
    refused = str(error)
documents = [{"text": text, "document_id": str(i)} for i, text in enumerate(texts)]
print(json.dumps({
    "info": client.api_info,
    "projects": client.projects,
    "project": client.get_project(name),
    "refused": refused,
    "one": client.suggest(name, texts[0], limit=3, threshold=0.01),
    "batch": client.suggest_batch(name, documents, limit=2),
}))
"""


def prepare(folder: Path, bundle: Path, url: str, texts: list[str], Y: sp.csr_matrix) -> None:
    """Write Annif's configuration, vocabulary and a corpus of texts with their labels."""
    from disentangle.serve.project import uris_of

    model = disentangle.load(bundle)
    uris, names = uris_of(model), model.names
    endpoint = f"{url}/v1/projects/{bundle.name}/suggest"
    (folder / "projects.cfg").write_text(_CONFIGURATION.format(project=PROJECT, endpoint=endpoint))
    lines = [f"<{uri}>\t{name}\n" for uri, name in zip(uris, names, strict=True)]
    (folder / "labels.tsv").write_text("".join(lines), encoding="utf-8")
    rows = [f"{text}\t{' '.join(f'<{uris[i]}>' for i in Y[r].indices)}\n" for r, text in enumerate(texts)]
    (folder / "corpus.tsv").write_text("".join(rows), encoding="utf-8")
    (folder / "text.txt").write_text(texts[0], encoding="utf-8")


def annif(command: Path, folder: Path, *arguments: str, stdin: str | None = None) -> str:
    """What Annif prints for a command."""
    ended = subprocess.run(
        [str(command), *arguments], cwd=folder, input=stdin, capture_output=True, text=True, check=False
    )
    if ended.returncode or "Warning: HTTP" in ended.stderr:
        raise RuntimeError(f"{' '.join(arguments)}: {ended.stderr[-2000:]}")
    return ended.stdout


def ask_client(command: Path, url: str, name: str, texts: list[str]) -> dict[str, object]:
    """What Annif's client gets, in Annif's own environment."""
    python = command.with_name("python")
    arguments = [str(python), "-c", _CLIENT, url, name, json.dumps(texts)]
    got = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    return dict(json.loads(got))


def round_trip(
    command: Path, folder: Path, bundle: Path, texts: list[str], Y: sp.csr_matrix
) -> dict[str, object]:
    """Let Annif load the vocabulary, suggest for the first text and evaluate on all; ask its client.

    Returns
    -------
    dict
        "version", "suggest" (its lines), "eval" (its figures), "client", and "P@1", the precision that the
        bundle itself has on these texts, 0 to 1.
    """
    with serving(bundle, "--language", "en") as server:
        prepare(folder, bundle, server.url, texts, Y)
        annif(command, folder, "load-vocab", "labels", "labels.tsv", "--language", "en")
        suggested = annif(command, folder, "suggest", PROJECT, "text.txt")
        annif(command, folder, "eval", PROJECT, "corpus.tsv", "--metrics-file", "figures.json")
        client = ask_client(command, server.url, bundle.name, texts[:3])
    model = disentangle.load(bundle)
    best = rank(model.predict(model.features(texts), limit=10), 10)
    return {
        "version": annif(command, folder, "--version").strip(),
        "suggest": suggested.splitlines(),
        "eval": json.loads((folder / "figures.json").read_text()),
        "client": client,
        "P@1": float(precision(Y, best)[0]) / 100,
    }


def main() -> None:
    """Print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--annif", type=Path, required=True, help="the command, in its environment")
    add("--bundle", type=Path, required=True)
    add("--texts", type=Path, required=True, help="held texts, one a line")
    add("--labels", type=Path, required=True, help="theirs, a sparse matrix of scipy")
    add("--n", type=int, default=1000, help="how many of them, from the first")
    add("--folder", type=Path, required=True, help="empty, for Annif's files")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    texts = args.texts.read_text(encoding="utf-8").splitlines()[: args.n]
    Y = sp.load_npz(args.labels).tocsr()[: args.n]
    found = round_trip(args.annif, args.folder, args.bundle.resolve(), texts, Y)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
