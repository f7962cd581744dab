/* Arithmetic shorthand for importers; see calc.h. Thin layers over graph_op and the imp_ functions: the only
 * things decided here are that an absent operand makes the result absent, and how constants are written. */
#include "frontend/calc.h"
#include "ir/build.h"
#include <math.h>

const Type *calc_type(Import *x, ValueId v) {
  static const Type none = { .dtype = DT_NONE };
  return v ? &value_of(x->m, v)->type : &none;
}

bool calc_needs(Import *x, int n) {
  for (int k = 0; k < n; k++)
    if (!imp_present(x, k)) return imp_fail(x, "parse", "input %d is missing; %d are needed", k, n);
  return true;
}

static int from_end(int axis, int rank) { return axis < 0 ? axis + rank : axis; }

Dim calc_dim(Import *x, ValueId v, int axis) {
  return build_dim(x->g, v, axis);
}

Dim calc_product(const Dim *d, int n) {
  Dim p = DIM(1);
  for (int i = 0; i < n; i++) p = dim_mul(p, d[i]);
  return p;
}

bool calc_is_narrow(DType t) { return dtype_is_float(t) && t != DT_F32 && t != DT_F64; }

/* ---- leaves */

ValueId calc_tensor(Import *x, const Tensor *t) { return graph_add_constant(x->m, NULL, t); }

ValueId calc_floats(Import *x, DType t, const double *v, int n) {
  Tensor *c = tensor_new(&x->m->perm, t, 1, (int64_t[]){ n });
  for (int i = 0; i < n; i++) tensor_set(c, i, v[i]);
  return calc_tensor(x, c);
}

ValueId calc_iota(Import *x, DType t, const Dim *shape, int rank, int axis) {
  ImportMark since = imp_mark(x);
  return x->failed ? 0 : imp_made(x, since, build_iota(x->g, t, shape, rank, axis));
}

ValueId calc_range(Import *x, DType t, Dim n) { return calc_iota(x, t, &n, 1, 0); }

ValueId calc_dim_value(Import *x, DType t, Dim d) {
  if (dim_is_const(d)) return imp_scalar(x, t, (double)d.k);
  return calc_cast(x, imp_dims_value(x, &d, -1), t);
}

ValueId calc_fill(Import *x, DType t, double v, const Dim *shape, int rank) {
  return calc_expand(x, imp_scalar(x, t, v), shape, rank);
}

/* ---- ops */

ValueId calc_op1(Import *x, Op op, ValueId a) { return a ? imp_op1(x, op, a) : 0; }
ValueId calc_op2(Import *x, Op op, ValueId a, ValueId b) { return a && b ? imp_op2(x, op, a, b) : 0; }
ValueId calc_op3(Import *x, Op op, ValueId a, ValueId b, ValueId c) {
  return a && b && c ? imp_op3(x, op, a, b, c) : 0;
}

ValueId calc_op(Import *x, Op op, const ValueId *in, int nin, const Attr *attr, int nattr) {
  return in[0] ? imp_op(x, op, in, nin, attr, nattr) : 0;
}

ValueId calc_op2c(Import *x, Op op, ValueId a, double b) {
  return a ? imp_op2(x, op, a, imp_scalar(x, calc_dtype(x, a), b)) : 0;
}
ValueId calc_c2op(Import *x, Op op, double a, ValueId b) {
  return b ? imp_op2(x, op, imp_scalar(x, calc_dtype(x, b), a), b) : 0;
}
ValueId calc_clip(Import *x, ValueId a, double lo, double hi) {
  return calc_op2c(x, OP_MIN, calc_op2c(x, OP_MAX, a, lo), hi);
}

/* ---- shapes */

ValueId calc_cast(Import *x, ValueId v, DType to) {
  return !v || calc_dtype(x, v) == to ? v : imp_cast(x, v, to);
}

ValueId calc_wide(Import *x, ValueId v) { return calc_is_narrow(calc_dtype(x, v)) ? calc_cast(x, v, DT_F32) : v; }

ValueId calc_reshape(Import *x, ValueId v, const Dim *shape, int rank) {
  return v ? imp_reshape(x, v, shape, rank) : 0;
}

ValueId calc_transpose(Import *x, ValueId v, const int *perm, int rank) {
  return v ? imp_transpose(x, v, perm, rank) : 0;
}

ValueId calc_swap_last(Import *x, ValueId v) {
  int perm[MAX_RANK], r = calc_rank(x, v);
  if (r < 2) return 0;
  for (int i = 0; i < r; i++) perm[i] = i < r - 2 ? i : 2 * r - 3 - i;
  return calc_transpose(x, v, perm, r);
}

