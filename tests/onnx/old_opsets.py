"""Writes test cases for operators in their older opset versions, which the official suite does not keep:
attributes that became inputs, broadcasting by `axis`, casts by name, and many einsum equations.

    python tests/onnx/old_opsets.py DIR && build/conform DIR

Expected outputs come from NumPy where a case says so, else from ONNX Runtime, else from onnx's reference evaluator.
Needs numpy, onnx and onnxruntime; nothing else in the project does.
"""
import os
import sys

import numpy as np
import onnx
from onnx import helper as h, TensorProto as T, numpy_helper as nh
import onnxruntime as ort
from onnx.reference import ReferenceEvaluator

ort.set_default_logger_severity(4)
root = sys.argv[1]
os.makedirs(root)
rng = np.random.RandomState(0)

def case(name, op, ins, nout, opset, consts=(), expect=None, **attrs):
    """ins: list of arrays (None absent); consts: indices given as initializers"""
    names = [f'x{i}' if v is not None else '' for i, v in enumerate(ins)]
    outs = [f'y{i}' for i in range(nout)]
    node = h.make_node(op, names, outs, **attrs)
    vi = [h.make_tensor_value_info(n, h.np_dtype_to_tensor_dtype(v.dtype), v.shape) for i, (n, v) in enumerate(zip(names, ins)) if v is not None and i not in consts]
    init = [nh.from_array(ins[i], names[i]) for i in consts]
    g = h.make_graph([node], 'g', vi, [onnx.ValueInfoProto(name=o) for o in outs], init)
    m = h.make_model(g, opset_imports=[h.make_opsetid('', opset)])
    m.ir_version = 8 if opset < 20 else 10
    feed = {n: v for i, (n, v) in enumerate(zip(names, ins)) if v is not None and i not in consts}
    res = expect
    if res is None:
        try:
            res = ort.InferenceSession(m.SerializeToString(), providers=['CPUExecutionProvider']).run(None, feed)
        except Exception as e:
            try:
                res = ReferenceEvaluator(m).run(None, feed)
            except Exception as e2:
                print('no reference', name, str(e)[:80], '|', str(e2)[:80])
                return
    d = f'{root}/{name}_{opset}'
    os.makedirs(d + '/test_data_set_0')
    onnx.save(m, d + '/model.onnx')
    k = 0
    for i, (n, v) in enumerate(zip(names, ins)):
        if v is None or i in consts:
            continue
        open(f'{d}/test_data_set_0/input_{k}.pb', 'wb').write(nh.from_array(v, n).SerializeToString())
        k += 1
    for i, r in enumerate(res):
        open(f'{d}/test_data_set_0/output_{i}.pb', 'wb').write(nh.from_array(np.asarray(r), outs[i]).SerializeToString())
f = lambda *s: rng.randn(*s).astype(np.float32)
I = lambda *v: np.array(v, np.int64)
a = f(2, 3, 4, 5)
for op, fn in (('Add', np.add), ('Sub', np.subtract), ('Mul', np.multiply), ('Div', np.divide)):
    for o in (1, 6):
        b = f(3, 4)
        case(op + '_axis', op, [a, b], 1, o, expect=[fn(a, b[None, :, :, None])], broadcast=1, axis=1)
        b = f(4, 5)
        case(op + '_suffix', op, [a, b], 1, o, expect=[fn(a, b)], broadcast=1)
        b = f(2, 3, 4, 5)
        case(op + '_same', op, [a, b], 1, o, expect=[fn(a, b)])
    for o in (7, 13, 14):
        case(op, op, [a, f(3, 1, 5)], 1, o)
b = np.abs(f(3, 1))
case('Pow_axis', 'Pow', [np.abs(a), b], 1, 1, expect=[np.abs(a) ** b[None, :, :, None]], broadcast=1, axis=1)
for o in (1,):
    A = f(2, 3, 4)
    B = f(3)
    for op, fn in (('Greater', np.greater), ('Less', np.less)):
        case(op, op, [A, B], 1, o, expect=[fn(A, B[None, :, None])], broadcast=1, axis=1)
    ai = rng.rand(2, 3, 4) > 0.5
    bi = rng.rand(3) > 0.5
    for op, fn in (('And', np.logical_and), ('Or', np.logical_or), ('Xor', np.logical_xor)):
        case(op, op, [ai, bi], 1, o, expect=[fn(ai, bi[None, :, None])], broadcast=1, axis=1)
