"""The door to PECOS: the fast matcher equals the slow one, threads do not matter, models are PECOS's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from pecos.utils.cluster_util import ClusterChain
from pecos.xmc import HierarchicalMLModel, MLModel
from pecos.xmc.base import MLProblem
from pecos.xmc.xlinear import XLinearModel

from disentangle.data.datasets import Dataset, load_dataset
from disentangle.errors import DisentangleError
from disentangle.kernels import beam
from disentangle.kernels.beam_model import Model
from disentangle.model import beam_search, saved_model, side_by_side, subproblems, train_levels, tree
from disentangle.model.mixed import Mixed
from disentangle.model.trained import Trained
from disentangle.params import PredictParams, SolverParams, TreeParams
from disentangle.runtime.workers import Threads
from disentangle.storage.compressed import Flat
from disentangle.storage.saved import Saved

TREE = TreeParams(nr_splits=4, max_leaf_size=8)


def train(dataset: Dataset, folder: Path, threads: int) -> Path:
    Y = dataset.Y_trn.tocsc()
    chain = tree.build_chain(dataset.X_trn, Y, TREE, threads)
    folder.mkdir()
    saved_model.save(trained(dataset, Y, chain, threads), folder)
    return folder


def trained(
    dataset: Dataset,
    Y: sp.csc_matrix,
    chain: ClusterChain,
    threads: int = 2,
    predict: PredictParams | None = None,
    of_matcher: SolverParams | None = None,
    **of_ranker: Any,
) -> list[Trained]:
    X, predict = dataset.X_trn, predict or PredictParams()
    matcher = train_levels.train_matcher(X, Y, chain, predict, threads, of_matcher or SolverParams())
    return train_levels.train_ranker(X, Y, chain, matcher, predict, threads, **of_ranker)


def _predicted(model: Model, X: sp.csr_matrix, params: PredictParams, threads: int) -> Flat:
    return beam_search.predict(model, beam_search.checked(model, X), params, 1 << 20, threads)


def predicted(model: Model, X: sp.csr_matrix, params: PredictParams, threads: int) -> sp.csr_matrix:
    indptr, indices, values = _predicted(model, X, params, threads)
    n_labels = model.n_nodes(len(model.hinges) - 1)
    return sp.csr_matrix((values, indices, indptr), shape=(X.shape[0], n_labels))


@pytest.fixture(scope="module")
def dataset(verbs: Path) -> Dataset:
    return load_dataset(verbs, "verbs")


@pytest.fixture(scope="module")
def model(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(dataset, tmp_path_factory.mktemp("model") / "xr-linear", threads=2)


def test_matching_equals_pecos_layer_by_layer(dataset: Dataset, model: Path):
    fast = beam_search.match(saved_model.load(Saved(model), without=1), dataset.X_trn, 5, threads=2)
    whole = XLinearModel.load(str(model)).model
    matcher = type(whole)(whole.model_chain[:-1], whole.pred_params[:-1])
    slow = matcher.predict(dataset.X_trn, beam_size=5, only_topk=5, post_processor="l3-hinge", threads=1)
    assert fast.shape == (4000, tree.load_chain(Saved(model))[-1].shape[1])
    assert np.diff(fast.indptr).max() == 5
    assert (fast != slow).nnz == 0


def test_predicting_equals_pecos_layer_by_layer(dataset: Dataset, model: Path):
    fast = predicted(saved_model.load(Saved(model)), dataset.X_tst, PredictParams(), threads=2)
    # Without parameters: the saved model itself knows beam and top_k.
    slow = XLinearModel.load(str(model)).predict(dataset.X_tst, threads=1)
    assert (fast != slow).nnz == 0


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("n", [1, 3, 200])
def test_predicting_equals_pecos_to_the_last_bit_by_tables_and_without(
    dataset: Dataset, model: Path, n: int, few: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(beam, "_ENTRIES_PER_LOOKUP", 0 if few else 1 << 30)
    loaded, empty = (
        saved_model.load(Saved(model)),
        sp.csr_matrix((1, dataset.X_tst.shape[1]), dtype=np.float32),
    )
    X = sp.vstack([dataset.X_tst[: n - 1], empty], "csr")
    slow = XLinearModel.load(str(model)).predict(X, beam_size=10, only_topk=160, threads=1)
    indptr, indices, values = _predicted(loaded, X, PredictParams(beam_size=10, top_k=160), 1)
    assert (indptr.dtype, indices.dtype, values.dtype) == (np.int64, np.int32, np.float32)
    assert np.array_equal(indptr, slow.indptr)
    assert values.tobytes() == slow.data.tobytes()
    # PECOS has labels of equal scores in no order.
    rows = np.repeat(np.arange(n), np.diff(indptr))
    order = np.lexsort((slow.indices, -slow.data, rows))
    assert np.array_equal(indices, slow.indices[order])


def test_features_that_pecos_would_not_find_are_refused(dataset: Dataset, model: Path):
    loaded, X = saved_model.load(Saved(model)), dataset.X_tst[:1]
    turned = sp.csr_matrix((X.data[::-1], X.indices[::-1], X.indptr), shape=X.shape)
    for wrong in (X[:, :-1], turned):
        with pytest.raises(ValueError, match=rf"X must have {X.shape[1]} features, indices sorted"):
            beam_search.checked(loaded, wrong)


def test_matcher_and_ranker_trained_apart_are_what_pecos_trains_at_once(dataset: Dataset, model: Path):
    Y = dataset.Y_trn.tocsc()
    at_once = XLinearModel.train(dataset.X_trn, Y, C=tree.load_chain(Saved(model)), threads=2)
    apart = XLinearModel.load(str(model)).model.model_chain
    assert len(apart) == len(at_once.model.model_chain)
    for one, other in zip(apart, at_once.model.model_chain, strict=True):
        assert (one.W != other.W).nnz == 0


@pytest.mark.parametrize(("pairs", "share"), [(1, 1.0), (200, 1.0), (50, 0.05), (10**9, 1.0)])
def test_levels_trained_in_parts_are_what_pecos_trains_whole(
    dataset: Dataset, model: Path, monkeypatch: pytest.MonkeyPatch, pairs: int, share: float
):
    sizes: list[tuple[int, int]] = []

    def counted(*args: Any) -> tuple[np.ndarray, list[np.ndarray]]:
        crowded, found = groups(*args)
        sizes.append((len(crowded), len(found)))
        return crowded, found

    groups = train_levels.groups
    monkeypatch.setattr(train_levels, "groups", counted)
    monkeypatch.setattr(subproblems, "_PAIRS", (pairs, pairs))
    monkeypatch.setattr(subproblems, "_CROWDED", share)
    X, Y, chain = dataset.X_trn, dataset.Y_trn.tocsc(), tree.load_chain(Saved(model))
    # With negatives an instance is in clusters that none of its labels are in.
    matched = beam_search.match(saved_model.load(Saved(model), without=1), X, 3, threads=2)
    found = trained(dataset, Y, chain, negatives=matched)
    args = HierarchicalMLModel.TrainParams(
        neg_mining_chain=["tfn"] * (len(chain) - 1) + ["tfn+usn"],
        model_chain=[MLModel.TrainParams(threads=2)] * len(chain),
    )
    supplied = [None] * (len(chain) - 1) + [matched.tocsc()]
    problem = MLProblem(X, Y, C=chain[-1])
    whole = HierarchicalMLModel.train(problem, clustering=chain, matching_chain=supplied, train_params=args)
    for one, other in zip(found, whole.model_chain, strict=True):
        assert one.W.dtype == other.W.dtype
        assert (one.W != other.W).nnz == 0
    # The leaf level is the last: all in groups, some in groups, or none.
    n_crowded, n_groups = sizes[-1]
    assert (n_groups >= 16) == (pairs < 10**9)
    assert (n_crowded == 0) == (pairs < 10**9 and share == 1)
    assert n_crowded <= Y.shape[1]


def embedded(dataset: Dataset) -> tuple[sp.csr_matrix, np.ndarray]:
    """The same with an embedding of 37 columns between its terms, and which columns that has."""
    rng = np.random.default_rng(0)
    projected = dataset.X_trn @ rng.normal(0, 37**-0.5, (dataset.X_trn.shape[1], 37))
    X = sp.hstack([dataset.X_trn[:, :50], projected, dataset.X_trn[:, 50:]], "csr").astype(np.float32)
    return X, (np.arange(X.shape[1]) >= 50) & (np.arange(X.shape[1]) < 87)


@pytest.mark.parametrize("embedding", ["none", "in one piece", "in two"])
def test_svms_side_by_side_are_pecos_s(dataset: Dataset, model: Path, embedding: str):
    X, is_dense = (dataset.X_trn, None) if embedding == "none" else embedded(dataset)
    if is_dense is not None and embedding == "in two":
        order = np.r_[:70, 87 : X.shape[1], 70:87]
        X, is_dense = X[:, order].tocsr(), is_dense[order]
    Y, chain, predict = dataset.Y_trn.tocsc(), tree.load_chain(Saved(model)), PredictParams()
    exact = SolverParams(eps=1e-3, threshold=0.0)
    for features, threads in ((X, 2), (Mixed.of(X, is_dense), 1)):
        matcher = train_levels.train_matcher(features, Y, chain, predict, threads, exact)
        found = train_levels.train_ranker(features, Y, chain, matcher, predict, threads, solver=exact)
        if features is X:
            pecos = found
    for one, other in zip(found, pecos, strict=True):
        assert one.W.shape == other.W.shape
        assert one.W.has_sorted_indices
        difference = abs(one.W - other.W).max(axis=0).toarray()
        assert difference.max() < 5e-3
        assert difference.mean() < 1e-3


def test_c_falls_with_the_root_of_the_positives_from_where_it_is_whole(dataset: Dataset, model: Path):
    X, Y, chain = dataset.X_trn, dataset.Y_trn.tocsc(), tree.load_chain(Saved(model))
    level = subproblems.Level.of(Y, chain[-1], (Y @ chain[-1]).tocsc(), chain[-2])
    n_positives = np.diff(Y.indptr)
    whole_up_to = int(np.sort(n_positives)[len(n_positives) // 2])
    assert whole_up_to < n_positives.max()
    exact = SolverParams(1e-3, 0.0, whole_up_to**0.5)
    (W,) = side_by_side.train(Mixed.of(X, None), [level], 1, exact)
    for n in (whole_up_to, n_positives.max()):
        C = (whole_up_to / n) ** 0.5
        how = MLModel.TrainParams(Cp=C, Cn=C, eps=1e-3, threshold=0.0, threads=1)
        pecos = MLModel.train(MLProblem(X, Y, C=chain[-1], M=level.M, threads=1), train_params=how).W
        of_n = np.flatnonzero(n_positives == n)
        assert abs(W - pecos)[:, of_n].max() < 5e-3
    (whole,) = side_by_side.train(Mixed.of(X, None), [level], 1, SolverParams(1e-3, 0.0))
    differs = abs(W - whole).max(axis=0).toarray()[0] > 0
    assert differs.any()
    assert (n_positives[differs] > whole_up_to).all()


def test_a_label_s_weights_do_not_depend_on_those_beside_it(
    dataset: Dataset, model: Path, monkeypatch: pytest.MonkeyPatch
):
    X, chain = Mixed.of(*embedded(dataset)), tree.load_chain(Saved(model))
    Y, M = dataset.Y_trn.tocsc(), (dataset.Y_trn @ chain[-1]).tocsc()
    levels = [subproblems.Level.of(Y, chain[-1], M, chain[-2])] * 2
    (both, again), alone = side_by_side.train(X, levels, 2, SolverParams()), []
    # No call has labels of two clusters, as by default here all have, nor more than so many.
    monkeypatch.setattr(side_by_side, "_VISITS", (1, 1))
    for labels, threads in ((1, 3), (5, 1)):
        monkeypatch.setattr(side_by_side, "_LABELS", labels)
        alone.append(side_by_side.train(X, levels[:1], threads, SolverParams())[0])
    for W in (again, *alone):
        assert all(np.array_equal(getattr(W, of), getattr(both, of)) for of in ("indptr", "indices", "data"))


def test_small_clusters_make_a_call_together_and_large_ones_several():
    fewest, most = side_by_side._VISITS
    # 3,000 clusters of 2 labels and 10 instances, one of 200 labels and as many instances as a call may have.
    of, sizes = np.append(np.repeat(np.arange(3000), 2), np.full(200, 3000)), np.full(3001, 10)
    sizes[3000] = most
    found = [labels for _, labels in side_by_side._parts([of], [sizes])]
    assert np.array_equal(np.sort(np.concatenate(found)), np.arange(len(of)))
    n_calls = -(-200 // side_by_side._LABELS)
    large, small = found[:n_calls], found[n_calls:]
    assert all((of[labels] == 3000).all() and len(labels) <= side_by_side._LABELS for labels in large)
    together = [np.unique(of[labels], return_counts=True) for labels in small]
    assert all((n_labels == 2).all() for _, n_labels in together)
    assert max(len(clusters) for clusters, _ in together) <= fewest // 10 + 1
    assert len(small) <= 10 * 3000 // fewest + 2


def test_weights_below_the_threshold_are_left_out_on_an_embedding(dataset: Dataset, model: Path):
    X, is_dense = embedded(dataset)
    Y, chain = dataset.Y_trn.tocsc(), tree.load_chain(Saved(model))
    all_weights, kept = (
        train_levels.train_matcher(
            Mixed.of(X, is_dense), Y, chain, PredictParams(), threads, SolverParams(threshold=threshold)
        )[0].W
        for threads, threshold in ((1, 0.0), (2, 0.2))
    )
    all_weights.data[abs(all_weights.data) < 0.2] = 0
    all_weights.eliminate_zeros()
    assert kept.nnz > 0
    assert (kept != all_weights).nnz == 0


@pytest.mark.parametrize("is_above", [False, True])
def test_a_weight_of_the_threshold_is_kept_and_one_just_below_is_not(
    dataset: Dataset, model: Path, is_above: bool
):
    X, Y, chain = Mixed.of(dataset.X_trn, None), dataset.Y_trn.tocsc(), tree.load_chain(Saved(model))

    def weights(threshold: float) -> np.ndarray:
        how = SolverParams(threshold=threshold)
        return train_levels.train_matcher(X, Y, chain, PredictParams(), 2, how)[0].W.data.astype(np.float64)

    of_all = weights(0.0)
    threshold = float(np.sort(abs(of_all))[len(of_all) // 2])
    if is_above:  # what is nearest to it in float32 is below
        threshold = np.nextafter(threshold, np.inf)
    assert weights(threshold).tolist() == of_all[abs(of_all) >= threshold].tolist()


def test_a_mixed_matrix_is_taken_apart_whole(dataset: Dataset, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("disentangle.model.mixed._ROWS", 7)
    X, is_dense = embedded(dataset)
    mixed = Mixed.of(X, is_dense)
    assert mixed.columns.tolist() == list(range(50, 87))
    assert np.array_equal(mixed.dense, X[:, 50:87].toarray())
    assert (mixed.terms[:, is_dense]).nnz == 0
    assert (mixed.terms[:, ~is_dense] != X[:, ~is_dense]).nnz == 0


def test_a_matcher_saved_alone_matches_as_the_whole_model(dataset: Dataset, model: Path, tmp_path: Path):
    Y, chain = dataset.Y_trn.tocsc(), tree.load_chain(Saved(model))
    matcher = train_levels.train_matcher(dataset.X_trn, Y, chain, PredictParams(), threads=2)
    saved_model.save(matcher, tmp_path)
    alone, whole = (
        beam_search.match(loaded, dataset.X_trn, 5, threads=2)
        for loaded in (saved_model.load(Saved(tmp_path)), saved_model.load(Saved(model), without=1))
    )
    assert (alone != whole).nnz == 0
    # What was saved can be trained on.
    again = saved_model.load_trained(Saved(tmp_path))
    ranked = train_levels.train_ranker(dataset.X_trn, Y, chain, again, PredictParams(), threads=2)
    (tmp_path / "whole").mkdir()
    saved_model.save(ranked, tmp_path / "whole")
    for d in range(len(chain)):
        for name in ("W.npz", "C.npz", "param.json"):
            path = Path("ranker") / f"{d}.model" / name
            assert (tmp_path / "whole" / path).read_bytes() == (model / path).read_bytes()


@pytest.mark.parametrize("nr_splits", [2, 3, 4, 100])
def test_other_levels_above_the_clusters_are_those_of_the_tree_built_so(dataset: Dataset, nr_splits: int):
    def built(nr_splits: int) -> ClusterChain:
        params = TreeParams(nr_splits=nr_splits, max_leaf_size=TREE.max_leaf_size)
        return tree.build_chain(dataset.X_trn, dataset.Y_trn.tocsc(), params, threads=2)

    chain = built(32)
    replaced = tree.replace_upper_levels(chain, nr_splits)
    assert replaced == built(nr_splits)
    assert (replaced[-1] != chain[-1]).nnz == 0
    assert len(replaced) == {2: 8, 3: 6, 4: 5, 100: 3}[nr_splits]
    assert replaced[1].sum(axis=0).max() <= nr_splits


def test_a_saved_models_chain_is_the_tree_it_was_trained_on(dataset: Dataset, model: Path):
    built = tree.build_chain(dataset.X_trn, dataset.Y_trn.tocsc(), TREE, threads=1)
    assert len(built) > 3
    assert tree.load_chain(Saved(model)) == built


def test_a_tree_of_more_than_ten_levels_keeps_their_order(dataset: Dataset, tmp_path: Path):
    # As text, layer 10 would come before layer 2.
    Y = dataset.Y_trn.tocsc()
    chain = tree.build_chain(dataset.X_trn, Y, TreeParams(nr_splits=2, max_leaf_size=2), threads=2)
    root = sp.csc_matrix(np.ones((1, 1), dtype=np.float32))
    chain = ClusterChain([root, root, *chain])
    assert len(chain) > 10
    (tmp_path / "tree").mkdir()
    tree.save_chain(chain, tmp_path / "tree")
    assert tree.load_chain(Saved(tmp_path / "tree")) == chain
    saved_model.save(trained(dataset, Y, chain), tmp_path)
    assert tree.load_chain(Saved(tmp_path)) == chain
    fast = predicted(saved_model.load(Saved(tmp_path)), dataset.X_tst, PredictParams(), threads=2)
    assert (fast != XLinearModel.load(str(tmp_path)).predict(dataset.X_tst, threads=2)).nnz == 0


def test_replacing_the_leaf_level_keeps_the_rest(model: Path):
    chain = tree.load_chain(Saved(model))
    C = sp.csc_matrix(np.ones((3, 1), np.float32) @ np.eye(1, chain[-1].shape[1], dtype=np.float32))
    replaced = tree.replace_leaf_level(chain, C)
    assert len(replaced) == len(chain)
    assert all((a != b).nnz == 0 for a, b in zip(replaced[:-1], chain[:-1], strict=True))
    assert tree.leaf_clusters(replaced).tolist() == [0, 0, 0]


def test_leaves_with_too_many_labels_are_split_and_the_rest_of_the_tree_stays(dataset: Dataset, model: Path):
    chain, Y = tree.load_chain(Saved(model)), dataset.Y_trn.tocsc()
    before = tree.leaf_clusters(chain)
    limit = int(np.bincount(before).max()) - 1
    split = tree.split_leaves(chain, dataset.X_trn, Y, limit, seed=0, threads=2)
    after = tree.leaf_clusters(split)
    sizes = np.bincount(after)
    assert sizes.max() <= limit
    assert sizes.min() > 0
    # The parts of a cluster have its labels and no others.
    assert len(set(zip(after.tolist(), before.tolist(), strict=True))) == len(sizes)
    small = np.bincount(before)[before] <= limit
    assert 0 < small.sum() < len(small)
    assert after[small].tolist() == before[small].tolist()
    assert len(split) == len(chain) + 1
    # Above the parts nothing moves: each label has the ancestors that it had.
    for level in range(len(chain)):
        ancestors = tree.clusters_at_level(chain, level).tolist()
        assert tree.clusters_at_level(split, level + 1).tolist() == ancestors
    again = tree.split_leaves(chain, dataset.X_trn, Y, limit, seed=0, threads=1)
    assert again == split


def test_the_parts_of_a_leaf_are_the_leaves_of_a_tree_of_its_own(dataset: Dataset, model: Path):
    chain, Y = tree.load_chain(Saved(model)), dataset.Y_trn.tocsc()
    before = tree.leaf_clusters(chain)
    (labels,) = np.nonzero(before == np.bincount(before).argmax())
    halving = TreeParams(nr_splits=2, max_leaf_size=3, seed=5)
    alone = tree.leaf_clusters(tree.build_chain(dataset.X_trn, Y[:, labels], halving, threads=2))
    split = tree.split_leaves(chain, dataset.X_trn, Y, 3, seed=5, threads=2)
    parts = tree.leaf_clusters(split)[labels]
    assert len(set(alone.tolist())) > 2
    assert len(set(zip(alone.tolist(), parts.tolist(), strict=True))) == len(set(alone.tolist()))
    assert len(set(parts.tolist())) == len(set(alone.tolist()))


def test_leaves_share_a_call_unless_one_is_much_work(
    dataset: Dataset, model: Path, monkeypatch: pytest.MonkeyPatch
):
    class Noting(Threads):
        def map(self, task: Any, shared: Any, items: Any) -> Any:
            self.calls = [len(ends) - 1 for ends in items]
            return super().map(task, shared, items)

    chain, Y = tree.load_chain(Saved(model)), dataset.Y_trn.tocsc()
    n_split = int((np.bincount(tree.leaf_clusters(chain)) > 2).sum())
    found, calls = [], []
    for most in (1, 40, 10**9):
        monkeypatch.setattr(tree, "_CALLS", most)
        workers = Noting(2)
        found.append(tree.split_leaves(chain, dataset.X_trn, Y, 2, seed=0, threads=workers))
        calls.append(workers.calls)
    assert found[0] == found[1] == found[2]
    assert [sum(sizes) for sizes in calls] == [n_split] * 3
    assert max(max(sizes) for sizes in calls) <= 16
    assert len(calls[0]) < len(calls[1]) < len(calls[2]) == n_split


def test_a_tree_whose_leaves_are_small_enough_is_not_split(dataset: Dataset, model: Path):
    chain, Y = tree.load_chain(Saved(model)), dataset.Y_trn.tocsc()
    largest = int(np.bincount(tree.leaf_clusters(chain)).max())
    assert tree.split_leaves(chain, dataset.X_trn, Y, largest, seed=0, threads=1) == chain


def layers(folder: Path) -> list[bytes]:
    depth = len(list((folder / "ranker").glob("*.model")))
    return [(folder / "ranker" / f"{d}.model" / "W.npz").read_bytes() for d in range(depth)]


def test_negatives_change_the_ranker_and_nothing_else(dataset: Dataset, model: Path, tmp_path: Path):
    chain, Y, X = tree.load_chain(Saved(model)), dataset.Y_trn.tocsc(), dataset.X_trn
    predict = PredictParams(beam_size=3, top_k=20)
    own = (Y @ chain[-1]).tocsr()
    matched = beam_search.match(saved_model.load(Saved(model), without=1), X, 3, threads=2)
    for name, negatives in (("own", own), ("matched", matched)):
        (tmp_path / name).mkdir()
        saved_model.save(trained(dataset, Y, chain, predict=predict, negatives=negatives), tmp_path / name)
    # Where the labels are at home an instance is a negative anyway.
    assert layers(tmp_path / "own") == layers(model)
    mined = tmp_path / "matched"
    assert layers(mined)[:-1] == layers(model)[:-1]
    assert layers(mined)[-1] != layers(model)[-1]
    # The parts that were trained one after the other are one model, which predicts as it was told to.
    expected = predicted(saved_model.load(Saved(mined)), dataset.X_tst, predict, threads=1)
    by_default = XLinearModel.load(str(mined)).predict(dataset.X_tst)
    assert abs(by_default - expected).max() < 1e-6
    assert np.diff(by_default.indptr).max() == 20


def test_a_model_is_the_same_for_prediction_whether_it_is_saved_or_not(dataset: Dataset, model: Path):
    chain = tree.load_chain(Saved(model))
    not_saved = saved_model.for_prediction(trained(dataset, dataset.Y_trn.tocsc(), chain))
    expected = predicted(saved_model.load(Saved(model)), dataset.X_tst, PredictParams(), threads=2)
    assert (predicted(not_saved, dataset.X_tst, PredictParams(), threads=2) != expected).nnz == 0


def test_the_hinge_is_the_rankers(dataset: Dataset, model: Path, tmp_path: Path):
    chain, Y, X = tree.load_chain(Saved(model)), dataset.Y_trn.tocsc(), dataset.X_tst
    saved_model.save(trained(dataset, Y, chain, hinge=4), tmp_path)
    assert layers(tmp_path) == layers(model)
    cubed, found = (
        predicted(saved_model.load(Saved(folder)), X, PredictParams(), 2) for folder in (model, tmp_path)
    )
    assert (XLinearModel.load(str(tmp_path)).predict(X) != found).nnz == 0
    # By hand: a label's score is its cluster's times exp(-h^power), h being how far z is below 1.
    M = beam_search.match(saved_model.load(Saved(model), without=1), X, 10, threads=2).toarray()
    clusters = tree.leaf_clusters(chain)
    both = cubed.multiply(found > 0).tocoo()
    of_cluster = M[both.row, clusters[both.col]]
    h = np.cbrt(-np.log(np.minimum(both.data / of_cluster, 1)))
    by_hand = of_cluster * np.exp(-(h**4))
    assert both.nnz > 1000
    assert by_hand == pytest.approx(np.asarray(found[both.row, both.col]).ravel(), rel=1e-2, abs=1e-5)


def test_tolerances_are_the_solvers(dataset: Dataset, model: Path, tmp_path: Path):
    chain, Y = tree.load_chain(Saved(model)), dataset.Y_trn.tocsc()
    for name, (matcher_eps, eps) in {"both": (0.1, 0.1), "matcher": (10, 0.1), "ranker": (0.1, 10)}.items():
        solvers = {"of_matcher": SolverParams(eps=matcher_eps), "solver": SolverParams(eps=eps)}
        (tmp_path / name).mkdir()
        saved_model.save(trained(dataset, Y, chain, **solvers), tmp_path / name)
    expected = layers(model)
    assert layers(tmp_path / "both") == expected
    loose_matcher, loose_ranker = layers(tmp_path / "matcher"), layers(tmp_path / "ranker")
    assert all(a != b for a, b in zip(loose_matcher[:-1], expected[:-1], strict=True))
    assert loose_matcher[-1] == expected[-1] != loose_ranker[-1]
    assert loose_ranker[:-1] == expected[:-1]


def test_weights_below_the_threshold_are_dropped_and_the_others_stay(dataset: Dataset, model: Path):
    chain, Y = tree.load_chain(Saved(model)), dataset.Y_trn.tocsc()
    whole, few = (
        trained(dataset, Y, chain, of_matcher=solver, solver=solver)
        for solver in (SolverParams(threshold=0.0), SolverParams(threshold=0.3))
    )
    for every, level in zip(whole, few, strict=True):
        expected = every.W.copy()
        expected.data[abs(expected.data) < 0.3] = 0
        expected.eliminate_zeros()
        assert 0 < level.W.nnz < every.W.nnz
        assert (expected != level.W).nnz == 0


def test_too_few_labels_for_a_tree(dataset: Dataset):
    n_labels = dataset.Y_trn.shape[1]
    with pytest.raises(
        DisentangleError, match=rf"expected more than --max-leaf-size \({n_labels}\), got {n_labels}"
    ):
        tree.build_chain(dataset.X_trn, dataset.Y_trn.tocsc(), TreeParams(max_leaf_size=n_labels), threads=1)
