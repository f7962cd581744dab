/* Inference of the views that keep elements in order or move whole axes: reshape, transpose, expand, slice,
 * pad, concat, iota, dims, cast, bitcast, copy. Those that follow indices are in infer_index.c. */
#include "ir/infer.h"
#include <string.h>

bool infer_reshape(Infer *x) {
  const Type *a = x->in[0];
  Type *y = &x->out[0];
  y->dtype = a->dtype;
  if (!infer_shape(x, "shape", y)) return false;
  Dim have = type_count(a), want = type_count(y);
  if (dim_always_eq(have, want)) return true;
  infer_hint_dims(x, have, want);
  return infer_fail(x, "%s elements cannot be reshaped into %s (%s elements)", dim_text(have), type_text(y),
                    dim_text(want));
}

bool infer_transpose(Infer *x) {
  const Type *a = x->in[0];
  Type *y = &x->out[0];
  int64_t perm[MAX_RANK];
  if (!infer_ints(x, "perm", a->rank, 0, a->rank - 1, perm)) return false;
  unsigned seen = 0;
  *y = *a;
  for (int i = 0; i < a->rank; i++) {
    if (seen & 1u << perm[i]) return infer_fail(x, "perm names axis %d twice", (int)perm[i]);
    seen |= 1u << perm[i];
    y->dims[i] = a->dims[perm[i]];
  }
  return true;
}

bool infer_expand(Infer *x) {
  const Type *a = x->in[0];
  Type *y = &x->out[0];
  y->dtype = a->dtype;
  if (!infer_shape(x, "shape", y)) return false;
  if (a->rank > y->rank) return infer_fail(x, "rank %d cannot be expanded to rank %d", a->rank, y->rank);
  for (int i = 0; i < a->rank; i++) {
    Dim from = a->dims[i], to = y->dims[i + y->rank - a->rank];
    if (dim_is(from, 1) || dim_always_eq(from, to)) continue;
    infer_hint_dims(x, from, to);
    return infer_fail(x, "axis %d is %s and cannot be expanded to %s", i, dim_text(from), dim_text(to));
  }
  return true;
}

/* One axis: starts, starts + steps … must stay inside [0, d). Refused only when it cannot be right for any
 * value of the symbols: importers clamp with min and max, which intervals do not always see through. */
static bool slice_axis(Infer *x, int axis, Dim d, Dim start, Dim step, Dim size) {
  if (dim_hi(size) < 0) return infer_fail(x, "shape[%d] is negative: %s", axis, dim_text(size));
  if (dim_lo(step) <= 0 && dim_hi(step) >= 0) {
    return infer_fail(x, "steps[%d] is %s, must not be zero", axis, dim_text(step));
  }
  if (dim_lo(size) <= 0) return true;                // may be empty: nothing is read
  Dim last = dim_add(start, dim_mul(dim_sub(size, DIM(1)), step));
  bool bad = dim_hi(start) < 0 || dim_hi(last) < 0 || dim_lo(dim_sub(start, d)) >= 0 || dim_lo(dim_sub(last, d)) >= 0;
  if (!bad) return true;
  return infer_fail(x, "axis %d has size %s, the slice reads %s elements from %s in steps of %s", axis, dim_text(d),
                    dim_text(size), dim_text(start), dim_text(step));
}

bool infer_slice(Infer *x) {
  const Type *a = x->in[0];
  Type *y = &x->out[0];
  const Dim *starts, *steps, *shape;
  if (!infer_dim_list(x, "starts", a->rank, &starts) || !infer_dim_list(x, "steps", a->rank, &steps) ||
      !infer_dim_list(x, "shape", a->rank, &shape)) return false;
  y->dtype = a->dtype;
  y->rank = a->rank;
  for (int i = 0; i < a->rank; i++) {
    if (!slice_axis(x, i, a->dims[i], starts[i], steps[i], shape[i])) return false;
    y->dims[i] = shape[i];
  }
  return true;
}

