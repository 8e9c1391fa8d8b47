"""Exporters compute the shapes of their Reshapes in the graph; engines would rather know them.

Each Reshape's shapes are observed on two inputs of different size. Where every output dimension is
constant, or the input's at the same place (ONNX's 0), or the one that is left over (-1), the
computed shape becomes a constant, and what computed it goes.
"""

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper


def make_constant(model: onnx.ModelProto) -> None:
    """Replaces computed shapes by constants, in place."""
    observed = [_observe(model, rows, width) for rows, width in ((2, 5), (3, 7))]
    for node in model.graph.node:
        if node.op_type != "Reshape":
            continue
        shape = _shape(*((o[node.input[0]], o[node.output[0]]) for o in observed))
        if shape is not None:
            name = f"{node.output[0]}_shape"
            model.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), name))
            node.input[1] = name
    _drop_unused(model.graph)


def _observe(model, rows, width):
    """The shapes of all Reshapes' inputs and outputs on `[rows, width]` ids."""
    names = {
        n
        for node in model.graph.node
        if node.op_type == "Reshape"
        for n in (node.input[0], node.output[0])
    }
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    constants = {t.name: list(t.dims) for t in model.graph.initializer}
    given = {value.name for value in model.graph.input}
    wanted = sorted(names - constants.keys() - given)
    probe.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in wanted)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    ones = np.ones((rows, width), np.int64)
    arrays = session.run(wanted, {"input_ids": ones, "attention_mask": ones})
    shapes = {name: list(array.shape) for name, array in zip(wanted, arrays)}
    return shapes | constants | {name: [rows, width] for name in given}


def _shape(first, second):
    """A constant that reshapes both observations, or None."""
    shape = []
    for i, (a, b) in enumerate(zip(first[1], second[1])):
        if i < len(first[0]) and (first[0][i], second[0][i]) == (a, b) and a != b:
            shape.append(0)
        elif a == b:
            shape.append(a)
        else:
            shape.append(-1)
    return shape if shape.count(-1) <= 1 else None


def _drop_unused(graph):
    wanted = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    tensors = [t for t in graph.initializer if t.name in wanted]
    del graph.initializer[:]
    graph.initializer.extend(tensors)
