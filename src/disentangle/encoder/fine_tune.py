"""An encoder that learns to tell an instance's leaf clusters: the matching task of X-Transformer.

Chang et al., "Taming Pretrained Transformers for Extreme Multi-label Text Classification", KDD 2020.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from ..errors import DisentangleError
from ..params import TuningParams
from ..runtime.progress import counted, track
from . import checkpoint
from .device import Portions
from .text_encoder import TextEncoder

logger = logging.getLogger(__name__)

# Learning rates of AdamW, for the encoder and for the head, which knows nothing at first.
_RATE, _HEAD_RATE = 1e-4, 2e-3
# Of the one cycle: the share of the steps in which rates rise, what they rise from and fall to.
_RISE, _START, _END = 0.3, 1 / 25, 1e-5
_VALIDATION = 0.05
# Batches among which texts of like lengths are put together.
_POOL = 50
# Of a step's texts, how many a CPU reads at a time: more take memory, and more seconds each.
_CPU_TEXTS = 16
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass
class Progress:
    """How far fine-tuning is.

    Attributes
    ----------
    epochs : list of dict
        Training and validation loss of each finished epoch.
    best : int
        Which of them has the least validation loss, from 1 on; 0 before the first.
    has_ended : bool
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    best: int = 0
    has_ended: bool = False

    def add(self, training: float, validation: float, most: int) -> bool:
        """Take up an epoch; return whether it is the best so far. A rise ends it all."""
        is_best = not self.epochs or validation < self.epochs[self.best - 1]["validation_loss"]
        self.epochs.append({"training_loss": training, "validation_loss": validation})
        if is_best:
            self.best = len(self.epochs)
        self.has_ended = not is_best or len(self.epochs) >= most
        return is_best


class Matching:
    """The task: texts, and the leaf clusters that each instance's labels are in.

    Parameters
    ----------
    texts : list of str
    clusters : csr_matrix of shape (n_instances, n_clusters)
        Instances without any are left out.
    seed : int
        Of the validation part.
    """

    def __init__(self, texts: list[str], clusters: sp.csr_matrix, seed: int) -> None:
        self.texts = texts
        self.clusters = clusters
        rows = np.flatnonzero(np.diff(clusters.indptr) > 0)
        if len(rows) < 2:
            raise DisentangleError(
                f"fine-tuning needs at least 2 training instances with labels, got {len(rows)}"
            )
        order = np.random.default_rng(seed).permutation(rows)
        n = max(1, int(_VALIDATION * len(rows)))
        self.validation, self.training = np.sort(order[:n]), np.sort(order[n:])

    def prior(self) -> np.ndarray:
        """Log odds of each cluster among the training instances: float32 of shape (n_clusters,)."""
        n = len(self.training)
        # Of instances: one may have several labels in a cluster.
        counts = np.bincount(self.clusters[self.training].indices, minlength=self.clusters.shape[1])
        p = (counts + 0.5) / (n + 1)
        return np.log(p / (1 - p)).astype(np.float32)

    def batches(self, rows: np.ndarray, size: int, rng: np.random.Generator | None) -> Iterator[np.ndarray]:
        """Rows in batches of about one length: in order, or (`rng`) at random."""
        lengths = np.array([len(self.texts[i]) for i in rows])
        if rng is None:
            pools = [np.argsort(lengths, kind="stable")]
        else:
            order = rng.permutation(len(rows))
            pools = [order[start : start + _POOL * size] for start in range(0, len(order), _POOL * size)]
            pools = [pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]
        for pool in pools:
            starts = np.arange(0, len(pool), size)
            for start in starts if rng is None else rng.permutation(starts):
                yield rows[pool[start : start + size]]