ValueId calc_expand(Import *x, ValueId v, const Dim *shape, int rank) {
  return v ? imp_expand(x, v, shape, rank) : 0;
}

ValueId calc_slice1(Import *x, ValueId v, int axis, Dim start, Dim size) {
  return v ? imp_slice1(x, v, axis, start, size) : 0;
}

ValueId calc_slice_step(Import *x, ValueId v, int axis, int64_t start, int64_t step, Dim size) {
  if (!v) return 0;
  int r = calc_rank(x, v), at = from_end(axis, r);
  Dim starts[MAX_RANK], steps[MAX_RANK], shape[MAX_RANK];
  for (int i = 0; i < r; i++) {
    starts[i] = DIM(i == at ? start : 0);
    steps[i] = DIM(i == at ? step : 1);
    shape[i] = i == at ? size : calc_dim(x, v, i);
  }
  Attr a[] = {attr_dims(x->m, "starts", starts, r), attr_dims(x->m, "steps", steps, r),
              attr_dims(x->m, "shape", shape, r)};
  return imp_op(x, OP_SLICE, &v, 1, a, 3);
}

ValueId calc_unsqueeze(Import *x, ValueId v, int axis) {
  if (!v) return 0;
  int at = from_end(axis, calc_rank(x, v) + 1);
  return imp_unsqueeze(x, v, &at, 1);
}

ValueId calc_squeeze(Import *x, ValueId v, int axis) {
  ImportMark since = imp_mark(x);
  return x->failed ? 0 : imp_made(x, since, build_squeeze(x->g, v, axis));
}

ValueId calc_align(Import *x, ValueId v, int axis, int rank) {
  ImportMark since = imp_mark(x);
  return x->failed ? v : imp_made(x, since, build_align(x->g, v, axis, rank));
}

ValueId calc_pad_axis(Import *x, ValueId v, int axis, Dim before, Dim after, double value) {
  if (!v || (dim_is(before, 0) && dim_is(after, 0))) return v;
  Dim b[MAX_RANK], e[MAX_RANK];
  int r = calc_rank(x, v), at = from_end(axis, r);
  for (int i = 0; i < r; i++) b[i] = i == at ? before : DIM(0), e[i] = i == at ? after : DIM(0);
  Attr a[] = { attr_dims(x->m, "before", b, r), attr_dims(x->m, "after", e, r), attr_str("mode", "constant") };
  ValueId in[] = { v, value == 0 ? 0 : imp_scalar(x, calc_dtype(x, v), value) };
  return imp_op(x, OP_PAD, in, value == 0 ? 1 : 2, a, 3);
}

ValueId calc_concat(Import *x, int axis, const ValueId *v, int n) {
  ValueId *some = NEW_N(&x->m->perm, ValueId, n + 1);
  int m = 0;
  for (int i = 0; i < n; i++)
    if (v[i]) some[m++] = v[i];
  if (m <= 1) return m ? some[0] : 0;
  Attr a = attr_int("axis", from_end(axis, calc_rank(x, some[0])));
  return imp_op(x, OP_CONCAT, some, m, &a, 1);
}

ValueId calc_concat2(Import *x, int axis, ValueId a, ValueId b) {
  return a && b ? calc_concat(x, axis, (ValueId[]){ a, b }, 2) : 0;
}

ValueId calc_gather(Import *x, ValueId v, int axis, ValueId index) {
  ImportMark since = imp_mark(x);
  return x->failed ? 0 : imp_made(x, since, build_gather(x->g, v, axis, index));
}

/* ---- reductions */

ValueId calc_reduce(Import *x, Op op, ValueId v, int axis) {
  int at = from_end(axis, calc_rank(x, v));
  return v ? imp_reduce(x, op, v, &at, 1, true) : 0;
}

ValueId calc_reduce_all(Import *x, Op op, ValueId v) {
  int axes[MAX_RANK], r = calc_rank(x, v);
  for (int i = 0; i < r; i++) axes[i] = i;
  return !v || !r ? v : imp_reduce(x, op, v, axes, r, false);
}

/* Narrow floats are summed in f32: their own range is too small for a sum. */
ValueId calc_mean(Import *x, ValueId v, const int *axes, int n, bool keepdims) {
  if (!v) return 0;
  DType t = calc_dtype(x, v);
  Dim count = DIM(1);
  for (int i = 0; i < n; i++) count = dim_mul(count, calc_dim(x, v, axes[i]));
  ValueId sum = imp_reduce(x, OP_REDUCE_SUM, calc_wide(x, v), axes, n, keepdims);
  return calc_cast(x, calc_div(x, sum, calc_dim_value(x, calc_dtype(x, sum), count)), t);
}

