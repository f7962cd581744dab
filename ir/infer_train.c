/* Inference of the composites that training is made of. */
#include "ir/infer.h"

bool infer_softmax_cross_entropy(Infer *x) {
  const Type *a = x->in[0], *t = x->in[1];
  int axis;
  if (!infer_float_input(x, 0) || !infer_axis(x, a->rank, &axis)) return false;
  Type row = *a;
  row.rank = 0;
  for (int k = 0; k < a->rank; k++) if (k != axis) row.dims[row.rank++] = a->dims[k];
  if (dtype_is_int(t->dtype)) {
    if (!infer_index_input(x, 1) || !infer_input_shape(x, 1, row.rank, row.dims, "labels, one per row,")) return false;
  } else if (!infer_same_dtype(x, 1) || !infer_input_shape(x, 1, a->rank, a->dims, "distributions over the classes")) {
    return false;
  }
  if (infer_in(x, 2) && !(infer_same_dtype(x, 2) &&
                          infer_input_shape(x, 2, 1, &a->dims[axis], "weights, one per class,")))
    return false;
  double s = node_float(x->n, "smoothing", 0);
  if (!(s >= 0 && s <= 1)) return infer_fail(x, "smoothing is %g, must lie between 0 and 1", s);
  if (dim_hi(a->dims[axis]) < 1) return infer_fail(x, "there are no classes along axis %d", axis);
  for (int k = 0; k < 3; k++) x->out[k] = row;
  return true;
}

bool infer_batch_norm_train(Infer *x) {
  const Type *a = x->in[0];
  if (!infer_float_input(x, 0)) return false;
  if (a->rank < 2) return infer_fail(x, "the input has rank %d, [N, C, …] is needed", a->rank);
  for (int k = 1; k < 3; k++) {
    const char *what = k == 1 ? "a scale per channel" : "a bias per channel";
    if (infer_in(x, k) && !(infer_same_dtype(x, k) && infer_input_shape(x, k, 1, &a->dims[1], what))) return false;
  }
  double eps = node_float(x->n, "epsilon", 0);
  if (!(eps >= 0)) return infer_fail(x, "epsilon is %g, must not be negative", eps);
  x->out[0] = *a;
  for (int k = 1; k < 3; k++) x->out[k] = (Type){.dtype = a->dtype, .rank = 1, .dims = {a->dims[1]}};
  return true;
}

/* ---- attention ---- */

static bool same_batch(Infer *x, int k) {
  const Type *q = x->in[0], *t = x->in[k];
  bool same = t->rank == q->rank;
  for (int d = 0; same && d < q->rank - 2; d++) same = dim_always_eq(t->dims[d], q->dims[d]);
  return same || infer_fail(x, "'%s' is %s, which has other batches than %s", infer_name(x, k), type_text(t), type_text(q));
}

static bool same_size(Infer *x, int k, int axis, int with, int other) {
  const Type *t = x->in[k], *w = x->in[with];
  Dim a = t->dims[t->rank - axis], b = w->dims[w->rank - other];
  return dim_always_eq(a, b) || infer_fail(x, "'%s' has %s where '%s' has %s", infer_name(x, k), dim_text(a), infer_name(x, with), dim_text(b));
}

bool infer_attention_grad(Infer *x) {
  const Dim *ahead = NULL;
  if (!infer_float_input(x, 0)) return false;
  if (x->in[0]->rank < 2) return infer_fail(x, "the queries have rank %d, 2 or more are needed", x->in[0]->rank);
  for (int k = 1; k < 4; k++) if (!infer_same_dtype(x, k) || !same_batch(x, k)) return false;
  if (!same_size(x, 1, 1, 0, 1) || !same_size(x, 2, 2, 1, 2) || !same_size(x, 3, 2, 0, 2) || !same_size(x, 3, 1, 2, 1)) return false;
  const Type *bias = infer_in(x, 4);
  if (bias) {
    Type scores = *x->in[0];
    scores.dims[scores.rank - 1] = x->in[1]->dims[scores.rank - 2];
    bool fits = bias->rank <= scores.rank && infer_same_dtype(x, 4);
    for (int k = 1; fits && k <= bias->rank; k++)
      fits = dim_is(bias->dims[bias->rank - k], 1) || dim_always_eq(bias->dims[bias->rank - k], scores.dims[scores.rank - k]);
    if (!fits) return infer_fail(x, "'%s', %s, does not broadcast to scores %s", infer_name(x, 4), type_text(bias), type_text(&scores));
  }
  if (node_attr(x->n, "ahead") && (!infer_dim_list(x, "ahead", 1, &ahead) || dim_lo(*ahead) < 0)) return infer_fail(x, "attribute 'ahead' must be one dim >= 0");
  for (int k = 0; k < 3; k++) x->out[k] = *x->in[k];
  return true;
}
