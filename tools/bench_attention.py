#!/usr/bin/env python3
"""Attention alone, [N, S, H * D] to the same, beside PyTorch's scaled_dot_product_attention and ONNX Runtime on one thread.

  tools/bench_attention.py [--lathe build/lathe] [--rounds 5] [--seconds 0.3] [WORD…]

WORD: only cases whose name has it. Every tool has its turn in each round; the median CPU time of a call, in the best round. Needs
numpy, onnx, onnxruntime and torch from PyPI, which are never part of lathe."""
import argparse
import json
import os
import subprocess
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper

CASES = [  # name, batch, heads, queries, keys, head, causal
    ("bert 128", 1, 12, 128, 128, 32, False),
    ("vit 197", 1, 3, 197, 197, 64, False),
    ("batch 8, 128", 8, 8, 128, 128, 64, False),
    ("512", 1, 12, 512, 512, 64, False),
    ("512 causal", 1, 12, 512, 512, 64, True),
    ("1024", 1, 12, 1024, 1024, 64, False),
    ("1024, heads of 128", 1, 8, 1024, 1024, 128, False),
    ("4096", 1, 2, 4096, 4096, 64, False),
    ("one query, 256 keys", 1, 12, 1, 256, 64, False),
    ("one query, 2048 keys", 1, 12, 1, 2048, 64, False),
]


def model_of(n, h, s, t, d, causal):
    def value(name, rows):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [n, rows, h * d])

    nodes, weights = [], []

    def constant(name, array):
        weights.append(onnx.numpy_helper.from_array(array, name))
        return name

    for name, rows, perm in (("q", s, [0, 2, 1, 3]), ("k", t, [0, 2, 3, 1]), ("v", t, [0, 2, 1, 3])):
        nodes.append(helper.make_node("Reshape", [name, constant(name + "_shape", np.array([n, rows, h, d]))], [name + "4"]))
        nodes.append(helper.make_node("Transpose", [name + "4"], [name + "h"], perm=perm))
    nodes.append(helper.make_node("MatMul", ["qh", "kh"], ["raw"]))
    nodes.append(helper.make_node("Mul", ["raw", constant("scale", np.float32(d ** -0.5))], ["scaled"]))
    if causal:
        mask = np.triu(np.full((s, t), -np.inf, np.float32), 1)
        nodes.append(helper.make_node("Add", ["scaled", constant("mask", mask)], ["scores"]))
    nodes.append(helper.make_node("Softmax", ["scores" if causal else "scaled"], ["shares"], axis=-1))
    nodes.append(helper.make_node("MatMul", ["shares", "vh"], ["yh"]))
    nodes.append(helper.make_node("Transpose", ["yh"], ["y4"], perm=[0, 2, 1, 3]))
    nodes.append(helper.make_node("Reshape", ["y4", constant("y_shape", np.array([n, s, h * d]))], ["y"]))
    g = helper.make_graph(nodes, "attention", [value("q", s), value("k", t), value("v", t)], [value("y", s)], weights)
    return helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def median(call, seconds):
    call()
    times, end = [], time.process_time() + seconds
    while len(times) < 3 or time.process_time() < end:
        t = time.process_time()
        call()
        times.append(time.process_time() - t)
    return 1e3 * float(np.median(times))


def torch_call(x, h, causal):
    q, k, v = (torch.from_numpy(a) for a in x)
    heads = lambda a: a.view(a.shape[0], a.shape[1], h, -1).transpose(1, 2)

    def call():
        with torch.inference_mode():
            y = torch.nn.functional.scaled_dot_product_attention(heads(q), heads(k), heads(v), is_causal=causal)
            return y.transpose(1, 2).reshape(q.shape)
    return call


def ort_call(path, x):
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = o.inter_op_num_threads = 1
    s = onnxruntime.InferenceSession(path, o, providers=["CPUExecutionProvider"])
    feed = dict(zip("qkv", x))
    return lambda: s.run(None, feed)[0]


def lathe_time(lathe, path, seconds):
    text = subprocess.run([lathe, "bench", path, "--json", "--seconds", str(seconds)], check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(text)["cpu_ms"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("words", nargs="*")
    p.add_argument("--lathe", default="build/lathe")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=0.3)
    o = p.parse_args()
    torch.set_num_threads(1)
    print("   lathe   torch     ort  ms; GFLOP/s of lathe; how many times faster than the better one")
    for name, n, h, s, t, d, causal in CASES:
        if o.words and not any(w in name for w in o.words):
            continue
        rng = np.random.default_rng(1)
        x = [rng.standard_normal((n, rows, h * d), dtype=np.float32) for rows in (s, t, t)]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "attention.onnx")
            onnx.save(model_of(n, h, s, t, d, causal), path)
            peers = [torch_call(x, h, causal), ort_call(path, x)]
            assert np.allclose(peers[0]().numpy(), peers[1](), atol=1e-4)
            best = [float("inf")] * 3
            for _ in range(o.rounds):
                best[0] = min(best[0], lathe_time(o.lathe, path, o.seconds))
                for k, call in enumerate(peers):
                    best[k + 1] = min(best[k + 1], median(call, o.seconds))
        flop = 4e-6 * n * h * s * t * d
        print("%8.3f%8.3f%8.3f  %6.1f  %5.2fx  %s" % (*best, flop / best[0], min(best[1:]) / best[0], name), flush=True)


if __name__ == "__main__":
    main()
