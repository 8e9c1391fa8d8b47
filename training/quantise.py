"""int8 for any exported classifier: weights by channel, activations by token.

Every matrix product with a constant weight becomes MatMulInteger. Weights are i8, symmetric, one
scale an output channel. Activations are u8 around 128 with one scale a token, the largest absolute
value of its vector / 127: nothing is calibrated, and a post's scores do not depend on the posts
beside it. QuantizeLinear does the rounding, since engines' Round is slow. Large embedding tables
become i8 with one scale a row. All operators are plain ONNX.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

EMBEDDING_MIN = 1 << 18  # values; smaller tables stay fp32


def quantise(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns `model` (fp32, opset 13 to 17) with its weights in int8."""
    rewrite = _Rewrite(model.graph)
    for node in model.graph.node:
        rewrite.node(node)
    del model.graph.node[:]
    model.graph.node.extend(rewrite.nodes)
    used = {name for node in rewrite.nodes for name in node.input}
    kept = [t for t in rewrite.initialisers.values() if t.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    onnx.checker.check_model(model, full_check=True)
    return model


class _Rewrite:
    def __init__(self, graph):
        self.nodes, self.quantised = [], {}
        self.initialisers = {t.name: t for t in graph.initializer}
        for node in graph.node:  # tied copies of a weight and transposes of one are constants too
            self._fold(node)
        self._constant("one", np.float32(1))
        self._constant("u8_zero", np.uint8(128))
        self._constant("i8_zero", np.int8(0))
        self._constant("steps", np.float32(127))
        self._constant("step", np.float32(1 / 127))
        self._constant("tiny", np.float32(1e-9))

    def _fold(self, node):
        source = self._weight(node.input[0]) if node.input else None
        if source is None:
            return
        if node.op_type == "Identity":
            self._constant(node.output[0], source)
        elif node.op_type == "Transpose" and source.ndim == 2:
            self._constant(node.output[0], source.T)
        else:
            return
        node.op_type = "Folded"

    def node(self, node):
        if node.op_type == "Folded":
            return
        if node.op_type == "MatMul":
            weight = self._weight(node.input[1])
            if weight is not None and weight.ndim == 2:
                return self._product(node.input[0], weight, node.input[1], node.output[0])
        if node.op_type == "Gemm":
            weight, options = self._weight(node.input[1]), _attributes(node)
            plain = options.get("alpha", 1) == options.get("beta", 1) == 1
            if weight is not None and plain and not options.get("transA"):
                weight = weight.T if options.get("transB") else weight
                bias = node.input[2] if len(node.input) > 2 else ""
                product = f"{node.output[0]}_product" if bias else node.output[0]
                self._product(node.input[0], weight, f"{node.input[1]}_gemm", product)
                if bias:
                    self._add("Add", [product, bias], node.output[0])
                return
        if node.op_type == "Gather" and _attributes(node).get("axis", 0) == 0:
            table = self._weight(node.input[0])
            if table is not None and table.ndim == 2 and table.size >= EMBEDDING_MIN:
                return self._lookup(node.input[0], table, node.input[1], node.output[0])
        self.nodes.append(node)

    def _product(self, x, weight, name, output):
        scale = np.maximum(np.abs(weight).max(0), 1e-12) / 127
        self._constant(f"{name}_i8", np.rint(weight / scale).astype(np.int8))
        self._constant(f"{name}_scale", scale.astype(np.float32))
        x_u8, x_scale = self._tokens(x)
        self._add("MatMulInteger", [x_u8, f"{name}_i8", "u8_zero", "i8_zero"], f"{output}_i32")
        self._add("Cast", [f"{output}_i32"], f"{output}_cast", to=TensorProto.FLOAT)
        self._add("Mul", [f"{output}_cast", f"{name}_scale"], f"{output}_channels")
        self._add("Mul", [f"{output}_channels", x_scale], output)

    def _tokens(self, x):
        """Quantises an activation, once for all products that share it."""
        if x not in self.quantised:
            self._add("Abs", [x], f"{x}_abs")
            self._add("ReduceMax", [f"{x}_abs"], f"{x}_max", axes=[-1], keepdims=1)
            self._add("Max", [f"{x}_max", "tiny"], f"{x}_range")
            self._add("Mul", [f"{x}_range", "step"], f"{x}_scale")
            # No Div by the scale: engines divide by one scale otherwise than by several, so that a
            # post alone would be rounded otherwise than among others.
            self._add("Reciprocal", [f"{x}_range"], f"{x}_inverse")
            self._add("Mul", [f"{x}_inverse", "steps"], f"{x}_per_unit")
            self._add("Mul", [x, f"{x}_per_unit"], f"{x}_steps")
            self._add("QuantizeLinear", [f"{x}_steps", "one", "u8_zero"], f"{x}_u8")
            self.quantised[x] = (f"{x}_u8", f"{x}_scale")
        return self.quantised[x]

    def _lookup(self, name, table, ids, output):
        scale = np.maximum(np.abs(table).max(1, keepdims=True), 1e-12) / 127
        self._constant(f"{name}_i8", np.rint(table / scale).astype(np.int8))
        self._constant(f"{name}_scale", scale.astype(np.float32))
        self._add("Gather", [f"{name}_i8", ids], f"{output}_i8")
        self._add("Gather", [f"{name}_scale", ids], f"{output}_scale")
        self._add("Cast", [f"{output}_i8"], f"{output}_cast", to=TensorProto.FLOAT)
        self._add("Mul", [f"{output}_cast", f"{output}_scale"], output)

    def _weight(self, name):
        tensor = self.initialisers.get(name)
        if tensor is None or tensor.data_type != TensorProto.FLOAT:
            return None
        return numpy_helper.to_array(tensor)

    def _constant(self, name, value):
        self.initialisers[name] = numpy_helper.from_array(np.array(value, order="C"), name)

    def _add(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))


def _attributes(node):
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
