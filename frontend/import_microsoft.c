/* com.microsoft: the quantised operators that ONNX Runtime's quantiser writes, and the small fused ones that its
 * optimiser leaves in saved files.
 *
 * Quantised values stand for real(q) = (q - zero point) * scale; results are round(v / scale) + zero point, half
 * to even, saturated. Sums and products of two quantised values are computed on the quantised numbers with
 * ratios of the scales, as ONNX Runtime does, so that ties fall the same way. */
#include "frontend/window.h"
#include <math.h>

static ValueId optional(Import *x, int k) { return imp_present(x, k) ? x->in[k] : 0; }

static bool needs_all(Import *x, const int *k, int n) {
  for (int i = 0; i < n; i++)
    if (!imp_present(x, k[i])) return imp_fail(x, "parse", "input %d is missing", k[i]);
  return true;
}
#define NEEDS(x, ...) needs_all(x, (const int[]){ __VA_ARGS__ }, (int)(sizeof((const int[]){ __VA_ARGS__ }) / sizeof(int)))

/* Input k less its zero point, input `zp`, in f32. */
static ValueId centred(Import *x, int k, int zp) {
  ValueId v = calc_cast(x, x->in[k], DT_F32);
  return imp_present(x, zp) ? calc_sub(x, v, calc_cast(x, x->in[zp], DT_F32)) : v;
}

/* Inputs k, k + 1, k + 2: value, scale, zero point. */
static ValueId real(Import *x, int k) { return calc_mul(x, centred(x, k, k + 2), x->in[k + 1]); }

/* v, which is in units of the output's scale, plus the zero point, input `zp`; without one `dflt` is the type. */
static ValueId finish(Import *x, ValueId v, int zp, DType dflt) {
  return calc_saturate(x, v, optional(x, zp), imp_present(x, zp) ? imp_dtype(x, zp) : dflt);
}

/* A real v with the scale of input `scale` and the zero point after it. */
static ValueId quantised(Import *x, ValueId v, int scale) {
  return finish(x, calc_div(x, v, x->in[scale]), scale + 1, imp_dtype(x, 0));
}

/* [N, …, C] <-> [N, C, …] */
static ValueId move_channels(Import *x, ValueId v, bool first) {
  int perm[MAX_RANK], r = calc_rank(x, v);
  for (int i = 0; i < r; i++)
    perm[i] = first ? (i == 0 ? 0 : i == 1 ? r - 1 : i - 1) : (i == 0 ? 0 : i == r - 1 ? 1 : i + 1);
  return calc_transpose(x, v, perm, r);
}

/* ---- two operands: A, scale, zero point, B, scale, zero point, scale and zero point of the result */

/* a ra + (b rb + (zero point of the result - za ra - zb rb)), rounded as a whole */
bool import_ms_qlinear_add(Import *x) {
  if (!NEEDS(x, 0, 1, 3, 4, 6)) return false;
  ValueId ra = calc_div(x, x->in[1], x->in[6]), rb = calc_div(x, x->in[4], x->in[6]), fixed = imp_scalar(x, DT_F32, 0);
  if (imp_present(x, 7)) fixed = calc_cast(x, x->in[7], DT_F32);
  if (imp_present(x, 2)) fixed = calc_sub(x, fixed, calc_mul(x, ra, calc_cast(x, x->in[2], DT_F32)));
  if (imp_present(x, 5)) fixed = calc_sub(x, fixed, calc_mul(x, rb, calc_cast(x, x->in[5], DT_F32)));
  ValueId b = calc_add(x, calc_mul(x, calc_cast(x, x->in[3], DT_F32), rb), fixed);
  ValueId sum = calc_add(x, calc_mul(x, calc_cast(x, x->in[0], DT_F32), ra), b);
  return calc_set(x, 0, calc_saturate(x, sum, 0, imp_dtype(x, 0)));
}

bool import_ms_qlinear_mul(Import *x) {
  if (!NEEDS(x, 0, 1, 3, 4, 6)) return false;
  ValueId ratio = calc_div(x, calc_mul(x, x->in[1], x->in[4]), x->in[6]);
  ValueId product = calc_mul(x, centred(x, 0, 2), centred(x, 3, 5));
  return calc_set(x, 0, finish(x, calc_mul(x, product, ratio), 7, imp_dtype(x, 0)));
}

/* ---- one operand: X, scale, zero point, scale and zero point of the result */

