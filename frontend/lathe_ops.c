/* Functions of the network language that own nothing: activations, pools, shapes, reductions, random tensors, and every
 * op of the graph IR by its own name. */
#include "frontend/lathe_build.h"
#include "base/intern.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- elementwise rows of scalar.def ---- */

/* What the weights before such a function should start as. */
static const char *init_for(Op op) {
  switch ((int)op) {
    case OP_RELU: case OP_GELU: case OP_GELU_TANH: case OP_SILU: case OP_MISH: case OP_SOFTPLUS: return "kaiming";
    case OP_TANH: case OP_SIGMOID: return "xavier";
    default: return NULL;
  }
}

static Val apply_one(Call *c, Op op, ScalarDomain domain) {
  Graph *g = c->l->g;
  ValueId x = lang_as_tensor(c->l, c->arg[0], domain == DOM_FLT ? DT_F32 : DT_NONE);
  if (domain == DOM_FLT && !dtype_is_float(build_dtype(g, x))) x = build_cast(g, x, DT_F32);
  if (init_for(op)) follow_decide(c->l, x, init_for(op));
  return val_tensor(build_op1(g, op, x));
}

Val function_scalar(Call *c) {
  Op op = op_from_text(c->f->name);
  const ScalarInfo *s = &scalar_info[op_scalar(op)];
  if (s->arity == 1) return apply_one(c, op, s->domain);
  int first = s->arity == 3;                                    // where: the condition stands alone
  ValueId x, y;
  if (!lang_operands(c->l, c->arg[first], c->arg[first + 1], s->domain == DOM_FLT, &x, &y)) return val_error();
  if (!first) return val_tensor(build_op2(c->l->g, op, x, y));
  return val_tensor(build_where(c->l->g, build_cast(c->l->g, lang_as_tensor(c->l, c->arg[0], DT_BOOL), DT_BOOL), x, y));
}

/* ---- rows of ops.def: inputs by position, attributes by name ---- */

static bool list_attr(Call *c, const char *name, const Val *v, bool floats, Attr *out) {
  int n = v->kind == VAL_TUPLE ? v->n : 1;
  Dim *d = NEW_N(c->l->a, Dim, n + 1);
  double *f = NEW_N(c->l->a, double, n + 1);
  for (int k = 0; k < n; k++) {
    const Val *x = v->kind == VAL_TUPLE ? &v->at[k] : v;
    d[k] = x->i;
    f[k] = x->f;
  }
  *out = floats ? attr_floats(c->l->m, name, f, n) : attr_dims(c->l->m, name, d, n);
  return true;
}

/* The k-th attribute of the row: argument k + 1 of the call. False: there is none, or it was left out. */
static bool make_attr(Call *c, const char *spec, int k, int rank, Attr *out) {
  const Val *v = &c->arg[k + 1];
  char name[32], kind[12];
  if (v->kind == VAL_NONE || sscanf(spec, "%31[^: ]:%11[^= ]", name, kind) != 2) return false;
  if (!strcmp(kind, "int")) {
    int64_t i = v->i.k;
    if (!strcmp(name, "axis") && i < 0) i += rank;
    *out = attr_int(name, i);
  } else if (!strcmp(kind, "float")) *out = attr_float(name, v->f);
  else if (!strcmp(kind, "str")) *out = attr_str(name, v->s);
  else if (!strcmp(kind, "dtype")) *out = attr_dtype(name, dtype_from_text(v->s));
  else return list_attr(c, name, v, !strcmp(kind, "floats"), out);
  return true;
}

/* Regions, tensors and lists of names cannot be said. */
static bool is_callable(Op op) {
  const OpInfo *info = &op_info[op];
  if (info->how == HOW_CONTROL || op == OP_GRADIENT) return false;
  return !strstr(info->attrs, ":tensor") && !strstr(info->attrs, ":strs");
}

Val function_op(Call *c) {
  Op op = op_from_text(c->f->name);
  const OpInfo *info = &op_info[op];
  const Val *inputs = &c->arg[0];
  if (!is_callable(op)) return call_fail(c, -1, "unsupported", "cannot be called from the language");
  if (inputs->n < info->min_in || (info->max_in >= 0 && inputs->n > info->max_in))
    return call_fail(c, -1, "name", "takes %d to %d tensors, not %d", info->min_in, info->max_in, inputs->n);
  ValueId in[64];
  if (inputs->n > 64) return call_fail(c, -1, "name", "takes at most 64 tensors");
  for (int k = 0; k < inputs->n; k++) in[k] = inputs->at[k].v;
  Attr a[CALL_MAX];
  int n = 0, k = 0, rank = inputs->n ? build_rank(c->l->g, in[0]) : 0;
  for (const char *s = info->attrs; *s; k++) {
    n += make_attr(c, s, k, rank, &a[n]);
    s += strcspn(s, " ");
    s += strspn(s, " ");
  }
  int nout = info->nout < 1 ? 1 : info->nout;
  ValueId out[8];
  if (!build_multi(c->l->g, op, in, inputs->n, a, n, out, nout)) return val_error();
  if (nout == 1) return val_tensor(out[0]);
  Val v = {.kind = VAL_TUPLE, .n = nout, .at = NEW_N(c->l->a, Val, nout)};
  for (int i = 0; i < nout; i++) v.at[i] = val_tensor(out[i]);
  return v;
}