bool infer_pad(Infer *x) {
  const Type *a = x->in[0];
  Type *y = &x->out[0];
  const Dim *before, *after;
  if (!infer_dim_list(x, "before", a->rank, &before) || !infer_dim_list(x, "after", a->rank, &after) ||
      !infer_choice(x, "mode", "constant reflect edge wrap")) return false;
  const char *mode = node_str(x->n, "mode", "");
  if (x->in[1]) {
    if (!infer_same_dtype(x, 1)) return false;
    if (!dim_is(type_count(x->in[1]), 1))
      return infer_fail(x, "the value to pad with must be one element, is %s", type_text(x->in[1]));
  }
  *y = *a;
  for (int i = 0; i < a->rank; i++) {
    Dim d = a->dims[i];
    y->dims[i] = dim_add(dim_add(d, before[i]), after[i]);
    if (dim_hi(y->dims[i]) < 0) {
      return infer_fail(x, "axis %d has size %s, cannot be cropped by %s and %s", i, dim_text(d),
                        dim_text(dim_sub(DIM(0), before[i])), dim_text(dim_sub(DIM(0), after[i])));
    }
    if (!strcmp(mode, "constant")) continue;
    int64_t most = dim_lo(before[i]) > dim_lo(after[i]) ? dim_lo(before[i]) : dim_lo(after[i]);
    if (most > 0 && dim_is(d, 0)) return infer_fail(x, "axis %d is empty, mode %s needs an element to repeat", i, mode);
    if (!strcmp(mode, "reflect") && most > 0 && dim_hi(d) - 1 < most) {
      return infer_fail(x, "axis %d has size %s and cannot be reflected by %lld: at most size - 1", i, dim_text(d),
                        (long long)most);
    }
  }
  return true;
}

bool infer_concat(Infer *x) {
  const Type *a = x->in[0];
  Type *y = &x->out[0];
  int axis;
  if (!infer_axis(x, a->rank, &axis)) return false;
  *y = *a;
  for (int k = 1; k < x->n->nin; k++) {
    const Type *b = infer_in(x, k);
    if (!b) return infer_fail(x, "input %d is missing", k);
    if (!infer_same_dtype(x, k)) return false;
    if (b->rank != a->rank)
      return infer_fail(x, "'%s' has rank %d, '%s' has rank %d", infer_name(x, 0), a->rank, infer_name(x, k), b->rank);
    for (int i = 0; i < a->rank; i++) {
      if (i == axis || dim_always_eq(y->dims[i], b->dims[i])) continue;
      infer_hint_dims(x, y->dims[i], b->dims[i]);
      return infer_fail(x, "inputs joined along axis %d differ on axis %d: '%s' has %s, '%s' has %s", axis, i,
                        infer_name(x, 0), dim_text(y->dims[i]), infer_name(x, k), dim_text(b->dims[i]));
    }
    y->dims[axis] = dim_add(y->dims[axis], b->dims[axis]);
  }
  return true;
}

bool infer_iota(Infer *x) {
  Type *y = &x->out[0];
  int axis;
  y->dtype = (DType)node_int(x->n, "dtype", DT_NONE);
  if (!dtype_is_float(y->dtype) && !dtype_is_int(y->dtype)) {
    return infer_fail_type(x, "iota counts in numbers, not in %s", dtype_info[y->dtype].text);
  }
  return infer_shape(x, "shape", y) && infer_axis(x, y->rank, &axis);
}

bool infer_dims(Infer *x) {
  const Attr *a = node_dims(x->n, "dims");
  int64_t rank;
  if (!infer_int(x, "rank", 0, 1, &rank)) return false;
  if (rank == 0 && a->n != 1) return infer_fail(x, "dims of rank 0 holds one dim, has %d", a->n);
  x->out[0] = (Type){.dtype = DT_I64, .rank = (int)rank, .dims = {DIM(a->n)}};
  return true;
}

bool infer_cast(Infer *x) {
  Type *y = &x->out[0];
  *y = *x->in[0];
  y->dtype = (DType)node_int(x->n, "to", DT_NONE);
  DClass from = dtype_info[x->in[0]->dtype].cls, to = dtype_info[y->dtype].cls;
  bool to_bool = from == CLASS_STRING && to == CLASS_BOOL;      // numbers have texts, and texts may be numbers
  bool complex = from == CLASS_COMPLEX || to == CLASS_COMPLEX;
  if (to_bool || (complex && x->in[0]->dtype != y->dtype)) {
    return infer_fail_type(x, "no conversion from %s to %s", dtype_info[x->in[0]->dtype].text,
                           dtype_info[y->dtype].text);
  }
  return true;
}

bool infer_bitcast(Infer *x) {
  Type *y = &x->out[0];
  *y = *x->in[0];
  y->dtype = (DType)node_int(x->n, "to", DT_NONE);
  DType from = x->in[0]->dtype;
  if (from == DT_STRING || y->dtype == DT_STRING) return infer_fail_type(x, "strings have no bits to reinterpret");
  if (dtype_info[from].bits == dtype_info[y->dtype].bits) return true;
  return infer_fail_type(x, "elements of %s and %s differ in size", dtype_info[from].text, dtype_info[y->dtype].text);
}

bool infer_stop_gradient(Infer *x) { return infer_copy(x); }

bool infer_copy(Infer *x) {
  x->out[0] = *x->in[0];
  return true;
}
