#!/usr/bin/env python3
"""Writes tests/train/trajectory/*.npz: ten training steps in PyTorch, for tests/tools/trajectory.c to compare with. Run
from the project's folder with a Python that has torch (the numbers here are of 2.13), after `make build/trajectory`;
lathe itself needs neither. Each class is the network of the .lathe file of its name, its tensors named as there.

The first values are those of lathe's init, moved a little: biases of 0 and scales of 1 would hide mistakes. Where the
gradient of some element is 0 but for rounding, eps of adam, which divides by it, is larger than usual."""
import struct
import subprocess
import sys
import tempfile
import numpy as np
import torch
import torch.nn.functional as F
from torch.optim import SGD, Adam, AdamW

torch.set_num_threads(1)
STEPS, PARAMETER, STATISTIC = 10, 0, 2


def state_of(net):
    """name -> (role, f32 tensor), in the order of the block that lathe's init makes (runtime/lt_state.h)."""
    with tempfile.TemporaryDirectory() as folder:
        file = f'{folder}/{net}.state'
        subprocess.run(['build/trajectory', '--state', file, f'tests/train/trajectory/{net}.lathe'], check=True)
        with open(file, 'rb') as f:
            block = f.read()
    found = {}
    for at in range(64, 64 + 192 * struct.unpack_from('<I', block, 32)[0], 192):
        name = block[at:at + 96].rstrip(b'\0').decode()
        role, rank = struct.unpack_from('<II', block, at + 104)
        dims = struct.unpack_from('<8q', block, at + 112)[:rank]
        offset, size = struct.unpack_from('<QQ', block, at + 176)
        if role in (PARAMETER, STATISTIC):
            found[name] = (role, torch.tensor(np.frombuffer(block, '<f4', size // 4, offset).reshape(dims)))
    return found


def moved(role, name, t):
    if role == STATISTIC and name.endswith('var'):
        return t + torch.rand_like(t)
    return t + 0.1 * torch.randn_like(t)


class Net:
    """p: tensors by lathe's names; self('conv1.weight') is one of self.name's."""
    def __init__(self, state):
        self.p = {n: moved(role, n, t).requires_grad_(role == PARAMETER) for n, (role, t) in state.items()}

    def __call__(self, name, net=None):
        return self.p[f'{net or self.name}.{name}']

    def params(self, net):
        return [t for n, t in self.p.items() if n.startswith(net + '.') and t.requires_grad]

    def linear(self, x, name, bias=True, net=None):
        return F.linear(x, self(name + '.weight', net), self(name + '.bias', net) if bias else None)

    def batch_norm(self, x, name, net=None):
        w, b, mean, var = (self(f'{name}.{k}', net) for k in ('weight', 'bias', 'running_mean', 'running_var'))
        return F.batch_norm(x, mean, var, w, b, training=True, momentum=0.1, eps=1e-5)

    def layer_norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], self(name + '.weight'), self(name + '.bias'))

    def step(self, optimizer, loss, clip=None):
        optimizer.zero_grad()
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]['params'], clip)
        optimizer.step()
        return loss.item()

    def flat(self):
        return np.concatenate([t.detach().numpy().astype('<f4').reshape(-1) for t in self.p.values()])


def eighths(*shape):
    """Numbers that take little room when packed."""
    return torch.clamp(torch.round(torch.randn(*shape) * 8), -24, 24) / 8


def labels(classes, *shape):
    return torch.randint(classes, shape, dtype=torch.int32)


class mlp(Net):
    name, batch = 'mlp', 8

    def data(self, rows):
        return {'x': eighths(rows, 12), 'y': labels(5, rows)}

    def optimizers(self):
        self.sgd = SGD(self.params('mlp'), lr=0.1, momentum=0.9, weight_decay=1e-2)

    def steps(self, x, y):
        h = torch.tanh(self.linear(F.relu(self.linear(x, 'dense1')), 'dense2'))
        return [self.step(self.sgd, F.cross_entropy(self.linear(h, 'dense3'), y.long()))]


class cnn(Net):
    name, batch = 'cnn', 4

    def data(self, rows):
        return {'image': eighths(rows, 2, 8, 8), 'label': labels(4, rows)}

    def optimizers(self):
        self.adam = Adam(self.params('cnn'), lr=5e-3, eps=1e-5)

    def steps(self, image, label):
        x = F.relu(self.batch_norm(F.conv2d(image, self('conv1.weight'), padding=1), 'batch_norm1'))
        h = self.batch_norm(F.conv2d(x, self('conv2.weight'), padding=1), 'batch_norm2')
        x = F.max_pool2d(F.relu(x + h), 2)
        x = F.relu(self.batch_norm(F.conv2d(x, self('conv3.weight'), stride=2, padding=1), 'batch_norm3'))
        return [self.step(self.adam, F.cross_entropy(self.linear(x.mean((2, 3)), 'dense1'), label.long()))]


