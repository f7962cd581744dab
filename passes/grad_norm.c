/* Gradient of batch normalisation (Ioffe and Szegedy 2015, section 3). */
#include "passes/grad.h"

/* Channel values [C] as [1, C, 1, …]. */
static ValueId spread(Graph *g, ValueId v, int rank) { return build_align(g, v, 1, rank); }

/* Sum over all axes but the channels: [C]. */
static ValueId per_channel(Graph *g, ValueId v) {
  int axes[MAX_RANK], n = 0;
  for (int k = 0; k < build_rank(g, v); k++) if (k != 1) axes[n++] = k;
  return build_reduce(g, OP_REDUCE_SUM, v, axes, n, false);
}

/* With c = x - mean, s = 1 / sqrt(variance + epsilon), n elements per channel, b = sum dy, a = sum dy * c:
 *   dbias = b,  dscale = a * s,  dx = scale * s * (dy - b / n - c * a * s^2 / n)
 * two sums and one pass over x, from the mean and the variance that the forward pass keeps. The outputs mean and
 * variance are treated like any other: dx += dmean / n + 2 * c * dvariance / n. */
bool grad_batch_norm_train(GradNode *r) {
  Graph *g = r->g;
  Type t = *build_type(g, r->in[0]);
  ValueId scale = r->nin > 1 ? r->in[1] : 0;
  ValueId n = build_div(g, build_dim_value(g, t.dtype, type_count(&t)), build_dim_value(g, t.dtype, t.dims[1]));
  ValueId c = build_sub(g, r->in[0], spread(g, r->out[1], t.rank));
  if (r->dy[0]) {
    ValueId variance = build_addc(g, r->out[2], node_float(r->node, "epsilon", 0));
    ValueId s = build_op1(g, OP_RECIP, build_op1(g, OP_SQRT, variance));
    ValueId b = per_channel(g, r->dy[0]), a = per_channel(g, build_mul(g, r->dy[0], c));
    grad_add_to(r, 2, b);
    grad_add_to(r, 1, build_mul(g, a, s));
    if (grad_wants(r, 0)) {
      ValueId along = build_div(g, build_div(g, a, variance), n), gain = scale ? build_mul(g, scale, s) : s;
      ValueId d = build_sub(g, r->dy[0], spread(g, build_div(g, b, n), t.rank));
      d = build_sub(g, d, build_mul(g, c, spread(g, along, t.rank)));
      grad_add_to(r, 0, build_mul(g, d, spread(g, gain, t.rank)));
    }
  }
  if (r->dy[1]) grad_add_to(r, 0, build_expand(g, spread(g, build_div(g, r->dy[1], n), t.rank), t.dims, t.rank));
  if (r->dy[2])
    grad_add_to(r, 0, build_mul(g, c, spread(g, build_div(g, build_mulc(g, r->dy[2], 2), n), t.rank)));
  return true;
}