for o in (1, 6):
    case('Clip', 'Clip', [a], 1, o, expect=[np.clip(a, -0.5, 0.3)], min=-0.5, max=0.3)
    case('Clip_lo', 'Clip', [a], 1, o, expect=[np.maximum(a, 0.1)], min=0.1)
for o in (11, 12, 13):
    case('Clip_in', 'Clip', [a, np.float32(-0.5), np.float32(0.3)], 1, o)
    case('Clip_hi', 'Clip', [a, None, np.float32(0.3)], 1, o)
case('Cast_str', 'Cast', [a], 1, 1, expect=[a.astype(np.int32)], to='INT32')
for o in (6, 9, 13, 19, 21):
    case('Cast', 'Cast', [a * 5], 1, o, to=T.INT64)
x = f(2, 1, 3, 1)
for o in (1, 11):
    case('Squeeze', 'Squeeze', [x], 1, o, axes=[1] if o < 11 else [-1], expect=[x.squeeze(1 if o < 11 else -1)])
    case('Squeeze_all', 'Squeeze', [x], 1, o, expect=[x.squeeze()])
for o in (13, 21):
    case('Squeeze_in', 'Squeeze', [x, I(1, -1)], 1, o, consts=(1,))
    case('Squeeze_none', 'Squeeze', [x], 1, o)
for o in (1, 11):
    case('Unsqueeze', 'Unsqueeze', [x], 1, o, axes=[0, 3], expect=[x.reshape(1, 2, 1, 1, 3, 1)])
for o in (13,):
    case('Unsqueeze_in', 'Unsqueeze', [x, I(-1, 0)], 1, o, consts=(1,))
case('Reshape_attr', 'Reshape', [a], 1, 1, expect=[a.reshape(2, 12, 5)], shape=[0, -1, 5])
for o in (5, 13, 14):
    case('Reshape_in', 'Reshape', [a, I(0, -1, 5)], 1, o, consts=(1,))
case('Reshape_zero', 'Reshape', [f(0, 3), I(3, 0, 4)], 1, 14, consts=(1,), allowzero=1)
for o in (1, 9, 11, 13):
    case('Flatten', 'Flatten', [a], 1, o, axis=2 if o < 11 else -1, **{} if o >= 9 else {'expect': [a.reshape(6, 20)]})
    case('Flatten0', 'Flatten', [a], 1, o, axis=0, **{} if o >= 9 else {'expect': [a.reshape(1, -1)]})
case('Concat_1', 'Concat', [f(2, 3), f(2, 3)], 1, 1)
p, q = (f(2, 3), f(2, 4))
case('Concat_1d', 'Concat', [p, q], 1, 1, expect=[np.concatenate([p, q], 1)])
for o in (4, 11, 13):
    case('Concat', 'Concat', [f(2, 3), f(4, 3)], 1, o, axis=0 if o < 11 else -2)
y = f(6, 4)
case('Split_attr', 'Split', [y], 3, 1, expect=[y[:1], y[1:3], y[3:]], axis=0, split=[1, 2, 3])
case('Split_input', 'Split', [y, I(1, 2, 3)], 3, 1, consts=(1,), expect=[y[:1], y[1:3], y[3:]], axis=0)
case('Split_eq', 'Split', [y], 3, 2, axis=0)
case('Split_eq', 'Split', [y], 2, 11, axis=-1)
for o in (13, 18):
    case('Split_in', 'Split', [y, I(1, 5)], 2, o, consts=(1,), axis=0)
