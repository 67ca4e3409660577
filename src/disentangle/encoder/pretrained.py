"""The files of a pretrained encoder: found, told by their digests, copied; weights as safetensors alone."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from ..errors import DisentangleError, excerpt
from ..runtime import progress
from ..storage.files import sha256

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")
_TOKENIZER = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
_BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")
KNOWN = (CONFIG, *WEIGHTS, *_TOKENIZER, *_BESIDE)
# Never read: they hold programs.
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class Pretrained:
    """An encoder in a folder, as Hugging Face's `save_pretrained` leaves it.

    Attributes
    ----------
    folder : Path
    digests : dict of str to str
        Sha256 of each of the files that are read, by name.
    name : str
        What it is called: the folder's name, or that on the hub.
    revision : str or None
        The hub's, of an encoder from there.

    Raises
    ------
    ValueError
        If a file is none that an encoder has.
    """

    folder: Path
    digests: dict[str, str]
    name: str
    revision: str | None = None

    def __post_init__(self) -> None:
        # Names may be a stranger's, and files are copied by them.
        if strange := [file for file in self.digests if "/" in file or not _among([file], KNOWN)]:
            raise ValueError(f"{excerpt(strange[0])} is no file of an encoder")

    @classmethod
    def at(cls, folder: Path, name: str | None = None, revision: str | None = None) -> Pretrained:
        """The encoder of a folder.

        Raises
        ------
        DisentangleError
            If it is none, or has its weights only as pickle.
        """
        try:
            files = sorted(path.name for path in folder.iterdir() if path.is_file())
        except OSError as error:
            raise DisentangleError(f"cannot read {folder}: {error.strerror or error}") from error
        if not _among(files, WEIGHTS) and (pickled := _among(files, _PICKLED)):
            raise DisentangleError(
                f"{folder} must have its weights as safetensors ({WEIGHTS[0]}), found {pickled[0]}: "
                "pickle may run programs and is never read"
            )
        for names, what in (((CONFIG,), CONFIG), (WEIGHTS, WEIGHTS[0]), (_TOKENIZER, _TOKENIZER[0])):
            if not _among(files, names):
                raise DisentangleError(
                    f"{folder} must hold an encoder as save_pretrained of transformers writes it, "
                    f"found no {what}"
                )
        _check_index(folder, files)
        digests = {file: sha256(folder / file) for file in _among(files, KNOWN)}
        return cls(folder, digests, name or folder.resolve().name, revision)

    def copy(self, out: Path) -> None:
        """Copy the files into a folder that is made for them.

        Raises
        ------
        DisentangleError
            If one has changed since it was looked at.
        """
        out.mkdir()
        for file in self.digests:
            shutil.copyfile(self.folder / file, out / file)
        self.check(out)

    def check(self, folder: Path) -> None:
        """Raise DisentangleError unless a folder holds these files, and no others that are read."""
        found = Pretrained.at(folder).digests
        if changed := sorted(
            name for name in {*found, *self.digests} if found.get(name) != self.digests.get(name)
        ):
            raise DisentangleError(
                f"{folder} must hold the encoder that was there before, found another {changed[0]}"
            )

    def said(self) -> dict[str, object]:
        """What `features.json` says of it."""
        return {"encoder": self.name, "revision": self.revision, "files": self.digests}


def _check_index(folder: Path, files: list[str]) -> None:
    """Raise DisentangleError where an index leads to other files than safetensors beside it."""
    index = folder / WEIGHTS[1]
    if index.name not in files:
        return
    try:
        named = set(json.loads(index.read_bytes())["weight_map"].values())
        is_sound = all(name in files and _among([name], WEIGHTS) for name in named)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        is_sound = False
    if not is_sound:
        raise DisentangleError(f"{index} must name files {WEIGHTS[2]} beside it, found others")


def find(given: str) -> Pretrained:
    """An encoder by its folder, or by its name on the Hugging Face hub, from which it is fetched once.

    Raises
    ------
    DisentangleError
        If there is no such folder, the hub cannot be reached or does not know it, or it is no encoder.
    """
    folder = Path(given)
    if given and folder.is_dir():
        return Pretrained.at(folder)
    if not _HUB_NAME.fullmatch(given):
        raise DisentangleError(
            "--encoder must be a folder, or a name on the Hugging Face hub such as "
            f"sentence-transformers/all-MiniLM-L6-v2, got {given!r}"
        )
    from huggingface_hub import snapshot_download

    with progress.stage(f"fetch {given}"):
        try:
            fetched = Path(snapshot_download(given, allow_patterns=list(KNOWN)))
        except Exception as error:  # those of whatever lies between here and there
            raise DisentangleError(
                f"--encoder {given} is no folder here, and cannot be fetched from the Hugging Face hub: "
                f"{excerpt(str(error)) or type(error).__name__}"
            ) from error
    # The cache has a folder for each revision, called by its commit.
    return Pretrained.at(fetched, given, fetched.name)


def _among(files: list[str], patterns: tuple[str, ...]) -> list[str]:
    return [file for file in files if any(fnmatch(file, pattern) for pattern in patterns)]
