/* Shorthand for building graphs; see build.h. */
#include "ir/build.h"

static int from_end(int axis, int rank) { return axis < 0 ? axis + rank : axis; }

Dim build_dim(Graph *g, ValueId v, int axis) {
  if (!v) return DIM(0);
  const Type *t = build_type(g, v);
  int a = from_end(axis, t->rank);
  return a >= 0 && a < t->rank ? t->dims[a] : DIM(0);
}

/* ---- any op ---- */

bool build_multi(Graph *g, Op op, const ValueId *in, int nin, const Attr *attr, int nattr, ValueId *out, int nout) {
  Module *m = g->module;
  int errors = m->diags->errors;
  NodeId n = graph_add_node(g, op, in, nin, nout, attr, nattr);
  bool ok = m->diags->errors == errors;
  for (int k = 0; k < nout; k++) out[k] = ok ? node_of(m, n)->out[k] : 0;
  return ok;
}

ValueId build_op(Graph *g, Op op, const ValueId *in, int nin, const Attr *attr, int nattr) {
  ValueId out = 0;
  if (nin && !in[0]) return 0;
  build_multi(g, op, in, nin, attr, nattr, &out, 1);
  return out;
}

ValueId build_op1(Graph *g, Op op, ValueId a) { return a ? build_op(g, op, &a, 1, NULL, 0) : 0; }

ValueId build_op2(Graph *g, Op op, ValueId a, ValueId b) {
  return a && b ? build_op(g, op, (ValueId[]){a, b}, 2, NULL, 0) : 0;
}

ValueId build_op3(Graph *g, Op op, ValueId a, ValueId b, ValueId c) {
  return a && b && c ? build_op(g, op, (ValueId[]){a, b, c}, 3, NULL, 0) : 0;
}

ValueId build_op2c(Graph *g, Op op, ValueId a, double b) {
  return a ? build_op2(g, op, a, build_scalar(g, build_dtype(g, a), b)) : 0;
}

ValueId build_c2op(Graph *g, Op op, double a, ValueId b) {
  return b ? build_op2(g, op, build_scalar(g, build_dtype(g, b), a), b) : 0;
}

/* ---- leaves ---- */

ValueId build_scalar(Graph *g, DType t, double v) { return graph_scalar(g->module, t, v); }

ValueId build_fill(Graph *g, DType t, double v, const Dim *shape, int rank) {
  return build_expand(g, build_scalar(g, t, v), shape, rank);
}

ValueId build_zeros_like(Graph *g, ValueId v) {
  if (!v) return 0;
  Type t = *build_type(g, v);
  return build_fill(g, t.dtype, 0, t.dims, t.rank);
}

ValueId build_iota(Graph *g, DType t, const Dim *shape, int rank, int axis) {
  Attr a[] = {attr_dtype("dtype", t), attr_dims(g->module, "shape", shape, rank), attr_int("axis", axis)};
  return build_op(g, OP_IOTA, NULL, 0, a, 3);
}

ValueId build_dim_value(Graph *g, DType t, Dim d) {
  if (dim_is_const(d)) return build_scalar(g, t, (double)d.k);
  Attr a[] = {attr_dims(g->module, "dims", &d, 1), attr_int("rank", 0)};
  return build_cast(g, build_op(g, OP_DIMS, NULL, 0, a, 2), t);
}

/* ---- shapes ---- */

static bool has_shape(const Type *t, const Dim *shape, int rank) {
  if (t->rank != rank) return false;
  for (int k = 0; k < rank; k++)
    if (!dim_eq(t->dims[k], shape[k])) return false;
  return true;
}

ValueId build_cast(Graph *g, ValueId v, DType to) {
  if (!v || build_dtype(g, v) == to) return v;
  Attr a = attr_dtype("to", to);
  return build_op(g, OP_CAST, &v, 1, &a, 1);
}

ValueId build_reshape(Graph *g, ValueId v, const Dim *shape, int rank) {
  if (!v || has_shape(build_type(g, v), shape, rank)) return v;
  Attr a = attr_dims(g->module, "shape", shape, rank);
  return build_op(g, OP_RESHAPE, &v, 1, &a, 1);
}

ValueId build_reshape_like(Graph *g, ValueId v, const Type *t) { return build_reshape(g, v, t->dims, t->rank); }

ValueId build_transpose(Graph *g, ValueId v, const int *perm, int rank) {
  if (!v) return 0;
  int64_t p[MAX_RANK];
  bool identity = true;
  for (int k = 0; k < rank; k++) p[k] = perm[k], identity &= perm[k] == k;
  if (identity) return v;
  Attr a = attr_ints(g->module, "perm", p, rank);
  return build_op(g, OP_TRANSPOSE, &v, 1, &a, 1);
}

ValueId build_swap(Graph *g, ValueId v, int axis1, int axis2) {
  int perm[MAX_RANK], r = build_rank(g, v);
  for (int k = 0; k < r; k++) perm[k] = k;
  int a = from_end(axis1, r), b = from_end(axis2, r);
  if (!v || a < 0 || b < 0 || a >= r || b >= r) return 0;
  perm[a] = b;
  perm[b] = a;
  return build_transpose(g, v, perm, r);
}

ValueId build_expand(Graph *g, ValueId v, const Dim *shape, int rank) {
  if (!v || has_shape(build_type(g, v), shape, rank)) return v;
  Attr a = attr_dims(g->module, "shape", shape, rank);
  return build_op(g, OP_EXPAND, &v, 1, &a, 1);
}