case('Split_n', 'Split', [f(7, 2)], 3, 18, num_outputs=3, axis=0)
case('Slice_attr', 'Slice', [a], 1, 1, expect=[a[:, 1:3, :, -3:-1]], axes=[1, 3], starts=[1, -3], ends=[3, -1])
case('Slice_noaxes', 'Slice', [a], 1, 9, starts=[0, 1], ends=[1, 1000])
for o in (10, 11, 13):
    case('Slice_in', 'Slice', [a, I(3, -1), I(-100, -4), I(2, 3), I(-2, -1)], 1, o, consts=(1, 2, 3, 4))
    case('Slice_big', 'Slice', [a, I(-1), I(-2 ** 63 + 1), I(3), I(-2)], 1, o, consts=(1, 2, 3, 4))
    case('Slice_empty', 'Slice', [a, I(3), I(1), I(1)], 1, o, consts=(1, 2, 3))
    case('Slice_def', 'Slice', [a, I(1, 1), I(2, 2 ** 63 - 1)], 1, o, consts=(1, 2))
z = f(2, 3)
case('Tile_1', 'Tile', [z, np.array([3], np.int64), np.array([1], np.int64)], 1, 1, consts=(1, 2), expect=[np.tile(z, (1, 3))])
for o in (6, 13):
    case('Tile', 'Tile', [z, I(2, 3)], 1, o, consts=(1,))
for o in (8, 13):
    case('Expand', 'Expand', [f(3, 1), I(2, 1, 6)], 1, o, consts=(1,))
    case('Expand_keep', 'Expand', [f(3, 4), I(1, 1)], 1, o, consts=(1,))
case('Pad_1', 'Pad', [z], 1, 1, expect=[np.pad(z, ((1, 0), (2, 1)), constant_values=1.5)], paddings=[1, 2, 0, 1], mode='constant', value=1.5)
for mode in ('constant', 'reflect', 'edge'):
    case('Pad_2' + mode, 'Pad', [f(4, 5)], 1, 2, pads=[1, 2, 2, 1], mode=mode)
    for o in (11, 13, 18, 19):
        case('Pad_in' + mode, 'Pad', [f(4, 5), I(1, 2, 2, 1)], 1, o, consts=(1,), mode=mode)
    case('Pad_axes' + mode, 'Pad', [f(4, 5), I(1, 2), None, I(-1)], 1, 18, consts=(1, 3), mode=mode)
case('Pad_neg', 'Pad', [f(4, 5), I(-1, 2, 0, -2), np.float32(7)], 1, 13, consts=(1,))
case('Pad_wrap', 'Pad', [f(4, 5), I(1, 2, 2, 1)], 1, 19, consts=(1,), mode='wrap')
for k in 'L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare'.split():
    v = np.abs(a) + 0.1
    for o in (1, 11, 13):
        if k == 'Sum' and o == 13:
            continue
        case('Reduce' + k, 'Reduce' + k, [v], 1, o, axes=[1, 2] if o < 11 else [-1, 0], keepdims=0)
        case('ReduceAll' + k, 'Reduce' + k, [v], 1, o)
    o = 18
    case('ReduceIn' + k, 'Reduce' + k, [v, I(-1, 1)], 1, o, consts=(1,), keepdims=0)
    case('ReduceNoop' + k, 'Reduce' + k, [v], 1, o, noop_with_empty_axes=1)
for o in (1, 11, 12, 13):
    case('ArgMax', 'ArgMax', [a], 1, o, axis=2, keepdims=0)
    case('ArgMin', 'ArgMin', [a], 1, o, axis=2 if o < 11 else -1)
case('ArgMaxLast', 'ArgMax', [np.round(a)], 1, 12, axis=3, select_last_index=1)
for o in (1,):
    case('TopK_1', 'TopK', [a], 2, o, k=2, axis=3)
for o in (10, 11):
    case('TopK', 'TopK', [a, I(3)], 2, o, consts=(1,), axis=2)
case('TopK_small', 'TopK', [a, I(3)], 2, 11, consts=(1,), axis=1, largest=0)
for o in (1, 11, 12):
    case('Hardmax', 'Hardmax', [a], 1, o, axis=2)