bool import_ms_qlinear_sigmoid(Import *x) {
  return NEEDS(x, 0, 1, 3) && calc_set(x, 0, quantised(x, calc_op1(x, OP_SIGMOID, real(x, 0)), 3));
}

bool import_ms_qlinear_leaky_relu(Import *x) {
  if (!NEEDS(x, 0, 1, 3)) return false;
  ValueId v = real(x, 0), low = calc_mulc(x, v, imp_float(x, "alpha", 0.01));
  return calc_set(x, 0, quantised(x, calc_where(x, calc_op2c(x, OP_GE, v, 0), v, low), 3));
}

/* Attribute opset: that of the Softmax this was; before 13 the axes from `axis` on are one row. */
bool import_ms_qlinear_softmax(Import *x) {
  if (!NEEDS(x, 0, 1, 3)) return false;
  Type in = *imp_type(x, 0);
  bool flat = imp_int(x, "opset", 13) < 13;
  int axis = imp_axis(x, imp_int(x, "axis", flat ? 1 : -1), in.rank);
  if (axis < 0) return false;
  ValueId v = real(x, 0);
  Dim rows[2] = { calc_product(in.dims, axis), calc_product(in.dims + axis, in.rank - axis) };
  if (flat) v = calc_reshape(x, v, rows, 2);
  v = calc_reshape(x, calc_softmax(x, OP_SOFTMAX, v, flat ? 1 : axis), in.dims, in.rank);
  return calc_set(x, 0, quantised(x, v, 3));
}

bool import_ms_qlinear_average_pool(Import *x) {
  if (!NEEDS(x, 0, 1, 3)) return false;
  bool last = imp_int(x, "channels_last", 0) != 0;
  if (last && !(x->in[0] = move_channels(x, x->in[0], true))) return false;
  Window w;
  if (!window_read(x, 0, NULL, &w)) return false;
  ValueId y = quantised(x, pool_average(x, real(x, 0), &w), 3);
  return calc_set(x, 0, last ? move_channels(x, y, false) : y);
}

/* The sum is exact; one multiplication with scale / (result's scale * count). */
bool import_ms_qlinear_global_average_pool(Import *x) {
  if (!NEEDS(x, 0, 1, 3)) return false;
  int rank = imp_rank(x, 0), axes[MAX_RANK], n = 0;
  bool last = imp_int(x, "channels_last", 0) != 0;
  Dim count = DIM(1);
  for (int i = last ? 1 : 2; i < (last ? rank - 1 : rank); i++) {
    axes[n++] = i;
    count = dim_mul(count, imp_type(x, 0)->dims[i]);
  }
  ValueId v = calc_cast(x, x->in[0], DT_I32);
  if (imp_present(x, 2)) v = calc_sub(x, v, calc_cast(x, x->in[2], DT_I32));
  v = v ? calc_cast(x, imp_reduce(x, OP_REDUCE_SUM, v, axes, n, true), DT_F32) : 0;
  ValueId ratio = calc_div(x, x->in[1], calc_mul(x, x->in[3], calc_dim_value(x, DT_F32, count)));
  return calc_set(x, 0, finish(x, calc_mul(x, v, ratio), 4, imp_dtype(x, 0)));
}

bool import_ms_qlinear_reduce_mean(Import *x) {
  if (!NEEDS(x, 0, 1, 3)) return false;
  const int64_t *given;
  int axes[MAX_RANK], rank = imp_rank(x, 0), n = imp_ints(x, "axes", &given);
  if (n > rank) return imp_fail(x, "shape", "%d axes for an input of rank %d", n, rank);
  for (int i = 0; i < n; i++)
    if ((axes[i] = imp_axis(x, given[i], rank)) < 0) return false;
  if (!n)
    for (n = 0; n < rank; n++) axes[n] = n;
  return calc_set(x, 0, quantised(x, calc_mean(x, real(x, 0), axes, n, imp_int(x, "keepdims", 1) != 0), 3));
}

/* ---- several operands */

/* Scale and zero point of the result, then value, scale, zero point of every part. */
bool import_ms_qlinear_concat(Import *x) {
  int parts = (x->nin - 2) / 3;
  if (x->nin < 5 || (x->nin - 2) % 3 || !calc_needs(x, x->nin)) return imp_fail(x, "parse", "%d inputs", x->nin);
  ValueId *v = NEW_N(&x->m->perm, ValueId, parts);
  for (int k = 0; k < parts; k++) {
    v[k] = finish(x, calc_div(x, real(x, 2 + 3 * k), x->in[0]), 1, DT_U8);
    if (!v[k]) return false;
  }
  int axis = imp_axis(x, imp_int(x, "axis", 0), imp_rank(x, 2));
  return axis >= 0 && calc_set(x, 0, calc_concat(x, axis, v, parts));
}

