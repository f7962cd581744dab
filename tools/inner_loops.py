#!/usr/bin/env python3
"""Where emitted C would spend its time on a machine that is not here: the innermost loops of a model's kernels, as a
compiler makes them, timed by llvm-mca's model of a core (which knows no caches).

  tools/inner_loops.py [--target x86-64-v4] [--cc gcc] [--march FLAGS] [--cpu znver4] [--top 25] MODEL.onnx… | FILE.c…

A line a loop, the one that loses most first: its share of all predicted cycles, cycles and multiply-adds of vectors an
iteration, the share of them that the core's FMA units could reach, loads and stores of the stack (spills), moves between
registers, other instructions. How often a loop runs is read off the C: the for loops around it and the calls of its
kernel. --show KERNEL prints the assembly of its loops.

llvm-mca is taken from $LLVM_MCA, or is the newest there is (19 knows znver4; of 14 icelake-server is the best)."""
import argparse
import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

TARGETS = {  # flags of the compiler beside lathe's own, cores, instructions
    "x86-64-v4": (["-march=x86-64-v4", "-mprefer-vector-width=512"], "znver4", "x86_64"),
    "x86-64-v3": (["-march=x86-64-v3"], "znver3", "x86_64"),
    "x86-64": (["-march=x86-64"], "znver3", "x86_64"),
    "aarch64": ([], "neoverse-n1", "aarch64"),
}
FMA = re.compile(r"v?f(n?madd|n?msub)\d*[ps]|vfn?m(add|sub)\d+[ps]s|fml[as]\b|fmadd\b")
MULTIPLY = re.compile(r"mulps\b|mulss\b|fmul\b")
X86_MOVE = re.compile(r"v?mov[au]p[sd]\s+%[xyz]mm\d+, *%[xyz]mm\d+$|vmovdqa\d*\s+%[xyz]mm\d+, *%[xyz]mm\d+$")
ARM_MOVE = re.compile(r"mov\s+v\d+\.16b, v\d+\.16b|fmov\s+s\d+, s\d+$")
STACK = {"x86_64": re.compile(r"\(%(rsp|rbp)\)"), "aarch64": re.compile(r"\[sp\b|\[x29\b")}
BRANCH = re.compile(r"^\s*(j[a-z]+|b\.?[a-z]{2}|b|cbn?z|tbn?z)\s+(?:\S+, *)*(\.L\w+)\s*$")

Loop = collections.namedtuple("Loop", "kernel lines code")


def mca_path():
    names = [os.environ.get("LLVM_MCA", "")] + [f"llvm-mca-{n}" for n in range(30, 13, -1)] + ["llvm-mca"]
    return next((p for p in map(shutil.which, names) if p), None) or sys.exit("no llvm-mca: apt-get install llvm")


# ---- the C: how often its loops run ----

def count_of(text, names):
    """A bound as a number; variables stand for what they are in the first iteration, those that nobody knows for 0."""
    text = re.sub(r"\b[a-z_]\w*\b", lambda m: m[0] if m[0] in ("min_i64", "max_i64") else str(names.get(m[0], 0)), text)
    try:
        if "[" in text:
            return 0
        return int(eval(text.replace("/", "//"), {"__builtins__": {}, "min_i64": min, "max_i64": max}))
    except (SyntaxError, NameError, TypeError, ZeroDivisionError):
        return 0