case('Hardmax', 'Hardmax', [a], 1, 13, axis=1)
for o in (1, 6):
    case('Selu', 'Selu', [a], 1, o, expect=[(1.0507 if o < 6 else 1.0507010221481323) * np.where(a > 0, a, (1.6732 if o < 6 else 1.6732631921768188) * (np.exp(a) - 1))])
    case('Elu', 'Elu', [a], 1, o, expect=[np.where(a > 0, a, 0.7 * (np.exp(a) - 1)).astype(np.float32)], alpha=0.7)
    case('LeakyRelu', 'LeakyRelu', [a], 1, o, expect=[np.where(a >= 0, a, np.float32(0.2) * a)], alpha=0.2)
    case('HardSigmoid', 'HardSigmoid', [a], 1, o, expect=[np.clip(np.float32(0.3) * a + np.float32(0.4), 0, 1)], alpha=0.3, beta=0.4)
s = f(3)
case('PRelu_ch', 'PRelu', [a, s], 1, 6, expect=[np.where(a < 0, a * s[None, :, None, None], a)])
case('PRelu_one', 'PRelu', [a, f(1)], 1, 1, expect=None)
for o in (7, 9, 16):
    case('PRelu', 'PRelu', [a, f(3, 1, 1)], 1, o)
for op in 'Sum Mean Max Min'.split():
    for o in (1, 6, 8, 13):
        case(op + '_3', op, [f(2, 3), f(2, 3), f(2, 3)], 1, o)
        case(op + '_1', op, [f(2, 3)], 1, o)
    case(op + '_bc', op, [f(2, 3), f(3), f(2, 1)], 1, 13)
for o in (1, 6):
    case('Dropout', 'Dropout', [a], 1, o, expect=[a], ratio=0.4, is_test=1)
case('Dropout_mask', 'Dropout', [a], 2, 7, expect=[a, np.ones_like(a)], ratio=0.4)
case('Dropout_mask', 'Dropout', [a], 2, 10, expect=[a, np.ones_like(a, dtype=bool)], ratio=0.4)
for o in (1, 11, 13):
    case('Gather', 'Gather', [a, I(1, -1) if o >= 11 else I(1, 0)], 1, o, axis=2)
case('Scatter', 'Scatter', [f(3, 4), I(0, 2, 1).reshape(1, 3), f(1, 3)], 1, 9, axis=0)
for o in (11, 13, 16, 18):
    case('ScatterElements', 'ScatterElements', [f(3, 4), I(0, 2, 1).reshape(1, 3), f(1, 3)], 1, o, axis=-2)
for r in ('add', 'mul', 'max', 'min'):
    case('ScatterElements_' + r, 'ScatterElements', [f(3, 4), I(0, 0, 1).reshape(1, 3), f(1, 3)], 1, 18, axis=1, reduction=r)
    case('ScatterND_' + r, 'ScatterND', [f(3, 4), I(0, 0, 1).reshape(3, 1), f(3, 4)], 1, 18, reduction=r)
d = f(1, 8, 2, 3)
for o in (1, 11, 13):
    case('DepthToSpace', 'DepthToSpace', [d], 1, o, blocksize=2)
    case('SpaceToDepth', 'SpaceToDepth', [f(1, 2, 4, 6)], 1, o if o != 11 else 12, blocksize=2)
case('DepthToSpaceCRD', 'DepthToSpace', [d], 1, 11, blocksize=2, mode='CRD')
for eq, sh in (('ij,jk->ik', [(2, 3), (3, 4)]), ('bij,bjk', [(2, 3, 4), (2, 4, 5)]), ('...ij,...jk->...ik', [(2, 1, 3, 4), (5, 4, 6)]), ('i,j->ij', [(3,), (4,)]), ('ii->i', [(4, 4)]), ('iij->ji', [(3, 3, 2)]), ('ij,jk,kl->il', [(2, 3), (3, 4), (4, 5)]), ('ij->', [(3, 4)]), ('bqhd,bkhd->bhqk', [(2, 3, 4, 5), (2, 6, 4, 5)]), ('abc,abc->ab', [(2, 3, 4), (2, 3, 4)]), ('ij,ij->ij', [(2, 3), (2, 3)]), ('...,...', [(2, 3), (2, 3)]), ('bhi,hio->bho', [(2, 3, 4), (3, 4, 5)]), (' ij , k -> kj i', [(2, 3), (4,)]), ('abi,cbj->acij', [(2, 3, 4), (5, 3, 6)])):
    case('Einsum_' + ''.join((c if c.isalnum() else '_' for c in eq)), 'Einsum', [f(*t) for t in sh], 1, 12, equation=eq)
