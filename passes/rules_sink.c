/* Rules that move reshapes and transposes behind elementwise ops, so that arithmetic follows the node whose
 * result it works on (and becomes its epilogue), and views meet and cancel. See rules.def.
 *
 * Operands are views of the same kind from the same type, or constants; at least one is a view. A constant with
 * a shape is brought into the shape before the view, which folds. Nothing moves back: the walk ends. */
#include "passes/rules.h"

/* Axes of length 1 aside, do x and y have the same axes? Then axis[k] of y is that axis of x, or -1. */
static bool match_axes(const Type *x, const Type *y, int *axis) {
  int i = 0;
  for (int k = 0; k < y->rank; k++) {
    axis[k] = -1;
    if (dim_is(y->dims[k], 1)) continue;
    while (i < x->rank && dim_is(x->dims[i], 1)) i++;
    if (i == x->rank || !dim_eq(x->dims[i], y->dims[k])) return false;
    axis[k] = i++;
  }
  while (i < x->rank && dim_is(x->dims[i], 1)) i++;
  return i == x->rank;
}

/* What c, which broadcasts to y, must be to broadcast to x. */
static bool constant_before_reshape(const Type *c, const Type *x, const Type *y, Type *out) {
  int axis[MAX_RANK];
  *out = type_of(c->dtype, x->rank, x->dims);
  for (int i = 0; i < x->rank; i++) out->dims[i] = DIM(1);
  if (dim_is(type_count(c), 1)) return true;
  if (!match_axes(x, y, axis)) return false;
  for (int k = 0; k < c->rank; k++) {
    int at = axis[y->rank - c->rank + k];
    if (dim_is(c->dims[k], 1)) continue;
    if (at < 0) return false;
    out->dims[at] = c->dims[k];
  }
  return true;
}

/* The view that all operands share; NULL when there is none. */
static const Node *shared_view(const Rules *r, const Node *n, Op view) {
  const Node *first = NULL;
  for (int k = 0; k < n->nin; k++) {
    const Node *v = match_def(r, n->in[k], view);
    if (!v) {
      if (!match_constant(r, n->in[k])) return NULL;
      continue;
    }
    const Type *t = match_type(r, n->in[k]), *out = match_type(r, n->out[0]);
    if (t->rank != out->rank) return NULL;
    for (int d = 0; d < t->rank; d++)
      if (!dim_eq(t->dims[d], out->dims[d])) return NULL;
    if (!first) { first = v; continue; }
    const Type *a = match_type(r, first->in[0]), *b = match_type(r, v->in[0]);
    if (a->rank != b->rank) return NULL;
    for (int d = 0; d < a->rank; d++)
      if (!dim_eq(a->dims[d], b->dims[d])) return NULL;
    if (view == OP_TRANSPOSE && !attr_eq(node_attr(first, "perm"), node_attr(v, "perm"))) return NULL;
  }
  return first;
}

bool rule_sink_reshape(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  const Node *view = op_is_scalar(n->op) ? shared_view(r, n, OP_RESHAPE) : NULL;
  if (!view) return false;
  const Type x = *match_type(r, view->in[0]), y = *match_type(r, n->out[0]);
  Type shape[3];
  ValueId in[3];
  bool is_view[3];
  int nin = n->nin;
  Op op = n->op;
  for (int k = 0; k < nin; k++) {
    const Node *v = match_def(r, n->in[k], OP_RESHAPE);
    is_view[k] = v != NULL;
    in[k] = v ? v->in[0] : n->in[k];
    const Type *c = match_type(r, n->in[k]);
    if (!v && c->rank && !constant_before_reshape(c, &x, &y, &shape[k])) return false;
  }
  if (!rule_go(r)) return false;
  for (int k = 0; k < nin; k++)
    if (!is_view[k] && match_type(r, in[k])->rank) in[k] = rule_reshape(r, in[k], &shape[k]);
  return rule_replace(r, rule_reshape(r, rule_op(r, op, in, nin, NULL, 0), &y));
}

bool rule_sink_transpose(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  const Node *view = op_is_scalar(n->op) ? shared_view(r, n, OP_TRANSPOSE) : NULL;
  if (!view) return false;
  Attr perm = *node_dims(view, "perm");
  Dim inverse[MAX_RANK];
  for (int i = 0; i < perm.n; i++) inverse[perm.dims[i].k] = DIM(i);
  ValueId in[3];
  bool is_view[3];
  int nin = n->nin;
  Op op = n->op;
  for (int k = 0; k < nin; k++) {
    const Node *v = match_def(r, n->in[k], OP_TRANSPOSE);
    is_view[k] = v != NULL;
    in[k] = v ? v->in[0] : n->in[k];
  }
  if (!rule_go(r)) return false;
  Attr back = attr_dims(r->m, "perm", inverse, perm.n);
  for (int k = 0; k < nin; k++) {
    Type c = *match_type(r, in[k]), full = type_of(c.dtype, perm.n, c.dims);
    if (is_view[k] || !c.rank) continue;
    for (int d = 0; d < perm.n; d++) full.dims[d] = d < perm.n - c.rank ? DIM(1) : c.dims[d - (perm.n - c.rank)];
    in[k] = rule_reshape(r, in[k], &full);
    in[k] = rule_op(r, OP_TRANSPOSE, &in[k], 1, &back, 1);
  }
  ValueId y = rule_op(r, op, in, nin, NULL, 0);
  return rule_replace(r, rule_op(r, OP_TRANSPOSE, &y, 1, &perm, 1));
}
