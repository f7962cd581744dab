/* Importers of constants and of operators that only rearrange: shapes, axes, slices, concatenation. Since most of
 * them take their lists as attributes in old opsets and as inputs in newer ones, `list` reads either. */
#include <string.h>
#include "frontend/calc.h"

/* A list that is attribute `name` or, from some opset on, input k. False when it is in neither, or failed. */
static bool list(Import *x, const char *name, int k, const Dim **v, int *n) {
  if (imp_present(x, k)) return imp_dims(x, k, v, n);
  const int64_t *ints;
  *n = imp_ints(x, name, &ints);
  Dim *d = NEW_N(&x->m->perm, Dim, *n + 1);
  for (int i = 0; i < *n; i++) d[i] = DIM(ints[i]);
  *v = d;
  return imp_has(x, name) && !x->failed;
}

/* ---- constants ---- */
bool import_identity(Import *x) {
  imp_set(x, 0, x->in[0]);
  return true;
}

static ValueId list_constant(Import *x, DType t, int n, Tensor **c) {
  *c = tensor_new(&x->m->perm, t, 1, (int64_t[]){n});
  return graph_add_constant(x->m, NULL, *c);
}

bool import_constant(Import *x) {
  const int64_t *ints;
  const double *floats;
  const char *const *strs;
  Tensor *c = NULL;
  ValueId v = 0;
  if (imp_has(x, "value") || imp_has(x, "sparse_value")) {
    const Tensor *t = imp_tensor(x, imp_has(x, "value") ? "value" : "sparse_value");
    v = t ? graph_add_constant(x->m, NULL, t) : 0;
  } else if (imp_has(x, "value_float")) {
    v = imp_scalar(x, DT_F32, imp_float(x, "value_float", 0));
  } else if (imp_has(x, "value_int")) {
    c = tensor_new(&x->m->perm, DT_I64, 0, NULL);
    tensor_set_int(c, 0, imp_int(x, "value_int", 0));
    v = graph_add_constant(x->m, NULL, c);
  } else if (imp_has(x, "value_floats")) {
    int n = imp_floats(x, "value_floats", &floats);
    v = list_constant(x, DT_F32, n, &c);
    for (int k = 0; k < n; k++) tensor_set(c, k, floats[k]);
  } else if (imp_has(x, "value_ints")) {
    int n = imp_ints(x, "value_ints", &ints);
    v = imp_constant_ints(x, DT_I64, ints, n);
  } else if (imp_has(x, "value_string") || imp_has(x, "value_strings")) {
    bool one = imp_has(x, "value_string");
    int n = one ? 1 : imp_strs(x, "value_strings", &strs);
    c = tensor_new(&x->m->perm, DT_STRING, !one, (int64_t[]){n});
    for (int k = 0; k < n; k++) ((const char **)c->data)[k] = one ? imp_str(x, "value_string", "") : strs[k];
    v = graph_add_constant(x->m, NULL, c);
  } else {
    return imp_fail(x, "parse", "has no value");
  }
  imp_set(x, 0, v);
  return true;
}

/* One value, in every element. The default is the float 0. */
bool import_constant_of_shape(Import *x) {
  const Dim *shape;
  int n;
  const Tensor *t = imp_has(x, "value") ? imp_tensor(x, "value") : tensor_scalar(&x->m->perm, DT_F32, 0);
  if (!imp_dims(x, 0, &shape, &n) || !t) return false;
  if (tensor_count(t) != 1) return imp_fail(x, "shape", "its value should be one element");
  Tensor *scalar = arena_dup(&x->m->perm, t, sizeof *t);
  scalar->rank = 0;
  imp_set(x, 0, imp_expand(x, graph_add_constant(x->m, NULL, scalar), shape, n));
  return true;
}

/* ---- shapes as values ---- */
bool import_shape(Import *x) {
  const Type *t = imp_type(x, 0);
  int64_t start = imp_int(x, "start", 0), end = imp_int(x, "end", t->rank);
  if (start < 0) start += t->rank;
  if (end < 0) end += t->rank;
  if (start < 0) start = 0;
  if (end > t->rank) end = t->rank;
  imp_set(x, 0, imp_dims_value(x, t->dims + (start < end ? start : 0), start < end ? (int)(end - start) : 0));
  return true;
}

