#!/usr/bin/env python3
"""Writes NAME.pt2 beside NAME.onnx, which `lathe bench --against torch` then measures: PyTorch reads no ONNX.

usage: torch_programs.py EXPORT_MODELS.py DIR [NAME…]

EXPORT_MODELS.py is what the .onnx files were exported with: it has MODELS and build(name) -> (module, inputs), such as
../shared/bench/export_models.py. Needs torch."""
import importlib.util
import os
import sys

import torch


def main():
    path, folder, names = sys.argv[1], sys.argv[2], sys.argv[3:]
    spec = importlib.util.spec_from_file_location("models", path)
    models = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(models)
    for name in names or models.MODELS:
        if not os.path.exists(os.path.join(folder, name + ".onnx")):
            continue
        module, inputs = models.build(name)
        with torch.no_grad():
            program = torch.export.export(module, tuple(inputs))
        torch.export.save(program, os.path.join(folder, name + ".pt2"))
        print(name + ".pt2", flush=True)


if __name__ == "__main__":
    main()
