#!/usr/bin/env python3
"""Times a training step of lathe beside PyTorch's eager one on one core, and weighs both processes.

usage: bench_training.py --torch PYTHON [--tasks mlp,gpt…] [--lathe build/lathe] [--rounds 5] [--seconds 1] [--steps 20]
                         [--peer torch] [--peers ../shared/bench/bench_train.py] [--json FILE]

The networks are tools/train_tasks/NAME.lathe; PyTorch's are those of bench_train.py, which PYTHON (with torch) imports.
A round runs each step in turn for `--seconds`: lathe's as `lathe bench` on random data, PyTorch's in a process that
waits between rounds. A cell is the median over the rounds of the median CPU time of a step: CPU time, since other jobs
may share the core. Memory is the peak resident size of a whole process of `--steps` steps: lathe's trainer as
`lathe build --train` makes it, reading .npy files, and PyTorch's process. Needs numpy only, beside that PYTHON."""
import argparse, json, math, os, resource, shutil, subprocess, sys, tempfile
import numpy as np

TASKS = ["mlp", "lenet", "resnet18c", "charlstm", "gpt", "dcgan"]
HERE = os.path.dirname(os.path.abspath(__file__))

# The other side, run by PYTHON: one line "seconds" a request, one line of JSON an answer.
PEER = """
import sys, time, json, resource, warnings
warnings.filterwarnings("ignore")
sys.path.insert(0, sys.argv[1])
import torch, bench_train
torch.set_num_threads(1)
step = bench_train.torch_task(sys.argv[2], sys.argv[3] == "inductor")
step()
for line in sys.stdin:
    seconds, steps = map(float, line.split())
    cpu, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(cpu) < steps:
        t = time.process_time()
        step()
        cpu.append(1e3 * (time.process_time() - t))
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(dict(cpu=sorted(cpu)[len(cpu) // 2], rss=rss)), flush=True)
"""

class Peer:
    def __init__(self, a, task):
        env = dict(os.environ, OMP_NUM_THREADS="1")
        self.p = subprocess.Popen([a.torch, "-c", PEER, os.path.dirname(os.path.abspath(a.peers)), task, a.peer],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
    def ask(self, seconds, steps):
        self.p.stdin.write(f"{seconds} {steps}\n")
        self.p.stdin.flush()
        return json.loads(self.p.stdout.readline())
    def close(self):
        self.p.stdin.close()
        self.p.wait()

def run(cmd, **kw):
    r = subprocess.run(cmd, capture_output=True, text=True, **kw)
    if r.returncode:
        sys.exit(f"{' '.join(cmd)}\n{r.stdout}{r.stderr}")
    return r.stdout

def lathe_ms(a, net):
    out = run([a.lathe, "bench", net, "--json", "--seconds", str(a.seconds)])
    return sum(json.loads(line)["cpu_ms"] for line in out.splitlines())     # every step of the network, one after the other

def data_files(folder, task, rows):
    rng = np.random.default_rng(1)
    images = {"mlp": (784,), "lenet": (1, 28, 28), "resnet18c": (3, 32, 32), "dcgan": (1, 28, 28)}
    tokens = {"charlstm": 65, "gpt": 129}
    if task in images:
        np.save(f"{folder}/x.npy", rng.standard_normal((rows, *images[task]), dtype=np.float32))
        np.save(f"{folder}/y.npy", rng.integers(0, 10, rows, dtype=np.int32))
    else:
        np.save(f"{folder}/t.npy", rng.integers(0, 65, (rows, tokens[task]), dtype=np.int32))

# In a process of its own: ru_maxrss of children is the largest of all of them.
CHILD = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); " \
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)"

def lathe_rss(a, net, task):
    folder = tempfile.mkdtemp()
    try:
        data_files(folder, task, 512)
        run([a.lathe, "build", net, "--train", "-o", f"{folder}/trainer"])
        cmd = [f"{folder}/trainer", "--data-dir", folder, "--out", f"{folder}/run", "--steps", str(a.steps), "--quiet"]
        return int(run([sys.executable, "-c", CHILD, *cmd]).split()[-1])
    finally:
        shutil.rmtree(folder)

def measure(a, task):
    net = f"{HERE}/train_tasks/{task}.lathe"
    peer, ours, theirs = Peer(a, task), [], []
    rss_peer = peer.ask(0, a.steps)["rss"]
    for _ in range(a.rounds):
        ours.append(lathe_ms(a, net))
        theirs.append(peer.ask(a.seconds, 3)["cpu"])
    peer.close()
    return dict(task=task, lathe_ms=float(np.median(ours)), peer_ms=float(np.median(theirs)), lathe_rss=lathe_rss(a, net, task),
                peer_rss=rss_peer, rounds=a.rounds, lathe_all=ours, peer_all=theirs)

def main():
    p = argparse.ArgumentParser()
    p.add_argument("--torch", required=True, metavar="PYTHON")
    p.add_argument("--tasks", default=",".join(TASKS))
    p.add_argument("--lathe", default="build/lathe")
    p.add_argument("--peer", default="torch", choices=["torch", "inductor"])
    p.add_argument("--peers", default=f"{HERE}/../../shared/bench/bench_train.py")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=1)
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--json", metavar="FILE")
    a = p.parse_args()
    if not os.path.exists(a.peers):
        sys.exit(f"{a.peers}: not there; --peers names bench_train.py")
    rows = []
    print(f"| task | lathe ms | {a.peer} ms | {a.peer} / lathe | lathe MB | {a.peer} MB | lathe / {a.peer} |\n|---|---|---|---|---|---|---|")
    for task in a.tasks.split(","):
        r = measure(a, task)
        rows.append(r)
        print(f"| {task} | {r['lathe_ms']:.3f} | {r['peer_ms']:.3f} | {r['peer_ms'] / r['lathe_ms']:.2f} | {r['lathe_rss'] / 1e6:.1f} | "
              f"{r['peer_rss'] / 1e6:.0f} | {r['lathe_rss'] / r['peer_rss']:.3f} |", flush=True)
    mean = math.exp(sum(math.log(r["peer_ms"] / r["lathe_ms"]) for r in rows) / len(rows))
    print(f"geometric mean of {a.peer} / lathe: {mean:.2f}")
    if a.json:
        with open(a.json, "w") as f:
            json.dump(dict(tasks=rows, geometric_mean=mean), f, indent=1)

if __name__ == "__main__":
    main()