ValueId calc_softmax(Import *x, Op op, ValueId v, int axis) {
  ImportMark since = imp_mark(x);
  return x->failed ? 0 : imp_made(x, since, build_softmax(x->g, op, v, axis));
}

ValueId calc_matmul(Import *x, ValueId a, ValueId b) { return calc_op2(x, OP_MATMUL, a, b); }

bool calc_const_floats(Import *x, int k, double *v, int most, int *n) {
  const Tensor *t = imp_constant(x, k);
  if (!imp_present(x, k)) return imp_fail(x, "parse", "input %d is missing", k);
  if (!t) {
    const Value *in = value_of(x->m, x->in[k]);
    imp_fail(x, "unsupported", "input %d ('%s') exists only at run time, but must be known when compiling", k,
             in->name);
    if (!in->def) diag_note(x->m->diags, "hint: fix it when compiling, with --bind %s=VALUES", in->name);
    return false;
  }
  if (tensor_count(t) > most)
    return imp_fail(x, "shape", "input %d has %lld elements, at most %d fit", k, (long long)tensor_count(t), most);
  *n = (int)tensor_count(t);
  for (int i = 0; i < *n; i++) v[i] = tensor_get(t, i);
  return true;
}

/* ---- quantisation */

void dtype_range(DType t, double *lo, double *hi) {
  int bits = dtype_info[t].bits;
  bool is_signed = dtype_info[t].cls == CLASS_INT;
  *lo = is_signed ? -ldexp(1, bits - 1) : 0;
  *hi = ldexp(1, is_signed ? bits - 1 : bits) - 1;
}

/* The sum is in f32 even for narrow v: both terms are integers below 2^24 or the result is clamped anyway. */
ValueId calc_saturate(Import *x, ValueId v, ValueId zp, DType to) {
  double lo, hi;
  dtype_range(to, &lo, &hi);
  ValueId r = calc_wide(x, calc_op1(x, OP_ROUND, v));
  if (zp) r = calc_add(x, r, calc_cast(x, zp, calc_dtype(x, r)));
  return calc_cast(x, calc_clip(x, r, lo, hi), to);
}

ValueId calc_dynamic_quantise(Import *x, ValueId v, ValueId *scale, ValueId *zp) {
  ValueId hi = calc_op2c(x, OP_MAX, calc_reduce_all(x, OP_REDUCE_MAX, v), 0);
  ValueId lo = calc_op2c(x, OP_MIN, calc_reduce_all(x, OP_REDUCE_MIN, v), 0);
  ValueId s = calc_op2c(x, OP_DIV, calc_sub(x, hi, lo), 255);
  *scale = calc_where(x, calc_op2c(x, OP_EQ, s, 0), imp_scalar(x, calc_dtype(x, v), 1), s);   /* all zeros */
  *zp = calc_saturate(x, calc_div(x, calc_op1(x, OP_NEG, lo), *scale), 0, DT_U8);
  return calc_saturate(x, calc_div(x, v, *scale), *zp, DT_U8);
}

/* ---- regions */

/* graph_add_node comes before the regions: inference gives types once they are attached. */
bool calc_regions(Import *x, Op op, const ValueId *in, int nin, const Attr *attr, int nattr, Graph *const *region,
                  int nregion, ValueId *out, int nout) {
  int errors = x->m->diags->errors;
  NodeId n = graph_add_node(x->g, op, in, nin, nout, attr, nattr);
  Node *nd = node_of(x->m, n);
  nd->region = arena_dup(&x->m->perm, region, (size_t)nregion * sizeof *region);
  nd->nregion = nregion;
  for (int k = 0; k < nregion; k++) region[k]->owner = n;
  for (int k = 0; k < nout; k++) out[k] = nd->out[k];
  if (infer_node(x->m, n) && x->m->diags->errors == errors) return true;
  x->failed = true;
  return false;
}

void calc_inline(Import *x, Graph *region, const ValueId *args, int n) {
  for (int k = 0; k < n && k < region->inputs.len; k++) {
    ValueId old = region->inputs.at[k];
    graph_replace_uses(x->m, old, args[k]);
    for (int i = 0; i < region->outputs.len; i++)            /* no node owns the region: uses do not reach these */
      if (region->outputs.at[i] == old) region->outputs.at[i] = args[k];
  }
  for (int i = 0; i < region->nodes.len; i++) {
    NodeId id = region->nodes.at[i];
    node_of(x->m, id)->graph = x->g;
    *vec_push(&x->m->perm, &x->g->nodes) = id;
  }
  region->nodes.len = 0;
}

bool calc_set(Import *x, int k, ValueId v) {
  if (v && k < x->nout) imp_set(x, k, v);
  return v != 0;
}