bool import_size(Import *x) {
  Dim count = type_count(imp_type(x, 0));
  imp_set(x, 0, imp_dims_value(x, &count, -1));
  return true;
}

/* ---- reshapes ---- */
/* -1 stands for what is left; 0 copies the input's axis, unless allowzero. */
static bool complete_shape(Import *x, const Type *from, const Dim *want, int n, bool allowzero, Dim *shape) {
  int open = -1;
  if (n > MAX_RANK)
    return imp_fail(x, "shape", "the result would have %d dimensions; lathe's limit is %d", n, MAX_RANK);
  for (int k = 0; k < n; k++) {
    shape[k] = want[k];
    if (dim_is(want[k], 0) && !allowzero) {
      if (k >= from->rank)
        return imp_fail(x, "shape", "the 0 at place %d of the shape copies an axis that the input lacks", k);
      shape[k] = from->dims[k];
    } else if (dim_is(want[k], -1)) {
      if (open >= 0) return imp_fail(x, "shape", "the shape has more than one -1");
      open = k;
    } else if (dim_hi(want[k]) < 0) {
      return imp_fail(x, "shape", "the shape contains %s", dim_text(want[k]));
    }
  }
  if (open < 0) return true;
  Dim rest = DIM(1), all = DIM(1);
  bool copied[MAX_RANK] = {false};                     // equal factors cancel before anything is multiplied
  for (int k = 0; k < n; k++) {
    bool cancel = false;
    for (int i = 0; i < from->rank && k != open && !cancel; i++)
      if (!copied[i] && dim_eq(from->dims[i], shape[k])) cancel = copied[i] = true;
    if (k != open && !cancel) rest = dim_mul(rest, shape[k]);
  }
  bool zero = false;
  for (int i = 0; i < from->rank; i++) {
    if (copied[i]) zero |= dim_is(from->dims[i], 0);
    else all = dim_mul(all, from->dims[i]);
  }
  if (dim_is(rest, 0)) zero = true;
  if (zero) return imp_fail(x, "shape", "the -1 of the shape cannot be known beside an axis of size 0");
  if (!dim_divisible(all, rest, &shape[open])) {
    if (dim_is_const(all) && dim_is_const(rest))
      return imp_fail(x, "shape", "%s elements do not fill a shape whose other axes take %s", dim_text(all),
                      dim_text(rest));
    if (dim_lo(rest) < 1)
      return imp_fail(x, "shape", "the -1 of the shape is %s / %s, which may divide by 0", dim_text(all),
                      dim_text(rest));
    shape[open] = dim_floordiv(all, rest);             // exact in every run that is legal
  }
  return true;
}

bool import_reshape(Import *x) {
  const Dim *want;
  Dim shape[MAX_RANK];
  int n;
  if (!list(x, "shape", 1, &want, &n)) return x->failed ? false : imp_fail(x, "shape", "lacks the shape");
  Dim first = imp_rank(x, 0) ? imp_type(x, 0)->dims[0] : DIM(0);
  if (imp_free_batch(x) && n && dim_is(want[0], 1) && !dim_is_const(first)) {   // [1, -1] of one row, [rows, -1] of many
    Dim *rows = arena_dup(&x->m->perm, want, (size_t)n * sizeof *want);
    rows[0] = first;
    want = rows;
  }
  if (!complete_shape(x, imp_type(x, 0), want, n, imp_int(x, "allowzero", 0) != 0, shape)) return false;
  imp_set(x, 0, imp_reshape(x, x->in[0], shape, n));
  return true;
}

bool import_flatten(Import *x) {
  const Type *t = imp_type(x, 0);
  int64_t axis = imp_int(x, "axis", 1);
  if (axis < 0) axis += t->rank;
  if (axis < 0 || axis > t->rank) return imp_fail(x, "shape", "axis %lld is outside rank %d", (long long)axis, t->rank);
  Dim shape[2] = {calc_product(t->dims, (int)axis), calc_product(t->dims + axis, t->rank - (int)axis)};
  imp_set(x, 0, imp_reshape(x, x->in[0], shape, 2));
  return true;
}

/* Marks `axes` (of a tensor of this rank) and counts them. */
static bool mark_axes(Import *x, const Dim *axes, int n, int rank, bool *marked) {
  memset(marked, 0, sizeof *marked * MAX_RANK);
  for (int k = 0; k < n; k++) {
    if (!dim_is_const(axes[k])) return imp_fail(x, "shape", "an axis depends on a free dim");
    int axis = imp_axis(x, axes[k].k, rank);
    if (axis < 0) return false;
    if (marked[axis]) return imp_fail(x, "shape", "axis %d is listed twice", axis);
    marked[axis] = true;
  }
  return true;
}