/* ---- activations ---- */

Val function_leaky_relu(Call *c) {
  Graph *g = c->l->g;
  ValueId x = call_tensor(c, 0);
  follow_decide(c->l, x, "kaiming");
  return val_tensor(build_where(g, build_op2c(g, OP_GT, x, 0), x, build_mulc(g, x, call_float(c, 1))));
}

/* expm1 of what is above 0 would overflow to inf, and inf times no gradient is NaN: it is cut off first. */
Val function_elu(Call *c) {
  Graph *g = c->l->g;
  ValueId x = call_tensor(c, 0);
  follow_decide(c->l, x, "kaiming");
  ValueId low = build_mulc(g, build_op1(g, OP_EXPM1, build_op2c(g, OP_MIN, x, 0)), call_float(c, 1));
  return val_tensor(build_where(g, build_op2c(g, OP_GT, x, 0), x, low));
}

static ValueId clamp(Graph *g, ValueId x, double low, double high) {
  return build_op2c(g, OP_MIN, build_op2c(g, OP_MAX, x, low), high);
}

static ValueId hard_sigmoid(Graph *g, ValueId x) {
  return clamp(g, build_addc(g, build_mulc(g, x, 1.0 / 6), 0.5), 0, 1);
}

Val function_hard_sigmoid(Call *c) { return val_tensor(hard_sigmoid(c->l->g, call_tensor(c, 0))); }

Val function_hard_swish(Call *c) {
  follow_decide(c->l, call_tensor(c, 0), "kaiming");
  return val_tensor(build_mul(c->l->g, call_tensor(c, 0), hard_sigmoid(c->l->g, call_tensor(c, 0))));
}

static Val softmax(Call *c, Op op) {
  int axis = call_axis(c, 1, call_type(c, 0)->rank);
  return axis < 0 ? val_error() : val_tensor(build_softmax(c->l->g, op, call_tensor(c, 0), axis));
}
Val function_softmax(Call *c) { return softmax(c, OP_SOFTMAX); }
Val function_log_softmax(Call *c) { return softmax(c, OP_LOG_SOFTMAX); }

Val function_clip(Call *c) { return val_tensor(clamp(c->l->g, call_tensor(c, 0), call_float(c, 1), call_float(c, 2))); }

Val function_dropout(Call *c) {
  double p = call_float(c, 1);
  if (p < 0 || p >= 1) return call_fail(c, 1, "shape", "p is a probability from 0 to below 1, not %g", p);
  ValueId y = lang_dropout(c->l, call_tensor(c, 0), p);
  if (y != call_tensor(c, 0)) follow_pass(c->l, call_tensor(c, 0), y);
  return val_tensor(y);
}

/* ---- pools ---- */

/* Arguments: x, kernel, stride, pad, then `last`: dilation (max) or count_pad (avg). */
static Val pool(Call *c, Op op) {
  if (!call_rank(c, 0, 3, MAX_RANK, "[N, C, spatial axes]")) return val_error();
  int n = call_type(c, 0)->rank - 2;
  int64_t kernel[MAX_RANK], stride[MAX_RANK], pad[2 * MAX_RANK], dilation[MAX_RANK];
  if (!call_ints(c, 1, n, 1, kernel) || !call_ints(c, call_has(c, 2) ? 2 : 1, n, 1, stride) ||
      !call_ints(c, 3, n, 0, pad)) return val_error();
  if (op == OP_MAX_POOL ? !call_ints(c, 4, n, 1, dilation) : false) return val_error();
  for (int k = 0; k < n; k++) {
    pad[k + n] = pad[k];
    if (op == OP_AVG_POOL) dilation[k] = 1;
  }
  Module *m = c->l->m;
  Attr a[] = {attr_ints(m, "kernel", kernel, n), attr_ints(m, "strides", stride, n), attr_ints(m, "pads", pad, 2 * n),
              attr_ints(m, "dilations", dilation, n), attr_int("ceil", 0),
              attr_int("count_include_pad", op == OP_AVG_POOL && call_bool(c, 4))};
  ValueId x = call_tensor(c, 0), y = build_op(c->l->g, op, &x, 1, a, op == OP_AVG_POOL ? 6 : 5);
  follow_pass(c->l, x, y);
  return val_tensor(y);
}
Val function_max_pool(Call *c) { return pool(c, OP_MAX_POOL); }
Val function_avg_pool(Call *c) { return pool(c, OP_AVG_POOL); }