class lstm(Net):
    """torch.nn.LSTM has the gates i f g o, and bias_ih apart from bias_hh; lathe has ONNX's i o f c and one bias."""
    name, batch = 'lstm_net', 4
    gates = [0, 3, 1, 2]

    def data(self, rows):
        return {'t': labels(9, rows, 8)}

    def ours(self, t):
        return t.reshape(4, 8, -1)[self.gates].reshape(t.shape)

    def optimizers(self):
        self.module = torch.nn.LSTM(6, 8, num_layers=2, batch_first=True)
        with torch.no_grad():
            for k, suffix in enumerate(('', '_2')):
                b = self('lstm1.bias' + suffix)[0].reshape(2, 32)
                for own, theirs in ((self('lstm1.weight' + suffix)[0], f'weight_ih_l{k}'), (b[0], f'bias_ih_l{k}'),
                                    (self('lstm1.recurrent' + suffix)[0], f'weight_hh_l{k}'), (b[1], f'bias_hh_l{k}')):
                    getattr(self.module, theirs).copy_(self.back(own))
        rest = [self(n) for n in ('embedding1.weight', 'dense1.weight', 'dense1.bias')]
        self.sgd = SGD(rest + list(self.module.parameters()), lr=0.5, momentum=0.9, nesterov=True)

    def back(self, t):
        out = torch.empty_like(t).reshape(4, 8, -1)
        out[self.gates] = t.reshape(4, 8, -1)
        return out.reshape(t.shape)

    def steps(self, t):
        h, _ = self.module(F.embedding(t[:, :7].long(), self('embedding1.weight')))
        loss = F.cross_entropy(self.linear(h, 'dense1').transpose(1, 2), t[:, 1:].long())
        value = [self.step(self.sgd, loss, clip=0.2)]
        with torch.no_grad():
            for k, suffix in enumerate(('', '_2')):
                m = self.module
                self('lstm1.weight' + suffix)[0] = self.ours(getattr(m, f'weight_ih_l{k}'))
                self('lstm1.recurrent' + suffix)[0] = self.ours(getattr(m, f'weight_hh_l{k}'))
                bias = [self.ours(getattr(m, f'bias_{part}_l{k}')) for part in ('ih', 'hh')]
                self('lstm1.bias' + suffix)[0] = torch.cat(bias)
        return value


class gpt(Net):
    name, batch = 'gpt', 4

    def data(self, rows):
        return {'t': labels(11, rows, 7)}

    def optimizers(self):
        self.adam = AdamW(self.params('gpt'), lr=3e-3, eps=1e-5, weight_decay=0.1)

    def block(self, x, b):
        n, t, d = x.shape
        qkv = self.linear(self.layer_norm(x, b + '.layer_norm1'), b + '.attention1.qkv', bias=False)
        q, k, v = (part.reshape(n, t, 2, d // 2).transpose(1, 2) for part in qkv.split(d, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(n, t, d)
        x = x + self.linear(y, b + '.attention1.out', bias=False)
        h = F.gelu(self.linear(self.layer_norm(x, b + '.layer_norm2'), b + '.dense1'))
        return x + self.linear(h, b + '.dense2')

    def steps(self, t):
        x = F.embedding(t[:, :6].long(), self('embedding1.weight')) + self('embedding2.weight')
        for b in ('block1', 'block2'):
            x = self.block(x, b)
        logits = self.linear(self.layer_norm(x, 'layer_norm1'), 'dense1')
        return [self.step(self.adam, F.cross_entropy(logits.transpose(1, 2), t[:, 1:].long()), clip=0.5)]


class gan(Net):
    batch = 3

    def data(self, rows):
        return {'image': torch.clamp(eighths(rows, 1, 12, 12), -1, 1), 'z': eighths(rows, 6)}

    def optimizers(self):
        self.of_critic = Adam(self.params('critic'), lr=2e-3, betas=(0.5, 0.999))
        self.of_generator = Adam(self.params('generator'), lr=2e-3, betas=(0.5, 0.999))

    def generator(self, z):
        g = 'generator'
        x = F.conv_transpose2d(z.reshape(-1, 6, 1, 1), self('conv_transpose1.weight', g))
        x = F.relu(self.batch_norm(x, 'batch_norm1', g))
        x = F.conv_transpose2d(x, self('conv_transpose2.weight', g), stride=2, padding=1)
        x = F.relu(self.batch_norm(x, 'batch_norm2', g))
        w, b = self('conv_transpose3.weight', g), self('conv_transpose3.bias', g)
        return torch.tanh(F.conv_transpose2d(x, w, b, stride=2, padding=1))

    def critic(self, x):
        c = 'critic'
        x = F.leaky_relu(F.conv2d(x, self('conv1.weight', c), self('conv1.bias', c), stride=2, padding=1), 0.2)
        x = F.conv2d(x, self('conv2.weight', c), stride=2, padding=1)
        x = F.leaky_relu(self.batch_norm(x, 'batch_norm1', c), 0.2)
        return F.conv2d(x, self('conv3.weight', c), self('conv3.bias', c)).flatten(1)

    def steps(self, image, z):
        def bce(logits, target):
            return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
        fake = self.generator(z).detach()
        first = self.step(self.of_critic, bce(self.critic(image), 1) + bce(self.critic(fake), 0))
        return [first, self.step(self.of_generator, bce(self.critic(self.generator(z)), 1))]


def write(net):
    torch.manual_seed(7)
    n = net(state_of(net.__name__))
    n.optimizers()
    columns = n.data(STEPS * n.batch)
    stored = {k: v.numpy() for k, v in columns.items()}
    stored['start'] = n.flat()
    losses = []
    for step in range(STEPS):
        losses.append(n.steps(**{k: v[step * n.batch:(step + 1) * n.batch] for k, v in columns.items()}))
        if step == 0:
            stored['step1'] = n.flat()
    stored['loss'] = np.array(losses, '<f4')
    np.savez_compressed(f'tests/train/trajectory/{net.__name__}.npz', **stored)
    print(net.__name__, [round(x, 4) for x in np.array(losses).reshape(-1)])


for kind in (mlp, cnn, lstm, gpt, gan):
    if len(sys.argv) == 1 or kind.__name__ in sys.argv[1:]:
        write(kind)