bool import_squeeze(Import *x) {
  Type t = *imp_type(x, 0);
  const Dim *axes;
  Dim shape[MAX_RANK];
  bool drop[MAX_RANK];
  int n, rank = 0;
  bool given = list(x, "axes", 1, &axes, &n);
  if (x->failed || !mark_axes(x, axes, n, t.rank, drop)) return false;
  ValueId v = x->in[0];
  for (int k = 0; k < t.rank; k++) {
    if (!given) drop[k] = dim_is(t.dims[k], 1);
    if (drop[k] && (dim_lo(t.dims[k]) > 1 || dim_hi(t.dims[k]) < 1))
      return imp_fail(x, "shape", "axis %d has size %s; only size 1 can be squeezed", k, dim_text(t.dims[k]));
    if (drop[k]) v = imp_slice1(x, v, k, DIM(0), DIM(1));    // a free dim: 1 in every legal run
    else shape[rank++] = t.dims[k];
  }
  imp_set(x, 0, imp_reshape(x, v, shape, rank));
  return true;
}

bool import_unsqueeze(Import *x) {
  const Type *t = imp_type(x, 0);
  const Dim *axes;
  bool is_new[MAX_RANK];
  int n, places[MAX_RANK], rank = 0;
  if (!list(x, "axes", 1, &axes, &n)) return x->failed ? false : imp_fail(x, "shape", "lacks its axes");
  if (t->rank + n > MAX_RANK)
    return imp_fail(x, "shape", "the result would have %d dimensions; lathe's limit is %d", t->rank + n, MAX_RANK);
  if (!mark_axes(x, axes, n, t->rank + n, is_new)) return false;
  for (int k = 0; k < t->rank + n; k++)
    if (is_new[k]) places[rank++] = k;
  imp_set(x, 0, imp_unsqueeze(x, x->in[0], places, n));
  return true;
}

bool import_transpose(Import *x) {
  const int64_t *want;
  int rank = imp_rank(x, 0), n = imp_ints(x, "perm", &want), perm[MAX_RANK];
  bool seen[MAX_RANK] = {false};
  if (!imp_has(x, "perm")) {
    for (int k = 0; k < rank; k++) perm[k] = rank - 1 - k;
  } else {
    if (n != rank) return imp_fail(x, "shape", "perm has %d entries, the input %d axes", n, rank);
    for (int k = 0; k < n; k++) {
      perm[k] = imp_axis(x, want[k], rank);
      if (perm[k] < 0) return false;
      if (seen[perm[k]]) return imp_fail(x, "shape", "perm lists axis %d twice", perm[k]);
      seen[perm[k]] = true;
    }
  }
  imp_set(x, 0, imp_transpose(x, x->in[0], perm, rank));
  return true;
}

/* ---- repetition ---- */
/* Both ways: a 1 in the wanted shape keeps the input's axis. */
bool import_expand(Import *x) {
  const Type *t = imp_type(x, 0);
  const Dim *want;
  Dim shape[MAX_RANK];
  int n;
  if (!imp_dims(x, 1, &want, &n)) return false;
  int rank = n > t->rank ? n : t->rank;
  if (rank > MAX_RANK)
    return imp_fail(x, "shape", "the result would have %d dimensions; lathe's limit is %d", rank, MAX_RANK);
  for (int k = 0; k < rank; k++) {
    Dim have = k < rank - t->rank ? DIM(1) : t->dims[k - (rank - t->rank)],
        to = k < rank - n ? DIM(1) : want[k - (rank - n)];
    shape[k] = dim_is(to, 1) ? have : to;
    // a symbol that may be 1 beside an axis that is larger: the larger one decides
    if (!dim_is(have, 1) && !dim_eq(have, to) && dim_is_const(have) && dim_lo(to) <= 1) shape[k] = have;
  }
  imp_set(x, 0, imp_expand(x, x->in[0], shape, rank));
  return true;
}

