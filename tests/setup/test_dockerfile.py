"""The Dockerfile's commands: what it copies is there, what it runs is understood; built where Docker is."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
from conftest import ROOT

from disentangle.cli import main

# Lines that go on are one.
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
STEPS = [line.split(maxsplit=1) for line in TEXT.splitlines() if line and not line.startswith("#")]


def arguments(name: str) -> list[str]:
    return [rest for step, rest in STEPS if step == name]


def test_what_is_copied_is_there_and_passes_dockerignore():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied = [source for words in arguments("COPY") for source in words.split()[:-1]]
    assert copied
    assert set(copied) == kept
    assert all((ROOT / source).exists() for source in copied)
    installed = re.findall(r"-r (\S+)", " ".join(arguments("RUN")))
    assert set(installed) == {source for source in copied if source.endswith(".txt")}


def test_its_command_serves_and_its_health_check_asks_it():
    (entry,) = map(json.loads, arguments("ENTRYPOINT"))
    args = main._parser().parse_args([*entry[entry.index("disentangle") + 1 :], "/bundles/x"])
    assert (args.handler.__name__, args.host) == ("_serve", "0.0.0.0")
    assert arguments("EXPOSE") == [str(args.port)]
    (check,) = arguments("HEALTHCHECK")
    python = json.loads(check[check.index("[") :])
    compile(python[2], "HEALTHCHECK", "exec")
    assert f"http://127.0.0.1:{args.port}/health" in python[2]


def test_whoever_runs_it_can_read_what_was_copied_from_a_private_checkout():
    steps = [" ".join(step) for step in STEPS]
    copied, opened = (
        steps.index(one) for one in ("COPY src/disentangle ./disentangle", "RUN chmod -R a+rX disentangle")
    )
    assert copied < opened < steps.index("USER 65534:65534")


def test_it_runs_as_nobody_on_a_python_that_libpecos_has_packages_for():
    assert arguments("USER") == ["65534:65534"]
    assert arguments("FROM") == ["python:3.12-slim"]
    assert "--require-hashes" in arguments("RUN")[0]


@pytest.mark.slow
def test_it_can_be_built():
    try:
        subprocess.run(["docker", "info"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no Docker that answers on this machine")
    command = ["docker", "build", "--tag", "disentangle-serve-test", str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-2000:]
    shown = subprocess.run(
        ["docker", "run", "--rm", "disentangle-serve-test", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Annif" in shown
