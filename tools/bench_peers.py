#!/usr/bin/env python3
"""Times lathe beside ONNX Runtime and OpenVINO on one core, interleaved in one run, and prints a table.

usage: bench_peers.py [--lathe build/lathe] [--rounds 5] [--seconds 0.5] [--cpu 0] MODEL.onnx…

Each round runs every tool in turn for about `seconds`; a cell is the median over the rounds of the median
time per call. A MODEL.npz beside the model gives the inputs of the peers, else random ones; lathe bench makes its own.
Needs numpy and onnxruntime (and openvino, if it is to be shown) from PyPI: never part of lathe itself."""
import argparse, os, re, subprocess, time
import numpy as np

def timed(call, seconds):
    call()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        t = time.perf_counter()
        call()
        times.append(time.perf_counter() - t)
    return 1e3 * float(np.median(times))

def inputs_of(path, session):
    npz = path[:-5] + ".npz"
    if os.path.exists(npz):
        return dict(np.load(npz))
    rng, feed = np.random.default_rng(1), {}
    for i in session.get_inputs():
        shape = [d if isinstance(d, int) and d > 0 else 1 for d in i.shape]
        kind = i.type[7:-1]
        feed[i.name] = rng.standard_normal(shape).astype("float32") if kind == "float" else np.ones(shape, {"int64": "int64", "int32": "int32"}.get(kind, kind))
    return feed

def onnxruntime_call(path):
    import onnxruntime as ort
    o = ort.SessionOptions()
    o.intra_op_num_threads = o.inter_op_num_threads = 1
    o.log_severity_level = 3
    s = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
    feed = {i.name: inputs_of(path, s)[i.name] for i in s.get_inputs()}
    return lambda: s.run(None, feed), feed

def openvino_call(path, feed):
    import openvino as ov
    m = ov.Core().compile_model(path, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"})
    r = m.create_infer_request()
    return lambda: r.infer(feed, share_inputs=True)

def lathe_time(lathe, path, seconds):
    out = subprocess.run([lathe, "bench", "--seconds", str(seconds), path], capture_output=True, text=True).stdout
    m = re.search(r"median ([\d.]+) ms", out)
    return float(m.group(1)) if m else float("nan")

def main():
    p = argparse.ArgumentParser()
    p.add_argument("models", nargs="+")
    p.add_argument("--lathe", default="build/lathe")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=0.5)
    p.add_argument("--cpu", type=int, default=0)
    a = p.parse_args()
    os.sched_setaffinity(0, {a.cpu})
    print("| model | lathe ms | ONNX Runtime ms | OpenVINO ms | best peer / lathe |\n|---|---|---|---|---|")
    ratios = []
    for path in a.models:
        peers, feed = {}, None
        try:
            call, feed = onnxruntime_call(path)
            peers["ort"] = call
            peers["ov"] = openvino_call(path, feed)
        except Exception as e:
            print(f"<!-- {os.path.basename(path)}: {type(e).__name__}: {str(e)[:80]} -->")
        got = {k: [] for k in ("lathe", *peers)}
        lathe_time(a.lathe, path, 0.05)
        for _ in range(a.rounds):
            got["lathe"].append(lathe_time(a.lathe, path, a.seconds))
            for k, call in peers.items():
                got[k].append(timed(call, a.seconds))
        m = {k: float(np.median(v)) for k, v in got.items()}
        best = min((m[k] for k in peers), default=float("nan"))
        ratios.append(best / m["lathe"])
        cell = lambda k: f"{m[k]:.3g}" if k in m else "–"
        print(f"| {os.path.basename(path)[:-5]} | {cell('lathe')} | {cell('ort')} | {cell('ov')} | {best / m['lathe']:.2f} |", flush=True)
    print(f"\ngeometric mean of best peer / lathe: {float(np.exp(np.nanmean(np.log(ratios)))):.2f}")

if __name__ == "__main__":
    main()
