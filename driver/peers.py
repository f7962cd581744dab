"""One peer of `lathe bench --against`: loads a model with another runtime and times its calls when asked to.
lathe carries this file and starts it once for each peer and model:

    PYTHON peers.py PEER SETTING MODEL DIR CACHE THREADS

PEER is a key of `peers` below; SETTING is `default`, or `exact`: without the shortcuts that cost more than 1e-4.
DIR has the inputs, in_0.npy and so on, and their names and the outputs', a line each, in `inputs` and `outputs`.
What the peer computed goes to DIR/PEER.SETTING/out_0.npy and so on. CACHE keeps converted models.

It answers with lines on standard output; what libraries print there goes to standard error.
    ready VERSION           loaded, run once, the outputs are written
    missing PACKAGE…        `pip install PACKAGE…` would help
    failed REASON           one line
Then each line `run SECONDS` is answered with
    times W C W C …         wall and CPU milliseconds per call, one pair for each sample of one or many calls
and the end of standard input ends it. Packages are imported where they are used: a missing one costs only its peer."""
import os
import re
import subprocess
import sys
import time

SAMPLE = 2e-3                     # seconds: calls that take less are timed many at a time


def lines(path):
    with open(path, encoding="utf-8") as f:
        return [x.rstrip("\n") for x in f]


def onnxruntime(job):
    import onnxruntime as ort
    o = ort.SessionOptions()
    o.intra_op_num_threads, o.inter_op_num_threads, o.log_severity_level = job.threads, 1, 3
    s = ort.InferenceSession(job.model, o, providers=["CPUExecutionProvider"])
    feed = dict(zip(job.inputs, job.arrays))
    return ort.__version__, lambda: s.run(None, feed), list


def openvino(job):
    import openvino as ov
    core = ov.Core()
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": job.threads, "INFERENCE_PRECISION_HINT": "f32"}
    m = core.compile_model(core.read_model(job.model), "CPU", options)
    r = m.create_infer_request()
    for name, x in zip(job.inputs, job.arrays):
        r.set_tensor(name, ov.Tensor(x.copy()))
    return ov.__version__.split("-")[0], r.infer, lambda _: [r.get_tensor(o).data for o in m.outputs]


def torch(job):
    import torch as t
    stem = os.path.splitext(job.model)[0]
    t.set_num_threads(job.threads)
    if os.path.exists(stem + ".pt2"):
        m = t.export.load(stem + ".pt2").module()
    elif os.path.exists(stem + ".ts"):
        m = t.jit.load(stem + ".ts").eval()
    else:
        raise LookupError("PyTorch reads no ONNX: put %s.pt2 (torch.export.save) or .ts (torch.jit.save) beside the model"
                          % os.path.basename(stem))
    x = [t.from_numpy(a.copy()) for a in job.arrays]

    def call():
        with t.inference_mode():
            return m(*x)

    def flat(o):
        return [o.numpy()] if t.is_tensor(o) else [y for part in o for y in flat(part)]
    return t.__version__, call, flat


def converted(job, name, make):
    """`name` in the cache, made by make(folder) in a folder that gets its name when it is complete."""
    folder = os.path.join(job.cache, name)
    if not os.path.isdir(folder):
        tmp = "%s.%d" % (folder, os.getpid())
        os.makedirs(tmp)
        make(tmp)
        os.rename(tmp, folder)
    return folder


def ncnn_convert(job, folder):
    import pnnx                                                  # the package that brings the program
    program = os.path.join(os.path.dirname(sys.executable), "pnnx")
    if not os.path.exists(program):
        program = os.path.join(os.path.dirname(pnnx.__file__), "bin", "pnnx")
    os.symlink(os.path.abspath(job.model), os.path.join(folder, "m.onnx"))
    data = ",".join(os.path.join(job.dir, "in_%d.npy" % k) for k in range(len(job.arrays)))
    r = subprocess.run([program, "m.onnx", "input=" + data, "fp16=0"], cwd=folder, capture_output=True, timeout=500)
    said = re.sub(r"\x1b\[[0-9;]*m", "", (r.stdout + r.stderr).decode(errors="replace")).strip().splitlines()
    if r.returncode or not os.path.exists(os.path.join(folder, "m.ncnn.param")):
        raise RuntimeError("pnnx: " + (said[-1] if said else "exit %d" % r.returncode))


