/* QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear -> casts and arithmetic, bit-exact with the ONNX
 * specification: divide in the scale's type, round half to even, add the zero point, saturate.
 *
 * Scale and zero point are brought to the input's rank first:
 *   per tensor   scalar or one element       as it is
 *   per axis     vector [Di]                 [1, …, Di, …, 1]
 *   blocked      [D0, …, ceil(Di/B), …]      each entry repeated B times along the axis, cut to Di */
#include "frontend/calc.h"

static bool is_one(const Type *t) {
  for (int i = 0; i < t->rank; i++)
    if (!dim_is(t->dims[i], 1)) return false;
  return true;
}

static ValueId spread(Import *x, ValueId v, const Type *in, int axis, int64_t block) {
  if (!v) return 0;
  Type t = *calc_type(x, v);
  if (is_one(&t)) return calc_reshape(x, v, NULL, 0);
  if (t.rank == 1 && in->rank >= 1 && !block) return calc_align(x, v, axis, in->rank);
  if (t.rank != in->rank) {
    imp_fail(x, "shape", "scale or zero point %s does not fit input %s", type_text(&t), type_text(in));
    return 0;
  }
  if (block < 1) block = 1;
  Dim wide[MAX_RANK + 1], flat[MAX_RANK];
  for (int i = 0; i < t.rank; i++) {
    wide[i < axis + 1 ? i : i + 1] = t.dims[i];
    flat[i] = i == axis ? dim_mul(t.dims[i], DIM(block)) : t.dims[i];
  }
  wide[axis + 1] = DIM(block);
  if (t.rank == MAX_RANK) { imp_fail(x, "unsupported", "blocked scales on rank %d", t.rank); return 0; }
  v = calc_reshape(x, calc_expand(x, calc_unsqueeze(x, v, axis + 1), wide, t.rank + 1), flat, t.rank);
  return dim_eq(flat[axis], in->dims[axis]) ? v : calc_slice1(x, v, axis, DIM(0), in->dims[axis]);
}

/* The zero point if it is there and not known to be all zeros. */
static ValueId zero_point(Import *x, int k) {
  if (!imp_present(x, k)) return 0;
  const Tensor *t = imp_constant(x, k);
  if (!t || !t->data) return x->in[k];
  int64_t n = tensor_count(t);
  for (int64_t i = 0; i < n; i++)
    if (tensor_get(t, i) != 0) return x->in[k];
  return 0;
}

static int quant_axis(Import *x, const Type *in) {
  int64_t axis = imp_int(x, "axis", 1);
  if (axis >= in->rank && is_one(imp_type(x, 1))) axis = 0;       /* the default on a vector: unused */
  if (in->rank == 0) return 0;
  if (in->rank == 1) return 0;
  return imp_axis(x, axis, in->rank);
}

bool import_quantize_linear(Import *x) {
  if (!calc_needs(x, 2)) return false;
  Type in = *imp_type(x, 0);
  int axis = quant_axis(x, &in);
  if (axis < 0) return false;
  DType to = dtype_from_onnx((int)imp_int(x, "output_dtype", 0));
  if (imp_present(x, 2)) to = imp_dtype(x, 2);
  if (to == DT_NONE) to = DT_U8;
  DType precision = dtype_from_onnx((int)imp_int(x, "precision", 0));
  if (precision == DT_NONE) precision = imp_dtype(x, 1);
  if (calc_is_narrow(precision) && precision != DT_F16 && precision != DT_BF16) precision = DT_F32;
  if (!dtype_is_float(precision)) precision = DT_F32;             /* i32 scales of version 10's i32 input */
  int64_t block = imp_int(x, "block_size", 0);
  Attr a[] = { attr_dtype("to", to), attr_int("saturate", imp_int(x, "saturate", 1)) };
  ValueId scale = spread(x, calc_cast(x, x->in[1], precision), &in, axis, block);
  ValueId zp = zero_point(x, 2), v = calc_div(x, calc_cast(x, x->in[0], precision), scale);
  if (zp) zp = spread(x, zp, &in, axis, block);
  if (dtype_is_int(to)) return calc_set(x, 0, calc_saturate(x, v, zp, to));
  if (!dtype_is_float(to)) return imp_fail(x, "type", "cannot quantise to %s", dtype_info[to].text);
  if (zp) v = calc_add(x, calc_wide(x, v), calc_cast(x, zp, DT_F32));
  return calc_set(x, 0, calc_op(x, OP_CAST, &v, 1, a, 2));
}

/* (x - zp) * scale; the difference is exact in f32 for every type but i32, which has no zero point. */
bool import_dequantize_linear(Import *x) {
  if (!calc_needs(x, 2)) return false;
  Type in = *imp_type(x, 0);
  int axis = quant_axis(x, &in);
  if (axis < 0) return false;
  DType to = dtype_from_onnx((int)imp_int(x, "output_dtype", 0));
  if (to == DT_NONE) to = imp_dtype(x, 1);
  int64_t block = imp_int(x, "block_size", 0);
  DType w = to == DT_F64 ? DT_F64 : DT_F32;
  ValueId zp = zero_point(x, 2), v = x->in[0];
  if (zp && in.dtype == DT_I32) v = calc_sub(x, v, spread(x, zp, &in, axis, block));
  v = calc_cast(x, v, w);
  if (zp && in.dtype != DT_I32) v = calc_sub(x, v, calc_cast(x, spread(x, zp, &in, axis, block), w));
  v = calc_mul(x, v, spread(x, calc_cast(x, x->in[1], w), &in, axis, block));
  return calc_set(x, 0, calc_cast(x, v, to));
}

bool import_dynamic_quantize_linear(Import *x) {
  if (!calc_needs(x, 1)) return false;
  ValueId scale, zp, q = calc_dynamic_quantise(x, x->in[0], &scale, &zp);
  calc_set(x, 1, scale);
  calc_set(x, 2, zp);
  return calc_set(x, 0, q);
}
