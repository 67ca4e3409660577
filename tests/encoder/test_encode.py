"""From texts to a feature set by an encoder, as a user runs it, and its use in base and predict."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import Command, dataset, ok, refused, run_disentangle, run_python
from tiny import import_texts, save_encoder

REASON = "encoding is tested where torch and transformers are installed (requirements-encoder.txt)"
torch = pytest.importorskip("torch", reason=REASON)
pytest.importorskip("transformers", reason=REASON)
SafetensorError = pytest.importorskip("safetensors", reason=REASON).SafetensorError

import disentangle  # noqa: E402
from disentangle.data import datasets  # noqa: E402
from disentangle.data.features import FeatureSet  # noqa: E402
from disentangle.encoder import checkpoint, device, fine_tune  # noqa: E402
from disentangle.encoder.pretrained import Pretrained, find  # noqa: E402
from disentangle.encoder.text_encoder import TextEncoder  # noqa: E402
from disentangle.errors import DisentangleError  # noqa: E402
from disentangle.jobs import encode  # noqa: E402
from disentangle.params import EncoderParams, TreeParams, TuningParams  # noqa: E402

N = {"trn": 600, "tst": 60, "val": 20}
CPU = torch.device("cpu")
SMALL = EncoderParams(max_length=32, batch_size=32)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where texts were imported."""
    folder = tmp_path_factory.mktemp("encode")
    import_texts(folder, N)
    return folder


@pytest.fixture(scope="module")
def encoder(place: Path) -> Path:
    """The folder of a tiny encoder."""
    texts = (place / "dataset" / "xmc-base" / "verbs" / "X.trn.txt").read_text().splitlines()
    return save_encoder(place / "Tiny", texts)


def job(place: Path, encoder: Path, name: str, tuning: TuningParams | None = None, **more) -> encode.Encode:
    places = place / "dataset" / "xmc-base", place / "model"
    tree = TreeParams(max_leaf_size=20)
    return encode.Encode("verbs", *places, str(encoder), name, SMALL, tuning, tree, "cpu", 1, **more)


def digests(folder: Path, *names: str) -> list[str]:
    return [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names]


def texts_of(place: Path, part: str) -> list[str]:
    return (dataset(place) / f"X.{part}.txt").read_text(encoding="utf-8").splitlines()


def test_from_texts_to_predictions(place: Path, encoder: Path, run: Command, tmp_path: Path):
    given = ("--encoder", encoder, "--name", "mini", "--max-length", "32", "--threads", "1")
    ended = ok(run("encode", "verbs", *given))
    assert "Loading" not in ended.stderr
    assert "verbs/mini: " in ended.stdout
    assert "base verbs --features mini" in ended.stdout
    made = FeatureSet.at(dataset(place) / "mini")
    assert [(block.name, block.kind) for block in made.blocks] == [
        ("tfidf", "sparse"),
        ("embedding", "dense"),
    ]
    assert made.is_normalised
    assert made.blocks[1].made_from["encoder"] == "Tiny"
    assert [made.shape(part)[0] for part in N] == [600, 60, 20]
    assert (np.load(made.paths("val")[1]) == np.load(made.paths("trn")[1])[-20:]).mean() > 0.9
    X = made.load("tst")
    assert np.linalg.norm(X.toarray(), axis=1) == pytest.approx(np.ones(60), abs=1e-6)
    before = (dataset(place) / "mini" / "stage.json").read_bytes()
    again = ok(run("encode", "verbs", *given))
    assert again.stdout == ended.stdout
    assert (dataset(place) / "mini" / "stage.json").read_bytes() == before
    base = ("base", "verbs", "--features", "mini", "--max-leaf-size", "20", "--preset", "paper")
    ok(run(*base))
    (place / "tst.txt").write_text("".join(f"{text}\n" for text in texts_of(place, "tst")))
    sp.save_npz(place / "X.npz", X)
    found = {}
    for source in ("tst.txt", "X.npz"):
        out = place / f"{source}.npz"
        ok(run("predict", "verbs", "--features", "mini", "--input", source, "--out", out))
        found[source] = sp.load_npz(out).toarray()
    # Batches of other lengths may round an embedding's last bit otherwise.
    assert found["tst.txt"] == pytest.approx(found["X.npz"], abs=1e-2)
    said = run("predict", "verbs", "--features", "mini", "--text", texts_of(place, "tst")[0], "--k", "2")
    rows = list(csv.DictReader(said.stdout.splitlines(), delimiter="\t"))
    assert int(rows[0]["label"]) == int(found["X.npz"][0].argmax())
    ok(run("bundle", "verbs", "--features", "mini", "--out", tmp_path / "made"))
    shutil.move(tmp_path / "made", tmp_path / "moved")
    first = ("--text", texts_of(place, "tst")[0], "--k", "2")
    assert run_disentangle(tmp_path, "predict", "--bundle", "moved", *first).stdout == said.stdout
    ((best, _),) = disentangle.load(tmp_path / "moved").suggest(texts_of(place, "tst")[:1], limit=2)
    assert [str(best.label), best.name, f"{best.score:.6g}"] == [*rows[0].values()][1:]
    own = dataset(place) / "mini" / "encoder" / "config.json"
    content = own.read_bytes()
    own.write_bytes(content + b"\n")
    ended = run("predict", "verbs", "--features", "mini", "--text", "move")
    own.write_bytes(content)
    refused(ended, r"must hold the encoder that was there before, found another config\.json")


