/* Inference of the CALL ops whose result's length depends on the data (a fresh symbol), and of random.
 * topk, whose lengths are known, is in infer_index.c. */
#include "ir/infer.h"

static bool elem_ok(Infer *x) {
  DType t = x->in[0]->dtype;
  return dtype_elem(t) ? true : infer_fail_type(x, "elements of type %s are not supported", dtype_info[t].text);
}

static Type ints(Dim a) { return (Type){.dtype = DT_I64, .rank = 1, .dims = {a}}; }

bool infer_nonzero(Infer *x) {
  if (!elem_ok(x)) return false;
  x->out[0] = ints(infer_fresh_dim(x, 0, 0, "nonzero", 0, dim_hi(type_count(x->in[0]))));
  return true;
}

bool infer_unique(Infer *x) {
  int axis;
  int64_t sorted;
  if (!elem_ok(x) || !infer_axis(x, x->in[0]->rank, &axis) || !infer_int(x, "sorted", 0, 1, &sorted)) return false;
  Dim n = x->in[0]->dims[axis], count = infer_fresh_dim(x, 0, 0, "unique", dim_lo(n) > 0, dim_hi(n));
  x->out[0] = x->out[2] = ints(count);
  x->out[1] = ints(n);
  return true;
}

static bool one_of(Infer *x, int k, DType t, const char *what) {
  const Type *a = x->in[k];
  if (a->dtype == t && dim_is(type_count(a), 1)) return true;
  return infer_fail_type(x, "the %s must be one %s, is %s", what, dtype_info[t].text, type_text(a));
}

bool infer_nms(Infer *x) {
  const Type *boxes = x->in[0], *scores = x->in[1];
  int64_t flag;
  if (boxes->rank != 3 || scores->rank != 3 || boxes->dtype != DT_F32 || scores->dtype != DT_F32)
    return infer_fail_type(x, "takes boxes f32[B,N,4] and scores f32[B,C,N], got %s and %s", type_text(boxes),
                           type_text(scores));
  const Dim want[3] = {boxes->dims[0], scores->dims[1], boxes->dims[1]};
  if (!dim_always_eq(boxes->dims[2], DIM(4)))
    return infer_fail(x, "a box has 4 numbers, not %s", dim_text(boxes->dims[2]));
  if (!infer_input_shape(x, 1, 3, want, "scores, one per box and class,")) return false;
  if (!one_of(x, 2, DT_I64, "number of boxes") || !one_of(x, 3, DT_F32, "overlap threshold") ||
      !one_of(x, 4, DT_F32, "score threshold") || !infer_int(x, "centre", 0, 1, &flag)) return false;
  const Tensor *limit = value_of(x->m, x->n->in[2])->constant;
  Dim per_class = boxes->dims[1];
  if (limit && limit->data) {
    int64_t most = tensor_get_int(limit, 0);
    per_class = dim_min(per_class, DIM(most < 0 ? 0 : most));
  }
  Dim most = dim_mul(dim_mul(boxes->dims[0], scores->dims[1]), per_class);
  x->out[0] = (Type){.dtype = DT_I64, .rank = 2, .dims = {infer_fresh_dim(x, 0, 0, "nms", 0, dim_hi(most)), DIM(3)}};
  return true;
}

static bool check_roi(Infer *x) {
  const Type *a = x->in[0], *rois = x->in[1], *batch = x->in[2];
  int64_t v;
  if (a->rank != 4 || a->dtype != DT_F32 || rois->rank != 2 || rois->dtype != DT_F32 || batch->dtype != DT_I64)
    return infer_fail_type(x, "takes f32[N,C,H,W], regions f32[R,4] and i64[R], got %s, %s and %s", type_text(a),
                           type_text(rois), type_text(batch));
  if (!infer_input_shape(x, 1, 2, (Dim[]){rois->dims[0], DIM(4)}, "regions") ||
      !infer_input_shape(x, 2, 1, rois->dims, "batch numbers, one per region,") ||
      !infer_int(x, "ratio", 0, 4096, &v) || !infer_int(x, "max", 0, 1, &v)) return false;
  if (dim_hi(a->dims[2]) < 1 || dim_hi(a->dims[3]) < 1)
    return infer_fail(x, "the input is empty, there is nothing to sample");
  return true;
}

