"""XR-Transformer by PECOS: texts and features in, its prediction and the embeddings that it has learnt out.

Zhang et al., "Fast Multi-Resolution Transformer Fine-tuning for Extreme Multi-label Text Classification",
NeurIPS 2021.
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
import transformers

from ..encoder.device import lacks_room
from ..encoder.text_encoder import positions
from ..errors import DisentangleError, excerpt
from ..evaluate.metrics import candidates_of
from ..model.pecos import HierarchicalKMeans, HierarchicalMLModel, MLModel, XLinearModel
from ..storage import atomic
from .settings import Tree, XrSettings

# After the above, which makes sure that PECOS's library is there.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pecos.utils import torch_util
    from pecos.xmc.xtransformer import matcher
    from pecos.xmc.xtransformer.matcher import TransformerMatcher
    from pecos.xmc.xtransformer.model import XTransformer
    from pecos.xmc.xtransformer.module import MLProblemWithText
    from pecos.xmc.xtransformer.network import ENCODER_CLASSES

logger = logging.getLogger(__name__)
logging.getLogger("pecos").setLevel(logging.ERROR)
# PECOS has set it to warnings.
transformers.logging.set_verbosity_error()

# With more, or fewer, k-means may come out otherwise: see model/tree.py.
_CLUSTERING_THREADS = 2
# Weights that encoders come without: PECOS starts them at random.
_NEW = ("pooler", "sequence_summary")
_N_LINES = 10  # of a level, in the log
_STEP = re.compile(r"\| \[ *\d+/ *\d+]\[ *(\d+)/ *(\d+)] .* train_loss (\S+)")
_LEVEL = re.compile(r"Fine-tuning XR-Transformer with \S+ at level (\d+), nr_labels=(\d+)")


def _loader(*args: Any, **kwargs: Any) -> Any:
    """Batches of what is in memory, made by this process.

    Others would be forked while threads run, and hang for ever where the temporary folder has a long name:
    they pass tensors through sockets there.
    """
    return torch.utils.data.DataLoader(*args, **kwargs | {"num_workers": 0})


matcher.DataLoader = _loader


@dataclass(frozen=True)
class Made:
    """What XR-Transformer has made.

    Attributes
    ----------
    scores : csr_matrix of shape (n_test_instances, n_labels), float32
        Its own prediction.
    candidates : float
        Labels that it has ranked for a test instance, on average.
    embeddings : dict of str to ndarray of shape (n_instances, width), float16
        Of each part ("trn", "tst"), of length 1.
    seconds : dict of str to float
    """

    scores: sp.csr_matrix
    candidates: float
    embeddings: dict[str, np.ndarray]
    seconds: dict[str, float]


class XrTransformer:
    """An encoder that is to be trained.

    Parameters
    ----------
    encoder : Path
        A folder that nobody else writes to, with weights as safetensors.
    settings : XrSettings
    seed : int
    device : torch.device
    threads : int

    Raises
    ------
    DisentangleError
        If PECOS cannot take the encoder.
    """

    def __init__(self, encoder: Path, settings: XrSettings, seed: int, device: Any, threads: int) -> None:
        self.encoder, self.settings, self.seed, self.threads = encoder, settings, seed, threads
        self._how = {
            "batch_size": settings.batch_size,
            "batch_gen_workers": threads,  # with which PECOS multiplies matrices, too
            "use_gpu": device.type == "cuda",
        }
        self._reader = _reader(encoder, settings)

    def run(
        self, out: Path, texts: dict[str, list[str]], X: dict[str, sp.csr_matrix], Y: sp.csr_matrix
    ) -> Made:
        """Train, predict and encode; leave the encoder in `out`.

        Parameters
        ----------
        out : Path
            A folder.
        texts : dict of str to list of str
            Of each part.
        X : dict of str to csr_matrix, float32
            Features of each part.
        Y : csr_matrix of shape (n_training_instances, n_labels), float32
            Labels of the training part.

        Raises
        ------
        DisentangleError
            If memory is too small, or an embedding is not finite.
        """
        try:
            with _told(len(self.settings.learnt(Y.shape[1]))):
                return self._run(out, texts, X, Y)
        except RuntimeError as error:
            if not lacks_room(error):
                raise
            s = self.settings
            raise DisentangleError(
                f"memory is too small for {s.batch_size} texts of {s.max_length} tokens: "
                "a smaller --batch-size or --max-length needs less, --device cpu none"
            ) from None

    def _run(
        self, out: Path, texts: dict[str, list[str]], X: dict[str, sp.csr_matrix], Y: sp.csr_matrix
    ) -> Made:
        clock = [time.perf_counter()]
        read = self._reader.text_to_tensor
        # Given as tokens, PECOS neither pickles nor unpickles them.
        tokens = {part: read(texts[part], max_length=self.settings.max_length) for part in texts}
        n_tokens = self._reader.text_encoder.get_input_embeddings().num_embeddings
        if any(int(one["input_ids"].max()) >= n_tokens for one in tokens.values()):
            raise DisentangleError(
                "--encoder must have weights of all tokens of its tokenizer, found those of "
                f"{n_tokens:,} tokens, which lack some"
            )
        torch_util.set_seed(self.seed)
        problem = MLProblemWithText(tokens["trn"], Y, X_feat=X["trn"])
        params = self._training(Y.shape[1]), self._predicting(Y.shape[1])
        model = XTransformer.train(
            problem, train_params=params[0], pred_params=params[1], threads=self.threads
        )
        clock.append(time.perf_counter())
        scores = model.predict(tokens["tst"], X_feat=X["tst"], threads=self.threads, **self._how)
        clock.append(time.perf_counter())
        found = {part: self._unit_rows(model.encode(tokens[part], **self._how), part) for part in tokens}
        clock.append(time.perf_counter())
        candidates = self._candidates(model, X["tst"], found["tst"])
        encoder = model.text_encoder.clear_cuda()
        encoder.text_encoder.config._name_or_path = ""  # that of a folder which is gone
        encoder.text_encoder.save_pretrained(out / "encoder")
        # Not the one that PECOS has read: its class may have replaced what the file says of capitals.
        kind = encoder.text_encoder.config.model_type
        _tokenizer(self.encoder, kind).save_pretrained(out / "encoder")
        seconds = dict(zip(("train", "predict", "encode"), np.diff(clock).tolist(), strict=True))
        embeddings = {part: rows.astype(np.float16) for part, rows in found.items()}
        return Made(scores, candidates, embeddings, seconds)

    def _unit_rows(self, embeddings: np.ndarray, part: str) -> np.ndarray:
        if not (is_finite := np.isfinite(embeddings).all(axis=1)).all():
            raise DisentangleError(
                f"the trained encoder must give finite numbers, found NaN or infinity for text "
                f"{int(np.argmin(is_finite)) + 1} of {part}: a smaller learning rate or other weights may do"
            )
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
        return embeddings / np.where(lengths > 0, lengths, 1)

    def _candidates(self, model: XTransformer, X: sp.csr_matrix, embeddings: np.ndarray) -> float:
        """Labels in the clusters that the beam keeps, averaged over instances."""
        *matchers, ranker = model.concat_model.model.model_chain
        features = TransformerMatcher.concat_features(X, embeddings)
        beam = HierarchicalMLModel(matchers).predict(features, threads=self.threads)
        return float(candidates_of(beam, np.diff(ranker.C.tocsc().indptr)).mean())

    def _training(self, n_labels: int) -> XTransformer.TrainParams:
        """The settings, in PECOS's words."""
        s, sizes = self.settings, self.settings.learnt(n_labels)
        steps = s.steps * (len(sizes) // len(s.steps))
        levels = [
            TransformerMatcher.TrainParams(
                model_shortcut=str(self.encoder),
                negative_sampling="tfn+man",
                loss_function="weighted-squared-hinge",
                bootstrap_method=s.bootstrap,
                threshold=s.threshold,
                hidden_dropout_prob=s.dropout,
                max_steps=n,
                # Of several that are saved the last is taken anyway, as there is no validation part.
                save_steps=n,
                logging_steps=max(1, n // _N_LINES),
                learning_rate=s.learning_rate,
                warmup_steps=s.warmup_steps,
                cost_sensitive_ranker=s.has_weighted_matchers,
                **self._how,
            )
            for n in steps
        ]
        n_levels = len(s.tree.sizes(n_labels))
        solver = {"threshold": s.threshold, "eps": s.eps, "threads": self.threads}
        costs = [s.costs] * (n_levels - 1) + [s.label_costs]
        of_ranker = HierarchicalMLModel.TrainParams(
            neg_mining_chain=["tfn"] * (n_levels - 1) + ["tfn+man"],
            model_chain=[MLModel.TrainParams(Cp=Cp, Cn=Cn, **solver) for Cp, Cn in costs],
        )
        weighted = {"rel_mode": "induce", "rel_norm": "l1"} if s.has_weighted_ranker else {}
        return XTransformer.TrainParams(
            preliminary_indexer_params=self._kmeans(s.first_tree),
            refined_indexer_params=self._kmeans(s.tree),
            matcher_params_chain=levels,
            ranker_params=XLinearModel.TrainParams(hlm_args=of_ranker, **weighted),
            max_match_clusters=s.max_clusters,
        )

    def _predicting(self, n_labels: int) -> XTransformer.PredParams:
        s = self.settings
        level = TransformerMatcher.PredParams(
            only_topk=s.top_k,
            post_processor="l3-hinge",
            ensemble_method="concat-only",
            truncate_length=s.max_length,
        )
        upper, lowest, labels = s.beam
        n_upper = len(s.tree.sizes(n_labels)) - 2
        chain = [MLModel.PredParams(only_topk=k) for k in [upper] * n_upper + [lowest]]
        chain.append(MLModel.PredParams(only_topk=labels, post_processor="noop"))
        ranker = XLinearModel.PredParams(hlm_args=HierarchicalMLModel.PredParams(model_chain=chain))
        return XTransformer.PredParams(
            matcher_params_chain=[level] * len(s.learnt(n_labels)), ranker_params=ranker
        )

    def _kmeans(self, tree: Tree) -> HierarchicalKMeans.TrainParams:
        params = asdict(tree) | {"seed": tree.seed + self.seed}
        return HierarchicalKMeans.TrainParams(**params, threads=_CLUSTERING_THREADS)


def _reader(folder: Path, settings: XrSettings) -> TransformerMatcher:
    """What makes tokens of texts; the encoder is read, so that what is wrong with it is said at first."""
    try:
        config = transformers.AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
        if config.model_type not in ENCODER_CLASSES:
            raise ValueError(f"PECOS takes {', '.join(ENCODER_CLASSES)}, found {config.model_type}")
        classes = ENCODER_CLASSES[config.model_type]
        tokenizer = _tokenizer(folder, config.model_type)
        model, info = classes.model_class.from_pretrained(
            str(folder), use_safetensors=True, output_loading_info=True
        )
        if missing := [name for name in info["missing_keys"] if not any(part in name for part in _NEW)]:
            raise ValueError(f"its weights lack {', '.join(sorted(missing)[:3])}")
        if tokenizer.pad_token_id is None:
            raise ValueError("its tokenizer has no token for padding")
    except (MemoryError, DisentangleError):
        raise
    except Exception as error:  # transformers, tokenizers and safetensors each have their own
        reason = excerpt(str(error)) or type(error).__name__
        raise DisentangleError(f"--encoder must be one that PECOS can load: {reason}") from error
    check_length(config, settings.max_length)
    return TransformerMatcher(model, tokenizer)


def _tokenizer(folder: Path, kind: str) -> Any:
    """An encoder's, that has made no tokens yet: else how it has filled them up would be saved with it."""
    return ENCODER_CLASSES[kind].tokenizer_class.from_pretrained(str(folder), **_normalizer(folder))


def _normalizer(folder: Path) -> dict[str, Any]:
    """Of a BERT's tokenizer what its file says, which the class would otherwise replace by its own."""
    path = folder / "tokenizer.json"
    said = json.loads(path.read_bytes()).get("normalizer") if path.exists() else None
    if not said or said["type"] != "BertNormalizer":
        return {}
    names = {"lowercase": "do_lower_case", "strip_accents": "strip_accents"}
    names |= {"handle_chinese_chars": "tokenize_chinese_chars"}
    return {given: said[name] for name, given in names.items()}


def check_length(config: Any, max_length: int) -> None:
    """Raise DisentangleError if there are no positions for so many tokens."""
    if (most := positions(config)) < max_length:
        raise DisentangleError(
            f"--max-length must be at most {most}, as the encoder takes no more tokens, got {max_length}"
        )


@contextmanager
def temporaries() -> Iterator[Path]:
    """A folder for all that PECOS writes for a moment: it goes whatever happens, also with a signal.

    PECOS keeps the best weights there, with pickle, and reads them back. So nobody else may write to it.

    Raises
    ------
    DisentangleError
        If there can be none.
    """
    before = tempfile.tempdir
    with atomic.scratch() as folder:
        tempfile.tempdir = str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = before


class _Told(logging.Handler):
    """Of what PECOS logs, how far it is, in this package's words."""

    def __init__(self, n_levels: int) -> None:
        super().__init__(logging.INFO)
        self._n_levels = n_levels
        self._level = 0

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if found := _LEVEL.match(text):
            self._level = int(found[1]) + 1
            logger.info("level %d of %d: %s clusters", self._level, self._n_levels, f"{int(found[2]):,}")
        elif (found := _STEP.match(text)) and int(found[1]) <= int(found[2]):
            step, total, loss = found.groups()
            logger.info("level %d: step %s of %s, loss %.4g", self._level, step, total, float(loss))
        elif text.startswith("Start training ranker"):
            logger.info("the encoder is trained; now the ranker")


@contextmanager
def _told(n_levels: int) -> Iterator[None]:
    log, handler = logging.getLogger("pecos"), _Told(n_levels)
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.removeHandler(handler)
        log.level, log.propagate = before