def test_an_encoder_of_the_hub_is_known_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hub = pytest.importorskip("huggingface_hub", reason=REASON)
    commit = "0123456789" * 4
    # The cache as the hub's client lays it out, without a network.
    cached = tmp_path / "models--us--mini"
    place = cached / "snapshots" / commit
    place.mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (place / name).write_text(name)
    offline = {"cache_dir": tmp_path, "local_files_only": True}
    monkeypatch.setattr(hub, "snapshot_download", partial(hub.snapshot_download, **offline))
    found = find("us/mini")
    assert (found.name, found.revision) == ("us/mini", commit)
    assert found.said()["revision"] == commit
    with pytest.raises(DisentangleError, match="--encoder us/none is no folder here, and cannot be fetched"):
        find("us/none")


def test_an_embedding_is_the_mean_of_its_tokens_in_whatever_batch(encoder: Path, place: Path):
    texts = [*texts_of(place, "trn")[:40], "", "a" * 500]
    one = TextEncoder(Pretrained.at(encoder), SMALL, CPU)
    found = one.encode(texts).astype(np.float64)
    for i in (0, 17, 40, 41):
        ids = one.tokenizer(texts[i], truncation=True, max_length=32, return_tensors="pt")["input_ids"]
        one.model.eval()
        with torch.no_grad():
            mean = one.model(input_ids=ids).last_hidden_state[0].mean(0).numpy()
        assert found[i] == pytest.approx(mean / np.linalg.norm(mean), abs=2e-3)
    other = TextEncoder(Pretrained.at(encoder), EncoderParams(32, 5), CPU).encode(texts)
    assert other.astype(np.float64) == pytest.approx(found, abs=2e-3)
    assert (one.encode(texts) == found.astype(np.float16)).all()


def killed_after_an_epoch(place: Path, encoder: Path, name: str, epochs: int) -> int:
    """The exit status of a command that is killed as soon as it has written a checkpoint."""
    code = (
        "import os, signal\n"
        "from disentangle.cli.main import main\n"
        "from disentangle.encoder import checkpoint\n"
        "save = checkpoint.save\n"
        "checkpoint.save = lambda *args: (save(*args), os.kill(os.getpid(), signal.SIGKILL))\n"
        "main()"
    )
    command = ["encode", "verbs", "--encoder", encoder, "--name", name]
    command += ["--finetune", "--epochs", epochs, "--max-length", "32", "--batch-size", "32"]
    command += ["--max-leaf-size", "20", "--device", "cpu", "--threads", "1"]
    return run_python(place, "-c", code, *command).returncode


