/* Importers of operators that pick elements by index: gather and scatter, selection by value, one-hot, triangles.
 * Negative indices count from the end; the canonical ops know that. */
#include <math.h>
#include <string.h>
#include "frontend/import.h"

static Attr axis_attr(Import *x, int64_t dflt, int rank, bool *ok) {
  int axis = imp_axis(x, imp_int(x, "axis", dflt), rank);
  *ok = axis >= 0;
  return attr_int("axis", axis);
}

bool import_gather(Import *x) {
  bool ok;
  Attr attr = axis_attr(x, 0, imp_rank(x, 0), &ok);
  if (ok) imp_set(x, 0, imp_op(x, OP_GATHER, x->in, 2, &attr, 1));
  return ok;
}

bool import_gather_elements(Import *x) {
  bool ok;
  Attr attr = axis_attr(x, 0, imp_rank(x, 0), &ok);
  if (ok) imp_set(x, 0, imp_op(x, OP_GATHER_ELEMENTS, x->in, 2, &attr, 1));
  return ok;
}

bool import_gather_nd(Import *x) {
  Attr attr = attr_int("batch_dims", imp_int(x, "batch_dims", 0));
  imp_set(x, 0, imp_op(x, OP_GATHER_ND, x->in, 2, &attr, 1));
  return true;
}

bool import_scatter_elements(Import *x) {
  bool ok;
  Attr attr[] = {axis_attr(x, 0, imp_rank(x, 0), &ok), attr_str("reduction", imp_str(x, "reduction", "none"))};
  if (ok) imp_set(x, 0, imp_op(x, OP_SCATTER_ELEMENTS, x->in, 3, attr, 2));
  return ok;
}

bool import_scatter_nd(Import *x) {
  Attr attr = attr_str("reduction", imp_str(x, "reduction", "none"));
  imp_set(x, 0, imp_op(x, OP_SCATTER_ND, x->in, 3, &attr, 1));
  return true;
}

/* ---- selection by value ---- */
static ValueId row_major_positions(Import *x, ValueId v) { return imp_op1(x, OP_NONZERO, v); }

static ValueId flat(Import *x, ValueId v) {
  Type t = value_of(x->m, v)->type;
  Dim n = type_count(&t);
  return imp_reshape(x, v, &n, 1);
}

/* Positions [count] -> coordinates [rank, count]: (position / stride) mod size, axis by axis. */
bool import_non_zero(Import *x) {
  if (!imp_present(x, 0)) return imp_fail(x, "parse", "input 0 is missing");
  Type t = *imp_type(x, 0);
  ValueId at = row_major_positions(x, x->in[0]), row[MAX_RANK];
  if (!at) return false;
  Dim stride = DIM(1), shape[2] = {DIM(1), value_of(x->m, at)->type.dims[0]};
  for (int k = t.rank - 1; k >= 0; k--) {
    ValueId v = at;
    if (k < t.rank - 1) v = imp_op2(x, OP_DIV, v, imp_dims_value(x, &stride, -1));
    if (k > 0) v = imp_op2(x, OP_MOD, v, imp_dims_value(x, &t.dims[k], -1));
    row[k] = imp_reshape(x, v, shape, 2);
    stride = dim_mul(stride, t.dims[k]);
  }
  Attr attr = attr_int("axis", 0);
  if (t.rank == 0) imp_set(x, 0, imp_slice1(x, imp_reshape(x, at, shape, 2), 0, DIM(0), DIM(0)));
  else imp_set(x, 0, t.rank == 1 ? row[0] : imp_op(x, OP_CONCAT, row, t.rank, &attr, 1));
  return true;
}

/* Along an axis, or of all elements in row-major order */
bool import_compress(Import *x) {
  bool whole = !imp_has(x, "axis"), ok = true;
  Attr attr = attr_int("axis", 0);
  if (!whole) attr = axis_attr(x, 0, imp_rank(x, 0), &ok);
  if (!ok) return false;
  ValueId in[2] = {whole ? flat(x, x->in[0]) : x->in[0], row_major_positions(x, x->in[1])};
  imp_set(x, 0, imp_op(x, OP_GATHER, in, 2, &attr, 1));
  return true;
}

