"""An encoder at work: texts in, the mean of its tokens' vectors out."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from ..errors import DisentangleError, excerpt
from ..params import EncoderParams
from .checkpoint import writing
from .device import Portions, mixed_precision
from .pretrained import CONFIG, WEIGHTS, Pretrained

# Standard error is for what this package has to say.
transformers.utils.logging.disable_progress_bar()

# Of the embeddings that are written; PECOS computes in float32.
DTYPE = np.dtype(np.float16)
# Texts whose tokens are held at a time: enough to find many of one length among them.
_BLOCK = 2048
# Weights that a mean of tokens does not need, and that many encoders come without.
_UNUSED = ("pooler.",)
# Of tokens, where positions are none of the weights.
_NO_LIMIT = 1 << 30
# Models that number positions from 2 on.
_FROM_2 = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet")


class TextEncoder:
    """A pretrained encoder and its tokenizer.

    Parameters
    ----------
    source : Pretrained
    params : EncoderParams
    device : torch.device

    Raises
    ------
    DisentangleError
        If the files are no encoder that transformers knows, damaged, or of other weights than its own.
    """

    def __init__(self, source: Pretrained, params: EncoderParams, device: Any) -> None:
        self.source = source
        self.params = params
        self.device = device
        self.tokenizer, self.model, self._lacked = _load(source.folder)
        source.check(source.folder)
        most = min(self.tokenizer.model_max_length, positions(self.model.config))
        if params.max_length > most and params.max_length != EncoderParams.max_length:
            raise DisentangleError(
                f"--max-length must be at most {most}, as {source.name} takes no more tokens, "
                f"got {params.max_length}"
            )
        self.max_length = min(params.max_length, most)
        self.model.to(device)
        self.portions = Portions(params.batch_size)

    @property
    def width(self) -> int:
        """Columns of the embeddings."""
        return int(self.model.config.hidden_size)

    def tokens(self, texts: list[str]) -> list[list[int]]:
        """Ids of the tokens of each text, those that mark its ends included."""
        # Tokenizers take no halves of surrogate pairs, which JSON and the command line may hold.
        texts = [text.encode("utf-8", "replace").decode() for text in texts]
        found = self.tokenizer(texts, truncation=True, max_length=self.max_length)
        return list(found["input_ids"])

    def means(self, tokens: list[list[int]]) -> Any:
        """Mean over the tokens of each text: tensor of shape (n_texts, width), float32."""
        ids, mask = self._padded(tokens)
        with mixed_precision(self.device, self.model.training):
            hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask[:, :, None].float()
        return (hidden.float() * weights).sum(1) / weights.sum(1).clamp(min=1)

    def _padded(self, tokens: list[list[int]]) -> tuple[Any, Any]:
        longest = max(map(len, tokens)) or 1
        ids = torch.full((len(tokens), longest), self.tokenizer.pad_token_id)
        mask = torch.zeros((len(tokens), longest), dtype=torch.long)
        for i, one in enumerate(tokens):
            ids[i, : len(one)] = torch.tensor(one, dtype=torch.long)
            mask[i, : len(one)] = 1
        if int(ids.max()) >= self.model.get_input_embeddings().num_embeddings:
            raise DisentangleError(
                f"{self.source.name} must have weights of all tokens of its tokenizer, lacks some"
            )
        return ids.to(self.device), mask.to(self.device)

    def encode(self, texts: list[str]) -> np.ndarray:
        """Embeddings of length 1, of texts without tokens 0.

        Returns
        -------
        ndarray of shape (n_texts, width), float16

        Raises
        ------
        DisentangleError
            If one is NaN or infinite, memory is too small, or the tokenizer is another encoder's.
        """
        found = list(self.in_blocks([texts]))
        return np.vstack(found) if found else np.zeros((0, self.width), DTYPE)

    def in_blocks(self, blocks: Iterable[list[str]], source: str = "the texts") -> Iterator[np.ndarray]:
        """The same for texts that come as blocks; what is held at a time does not grow with their number.

        `source` is what errors call them.
        """
        self.model.eval()
        n = 0
        for texts in blocks:
            for start in range(0, len(texts), _BLOCK):
                part = texts[start : start + _BLOCK]
                yield self._encode(part, n + start, source)
            n += len(texts)

    @torch.inference_mode()
    def _encode(self, texts: list[str], first: int, source: str) -> np.ndarray:
        tokens = self.tokens(texts)
        # Of like lengths, so that little is padded.
        order = sorted(range(len(texts)), key=lambda i: len(tokens[i]))
        found = np.zeros((len(texts), self.width), np.float32)
        start = 0
        while start < len(order):

            def some(size: int, start: int = start) -> list[int]:
                rows = order[start : start + size]
                found[rows] = self.means([tokens[i] for i in rows]).cpu().numpy()
                return rows

            start += len(self.portions.run(some))
        found[[i for i, one in enumerate(tokens) if not one]] = 0
        if not (is_finite := np.isfinite(found).all(axis=1)).all():
            text = first + int(np.argmin(is_finite)) + 1
            raise DisentangleError(
                f"{self.source.name} must give finite numbers, found NaN or infinity for line {text} of "
                f"{source}"
            )
        lengths = np.linalg.norm(found.astype(np.float64), axis=1, keepdims=True)
        return (found / np.where(lengths > 0, lengths, 1)).astype(DTYPE)

    def save(self, out: Path) -> Pretrained:
        """Write the encoder with the weights that it has now into a folder that is made for it."""
        self.source.copy(out)
        for pattern in WEIGHTS:
            for old in out.glob(pattern):
                old.unlink()
        saved = out / "saved"
        with writing(out):
            # What has not been there was not learnt either.
            state = {k: v for k, v in self.model.state_dict().items() if k not in self._lacked}
            self.model.save_pretrained(saved, state_dict=state)
        for path in sorted(saved.iterdir()):
            if path.name == CONFIG or path.suffix == ".safetensors" or path.name in WEIGHTS:
                path.replace(out / path.name)
        shutil.rmtree(saved)
        return Pretrained.at(out)


def _load(folder: Path) -> tuple[Any, Any, set[str]]:
    """Tokenizer, model, and the weights that it lacks.

    Nothing is unpickled, no program of the folder's runs, nothing is fetched.
    """
    given = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), **given)
        config = transformers.AutoConfig.from_pretrained(str(folder), **given)
        if getattr(config, "is_encoder_decoder", False):
            raise ValueError("it has a decoder, too")
        model, info = transformers.AutoModel.from_pretrained(
            str(folder),
            config=config,
            use_safetensors=True,
            weights_only=True,
            output_loading_info=True,
            **given,
        )
        missing = sorted(name for name in info["missing_keys"] if not name.startswith(_UNUSED))
        if missing or info["mismatched_keys"]:
            raise ValueError(f"its weights lack {', '.join(missing[:3]) or 'the shapes of its config'}")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        if tokenizer.pad_token_id is None:
            raise ValueError("its tokenizer has no token for padding")
        if not isinstance(config.hidden_size, int):
            raise ValueError(f"its hidden_size is {config.hidden_size!r}")
    except (MemoryError, DisentangleError):
        raise
    except Exception as error:  # transformers, tokenizers and safetensors each have their own
        reason = excerpt(str(error)) or type(error).__name__
        raise DisentangleError(f"{folder} must hold an encoder that can be loaded: {reason}") from error
    # A pooler that was not there is random: always the same.
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if name in info["missing_keys"]:
                weights.zero_()
    # Whatever the weights are stored in; releases of transformers differ in what they make of that.
    return tokenizer, model.float(), set(info["missing_keys"])


def positions(config: Any) -> int:
    """Most tokens that there are positions for."""
    most = getattr(config, "max_position_embeddings", None)
    if not isinstance(most, int) or most < 1:
        return _NO_LIMIT  # positions are relative
    return most - 2 if getattr(config, "model_type", "") in _FROM_2 else most