def test_fine_tuning_learns_and_goes_on_where_it_was_stopped(
    place: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    tuning = TuningParams(epochs=3)
    whole = encode.run_encode(job(place, encoder, "whole", tuning))
    losses = [epoch["validation_loss"] for epoch in whole["tuning"]["epochs"]]
    assert losses[whole["tuning"]["best_epoch"] - 1] == min(losses) < losses[0]
    assert not (place / "model" / "verbs" / "encode-whole" / "checkpoint").exists()

    def stopped(*args, save=checkpoint.save):
        save(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        encode.run_encode(job(place, encoder, "parts", tuning))
    assert not list(dataset(place).glob("*parts*"))
    monkeypatch.undo()
    assert killed_after_an_epoch(place, encoder, "parts", 3) == -signal.SIGKILL
    assert "parts" not in datasets.feature_sets(dataset(place))
    caplog.set_level("INFO")
    parts = encode.run_encode(job(place, encoder, "parts", tuning))
    assert "fine-tuning goes on after epoch 2" in caplog.text
    assert parts["tuning"] == whole["tuning"]
    names = ("encoder/model.safetensors", "embedding.trn.npy", "embedding.tst.npy", "features.json")
    assert digests(parts["folder"], *names) == digests(whole["folder"], *names)
    assert digests(whole["folder"], "encoder/tokenizer.json") == digests(encoder, "tokenizer.json")
    assert digests(whole["folder"], names[0]) != digests(encoder, "model.safetensors")


def test_a_damaged_checkpoint_is_none(tmp_path: Path):
    tensors = {"a": torch.ones(3)}
    checkpoint.save(tmp_path / "c", "key", {"step": 1}, tensors)
    state, found = checkpoint.load(tmp_path / "c", "key")
    assert state == {"step": 1}
    assert torch.equal(found["a"], tensors["a"])
    assert checkpoint.load(tmp_path / "c", "other") is None
    with (tmp_path / "c" / "tensors.safetensors").open("ab") as file:
        file.write(b" ")
    assert checkpoint.load(tmp_path / "c", "key") is None
    assert checkpoint.load(tmp_path / "none", "key") is None


def test_a_checkpoint_that_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*args):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(DisentangleError, match=r"cannot write .*/c: I/O error: No space left on device"):
        checkpoint.save(tmp_path / "c", "key", {}, {"a": torch.ones(3)})
    assert list(tmp_path.iterdir()) == []


def test_it_ends_where_the_validation_loss_rises():
    done = fine_tune.Progress()
    assert done.add(3.0, 2.0, 6)
    assert done.add(2.0, 1.0, 6)
    assert not done.has_ended
    assert not done.add(1.0, 1.5, 6)
    assert (done.best, done.has_ended) == (2, True)


def test_the_learning_rate_rises_and_falls_once():
    rates = [fine_tune.one_cycle(step, 100) for step in range(100)]
    top = int(np.argmax(rates))
    assert rates[top] == pytest.approx(1)
    assert rates == sorted(rates[:top]) + sorted(rates[top:], reverse=True)
    ours = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1)
    cycle = torch.optim.lr_scheduler.OneCycleLR(ours, 1, total_steps=100, cycle_momentum=False)
    theirs = []
    for _ in range(100):
        theirs.append(ours.param_groups[0]["lr"])
        ours.step()
        cycle.step() if len(theirs) < 100 else None
    assert rates == pytest.approx(theirs, abs=1e-4)


def test_gradients_are_those_of_the_batch_when_memory_is_short(
    place: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    texts = texts_of(place, "trn")[:40]
    clusters = sp.csr_matrix(np.tile(np.eye(4, dtype=np.float32), (10, 1)))

    def gradients(most: int) -> np.ndarray:
        one = TextEncoder(Pretrained.at(encoder), SMALL, CPU)
        task = fine_tune.Matching(texts, clusters, 0)
        tuner = fine_tune.Tuner(one, task, TuningParams())
        means = one.means

        def small(tokens):
            if len(tokens) > most:
                raise torch.OutOfMemoryError
            return means(tokens)

        one.means = small
        one.model.eval()  # without dropout
        tuner._portions.run(partial(tuner._gradients, np.arange(32)))
        return tuner.head.weight.grad.numpy()

    whole = gradients(32)
    assert gradients(10) == pytest.approx(whole, abs=1e-5)
    assert "8 texts at a time from now on" in caplog.text
    with pytest.raises(DisentangleError, match="memory is too small for one text at a time"):
        gradients(0)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    ],
)
def test_embeddings_are_those_of_the_texts_when_memory_is_short(
    place: Path, encoder: Path, caplog: pytest.LogCaptureFixture, error: RuntimeError
):
    texts, one = texts_of(place, "trn")[:40], TextEncoder(Pretrained.at(encoder), SMALL, CPU)
    whole, means = one.encode(texts), one.means

    def small(tokens):
        if len(tokens) > most:
            raise error
        return means(tokens)

    one.means, most = small, 10
    assert one.encode(texts).astype(np.float64) == pytest.approx(whole.astype(np.float64), abs=2e-3)
    assert "8 texts at a time from now on" in caplog.text
    most = 0
    with pytest.raises(DisentangleError, match="memory is too small for one text at a time"):
        one.encode(texts)


def test_an_encoder_that_the_gpu_has_no_room_for_is_one_sentence():
    for error in (torch.OutOfMemoryError(), RuntimeError("CUDA error: out of memory")):
        with pytest.raises(DisentangleError, match="too small for the encoder itself"), device.has_room():
            raise error

    def fail(size: int) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"), device.has_room():
        device.Portions(2).run(fail)


