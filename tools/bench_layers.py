#!/usr/bin/env python3
"""Warm single layers against the peak. A convolution stands between a small one and a maximum over all pixels, so that it
reads and writes what it would in the middle of a network. `lathe bench --layers` times the kernels; the best of some rounds
counts, rounds of all layers interleaved.

  tools/bench_layers.py [--lathe build/lathe] [--rounds 5] [--seconds 0.2] [--target NAME] [WORD…]

WORD: only layers whose name has it."""
import argparse
import json
import os
import subprocess
import tempfile

LAYERS = []


def gemm(m, k, n):
    LAYERS.append((f"gemm {m}x{k}x{n}", f"x f32[{k},{n}] ->", f"""module layer {{
  input %x : f32[{m},{k}]
  weight %w : f32[{k},{n}] = random 1
  %y = matmul(%x, %w)
  output %y
}}
"""))


def conv(what, size, channels, out, kernel=1, stride=1, group=1):
    pad = kernel // 2
    first = channels < 8
    weight = f"f32[{out},{channels // group},{kernel},{kernel}]"
    LAYERS.append((f"{what} {size}² {channels}->{out}", f"x {weight} x", f"""module layer {{
  input %x : f32[1,{channels if first else 4},{size},{size}]
  weight %w : {weight} = random 1
  weight %b : f32[{out}] = random 2
  weight %v : f32[{channels},4,1,1] = random 3
  {"" if first else "%i = conv(%x, %v) {strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1}"}
  %c = conv({"%x" if first else "%i"}, %w, %b) {{strides=[{stride},{stride}], pads=[{pad},{pad},{pad},{pad}], dilations=[1,1], group={group}}}
  %y = relu(%c)
  %m = reduce_max(%y) {{axes=[2,3], keepdims=0}}
  output %m
}}
"""))


gemm(512, 512, 512)
gemm(128, 384, 384)
gemm(128, 384, 1536)
gemm(128, 1536, 384)
gemm(1, 1024, 1024)
conv("1x1", 56, 64, 256)
conv("1x1", 56, 64, 64)
conv("1x1", 28, 512, 128)
conv("1x1", 14, 1024, 256)
conv("1x1", 14, 256, 1024)
conv("1x1", 7, 2048, 512)
conv("1x1/2", 28, 512, 1024, stride=2)
conv("3x3", 56, 64, 64, 3)
conv("3x3", 28, 128, 128, 3)
conv("3x3", 14, 256, 256, 3)
conv("3x3", 7, 512, 512, 3)
conv("3x3/2", 28, 256, 256, 3, 2)
conv("3x3/2", 14, 512, 512, 3, 2)
conv("stem 7x7/2", 224, 3, 64, 7, 2)
conv("stem 3x3/2", 224, 3, 32, 3, 2)
conv("3x3 few out", 56, 64, 3, 3)
conv("3x3 few out", 224, 32, 9, 3)
conv("1x1 odd out", 20, 64, 13)
conv("1x1 odd out", 40, 32, 103)
conv("1x1", 56, 64, 1)
conv("dw", 112, 32, 32, 3, 1, 32)
conv("dw", 56, 144, 144, 3, 1, 144)
conv("dw", 14, 576, 576, 3, 1, 576)
conv("dw", 7, 960, 960, 3, 1, 960)
conv("dw/2", 56, 144, 144, 3, 2, 144)
conv("dw 5x5", 14, 240, 240, 5, 1, 240)


def measure(options, path, shape):
    command = [options.lathe, "bench", path, "--layers", "--json", "--seconds", str(options.seconds)]
    if options.target:
        command += ["--target", options.target]
    run = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    for x in run["layers"]:
        if shape in x["shapes"]:
            return x["ms"], x["gflops"], run["peak_gflops"]
    raise SystemExit(f"no kernel with {shape} in {path}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("words", nargs="*")
    p.add_argument("--lathe", default="build/lathe")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=0.2)
    p.add_argument("--target")
    o = p.parse_args()
    layers = [x for x in LAYERS if not o.words or any(w in x[0] for w in o.words)]
    best, peak = {}, 0
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(o.rounds):
            for i, (name, shape, text) in enumerate(layers):
                path = os.path.join(folder, f"layer{i}.ir")
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)
                ms, gflops, top = measure(o, path, shape)
                peak = max(peak, top)
                if name not in best or ms < best[name][0]:
                    best[name] = (ms, gflops)
    print("      ms  GFLOP/s  peak  layer")
    for name, (ms, gflops) in best.items():
        print(f"{ms:8.4f}  {gflops:7.1f}  {100 * gflops / peak:3.0f}%  {name}")
    print(f"peak {peak:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
