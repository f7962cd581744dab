/* Operators that carry a state from call to call: LinearAttention, CausalConvWithState, TensorScatter.
 *
 * LinearAttention is a scan over time whose body is built here. Per step, with state S [B, Hkv, dk, dv]:
 *   S = exp(g) S                                   gated, gated_delta
 *   u = v                                          linear, gated
 *   u = beta (v - S^T k)                           delta, gated_delta
 *   S = S + k u^T        o = scale q^T S */
#include "frontend/calc.h"
#include <math.h>

/* [B, T, H*D] -> [T, B, H, D]; D from H */
static ValueId time_first(Import *x, ValueId v, int64_t heads) {
  static const int perm[] = { 1, 0, 2, 3 };
  Dim d;
  if (!v) return 0;
  if (calc_rank(x, v) != 3 || !dim_divisible(calc_dim(x, v, 2), DIM(heads), &d)) {
    imp_fail(x, "shape", "%s does not divide into %lld heads", type_text(calc_type(x, v)), (long long)heads);
    return 0;
  }
  Dim shape[] = { calc_dim(x, v, 0), calc_dim(x, v, 1), DIM(heads), d };
  return calc_transpose(x, calc_reshape(x, v, shape, 4), perm, 4);
}

typedef struct Step { ValueId state, q, k, v, decay, beta; int64_t group; double scale; } Step;

/* One step; q [B, Hq, dk], k [B, Hkv, dk], v [B, Hkv, dv], decay [B, Hkv, dk or 1], beta [B, Hkv or 1, 1]. */
static void linear_step(Import *x, const Step *s, ValueId *state, ValueId *out) {
  ValueId S = s->state, u = s->v;
  if (s->decay) S = calc_mul(x, S, calc_unsqueeze(x, calc_op1(x, OP_EXP, s->decay), 3));
  if (s->beta) {
    ValueId seen = calc_squeeze(x, calc_matmul(x, calc_unsqueeze(x, s->k, 2), S), 2);          /* k^T S: [B, Hkv, dv] */
    u = calc_mul(x, calc_sub(x, u, seen), s->beta);
  }
  *state = calc_add(x, S, calc_mul(x, calc_unsqueeze(x, s->k, 3), calc_unsqueeze(x, u, 2)));
  Dim b = calc_dim(x, s->q, 0), hq = calc_dim(x, s->q, 1), dk = calc_dim(x, s->q, 2), dv = calc_dim(x, s->v, 2);
  Dim grouped[] = { b, dim_floordiv(hq, DIM(s->group)), DIM(s->group), dk }, flat[] = { b, hq, dv };
  ValueId o = calc_matmul(x, calc_reshape(x, s->q, grouped, 4), *state);
  *out = calc_mulc(x, calc_reshape(x, o, flat, 3), s->scale);
}

bool import_linear_attention(Import *x) {
  if (!calc_needs(x, 3)) return false;
  int64_t hq = imp_int(x, "q_num_heads", 0), hkv = imp_int(x, "kv_num_heads", 0);
  const char *rule = imp_str(x, "update_rule", "gated_delta");
  bool gated = !strncmp(rule, "gated", 5), delta = strstr(rule, "delta") != NULL;
  if (hq < 1 || hkv < 1 || hq % hkv)
    return imp_fail(x, "shape", "%lld query heads, %lld key heads", (long long)hq, (long long)hkv);
  if (!gated && !delta && strcmp(rule, "linear")) return imp_fail(x, "unsupported", "update_rule '%s'", rule);
  if ((gated && !imp_present(x, 4)) || (delta && !imp_present(x, 5)))
    return imp_fail(x, "shape", "update_rule '%s' lacks its decay or beta", rule);
  DType t = imp_dtype(x, 0);
  ValueId in[6] = { 0, time_first(x, calc_wide(x, x->in[0]), hq), time_first(x, calc_wide(x, x->in[1]), hkv),
                    time_first(x, calc_wide(x, x->in[2]), hkv), 0, 0 };
  DType w = calc_dtype(x, in[1]);
  if (gated) in[4] = time_first(x, calc_wide(x, x->in[4]), hkv);
  if (delta) in[5] = time_first(x, calc_wide(x, x->in[5]), dim_is(imp_type(x, 5)->dims[2], 1) ? 1 : hkv);
  if (!in[1] || !in[2] || !in[3]) return false;
  Dim dk = calc_dim(x, in[2], 3), state[] = { calc_dim(x, in[1], 1), DIM(hkv), dk, calc_dim(x, in[3], 3) };
  double scale = imp_float(x, "scale", 0);
  if (scale == 0 && !dim_is_const(dk))
    return imp_fail(x, "shape", "the key size must be known, or attribute 'scale' given");
  DType keep = imp_present(x, 3) ? imp_dtype(x, 3) : t;
  in[0] = imp_present(x, 3) ? calc_cast(x, x->in[3], w) : calc_fill(x, w, 0, state, 4);

  Graph *body = graph_new(x->m, "step", 0), *around = x->g;      /* inputs: the state, then what is there of q k v decay beta */
  Step s = { .group = hq / hkv, .scale = scale != 0 ? scale : 1 / sqrt((double)dk.k) };
  ValueId *part[] = { &s.state, &s.q, &s.k, &s.v, &s.decay, &s.beta }, given[6], next, out;
  int n = 0;
  for (int k = 0; k < 6; k++) {
    if (!in[k]) continue;
    Type type = *calc_type(x, in[k]);
    if (k) {
      for (int i = 1; i < type.rank; i++) type.dims[i - 1] = type.dims[i];
      type.rank--;
    }
    *part[k] = graph_add_input(body, NULL, type);
    given[n++] = in[k];
  }
  x->g = body;
  linear_step(x, &s, &next, &out);
  x->g = around;
  if (!next || !out) return false;
  *vec_push(&x->m->perm, &body->outputs) = next;
  *vec_push(&x->m->perm, &body->outputs) = out;
  static const int back[] = { 1, 0, 2, 3 };
  ValueId result[2];
  Dim zero[6] = { DIM(0) };
  Attr a[] = {attr_int("scan_inputs", n - 1), attr_dims(x->m, "in_axes", zero, n - 1),
              attr_dims(x->m, "in_reverse", zero, n - 1), attr_dims(x->m, "out_axes", zero, 1),
              attr_dims(x->m, "out_reverse", zero, 1)};
  if (!calc_regions(x, OP_SCAN, given, n, a, 5, &body, 1, result, 2)) return false;
  Dim flat[] = { state[0], calc_dim(x, in[1], 0), dim_mul(DIM(hq), state[3]) };
  calc_set(x, 1, calc_cast(x, result[0], keep));
  return calc_set(x, 0, calc_cast(x, calc_reshape(x, calc_transpose(x, result[1], back, 4), flat, 3), t));
}

