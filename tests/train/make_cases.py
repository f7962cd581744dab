#!/usr/bin/env python3
"""Writes tests/unit/loss_cases.h and tests/unit/optimize_cases.h: what PyTorch computes. Run from the project's folder
with a Python that has torch (the numbers here are of 2.13); lathe itself needs neither. Options are those of lathe's
tables (frontend/losses.def, optimizers.def, schedules.def), and this file says what they are in PyTorch."""
import math
import torch
import torch.nn.functional as F

torch.manual_seed(5)
f64 = torch.float64


def num(v):
    return 'nan' if math.isnan(v) else f'{v:.9g}'


def text(t):
    if t is None:
        return ''
    kind = {torch.float32: 'f32', torch.int64: 'i64', f64: 'f32'}[t.dtype]
    flat = ' '.join(num(v) if kind == 'f32' else str(v) for v in t.detach().flatten().tolist())
    return f"{kind}[{','.join(map(str, t.shape))}] {flat}"


def rand(*shape):
    return torch.round(torch.randn(*shape, dtype=f64) * 64) / 32


# ---- losses: name, options, x, target, weight, function of (x, target) ----

labels, image, image_labels = torch.tensor([2, 0, 3, 1]), rand(2, 3, 2, 2), torch.tensor([[[0, 2], [1, 1]], [[2, 2], [0, 1]]])
some, none = torch.tensor([2, -100, 3, -100]), torch.tensor([-100] * 4)
x, classes = rand(4, 5), torch.tensor([1, 0.5, 2, 0.25, 1], dtype=f64)
dist = torch.softmax(rand(4, 5), 1)
sequence, next_words = rand(2, 3, 5), torch.tensor([[1, 4, 0], [2, 2, 3]])
ones, y = torch.sign(rand(4, 5) + 0.001), rand(4, 5)
small = torch.rand(4, 5, dtype=f64)
hot = F.one_hot(labels, 5).to(f64)


def ce(**k):
    return lambda x, t: F.cross_entropy(x, t, **k)




losses = [
    ('cross_entropy', '', x, labels, None, ce()),
    ('cross_entropy', '', x + 1e4, labels, None, ce()),
    ('cross_entropy', 'reduction=sum', x, labels, None, ce(reduction='sum')),
    ('cross_entropy', '', x, some, None, ce()),
    ('cross_entropy', 'ignore_index=1', x, labels, None, ce(ignore_index=1)),
    ('cross_entropy', '', x, none, None, ce()),
    ('cross_entropy', 'label_smoothing=0.1', x, labels, None, ce(label_smoothing=0.1)),
    ('cross_entropy', '', x, labels, classes, ce(weight=classes)),
    ('cross_entropy', 'label_smoothing=0.2', x, some, classes, ce(weight=classes, label_smoothing=0.2)),
    ('cross_entropy', '', x, dist, None, ce()),
    ('cross_entropy', 'label_smoothing=0.3', x, dist, classes, ce(weight=classes, label_smoothing=0.3)),
    ('cross_entropy', '', image, image_labels, None, ce()),
    ('cross_entropy', '', sequence, next_words, None, lambda x, t: F.cross_entropy(x.transpose(1, 2), t)),
    ('cross_entropy', '', rand(5), torch.tensor(3), None, ce()),
    ('perplexity', '', x, labels, None, lambda x, t: F.cross_entropy(x, t).exp()),
    ('nll', '', x, labels, None, lambda x, t: F.nll_loss(x, t)),
    ('nll', '', x, some, classes, lambda x, t: F.nll_loss(x, t, classes)),
    ('nll', '', x, none, None, lambda x, t: F.nll_loss(x, t)),
    ('accuracy', '', x, torch.tensor([int(x[0].argmax()), 0, int(x[2].argmax()), -100]), None, None),
    ('bce_logits', '', x * 20, small, None, lambda x, t: F.binary_cross_entropy_with_logits(x, t)),
    ('bce_logits', '', x, torch.tensor(1.0), None, lambda x, t: F.binary_cross_entropy_with_logits(x, torch.ones_like(x))),
    ('bce_logits', 'pos', x, small, classes, lambda x, t: F.binary_cross_entropy_with_logits(x, t, pos_weight=classes)),
    ('bce_logits', '', x, hot, classes, lambda x, t: F.binary_cross_entropy_with_logits(x, t, weight=classes)),
    ('mse', '', x, y, None, lambda x, t: F.mse_loss(x, t)),
    ('mse', 'reduction=sum', x, torch.tensor(0.5), None, lambda x, t: F.mse_loss(x, t.expand_as(x), reduction='sum')),
    ('mae', '', x, y, None, lambda x, t: F.l1_loss(x, t)),
    ('huber', '', x, y, None, lambda x, t: F.huber_loss(x, t)),
    ('huber', 'delta=0.3', x, y, None, lambda x, t: F.huber_loss(x, t, delta=0.3)),
    ('hinge', '', x, ones, None, lambda x, t: (1 - x * t).clamp(min=0).mean()),
    ('hinge', 'margin=2', x, ones, None, lambda x, t: (2 - x * t).clamp(min=0).mean()),
    ('kl', '', torch.log_softmax(x, 1), dist, None, lambda x, t: F.kl_div(x, t, reduction='batchmean')),
    ('kl', '', torch.log_softmax(x, 1), hot, None, lambda x, t: F.kl_div(x, t, reduction='batchmean')),
    ('cosine', '', x, y, None, lambda x, t: F.cosine_embedding_loss(x, t, torch.ones(4, dtype=f64))),
]


