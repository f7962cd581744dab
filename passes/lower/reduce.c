/* Reductions, arg-reductions, scans along an axis, softmax and the normalisations: everything that combines
 * elements along axes. Sums of f32 run in f32, one per loop: inner sums are added to outer ones; the order is the axis
 * order, then the vector lanes' halves. */
#include "passes/lower/functions.h"
#include <math.h>
#include <float.h>

Expr *reduce_identity(Builder *b, ScalarOp op, DType t) {
  if (op == S_ADD) return ex_const(b, t, 0);
  if (op == S_MUL) return ex_const(b, t, 1);
  bool lowest = op == S_MAX;
  if (t == DT_F32 || t == DT_F64) return ex_const(b, t, lowest ? -INFINITY : INFINITY);
  int bits = dtype_info[t].bits;
  if (t == DT_BOOL) return ex_const_int(b, t, lowest ? 0 : 1);
  if (dtype_info[t].cls == CLASS_UINT)
    return ex_const_int(b, t, lowest ? 0 : bits == 64 ? -1 : (int64_t)((1ull << bits) - 1));
  int64_t top = bits == 64 ? INT64_MAX : ((int64_t)1 << (bits - 1)) - 1;
  return ex_const_int(b, t, lowest ? -top - 1 : top);
}

static bool reduce(Lower *l, const Node *n, ScalarOp op) {
  Builder *b = &l->b;
  const Type *x = &value_of(l->m, n->in[0])->type, *y = &value_of(l->m, n->out[0])->type;
  const Attr *axes = node_dims(n, "axes");
  bool keep = node_int(n, "keepdims", 1), cut[MAX_RANK] = {0};
  for (int k = 0; axes && k < axes->n; k++) cut[axes->dims[k].k] = true;
  // Vector lanes: along the output's contiguous axis when the input is contiguous there, else along the last reduced axis.
  int inner = -1;
  for (int k = x->rank - 1; k >= 0; k--)
    if (!dim_is(x->dims[k], 1) && lower_contiguous(l, n->in[0], k)) { inner = k; break; }
  Expr *i[MAX_RANK], *j[MAX_RANK];
  int at = 0;
  for (int k = 0; k < x->rank; k++) {
    if (cut[k]) { if (keep) i[at++] = ex_int(b, 0); continue; }
    i[at++] = j[k] = loop_begin(b, "i", ex_int(b, 0), ex_dim(b, x->dims[k]), 1,
                                k == inner ? FOR_PARALLEL_VECTOR : FOR_PARALLEL);
  }
  DType t = dtype_compute(y->dtype);
  // A partial result per loop: a hundred thousand numbers added to one f32 would lose two digits more.
  Var *r[MAX_RANK + 1] = {reg(b, "r", reduce_identity(b, op, t))};
  int depth = 0;
  for (int k = 0; k < x->rank; k++) {
    if (!cut[k]) continue;
    if (depth) r[depth] = reg(b, "part", reduce_identity(b, op, t));
    j[k] = loop_begin(b, "k", ex_int(b, 0), ex_dim(b, x->dims[k]), 1, k == inner ? FOR_VECTOR : FOR_SEQ);
    depth++;
  }
  Expr *v = ex_cast(b, t, lower_read(l, n->in[0], j));
  for (int k = depth; k--; v = ex_var(b, r[k])) {
    st_set(b, r[k], ex_scalar(b, op, ex_var(b, r[k]), v, NULL));
    loop_end(b);
  }
  if (!depth) st_set(b, r[0], ex_scalar(b, op, ex_var(b, r[0]), v, NULL));
  lower_write(l, i, ex_var(b, r[0]));
  for (int k = 0; k < x->rank; k++) if (!cut[k]) loop_end(b);
  return true;
}