bool infer_roi_align(Infer *x) {
  int64_t height, width;
  if (!check_roi(x) || !infer_int(x, "height", 1, ATTR_BOUND, &height) || !infer_int(x, "width", 1, ATTR_BOUND, &width))
    return false;
  x->out[0] = (Type){.dtype = DT_F32, .rank = 4,
                     .dims = {x->in[1]->dims[0], x->in[0]->dims[1], DIM(height), DIM(width)}};
  return true;
}

bool infer_roi_align_grad(Infer *x) {
  const Type *dy = x->in[3];
  if (!check_roi(x)) return false;
  if (dy->rank != 4 || dy->dtype != DT_F32)
    return infer_fail_type(x, "the gradient of the bins must be f32[R,C,height,width], is %s", type_text(dy));
  if (!infer_input_shape(x, 3, 4, (Dim[]){x->in[1]->dims[0], x->in[0]->dims[1], dy->dims[2], dy->dims[3]},
                         "gradient of the bins"))
    return false;
  for (int k = 2; k < 4; k++)
    if (!dim_is_const(dy->dims[k]) || dy->dims[k].k < 1)
      return infer_fail(x, "%s bins: one or more are needed, a known number", dim_text(dy->dims[k]));
  x->out[0] = *x->in[0];
  return true;
}

bool infer_ctc_loss(Infer *x) {
  const Type *lp = x->in[0], *target = x->in[1];
  int64_t blank;
  if (lp->dtype != DT_F32 || lp->rank != 3)
    return infer_fail_type(x, "log probabilities must be f32[T,N,C], are %s", type_text(lp));
  for (int k = 1; k < 4; k++)
    if (x->in[k]->dtype != DT_I64)
      return infer_fail_type(x, "targets and lengths must be i64, are %s", type_text(x->in[k]));
  if (target->rank != 2) return infer_fail(x, "targets have rank %d, [N, S] is needed", target->rank);
  if (!infer_input_shape(x, 1, 2, (Dim[]){lp->dims[1], target->dims[1]}, "targets") ||
      !infer_input_shape(x, 2, 1, &lp->dims[1], "lengths of the inputs") ||
      !infer_input_shape(x, 3, 1, &lp->dims[1], "lengths of the targets") ||
      !infer_int(x, "blank", 0, ATTR_BOUND, &blank)) return false;
  if (!dim_known_le(DIM(blank + 1), lp->dims[2]))
    return infer_fail(x, "blank is %lld of %s symbols", (long long)blank, dim_text(lp->dims[2]));
  x->out[0] = (Type){.dtype = DT_F32, .rank = 1, .dims = {lp->dims[1]}};
  x->out[1] = *lp;
  return true;
}

bool infer_random(Infer *x) {
  int64_t v;
  Type *y = &x->out[0];
  y->dtype = DT_F32;
  const Type *step = infer_in(x, 0);
  if (step && !(step->dtype == DT_I64 && step->rank == 1 && dim_is(step->dims[0], 2)) && !one_of(x, 0, DT_I64, "step"))
    return false;
  return infer_choice(x, "kind", "uniform normal") && infer_int(x, "seed", INT64_MIN, INT64_MAX, &v) &&
         infer_int(x, "stream", 0, UINT32_MAX, &v) && infer_shape(x, "shape", y);
}

bool infer_gradient(Infer *x) {
  if (!dtype_is_float(x->in[0]->dtype) || !dim_is(type_count(x->in[0]), 1))
    return infer_fail(x, "the first input should be one float, the loss");
  if (x->n->nout != x->n->nin - 1)
    return infer_fail(x, "has %d outputs for %d inputs after the loss", x->n->nout, x->n->nin - 1);
  for (int k = 1; k < x->n->nin; k++) {
    const Type *t = infer_in(x, k);
    if (!t || !dtype_is_float(t->dtype)) return infer_fail(x, "input %d is not of floats: it has no gradient", k);
    x->out[k - 1] = *t;
  }
  return true;
}
