/* Attention, FlexAttention, RotaryEmbedding, SwiGLU -> matmul, softmax, arithmetic.
 *
 *   scores = (Q * sqrt(scale)) (K * sqrt(scale))^T        [B, Hq, S, T]
 *   scores = cap * tanh(scores / cap)                     softcap
 *   scores += bias                                        attn_mask, causal frontier, windows, padding
 *   Y = softmax(scores) V                                 a row without any key gives zeros
 *
 * Grouped heads: query head h uses key head h / (Hq / Hkv). Query heads are then viewed as [B, Hkv, G, S, D]
 * and keys as [B, Hkv, 1, T, D], so that nothing is copied. */
#include "frontend/calc.h"
#include <math.h>

/* [B, S, H*D] -> [B, H, S, D]; rank 4 stays. */
static ValueId split_heads(Import *x, ValueId v, int64_t heads) {
  static const int perm[] = { 0, 2, 1, 3 };
  if (!v || calc_rank(x, v) != 3) return v;
  Dim size;
  if (heads < 1 || !dim_divisible(calc_dim(x, v, 2), DIM(heads), &size)) {
    imp_fail(x, "shape", "hidden size %s does not divide into %lld heads (q_num_heads, kv_num_heads)",
             dim_text(calc_dim(x, v, 2)), (long long)heads);
    return 0;
  }
  Dim shape[] = { calc_dim(x, v, 0), calc_dim(x, v, 1), DIM(heads), size };
  return calc_transpose(x, calc_reshape(x, v, shape, 4), perm, 4);
}

static ValueId join_heads(Import *x, ValueId v) {
  static const int perm[] = { 0, 2, 1, 3 };
  Dim shape[] = { calc_dim(x, v, 0), calc_dim(x, v, 2), dim_mul(calc_dim(x, v, 1), calc_dim(x, v, 3)) };
  return calc_reshape(x, calc_transpose(x, v, perm, 4), shape, 3);
}

/* a [B, Hq, S, D] times b [B, Hkv, D, T], heads grouped */
static ValueId grouped_matmul(Import *x, ValueId a, ValueId b) {
  if (!a || !b) return 0;
  Dim hq = calc_dim(x, a, 1), hkv = calc_dim(x, b, 1), group;
  if (dim_eq(hq, hkv)) return calc_matmul(x, a, b);
  if (!dim_divisible(hq, hkv, &group)) {
    imp_fail(x, "shape", "%s query heads are no multiple of %s key heads", dim_text(hq), dim_text(hkv));
    return 0;
  }
  Dim wide[] = { calc_dim(x, a, 0), hkv, group, calc_dim(x, a, 2), calc_dim(x, a, 3) };
  ValueId y = calc_matmul(x, calc_reshape(x, a, wide, 5), calc_unsqueeze(x, b, 2));
  Dim flat[] = { wide[0], hq, calc_dim(x, y, 3), calc_dim(x, y, 4) };
  return calc_reshape(x, y, flat, 4);
}

static ValueId both(Import *x, ValueId a, ValueId b) { return a && b ? calc_op2(x, OP_AND, a, b) : a ? a : b; }

/* Which keys may query i see, apart from attn_mask: bool, broadcasts to [B, H, S, T]; 0: all of them.
 * `offset`: position of query 0 among the keys, an i64 scalar or [B, 1, 1, 1]. `valid`: i64 [B] keys that are not padding. */
static ValueId visible_keys(Import *x, Dim s, Dim t, ValueId offset, ValueId valid) {
  int64_t left = imp_int(x, "left_window_size", -1), right = imp_int(x, "right_window_size", -1);
  bool causal = imp_int(x, "is_causal", 0) != 0;
  if (causal) right = 0;
  if (left < 0 && right < 0 && !valid) return 0;
  ValueId j = calc_iota(x, DT_I64, (Dim[]){ DIM(1), t }, 2, 1), see = 0;
  ValueId p = calc_add(x, calc_iota(x, DT_I64, (Dim[]){ s, DIM(1) }, 2, 0), offset);
  if (right >= 0) see = calc_op2(x, OP_LE, j, calc_addc(x, p, (double)right));
  if (left >= 0) see = both(x, see, calc_op2(x, OP_GE, j, calc_addc(x, p, (double)-left)));
  if (valid)
    see = both(x, see,
               calc_op2(x, OP_LT, j,
                        calc_reshape(x, valid, (Dim[]){calc_dim(x, valid, 0), DIM(1), DIM(1), DIM(1)}, 4)));
  return see;
}

