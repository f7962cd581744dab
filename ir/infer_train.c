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