/* condition; X, scale, zero point; Y, scale, zero point; scale, zero point of the result */
bool import_ms_qlinear_where(Import *x) {
  if (!NEEDS(x, 0, 1, 2, 4, 5, 7, 8)) return false;
  ValueId a = finish(x, calc_div(x, real(x, 1), x->in[7]), 8, DT_U8),
          b = finish(x, calc_div(x, real(x, 4), x->in[7]), 8, DT_U8);
  return calc_set(x, 0, calc_where(x, x->in[0], a, b));
}

/* ---- products. Accumulators are i32; zero points of B may be one per column. */

static ValueId centred_int(Import *x, ValueId v, int zp, bool transpose) {
  v = calc_cast(x, v, DT_I32);
  if (imp_present(x, zp)) v = calc_sub(x, v, calc_cast(x, x->in[zp], DT_I32));
  return transpose ? calc_swap_last(x, v) : v;
}

/* A, scale, zero point, B, scale, zero point, C (i32)?, scale and zero point of the result? else the result is f32. */
bool import_ms_qgemm(Import *x) {
  if (!NEEDS(x, 0, 1, 3, 4)) return false;
  bool tb = imp_int(x, "transB", 0) != 0;
  ValueId b = tb ? calc_swap_last(x, x->in[3]) : x->in[3];
  ValueId acc = calc_matmul(x, centred_int(x, x->in[0], 2, imp_int(x, "transA", 0) != 0), centred_int(x, b, 5, false));
  if (imp_present(x, 6)) acc = calc_add(x, acc, x->in[6]);
  ValueId ratio = calc_mulc(x, calc_mul(x, x->in[1], x->in[4]), imp_float(x, "alpha", 1)),
          v = calc_cast(x, acc, DT_F32);
  if (!imp_present(x, 7)) return calc_set(x, 0, calc_mul(x, v, ratio));
  return calc_set(x, 0, finish(x, calc_mul(x, v, calc_div(x, ratio, x->in[7])), 8, imp_dtype(x, 0)));
}

static bool scaled_product(Import *x, ValueId a, ValueId b, ValueId scale, int bias) {
  ValueId y = calc_mul(x, calc_cast(x, calc_matmul(x, a, b), DT_F32), scale);
  return calc_set(x, 0, imp_present(x, bias) ? calc_add(x, y, x->in[bias]) : y);
}

/* A, B, scales of A and B, zero points of A and B, bias */
bool import_ms_matmul_integer_to_float(Import *x) {
  if (!NEEDS(x, 0, 1, 2, 3)) return false;
  return scaled_product(x, centred_int(x, x->in[0], 4, false), centred_int(x, x->in[1], 5, false),
                        calc_mul(x, x->in[2], x->in[3]), 6);
}

/* A (f32, quantised here to u8 by its range), B, scale and zero point of B, bias */
bool import_ms_dynamic_quantize_matmul(Import *x) {
  if (!NEEDS(x, 0, 1, 2)) return false;
  ValueId scale, zp, q = calc_dynamic_quantise(x, x->in[0], &scale, &zp);
  ValueId a = calc_sub(x, calc_cast(x, q, DT_I32), calc_cast(x, zp, DT_I32));
  return scaled_product(x, a, centred_int(x, x->in[1], 3, false), calc_mul(x, scale, x->in[2]), 4);
}

/* ---- fused float operators */

/* a, b: n parameters that the node gives */
static ValueId activated(Import *x, ValueId v, int n, double a, double b) {
  const char *f = imp_str(x, "activation", "");
  if (!*f) return v;
  if (!strcmp(f, "Relu")) return calc_op1(x, OP_RELU, v);
  if (!strcmp(f, "Sigmoid")) return calc_op1(x, OP_SIGMOID, v);
  if (!strcmp(f, "Tanh")) return calc_op1(x, OP_TANH, v);
  if (!strcmp(f, "LeakyRelu")) return calc_where(x, calc_op2c(x, OP_GE, v, 0), v, calc_mulc(x, v, a));
  if (!strcmp(f, "Clip") && n > 1) return calc_clip(x, v, a, b);
  if (!strcmp(f, "HardSigmoid") && n > 1) return calc_clip(x, calc_addc(x, calc_mulc(x, v, a), b), 0, 1);
  imp_fail(x, "unsupported", "activation '%s'", f);
  return 0;
}

