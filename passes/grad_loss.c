/* Gradients of losses that are ops of their own. */
#include "passes/grad.h"

/* x's shape with 1 at `axis`. */
static ValueId column(Graph *g, ValueId row, int axis) { return build_unsqueeze(g, row, axis); }

/* With p = softmax(x) = exp(x - max - log_sum), v = q' * w and V = sum of v:
 *   dx = dy * (V * p - v),  dq = -dy * (1 - smoothing) * w * log(p)
 * one pass over x, from the two numbers per row that the forward pass keeps. For labels v is a comparison with the
 * index. `max` is a point of reference: nobody but this rule uses it, and only as max + log_sum, whose gradient is p;
 * so the gradient that comes to log_sum (when this rule's result is differentiated) stands for both. */
typedef struct Asked { ValueId v, total; } Asked;               /* v: x's shape; total: rows, 0: 1 */

static Asked asked(Graph *g, const GradNode *r, int axis, double smoothing) {
  Type t = *build_type(g, r->in[0]);
  ValueId target = r->in[1], weight = r->nin > 2 ? r->in[2] : 0;
  bool labels = !dtype_is_float(build_dtype(g, target));
  ValueId q = target;
  if (labels) {
    ValueId index = build_align(g, build_iota(g, build_dtype(g, target), &t.dims[axis], 1, 0), axis, t.rank);
    q = build_cast(g, build_op2(g, OP_EQ, index, column(g, target, axis)), t.dtype);
  }
  if (smoothing > 0) {
    ValueId even = build_div(g, build_scalar(g, t.dtype, smoothing), build_dim_value(g, t.dtype, t.dims[axis]));
    q = build_add(g, build_mulc(g, q, 1 - smoothing), even);
  }
  if (weight) q = build_mul(g, q, build_align(g, weight, axis, t.rank));
  return (Asked){q, labels && !weight ? 0 : build_reduce(g, OP_REDUCE_SUM, q, &axis, 1, true)};
}

bool grad_softmax_cross_entropy(GradNode *r) {
  Graph *g = r->g;
  int axis = (int)node_int(r->node, "axis", 1);
  double smoothing = node_float(r->node, "smoothing", 0);
  ValueId log_p = build_sub(g, build_sub(g, r->in[0], column(g, r->out[1], axis)), column(g, r->out[2], axis));
  if (grad_wants(r, 0)) {
    ValueId p = build_op1(g, OP_EXP, log_p);
    if (r->dy[0]) {
      Asked a = asked(g, r, axis, smoothing);
      ValueId d = build_sub(g, a.total ? build_mul(g, p, a.total) : p, a.v);
      grad_add_to(r, 0, build_mul(g, d, column(g, r->dy[0], axis)));
    }
    if (r->dy[2]) grad_add_to(r, 0, build_mul(g, p, column(g, r->dy[2], axis)));
  }
  if (r->dy[0] && grad_wants(r, 1)) {
    ValueId d = build_mul(g, build_mulc(g, log_p, smoothing - 1), column(g, r->dy[0], axis));
    if (r->nin > 2 && r->in[2]) d = build_mul(g, d, build_align(g, r->in[2], axis, build_rank(g, r->in[0])));
    grad_add_to(r, 1, d);
  }
  return grad_wants(r, 2) ? grad_fail(r, "weights of classes are not learned; use stop_gradient on them") : true;
}

/* The forward pass has computed it: d loss / d lp is its second output. */
bool grad_ctc_loss(GradNode *r) {
  if (r->dy[1]) return grad_fail(r, "its gradient has no gradient of its own");
  if (r->dy[0]) grad_add_to(r, 0, build_mul(r->g, r->out[1], build_align(r->g, r->dy[0], 1, 3)));
  return true;
}
