"""Writes the damaged and hostile .onnx files of this folder. Needs the onnx package; the files are committed.

Each is as small as it can be and breaks one thing."""
import os
import onnx
from onnx import TensorProto as T, helper as h

os.chdir(os.path.dirname(os.path.abspath(__file__)))


def save(name, nodes, inputs, outputs, init=(), opset=17, ir=8):
    graph = h.make_graph(nodes, name, inputs, outputs, list(init))
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", opset)], producer_name="", ir_version=ir)
    with open(name + ".onnx", "wb") as f:
        f.write(model.SerializeToString())


def x(name, *dims, t=T.FLOAT):
    return h.make_tensor_value_info(name, t, list(dims))


def external(name, location, **more):
    t = T(name=name, data_type=T.FLOAT, dims=[4], data_location=T.EXTERNAL)
    for k, v in dict(location=location, **more).items():
        t.external_data.add(key=k, value=str(v))
    return t


io = [x("x", 4)], [x("y", 4)]
with open("magic.onnx", "wb") as f:
    f.write(b"GIF89a, not a network at all")
open("empty.onnx", "wb").close()
save("cycle", [h.make_node("Add", ["x", "b"], ["a"], "first"), h.make_node("Relu", ["a"], ["b"], "second")], [x("x", 4)], [x("b", 4)])
save("no-producer", [h.make_node("Add", ["x", "nobody"], ["y"], "sum")], *io)
save("negative-dim", [h.make_node("Relu", ["x"], ["y"])], [x("x", 2, -3)], [x("y", 2, -3)])
save("overflow", [h.make_node("Relu", ["x"], ["y"])], [x("x", 2**40, 2**40)], [x("y", 2**40, 2**40)])
save("huge-init", [h.make_node("Add", ["x", "w"], ["y"])], [x("x", 1)], [x("y", 2**31)],
     [T(name="w", data_type=T.FLOAT, dims=[2**31], raw_data=b"\0" * 16)])
save("huge-shape", [h.make_node("ConstantOfShape", ["s"], ["c"], "fill"), h.make_node("Add", ["x", "c"], ["y"])], [x("x", 1)],
     [h.make_tensor_value_info("y", T.FLOAT, None)], [h.make_tensor("s", T.INT64, [2], [2**31, 2**31])])
save("external-missing", [h.make_node("Add", ["x", "w"], ["y"])], *io, [external("w", "weights.bin")])
save("external-leaves", [h.make_node("Add", ["x", "w"], ["y"])], *io, [external("w", "../../../../../../etc/passwd")])
save("external-absolute", [h.make_node("Add", ["x", "w"], ["y"])], *io, [external("w", "/etc/passwd")])
save("external-short", [h.make_node("Add", ["x", "w"], ["y"])], *io, [external("w", "make.py", offset=10**9, length=16)])
save("groups", [h.make_node("Conv", ["x", "w"], ["y"], "dw1")], [x("x", 1, 64, 8, 8)], [x("y", 1, 64, 6, 6)],
     [h.make_tensor("w", T.FLOAT, [64, 1, 3, 3], [0.5] * 576)])
save("kernel", [h.make_node("MaxPool", ["x"], ["y"], "pool", kernel_shape=[10**12, 2], strides=[0, -1])], [x("x", 1, 1, 8, 8)],
     [h.make_tensor_value_info("y", T.FLOAT, None)])
save("matmul", [h.make_node("MatMul", ["x", "w"], ["y"], "fc")], [x("x", 3, 4)], [x("y", 3, 5)], [h.make_tensor("w", T.FLOAT, [5, 5], [0.0] * 25)])
save("reshape", [h.make_node("Reshape", ["x", "s"], ["y"], "flat")], [x("x", 3, 4)], [x("y", 5, 2)], [h.make_tensor("s", T.INT64, [2], [5, 2])])
save("unknown", [h.make_node("Wobble", ["x"], ["a"], "one"), h.make_node("Wobble", ["a"], ["b"], "two"),
                 h.make_node("Frobnicate", ["b"], ["y"], "three")], *io)
save("fine", [h.make_node("Relu", ["x"], ["y"])], [x("x", "N")], [x("y", "N")])
save("short-init", [h.make_node("Add", ["x", "w"], ["y"])], *io, [T(name="w", data_type=T.FLOAT, dims=[4], raw_data=b"\0" * 15)])
save("types", [h.make_node("Add", ["x", "i"], ["y"], "mixed")], [x("x", 4), x("i", 4, t=T.INT32)], [x("y", 4)])
save("newer", [h.make_node("Softplus", ["x"], ["a"], "soft", beta=2.0),
               h.make_node("Dropout", ["a"], ["y"], "drop", seed=1)], *io)
save("cast-down", [h.make_node("Cast", ["x"], ["y"], "scale", to=T.FLOAT8E8M0, round_mode="down")],
     [x("x", 4)], [x("y", 4, t=T.FLOAT8E8M0)], opset=24, ir=12)
save("free", [h.make_node("Reshape", ["x", "s"], ["y"], "pairs")], [x("x", "N", 3)], [x("y", "M", 2)], [h.make_tensor("s", T.INT64, [2], [-1, 2])])
save("strings", [h.make_node("Equal", ["a", "b"], ["same"], "words")], [x("a", 3, t=T.STRING), x("b", 3, t=T.STRING)], [x("same", 3, t=T.BOOL)])
body = h.make_graph([h.make_node("Identity", ["going"], ["again"]), h.make_node("Add", ["s", "one"], ["t"]), h.make_node("Identity", ["t"], ["item"])],
                    "body", [h.make_tensor_value_info("i", T.INT64, []), h.make_tensor_value_info("going", T.BOOL, []), x("s", 2)],
                    [h.make_tensor_value_info("again", T.BOOL, []), x("t", 2), x("item", 2)], [h.make_tensor("one", T.FLOAT, [1], [1.0])])
save("endless", [h.make_node("Loop", ["n", "", "x"], ["last", "all"], "count", body=body)],
     [h.make_tensor_value_info("n", T.INT64, []), x("x", 2)], [x("last", 2), x("all", None, 2)])
# Two outputs of QuantizeLinear: x / 0.5 rounded, as integers and back as floats; data sets one and two steps away.
save("quantised", [h.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]), h.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])],
     [x("x", 4)], [x("q", 4, t=T.UINT8), x("y", 4)], [h.make_tensor("s", T.FLOAT, [], [0.5]), h.make_tensor("z", T.UINT8, [], [3])])
for k, off in enumerate([[0, 0, 0, 0], [0, 1, 0, -1], [0, 2, 0, 0]]):
    q = [5 + off[0], 7 + off[1], 9 + off[2], 11 + off[3]]
    os.makedirs(f"quantised.data/set_{k}", exist_ok=True)
    for file, t in (("input_0", h.make_tensor("x", T.FLOAT, [4], [1, 2, 3, 4])), ("output_0", h.make_tensor("q", T.UINT8, [4], q)),
                    ("output_1", h.make_tensor("y", T.FLOAT, [4], [(v - 3) * 0.5 for v in q]))):
        with open(f"quantised.data/set_{k}/{file}.pb", "wb") as f:
            f.write(t.SerializeToString())
data = open("free.onnx", "rb").read()
with open("truncated.onnx", "wb") as f:
    f.write(data[: len(data) // 2])
