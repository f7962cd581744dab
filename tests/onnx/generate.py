"""generate.py DIR: the node and simple cases that the installed onnx package defines in Python, as files:
DIR/KIND/CASE/model.onnx and test_data_set_0/{input,output}_J.pb. The package ships only its other kinds as files."""
import os
import random
import sys

import numpy as np
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.model import collect_testcases
from onnx.backend.test.loader import load_node_model_tests


def proto(value, info):
    """A value as the protobuf message that its graph input or output asks for."""
    if isinstance(value, TensorProto):
        return value
    kind = info.type.WhichOneof("value")
    make = {"map_type": numpy_helper.from_dict, "sequence_type": numpy_helper.from_list,
            "optional_type": numpy_helper.from_optional}.get(kind, numpy_helper.from_array)
    return make(value, info.name)


def write(path, message):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(message.SerializeToString())


def main(out):
    random.seed(0)
    np.random.seed(0)
    count = 0
    for case in load_node_model_tests() + [c for c in collect_testcases() if c.kind == "simple"]:
        folder = os.path.join(out, case.kind, case.name)
        write(os.path.join(folder, "model.onnx"), case.model)
        for k, (inputs, outputs) in enumerate(case.data_sets):
            for which, values, infos in (("input", inputs, case.model.graph.input), ("output", outputs, case.model.graph.output)):
                for j, value in enumerate(values):
                    write(os.path.join(folder, f"test_data_set_{k}", f"{which}_{j}.pb"), proto(value, infos[j]))
        count += 1
    print(count, "cases")


main(sys.argv[1])
