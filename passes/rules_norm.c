/* Rules that find normalisations in what exporters spell out. See rules.def.
 *
 *   mean(x)   reduce_sum(x) / n, or * (1/n), keepdims, n the number of elements summed
 *   root      d * reciprocal(sqrt(mean(d*d) + eps)), or d / sqrt(…), or with d^2 as a power
 *
 * The axes must be the last ones, in order: that is what layer_norm and rms_norm normalise over. Both uses of d
 * must be the same value, so a model that computes it twice is matched in the round after cse. */
#include "passes/rules.h"
#include "passes/frontier.h"
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

/* v = x*x or x^2; or reshape(z*z) where x is reshape(z), which is what sinking the reshape makes of it */
static bool match_square(const Rules *r, ValueId v, ValueId x) {
  const Node *n = match_def(r, v, OP_MUL);
  if (n) return n->in[0] == x && n->in[1] == x;
  double c;
  ValueId base;
  if (match_with_splat(r, v, OP_POW, &c, &base)) return base == x && c == 2;
  const Node *outer = match_def(r, v, OP_RESHAPE), *inner = match_def(r, x, OP_RESHAPE);
  return outer && inner && match_same_type(r, v, x) && match_square(r, outer->in[0], inner->in[0]);
}

/* v = mean(x^2) - mean(x)^2, held at or above 0 or not */
static bool match_difference_variance(const Rules *r, ValueId v, ValueId x, int *axis) {
  const Node *n = match_def(r, v, OP_RELU);
  if (n) v = n->in[0];
  n = match_def(r, v, OP_SUB);
  ValueId square, mean, y;
  int other;
  const Node *mm = n ? match_def(r, n->in[1], OP_MUL) : NULL;
  if (!mm || mm->in[0] != mm->in[1]) return false;
  mean = mm->in[0];
  return match_mean(r, n->in[0], &square, axis) && match_square(r, square, x) && match_mean(r, mean, &y, &other) &&
         y == x && other == *axis;
}

/* q = 1 / sqrt(v + eps), perhaps times a scale */
static bool match_inverse_root(const Rules *r, ValueId q, ValueId *var, double *eps, ValueId *scale) {
  const Node *n = match_def(r, q, OP_MUL), *inverse = match_def(r, q, OP_RECIP);
  *scale = 0;
  for (int k = 0; n && !inverse && k < 2; k++) {
    inverse = match_def(r, n->in[k], OP_RECIP);
    *scale = n->in[1 - k];
  }
  const Node *sqrt = inverse ? match_def(r, inverse->in[0], OP_SQRT) : NULL;
  return sqrt && match_with_splat(r, sqrt->in[0], OP_ADD, eps, var) && *eps >= 0;
}

/* The root as d / sqrt(var + eps) * scale. */
typedef struct Norm { ValueId d, var, scale; double eps; } Norm;

static bool match_norm(const Rules *r, const Node *n, int k, Norm *m) {
  *m = (Norm){0};
  if (n->op == OP_DIV) {
    const Node *sqrt = k ? match_def(r, n->in[1], OP_SQRT) : NULL;
    if (!sqrt || !match_with_splat(r, sqrt->in[0], OP_ADD, &m->eps, &m->var) || !(m->eps >= 0)) return false;
  } else if (n->op != OP_MUL || !match_inverse_root(r, n->in[k], &m->var, &m->eps, &m->scale)) {
    return false;
  }
  m->d = n->in[1 - k];
  return match_same_type(r, m->d, n->out[0]);
}

static bool match_affine(const Rules *r, ValueId c, const Type *out, int axis, Type *shape);