for o in (11, 14):
    case('CumSum', 'CumSum', [a, np.array(2, np.int64)], 1, o, consts=(1,), exclusive=1, reverse=1)
case('Mod_i', 'Mod', [np.array([-7, 7, 5], np.int32), np.array([3, -3, 2], np.int32)], 1, 10)
case('Mod_f', 'Mod', [f(5), f(5)], 1, 13, fmod=1)
case('Mod_if', 'Mod', [np.array([-7, 7, 5], np.int64), np.array([3, -3, 2], np.int64)], 1, 13, fmod=1)
case('Pow_if', 'Pow', [np.array([1, 2, 3], np.int32), np.array([2.0, 0.5, 1.0], np.float32)], 1, 13)
case('Pow_fi', 'Pow', [f(3), np.array([2, 3, 0], np.int64)], 1, 13)
for o in (9, 13):
    case('NonZero', 'NonZero', [np.round(a)], 1, o)
for o in (9, 11):
    case('Compress', 'Compress', [a, np.array([True, False, True])], 1, o, axis=1)
    case('Compress_flat', 'Compress', [f(2, 3), np.array([0, 1, 1, 0, 0, 1], bool)], 1, o)
case('Unique', 'Unique', [np.array([2.0, 1, 1, 3, 4, 3], np.float32)], 4, 11)
case('Unique_uns', 'Unique', [np.array([2.0, 1, 1, 3, 4, 3], np.float32)], 4, 11, sorted=0)
case('Unique_ax', 'Unique', [np.array([[1, 0, 0], [1, 0, 0], [2, 3, 4]], np.float32)], 4, 11, axis=0)
for o in (9, 11):
    case('OneHot', 'OneHot', [I(0, 2, -1), np.array(4, np.int64), np.array([2, 5], np.float32)], 1, o, consts=(1,), axis=0)
case('EyeLike', 'EyeLike', [f(3, 4)], 1, 9, k=1, dtype=T.INT32)
case('Trilu', 'Trilu', [a, np.array(-1, np.int64)], 1, 14, upper=0)
case('ReverseSequence', 'ReverseSequence', [f(4, 3, 2), I(2, 4, 1)], 1, 10)
case('Range_f', 'Range', [np.float32(1), np.float32(3.1), np.float32(0.4)], 1, 11, consts=(0, 1, 2))
case('Range_i', 'Range', [np.array(10, np.int32), np.array(-3, np.int32), np.array(-4, np.int32)], 1, 11, consts=(0, 1, 2))
case('IsInf_p', 'IsInf', [np.array([np.inf, -np.inf, 1, np.nan], np.float32)], 1, 10, detect_negative=0)
case('Shrink', 'Shrink', [a], 1, 9, lambd=0.3, bias=0.1)
case('Shape_se', 'Shape', [a], 1, 15, start=-3, end=-1)
case('Size', 'Size', [a], 1, 13)
case('ConstantOfShape', 'ConstantOfShape', [I(2, 3)], 1, 9, consts=(0,), value=nh.from_array(np.array([7], np.int8)))
case('CenterCropPad', 'CenterCropPad', [f(5, 8), I(8, 3)], 1, 18, consts=(1,))
case('GatherND', 'GatherND', [a, rng.randint(0, 3, (2, 2, 1)).astype(np.int64)], 1, 12, batch_dims=1)
print(len(os.listdir(root)))