bool lower_reduce_sum(Lower *l, const Node *n) { return reduce(l, n, S_ADD); }
bool lower_reduce_prod(Lower *l, const Node *n) { return reduce(l, n, S_MUL); }
bool lower_reduce_max(Lower *l, const Node *n) { return reduce(l, n, S_MAX); }
bool lower_reduce_min(Lower *l, const Node *n) { return reduce(l, n, S_MIN); }

static bool arg_reduce(Lower *l, const Node *n, ScalarOp better) {
  Builder *b = &l->b;
  const Type *x = &value_of(l->m, n->in[0])->type;
  int axis = (int)node_int(n, "axis", 0);
  bool keep = node_int(n, "keepdims", 1);
  if (node_int(n, "select_last", 0)) better = better == S_GT ? S_GE : S_LE;
  Expr *i[MAX_RANK], *j[MAX_RANK];
  int at = 0;
  for (int k = 0; k < x->rank; k++) {
    if (k == axis) { if (keep) i[at++] = ex_int(b, 0); continue; }
    i[at++] = j[k] = loop_begin(b, "i", ex_int(b, 0), ex_dim(b, x->dims[k]), 1, FOR_PARALLEL);
  }
  j[axis] = ex_int(b, 0);
  Var *best = reg(b, "best", lower_read(l, n->in[0], j)), *where = reg(b, "where", ex_int(b, 0));
  Expr *k = j[axis] = loop_begin(b, "k", ex_int(b, 1), ex_dim(b, x->dims[axis]), 1, FOR_SEQ);
  Expr *v = let(b, "v", lower_read(l, n->in[0], j));
  if_begin(b, ex_scalar(b, better, v, ex_var(b, best), NULL));
  st_set(b, best, v);
  st_set(b, where, k);
  if_end(b);
  loop_end(b);
  lower_write(l, i, ex_var(b, where));
  for (int q = 0; q < x->rank; q++) if (q != axis) loop_end(b);
  return true;
}

bool lower_argmax(Lower *l, const Node *n) { return arg_reduce(l, n, S_GT); }
bool lower_argmin(Lower *l, const Node *n) { return arg_reduce(l, n, S_LT); }

/* Loops over every axis but those from `first` to `last`; `inner`: which of them may become lanes. */
static void outer_loops(Lower *l, const Type *t, Expr **i, int first, int last, int inner) {
  for (int k = 0; k < t->rank; k++)
    if (k < first || k > last)
      i[k] = loop_begin(&l->b, "i", ex_int(&l->b, 0), ex_dim(&l->b, t->dims[k]), 1,
                        k == inner ? FOR_PARALLEL_VECTOR : FOR_PARALLEL);
}

static void outer_loops_end(Lower *l, const Type *t, int first, int last) {
  for (int k = 0; k < t->rank; k++) if (k < first || k > last) loop_end(&l->b);
}

static bool cumulate(Lower *l, const Node *n, ScalarOp op) {
  Builder *b = &l->b;
  const Type *x = &value_of(l->m, n->in[0])->type;
  int axis = (int)node_int(n, "axis", 0);
  bool exclusive = node_int(n, "exclusive", 0), reverse = node_int(n, "reverse", 0);
  Expr *i[MAX_RANK];
  outer_loops(l, x, i, axis, axis, x->rank - 1);
  DType t = dtype_compute(x->dtype);
  Var *r = reg(b, "r", ex_const(b, t, op == S_MUL));
  Expr *k = loop_begin(b, "k", ex_int(b, 0), ex_dim(b, x->dims[axis]), 1, FOR_SEQ);
  i[axis] = reverse ? ex_sub(b, ex_sub(b, ex_dim(b, x->dims[axis]), ex_int(b, 1)), k) : k;
  Expr *v = let(b, "v", lower_read(l, n->in[0], i));
  if (exclusive) lower_write(l, i, ex_var(b, r));
  st_set(b, r, ex_scalar(b, op, ex_var(b, r), v, NULL));
  if (!exclusive) lower_write(l, i, ex_var(b, r));
  loop_end(b);
  outer_loops_end(l, x, axis, axis);
  return true;
}