static int spatial(Call *c, int *axes) {
  int n = 0;
  for (int k = 2; k < call_type(c, 0)->rank; k++) axes[n++] = k;
  return n;
}

Val function_global_avg_pool(Call *c) {
  int axes[MAX_RANK];
  if (!call_rank(c, 0, 3, MAX_RANK, "[N, C, spatial axes]")) return val_error();
  return val_tensor(build_mean(c->l->g, call_tensor(c, 0), axes, spatial(c, axes), false));
}

Val function_global_max_pool(Call *c) {
  int axes[MAX_RANK];
  if (!call_rank(c, 0, 3, MAX_RANK, "[N, C, spatial axes]")) return val_error();
  return val_tensor(build_reduce(c->l->g, OP_REDUCE_MAX, call_tensor(c, 0), axes, spatial(c, axes), false));
}

Val function_resize(Call *c) {
  Type t = *call_type(c, 0);
  if (!call_rank(c, 0, 3, MAX_RANK, "[N, C, spatial axes]")) return val_error();
  int n = t.rank - 2, given;
  int64_t factor[MAX_RANK];
  Dim shape[MAX_RANK];
  double scale[MAX_RANK] = {1, 1};
  const char *mode = call_str(c, 3);
  bool nearest = !strcmp(mode, "nearest");
  if (!nearest && strcmp(mode, "linear") && strcmp(mode, "cubic"))
    return call_fail(c, 3, "name", "mode is nearest, linear or cubic");
  if (call_has(c, 1) == call_has(c, 2)) return call_fail(c, -1, "name", "takes either scale or shape");
  if (call_has(c, 1) && !call_ints(c, 1, n, 1, factor)) return val_error();
  if (call_has(c, 2) && !call_shape(c, 2, shape, &given)) return val_error();
  if (call_has(c, 2) && given != n) return call_fail(c, 2, "shape", "%d sizes for %d spatial axes", given, n);
  for (int k = n; k-- > 0;) {
    Dim was = t.dims[k + 2], is = call_has(c, 1) ? dim_mul(was, DIM(factor[k])) : shape[k];
    bool known = dim_is_const(was) && dim_is_const(is);
    scale[k + 2] = call_has(c, 1) ? (double)factor[k] : known ? (double)is.k / (double)was.k : 0;
    shape[k + 2] = is;
  }
  shape[0] = t.dims[0];
  shape[1] = t.dims[1];
  Attr a[] = {attr_dims(c->l->m, "shape", shape, t.rank), attr_floats(c->l->m, "scales", scale, t.rank),
      attr_str("mode", mode),
              attr_str("coord", nearest ? "asymmetric" : "half_pixel"), attr_str("nearest", "floor"),
                  attr_float("cubic_a", -0.75),
              attr_int("exclude_outside", 0), attr_float("extrapolation", 0), attr_int("antialias", 0)};
  ValueId x = call_tensor(c, 0);
  return val_tensor(build_op(c->l->g, OP_RESIZE, &x, 1, a, 9));
}

/* ---- shapes ---- */

Val function_flatten(Call *c) {
  Type t = *call_type(c, 0);
  int axis = call_axis(c, 1, t.rank < MAX_RANK ? t.rank + 1 : t.rank);
  if (axis < 0) return val_error();
  Dim rest = DIM(1);
  for (int k = axis; k < t.rank; k++) rest = dim_mul(rest, t.dims[k]);
  t.dims[axis] = rest;
  return val_tensor(build_reshape(c->l->g, call_tensor(c, 0), t.dims, axis + 1));
}

Val function_reshape(Call *c) {
  Dim shape[MAX_RANK], known = DIM(1), count = type_count(call_type(c, 0)), rest;
  int n, open = -1;
  if (!call_shape(c, 1, shape, &n)) return val_error();
  for (int k = 0; k < n; k++) {
    if (!dim_is(shape[k], -1)) known = dim_mul(known, shape[k]);
    else if (open >= 0) return call_fail(c, 1, "shape", "has more than one -1");
    else open = k;
  }
  bool fits = open < 0 ? dim_eq(known, count) : dim_divisible(count, known, &rest);
  if (!fits) return call_fail(c, 1, "shape", "%s has %s elements, which does not fit", type_text(call_type(c, 0)),
      dim_text(count));
  if (open >= 0) shape[open] = rest;
  return val_tensor(build_reshape(c->l->g, call_tensor(c, 0), shape, n));
}