ValueId build_slice(Graph *g, ValueId v, int axis, Dim start, Dim size) {
  if (!v) return 0;
  Type t = *build_type(g, v);
  int at = from_end(axis, t.rank);
  if (dim_is(start, 0) && dim_eq(size, t.dims[at])) return v;
  Dim starts[MAX_RANK], steps[MAX_RANK], shape[MAX_RANK];
  for (int k = 0; k < t.rank; k++) starts[k] = DIM(0), steps[k] = DIM(1), shape[k] = t.dims[k];
  starts[at] = start;
  shape[at] = size;
  Module *m = g->module;
  Attr a[] = {attr_dims(m, "starts", starts, t.rank), attr_dims(m, "steps", steps, t.rank),
              attr_dims(m, "shape", shape, t.rank)};
  return build_op(g, OP_SLICE, &v, 1, a, 3);
}

ValueId build_unsqueeze(Graph *g, ValueId v, int axis) {
  if (!v) return 0;
  Type t = *build_type(g, v);
  Dim shape[MAX_RANK + 1];
  int at = from_end(axis, t.rank + 1), n = 0;
  for (int k = 0; k <= t.rank; k++) shape[k] = k == at ? DIM(1) : t.dims[n++];
  return build_reshape(g, v, shape, t.rank + 1);
}

ValueId build_squeeze(Graph *g, ValueId v, int axis) {
  if (!v) return 0;
  Type t = *build_type(g, v);
  Dim shape[MAX_RANK];
  int at = from_end(axis, t.rank), n = 0;
  for (int k = 0; k < t.rank; k++) if (k != at) shape[n++] = t.dims[k];
  return build_reshape(g, v, shape, n);
}

ValueId build_align(Graph *g, ValueId v, int axis, int rank) {
  if (!v || build_rank(g, v) != 1) return v;
  Dim shape[MAX_RANK];
  for (int k = 0; k < rank; k++) shape[k] = k == from_end(axis, rank) ? build_dim(g, v, 0) : DIM(1);
  return build_reshape(g, v, shape, rank);
}

ValueId build_pad(Graph *g, ValueId v, const Dim *before, const Dim *after, ValueId value) {
  if (!v) return 0;
  int r = build_rank(g, v);
  bool any = false;
  for (int k = 0; k < r; k++) any |= !dim_is(before[k], 0) || !dim_is(after[k], 0);
  if (!any) return v;
  Attr a[] = {attr_dims(g->module, "before", before, r), attr_dims(g->module, "after", after, r),
              attr_str("mode", "constant")};
  return build_op(g, OP_PAD, (ValueId[]){v, value}, value ? 2 : 1, a, 3);
}

ValueId build_concat(Graph *g, int axis, const ValueId *v, int n) {
  for (int k = 0; k < n; k++) if (!v[k]) return 0;
  if (n == 1) return v[0];
  Attr a = attr_int("axis", from_end(axis, build_rank(g, v[0])));
  return build_op(g, OP_CONCAT, v, n, &a, 1);
}

ValueId build_gather(Graph *g, ValueId v, int axis, ValueId index) {
  if (!v || !index) return 0;
  Attr a = attr_int("axis", from_end(axis, build_rank(g, v)));
  return build_op(g, OP_GATHER, (ValueId[]){v, index}, 2, &a, 1);
}

/* ---- reductions ---- */

ValueId build_reduce(Graph *g, Op op, ValueId v, const int *axes, int n, bool keepdims) {
  if (!v || !n) return v;
  int64_t at[MAX_RANK];
  for (int k = 0; k < n; k++) at[k] = axes[k];
  Attr a[] = {attr_ints(g->module, "axes", at, n), attr_int("keepdims", keepdims)};
  return build_op(g, op, &v, 1, a, 2);
}

ValueId build_reduce_all(Graph *g, Op op, ValueId v) {
  int axes[MAX_RANK], r = build_rank(g, v);
  for (int k = 0; k < r; k++) axes[k] = k;
  return build_reduce(g, op, v, axes, r, false);
}

ValueId build_mean(Graph *g, ValueId v, const int *axes, int n, bool keepdims) {
  if (!v) return 0;
  Dim count = DIM(1);
  for (int k = 0; k < n; k++) count = dim_mul(count, build_dim(g, v, axes[k]));
  ValueId sum = build_reduce(g, OP_REDUCE_SUM, v, axes, n, keepdims);
  return build_div(g, sum, build_dim_value(g, build_dtype(g, v), count));
}

ValueId build_sum_to(Graph *g, ValueId v, const Type *t) {
  if (!v) return 0;
  Type from = *build_type(g, v), to = *t;
  int axes[MAX_RANK], n = 0, lead = from.rank - to.rank;
  for (int k = 0; k < from.rank; k++)
    if (k < lead || (dim_is(to.dims[k - lead], 1) && !dim_is(from.dims[k], 1))) axes[n++] = k;
  return build_reshape(g, build_reduce(g, OP_REDUCE_SUM, v, axes, n, true), to.dims, to.rank);
}

ValueId build_softmax(Graph *g, Op op, ValueId v, int axis) {
  if (!v) return 0;
  Attr a = attr_int("axis", from_end(axis, build_rank(g, v)));
  return build_op(g, op, &v, 1, &a, 1);
}

ValueId build_matmul(Graph *g, ValueId a, ValueId b) { return build_op2(g, OP_MATMUL, a, b); }