bool lower_cumsum(Lower *l, const Node *n) { return cumulate(l, n, S_ADD); }
bool lower_cumprod(Lower *l, const Node *n) { return cumulate(l, n, S_MUL); }

Expr *lower_seen(Lower *l, const Node *softmax, Expr *row) {
  Builder *b = &l->b;
  const Type *t = &value_of(l->m, softmax->in[0])->type;
  const Attr *ahead = node_dims(softmax, "ahead");
  Expr *size = ex_dim(b, t->dims[node_int(softmax, "axis", 0)]);
  return ahead ? ex_min(b, size, ex_add(b, row, ex_dim(b, dim_add(ahead->dims[0], DIM(1))))) : size;
}

/* softmax: m = max x; s = sum exp(x - m); y = exp(x - m) / s. exp is computed once, kept in a row of scratch when
 * the axis is contiguous. log_softmax: y = x - m - log s. A row of only -inf gives NaN, as the specification. */
static bool softmax(Lower *l, const Node *n, bool logarithm) {
  Builder *b = &l->b;
  const Type *x = &value_of(l->m, n->in[0])->type;
  int axis = (int)node_int(n, "axis", 0);
  DType t = dtype_compute(x->dtype);
  bool row = lower_contiguous(l, n->in[0], axis);
  int inner = row ? -1 : x->rank - 1;
  ForMode mode = row ? FOR_VECTOR : FOR_SEQ;
  Expr *i[MAX_RANK], *zero = ex_int(b, 0), *size = ex_dim(b, x->dims[axis]);
  outer_loops(l, x, i, axis, axis, inner);
  Expr *seen = let(b, "seen", lower_seen(l, n, axis ? i[axis - 1] : NULL));
  Buf *keep = row && !logarithm ? lower_scratch(l, "row", t, x->dims[axis]) : NULL;
  Var *top = reg(b, "top", ex_const(b, t, -INFINITY));
  i[axis] = loop_begin(b, "k", zero, seen, 1, mode);
  st_set(b, top, ex_max(b, ex_var(b, top), lower_read(l, n->in[0], i)));
  loop_end(b);
  Var *sum = reg(b, "sum", ex_const(b, t, 0));
  Expr *k = i[axis] = loop_begin(b, "k", zero, seen, 1, keep ? FOR_VECTOR : mode);
  Expr *e = ex_scalar(b, S_EXP, ex_sub(b, lower_read(l, n->in[0], i), ex_var(b, top)), NULL, NULL);
  if (keep) { e = let(b, "e", e); st_store(b, keep, k, e); }
  st_set(b, sum, ex_add(b, ex_var(b, sum), e));
  loop_end(b);
  Expr *scale = logarithm ? let(b, "shift", ex_add(b, ex_var(b, top), ex_scalar(b, S_LOG, ex_var(b, sum), NULL, NULL)))
                          : let(b, "scale", ex_scalar(b, S_DIV, ex_const(b, t, 1), ex_var(b, sum), NULL));
  k = i[axis] = loop_begin(b, "k", zero, seen, 1, mode);
  if (logarithm) {
    lower_write(l, i, ex_sub(b, lower_read(l, n->in[0], i), scale));
  } else {
    Expr *again = keep ? ex_load(b, keep, k)
                       : ex_scalar(b, S_EXP, ex_sub(b, lower_read(l, n->in[0], i), ex_var(b, top)), NULL, NULL);
    lower_write(l, i, ex_mul(b, again, scale));
  }
  loop_end(b);
  if (node_attr(n, "ahead")) {
    i[axis] = loop_begin(b, "k", seen, size, 1, mode);
    lower_write(l, i, ex_const(b, t, 0));
    loop_end(b);
  }
  outer_loops_end(l, x, axis, axis);
  return true;
}

