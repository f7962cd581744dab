#!/usr/bin/env python3
"""Train the example network and write every file of this folder.

    python make_digits.py MNIST_DIR [-o DIR]

MNIST_DIR holds t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz. The network learns from
8,000 of these 10,000 images; the other 2,000 give the accuracy and the sample images, and take
no part in training (nor in choosing when to stop: the number of epochs is fixed).

Guaranteed: the same bytes on every run with the same machine type and library versions (one
thread, fixed seeds, no dates in the files). Another CPU or another torch sums in another order,
and ends with slightly different weights.

Needs torch, numpy, onnx, onnxruntime and pillow. These are for rebuilding the example only;
lathe itself needs none of them.
"""
import argparse
import gzip
import pathlib
import sys
import zlib

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import nn
from torch.nn import functional as F

SEED = 1
EPOCHS = 20
BATCH = 64
PEAK_RATE = 5e-3
MAX_SHIFT = 2           # pixels; every training image moves by up to this much each epoch
NEEDED_ACCURACY = 0.98  # below this nothing is written: a worse example would go unnoticed

CLEAR = 0.999           # the probability a sample image gets at least, so that no rounding flips it

NAMES = "zero one two three four five six seven eight nine".split()
NPY_DIGIT = 7           # the sample also stored as .npy
TEST_SET_DIGITS = [7, 3]  # the samples behind data/set_0 and data/set_1


# ---- data -------------------------------------------------------------------------------------

def read_idx(path, header):
    """The bytes of a gzipped IDX file, whose big-endian header words must equal `header`."""
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as problem:
        sys.exit(f"{path}: cannot read it: {problem}")
    size = 4 * len(header)
    found = np.frombuffer(raw[:size], ">u4").tolist()
    if found != header or len(raw) - size != np.prod(header[1:]):
        sys.exit(f"{path}: not the expected MNIST test file (header {found}, wanted {header})")
    return np.frombuffer(raw, np.uint8, offset=size).reshape(header[1:])


def held_out_mask():
    """True for the 2,000 images kept from training.

    MNIST took these images from two NIST collections, 5,000 from each: one written by office
    workers, one by school pupils, less tidily. So: the end of each half. Each in one piece, since
    neighbours can be by one hand, and a hand seen in training would flatter the result.
    """
    mask = np.zeros(10000, bool)
    mask[4000:5000] = True
    mask[9000:10000] = True
    return mask


def as_input(pixels):
    """u8[N, 28, 28] -> f32[N, 1, 28, 28] in 0..1, what the network takes."""
    return pixels[:, None].astype(np.float32) / np.float32(255)


# ---- network ----------------------------------------------------------------------------------

class Digits(nn.Module):
    """Two rounds of convolution, normalisation, relu and pooling, then one linear layer."""

    def __init__(self):
        super().__init__()
        # No bias: the normalisation that follows would cancel it.
        self.conv1 = nn.Conv2d(1, 8, 5, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 5, padding=2, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.linear = nn.Linear(16 * 7 * 7, 10)

    def forward(self, image):                                         # [N, 1, 28, 28]
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(image))), 2)      # [N, 8, 14, 14]
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)          # [N, 16, 7, 7]
        return self.linear(x.flatten(1))                              # [N, 10]


def shifted(images, random):
    """Each image moved by its own random whole number of pixels, zeros moving in."""
    padded = F.pad(images, [MAX_SHIFT] * 4)
    down, right = torch.randint(0, 2 * MAX_SHIFT + 1, (2, len(images)), generator=random)
    rows = (down[:, None] + torch.arange(28))[:, :, None]             # [N, 28, 1]
    columns = (right[:, None] + torch.arange(28))[:, None, :]         # [N, 1, 28]
    return padded[torch.arange(len(images))[:, None, None], 0, rows, columns][:, None]


def train(images, labels):
    torch.set_num_threads(1)  # more threads would make the order of sums a matter of luck
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    random = torch.Generator().manual_seed(SEED)

    net = Digits()
    adam = torch.optim.Adam(net.parameters())
    steps = len(images) // BATCH
    rate = torch.optim.lr_scheduler.OneCycleLR(adam, PEAK_RATE, total_steps=EPOCHS * steps)
    for epoch in range(EPOCHS):
        order = torch.randperm(len(images), generator=random)
        total = 0.0
        for batch in order[:steps * BATCH].split(BATCH):
            loss = F.cross_entropy(net(shifted(images[batch], random)), labels[batch])
            adam.zero_grad()
            loss.backward()
            adam.step()
            rate.step()
            total += loss.item()
        print(f"epoch {epoch + 1:2d} of {EPOCHS}: loss {total / steps:.4f}", flush=True)
    return net.eval()


# ---- ONNX -------------------------------------------------------------------------------------