/* x [a, b] repeated (r, s): [1, a, 1, b] -> [r, a, s, b] -> [r*a, s*b] */
static ValueId tile(Import *x, ValueId v, const Dim *repeat) {
  Type t = value_of(x->m, v)->type;
  Dim split[MAX_RANK], wide[MAX_RANK], shape[MAX_RANK];
  int n = 0;
  for (int k = 0; k < t.rank; k++) {
    if (!dim_is(repeat[k], 1)) {
      if (n == MAX_RANK) return 0;
      split[n] = DIM(1), wide[n++] = repeat[k];
    }
    if (n == MAX_RANK) return 0;
    split[n] = wide[n] = t.dims[k], n++;
    shape[k] = dim_mul(repeat[k], t.dims[k]);
  }
  return imp_reshape(x, imp_expand(x, imp_reshape(x, v, split, n), wide, n), shape, t.rank);
}

bool import_tile(Import *x) {
  const Dim *repeat;
  int n;
  if (!imp_dims(x, 1, &repeat, &n)) return false;
  if (n != imp_rank(x, 0)) return imp_fail(x, "shape", "%d repeats for %d axes", n, imp_rank(x, 0));
  for (int k = 0; k < n; k++)
    if (dim_lo(repeat[k]) < 0) return imp_fail(x, "shape", "axis %d is repeated %s times", k, dim_text(repeat[k]));
  ValueId v = tile(x, x->in[0], repeat);
  if (!v && !x->failed) return imp_fail(x, "shape", "too many axes for lathe's limit of %d", MAX_RANK);
  imp_set(x, 0, v);
  return true;
}

/* Opset 1: the number of tiles, and the axis, are scalar inputs. */
bool import_tile_1(Import *x) {
  const Dim *tiles, *axis;
  Dim repeat[MAX_RANK];
  int n, m, rank = imp_rank(x, 0);
  if (!imp_dims(x, 1, &tiles, &n) || !imp_dims(x, 2, &axis, &m)) return false;
  if (n != 1 || m != 1 || !dim_is_const(*axis)) return imp_fail(x, "shape", "needs one number of tiles and one axis");
  int at = imp_axis(x, axis->k, rank);
  if (at < 0) return false;
  for (int k = 0; k < rank; k++) repeat[k] = k == at ? *tiles : DIM(1);
  imp_set(x, 0, tile(x, x->in[0], repeat));
  return true;
}

/* ---- joining and cutting ---- */
bool import_concat(Import *x) {
  int rank = imp_rank(x, 0);
  int axis = imp_axis(x, imp_int(x, "axis", x->opset < 4 ? 1 : 0), rank);
  if (axis < 0) return false;
  Attr attr = attr_int("axis", axis);
  imp_set(x, 0, x->nin == 1 ? x->in[0] : imp_op(x, OP_CONCAT, x->in, x->nin, &attr, 1));
  return true;
}

/* Sizes: an attribute (opset 1-12), an input (1 and 13 on), or equal parts, the last one smaller (18 on). */
bool import_split(Import *x) {
  const Type *t = imp_type(x, 0);
  int axis = imp_axis(x, imp_int(x, "axis", 0), t->rank), n;
  if (axis < 0) return false;
  const Dim *given;
  Dim size[256], at = DIM(0), whole = t->dims[axis];
  if (x->nout > 256) return imp_fail(x, "unsupported", "has more than 256 outputs");
  bool sizes = list(x, "split", 1, &given, &n);
  if (x->failed) return false;
  if (sizes && n != x->nout) return imp_fail(x, "shape", "has %d sizes for %d outputs", n, x->nout);
  int64_t parts = imp_int(x, "num_outputs", x->nout);
  if (parts != x->nout)
    return imp_fail(x, "shape", "num_outputs is %lld, but there are %d outputs", (long long)parts, x->nout);
  Dim each = x->nout ? dim_ceildiv(whole, DIM(x->nout)) : DIM(0);
  if (!sizes && x->opset < 18 && !dim_divisible(whole, DIM(x->nout), &each))
    return imp_fail(x, "shape", "cannot split %s into %d equal parts", dim_text(whole), x->nout);
  for (int k = 0; k < x->nout; k++) {
    size[k] = sizes ? given[k] : k + 1 < x->nout ? each : dim_sub(whole, dim_mul(each, DIM(k)));
    if (dim_hi(size[k]) < 0)
      return imp_fail(x, "shape", "cannot split %s into %d parts of %s", dim_text(whole), x->nout, dim_text(each));
  }
  for (int k = 0; k < x->nout; k++) {
    ValueId v = imp_slice1(x, x->in[0], axis, at, size[k]);
    if (imp_wants(x, k)) imp_set(x, k, v);
    at = dim_add(at, size[k]);
  }
  if (!dim_eq(at, whole) && dim_is_const(dim_sub(at, whole)))
    return imp_fail(x, "shape", "the parts add up to %s, the axis has %s", dim_text(at), dim_text(whole));
  return true;
}

