/* Inference of the ops that follow index tensors: gather*, scatter*, topk. */
#include "ir/infer.h"
#include <string.h>

/* Constant indices are known now: an index outside is the model's error, not a run-time surprise. */
static bool check_indices(Infer *x, int k, Dim size) {
  const Tensor *t = value_of(x->m, x->n->in[k])->constant;
  if (!t || !t->data || !dim_is_const(size)) return true;
  int64_t n = tensor_count(t);
  if (n > 1 << 20) return true;                       // inference runs often: huge tables are left to the evaluator
  for (int64_t i = 0; i < n; i++) {
    int64_t v = tensor_get_int(t, i);
    if (v < -size.k || v >= size.k) {
      return infer_fail(x, "index %lld is outside of an axis of size %lld", (long long)v, (long long)size.k);
    }
  }
  return true;
}

static bool rank_fits(Infer *x, int rank) {
  if (rank <= MAX_RANK) return true;
  return infer_fail(x, "the result would have rank %d, at most %d is supported", rank, MAX_RANK);
}

bool infer_gather(Infer *x) {
  const Type *a = x->in[0], *idx = x->in[1];
  Type *y = &x->out[0];
  int axis;
  if (!infer_index_input(x, 1) || !infer_axis(x, a->rank, &axis) || !rank_fits(x, a->rank - 1 + idx->rank))
    return false;
  y->dtype = a->dtype;
  for (int i = 0; i < axis; i++) y->dims[y->rank++] = a->dims[i];
  for (int i = 0; i < idx->rank; i++) y->dims[y->rank++] = idx->dims[i];
  for (int i = axis + 1; i < a->rank; i++) y->dims[y->rank++] = a->dims[i];
  if (dim_is(a->dims[axis], 0) && dim_lo(type_count(idx)) > 0)
    return infer_fail(x, "axis %d is empty, there is nothing to gather", axis);
  return check_indices(x, 1, a->dims[axis]);
}

/* idx has the rank of x; on the other axes it is at most as large. */
static bool elements_shape(Infer *x, int *axis) {
  const Type *a = x->in[0], *idx = x->in[1];
  if (!infer_index_input(x, 1) || !infer_axis(x, a->rank, axis)) return false;
  if (idx->rank != a->rank) return infer_fail(x, "indices have rank %d, data has rank %d", idx->rank, a->rank);
  for (int i = 0; i < a->rank; i++) {
    if (i == *axis || dim_known_le(idx->dims[i], a->dims[i]) || dim_always_eq(idx->dims[i], a->dims[i])) continue;
    return infer_fail(x, "indices have %s on axis %d, data only %s", dim_text(idx->dims[i]), i, dim_text(a->dims[i]));
  }
  return check_indices(x, 1, a->dims[*axis]);
}

bool infer_gather_elements(Infer *x) {
  int axis;
  if (!elements_shape(x, &axis)) return false;
  x->out[0] = *x->in[1];
  x->out[0].dtype = x->in[0]->dtype;
  return true;
}

/* The last dim of an index tensor counts the axes each index tuple names. */
static bool tuple_length(Infer *x, const Type *idx, int most, int *n) {
  *n = 0;
  if (idx->rank < 1) return infer_fail(x, "indices must have rank 1 or more");
  Dim last = idx->dims[idx->rank - 1];
  if (!dim_is_const(last)) return infer_fail(x, "the last dim of the indices must be known, is %s", dim_text(last));
  if (last.k < 0 || last.k > most)
    return infer_fail(x, "indices name %lld axes, data has %d to index", (long long)last.k, most);
  *n = (int)last.k;
  return true;
}

bool infer_gather_nd(Infer *x) {
  const Type *a = x->in[0], *idx = x->in[1];
  Type *y = &x->out[0];
  int n;
  int64_t b, limit = (a->rank < idx->rank ? a->rank : idx->rank) - 1;
  if (!infer_index_input(x, 1)) return false;
  if (limit < 0) return infer_fail(x, "data and indices must have rank 1 or more");
  if (!infer_int(x, "batch_dims", 0, limit, &b) || !tuple_length(x, idx, a->rank - (int)b, &n)) return false;
  for (int i = 0; i < b; i++) {
    if (dim_always_eq(a->dims[i], idx->dims[i])) continue;
    return infer_fail(x, "batch axis %d is %s in data and %s in the indices", i, dim_text(a->dims[i]),
                      dim_text(idx->dims[i]));
  }
  if (!rank_fits(x, idx->rank - 1 + a->rank - (int)b - n)) return false;
  y->dtype = a->dtype;
  for (int i = 0; i < idx->rank - 1; i++) y->dims[y->rank++] = idx->dims[i];
  for (int i = (int)b + n; i < a->rank; i++) y->dims[y->rank++] = a->dims[i];
  return true;
}

static bool check_reduction(Infer *x) {
  if (!infer_choice(x, "reduction", "none add mul max min")) return false;
  return !strcmp(node_str(x->n, "reduction", ""), "none") || x->in[0]->dtype == DT_BOOL || infer_numeric_input(x, 0);
}

bool infer_scatter_elements(Infer *x) {
  const Type *idx = x->in[1];
  int axis;
  if (!infer_same_dtype(x, 2) || !check_reduction(x) || !elements_shape(x, &axis) ||
      !infer_input_shape(x, 2, idx->rank, idx->dims, "updates, with one element per index,")) return false;
  x->out[0] = *x->in[0];
  return true;
}

bool infer_scatter_nd(Infer *x) {
  const Type *a = x->in[0], *idx = x->in[1];
  int n, rank = 0;
  Dim want[2 * MAX_RANK];
  if (!infer_index_input(x, 1) || !infer_same_dtype(x, 2) || !check_reduction(x) || !tuple_length(x, idx, a->rank, &n))
    return false;
  for (int i = 0; i < idx->rank - 1; i++) want[rank++] = idx->dims[i];
  for (int i = n; i < a->rank; i++) want[rank++] = a->dims[i];
  if (!rank_fits(x, rank) || !infer_input_shape(x, 2, rank, want, "updates, one slice of data per index tuple,"))
    return false;
  x->out[0] = *a;
  return true;
}

bool infer_topk(Infer *x) {
  const Type *a = x->in[0];
  int axis;
  const Dim *k;
  int64_t flag;
  if (!dtype_elem(a->dtype))
    return infer_fail_type(x, "elements of type %s are not supported", dtype_info[a->dtype].text);
  if (!infer_numeric_input(x, 0) || !infer_axis(x, a->rank, &axis) || !infer_dim_list(x, "k", 1, &k) ||
      !infer_int(x, "largest", 0, 1, &flag) || !infer_int(x, "sorted", 0, 1, &flag)) return false;
  if (dim_hi(k[0]) < 0) return infer_fail(x, "k is negative: %s", dim_text(k[0]));
  if (dim_lo(dim_sub(k[0], a->dims[axis])) > 0) {
    return infer_fail(x, "k is %s, axis %d has only %s elements", dim_text(k[0]), axis, dim_text(a->dims[axis]));
  }
  x->out[0] = x->out[1] = *a;
  x->out[0].dims[axis] = x->out[1].dims[axis] = k[0];
  x->out[1].dtype = DT_I64;
  return true;
}
