/* CALL ops: the function of runtime/ that a compiled model calls too, given scratch and buffers for the longest
 * result. See runtime/lt_ops.h for what each one does. */
#include "ir/eval_kit.h"
#include "runtime/lt_ops.h"

/* A data-dependent result: `count` rows of the buffer become output k. */
static bool give(Eval *e, const Node *n, Tensor **out, int k, const int64_t *buffer, int64_t count) {
  if (!n->out[k]) return true;
  int64_t dims[2] = {count, 3};                         // rows of one element, or of three (nms)
  Tensor *y = eval_output(e, n, out, k, dims);
  if (tensor_bytes(y)) memcpy(y->data, buffer, tensor_bytes(y));
  return true;
}

static bool elem_of(Eval *e, const Node *n, const Tensor *x, int *elem) {
  *elem = dtype_elem(x->dtype);
  return *elem ? true : eval_fail(e, n, "elements of type %s are not supported", dtype_info[x->dtype].text);
}

bool eval_topk(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *x = in[0];
  int axis = (int)node_int(n, "axis", 0), elem;
  const Attr *k = node_dims(n, "k");
  int64_t size = x->dims[axis], dims[MAX_RANK];
  if (!elem_of(e, n, x, &elem)) return false;
  memcpy(dims, x->dims, sizeof dims);
  if (!eval_dim_known(e, k->dims[0], &dims[axis])) return eval_fail(e, n, "k = %s has no value", dim_text(k->dims[0]));
  if (dims[axis] < 0 || dims[axis] > size)
    return eval_fail(e, n, "k is %lld, the axis has %lld elements", (long long)dims[axis], (long long)size);
  Arena tmp = {0};
  for (int o = 0; o < 2; o++)                           // an output nobody wants is computed all the same
    if (!out[o]) out[o] = tensor_new(&tmp, o ? DT_I64 : x->dtype, x->rank, dims);
  lt_topk(x->data, out[0]->data, out[1]->data, NEW_N(&tmp, int64_t, 3 * size + 1), elem, dims_product(x->dims, 0, axis),
          size, dims_product(x->dims, axis + 1, x->rank), dims[axis], node_int(n, "largest", 1));
  for (int o = 0; o < 2; o++) if (!n->out[o]) out[o] = NULL;
  arena_free(&tmp);
  return true;
}

bool eval_nonzero(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  int elem;
  if (!elem_of(e, n, in[0], &elem)) return false;
  Arena tmp = {0};
  int64_t count, size = tensor_count(in[0]), *at = NEW_N(&tmp, int64_t, size + 1);
  lt_nonzero(in[0]->data, at, &count, elem, size);
  bool ok = give(e, n, out, 0, at, count);
  arena_free(&tmp);
  return ok;
}

bool eval_unique(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *x = in[0];
  int axis = (int)node_int(n, "axis", 0), elem;
  if (!elem_of(e, n, x, &elem)) return false;
  Arena tmp = {0};
  int64_t size = x->dims[axis], count, *first = NEW_N(&tmp, int64_t, size + 1),
      *inverse = NEW_N(&tmp, int64_t, size + 1);
  int64_t *counts = NEW_N(&tmp, int64_t, size + 1), *scratch = NEW_N(&tmp, int64_t, 3 * size + 1);
  lt_unique(x->data, first, inverse, counts, &count, scratch, elem, dims_product(x->dims, 0, axis), size,
            dims_product(x->dims, axis + 1, x->rank), node_int(n, "sorted", 1));
  bool ok = give(e, n, out, 0, first, count) && give(e, n, out, 1, inverse, size) && give(e, n, out, 2, counts, count);
  arena_free(&tmp);
  return ok;
}

bool eval_nms(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *boxes = in[0], *scores = in[1];
  int64_t B = boxes->dims[0], N = boxes->dims[1], C = scores->dims[1], count;
  if (scores->dims[0] != B || scores->dims[2] != N || boxes->dims[2] != 4)
    return eval_fail(e, n, "boxes %s and scores %s do not fit", tensor_type_text(boxes), tensor_type_text(scores));
  Arena tmp = {0};
  int64_t *chosen = NEW_N(&tmp, int64_t, 3 * B * C * N + 1);
  lt_nms(boxes->data, scores->data, in[2]->data, in[3]->data, in[4]->data, chosen, &count,
         NEW_N(&tmp, int64_t, 3 * N + 1), B, C, N, node_int(n, "centre", 0));
  bool ok = give(e, n, out, 0, chosen, count);
  arena_free(&tmp);
  return ok;
}

bool eval_roi_align(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *x = in[0], *rois = in[1];
  if (!x->dims[2] || !x->dims[3]) return eval_fail(e, n, "the input is empty, there is nothing to sample");
  lt_roi_align(x->data, rois->data, in[2]->data, out[0]->data, x->dims[0], x->dims[1], x->dims[2], x->dims[3],
               rois->dims[0], out[0]->dims[2], out[0]->dims[3], node_int(n, "ratio", 0), node_int(n, "max", 0));
  return true;
}

bool eval_roi_align_grad(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *x = in[0], *dy = in[3];
  (void)e;
  lt_roi_align_grad(x->data, in[1]->data, in[2]->data, dy->data, out[0]->data, x->dims[0], x->dims[1], x->dims[2],
                    x->dims[3], dy->dims[0], dy->dims[2], dy->dims[3], node_int(n, "ratio", 0), node_int(n, "max", 0));
  return true;
}

bool eval_ctc_loss(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  (void)e;
  Arena tmp = {0};
  const int64_t *lp = in[0]->dims, S = in[1]->dims[1];
  lt_ctc_loss(in[0]->data, in[1]->data, in[2]->data, in[3]->data, out[0]->data, out[1]->data,
              NEW_N(&tmp, float, (lp[0] + 2) * (2 * S + 1)), lp[0], lp[1], lp[2], S, node_int(n, "blank", 0));
  arena_free(&tmp);
  return true;
}

bool eval_random(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  (void)e;
  const int64_t *step = n->nin > 0 && in[0] ? in[0]->data : NULL;
  bool normal = node_str(n, "kind", "uniform")[0] == 'n';
  (normal ? lt_random_normal : lt_random_uniform)(
      step, out[0]->data, step ? tensor_count(in[0]) : 1, tensor_count(out[0]), node_int(n, "seed", 0),
      node_int(n, "stream", 0), (float)node_float(n, "scale", 1), (float)node_float(n, "shift", 0));
  return true;
}

/* Its meaning takes the rules of passes/grad_*.c: they must have replaced it before anything is evaluated. */
bool eval_gradient(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  (void)in, (void)out;
  return eval_fail(e, n, "gradients are evaluated after pass grad has expanded them");
}