bool import_unique(Import *x) {
  bool whole = !imp_has(x, "axis"), ok = true;
  Attr axis = attr_int("axis", 0);
  if (!whole) axis = axis_attr(x, 0, imp_rank(x, 0), &ok);
  if (!ok) return false;
  Attr attr[] = {axis, attr_int("sorted", imp_int(x, "sorted", 1))};
  ValueId v = whole ? flat(x, x->in[0]) : x->in[0], out[3];     // first, inverse, counts
  if (!imp_op_multi(x, OP_UNIQUE, &v, 1, attr, 2, out, 3)) return false;
  imp_set(x, 0, imp_op(x, OP_GATHER, (ValueId[]){v, out[0]}, 2, &axis, 1));
  for (int k = 1; k < 4; k++) imp_set(x, k, out[k - 1]);
  return true;
}

/* k: an attribute in opset 1, then an input */
bool import_top_k(Import *x) {
  bool ok;
  int n = 1;
  Dim k = DIM(imp_int(x, "k", 0));
  const Dim *given = &k;
  Attr axis = axis_attr(x, -1, imp_rank(x, 0), &ok);
  if (!ok || (x->opset >= 10 && !imp_dims(x, 1, &given, &n))) return false;
  if (n != 1) return imp_fail(x, "shape", "k should be one number");
  Attr attr[] = {axis, attr_dims(x->m, "k", given, 1), attr_int("largest", imp_int(x, "largest", 1)),
                 attr_int("sorted", imp_int(x, "sorted", 1))};
  ValueId out[2];
  if (!imp_op_multi(x, OP_TOPK, x->in, 1, attr, 4, out, 2)) return false;
  imp_set(x, 0, out[0]);
  imp_set(x, 1, out[1]);
  return true;
}

/* Input k as a scalar of type t, or a default */
static ValueId scalar_input(Import *x, int k, DType t, double dflt) {
  if (!imp_present(x, k)) return imp_scalar(x, t, dflt);
  return imp_cast(x, imp_reshape(x, x->in[k], NULL, 0), t);
}

bool import_non_max_suppression(Import *x) {
  ValueId in[] = {x->in[0], x->in[1], scalar_input(x, 2, DT_I64, 0), scalar_input(x, 3, DT_F32, 0),
                  scalar_input(x, 4, DT_F32, -INFINITY)};
  Attr attr = attr_int("centre", imp_int(x, "center_point_box", 0));
  imp_set(x, 0, imp_op(x, OP_NMS, in, 5, &attr, 1));
  return true;
}

/* ---- from positions to values ---- */
/* 0, 1, 2 … along `axis` of a tensor of this rank; the other axes have size 1 */
static ValueId positions(Import *x, DType t, Dim n, int axis, int rank) {
  Dim shape[MAX_RANK];
  for (int k = 0; k < rank; k++) shape[k] = k == axis ? n : DIM(1);
  Attr attr[] = {attr_dtype("dtype", t), attr_dims(x->m, "shape", shape, rank), attr_int("axis", axis)};
  return imp_op(x, OP_IOTA, NULL, 0, attr, 3);
}

/* y = on where the index, counted from either end, is the position along the new axis */
bool import_one_hot(Import *x) {
  int rank = imp_rank(x, 0) + 1, n;
  const Dim *depth;
  bool ok;
  axis_attr(x, -1, rank, &ok);
  if (!ok) return false;
  int axis = imp_axis(x, imp_int(x, "axis", -1), rank);
  x->in[1] = imp_cast(x, x->in[1], DT_I64);                     // depth and indices may be floats
  if (!imp_dims(x, 1, &depth, &n)) return false;
  if (n != 1) return imp_fail(x, "shape", "depth should be one number");
  ValueId at = imp_cast(x, x->in[0], DT_I64), size = imp_dims_value(x, depth, -1), zero = imp_scalar(x, DT_I64, 0);
  at = imp_op3(x, OP_WHERE, imp_op2(x, OP_LT, at, zero), imp_op2(x, OP_ADD, at, size), at);
  at = imp_unsqueeze(x, at, &axis, 1);
  ValueId hit = imp_op2(x, OP_EQ, at, positions(x, DT_I64, *depth, axis, rank));
  ValueId off = imp_reshape(x, imp_slice1(x, x->in[2], 0, DIM(0), DIM(1)), NULL, 0);
  ValueId on = imp_reshape(x, imp_slice1(x, x->in[2], 0, DIM(1), DIM(1)), NULL, 0);
  imp_set(x, 0, imp_op3(x, OP_WHERE, hit, on, off));
  return true;
}

/* column - row, for the last two axes: [R, C] */
static ValueId diagonal_number(Import *x, const Type *t) {
  return imp_op2(x, OP_SUB, positions(x, DT_I64, t->dims[t->rank - 1], 1, 2),
                 positions(x, DT_I64, t->dims[t->rank - 2], 0, 2));
}

