/* What the composites of training stand for; their gradients are in grad_loss.c and grad_norm.c. */
#include "passes/decompose.h"

/* loss = log_sum * V - sum of v * (x - max), with v = q' * w and V its sum over the classes. For labels without weights
 * V is 1 and the sum picks one element: nothing of x's size is stored. */
bool decompose_softmax_cross_entropy(Graph *g, const Node *n, ValueId *out) {
  ValueId x = n->in[0], target = n->in[1], weight = n->nin > 2 ? n->in[2] : 0;
  int axis = (int)node_int(n, "axis", 1), rank = build_rank(g, x);
  double smoothing = node_float(n, "smoothing", 0);
  DType t = build_dtype(g, x);
  ValueId top = build_reduce(g, OP_REDUCE_MAX, x, &axis, 1, true), centred = build_sub(g, x, top);
  ValueId sum = build_reduce(g, OP_REDUCE_SUM, build_op1(g, OP_EXP, centred), &axis, 1, false);
  ValueId log_sum = build_op1(g, OP_LOG, sum);
  ValueId spread = weight ? build_align(g, weight, axis, rank) : 0, picked, total = 0;
  if (dtype_is_float(build_dtype(g, target))) {
    ValueId v = spread ? build_mul(g, target, spread) : target;
    picked = build_reduce(g, OP_REDUCE_SUM, build_mul(g, v, centred), &axis, 1, false);
    total = build_reduce(g, OP_REDUCE_SUM, v, &axis, 1, false);
  } else {
    Attr at = attr_int("axis", axis);
    ValueId label = build_unsqueeze(g, target, axis);
    picked = build_squeeze(g, build_op(g, OP_GATHER_ELEMENTS, (ValueId[]){x, label}, 2, &at, 1), axis);
    picked = build_sub(g, picked, build_squeeze(g, top, axis));
    if (weight) total = build_gather(g, weight, 0, target), picked = build_mul(g, picked, total);
  }
  if (smoothing > 0) {                                           // towards the average over the classes
    ValueId count = build_dim_value(g, t, build_dim(g, x, axis));
    ValueId even = build_reduce(g, OP_REDUCE_SUM, spread ? build_mul(g, centred, spread) : centred, &axis, 1, false);
    ValueId share = build_div(g, build_scalar(g, t, smoothing), count);
    picked = build_add(g, build_mulc(g, picked, 1 - smoothing), build_mul(g, even, share));
    ValueId all = build_scalar(g, t, smoothing);
    if (weight) all = build_mul(g, build_reduce_all(g, OP_REDUCE_SUM, weight), share);
    if (total) total = build_add(g, build_mulc(g, total, 1 - smoothing), all);
  }
  out[0] = build_sub(g, total ? build_mul(g, log_sum, total) : log_sum, picked);
  out[1] = build_squeeze(g, top, axis);
  out[2] = log_sum;
  return out[0] != 0;
}

/* The variance is of centred elements, in a second pass: the difference of two large sums would lose its digits. */
bool decompose_batch_norm_train(Graph *g, const Node *n, ValueId *out) {
  ValueId x = n->in[0];
  int rank = build_rank(g, x), axes[MAX_RANK], count = 0;
  for (int k = 0; k < rank; k++) if (k != 1) axes[count++] = k;
  ValueId mean = build_mean(g, x, axes, count, false);
  ValueId centred = build_sub(g, x, build_align(g, mean, 1, rank));
  ValueId variance = build_mean(g, build_mul(g, centred, centred), axes, count, false);
  ValueId gain = build_op1(g, OP_RECIP, build_op1(g, OP_SQRT, build_addc(g, variance, node_float(n, "epsilon", 0))));
  if (n->nin > 1 && n->in[1]) gain = build_mul(g, gain, n->in[1]);
  ValueId y = build_mul(g, centred, build_align(g, gain, 1, rank));
  if (n->nin > 2 && n->in[2]) y = build_add(g, y, build_align(g, n->in[2], 1, rank));
  out[0] = y;
  out[1] = mean;
  out[2] = variance;
  return y != 0;
}
