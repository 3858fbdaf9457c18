"""Translates forests and boosted trees into ONNX's TreeEnsemble."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from pipeline.export.onnx_builder import Graph
from pipeline.export.onnx_codes import LevelSets

HALF = 0.5  # between the 0 and the 1 of a set of levels
LOGARITHMIC = ("poisson", "gamma")  # losses whose margins are logarithms of amounts
SUM, AT_MOST = 1, 0  # how a TreeEnsemble puts its trees together, and compares with a split


@dataclass(frozen=True)
class _Tree:
    """A tree as arrays over its nodes, for one output.

    A leaf has one number: with k classes past two, a tree stands there k times.
    """

    feature: Any
    split: Any
    left: Any
    right: Any
    missing_left: Any
    is_leaf: Any
    value: Any
    output: int


def forest(graph: Graph, model: Any, X: str) -> str:
    """The mean of the trees' probabilities, or amounts."""
    single = graph("Cast", X, to=TensorProto.FLOAT)  # scikit-learn compares it with a double
    classes = len(getattr(model, "classes_", ()))  # none of amounts
    outputs = {0: [0], 2: [1]}.get(classes, range(classes))
    trees = [
        _Tree(
            *(tree.feature, tree.threshold, tree.children_left, tree.children_right),
            *(tree.missing_go_to_left, tree.children_left < 0, tree.value[:, 0, place], output),
        )
        for tree in (fitted.tree_ for fitted in model.estimators_)
        for output, place in enumerate(outputs)
    ]
    total = _sum_of_trees(graph, graph("Cast", single, to=TensorProto.DOUBLE), trees)
    return graph("Div", total, graph.constant(float(len(model.estimators_))))


def boosting(
    graph: Graph, model: HistGradientBoostingClassifier | HistGradientBoostingRegressor, X: str
) -> str:
    """The sum of the trees' margins, of which some split by a set of categories."""
    if model.is_categorical_ is not None:  # scikit-learn moves them to the front
        order = np.argsort(~model.is_categorical_, kind="stable")
        if np.any(np.diff(order) != 1):
            X = graph("Gather", X, graph.constant(order, np.int64), axis=1)
    sets = LevelSets(_categories(model), model.n_features_in_)
    trees = [
        _boosted_tree(predictor, output, sets)
        for iteration in model._predictors
        for output, predictor in enumerate(iteration)
    ]
    margins = _sum_of_trees(graph, sets.added_to(graph, X), trees)
    start = graph.constant(model._baseline_prediction.reshape(1, -1))
    total = graph("Add", margins, start)
    if isinstance(model, HistGradientBoostingClassifier):
        return graph.link(total, len(model.classes_))
    return graph("Exp", total) if model.loss in LOGARITHMIC else total


def _categories(
    model: HistGradientBoostingClassifier | HistGradientBoostingRegressor,
) -> Sequence[Any]:
    """The codes that were met in each column of categories."""
    if model.is_categorical_ is None:
        return []
    categories: Sequence[Any] = model._preprocessor.named_transformers_["encoder"].categories_
    return categories


def _boosted_tree(predictor: Any, output: int, sets: LevelSets) -> _Tree:
    """Where a tree splits by a set of levels, it splits by the column of zeros and ones of it."""
    nodes = predictor.nodes
    features, splits = nodes["feature_idx"].copy(), nodes["num_threshold"].copy()
    for place in np.flatnonzero(nodes["is_categorical"] & ~nodes["is_leaf"].astype(bool)):
        node = nodes[place]
        left = predictor.raw_left_cat_bitsets[node["bitset_idx"]]
        goes_left = bool(node["missing_go_to_left"])
        features[place] = sets.column(int(node["feature_idx"]), left, goes_left)
        splits[place] = HALF
    return _Tree(
        *(features, splits, nodes["left"], nodes["right"]),
        *(nodes["missing_go_to_left"], nodes["is_leaf"].astype(bool), nodes["value"]),
        output,
    )


def _sum_of_trees(graph: Graph, X: str, trees: Sequence[_Tree]) -> str:
    """One TreeEnsemble: rows x outputs."""
    roots: list[int] = []
    features: list[int] = []
    splits: list[float] = []
    missing: list[int] = []
    # For either branch of each inner node, where it leads and whether that is a leaf.
    branches: tuple[list[tuple[int, int]], ...] = ([], [])
    targets: list[int] = []
    weights: list[float] = []
    for tree in trees:
        roots.append(len(splits))
        inner = np.flatnonzero(~tree.is_leaf) if not tree.is_leaf[0] else np.array([0])
        places = {node: place for place, node in enumerate(inner.tolist(), len(splits))}
        for node in places:
            is_alone = bool(tree.is_leaf[node])  # a leaf that is all of its tree: both lead to it
            features.append(max(int(tree.feature[node]), 0))
            splits.append(float(tree.split[node]))
            missing.append(int(tree.missing_left[node]))
            for branch, child in zip(branches, (tree.left[node], tree.right[node]), strict=True):
                leaf = node if is_alone else int(child)
                if tree.is_leaf[leaf]:
                    branch.append((len(targets), 1))
                    targets.append(tree.output)
                    weights.append(float(tree.value[leaf]))
                else:
                    branch.append((places[leaf], 0))
    below, above = (tuple(zip(*branch, strict=True)) for branch in branches)
    return graph(
        "TreeEnsemble",
        X,
        domain="ai.onnx.ml",
        tree_roots=roots,
        nodes_featureids=features,
        nodes_splits=numpy_helper.from_array(np.array(splits), "splits"),
        nodes_modes=numpy_helper.from_array(np.full(len(splits), AT_MOST, np.uint8), "modes"),
        nodes_missing_value_tracks_true=missing,
        nodes_truenodeids=below[0],
        nodes_trueleafs=below[1],
        nodes_falsenodeids=above[0],
        nodes_falseleafs=above[1],
        leaf_targetids=targets,
        leaf_weights=numpy_helper.from_array(np.array(weights), "weights"),
        n_targets=max(targets) + 1,
        aggregate_function=SUM,
    )
