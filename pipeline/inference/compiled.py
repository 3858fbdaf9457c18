"""A classifier as an ONNX graph, run by ONNX Runtime: the same probabilities, many times faster."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.schema.contract import Matrix

# Read at the import: with it, ONNX Runtime keeps an id in the home and sends what it does.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

Predict = Callable[[Matrix], Matrix]  # to rows x classes
CHUNK = 1024  # rows at a time: what lies between the nodes of a graph stays in the cache


def load(graph: bytes | Path) -> Predict:
    """The graph's `predict_proba` for a matrix with NaN where a value is missing."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    source = str(graph) if isinstance(graph, Path) else graph
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    run = session.run
    names = [tensor.name for tensor in session.get_outputs()]

    def predict(X: Matrix) -> Matrix:
        if 0 < len(X) <= CHUNK:
            first: Matrix = run(names, {"X": X})[0]
            return first
        parts = [run(names, {"X": X[at : at + CHUNK]})[0] for at in range(0, len(X), CHUNK)]
        classes = session.get_outputs()[0].shape[1]
        return np.concatenate(parts) if parts else np.empty((0, classes))

    return predict