Val function_transpose(Call *c) {
  int rank = call_type(c, 0)->rank, perm[MAX_RANK];
  int64_t given[MAX_RANK];
  if (!call_has(c, 1)) {
    if (!call_rank(c, 0, 2, MAX_RANK, "rank 2 or more")) return val_error();
    return val_tensor(build_swap(c->l->g, call_tensor(c, 0), -2, -1));
  }
  if (!call_ints(c, 1, rank, 0, given)) return val_error();
  unsigned seen = 0;
  for (int k = 0; k < rank; k++) {
    perm[k] = (int)given[k];
    if (given[k] < rank) seen |= 1u << given[k];
  }
  if (seen != (1u << rank) - 1) return call_fail(c, 1, "shape", "perm names each of the %d axes once, from 0", rank);
  return val_tensor(build_transpose(c->l->g, call_tensor(c, 0), perm, rank));
}

static int parts_of(Call *c, ValueId *v) {
  const Val *all = &c->arg[0];
  if (!all->n || all->n > 64) { call_fail(c, -1, "name", "takes 1 to 64 tensors"); return 0; }
  for (int k = 0; k < all->n; k++) v[k] = all->at[k].v;
  return all->n;
}

Val function_concat(Call *c) {
  ValueId v[64];
  int n = parts_of(c, v), axis = n ? call_axis(c, 1, build_rank(c->l->g, v[0])) : -1;
  return axis < 0 ? val_error() : val_tensor(build_concat(c->l->g, axis, v, n));
}

Val function_stack(Call *c) {
  ValueId v[64];
  int n = parts_of(c, v), axis = n ? call_axis(c, 1, build_rank(c->l->g, v[0]) + 1) : -1;
  if (axis < 0) return val_error();
  for (int k = 0; k < n; k++) v[k] = build_unsqueeze(c->l->g, v[k], axis);
  return val_tensor(build_concat(c->l->g, axis, v, n));
}

Val function_squeeze(Call *c) {
  int axis = call_axis(c, 1, call_type(c, 0)->rank);
  if (axis < 0) return val_error();
  if (!dim_is(call_type(c, 0)->dims[axis], 1))
    return call_fail(c, 1, "shape", "axis %d of %s has not size 1", axis, type_text(call_type(c, 0)));
  return val_tensor(build_squeeze(c->l->g, call_tensor(c, 0), axis));
}

Val function_unsqueeze(Call *c) {
  int axis = call_axis(c, 1, call_type(c, 0)->rank + 1);
  if (axis < 0 || !call_rank(c, 0, 0, MAX_RANK - 1, "a tensor of at most 11 axes")) return val_error();
  return val_tensor(build_unsqueeze(c->l->g, call_tensor(c, 0), axis));
}

Val function_flip(Call *c) {
  Type t = *call_type(c, 0);
  int axis = call_axis(c, 1, t.rank);
  if (axis < 0) return val_error();
  Dim starts[MAX_RANK] = {{0}}, steps[MAX_RANK];
  for (int k = 0; k < t.rank; k++) steps[k] = DIM(k == axis ? -1 : 1);
  starts[axis] = dim_sub(t.dims[axis], DIM(1));
  Module *m = c->l->m;
  Attr a[] = {attr_dims(m, "starts", starts, t.rank), attr_dims(m, "steps", steps, t.rank),
              attr_dims(m, "shape", t.dims, t.rank)};
  ValueId x = call_tensor(c, 0);
  return val_tensor(build_op(c->l->g, OP_SLICE, &x, 1, a, 3));
}

Val function_in_training(Call *c) { return c->arg[c->l->training ? 0 : 1]; }

Val function_expand(Call *c) {
  Dim shape[MAX_RANK];
  int n;
  if (!call_shape(c, 1, shape, &n)) return val_error();
  return val_tensor(build_expand(c->l->g, lang_as_tensor(c->l, c->arg[0], DT_NONE), shape, n));
}

Val function_cast(Call *c) {
  return val_tensor(build_cast(c->l->g, lang_as_tensor(c->l, c->arg[0], DT_NONE), dtype_from_text(call_str(c, 1))));
}