def loops_of(source):
    """line -> (line of the innermost for around it, how often its body runs); kernels: name -> calls."""
    at, stack, names, kernel, calls = {}, [], {}, None, collections.Counter()
    for number, line in enumerate(source, 1):
        start = re.match(r"(?:KERNEL|static|INLINE)? ?void (\w+)\(", line)
        if start and not line.rstrip().endswith(";"):
            kernel, stack, names = start[1], [], {}
        depth = len(line) - len(line.lstrip())
        call = re.match(r"\s+(k\d+_\w+)\(", line)
        if call:
            calls[call[1]] += 1
        if not line.strip() or line.strip() in "}":
            continue
        while stack and stack[-1][0] >= depth:
            stack.pop()
        known = re.match(r"\s*int64_t (\w+) = (.*);", line)
        if known:
            names[known[1]] = count_of(known[2], names)
        loop = re.match(r"\s*for \(int64_t (\w+) = (.*); \w+ < (.*); \w+(?:\+\+| \+= (\d+))\)", line)
        if loop:
            low, high, step = count_of(loop[2], names), count_of(loop[3], names), int(loop[4] or 1)
            names[loop[1]] = low
            times = max(-(-(high - low) // step), 1)
            stack.append((depth, number, times * (stack[-1][2] if stack else 1)))
        if stack:
            at[number] = stack[-1][1:]
    return at, calls


# ---- the assembly: its innermost loops ----

def loops_in(assembly, isa):
    """Stretches from a label to a branch back to it that hold no other such stretch."""
    function, found = None, []
    body, labels, lines, backs = [], {}, [], []

    def close():
        for low, high in backs:
            if not any(low <= a and b <= high and (a, b) != (low, high) for a, b in backs):
                found.append(Loop(function, [n for n in lines[low:high + 1] if n], body[low:high + 1]))

    line = 0
    for text in assembly.splitlines():
        text = re.sub(r"\s*#.*" if isa == "x86_64" else r"\s*//.*", "", text).rstrip()
        label = re.match(r"([.\w]+):", text)
        if label and not label[1].startswith("."):
            close()
            function, body, labels, lines, backs = label[1], [], {}, [], []
        elif label:
            labels[label[1]] = len(body)
        where = re.match(r"\s+\.loc\s+\d+ (\d+)", text)
        if where:
            line = int(where[1])
        if label or not text.strip() or text.strip().startswith("."):
            continue
        body.append(text.replace("\t", " ").strip())
        lines.append(line)
        branch = BRANCH.match(text.replace("\t", " "))
        if branch and branch[2] in labels:
            backs.append((labels[branch[2]], len(body) - 1))
    close()
    return found


# ---- llvm-mca ----

def predict(codes, isa, cpu):
    """Cycles of an iteration of each piece of code."""
    with tempfile.NamedTemporaryFile("w", suffix=".s") as out:
        for n, code in enumerate(codes):
            text = "\n".join(c for c in code if not BRANCH.match(c) and not re.match(r"(b|j\w+|call|bl|b\.?[a-z]{2}|cbn?z|tbn?z) ", c))
            out.write(f"# LLVM-MCA-BEGIN r{n}\n{text}\n# LLVM-MCA-END\n")
        out.flush()
        command = [mca_path(), f"-mtriple={isa}-linux-gnu", f"-mcpu={cpu}", "-iterations=40", "--json", "-o", "-", out.name]
        ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        sys.exit(ran.stderr[:2000])
    got = json.loads(ran.stdout[ran.stdout.index("{"):])
    regions = {r["Name"]: r["SummaryView"] for r in got["CodeRegions"]}
    return [regions[f"r{n}"]["TotalCycles"] / 40 if f"r{n}" in regions else 0 for n in range(len(codes))]


def unit_cycles(target, isa, cpu):
    """Cycles of one multiply-add of each register class, where many are independent."""
    if isa == "aarch64":
        forms = {"v": "fmla v{0}.4s, v30.4s, v31.4s"}
    else:
        forms = {c: f"vfmadd231ps %{c}mm14, %{c}mm15, %{c}mm{{0}}" for c in ("xyz" if target == "x86-64-v4" else "xy")}
        forms["s"] = "mulps %xmm14, %xmm{0}\naddps %xmm15, %xmm{0}"
    cycles = predict([[f.format(n) for n in range(12)] for f in forms.values()], isa, cpu)
    return {form: c / 12 for form, c in zip(forms, cycles)}


def fma_class(code, isa):
    if isa == "aarch64":
        return "v"
    return next((c for c in "zy" if f"%{c}mm" in code), "x")


# ---- one model ----

def analyse(options, source_path):
    march, cpu, isa = TARGETS[options.target]
    march = options.march.split() if options.march else march
    cpu = options.cpu or cpu
    source = open(source_path).read().split("\n")
    where, calls = loops_of(source)
    command = options.cc.split() + march + ["-O2", "-g1", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-S",
                                            "-Wno-psabi", "-o", "-", source_path]
    assembly = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    loops = [l for l in loops_in(assembly, isa) if re.match(r"k\d+_", l.kernel or "")]
    loops = [l for l in loops if any(n in where for n in l.lines)]
    cycles = predict([l.code for l in loops], isa, cpu)
    unit = unit_cycles(options.target, isa, cpu)
    rows = []
    for loop, each in zip(loops, cycles):
        inner = collections.Counter(where[n] for n in loop.lines if n in where).most_common(1)[0][0]
        fmas = [c for c in loop.code if FMA.match(c)]
        need = sum(unit[fma_class(c, isa)] for c in fmas)
        if not fmas and options.target == "x86-64":
            fmas = [c for c in loop.code if MULTIPLY.match(c)]
            need = len(fmas) * unit["s"]
        inline = sum(source[n - 1].count("acc") > 0 and " * " in source[n - 1] for n in range(inner[0], len(source))
                     if where.get(n, (0,))[0] == inner[0])
        times = inner[1] * max(calls[loop.kernel], 1)
        if inline and len(fmas) > inline:                        # unrolled by the compiler
            times = times * inline / len(fmas)
        stack = sum(bool(STACK[isa].search(c)) for c in loop.code)
        moves = sum(bool(X86_MOVE.match(c) or ARM_MOVE.match(c)) for c in loop.code)
        rows.append({"kernel": loop.kernel, "line": inner[0], "times": times, "cycles": each, "fmas": len(fmas), "need": need,
                     "stack": stack, "moves": moves, "others": len(loop.code) - len(fmas), "code": loop.code})
    return rows


def report(options, name, rows):
    best = {}
    for r in rows:                                              # the main loop of those that a compiler made of one
        key = r["kernel"], r["line"]
        if key not in best or r["cycles"] * (r["fmas"] + 1) > best[key]["cycles"] * (best[key]["fmas"] + 1):
            best[key] = r
    rows = list(best.values())
    total = sum(r["times"] * r["cycles"] for r in rows) or 1
    need = sum(r["times"] * r["need"] for r in rows)
    print(f"{name}: {total / 1e6:.2f} M cycles in {len(rows)} loops, of which multiply-adds need {need / 1e6:.2f} M")
    print("  share   lost  cycles  FMAs  of FMA peak  stack  moves  others  kernel:line")
    for r in sorted(rows, key=lambda r: -r["times"] * (r["cycles"] - r["need"]))[:options.top]:
        weight = r["times"] * r["cycles"]
        peak = f"{100 * r['need'] / r['cycles']:9.0f} %" if r["fmas"] and r["cycles"] else "          -"
        print(f"  {100 * weight / total:4.1f} %  {100 * r['times'] * (r['cycles'] - r['need']) / total:4.1f} %{r['cycles']:8.1f}"
              f"{r['fmas']:6d}  {peak}{r['stack']:7d}{r['moves']:7d}{r['others']:8d}  {r['kernel']}:{r['line']}")
    for r in rows:
        if options.show and r["kernel"] == options.show:
            print(f"\n{r['kernel']}:{r['line']}  {r['cycles']:.1f} cycles\n  " + "\n  ".join(r["code"]))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--lathe", default="build/lathe")
    p.add_argument("--target", default="x86-64-v4", choices=TARGETS)
    p.add_argument("--cc")
    p.add_argument("--march")
    p.add_argument("--cpu")
    p.add_argument("--top", type=int, default=25)
    p.add_argument("--show")
    p.add_argument("models", nargs="+")
    options = p.parse_args()
    options.cc = options.cc or ("aarch64-linux-gnu-gcc" if options.target == "aarch64" else "gcc")
    for model in options.models:
        name = os.path.splitext(os.path.basename(model))[0]
        if model.endswith(".c"):
            report(options, name, analyse(options, model))
            continue
        with tempfile.TemporaryDirectory() as folder:
            command = [options.lathe, "compile", model, "--target", options.target, "--single-file", "-o", folder]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            source = next(f for f in os.listdir(folder) if f.endswith(".c"))
            report(options, name, analyse(options, os.path.join(folder, source)))


main()