def onnx_model(net, batch):
    """The trained network as an ONNX model; `batch` is 1, or a name for a free dimension.

    Built node by node rather than by torch's exporter, which would fold the normalisation away:
    here it stays, so that the example shows lathe folding it.
    """
    weights = {name: tensor.numpy() for name, tensor in net.state_dict().items()
               if not name.endswith("num_batches_tracked")}

    def round_of_layers(i, source):
        norm = [f"bn{i}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        return [
            helper.make_node("Conv", [source, f"conv{i}.weight"], [f"conv{i}_out"],
                             name=f"conv{i}", kernel_shape=[5, 5], pads=[2, 2, 2, 2]),
            helper.make_node("BatchNormalization", [f"conv{i}_out", *norm], [f"bn{i}_out"],
                             name=f"bn{i}", epsilon=getattr(net, f"bn{i}").eps),
            helper.make_node("Relu", [f"bn{i}_out"], [f"relu{i}_out"], name=f"relu{i}"),
            helper.make_node("MaxPool", [f"relu{i}_out"], [f"pool{i}_out"], name=f"pool{i}",
                             kernel_shape=[2, 2], strides=[2, 2]),
        ]

    graph = helper.make_graph(
        [*round_of_layers(1, "image"),
         *round_of_layers(2, "pool1_out"),
         helper.make_node("Flatten", ["pool2_out"], ["flatten_out"], name="flatten"),
         helper.make_node("Gemm", ["flatten_out", "linear.weight", "linear.bias"], ["logits"],
                          name="linear", transB=1)],
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 10])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()])
    model = helper.make_model(graph, producer_name="make_digits.py", ir_version=8,
                              opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model, full_check=True)
    return model


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # The graph as written, no fusion: the stored outputs are a reference.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options,
                                        providers=["CPUExecutionProvider"])


def run(runner, image):
    return runner.run(["logits"], {"image": image})[0]


# ---- files ------------------------------------------------------------------------------------

def write_test_set(folder, image, logits):
    folder.mkdir(parents=True, exist_ok=True)
    for file, array, name in (("input_0.pb", image, "image"), ("output_0.pb", logits, "logits")):
        (folder / file).write_bytes(numpy_helper.from_array(array, name).SerializeToString())


def write_all(folder, net, pixels, labels):
    """Check the network on the held-out `pixels` and `labels`, then write the folder's files."""
    model, model_n = onnx_model(net, 1), onnx_model(net, "N")
    one, many = session(model), session(model_n)

    images = as_input(pixels)
    logits = run(many, images)                                        # [2000, 10]
    with torch.no_grad():
        error = np.abs(logits - net(torch.from_numpy(images)).numpy()).max()
    error_one = max(np.abs(run(one, images[i:i + 1]) - logits[i]).max()
                    for i in range(len(images)))
    right = logits.argmax(1) == labels
    print(f"held out: {right.sum()} of {len(right)} right, {right.mean():.2%}; "
          f"halves {right[:1000].mean():.1%} and {right[1000:].mean():.1%}")
    print(f"largest difference in a logit: {error:.1e} torch and onnxruntime, "
          f"{error_one:.1e} batch 1 and batch {len(images)}")
    if right.mean() < NEEDED_ACCURACY:
        sys.exit(f"accuracy below {NEEDED_ACCURACY:.0%}: nothing written")
    if max(error, error_one) > 1e-4:
        sys.exit("the exported models do not compute what was trained: nothing written")

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "digits.onnx").write_bytes(model.SerializeToString(deterministic=True))
    (folder / "digits_n.onnx").write_bytes(model_n.SerializeToString(deterministic=True))
    # The first held-out image of each digit that the network is right and sure about.
    probability = torch.from_numpy(logits).softmax(1).numpy().max(1)
    good = right & (probability >= CLEAR)
    sample = [np.flatnonzero(good & (labels == digit))[0] for digit in range(10)]
    for name, i in zip(NAMES, sample):
        Image.fromarray(pixels[i]).save(folder / f"{name}.png")
    i = sample[NPY_DIGIT]
    np.save(folder / f"{NAMES[NPY_DIGIT]}.npy", images[i:i + 1])
    for number, digit in enumerate(TEST_SET_DIGITS):
        image = images[sample[digit]][None]
        write_test_set(folder / "data" / f"set_{number}", image, run(one, image))


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description="Train the digits example and write its files.")
    parser.add_argument("mnist", type=pathlib.Path, help="folder with the t10k-*.gz files")
    parser.add_argument("-o", dest="folder", type=pathlib.Path, default=here,
                        help="where to write (default: beside this script)")
    arguments = parser.parse_args()

    pixels = read_idx(arguments.mnist / "t10k-images-idx3-ubyte.gz", [0x803, 10000, 28, 28])
    labels = read_idx(arguments.mnist / "t10k-labels-idx1-ubyte.gz", [0x801, 10000])
    held_out = held_out_mask()
    net = train(torch.from_numpy(as_input(pixels[~held_out])),
                torch.from_numpy(labels[~held_out].astype(np.int64)))
    write_all(arguments.folder, net, pixels[held_out], labels[held_out])


if __name__ == "__main__":
    main()