Val function_one_hot(Call *c) {
  Type t = *call_type(c, 0);
  if (!dtype_is_int(t.dtype)) return call_fail(c, 0, "type", "takes integers, not %s", type_text(&t));
  if (!call_rank(c, 0, 0, MAX_RANK - 1, "a tensor of at most 11 axes")) return val_error();
  Graph *g = c->l->g;
  Dim classes = call_dim(c, 1);
  ValueId place = build_iota(g, t.dtype, &classes, 1, 0);
  return val_tensor(build_cast(g, build_op2(g, OP_EQ, build_unsqueeze(g, call_tensor(c, 0), -1), place), DT_F32));
}

Val function_size(Call *c) {
  int axis = call_axis(c, 1, call_type(c, 0)->rank);
  return axis < 0 ? val_error() : val_int(call_type(c, 0)->dims[axis]);
}

Val function_range(Call *c) {
  Dim n = call_dim(c, 0);
  return val_tensor(build_iota(c->l->g, DT_I64, &n, 1, 0));
}

Val function_gather(Call *c) {
  int axis = call_axis(c, 2, call_type(c, 0)->rank);
  return axis < 0 ? val_error() : val_tensor(build_gather(c->l->g, call_tensor(c, 0), axis, call_tensor(c, 1)));
}

/* ---- reductions ---- */

/* The axes that argument 1 names, sorted; all without it. -1 after an error. */
static int axes_of(Call *c, int *axes) {
  int rank = call_type(c, 0)->rank, n = 0;
  bool in[MAX_RANK] = {false};
  const Val *v = &c->arg[1];
  for (int k = 0; k < (v->kind == VAL_TUPLE ? v->n : v->kind == VAL_NONE ? 0 : 1); k++) {
    Dim given = v->kind == VAL_TUPLE ? v->at[k].i : v->i;
    int64_t a = given.k;
    if (!dim_is_const(given) || a < -rank || a >= rank) {
      call_fail(c, 1, "shape", "axis %s of %s", dim_text(given), type_text(call_type(c, 0)));
      return -1;
    }
    in[a < 0 ? a + rank : a] = true;
  }
  for (int k = 0; k < rank; k++) if (in[k] || v->kind == VAL_NONE) axes[n++] = k;
  return n;
}

static Val reduce(Call *c, Op op) {
  int axes[MAX_RANK], n = axes_of(c, axes);
  return n < 0 ? val_error() : val_tensor(build_reduce(c->l->g, op, call_tensor(c, 0), axes, n, call_bool(c, 2)));
}
Val function_sum(Call *c) { return reduce(c, OP_REDUCE_SUM); }
Val function_reduce_max(Call *c) { return reduce(c, OP_REDUCE_MAX); }
Val function_reduce_min(Call *c) { return reduce(c, OP_REDUCE_MIN); }

static ValueId as_float(Call *c) {
  ValueId x = call_tensor(c, 0);
  return dtype_is_float(build_dtype(c->l->g, x)) ? x : build_cast(c->l->g, x, DT_F32);
}

Val function_mean(Call *c) {
  int axes[MAX_RANK], n = axes_of(c, axes);
  return n < 0 ? val_error() : val_tensor(build_mean(c->l->g, as_float(c), axes, n, call_bool(c, 2)));
}

Val function_variance(Call *c) {
  int axes[MAX_RANK], n = axes_of(c, axes);
  if (n < 0) return val_error();
  Graph *g = c->l->g;
  ValueId x = as_float(c), d = build_sub(g, x, build_mean(g, x, axes, n, true));
  return val_tensor(build_mean(g, build_mul(g, d, d), axes, n, call_bool(c, 2)));
}

Val function_argmax(Call *c) {
  int axis = call_axis(c, 1, call_type(c, 0)->rank);
  if (axis < 0) return val_error();
  Attr a[] = {attr_int("axis", axis), attr_int("keepdims", 0), attr_int("select_last", 0)};
  ValueId x = call_tensor(c, 0);
  return val_tensor(build_op(c->l->g, OP_ARGMAX, &x, 1, a, 3));
}

/* ---- random tensors ---- */

static Val random_of(Call *c, const char *kind, double scale, double shift) {
  const Val *v = &c->arg[0];
  Dim shape[MAX_RANK];
  if (v->n > MAX_RANK) return call_fail(c, 0, "shape", "%d sizes; tensors have at most %d", v->n, MAX_RANK);
  for (int k = 0; k < v->n; k++) shape[k] = v->at[k].i;
  return val_tensor(lang_random(c->l, kind, shape, v->n, scale, shift));
}
Val function_normal(Call *c) { return random_of(c, "normal", call_float(c, 2), call_float(c, 1)); }
Val function_uniform(Call *c) { return random_of(c, "uniform", call_float(c, 2) - call_float(c, 1), call_float(c, 1)); }