/* One axis of a slice, ONNX rules: negative positions count from the end, everything is clamped to the axis. */
static bool slice_axis(Import *x, Dim size, Dim start, Dim end, int64_t step, Dim *first, Dim *count) {
  if (step == 0) return imp_fail(x, "shape", "a step is 0");
  if (dim_hi(start) < 0) start = dim_add(start, size);
  if (dim_hi(end) < 0 && dim_lo(end) > INT32_MIN) end = dim_add(end, size);
  else if (dim_hi(end) < 0) end = DIM(-1);               // far below: before the first, for steps backwards
  Dim last = dim_sub(size, DIM(1));
  if (step > 0) {
    start = dim_min(dim_max(start, DIM(0)), size);
    end = dim_min(dim_max(end, DIM(0)), size);
    *count = dim_max(dim_ceildiv(dim_sub(end, start), DIM(step)), DIM(0));
  } else {
    start = dim_min(dim_max(start, DIM(0)), last);
    end = dim_min(dim_max(end, DIM(-1)), last);
    *count = dim_max(dim_ceildiv(dim_sub(start, end), DIM(-step)), DIM(0));
  }
  *first = dim_is(*count, 0) ? DIM(0) : start;
  return true;
}

static bool slice(Import *x, const Dim *starts, const Dim *ends, const Dim *axes, const Dim *steps, int n) {
  Type t = *imp_type(x, 0);
  Dim first[MAX_RANK], step[MAX_RANK], shape[MAX_RANK];
  bool seen[MAX_RANK] = {false};
  for (int k = 0; k < t.rank; k++) first[k] = DIM(0), step[k] = DIM(1), shape[k] = t.dims[k];
  bool changes = false;
  for (int k = 0; k < n; k++) {
    if ((axes && !dim_is_const(axes[k])) || (steps && !dim_is_const(steps[k])))
      return imp_fail(x, "shape", "an axis or step depends on a free dim");
    int axis = imp_axis(x, axes ? axes[k].k : k, t.rank);
    if (axis < 0) return false;
    if (seen[axis]) return imp_fail(x, "shape", "axis %d is listed twice", axis);
    seen[axis] = true;
    // beyond 2^31 a step reaches one element, whatever its size
    step[axis] = steps ? dim_min(dim_max(steps[k], DIM(-INT32_MAX)), DIM(INT32_MAX)) : DIM(1);
    if (!slice_axis(x, t.dims[axis], starts[k], ends[k], step[axis].k, &first[axis], &shape[axis])) return false;
    changes |= !dim_is(first[axis], 0) || !dim_is(step[axis], 1) || !dim_eq(shape[axis], t.dims[axis]);
  }
  Attr attr[] = {attr_dims(x->m, "starts", first, t.rank), attr_dims(x->m, "steps", step, t.rank),
                 attr_dims(x->m, "shape", shape, t.rank)};
  imp_set(x, 0, changes ? imp_op(x, OP_SLICE, x->in, 1, attr, 3) : x->in[0]);
  return true;
}

bool import_slice(Import *x) {
  const Dim *starts, *ends, *axes = NULL, *steps = NULL;
  int n, ends_n, axes_n, steps_n;
  if (!list(x, "starts", 1, &starts, &n) || !list(x, "ends", 2, &ends, &ends_n))
    return x->failed ? false : imp_fail(x, "shape", "lacks starts or ends");
  bool some_axes = list(x, "axes", 3, &axes, &axes_n),
       some_steps = imp_present(x, 4) && imp_dims(x, 4, &steps, &steps_n);
  if (x->failed) return false;
  if (ends_n != n || (some_axes && axes_n != n) || (some_steps && steps_n != n))
    return imp_fail(x, "shape", "starts, ends, axes and steps have different lengths");
  return slice(x, starts, ends, some_axes ? axes : NULL, some_steps ? steps : NULL, n);
}