def loss_row(name, options, x, target, weight, f):
    x = x.detach().float().to(f64).requires_grad_(True)          # what the test reads: f32
    t = target.float() if target.dtype == f64 else target
    if f is None:                                                # accuracy of the case above
        return name, options, text(x), text(t), '', text(torch.tensor(2 / 3)), ''
    value = f(x, t.to(f64) if t.is_floating_point() else t)
    value.backward()
    return name, options, text(x), text(t), text(weight), text(value), text(x.grad)


# ---- ctc: logits, targets, lengths of both, blank -> value, gradient of the logits ----

def ctc_row(blank, reduction):
    x = rand(6, 3, 4).requires_grad_(True)
    t, n, m = torch.tensor([[1, 2, 2], [3, 1, 1], [2, 2, 2]]), torch.tensor([6, 5, 6]), torch.tensor([3, 2, 0])
    value = F.ctc_loss(torch.log_softmax(x, 2), t, n, m, blank=blank, reduction=reduction)
    value.backward()
    return [text(v) for v in (x, t, n, m)] + [str(blank), reduction, text(value), text(x.grad)]


# ---- batch norm: x, scale, bias, running mean and variance -> y, the new ones, gradients of (y * d).sum() ----

def batch_norm_row(shape):
    x, scale, bias = rand(*shape).requires_grad_(True), rand(shape[1]).requires_grad_(True), rand(shape[1]).requires_grad_(True)
    mean, var, d = rand(shape[1]), rand(shape[1]) ** 2 + 0.5, rand(*shape)
    before = [text(v) for v in (x, scale, bias, mean, var, d)]
    y = F.batch_norm(x, mean, var, scale, bias, True, 0.1, 1e-5)
    (y * d).sum().backward()
    return before + [text(v) for v in (y, mean, var, x.grad, scale.grad, bias.grad)]


def group_norm_row(shape):
    x, scale, bias = rand(*shape).requires_grad_(True), rand(shape[1]).requires_grad_(True), rand(shape[1]).requires_grad_(True)
    d = rand(*shape)
    y = F.group_norm(x, 2, scale, bias, 1e-5)
    (y * d).sum().backward()
    return [text(v) for v in (x, scale, bias, d, y, x.grad, scale.grad, bias.grad)]


# ---- optimizers: mean((x @ w + b - y)^2), a few steps, parameters after each ----

