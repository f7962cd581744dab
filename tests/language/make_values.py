#!/usr/bin/env python3
"""Writes tests/unit/language_values.h: what PyTorch computes for the nets of tests/unit/test_language.c, whose
parameters and inputs are formulas (fill), so that no weights need storing. Needs torch; the repository does not:

    python3 tests/language/make_values.py > tests/unit/language_values.h
"""
import math
import torch
import torch.nn.functional as F


def fill(name, *shape):
    n = math.prod(shape)
    values = [math.sin(0.7 * i + len(name)) * 0.3 + (1.0 if name.endswith("running_var") else 0.0) for i in range(n)]
    return torch.tensor(values, dtype=torch.float32).reshape(shape)


def cnn():
    x = fill("x", 2, 3, 9, 9)
    x = F.conv2d(x, fill("cnn.conv1.weight", 4, 3, 3, 3), fill("cnn.conv1.bias", 4), stride=2, padding=1)
    x = F.batch_norm(x, fill("cnn.batch_norm1.running_mean", 4), fill("cnn.batch_norm1.running_var", 4),
                     fill("cnn.batch_norm1.weight", 4), fill("cnn.batch_norm1.bias", 4))
    x = F.max_pool2d(F.relu(x), 2)
    x = F.conv_transpose2d(x, fill("cnn.conv_transpose1.weight", 4, 2, 3, 3), fill("cnn.conv_transpose1.bias", 2), stride=2,
                           padding=1, output_padding=1)
    x = F.group_norm(x, 2, fill("cnn.group_norm1.weight", 2), fill("cnn.group_norm1.bias", 2))
    x = F.interpolate(x, scale_factor=2, mode="nearest")
    x = F.avg_pool2d(F.leaky_relu(x, 0.2), 2, padding=1)
    return F.linear(x.flatten(1), fill("cnn.dense1.weight", 3, 2 * 5 * 5), fill("cnn.dense1.bias", 3))


def gates(name, shape, order, hidden):
    """A recurrent parameter of the language with its gates in PyTorch's order."""
    p = fill(name, 1, *shape)[0]
    parts = p.reshape(len(order), hidden, *p.shape[1:]) if p.dim() > 1 else p.reshape(-1, len(order), hidden)
    if p.dim() > 1:
        return torch.cat([parts[k] for k in order])
    return [torch.cat([b[k] for k in order]) for b in parts]


def recurrent(cls, name, count, order):
    x, h = fill("x", 2, 5, 3), 4
    m = cls(3, h, batch_first=True)
    w, r, b = gates(name + ".weight", (count * h, 3), order, h), gates(name + ".recurrent", (count * h, h), order, h), \
        gates(name + ".bias", (2 * count * h,), order, h)
    m.weight_ih_l0.data, m.weight_hh_l0.data, m.bias_ih_l0.data, m.bias_hh_l0.data = w, r, b[0], b[1]
    return m(x)[0]


def deep_parameters(m, name, h, order, directions, layers, size):
    for k in range(layers):
        suffix, wide = "_%d" % (k + 1) if k else "", size if k == 0 else directions * h
        w = fill("%s.weight%s" % (name, suffix), directions, len(order), h, wide)
        r = fill("%s.recurrent%s" % (name, suffix), directions, len(order), h, h)
        b = fill("%s.bias%s" % (name, suffix), directions, 2, len(order), h)
        for d in range(directions):
            end = "_l%d%s" % (k, "_reverse" if d else "")
            for leaf, p in [("weight_ih", w[d]), ("weight_hh", r[d]), ("bias_ih", b[d, 0]), ("bias_hh", b[d, 1])]:
                getattr(m, leaf + end).data = torch.cat([p[j] for j in order])


def flat_state(s):
    return s.transpose(0, 1).flatten(1)


def deep():
    """Two bidirectional LSTMs of two layers, the second begins where the first ended."""
    x, order = fill("x", 2, 5, 3), [0, 2, 3, 1]
    one = torch.nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True)
    two = torch.nn.LSTM(8, 4, 2, batch_first=True, bidirectional=True)
    deep_parameters(one, "deep.lstm1", 4, order, 2, 2, 3)
    deep_parameters(two, "deep.lstm2", 4, order, 2, 2, 8)
    y, s = one(x)
    z, (h, c) = two(y, s)
    return torch.cat([z.flatten(1), flat_state(h), flat_state(c)], 1)


def learned():
    """A GRU that begins with a parameter, the same for all rows."""
    x = fill("x", 2, 5, 3)
    m = torch.nn.GRU(3, 4, batch_first=True)
    deep_parameters(m, "learned.gru1", 4, [1, 0, 2], 1, 1, 3)
    return flat_state(m(x, fill("learned.start", 1, 4).expand(2, 4)[None].contiguous())[1])


def ctc():
    target = torch.tensor([[1, 2, 3], [2, 1, 0]])
    x = F.log_softmax(fill("x", 2, 7, 4), -1).transpose(0, 1)
    return torch.stack([F.ctc_loss(x, target, torch.tensor(t), torch.tensor([3, 2]), reduction=how)
                        for t, how in [([7, 7], "mean"), ([6, 3], "sum")]])


def text():
    x = F.embedding(torch.tensor([[0, 3, 1, 4], [2, 2, 0, 1]]), fill("text.embedding1.weight", 5, 8))
    x = F.layer_norm(x, (8,), fill("text.layer_norm1.weight", 8), fill("text.layer_norm1.bias", 8))
    m = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    m.in_proj_weight.data, m.in_proj_bias.data = fill("text.attention1.qkv.weight", 24, 8), fill("text.attention1.qkv.bias", 24)
    m.out_proj.weight.data, m.out_proj.bias.data = fill("text.attention1.out.weight", 8, 8), fill("text.attention1.out.bias", 8)
    mask = torch.triu(torch.ones(4, 4, dtype=torch.bool), 1)
    x = x + m(x, x, x, attn_mask=mask, need_weights=False)[0]
    x = F.rms_norm(F.gelu(x), (8,), fill("text.rms_norm1.weight", 8), 1e-5)
    return F.softmax(x, -1)


with torch.no_grad():
    print("/* Made by tests/language/make_values.py with torch %s; do not edit. */" % torch.__version__.split("+")[0])
    for name, value in [("cnn", cnn()), ("lstm_net", recurrent(torch.nn.LSTM, "lstm_net.lstm1", 4, [0, 2, 3, 1])),
                        ("gru_net", recurrent(torch.nn.GRU, "gru_net.gru1", 3, [1, 0, 2])),
                        ("rnn_net", recurrent(torch.nn.RNN, "rnn_net.rnn1", 1, [0])), ("deep", deep()),
                        ("learned", learned()), ("ctc_net", ctc()), ("text", text())]:
        v = value.flatten().tolist()
        print("static const float torch_%s[] = {" % name)
        for k in range(0, len(v), 10):
            print("  " + " ".join("%.7gf," % x if "." in "%.7g" % x else "%.7g.0f," % x for x in v[k:k + 10]))
        print("};")
