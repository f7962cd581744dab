/* Views: what moves no data. */
#include "frontend/export.h"

bool export_reshape(Export *x) {
  const Attr *s = node_dims(x->n, "shape");
  return exp_give(x, 0, exp_reshape(x, exp_in(x, 0), exp_type(x, 0), s->dims, s->n));
}

bool export_transpose(Export *x) { return exp_direct(x, "Transpose") && exp_copy_list(x, "perm", "perm"); }

bool export_expand(Export *x) {
  const Attr *s = node_dims(x->n, "shape");
  return exp_give(x, 0, EXP(x, "Expand", exp_in(x, 0), exp_sizes(x, s->dims, s->n)));
}

/* starts + i * steps, i < shape -> starts, ends, axes, steps of the axes that change. An end below element 0 (steps < 0)
 * is said from the other side: ONNX counts negative ends from the back. */
bool export_slice(Export *x) {
  const Attr *starts = node_dims(x->n, "starts"), *steps = node_dims(x->n, "steps"), *shape = node_dims(x->n, "shape");
  const Type *t = exp_type(x, 0);
  Dim from[MAX_RANK], to[MAX_RANK], by[MAX_RANK], axes[MAX_RANK];
  int n = 0;
  for (int k = 0; k < t->rank; k++) {
    Dim start = starts->dims[k], step = steps->dims[k], size = shape->dims[k];
    if (dim_is(start, 0) && dim_is(step, 1) && dim_eq(size, t->dims[k])) continue;
    if (!dim_is_const(step)) return exp_fail(x, "its step %s is not a number", dim_text(step));
    Dim end = dim_add(start, dim_mul(size, step));
    if (step.k < 0) end = dim_sub(end, t->dims[k]);
    if (dim_is(size, 0)) start = end = DIM(0), step = DIM(1);
    axes[n] = DIM(k), from[n] = start, to[n] = end, by[n++] = step;
  }
  if (!n) return exp_direct(x, "Identity");
  return exp_give(x, 0, EXP(x, "Slice", exp_in(x, 0), exp_sizes(x, from, n), exp_sizes(x, to, n), exp_sizes(x, axes, n),
                            exp_sizes(x, by, n)));
}

bool export_pad(Export *x) {
  const Attr *before = node_dims(x->n, "before"), *after = node_dims(x->n, "after");
  Dim all[2 * MAX_RANK];
  for (int k = 0; k < before->n; k++) all[k] = before->dims[k], all[k + before->n] = after->dims[k];
  const char *y = EXP(x, "Pad", exp_in(x, 0), exp_sizes(x, all, 2 * before->n), exp_in(x, 1));
  exp_str(x, "mode", node_str(x->n, "mode", "constant"));
  return exp_give(x, 0, y);
}

bool export_concat(Export *x) {
  bool ok = exp_direct(x, "Concat");
  exp_int(x, "axis", node_int(x->n, "axis", 0));
  return ok;
}

/* ONNX's indices are i32 or i64; those of some operators only i64. */
static const char *index_of(Export *x, int k, bool wide) {
  DType t = exp_type(x, k)->dtype;
  return exp_cast(x, exp_in(x, k), t, t == DT_I32 && !wide ? DT_I32 : DT_I64);
}

static bool gather(Export *x, const char *op, bool wide, const char *attr) {
  const char *y = EXP(x, op, exp_in(x, 0), index_of(x, 1, wide));
  exp_int(x, attr, node_int(x->n, attr, 0));
  return exp_give(x, 0, y);
}

bool export_gather(Export *x) { return gather(x, "Gather", false, "axis"); }
bool export_gather_elements(Export *x) { return gather(x, "GatherElements", false, "axis"); }
bool export_gather_nd(Export *x) { return gather(x, "GatherND", true, "batch_dims"); }

/* One row, in a type that Range has, laid along its axis and repeated. */
bool export_iota(Export *x) {
  const Attr *s = node_dims(x->n, "shape");
  int axis = (int)node_int(x->n, "axis", 0);
  const Type *t = exp_out_type(x, 0);
  DType in = t->dtype == DT_F32 || t->dtype == DT_F64 || t->dtype == DT_I32 ? t->dtype : DT_I64;
  Dim n = s->n ? s->dims[axis] : DIM(1), line[MAX_RANK];
  const char *end = exp_cast(x, exp_reshape(x, exp_size(x, n), &(Type){.rank = 1}, NULL, 0), DT_I64, in);
  const char *v = EXP(x, "Range", exp_scalar(x, in, 0), end, exp_scalar(x, in, 1));
  v = exp_cast(x, v, in, t->dtype);
  for (int k = 0; k < s->n; k++) line[k] = k == axis ? n : DIM(1);
  Type row = type_of(t->dtype, 1, &n);
  if (s->n != 1) v = exp_reshape(x, v, &row, line, s->n);
  if (s->n > 1) v = EXP(x, "Expand", v, exp_sizes(x, s->dims, s->n));
  return exp_give(x, 0, v);
}

bool export_dims(Export *x) {
  const Attr *d = node_dims(x->n, "dims");
  const char *v = exp_sizes(x, d->dims, d->n);
  if (node_int(x->n, "rank", 1) == 0) v = exp_reshape(x, v, &(Type){.rank = 1}, NULL, 0);
  else v = EXP(x, "Identity", v);
  return exp_give(x, 0, v);
}

bool export_cast(Export *x) {
  DType to = (DType)node_attr(x->n, "to")->i;
  bool ok = exp_direct(x, "Cast");
  exp_int(x, "to", dtype_info[to].onnx);
  if (narrow_limit(to) > 0 && dtype_bytes(to) == 1) exp_int(x, "saturate", node_int(x->n, "saturate", 1));
  return ok;
}