bool import_trilu(Import *x) {
  Type t = *imp_type(x, 0);
  if (t.rank < 2) return imp_fail(x, "shape", "needs a matrix, has %d axes", t.rank);
  ValueId k = scalar_input(x, 1, DT_I64, 0);
  ValueId keep = imp_op2(x, imp_int(x, "upper", 1) ? OP_GE : OP_LE, diagonal_number(x, &t), k);
  imp_set(x, 0, imp_op3(x, OP_WHERE, keep, x->in[0], imp_scalar(x, t.dtype, 0)));
  return true;
}

bool import_eye_like(Import *x) {
  Type t = *imp_type(x, 0);
  DType to = imp_has(x, "dtype") ? dtype_from_onnx((int)imp_int(x, "dtype", 0)) : t.dtype;
  if (t.rank != 2) return imp_fail(x, "shape", "needs a matrix, has %d axes", t.rank);
  if (to == DT_NONE) return imp_fail(x, "type", "asks for an element type that lathe does not know");
  ValueId hit = imp_op2(x, OP_EQ, diagonal_number(x, &t), imp_scalar(x, DT_I64, (double)imp_int(x, "k", 0)));
  imp_set(x, 0, imp_cast(x, hit, to));
  return true;
}

/* 1 at the first maximum. Until opset 12 the input is taken as a matrix, rows ending at `axis`. */
bool import_hardmax(Import *x) {
  Type t = *imp_type(x, 0);
  int axis = imp_axis(x, imp_int(x, "axis", x->opset < 13 ? 1 : -1), t.rank);
  if (axis < 0) return false;
  ValueId v = x->in[0];
  Dim shape[2] = {DIM(1), DIM(1)};
  if (x->opset < 13) {
    for (int k = 0; k < t.rank; k++) shape[k >= axis] = dim_mul(shape[k >= axis], t.dims[k]);
    v = imp_reshape(x, v, shape, 2);
  }
  int at = x->opset < 13 ? 1 : axis, rank = x->opset < 13 ? 2 : t.rank;
  Attr attr[] = {attr_int("axis", at), attr_int("keepdims", 1), attr_int("select_last", 0)};
  ValueId first = imp_op(x, OP_ARGMAX, &v, 1, attr, 3);
  ValueId hit = imp_op2(x, OP_EQ, first, positions(x, DT_I64, x->opset < 13 ? shape[1] : t.dims[axis], at, rank));
  imp_set(x, 0, imp_reshape(x, imp_cast(x, hit, t.dtype), t.dims, t.rank));
  return true;
}

/* The first lens[b] steps of each sequence backwards, the rest as it is. With batch and time in front:
 * y[b, t] = x[b, t < lens[b] ? lens[b] - 1 - t : t] */
bool import_reverse_sequence(Import *x) {
  Type t = *imp_type(x, 0);
  if (t.rank < 2) return imp_fail(x, "shape", "needs a batch and a time axis, has %d axes", t.rank);
  int batch = imp_axis(x, imp_int(x, "batch_axis", 1), t.rank), time = imp_axis(x, imp_int(x, "time_axis", 0), t.rank);
  if (batch < 0 || time < 0) return false;
  if (batch == time) return imp_fail(x, "shape", "batch_axis and time_axis are the same");
  int perm[MAX_RANK] = {batch, time}, back[MAX_RANK], n = 2;
  for (int k = 0; k < t.rank; k++)
    if (k != batch && k != time) perm[n++] = k;
  for (int k = 0; k < t.rank; k++) back[perm[k]] = k;
  int last = 1, after = 2;
  ValueId lens = imp_unsqueeze(x, x->in[1], &last, 1), step = positions(x, DT_I64, t.dims[time], 1, 2);   // [B, 1], [1, T]
  ValueId mirrored = imp_op2(x, OP_SUB, imp_op2(x, OP_SUB, lens, imp_scalar(x, DT_I64, 1)), step);
  ValueId from = imp_op3(x, OP_WHERE, imp_op2(x, OP_LT, step, lens), mirrored, step);                      // [B, T]
  from = imp_expand(x, from, (Dim[]){t.dims[batch], t.dims[time]}, 2);
  Attr attr = attr_int("batch_dims", 1);
  ValueId in[2] = {imp_transpose(x, x->in[0], perm, t.rank), imp_unsqueeze(x, from, &after, 1)};
  imp_set(x, 0, imp_transpose(x, imp_op(x, OP_GATHER_ND, in, 2, &attr, 1), back, t.rank));
  return true;
}
