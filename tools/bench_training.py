#!/usr/bin/env python3
"""Times a training step of lathe beside PyTorch's, JAX's and inductor's, and weighs the processes.

usage: bench_training.py --python PYTHON [--peers torch,jax,inductor] [--tasks mlp,gpt…] [--lathe build/lathe] [--threads 1]
                         [--rounds 5] [--seconds 1] [--steps 20] [--peer-tasks ../shared/bench/bench_train.py] [--json FILE]

The networks are tools/train_tasks/NAME.lathe; those of the peers are in bench_train.py, which PYTHON (with torch, jax and
optax) imports. A round runs each step in turn for `--seconds`: lathe's as `lathe bench` on random data, a peer's in a process
that waits between rounds. A cell is the median over the rounds of the median time of a step: CPU time on one thread, since
other jobs may share the core, elapsed time on more. Memory is the peak resident size of a whole process of `--steps` steps:
lathe's trainer as `lathe build --train` makes it, reading .npy files, and the peer's process; the table has the leanest
peer's. A peer without the task (JAX: dcgan) shows as "-". Needs numpy only, beside that PYTHON."""
import argparse, json, math, os, resource, shutil, subprocess, sys, tempfile
import numpy as np

TASKS = ["mlp", "lenet", "resnet18c", "charlstm", "gpt", "dcgan"]
HERE = os.path.dirname(os.path.abspath(__file__))

# The other side, run by PYTHON: one line "seconds steps" a request, one line of JSON an answer.
PEER = """
import sys, time, json, resource, warnings
warnings.filterwarnings("ignore")
sys.path.insert(0, sys.argv[1])
import bench_train
peer, task, threads = sys.argv[2], sys.argv[3], int(sys.argv[4])
if peer == "jax":
    step = bench_train.jax_task(task)
else:
    import torch
    torch.set_num_threads(threads)
    step = bench_train.torch_task(task, peer == "inductor")
clock = time.process_time if threads == 1 else time.perf_counter
step()
for line in sys.stdin:
    seconds, steps = map(float, line.split())
    ms, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(ms) < steps:
        t = clock()
        step()
        ms.append(1e3 * (clock() - t))
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(dict(ms=sorted(ms)[len(ms) // 2], rss=rss)), flush=True)
"""

class Peer:
    def __init__(self, a, name, task):
        env = dict(os.environ, OMP_NUM_THREADS=str(a.threads), JAX_PLATFORMS="cpu")
        if a.threads == 1:                                      # JAX: no pool
            env["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        folder = os.path.dirname(os.path.abspath(a.peer_tasks))
        self.p = subprocess.Popen([a.python, "-c", PEER, folder, name, task, str(a.threads)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
        self.ms, self.rss = [], 0
    def ask(self, seconds, steps):                              # None: it has no such task, or died
        try:
            self.p.stdin.write(f"{seconds} {steps}\n")
            self.p.stdin.flush()
            return json.loads(self.p.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            return None
    def close(self):
        try:
            self.p.stdin.close()
        except BrokenPipeError:
            pass
        self.p.wait()

def run(cmd, **kw):
    r = subprocess.run(cmd, capture_output=True, text=True, **kw)
    if r.returncode:
        sys.exit(f"{' '.join(cmd)}\n{r.stdout}{r.stderr}")
    return r.stdout

def lathe_ms(a, net):
    threads = ["--threads", str(a.threads)] if a.threads > 1 else []
    out = run([a.lathe, "bench", net, "--json", "--seconds", str(a.seconds), *threads])
    return sum(json.loads(line)["ms" if threads else "cpu_ms"] for line in out.splitlines())     # all steps of the network

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
    ours, peers = [], {name: Peer(a, name, task) for name in a.peers.split(",")}
    for name, peer in list(peers.items()):
        first = peer.ask(0, a.steps)
        if first:
            peer.rss = first["rss"]
        else:
            peers.pop(name).close()
    for _ in range(a.rounds):
        ours.append(lathe_ms(a, net))
        for peer in peers.values():
            peer.ms.append(peer.ask(a.seconds, 3)["ms"])
    for peer in peers.values():
        peer.close()
    return dict(task=task, lathe_ms=float(np.median(ours)), lathe_rss=lathe_rss(a, net, task), rounds=a.rounds, lathe_all=ours,
                peers={name: dict(ms=float(np.median(p.ms)), rss=p.rss, all=p.ms) for name, p in peers.items()})

def main():
    p = argparse.ArgumentParser()
    p.add_argument("--python", "--torch", required=True, help="a python with torch, jax and optax")
    p.add_argument("--peers", default="torch,jax,inductor", help="of torch, jax, inductor")
    p.add_argument("--tasks", default=",".join(TASKS))
    p.add_argument("--lathe", default="build/lathe")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--peer-tasks", default=f"{HERE}/../../shared/bench/bench_train.py", metavar="FILE")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=1)
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--json", metavar="FILE")
    a = p.parse_args()
    if not os.path.exists(a.peer_tasks):
        sys.exit(f"{a.peer_tasks}: not there; --peer-tasks names bench_train.py")
    rows, names = [], a.peers.split(",")
    print("| task | lathe ms | " + " | ".join(f"{n} ms" for n in names) + " | best / lathe | lathe MB | leanest MB | lathe / leanest |")
    print("|---" * (len(names) + 6) + "|", flush=True)
    for task in a.tasks.split(","):
        r = measure(a, task)
        if not r["peers"]:
            sys.exit(f"{task}: no peer ran it; try {a.python} {a.peer_tasks} --peer {names[0]} --task {task}")
        rows.append(r)
        r["ratio"] = min(p["ms"] for p in r["peers"].values()) / r["lathe_ms"]
        lean = min(p["rss"] for p in r["peers"].values())
        cells = [f"{r['peers'][n]['ms']:.3f}" if n in r["peers"] else "-" for n in names]
        print(f"| {task} | {r['lathe_ms']:.3f} | {' | '.join(cells)} | {r['ratio']:.2f} | {r['lathe_rss'] / 1e6:.1f} | "
              f"{lean / 1e6:.0f} | {r['lathe_rss'] / lean:.3f} |", flush=True)
    mean = math.exp(sum(math.log(r["ratio"]) for r in rows) / len(rows))
    print(f"geometric mean of best / lathe: {mean:.2f}")
    if a.json:
        with open(a.json, "w") as f:
            json.dump(dict(threads=a.threads, tasks=rows, geometric_mean=mean), f, indent=1)

if __name__ == "__main__":
    main()
