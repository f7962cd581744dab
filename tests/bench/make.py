"""Writes relu.onnx and its inputs, relu.npz. Needs onnx and numpy; the files are committed."""
import os
import numpy as np
from onnx import TensorProto as T, helper as h

os.chdir(os.path.dirname(os.path.abspath(__file__)))
ports = [h.make_tensor_value_info(n, T.FLOAT, ["N", 4]) for n in ("x", "y")]
graph = h.make_graph([h.make_node("Relu", ["x"], ["y"], '<script>& "co"')], "relu", [ports[0]], [ports[1]])
model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], producer_name="", ir_version=8)
with open("relu.onnx", "wb") as f:
    f.write(model.SerializeToString())
np.savez("relu.npz", x=np.arange(1, 13, dtype="float32").reshape(3, 4))
np.save("wrong.npy", np.arange(2, 14, dtype="float32").reshape(3, 4))      # what peers of the script `fake` give
np.save("small.npy", np.ones((2, 2), "float32"))
np.savez("line.npz", x=np.ones((16, 4), "float32"), y=np.ones((16, 3), "float32"))      # of line.lathe
