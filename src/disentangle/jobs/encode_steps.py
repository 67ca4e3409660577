"""What fine-tuning and encoding do: the steps of `encode`, which import torch only when they run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..data.features import EMBEDDING
from ..data.formats.json_lines import read_texts
from ..data.lines import read_lines
from ..encoder.pretrained import Pretrained
from ..errors import DisentangleError
from ..params import EncoderParams, TuningParams
from ..runtime import progress
from ..storage.files import sha256
from ..storage.matrices import load_labels
from ..storage.npz import save_dense
from ..storage.saved import Saved

ENCODER, LOSSES = "encoder", "losses.json"


def fine_tune(
    out: Path,
    saved_tree: Saved,
    source: Pretrained,
    params: EncoderParams,
    tuning: TuningParams,
    labels: Path,
    texts: Path,
    place: Path,
    device: Any,
    key: str,
    digests: dict[Path, str],
) -> dict[str, Any]:
    """The encoder that has learnt to tell leaf clusters, and the losses of its epochs."""
    from ..encoder import fine_tune
    from ..encoder.device import has_room
    from ..encoder.text_encoder import TextEncoder
    from ..model.tree import load_chain

    Y, leaves = load_labels(labels), load_chain(saved_tree)[-1].tocsr()
    saved_tree.check_fit("a tree of labels:", leaves.shape[0], Y.shape[1])
    read = [line.text for line in read_lines(texts)]
    for path, digest in digests.items():
        if sha256(path) != digest:
            raise DisentangleError(f"{path} has changed meanwhile: run the same command again")
    with has_room():
        encoder = TextEncoder(source, params, device)
        task = fine_tune.Matching(read, Y @ leaves, tuning.seed)
        losses = fine_tune.fine_tune(encoder, task, tuning, place, key)
        encoder.save(out / ENCODER)
    (out / LOSSES).write_text(json.dumps(losses, indent=1) + "\n", encoding="utf-8")
    return losses


def write_embeddings(
    out: Path, texts: dict[str, Path], source: Pretrained, params: EncoderParams, device: Any
) -> int:
    """The embedding of each text of each part, as they are read; return how many columns there are."""
    from ..encoder.device import has_room
    from ..encoder.text_encoder import DTYPE, TextEncoder

    with has_room():
        encoder = TextEncoder(source, params, device)
        for part, path in texts.items():
            n = sum(1 for _ in read_lines(path))
            blocks = encoder.in_blocks(read_texts(path, is_json=False), str(path))
            counted = progress.counted(progress.track(blocks, n, len), f"{part} texts encoded", len)
            save_dense(out / f"{EMBEDDING}.{part}.npy", counted, (n, encoder.width), DTYPE)
    return encoder.width
