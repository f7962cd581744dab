/* drop-axes: reshape(f(reduce(x, keepdims=1))) -> f(reduce(x, keepdims=0)), f: elementwise nodes, or nothing, where
 * nobody reads what lies between but through reshapes that drop just the axes that were kept.
 *
 * The rules keep the axes (reduce-keepdims), so that a normalisation is one shape throughout. A bias has the short
 * shape: the sum that is its gradient must have it too, or a view stands between it and the update that would be its
 * epilogue. */
#include "passes/drop_axes.h"
#include "base/vec.h"
#include "ir/ops.h"

typedef struct Drop {
  Module *m;
  Arena *arena;
  NodeList *users;                      /* per value */
  bool *leaves;                         /* per value: output of some graph */
  int *stamp, now;                      /* per value: in the set of the search `now` */
} Drop;

static void collect_users(Drop *d, const Graph *g) {
  for (int k = 0; k < g->outputs.len; k++) d->leaves[g->outputs.at[k]] = true;
  for (int k = 0; k < g->nodes.len; k++) {
    const Node *n = node_of(d->m, g->nodes.at[k]);
    for (int i = 0; i < n->nin; i++) *vec_push(d->arena, &d->users[n->in[i]]) = g->nodes.at[k];
    for (int r = 0; r < n->nregion; r++) collect_users(d, n->region[r]);
  }
}

static bool is_reduce(Op op) {
  return op == OP_REDUCE_SUM || op == OP_REDUCE_PROD || op == OP_REDUCE_MAX || op == OP_REDUCE_MIN;
}

/* The shape t without the axes. */
static Type without(const Type *t, const Attr *axes) {
  Type s = {.dtype = t->dtype};
  for (int k = 0, next = 0; k < t->rank; k++) {
    if (next < axes->n && axes->dims[next].k == k) next++;
    else s.dims[s.rank++] = t->dims[k];
  }
  return s;
}

/* Everything of the reduction's shape that is computed from it elementwise, and the reshapes to `to` that read it:
 * false when somebody else does. */
static bool collect(Drop *d, const Graph *g, const Type *full, const Type *to, ValueList *set, NodeList *views) {
  Module *m = d->m;
  for (int i = 0; i < set->len; i++) {
    ValueId v = set->at[i];
    if (d->leaves[v]) return false;
    for (int k = 0; k < d->users[v].len; k++) {
      NodeId id = d->users[v].at[k];
      const Node *u = node_of(m, id);
      const Type *t = u->nout ? &value_of(m, u->out[0])->type : NULL;
      if (u->dead || u->graph != g || !t) return false;
      if (u->op == OP_RESHAPE && type_same_shape(t, to)) { *vec_push(d->arena, views) = id; continue; }
      if (!op_is_scalar(u->op) || !type_same_shape(t, full)) return false;
      if (d->stamp[u->out[0]] == d->now) continue;
      d->stamp[u->out[0]] = d->now;
      *vec_push(d->arena, set) = u->out[0];
    }
  }
  // what else they read must broadcast to the short shape as well
  for (int i = 1; i < set->len; i++) {
    const Node *n = node_of(m, value_of(m, set->at[i])->def);
    for (int k = 0; k < n->nin; k++) {
      const Type *t = &value_of(m, n->in[k])->type;
      if (d->stamp[n->in[k]] != d->now && (!dim_is(type_count(t), 1) || t->rank > to->rank)) return false;
    }
  }
  return views->len > 0;
}

static void drop(Drop *d, const Graph *g, NodeId id) {
  Module *m = d->m;
  Node *n = node_of(m, id);
  if (n->dead || !is_reduce(n->op) || node_int(n, "keepdims", 0) != 1 || !node_dims(n, "axes")->n) return;
  Attr *a = arena_alloc(&m->perm, 2 * sizeof *a);
  a[0] = *node_dims(n, "axes");
  a[1] = attr_int("keepdims", 0);
  Type full = value_of(m, n->out[0])->type, to = without(&full, &a[0]);
  ValueList set = {0};
  NodeList views = {0};
  d->stamp[n->out[0]] = ++d->now;
  *vec_push(d->arena, &set) = n->out[0];
  if (!collect(d, g, &full, &to, &set, &views)) return;
  n->attr = a;
  n->nattr = 2;
  for (int k = 0; k < set.len; k++) {
    Type *t = &value_of(m, set.at[k])->type;
    *t = type_of(t->dtype, to.rank, to.dims);
  }
  // a second output of the same value stays a reshape, to what it is
  for (int k = 0; k < views.len; k++) {
    const Node *view = node_of(m, views.at[k]);
    if (!graph_may_replace(m, view->out[0], view->in[0])) continue;
    if (d->leaves[view->out[0]]) d->leaves[view->in[0]] = true;
    graph_replace_uses(m, view->out[0], view->in[0]);
    graph_remove_node(m, views.at[k]);
  }
}

static void walk(Drop *d, const Graph *g) {
  for (int k = 0; k < g->nodes.len; k++) {
    const Node *n = node_of(d->m, g->nodes.at[k]);
    for (int r = 0; r < n->nregion; r++) walk(d, n->region[r]);
    drop(d, g, g->nodes.at[k]);
  }
}

void drop_axes(Module *m, Arena *a) {
  Drop d = {.m = m, .arena = a, .users = NEW_N(a, NodeList, m->values.len), .leaves = NEW_N(a, bool, m->values.len),
            .stamp = NEW_N(a, int, m->values.len)};
  collect_users(&d, m->main);
  walk(&d, m->main);
  graph_sweep(m);
}