class Lion(torch.optim.Optimizer):                               # after the paper's algorithm 2
    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for g in self.param_groups:
            for p in g['params']:
                m = self.state[p].setdefault('m', torch.zeros_like(p))
                b1, b2 = g['betas']
                update = torch.sign(b1 * m + (1 - b1) * p.grad)
                p.sub_(g['lr'] * (update + g['weight_decay'] * p))
                m.copy_(b2 * m + (1 - b2) * p.grad)


O = torch.optim
X, Y, W, B = rand(5, 3), rand(5, 2), rand(3, 2), rand(2)
STEPS = 6
# name, lathe's options, schedule and its options, PyTorch's optimizer, what else: clip=…, lambda=…, accumulate, average
optimizers = [
    ('sgd', '', '', lambda p: O.SGD(p), {}),
    ('sgd', 'lr=0.1 weight_decay=0.1', '', lambda p: O.SGD(p, lr=0.1, weight_decay=0.1), {}),
    ('sgd', 'lr=0.1 momentum=0.9', '', lambda p: O.SGD(p, lr=0.1, momentum=0.9), {}),
    ('sgd', 'lr=0.1 momentum=0.9 nesterov=1', '', lambda p: O.SGD(p, lr=0.1, momentum=0.9, nesterov=True), {}),
    ('sgd', 'lr=0.1 momentum=0.9 dampening=0.5', '', lambda p: O.SGD(p, lr=0.1, momentum=0.9, dampening=0.5), {}),
    ('adam', '', '', lambda p: O.Adam(p), {}),
    ('adam', 'lr=0.05 beta1=0.5 beta2=0.9 eps=1e-6 weight_decay=0.1', '',
     lambda p: O.Adam(p, lr=0.05, betas=(0.5, 0.9), eps=1e-6, weight_decay=0.1), {}),
    ('adamw', 'lr=0.05', '', lambda p: O.AdamW(p, lr=0.05), {}),
    ('adamw', 'lr=0.05 weight_decay=0.3 decay_vectors=0', '',
     lambda p: O.AdamW([{'params': p[:1]}, {'params': p[1:], 'weight_decay': 0}], lr=0.05, weight_decay=0.3), {}),
    ('rmsprop', '', '', lambda p: O.RMSprop(p), {}),
    ('rmsprop', 'lr=0.02 alpha=0.9 momentum=0.5 centered=1 weight_decay=0.01', '',
     lambda p: O.RMSprop(p, lr=0.02, alpha=0.9, momentum=0.5, centered=True, weight_decay=0.01), {}),
    ('adagrad', 'lr=0.1', '', lambda p: O.Adagrad(p, lr=0.1), {}),
    ('adagrad', 'lr=0.1 lr_decay=0.1 initial=0.5 weight_decay=0.01', '',
     lambda p: O.Adagrad(p, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.5, weight_decay=0.01), {}),
    ('lion', 'lr=0.01 weight_decay=0.1', '', lambda p: Lion(p, lr=0.01, weight_decay=0.1), {}),
    ('sgd', 'lr=0.1 clip_norm=0.5', '', lambda p: O.SGD(p, lr=0.1), {'clip_norm': 0.5}),
    ('sgd', 'lr=0.1 clip_norm=100', '', lambda p: O.SGD(p, lr=0.1), {'clip_norm': 100}),
    ('sgd', 'lr=0.1 clip_value=0.5', '', lambda p: O.SGD(p, lr=0.1), {'clip_value': 0.5}),
    ('adam', 'lr=0.1 accumulate=3', '', lambda p: O.Adam(p, lr=0.1), {'accumulate': 3}),
    ('sgd', 'lr=0.1 momentum=0.9 dampening=0.5 accumulate=2 average=0.8', '',
     lambda p: O.SGD(p, lr=0.1, momentum=0.9, dampening=0.5), {'accumulate': 2, 'average': 0.8}),
    ('adam', 'lr=0.1 average=0.9', '', lambda p: O.Adam(p, lr=0.1), {'average': 0.9}),
    ('sgd', 'lr=0.1', 'step every=2 gamma=0.5', lambda p: O.SGD(p, lr=0.1), {'schedule': lambda o: O.lr_scheduler.StepLR(o, 2, 0.5)}),
    ('sgd', 'lr=0.1', 'cosine', lambda p: O.SGD(p, lr=0.1), {'schedule': lambda o: O.lr_scheduler.CosineAnnealingLR(o, STEPS)}),
    ('sgd', 'lr=0.1', 'cosine end=0.01 steps=8', lambda p: O.SGD(p, lr=0.1),
     {'schedule': lambda o: O.lr_scheduler.CosineAnnealingLR(o, 8, 0.01)}),
    ('sgd', 'lr=0.1', 'linear end=0.02 steps=4', lambda p: O.SGD(p, lr=0.1),
     {'schedule': lambda o: O.lr_scheduler.LinearLR(o, 1, 0.2, 4)}),
    ('sgd', 'lr=0.1', 'constant warmup=4', lambda p: O.SGD(p, lr=0.1),
     {'schedule': lambda o: O.lr_scheduler.LambdaLR(o, lambda t: min(1, (t + 1) / 4))}),
    ('adamw', 'lr=0.1', 'cosine warmup=2', lambda p: O.AdamW(p, lr=0.1),
     {'schedule': lambda o: O.lr_scheduler.LambdaLR(
         o, lambda t: (t + 1) / 2 if t < 2 else 0.5 + 0.5 * math.cos(math.pi * (t - 2) / (STEPS - 2)))}),
]