def test_a_shortage_of_another_thread_is_not_ones_own():
    portions, tried = device.Portions(4), []

    def call(size: int) -> int:
        tried.append(size)
        if len(tried) == 1:
            portions.size = 1  # as another thread's shortages may have it meanwhile
            raise RuntimeError("CUDA error: out of memory")
        return size

    assert (portions.run(call), tried) == (1, [4, 1])


def test_any_text_has_an_embedding(encoder: Path):
    one = TextEncoder(Pretrained.at(encoder), SMALL, CPU)
    found = one.encode(["", "half a pair \ud800", "\x00\u2028", "\U0001f600" * 999]).astype(np.float64)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(4), abs=1e-3)


def test_nan_is_refused(place: Path, encoder: Path, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    broken = Path(shutil.copytree(encoder, tmp_path / "broken"))
    weights = load_file(broken / "model.safetensors")
    weights["encoder.layer.1.output.LayerNorm.weight"][:] = float("nan")
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(DisentangleError, match=r"broken must give finite .* for line 1 of .*X.trn.txt"):
        encode.run_encode(job(place, broken, "nan"))
    with pytest.raises(DisentangleError, match="the loss must be finite, got nan in training"):
        encode.run_encode(job(place, broken, "nan", TuningParams(epochs=1)))
    assert not list(dataset(place).glob("*nan*"))


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_no_program_of_an_encoder_runs(encoder: Path, tmp_path: Path, file: str):
    odd = Path(shutil.copytree(encoder, tmp_path / "odd"))
    (odd / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    said = json.loads((odd / file).read_text())
    said |= {
        "model_type": "evil",
        "auto_map": {"AutoConfig": "evil.A", "AutoModel": "evil.A", "AutoTokenizer": ["evil.A", None]},
    }
    (odd / file).write_text(json.dumps(said))
    with suppress(DisentangleError):
        TextEncoder(Pretrained.at(odd), SMALL, CPU)
    assert not (tmp_path / "ran").exists()


def test_weights_of_half_the_bits_are_computed_with_in_float32(encoder: Path, tmp_path: Path):
    half = Path(shutil.copytree(encoder, tmp_path / "half"))
    model = TextEncoder(Pretrained.at(encoder), SMALL, CPU).model.bfloat16()
    model.save_pretrained(half)
    read = TextEncoder(Pretrained.at(half), SMALL, CPU).model
    assert {weights.dtype for weights in read.parameters()} == {torch.float32}
    for weights, stored in zip(read.parameters(), model.parameters(), strict=True):
        assert torch.equal(weights, stored.float())


def test_a_pooler_that_was_not_there_is_not_written(encoder: Path, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    without = Path(shutil.copytree(encoder, tmp_path / "without"))
    weights = load_file(without / "model.safetensors")
    kept = {name: one for name, one in weights.items() if not name.startswith("pooler.")}
    assert len(kept) < len(weights)
    save_file(kept, without / "model.safetensors", {"format": "pt"})
    TextEncoder(Pretrained.at(without), SMALL, CPU).save(tmp_path / "saved")
    assert load_file(tmp_path / "saved" / "model.safetensors").keys() == kept.keys()


def test_a_tokenizer_of_another_encoder_is_one_sentence(encoder: Path, tmp_path: Path):
    from transformers import BertConfig, BertModel

    other = Path(shutil.copytree(encoder, tmp_path / "other"))
    config = BertConfig.from_pretrained(encoder)
    config.vocab_size = 5
    BertModel(config).save_pretrained(other)
    with pytest.raises(DisentangleError, match="other must have weights of all tokens of its tokenizer"):
        TextEncoder(Pretrained.at(other), SMALL, CPU).encode(["move up and down"])


def test_odds_are_of_instances_and_not_of_labels():
    clusters = sp.csr_matrix(np.array([[3, 0], [2, 0], [0, 1], [1, 1]], np.float32))
    task = fine_tune.Matching(["a", "b", "c", "d"], clusters, 0)
    n = (clusters[task.training] > 0).sum(axis=0).A1
    p = (n + 0.5) / (len(task.training) + 1)
    assert task.prior() == pytest.approx(np.log(p / (1 - p)), rel=1e-5)


def test_texts_that_change_before_they_are_learnt_from_leave_no_encoder(
    place: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    copy = Path(shutil.copytree(place, tmp_path / "copy"))
    before = sorted(copy.rglob("fine-tuned"))  # of other tests

    def changed(*args, tune=encode._tune):
        path = dataset(copy) / "X.trn.txt"
        path.write_text("another\n" + path.read_text().partition("\n")[2])
        tune(*args)

    monkeypatch.setattr(encode, "_tune", changed)
    with pytest.raises(DisentangleError, match=r"X\.trn\.txt has changed meanwhile"):
        encode.run_encode(job(copy, encoder, "other", TuningParams(epochs=1)))
    assert sorted(copy.rglob("fine-tuned")) == before


def test_weights_that_lack_a_part_are_refused(encoder: Path, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    broken = Path(shutil.copytree(encoder, tmp_path / "broken"))
    weights = load_file(broken / "model.safetensors")
    kept = {name: one for name, one in weights.items() if "layer.1" not in name}
    save_file(kept, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(DisentangleError, match=r"can be loaded: its weights lack encoder\.layer\.1"):
        TextEncoder(Pretrained.at(broken), SMALL, CPU)
    (broken / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(DisentangleError, match="broken must hold an encoder that can be loaded: "):
        TextEncoder(Pretrained.at(broken), SMALL, CPU)


def test_mistakes_are_one_sentence(place: Path, encoder: Path, run: Command, tmp_path: Path):
    pickled = Path(shutil.copytree(encoder, tmp_path / "pickled"))
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    short = Path(shutil.copytree(dataset(place), tmp_path / "verbs"))
    with (short / "X.tst.txt").open("a") as file:
        file.write("one more\n")
    cases = [
        (("--encoder", pickled), "found pytorch_model.bin: pickle may run programs and is never read"),
        (("--encoder", tmp_path), "must hold an encoder as save_pretrained"),
        (
            ("--encoder", encoder, "--data-dir", tmp_path),
            "X.tst.txt must have 60 lines, one an instance, got 61",
        ),
        (("--encoder", encoder, "--name", "tfidf-attnxml"), "--name must be at most 100 letters"),
        (("--encoder", shutil.copytree(encoder, tmp_path / "_я_")), "--name must be given: "),
        (("--encoder", encoder, "--max-length", "65"), "--max-length must be at most 64"),
        (
            ("--encoder", encoder, "--name", "mine"),
            "mine exists, and was not made by `encode`, or is damaged: choose another --name, or remove it",
        ),
        (("--encoder", encoder, "--epochs", "0"), "--epochs must be at least 1, got 0"),
        (("--encoder", encoder, "--seed", "1"), "--seed must come with --finetune"),
        (("--encoder", encoder, "--max-leaf-size", "9"), "--max-leaf-size must come with --finetune"),
    ]
    if not torch.cuda.is_available():
        cases.append(
            (("--encoder", encoder, "--device", "cuda"), "--device cuda needs a GPU that torch can use")
        )
    (dataset(place) / "mine").mkdir()
    before = sorted(dataset(place).iterdir())
    for args, message in cases:
        refused(run("encode", "verbs", *args), re.escape(message))
        assert sorted(dataset(place).iterdir()) == before


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.choose("auto").type == "cpu"
    with pytest.raises(DisentangleError, match="--device cuda needs a GPU that torch can use, found none"):
        device.choose("cuda")


def test_a_gpu_that_does_not_work(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    def refuse(*args, **kwargs):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", refuse)
    assert device.choose("cpu").type == "cpu"
    assert not caplog.records
    assert device.choose("auto").type == "cpu"
    assert "there is a GPU that torch cannot use: CUDA error: no kernel image" in caplog.text
    with pytest.raises(DisentangleError, match="a GPU that torch can use, found CUDA error: no kernel image"):
        device.choose("cuda")
    monkeypatch.setattr(torch, "ones", lambda *args, **kwargs: torch.zeros(1))
    assert device.choose("auto").type == device.choose("cuda").type == "cuda"


def test_bfloat16_is_for_processors_that_compute_in_it(monkeypatch: pytest.MonkeyPatch):
    made = []
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype: made.append((kind, is_training, can, dtype)))
    for can in (False, True):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, can=can: can)
        monkeypatch.setattr(device, "_capabilities", lambda can=can: {"avx2": True, "avx512_bf16": can})
        for is_training in (False, True):
            device.mixed_precision(torch.device("cuda"), is_training)
            device.mixed_precision(CPU, is_training)
    yes = [("cuda", False), ("cuda", True), ("cpu", True)]
    assert made == [(kind, is_training, True, torch.bfloat16) for kind, is_training in yes]
