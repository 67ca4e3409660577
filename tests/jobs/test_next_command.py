"""The command that a job prints at its end does what the job was told."""

import shlex

import pytest

from disentangle.cli import jobs, main
from disentangle.jobs import binned


@pytest.mark.parametrize(
    ("given", "level", "size"),
    [(["--levels", "1", "--bin-sizes", "3,4"], 1, 3), ([], None, 2), (["--levels", "0,2"], 0, 2)],
)
def test_metric_after_binned_scores_the_bins_that_were_made(
    monkeypatch: pytest.MonkeyPatch, given: list[str], level: int | None, size: int
):
    said: list[str] = []
    monkeypatch.setattr(binned, "run_binned", lambda *_: {})
    monkeypatch.setattr(jobs, "_said", lambda args, report, following: said.append(following))
    given = ["binned", "a-set", "--binned-dir", "elsewhere", "--n-copies", "3", "--nr-splits", "8", *given]
    args = main._parser().parse_args(given)
    args.handler(args)
    command = shlex.split(said[0])
    following = main._parser().parse_args(command[command.index("-m") + 2 :])
    assert (following.level, following.bin_size, str(following.binned_dir)) == (level, size, "elsewhere")
    assert (following.components, following.n_copies, following.nr_splits) == ("binned", 3, 8)


@pytest.mark.parametrize("name", ["a-set", "-set"])
def test_the_command_names_the_dataset_whatever_it_is_called(name: str):
    args = main._parser().parse_args(["base", "--nr-splits", "8", "--", name])
    command = shlex.split(jobs.next_command("base", args, "--preset", "lean"))
    following = main._parser().parse_args(command[command.index("-m") + 2 :])
    assert (following.dataset, following.nr_splits) == (name, 8)