class Tuner:
    """An encoder with a linear head, one output a cluster, and the optimiser of both.

    Parameters
    ----------
    encoder : TextEncoder
        Its weights change.
    task : Matching
    params : TuningParams
    """

    def __init__(self, encoder: TextEncoder, task: Matching, params: TuningParams) -> None:
        self.encoder, self.task, self.params = encoder, task, params
        torch.manual_seed(params.seed)
        self.head = torch.nn.Linear(encoder.width, task.clusters.shape[1])
        with torch.no_grad():
            self.head.bias.copy_(torch.from_numpy(task.prior()))
        self.head.to(encoder.device)
        self._groups = [(list(encoder.model.parameters()), _RATE), (list(self.head.parameters()), _HEAD_RATE)]
        self.optimiser = torch.optim.AdamW(
            [{"params": weights, "lr": rate} for weights, rate in self._groups]
        )
        self.size = encoder.params.batch_size
        is_cpu = encoder.device.type == "cpu"
        self._portions = Portions(min(self.size, _CPU_TEXTS) if is_cpu else self.size)
        self.n_steps = params.epochs * -(-len(task.training) // self.size)
        self.step = 0

    def epoch(self, number: int) -> float:
        """See all training texts once, in an order of the epoch's own; return the mean loss.

        One that is not finite ends it at once.
        """
        # So that a run that goes on here does as one that was never stopped.
        torch.manual_seed(self.params.seed * 1_000_003 + number)
        rng = np.random.default_rng((self.params.seed, number))
        self.encoder.model.train()
        n, total = len(self.task.training), 0.0
        batches = self.task.batches(self.task.training, self.size, rng)
        for rows in counted(track(batches, n, len), f"texts seen in epoch {number}", len):
            factor = one_cycle(self.step, self.n_steps)
            for group, (_, rate) in zip(self.optimiser.param_groups, self._groups, strict=True):
                group["lr"] = rate * factor
            total += self._portions.run(partial(self._gradients, rows))
            if not math.isfinite(total):
                break
            self.optimiser.step()
            self.step += 1
        return total / n

    def _gradients(self, rows: np.ndarray, size: int) -> float:
        """Add up gradients of the batch's mean loss, so many texts at a time; return its sum."""
        self.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for start in range(0, len(rows), size):
            loss = self._loss(rows[start : start + size])
            (loss / len(rows)).backward()
            total += float(loss.detach())
        return total

    def _loss(self, rows: np.ndarray) -> Any:
        """Binary cross-entropy, added up over clusters and instances."""
        means = self.encoder.means(self.encoder.tokens([self.task.texts[i] for i in rows]))
        targets = torch.from_numpy((self.task.clusters[rows].toarray() > 0).astype(np.float32))
        return torch.nn.functional.binary_cross_entropy_with_logits(
            self.head(means), targets.to(means.device), reduction="sum"
        )

    @torch.no_grad()
    def validate(self) -> float:
        """The mean loss of the validation part."""
        self.encoder.model.eval()
        rows = self.task.validation

        def whole(size: int) -> float:
            return sum(float(self._loss(part)) for part in self.task.batches(rows, size, None))

        return self._portions.run(whole) / len(rows)

    def weights(self) -> dict[str, Any]:
        """All weights that change, by name."""
        of_encoder = {f"encoder.{name}": one for name, one in self.encoder.model.named_parameters()}
        return of_encoder | {f"head.{name}": one for name, one in self.head.named_parameters()}

    def tensors(self) -> dict[str, Any]:
        """Weights and the optimiser's moments, copied to the CPU."""
        found = {}
        for name, weights in self.weights().items():
            found[name] = weights.detach()
            if weights in self.optimiser.state:
                found |= {f"{moment}.{name}": self.optimiser.state[weights][moment] for moment in _MOMENTS}
        return {name: one.cpu().clone() for name, one in found.items()}

    @torch.no_grad()
    def restore(self, tensors: dict[str, Any], step: int) -> None:
        """Take up what `tensors` gave after so many steps."""
        self.step = step
        for name, weights in self.weights().items():
            weights.copy_(tensors[name])
            if f"{_MOMENTS[0]}.{name}" in tensors:
                moments = {moment: tensors[f"{moment}.{name}"].to(weights.device) for moment in _MOMENTS}
                self.optimiser.state[weights] = {"step": torch.tensor(float(step))} | moments

    @torch.no_grad()
    def take_best(self, best: dict[str, Any]) -> None:
        """Give the encoder the weights of its best epoch."""
        for name, weights in self.weights().items():
            if f"best.{name}" in best:
                weights.copy_(best[f"best.{name}"])


def one_cycle(step: int, n_steps: int) -> float:
    """Share of the highest learning rate: a rise, then a fall, each half a wave of a cosine.

    As torch's OneCycleLR, from the step alone (Smith and Topin, "Super-Convergence", 2018).
    """
    top = max(1.0, _RISE * n_steps - 1)
    if step <= top:
        low, at = _START, step / top
    else:
        low, at = _END, (n_steps - 1 - step) / max(1.0, n_steps - 1 - top)
    return low + (1 - low) * (1 - math.cos(math.pi * at)) / 2


def fine_tune(
    encoder: TextEncoder, task: Matching, params: TuningParams, place: Path, key: str
) -> dict[str, Any]:
    """Fine-tune an encoder, which then has the weights of the epoch of least validation loss.

    Parameters
    ----------
    encoder : TextEncoder
    task : Matching
    params : TuningParams
    place : Path
        A folder for checkpoints: with one of this key there it goes on after that.
    key : str

    Returns
    -------
    dict
        Losses of each epoch, and which is the best.

    Raises
    ------
    DisentangleError
        If the loss is not finite, memory is too small, or a checkpoint cannot be written.
    """
    tuner, done, best = Tuner(encoder, task, params), Progress(), {}
    if (found := checkpoint.load(place, key)) is not None:
        state, tensors = found
        done = Progress(**state["progress"])
        tuner.restore(tensors, state["step"])
        best = {name: one for name, one in tensors.items() if name.startswith("best.")}
        logger.info("fine-tuning goes on after epoch %d", len(done.epochs))
    while not done.has_ended:
        number = len(done.epochs) + 1
        training = tuner.epoch(number)
        validation = tuner.validate()
        if not (math.isfinite(training) and math.isfinite(validation)):
            raise DisentangleError(
                f"the loss must be finite, got {training} in training and {validation} in validation in "
                f"epoch {number}: the encoder's weights are not fit for fine-tuning"
            )
        losses = number, params.epochs, training, validation
        logger.info("epoch %d of %d: training loss %.4f, validation loss %.4f", *losses)
        tensors = tuner.tensors()
        if done.add(training, validation, params.epochs):
            best = {
                f"best.{name}": one.clone() for name, one in tensors.items() if name.startswith("encoder.")
            }
        state = {"progress": vars(done), "step": tuner.step}
        checkpoint.save(place, key, state, tensors | best)
    tuner.take_best(best)
    return {"epochs": done.epochs, "best_epoch": done.best, "n_validation": len(task.validation)}