/* scores + attn_mask (float), or -inf where attn_mask (bool) or `see` say no. A short mask leaves out the last keys. */
static ValueId masked(Import *x, ValueId scores, ValueId mask, ValueId see) {
  DType t = calc_dtype(x, scores);
  if (mask) {
    bool choice = calc_dtype(x, mask) == DT_BOOL;
    Dim keys = calc_dim(x, scores, 3), have = calc_dim(x, mask, -1);
    if (!choice) mask = calc_cast(x, mask, t);
    if (!dim_eq(have, keys) && !dim_is(have, 1))
      mask = calc_pad_axis(x, mask, -1, DIM(0), dim_sub(keys, have), choice ? 0 : (double)-INFINITY);
    if (choice) see = both(x, see, mask);
    else scores = calc_add(x, scores, mask);
  }
  return see ? calc_where(x, see, scores, imp_scalar(x, t, (double)-INFINITY)) : scores;
}

/* Softmax over keys; a row of nothing but -inf gives zeros. `open`: no such row can be there. */
static ValueId probabilities(Import *x, ValueId scores, bool open) {
  if (open) return calc_softmax(x, OP_SOFTMAX, scores, 3);
  ValueId zero = imp_scalar(x, calc_dtype(x, scores), 0);
  ValueId none = calc_op2c(x, OP_EQ, calc_reduce(x, OP_REDUCE_MAX, scores, 3), (double)-INFINITY);
  ValueId p = calc_softmax(x, OP_SOFTMAX, calc_where(x, none, zero, scores), 3);
  return calc_where(x, none, zero, p);
}

static double default_scale(Import *x, ValueId q) {
  Dim d = calc_dim(x, q, 3);
  return imp_has(x, "scale") ? imp_float(x, "scale", 1) : dim_is_const(d) && d.k > 0 ? 1 / sqrt((double)d.k) : 0;
}

static bool head_size_known(Import *x, ValueId q) {
  if (imp_has(x, "scale") || dim_is_const(calc_dim(x, q, 3))) return true;
  return imp_fail(x, "shape", "the head size must be known, or attribute 'scale' given");
}

static DType softmax_type(Import *x, DType dflt) {
  DType t = dtype_from_onnx((int)imp_int(x, "softmax_precision", 0));
  return t == DT_NONE ? dflt : t;
}

/* Inputs: Q, K, V, attn_mask, past_key, past_value, nonpad_kv_seqlen. Outputs: Y, present_key, present_value,
 * scores as qk_matmul_output_mode asks: 0 raw, 1 after softcap, 2 after the mask, 3 probabilities. */
bool import_attention(Import *x) {
  if (!calc_needs(x, 3)) return false;
  int64_t hq = imp_int(x, "q_num_heads", 0), hkv = imp_int(x, "kv_num_heads", 0),
          mode = imp_int(x, "qk_matmul_output_mode", 0);
  bool flat = imp_rank(x, 0) == 3;
  DType t = imp_dtype(x, 0);
  ValueId q = split_heads(x, x->in[0], hq), k = split_heads(x, x->in[1], hkv), v = split_heads(x, x->in[2], hkv);
  if (!q || !k || !v) return false;
  if (calc_rank(x, q) != 4 || calc_rank(x, k) != 4 || calc_rank(x, v) != 4)
    return imp_fail(x, "shape", "Q, K and V must all have rank 3 or all rank 4");
  if (!head_size_known(x, q)) return false;
  Dim s = calc_dim(x, q, 2), past = DIM(0);
  if (imp_present(x, 4)) {
    past = calc_dim(x, x->in[4], 2);
    k = calc_concat2(x, 2, x->in[4], k);
    v = imp_present(x, 5) ? calc_concat2(x, 2, x->in[5], v) : v;
  }
  calc_set(x, 1, k);
  calc_set(x, 2, v);

  ValueId valid = imp_present(x, 6) ? x->in[6] : 0, offset = calc_dim_value(x, DT_I64, past);
  if (valid && !imp_present(x, 4)) {
    Dim column[] = { calc_dim(x, valid, 0), DIM(1), DIM(1), DIM(1) };
    offset = calc_reshape(x, calc_sub(x, valid, calc_dim_value(x, DT_I64, s)), column, 4);
  }
  double scale = default_scale(x, q), root = sqrt(scale), cap = imp_float(x, "softcap", 0);
  ValueId raw = grouped_matmul(x, calc_mulc(x, q, root), calc_swap_last(x, calc_mulc(x, k, root))), capped = raw;
  if (cap != 0) capped = calc_mulc(x, calc_op1(x, OP_TANH, calc_op2c(x, OP_DIV, raw, cap)), cap);
  ValueId mask = imp_present(x, 3) ? x->in[3] : 0;
  ValueId scores = masked(x, capped, mask, visible_keys(x, s, calc_dim(x, k, 2), offset, valid));
  bool open = !mask && !valid && imp_int(x, "left_window_size", -1) < 0;
  ValueId p = calc_cast(x, probabilities(x, calc_cast(x, scores, softmax_type(x, t)), open), t);
  calc_set(x, 3, mode == 0 ? raw : mode == 1 ? capped : mode == 2 ? scores : p);
  ValueId y = grouped_matmul(x, calc_cast(x, p, calc_dtype(x, v)), v);
  y = calc_cast(x, y, t);
  return calc_set(x, 0, flat ? join_heads(x, y) : y);
}

