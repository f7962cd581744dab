/* Inference of what runs along axes: reductions, argmax, cumulative sums, softmax, normalisations. */
#include "ir/infer.h"

/* Sizes after reducing the axes of `mask`. */
static void drop_axes(const Type *a, unsigned mask, bool keepdims, Type *y) {
  *y = *a;
  y->rank = 0;
  for (int i = 0; i < a->rank; i++) {
    if (!(mask & 1u << i)) y->dims[y->rank++] = a->dims[i];
    else if (keepdims) y->dims[y->rank++] = DIM(1);
  }
}

static bool infer_reduction(Infer *x) {
  const Type *a = x->in[0];
  const Attr *axes = node_dims(x->n, "axes");
  int64_t at[MAX_RANK], keepdims;
  if (axes->n > a->rank) return infer_fail(x, "%d axes to reduce, the input has rank %d", axes->n, a->rank);
  if (!infer_ints(x, "axes", axes->n, 0, a->rank - 1, at) || !infer_int(x, "keepdims", 0, 1, &keepdims)) return false;
  unsigned mask = 0;
  for (int i = 0; i < axes->n; i++) {
    if (i && at[i] <= at[i - 1]) return infer_fail(x, "axes must be sorted and distinct");
    mask |= 1u << at[i];
  }
  drop_axes(a, mask, keepdims, &x->out[0]);
  return true;
}

static bool infer_extremum(Infer *x) {
  return (x->in[0]->dtype == DT_BOOL || infer_numeric_input(x, 0)) && infer_reduction(x);
}

bool infer_reduce_sum(Infer *x) { return infer_numeric_input(x, 0) && infer_reduction(x); }
bool infer_reduce_prod(Infer *x) { return infer_numeric_input(x, 0) && infer_reduction(x); }
bool infer_reduce_max(Infer *x) { return infer_extremum(x); }
bool infer_reduce_min(Infer *x) { return infer_extremum(x); }

static bool infer_arg(Infer *x) {
  const Type *a = x->in[0];
  int axis;
  int64_t keepdims, last;
  if (!infer_numeric_input(x, 0) || !infer_axis(x, a->rank, &axis) || !infer_int(x, "keepdims", 0, 1, &keepdims) ||
      !infer_int(x, "select_last", 0, 1, &last)) return false;
  if (dim_hi(a->dims[axis]) < 1) return infer_fail(x, "axis %d is empty: it has no largest or smallest element", axis);
  drop_axes(a, 1u << axis, keepdims, &x->out[0]);
  x->out[0].dtype = DT_I64;
  return true;
}

bool infer_argmax(Infer *x) { return infer_arg(x); }
bool infer_argmin(Infer *x) { return infer_arg(x); }

static bool infer_cumulative(Infer *x) {
  int axis;
  int64_t flag;
  if (!infer_numeric_input(x, 0) || !infer_axis(x, x->in[0]->rank, &axis) || !infer_int(x, "exclusive", 0, 1, &flag) ||
      !infer_int(x, "reverse", 0, 1, &flag)) return false;
  x->out[0] = *x->in[0];
  return true;
}

bool infer_cumsum(Infer *x) { return infer_cumulative(x); }
bool infer_cumprod(Infer *x) { return infer_cumulative(x); }

static bool infer_along_axis(Infer *x) {
  int axis;
  if (!infer_float_input(x, 0) || !infer_axis(x, x->in[0]->rank, &axis)) return false;
  x->out[0] = *x->in[0];
  return true;
}

bool infer_softmax(Infer *x) {
  const Dim *ahead = NULL;
  if (!infer_along_axis(x)) return false;
  if (!node_attr(x->n, "ahead")) return true;
  if (!infer_dim_list(x, "ahead", 1, &ahead)) return false;
  int rank = x->in[0]->rank;
  if (rank < 2 || node_int(x->n, "axis", 0) != rank - 1) return infer_fail(x, "attribute 'ahead' needs rows: the axis must be the last of two or more");
  if (dim_lo(*ahead) < 0) return infer_fail(x, "attribute 'ahead' is %s: a row would have no element", dim_text(*ahead));
  return true;
}
bool infer_log_softmax(Infer *x) { return infer_along_axis(x); }

/* scale and bias broadcast one way, to the normalised axes. */
static bool check_affine(Infer *x, int k, int axis, const char *what) {
  const Type *a = x->in[0], *s = infer_in(x, k);
  if (!s) return true;
  if (!infer_same_dtype(x, k)) return false;
  bool ok = s->rank <= a->rank - axis;
  for (int i = 0; ok && i < s->rank; i++) {
    ok = dim_is(s->dims[i], 1) || dim_always_eq(s->dims[i], a->dims[a->rank - s->rank + i]);
  }
  if (ok) return true;
  return infer_fail(x, "%s %s does not fit the normalised axes %d to %d", what, type_text(s), axis, a->rank - 1);
}

static bool infer_norm(Infer *x, int outputs) {
  const Type *a = x->in[0];
  int axis;
  if (x->n->nout > outputs) return infer_fail(x, "%d outputs asked for, there are at most %d", x->n->nout, outputs);
  if (!infer_axis(x, a->rank, &axis) || !infer_float_input(x, 0) || !check_affine(x, 1, axis, "scale") ||
      !check_affine(x, 2, axis, "bias")) return false;
  double eps = node_float(x->n, "epsilon", 0);
  if (!(eps >= 0)) return infer_fail(x, "epsilon is %g, must not be negative", eps);
  x->out[0] = *a;
  for (int k = 1; k < x->n->nout; k++) {              // mean and 1/std: one per row, in the type they are computed in
    x->out[k] = *a;
    x->out[k].dtype = dtype_compute(a->dtype);
    for (int i = axis; i < a->rank; i++) x->out[k].dims[i] = DIM(1);
  }
  return true;
}

bool infer_layer_norm(Infer *x) { return infer_norm(x, 3); }
bool infer_rms_norm(Infer *x) { return infer_norm(x, 1); }
