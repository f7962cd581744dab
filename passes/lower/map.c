/* A map: a group without a heavy node. One loop nest over its first value; the elementwise nodes that follow are the
 * epilogue, views and what was inlined are read where they are used. */
#include "passes/lower/functions.h"

/* Is the operand the same memory shape as `like`: element by element in one order, or one number? */
static bool runs_along(Lower *l, ValueId v, const Value *like) {
  const Value *val = value_of(l->m, v);
  if (val->constant && tensor_count(val->constant) == 1) return true;
  // computed here: its node is looked at
  if (val->def && node_of(l->m, val->def)->group == l->group && !val->at.base) return true;
  if (!val->at.base || !type_same_shape(&val->type, &like->type)) return false;
  for (int k = 0; k < val->type.rank; k++)
    if (!dim_is(val->type.dims[k], 1) && !dim_eq(val->at.stride[k], like->at.stride[k])) return false;
  return true;
}

static bool node_runs_along(Lower *l, NodeId id, const Value *like) {
  const Node *n = node_of(l->m, id);
  if (!op_is_scalar(n->op) && n->op != OP_CAST && n->op != OP_COPY) return false;
  if (!type_same_shape(&value_of(l->m, n->out[0])->type, &like->type)) return false;
  if (value_of(l->m, n->out[0])->at.base && !runs_along(l, n->out[0], like)) return false;
  for (int k = 0; k < n->nin; k++) if (n->in[k] && !runs_along(l, n->in[k], like)) return false;
  return true;
}

/* A map whose values all lie alike and without gaps is one loop over all elements, however short its axes are. */
static bool is_flat_map(Lower *l, const Group *g, ValueId order, int *inner) {
  const Value *like = value_of(l->m, order);
  int rank = like->type.rank, axes = 0;
  Dim next = DIM(1);
  *inner = -1;
  for (int found = 1; found; ) {                                // axes from the innermost: strides 1, n0, n0*n1, …
    found = 0;
    for (int k = rank - 1; k >= 0; k--) {
      if (axes >> k & 1 || dim_is(like->type.dims[k], 1) || !dim_eq(like->at.stride[k], next)) continue;
      if (*inner < 0) *inner = k;
      next = dim_mul(next, like->type.dims[k]);
      axes |= 1 << k;
      found = 1;
      break;
    }
  }
  int many = 0;
  for (int k = 0; k < rank; k++) many += !dim_is(like->type.dims[k], 1);
  if (many < 2 || many != __builtin_popcount((unsigned)axes)) return false;
  for (int k = 0; k < group_nodes(g); k++) if (!node_runs_along(l, group_node(l->m, g, k), like)) return false;
  return true;
}

bool lower_map(Lower *l, const Group *g) {
  Expr *i[MAX_RANK];
  const Node *n = group_first(l->m, g);
  const Type *y = &value_of(l->m, g->out)->type;
  int inner;
  bool flat = is_flat_map(l, g, lower_stored(l, g->out), &inner);
  if (flat) {                                                   // the innermost axis runs through all of them
    for (int k = 0; k < y->rank; k++) i[k] = ex_int(&l->b, 0);
    i[inner] = loop_begin(&l->b, "i", ex_int(&l->b, 0), ex_dim(&l->b, type_count(y)), 1, FOR_PARALLEL_VECTOR);
  } else {
    lower_loops_of(l, g->out, i);
  }
  l->writing = i;                                               // reads at the index being written
  Expr *x;
  if (op_is_scalar(n->op)) {
    Expr *a[3] = {0};
    for (int k = 0; k < n->nin && k < 3; k++)
      a[k] = lower_read_broadcast(l, n->in[k], &value_of(l->m, g->out)->type, i);
    x = ex_scalar(&l->b, op_scalar(n->op), a[0], a[1], a[2]);
  } else {
    x = read_fn[n->op](l, n, i);
  }
  lower_write(l, i, x);
  if (flat) loop_end(&l->b);
  else lower_loops_end(l, y);
  return true;
}