bool lower_softmax(Lower *l, const Node *n) { return softmax(l, n, false); }
bool lower_log_softmax(Lower *l, const Node *n) { return softmax(l, n, true); }

/* layer_norm over axes [axis, rank): mean and variance of the centred row (two passes, as the specification),
 * y = (x - mean) * rstd * scale + bias. rms_norm: y = x / sqrt(mean(x^2) + epsilon) * scale. */
static void norm_loops(Lower *l, const Type *x, Expr **i, int axis) {
  for (int k = axis; k < x->rank; k++)
    i[k] = loop_begin(&l->b, "k", ex_int(&l->b, 0), ex_dim(&l->b, x->dims[k]), 1,
                      k == x->rank - 1 ? FOR_VECTOR : FOR_SEQ);
}

static void norm_loops_end(Lower *l, const Type *x, int axis) {
  for (int k = axis; k < x->rank; k++) loop_end(&l->b);
}

static bool normalise(Lower *l, const Node *n, bool centre) {
  Builder *b = &l->b;
  const Type *x = &value_of(l->m, n->in[0])->type;
  int axis = (int)node_int(n, "axis", 0);
  DType t = dtype_compute(x->dtype);
  Dim size = DIM(1);
  for (int k = axis; k < x->rank; k++) size = dim_mul(size, x->dims[k]);
  Expr *i[MAX_RANK], *inverse = ex_scalar(b, S_DIV, ex_const(b, t, 1), ex_cast(b, t, ex_dim(b, size)), NULL);
  outer_loops(l, x, i, axis, x->rank - 1, -1);
  Expr *mean = NULL;
  if (centre) {
    Var *sum = reg(b, "sum", ex_const(b, t, 0));
    norm_loops(l, x, i, axis);
    st_set(b, sum, ex_add(b, ex_var(b, sum), lower_read(l, n->in[0], i)));
    norm_loops_end(l, x, axis);
    mean = let(b, "mean", ex_mul(b, ex_var(b, sum), inverse));
  }
  Var *squares = reg(b, "squares", ex_const(b, t, 0));
  norm_loops(l, x, i, axis);
  Expr *v = lower_read(l, n->in[0], i);
  if (centre) v = ex_sub(b, v, mean);
  v = let(b, "v", v);
  st_set(b, squares, ex_fma(b, v, v, ex_var(b, squares)));
  norm_loops_end(l, x, axis);
  Expr *var = ex_add(b, ex_mul(b, ex_var(b, squares), inverse), ex_const(b, t, node_float(n, "epsilon", 1e-5)));
  Expr *rstd = let(b, "rstd", ex_scalar(b, S_DIV, ex_const(b, t, 1), ex_scalar(b, S_SQRT, var, NULL, NULL), NULL));
  norm_loops(l, x, i, axis);
  v = lower_read(l, n->in[0], i);
  if (centre) v = ex_sub(b, v, mean);
  v = ex_mul(b, v, rstd);
  if (n->nin > 1 && n->in[1]) v = ex_mul(b, v, lower_read_broadcast(l, n->in[1], x, i));
  if (n->nin > 2 && n->in[2]) v = ex_add(b, v, lower_read_broadcast(l, n->in[2], x, i));
  lower_write(l, i, v);
  norm_loops_end(l, x, axis);
  Expr *stat[2] = {mean, rstd};
  for (int k = 1; k < n->nout; k++) {
    if (!n->out[k] || !value_is_stored(l->fusion, n->out[k])) continue;
    for (int q = axis; q < x->rank; q++) i[q] = ex_int(b, 0);
    lower_write_to(l, n->out[k], i, stat[k - 1]);
  }
  outer_loops_end(l, x, axis, x->rank - 1);
  return true;
}

bool lower_layer_norm(Lower *l, const Node *n) { return normalise(l, n, true); }
bool lower_rms_norm(Lower *l, const Node *n) { return normalise(l, n, false); }
