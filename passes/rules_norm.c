/* Rules that find normalisations in what exporters spell out. See rules.def.
 *
 *   mean(x)   reduce_sum(x) / n, or * (1/n), keepdims, n the number of elements summed
 *   root      d * reciprocal(sqrt(mean(d*d) + eps)), or d / sqrt(…), or with d^2 as a power
 *
 * The axes must be the last ones, in order: that is what layer_norm and rms_norm normalise over. Both uses of d
 * must be the same value, so a model that computes it twice is matched in the round after cse. */
#include "passes/rules.h"
#include <math.h>

/* v = mean(x) over the last axes, kept: gives x and the first axis. */
static bool match_mean(const Rules *r, ValueId v, ValueId *x, int *axis) {
  double c;
  ValueId s = 0, count = 0;
  bool by_number = match_with_splat(r, v, OP_DIV, &c, &s) && value_of(r->m, v)->def;
  if (!by_number && match_with_splat(r, v, OP_MUL, &c, &s)) { c = 1 / c; by_number = true; }
  if (!by_number) {
    const Node *d = match_def(r, v, OP_DIV);
    if (!d) return false;
    s = d->in[0];
    count = d->in[1];
  }
  const Node *sum = match_def(r, s, OP_REDUCE_SUM);
  if (!sum || node_int(sum, "keepdims", 0) != 1) return false;
  const Attr *axes = node_dims(sum, "axes");
  const Type *t = match_type(r, sum->in[0]);
  Dim n = DIM(1);
  if (!axes->n) return false;
  for (int i = 0; i < axes->n; i++) {
    if (axes->dims[i].k != t->rank - axes->n + i) return false;
    n = dim_mul(n, t->dims[axes->dims[i].k]);
  }
  *x = sum->in[0];
  *axis = t->rank - axes->n;
  if (by_number) return dim_is_const(n) && fabs(c - (double)n.k) <= 1e-5 * (double)n.k;
  const Node *cast = match_def(r, count, OP_CAST), *dims = cast ? match_def(r, cast->in[0], OP_DIMS) : NULL;
  const Attr *known = dims ? node_dims(dims, "dims") : NULL;
  return known && known->n == 1 && dim_eq(known->dims[0], n);
}

/* v = x*x or x^2 */
static bool match_square(const Rules *r, ValueId v, ValueId *x) {
  const Node *n = match_def(r, v, OP_MUL);
  if (n && n->in[0] == n->in[1]) { *x = n->in[0]; return true; }
  double c;
  return match_with_splat(r, v, OP_POW, &c, x) && c == 2;
}

/* The root as d / sqrt(mean(d^2) + eps). */
static bool match_over_rms(const Rules *r, const Node *n, ValueId *d, int *axis, double *eps) {
  for (int k = 0; k < 2; k++) {
    ValueId root = 0;
    if (n->op == OP_DIV && k == 1) root = n->in[1];
    else if (n->op == OP_MUL) {
      const Node *inverse = match_def(r, n->in[k], OP_RECIP);
      root = inverse ? inverse->in[0] : 0;
    }
    const Node *sqrt = root ? match_def(r, root, OP_SQRT) : NULL;
    ValueId var, square, base;
    if (!sqrt || !match_with_splat(r, sqrt->in[0], OP_ADD, eps, &var) || !(*eps >= 0)) continue;
    if (!match_mean(r, var, &square, axis) || !match_square(r, square, &base) || base != n->in[1 - k]) continue;
    *d = base;
    return match_same_type(r, base, n->out[0]);
  }
  return false;
}

static bool make_norm(Rules *r, Op op, ValueId x, int axis, double eps) {
  if (!rule_go(r)) return false;
  Attr a[] = {attr_int("axis", axis), attr_float("epsilon", eps)};
  return rule_replace(r, rule_op(r, op, &x, 1, a, 2));
}

bool rule_layer_norm(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  ValueId d, x;
  int axis, mean_axis;
  double eps;
  if ((n->op != OP_MUL && n->op != OP_DIV) || !match_over_rms(r, n, &d, &axis, &eps)) return false;
  const Node *sub = match_def(r, d, OP_SUB);
  if (!sub || !match_mean(r, sub->in[1], &x, &mean_axis) || x != sub->in[0] || mean_axis != axis) return false;
  return make_norm(r, OP_LAYER_NORM, x, axis, eps);
}

bool rule_rms_norm(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  ValueId x;
  int axis;
  double eps;
  if ((n->op != OP_MUL && n->op != OP_DIV) || !match_over_rms(r, n, &x, &axis, &eps)) return false;
  return make_norm(r, OP_RMS_NORM, x, axis, eps);
}

/* c without leading axes of length 1, if it then broadcasts to axes [axis, rank) only. */
static bool match_affine(const Rules *r, ValueId c, const Type *out, int axis, Type *shape) {
  const Type *t = match_type(r, c);
  if (t->dtype != out->dtype || t->rank > out->rank) return false;
  int skip = 0;
  while (skip < t->rank && out->rank - t->rank + skip < axis && dim_is(t->dims[skip], 1)) skip++;
  *shape = type_of(t->dtype, t->rank - skip, t->dims + skip);
  return shape->rank <= out->rank - axis;
}

/* norm(x…) op c -> the norm with one more input at position `at`. */
static bool add_input(Rules *r, NodeId id, Op op, int at) {
  const Node *n = node_of(r->m, id);
  for (int k = 0; k < 2; k++) {
    const Node *norm = match_def(r, n->in[k], op);
    if (!norm || norm->nout != 1 || norm->nin > at || !match_once(r, n->in[k]) || !match_same_type(r, n->in[k], n->out[0])) continue;
    Type shape;
    ValueId c = n->in[1 - k];
    if (!match_affine(r, c, match_type(r, n->out[0]), (int)node_int(norm, "axis", 0), &shape)) continue;
    ValueId in[3] = {norm->in[0], norm->nin > 1 ? norm->in[1] : 0, 0};
    Attr attr[] = {attr_int("axis", node_int(norm, "axis", 0)), attr_float("epsilon", node_float(norm, "epsilon", 0))};
    if (!rule_go(r)) return false;
    in[at] = shape.rank == match_type(r, c)->rank ? c : rule_reshape(r, c, &shape);
    return rule_replace(r, rule_op(r, op, in, at + 1, attr, 2));
  }
  return false;
}

bool rule_norm_scale(Rules *r, NodeId id) { return add_input(r, id, OP_LAYER_NORM, 1) || add_input(r, id, OP_RMS_NORM, 1); }
bool rule_norm_bias(Rules *r, NodeId id) { return add_input(r, id, OP_LAYER_NORM, 2); }
