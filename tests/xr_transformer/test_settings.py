"""XR-Transformer's settings, and what is refused before anything is trained. It needs no torch."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Command, refused, run_without_torch

from disentangle.data import known_datasets
from disentangle.errors import DisentangleError
from disentangle.xr_transformer import packages, settings
from disentangle.xr_transformer.settings import Tree, named


def test_there_are_settings_for_each_benchmark_set_and_small_ones():
    assert {*named()} == {*known_datasets.entries(), "small"}
    assert settings.of(None, "wiki-500k")[0] == "wiki-500k"
    assert settings.of(None, "my-set")[0] == "small"
    with pytest.raises(DisentangleError, match=r"--settings must be one of amazon-3m, .*small.*, got 'none'"):
        settings.of("none", "my-set")


@pytest.mark.parametrize("name", sorted(known_datasets.entries()))
def test_published_steps_are_as_many_as_levels_are_learnt(name: str):
    one = named()[name]
    for published in known_datasets.entries()[name].published:
        assert len(one.learnt(published["n_labels"])) == len(one.steps) > 1
        # As many levels as the published rankers have.
        n_levels = 3 if name == "amazoncat-13k" else 4
        assert len(one.tree.sizes(published["n_labels"])) == n_levels


def test_a_trees_levels():
    assert Tree(16, 16, 32).sizes(4225) == [32, 512, 4225]
    assert Tree(32, 100).sizes(4225) == [2, 64, 4225]
    assert named()["small"].learnt(4225) == [32, 512]
    with pytest.raises(DisentangleError, match="more labels than a leaf cluster holds, 100, got 100"):
        Tree(32, 100).sizes(100)


def test_levels_of_trees_are_pecos_own(verbs: Path):
    from pecos.xmc import Indexer, LabelEmbeddingFactory

    from disentangle.data import datasets
    from disentangle.model.pecos import HierarchicalKMeans

    data = datasets.load_dataset(verbs, "verbs")
    features = LabelEmbeddingFactory.create(data.Y_trn, data.X_trn, method="pifa")
    for tree in (Tree(4, 16), Tree(8, 10, 16), Tree(3, 20, 2), Tree(2, 100, 64)):
        how = HierarchicalKMeans.TrainParams(
            nr_splits=tree.nr_splits, max_leaf_size=tree.max_leaf_size, min_codes=tree.min_codes
        )
        chain = Indexer.gen(features, train_params=how)
        assert [C.shape[0] for C in chain] == tree.sizes(data.Y_trn.shape[1])


def test_what_is_given_takes_the_settings_place():
    small = named()["small"]
    changed = small.changed({"steps": (5, 6), "max_length": 16, "batch_size": 4})
    assert (changed.steps, changed.max_length, changed.batch_size) == ((5, 6), 16, 4)
    assert changed.first_tree == small.first_tree
    for given, message in (
        ({"steps": (0,)}, "--steps must be at least 1, got 0"),
        ({"max_length": 4}, "--max-length must be at least 8, got 4"),
        ({"batch_size": 0}, "--batch-size must be at least 1, got 0"),
    ):
        with pytest.raises(DisentangleError, match=message):
            small.changed(given)


def test_settings_that_do_not_fit_the_labels_are_refused():
    message = r"these settings are for 3 levels, and a tree of 500 labels has 2: .* or give --steps"
    with pytest.raises(DisentangleError, match=message):
        named()["wiki10-31k"].learnt(500)


def test_without_the_packages_one_sentence_says_what_to_install(tmp_path: Path):
    ended = run_without_torch(tmp_path, "xr-transformer", "none", "--encoder", "none")
    needed = r"needs the packages torch and transformers before 4\.50, found no torch"
    refused(ended, needed, r"pip install -r requirements-xr-transformer\.txt")
    assert len(ended.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_transformers_that_is_too_new_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packages, "find_spec", lambda name: name)
    monkeypatch.setattr(packages.metadata, "version", lambda name: "5.24.0")
    with pytest.raises(DisentangleError, match=r"before 4\.50, found transformers 5\.24\.0: python -m pip"):
        packages.require()


def test_the_encoder_must_be_given(disentangle: Command):
    refused(disentangle("xr-transformer", "verbs"), "the following arguments are required: --encoder")