def ncnn(job):
    import numpy as np
    import ncnn as nc
    folder = converted(job, "ncnn", lambda to: ncnn_convert(job, to))
    net = nc.Net()
    o = net.opt
    o.num_threads = job.threads
    for half in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed"):
        if hasattr(o, "use_" + half):
            setattr(o, "use_" + half, False)
    if job.exact:
        o.use_winograd63_convolution = o.use_winograd43_convolution = False
    if net.load_param(folder + "/m.ncnn.param") or net.load_model(folder + "/m.ncnn.bin"):
        raise RuntimeError("ncnn cannot load what pnnx made: a layer that it does not have")
    usage = open(folder + "/m_ncnn.py").read()                   # which axis pnnx took for the batch
    batch = dict(re.findall(r"Mat\((in\d+)\.numpy\(\), batch_index=(\d+)\)", usage))
    batch.update(re.findall(r"(out\d+)\.numpy\(batch_index=(\d+)\)", usage))
    mats = {}
    for k, x in enumerate(job.arrays):
        x = x.astype(np.int32) if x.dtype == np.int64 else x
        name = "in%d" % k
        mats[name] = nc.Mat(x, batch_index=int(batch[name])).clone() if name in batch else nc.Mat(x).clone()
    outs = ["out%d" % k for k in range(len(job.outputs))]

    def call():
        with net.create_extractor() as ex:
            for name, m in mats.items():
                ex.input(name, m)
            found = [ex.extract(name) for name in outs]
        if any(code for code, _ in found):
            raise RuntimeError("ncnn could not compute an output")
        return [m for _, m in found]

    def arrays(mats_out):
        return [m.numpy(batch_index=int(batch[n])) if n in batch else np.array(m) for n, m in zip(outs, mats_out)]
    return nc.__version__, call, arrays


def mnn_convert(job, folder):
    import _tools                                                # the converter itself; MNN.tools wraps it in a logger that calls home
    path = os.path.join(folder, "m.mnn")
    _tools.mnnconvert(["MNNConvert", "-f", "ONNX", "--modelFile", job.model, "--MNNModel", path, "--bizCode", "lathe"])
    if not os.path.exists(path):
        raise RuntimeError("MNNConvert made nothing of it")


def mnn(job):
    import numpy as np
    import MNN
    import MNN.expr as expr
    import MNN.nn as nn
    folder = converted(job, "mnn", lambda to: mnn_convert(job, to))
    manager = nn.create_runtime_manager(({"numThread": job.threads, "precision": "high", "backend": "CPU"},))
    if job.exact:
        manager.set_hint(3, 1)                                   # Winograd of small tiles only
    m = nn.load_module_from_file(folder + "/m.mnn", job.inputs, job.outputs, runtime_manager=manager)
    feed = []
    for x in job.arrays:
        x = x.astype(np.int32) if x.dtype in (np.int64, np.bool_) else x
        v = expr.placeholder(list(x.shape), expr.NCHW, {"f": expr.float, "i": expr.int, "u": expr.uint8}[x.dtype.kind])
        v.write(np.ascontiguousarray(x))
        feed.append(v)

    def call():
        out = m.forward(feed)
        return [v.read() for v in (out if isinstance(out, (list, tuple)) else [out])]
    return MNN.version(), call, list


peers = {"onnxruntime": onnxruntime, "openvino": openvino, "torch": torch, "ncnn": ncnn, "mnn": mnn}
packages = {"onnxruntime": "onnxruntime", "openvino": "openvino", "torch": "torch numpy", "ncnn": "ncnn pnnx numpy", "mnn": "MNN"}


class Job:
    def __init__(self, setting, model, folder, cache, threads):
        import numpy as np
        self.exact, self.model, self.dir, self.cache, self.threads = setting == "exact", model, folder, cache, int(threads)
        self.inputs, self.outputs = lines(folder + "/inputs"), lines(folder + "/outputs")
        self.arrays = [np.load("%s/in_%d.npy" % (folder, k)) for k in range(len(self.inputs))]


def one_line(e):
    text = next((x.strip() for x in str(e).splitlines() if x.strip()), "no message")
    return (text if isinstance(e, LookupError) else "%s: %s" % (type(e).__name__, text))[:300]


def sample(call, n):
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(n):
        call()
    return 1e3 * (time.perf_counter() - wall) / n, 1e3 * (time.process_time() - cpu) / n


def calls_per_sample(call):
    for _ in range(2):
        fastest = sample(call, 1)[0] / 1e3
    if fastest < SAMPLE:
        fastest = sample(call, max(1, int(SAMPLE / fastest)))[0] / 1e3
    return max(1, int(SAMPLE / fastest))


def main():
    say = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    peer, setting, model, folder, cache, threads = sys.argv[1:7]
    os.environ["OMP_NUM_THREADS"] = threads
    try:
        job = Job(setting, model, folder, cache, threads)
        version, call, arrays = peers[peer](job)
        import numpy as np
        to = "%s/%s.%s" % (folder, peer, setting)
        os.makedirs(to, exist_ok=True)
        for k, x in enumerate(arrays(call())):
            np.save("%s/out_%d.npy" % (to, k), np.ascontiguousarray(x))
        n = calls_per_sample(call)
    except ModuleNotFoundError as e:
        ours = (e.name or "").split(".")[0] in ("numpy", "onnxruntime", "openvino", "torch", "ncnn", "pnnx", "MNN", "_tools")
        say.write("missing %s\n" % packages[peer] if ours else "failed %s\n" % one_line(e))
        return
    except Exception as e:
        say.write("failed %s\n" % one_line(e))
        return
    say.write("ready %s\n" % version)
    for line in sys.stdin:
        seconds, times = float(line.split()[1]), []
        end = time.perf_counter() + seconds
        while len(times) < 2 or time.perf_counter() < end:
            times.append("%.6g %.6g" % sample(call, n))
        say.write("times %s\n" % " ".join(times))


if __name__ == "__main__":
    main()