static bool make_norm(Rules *r, Op op, ValueId x, int axis, const Norm *m) {
  Type shape;
  const Type *to = match_type(r, node_of(r->m, r->root)->out[0]);
  if (m->scale && !match_affine(r, m->scale, to, axis, &shape)) return false;
  if (!rule_go(r)) return false;
  ValueId in[2] = {x, m->scale};
  if (m->scale && shape.rank != match_type(r, m->scale)->rank) in[1] = rule_reshape(r, m->scale, &shape);
  Attr a[] = {attr_int("axis", axis), attr_float("epsilon", m->eps)};
  return rule_replace(r, rule_op(r, op, in, m->scale ? 2 : 1, a, 2));
}

/* m.var is the variance of x? Either spelling. */
static bool match_variance(const Rules *r, const Norm *m, ValueId *x, int *axis) {
  const Node *sub = match_def(r, m->d, OP_SUB);
  ValueId square;
  int mean_axis, var_axis;
  if (!sub || !match_mean(r, sub->in[1], x, &mean_axis) || *x != sub->in[0]) return false;
  *axis = mean_axis;
  if (match_mean(r, m->var, &square, &var_axis)) return match_square(r, square, m->d) && var_axis == mean_axis;
  return match_difference_variance(r, m->var, *x, &var_axis) && var_axis == mean_axis;
}

bool rule_layer_norm(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  for (int k = 0; n->nin == 2 && k < 2; k++) {
    Norm m;
    ValueId x;
    int axis;
    if (match_norm(r, n, k, &m) && match_variance(r, &m, &x, &axis)) return make_norm(r, OP_LAYER_NORM, x, axis, &m);
  }
  return false;
}

bool rule_rms_norm(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  for (int k = 0; n->nin == 2 && k < 2; k++) {
    Norm m;
    ValueId square;
    int axis;
    if (!match_norm(r, n, k, &m) || !match_mean(r, m.var, &square, &axis) || !match_square(r, square, m.d)) continue;
    return make_norm(r, OP_RMS_NORM, m.d, axis, &m);
  }
  return false;
}

bool rule_softmax(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id), *e = match_def(r, n->in[0], OP_EXP), *sum = match_def(r, n->in[1], OP_REDUCE_SUM);
  const Node *sub = e ? match_def(r, e->in[0], OP_SUB) : NULL, *max = sub ? match_def(r, sub->in[1], OP_REDUCE_MAX)
      : NULL;
  if (!max || !sum || sum->in[0] != n->in[0] || max->in[0] != sub->in[0]) return false;
  const Attr *a = node_dims(sum, "axes"), *b = node_dims(max, "axes");
  if (a->n != 1 || b->n != 1 || a->dims[0].k != b->dims[0].k) return false;
  if (node_int(sum, "keepdims", 0) != 1 || node_int(max, "keepdims", 0) != 1) return false;
  ValueId x = sub->in[0];
  Attr axis = attr_int("axis", a->dims[0].k);
  return rule_go(r) && rule_replace(r, rule_op(r, OP_SOFTMAX, &x, 1, &axis, 1));
}

bool rule_softmax_ahead(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  ValueId x;
  Dim ahead;
  if (node_attr(n, "ahead") || node_int(n, "axis", 0) != match_type(r, n->in[0])->rank - 1) return false;
  if (!frontier_masked(r->m, n->in[0], &x, &ahead) || !rule_go(r)) return false;
  Attr a[] = {attr_int("axis", node_int(n, "axis", 0)), attr_dims(r->m, "ahead", &ahead, 1)};
  return rule_replace(r, rule_op(r, OP_SOFTMAX, &x, 1, a, 2));
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
    if (!norm || norm->nout != 1 || norm->nin > at || !match_once(r, n->in[k]) ||
        !match_same_type(r, n->in[k], n->out[0]))
      continue;
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

bool rule_norm_scale(Rules *r, NodeId id) {
  return add_input(r, id, OP_LAYER_NORM, 1) || add_input(r, id, OP_RMS_NORM, 1);
}
bool rule_norm_bias(Rules *r, NodeId id) { return add_input(r, id, OP_LAYER_NORM, 2); }