def optimizer_row(name, options, schedule, make, more):
    p = [W.clone().requires_grad_(True), B.clone().requires_grad_(True)]
    average = [v.detach().clone() for v in p]
    opt, every = make(p), more.get('accumulate', 1)
    rates = more['schedule'](opt) if 'schedule' in more else None
    w, b = [], []
    for step in range(STEPS):
        loss = ((X @ p[0] + p[1] - Y * (1 + step % 2)) ** 2).mean() / every
        loss.backward()
        if (step + 1) % every == 0:
            if 'clip_norm' in more:
                torch.nn.utils.clip_grad_norm_(p, more['clip_norm'])
            if 'clip_value' in more:
                torch.nn.utils.clip_grad_value_(p, more['clip_value'])
            opt.step()
            opt.zero_grad()
            if rates:
                rates.step()
            for a, v in zip(average, p):
                a.lerp_(v.detach(), 1 - more.get('average', 0))
        w.append(p[0].detach().clone())
        b.append(p[1].detach().clone())
    averages = (text(average[0]), text(average[1])) if 'average' in more else ('', '')
    return (name, options, schedule, text(torch.stack(w)), text(torch.stack(b))) + averages


def write(path, what, rows):
    with open(path, 'w') as f:
        f.write(f'/* {what} Written by tests/train/make_cases.py with PyTorch {torch.__version__.split("+")[0]}. */\n')
        for row in rows:
            f.write('  {' + ', '.join('"' + v + '"' for v in row) + '},\n')


write('tests/unit/loss_cases.h', 'loss, options, x, target, weight -> value, d value / d x.', [loss_row(*r) for r in losses])
write('tests/unit/batch_norm_cases.h', 'x, scale, bias, running mean and variance, d -> y, mean, variance, gradients of sum(y d).',
      [batch_norm_row(s) for s in [(3, 2, 2, 3), (5, 3), (2, 2, 4)]])
write('tests/unit/group_norm_cases.h', 'x, scale, bias, d -> y, gradients of sum(y d); two groups.',
      [group_norm_row(s) for s in [(2, 4, 3), (3, 6)]])
write('tests/unit/ctc_cases.h', 'logits, targets, lengths of both, blank, reduction -> value, gradient.',
      [ctc_row(0, 'mean'), ctc_row(0, 'sum')])
write('tests/unit/optimize_cases.h', 'optimizer, options, schedule -> w, b after each step, averages after the last.',
      [optimizer_row(*r) for r in optimizers])
with open('tests/unit/optimize_problem.h', 'w') as f:
    f.write('/* mean((x w + b - y (1 + step % 2))^2). Written by tests/train/make_cases.py. */\n')
    for n, v in zip('xywb', (X, Y, W, B)):
        f.write(f'static const char problem_{n}[] = "{text(v)}";\n')