/* A modifier region (scores) -> scores, put in place. */
static ValueId modified(Import *x, const char *name, ValueId v) {
  if (!v || !imp_has(x, name)) return v;
  Graph *g = imp_graph_typed(x, name, calc_type(x, v), 1);
  if (!g) return 0;
  if (g->inputs.len != 1 || g->outputs.len != 1) {
    imp_fail(x, "shape", "'%s' must have one input and one output", name);
    return 0;
  }
  calc_inline(x, g, &v, 1);
  return g->outputs.at[0];
}

bool import_flex_attention(Import *x) {
  if (!calc_needs(x, 3)) return false;
  for (int k = 0; k < 3; k++)
    if (imp_rank(x, k) != 4) return imp_fail(x, "shape", "Q, K and V must have rank 4");
  if (!head_size_known(x, x->in[0])) return false;
  DType t = imp_dtype(x, 0), wide = softmax_type(x, t == DT_F64 ? DT_F64 : DT_F32);
  double root = sqrt(default_scale(x, x->in[0]));
  ValueId raw = grouped_matmul(x, calc_mulc(x, x->in[0], root), calc_swap_last(x, calc_mulc(x, x->in[1], root)));
  ValueId scores = modified(x, "score_mod", calc_cast(x, raw, wide));
  ValueId p = modified(x, "prob_mod", calc_softmax(x, OP_SOFTMAX, scores, 3));
  return calc_set(x, 0, calc_cast(x, grouped_matmul(x, calc_cast(x, p, imp_dtype(x, 2)), x->in[2]), t));
}

/* Pairs (x1, x2) of the first `dim` features turn by the angle of their position: halves of the head, or
 * neighbours when interleaved. Caches are [P, dim/2] with position_ids [B, S], or [B, S, dim/2]. */
bool import_rotary_embedding(Import *x) {
  if (!calc_needs(x, 3)) return false;
  bool flat = imp_rank(x, 0) == 3, neighbours = imp_int(x, "interleaved", 0) != 0;
  ValueId v = split_heads(x, x->in[0], imp_int(x, "num_heads", 0));
  if (!v) return false;
  Type t = *calc_type(x, v);
  int64_t part = imp_int(x, "rotary_embedding_dim", 0);
  Dim dim = part ? DIM(part) : t.dims[3], half = dim_floordiv(dim, DIM(2));
  ValueId factor[2];
  for (int k = 0; k < 2; k++) {                          /* cos, sin: [B, 1, S, dim/2] */
    ValueId c = x->in[1 + k];
    if (imp_present(x, 3)) c = calc_gather(x, c, 0, x->in[3]);
    factor[k] = calc_unsqueeze(x, c, 1);
  }
  ValueId turn = dim_eq(dim, t.dims[3]) ? v : calc_slice1(x, v, 3, DIM(0), dim);
  ValueId a = neighbours ? calc_slice_step(x, turn, 3, 0, 2, half) : calc_slice1(x, turn, 3, DIM(0), half);
  ValueId b = neighbours ? calc_slice_step(x, turn, 3, 1, 2, half) : calc_slice1(x, turn, 3, half, half);
  ValueId re = calc_sub(x, calc_mul(x, factor[0], a), calc_mul(x, factor[1], b));
  ValueId im = calc_add(x, calc_mul(x, factor[1], a), calc_mul(x, factor[0], b));
  Dim shape[] = { t.dims[0], t.dims[1], t.dims[2], dim };
  ValueId y = neighbours
      ? calc_reshape(x, calc_concat2(x, 4, calc_unsqueeze(x, re, 4), calc_unsqueeze(x, im, 4)), shape, 4)
      : calc_concat2(x, 3, re, im);
  if (!dim_eq(dim, t.dims[3])) y = calc_concat2(x, 3, y, calc_slice1(x, v, 3, dim, dim_sub(t.dims[3], dim)));
  return calc_set(x, 0, y && flat ? join_heads(x, y) : y);
}

/* a * sigmoid(alpha * a) * b */
bool import_swiglu(Import *x) {
  if (!calc_needs(x, 2)) return false;
  double alpha = imp_float(x, "alpha", 1);
  ValueId a = x->in[0];
  ValueId gate = alpha == 1 ? calc_op1(x, OP_SILU, a) : calc_mul(x, a, calc_op1(x, OP_SIGMOID, calc_mulc(x, a, alpha)));
  return calc_set(x, 0, calc_mul(x, gate, x->in[1]));
}