/* Conv, plus input 3, then the activation */
bool import_ms_fused_conv(Import *x) {
  Window w;
  if (!calc_needs(x, 2)) return false;
  if (imp_rank(x, 1) != imp_rank(x, 0))
    return imp_fail(x, "shape", "weight has rank %d, input has rank %d", imp_rank(x, 1), imp_rank(x, 0));
  if (!window_read(x, 0, imp_type(x, 1)->dims + 2, &w)) return false;
  ValueId y = window_conv(x, x->in[0], x->in[1], optional(x, 2), &w);
  if (imp_present(x, 3)) y = calc_add(x, y, x->in[3]);
  const double *p;
  int n = imp_floats(x, "activation_params", &p);
  return calc_set(x, 0, activated(x, y, n, n > 0 ? p[0] : 0.01, n > 1 ? p[1] : 0));
}

bool import_ms_fused_gemm(Import *x) {
  if (!import_gemm(x)) return false;
  bool two = imp_has(x, "activation_beta");
  double a = imp_float(x, "activation_alpha", 0.01), b = imp_float(x, "activation_beta", 0);
  return calc_set(x, 0, activated(x, x->out[0], two ? 2 : 1, a, b));
}

bool import_ms_fused_matmul(Import *x) {
  if (!calc_needs(x, 2)) return false;
  if (imp_int(x, "transBatchA", 0) || imp_int(x, "transBatchB", 0))
    return imp_fail(x, "unsupported", "transBatchA and transBatchB");
  ValueId a = x->in[0], b = x->in[1];
  if (imp_int(x, "transA", 0) && calc_rank(x, a) > 1) a = calc_swap_last(x, a);
  if (imp_int(x, "transB", 0) && calc_rank(x, b) > 1) b = calc_swap_last(x, b);
  x->in[0] = a, x->in[1] = b;
  if (!a || !b || !import_matmul(x)) return false;
  return calc_set(x, 0, calc_mulc(x, x->out[0], imp_float(x, "alpha", 1)));
}

static bool gelu_of_sum(Import *x, Op op, int bias) {
  if (!calc_needs(x, 1)) return false;
  ValueId v = imp_present(x, bias) ? calc_add(x, x->in[0], x->in[bias]) : x->in[0];
  return calc_set(x, 0, calc_op1(x, op, v));
}
bool import_ms_gelu(Import *x) { return gelu_of_sum(x, OP_GELU, 1); }                  /* Gelu, BiasGelu */
bool import_ms_fast_gelu(Import *x) { return gelu_of_sum(x, OP_GELU_TANH, 1); }

bool import_ms_quick_gelu(Import *x) {
  if (!calc_needs(x, 1)) return false;
  ValueId v = x->in[0];
  return calc_set(x, 0, calc_mul(x, v, calc_op1(x, OP_SIGMOID, calc_mulc(x, v, imp_float(x, "alpha", 1.702)))));
}

/* Norm of input + skip + bias over the last axis; output 3 is that sum. */
static bool skip_norm(Import *x, Op op, int gamma, int beta, int bias) {
  if (!calc_needs(x, 3)) return false;
  ValueId sum = calc_add(x, x->in[0], x->in[1]);
  if (imp_present(x, bias)) sum = calc_add(x, sum, x->in[bias]);
  DType t = calc_dtype(x, sum);
  ValueId v = calc_wide(x, sum), in[3] = { v, calc_cast(x, x->in[gamma], calc_dtype(x, v)), 0 }, y;
  if (beta && imp_present(x, beta)) in[2] = calc_cast(x, x->in[beta], calc_dtype(x, v));
  Attr a[] = { attr_int("axis", calc_rank(x, v) - 1), attr_float("epsilon", imp_float(x, "epsilon", 1e-12)) };
  if (!v || !imp_op_multi(x, op, in, in[2] ? 3 : 2, a, 2, &y, 1)) return false;
  if (x->nout > 3) calc_set(x, 3, sum);
  return calc_set(x, 0, calc_cast(x, y, t));
}
bool import_ms_skip_layer_norm(Import *x) { return skip_norm(x, OP_LAYER_NORM, 2, 3, 4); }
bool import_ms_skip_rms_norm(Import *x) { return skip_norm(x, OP_RMS_NORM, 2, 0, 3); }
