"""A tiny encoder with random weights, made where a test runs."""

from __future__ import annotations

import json
from pathlib import Path

import scipy.sparse as sp
from conftest import EMBEDDED, ok, run_disentangle


def import_texts(folder: Path, sizes: dict[str, int], unlabelled: int | None = None) -> None:
    """Import so many of the embedded set's last instances of each part as `verbs`.

    Parameters
    ----------
    folder : Path
        Where the command runs.
    sizes : dict of str to int
        Of "trn" and "tst"; of "val", which are the last training instances again, if there is one.
    unlabelled : int, optional
        The test instance that has no labels.
    """
    names = (EMBEDDED / "output-items.txt").read_text(encoding="utf-8").splitlines()
    for part, n in sizes.items():
        of = "trn" if part == "val" else part
        texts = (EMBEDDED / f"X.{of}.txt").read_text(encoding="utf-8").splitlines()[-n:]
        Y = sp.load_npz(EMBEDDED / f"Y.{of}.npz")[-n:]
        rows = [{"text": text, "labels": [names[i] for i in Y[r].indices]} for r, text in enumerate(texts)]
        if part == "tst" and unlabelled is not None:
            rows[unlabelled]["labels"] = []
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = ["--format", "jsonl", *(word for part in sizes for word in (f"--{part}", f"{part}.jsonl"))]
    ok(run_disentangle(folder, "data", "import", "verbs", *files))


def save_encoder(folder: Path, texts: list[str], seed: int = 0, positions: int = 64) -> Path:
    """Write a BERT of two layers whose word pieces are those of some texts."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.Lowercase()
    pieces.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    pieces.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special))
    pieces.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, special.index(name)) for name in special[2:]]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=pieces,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=positions,
    )
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=pieces.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=positions,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