/* Depthwise convolution over what came before (k-1 positions: past_state or zeros) and the input. The activation
 * is computed in f32. */
bool import_causal_conv(Import *x) {
  if (!calc_needs(x, 2)) return false;
  Type w = *imp_type(x, 1), in = *imp_type(x, 0);
  if (in.rank != 3 || w.rank != 3 || !dim_is_const(w.dims[2]) || !dim_is_const(w.dims[0]))
    return imp_fail(x, "shape", "input %s, weight %s; [B, C, L] and [C, 1, k] are needed", type_text(&in),
                    type_text(&w));
  Dim before = dim_sub(w.dims[2], DIM(1));
  ValueId past = imp_present(x, 3) ? x->in[3] : 0, all;
  if (past && dim_is(before, 0)) past = 0;
  all = past ? calc_concat2(x, 2, past, x->in[0]) : calc_pad_axis(x, x->in[0], 2, before, DIM(0), 0);
  int64_t one = 1, none[2] = { 0, 0 };
  Attr a[] = {attr_ints(x->m, "strides", &one, 1), attr_ints(x->m, "pads", none, 2),
              attr_ints(x->m, "dilations", &one, 1), attr_int("group", w.dims[0].k)};
  ValueId y = calc_op(x, OP_CONV, (ValueId[]){all, x->in[1], imp_present(x, 2) ? x->in[2] : 0},
                      imp_present(x, 2) ? 3 : 2, a, 4);
  const char *f = imp_str(x, "activation", "none");
  if (!strcmp(f, "silu") || !strcmp(f, "swish")) y = calc_cast(x, calc_op1(x, OP_SILU, calc_wide(x, y)), in.dtype);
  else if (strcmp(f, "none")) return imp_fail(x, "unsupported", "activation '%s' is not silu, swish or none", f);
  calc_set(x, 1, calc_slice1(x, all, 2, dim_sub(calc_dim(x, all, 2), before), before));
  return calc_set(x, 0, y);
}

/* update goes into past_cache along `axis`, from write_indices[b] on; circular: around the end. */
bool import_tensor_scatter(Import *x) {
  if (!calc_needs(x, 2)) return false;
  Type in = *imp_type(x, 0), u = *imp_type(x, 1);
  int axis = imp_axis(x, imp_int(x, "axis", -2), in.rank);
  const char *mode = imp_str(x, "mode", "linear");
  if (axis < 0) return false;
  if (axis == 0 || u.rank != in.rank)
    return imp_fail(x, "shape", "cache %s, update %s, axis %d", type_text(&in), type_text(&u), axis);
  ValueId at = calc_align(x, calc_range(x, DT_I64, u.dims[axis]), axis, in.rank);
  if (imp_present(x, 2)) at = calc_add(x, at, calc_align(x, calc_cast(x, x->in[2], DT_I64), 0, in.rank));
  if (!strcmp(mode, "circular")) at = calc_op2(x, OP_MOD, at, calc_dim_value(x, DT_I64, in.dims[axis]));
  else if (strcmp(mode, "linear")) return imp_fail(x, "unsupported", "mode '%s' is not linear or circular", mode);
  Attr a[] = { attr_int("axis", axis), attr_str("reduction", "none") };
  ValueId v[] = { x->in[0], calc_expand(x, at, u.dims, u.rank), x->in[1] };
  return calc_set(x, 0, v[1] ? calc_op(x, OP_SCATTER_ELEMENTS, v, 3, a, 2) : 0);
}
