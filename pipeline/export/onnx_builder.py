"""Builds ONNX graphs, node by node."""

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

OPSETS = (("", 21), ("ai.onnx.ml", 5))  # 5 brought trees in double precision
IR_VERSION = 10
INPUT, OUTPUT = "X", "probabilities"


class TranslationError(Exception):
    """The classifier, or one inside it, is not one that has a translation."""


class Graph:
    """Nodes and constants, in the order in which they are added; what is there is not added twice.

    Members of a blend share their imputer and scaler so.
    """

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._names: dict[Any, str] = {}

    def constant(self, value: Any, dtype: Any = np.float64) -> str:
        """The name of a tensor that holds the value."""
        array = np.asarray(value, dtype=dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._names:
            self._names[key] = name = f"c{len(self.constants)}"
            self.constants.append(numpy_helper.from_array(array, name))
        return self._names[key]

    def __call__(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """The name of an operator's output."""
        key = (operator, inputs, tuple(sorted(attributes.items()))) if not domain else object()
        if key not in self._names:
            self._names[key] = name = f"t{len(self.nodes)}"
            node = helper.make_node(operator, list(inputs), [name], domain=domain, **attributes)
            self.nodes.append(node)
        return self._names[key]

    def link(self, margins: str, classes: int) -> str:
        """Log-odds of the second of two classes, or one margin per class, as probabilities."""
        if classes == 2:
            return self("Sigmoid", margins)
        return self("Softmax", margins, axis=1)

    def model(self, output: str, columns: int, classes: int) -> ModelProto:
        """The whole graph, from `X` (rows x columns) to `probabilities` (rows x classes)."""
        last = self.nodes[-1]
        if last.output[0] == output:
            last.output[0] = OUTPUT
        else:
            self.nodes.append(helper.make_node("Identity", [output], [OUTPUT]))
        tensors = [
            helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None, width])
            for name, width in ((INPUT, columns), (OUTPUT, classes))
        ]
        return helper.make_model(
            helper.make_graph(self.nodes, "classifier", tensors[:1], tensors[1:], self.constants),
            opset_imports=[helper.make_opsetid(*opset) for opset in OPSETS],
            ir_version=IR_VERSION,
        )
