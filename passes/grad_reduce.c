/* Gradients of reductions, running sums and products, and softmax. */
#include "passes/grad.h"

/* ---- reductions ---- */

/* A value of the reduced shape, as it stands beside x: axes of size 1 where x was reduced. */
static ValueId beside(GradNode *r, ValueId v) {
  Type t = *build_type(r->g, r->in[0]);
  const Attr *axes = node_dims(r->node, "axes");
  for (int k = 0; k < axes->n; k++) t.dims[axes->dims[k].k] = DIM(1);
  return build_reshape_like(r->g, v, &t);
}

bool grad_reduce_sum(GradNode *r) {
  Type x = *build_type(r->g, r->in[0]);
  grad_add_to(r, 0, build_expand(r->g, beside(r, r->dy[0]), x.dims, x.rank));
  return true;
}

static ValueId running(Graph *g, Op op, ValueId v, int axis, bool exclusive, bool reverse) {
  Attr a[] = {attr_int("axis", axis), attr_int("exclusive", exclusive), attr_int("reverse", reverse)};
  return build_op(g, op, &v, 1, a, 3);
}

/* For every element the product of the others, as what is before it times what is after it: no division, so zeros are
 * no special case. The reduced axes become one, the last. */
static ValueId product_of_others(Graph *g, ValueId x, const Attr *axes) {
  Type t = *build_type(g, x);
  int perm[MAX_RANK], back[MAX_RANK], kept = 0;
  Dim lines[2] = {DIM(1), DIM(1)};
  bool reduced[MAX_RANK] = {false};
  for (int k = 0; k < axes->n; k++) reduced[axes->dims[k].k] = true;
  for (int k = 0; k < t.rank; k++) if (!reduced[k]) perm[kept++] = k;
  for (int k = 0, at = kept; k < t.rank; k++) if (reduced[k]) perm[at++] = k;
  for (int k = 0; k < t.rank; k++) {
    back[perm[k]] = k;
    lines[k >= kept] = dim_mul(lines[k >= kept], t.dims[perm[k]]);
  }
  ValueId moved = build_transpose(g, x, perm, t.rank);
  Type shape = *build_type(g, moved);
  ValueId flat = build_reshape(g, moved, lines, 2);
  ValueId others = build_mul(g, running(g, OP_CUMPROD, flat, 1, true, false),
                             running(g, OP_CUMPROD, flat, 1, true, true));
  return build_transpose(g, build_reshape_like(g, others, &shape), back, t.rank);
}

bool grad_reduce_prod(GradNode *r) {
  ValueId others = product_of_others(r->g, r->in[0], node_dims(r->node, "axes"));
  grad_add_to(r, 0, build_mul(r->g, beside(r, r->dy[0]), others));
  return true;
}

/* The largest element gets dy; equal ones share it. */
static bool grad_extreme(GradNode *r) {
  Graph *g = r->g;
  const Attr *axes = node_dims(r->node, "axes");
  int at[MAX_RANK];
  for (int k = 0; k < axes->n; k++) at[k] = (int)axes->dims[k].k;
  DType t = build_dtype(g, r->in[0]);
  ValueId wins = build_op2(g, OP_EQ, r->in[0], beside(r, r->out[0]));
  ValueId winners = build_reduce(g, OP_REDUCE_SUM, build_cast(g, wins, t), at, axes->n, true);
  ValueId part = build_div(g, beside(r, r->dy[0]), winners);
  grad_add_to(r, 0, build_where(g, wins, part, build_scalar(g, t, 0)));
  return true;
}

bool grad_reduce_max(GradNode *r) { return grad_extreme(r); }
bool grad_reduce_min(GradNode *r) { return grad_extreme(r); }

/* ---- running sums and products ---- */

/* x[i] is part of y[k] for every k from i on: dy is summed from the other end. */
static ValueId sum_back(GradNode *r, ValueId v) {
  bool exclusive = node_int(r->node, "exclusive", 0) != 0, reverse = node_int(r->node, "reverse", 0) != 0;
  return running(r->g, OP_CUMSUM, v, (int)node_int(r->node, "axis", 0), exclusive, !reverse);
}

bool grad_cumsum(GradNode *r) {
  grad_add_to(r, 0, sum_back(r, r->dy[0]));
  return true;
}

/* dx[i] = sum over k from i on of dy[k] y[k] / x[i]. From the first zero z on, y is 0: elements before z are served by
 * that sum, those after z have gradient 0, and x[z] itself needs the products without it: y of x with a 1 at z. */
bool grad_cumprod(GradNode *r) {
  Graph *g = r->g;
  ValueId x = r->in[0], dy = r->dy[0];
  int axis = (int)node_int(r->node, "axis", 0);
  bool exclusive = node_int(r->node, "exclusive", 0) != 0, reverse = node_int(r->node, "reverse", 0) != 0;
  DType t = build_dtype(g, x);
  ValueId zero = build_scalar(g, t, 0), one = build_scalar(g, t, 1);
  ValueId is_zero = build_op2(g, OP_EQ, x, zero);
  ValueId zeros = running(g, OP_CUMSUM, build_cast(g, is_zero, t), axis, false, reverse);    // up to here, included
  ValueId first = build_op2(g, OP_AND, is_zero, build_op2(g, OP_EQ, zeros, one));
  ValueId without = running(g, OP_CUMPROD, build_where(g, first, one, x), axis, exclusive, reverse);
  ValueId before = build_div(g, sum_back(r, build_mul(g, dy, r->out[0])), build_where(g, is_zero, one, x));
  ValueId at_first = build_where(g, first, sum_back(r, build_mul(g, dy, without)), zero);
  grad_add_to(r, 0, build_where(g, build_op2(g, OP_EQ, zeros, zero), before, at_first));
  return true;
}

/* ---- softmax ---- */

static ValueId sum_along(GradNode *r, ValueId v) {
  return build_reduce(r->g, OP_REDUCE_SUM, v, (int[]){(int)node_int(r->node, "axis", 0)}, 1, true);
}

bool grad_softmax(GradNode *r) {
  Graph *g = r->g;
  ValueId dy = r->dy[0], y = r->out[0];
  grad_add_to(r, 0, build_mul(g, y, build_sub(g, dy, sum_along(r, build_mul(g, dy, y)))));
  return true;
}

bool grad_log_softmax(GradNode *r) {
  Graph *g = r->g;
  ValueId dy = r->dy[0], p = build_op1(g, OP_EXP, r->out[0]);
  grad_add_to(r, 0, build_sub(g, dy, build_mul(g, p, sum_along(r, dy))));
  return true;
}
