/* Another element type for a whole module; see retype.h. */
#include "passes/retype.h"
#include "ir/build.h"
#include <string.h>

static const Tensor *tensor_as(Module *m, const Tensor *x, DType to) {
  Tensor *t = tensor_new(&m->perm, to, x->rank, x->dims);
  for (int64_t i = 0, n = tensor_count(t); i < n; i++) tensor_set(t, i, tensor_get(x, i));
  return t;
}

static void retype_attrs(Module *m, Node *n, DType from, DType to) {
  Attr *all = arena_dup(&m->perm, n->attr, (size_t)n->nattr * sizeof *n->attr);   // copies of nodes may share them
  for (int k = 0; k < n->nattr; k++) {
    if (all[k].kind == ATTR_DTYPE && all[k].i == (int64_t)from) all[k].i = (int64_t)to;
    if (all[k].kind == ATTR_TENSOR && all[k].tensor->dtype == from) all[k].tensor = tensor_as(m, all[k].tensor, to);
  }
  n->attr = all;
}

/* The node after position k of g's list reads a cast of what the node at k makes. */
static void cast_result(Graph *g, int k, DType to) {
  Module *m = g->module;
  ValueId made = node_of(m, g->nodes.at[k])->out[0];
  ValueId stand_in = graph_add_value(m, NULL, value_of(m, made)->type);
  graph_replace_uses(m, made, stand_in);
  if (k + 1 < g->nodes.len) graph_insert_before(g, g->nodes.at[k + 1]);
  ValueId cast = build_cast(g, made, to);
  graph_insert_end(g);
  graph_replace_uses(m, stand_in, cast);
}

static void visit(Graph *g, DType from, DType to) {
  Module *m = g->module;
  for (int k = 0; k < g->nodes.len; k++) {
    NodeId id = g->nodes.at[k];
    Node *n = node_of(m, id);
    retype_attrs(m, n, from, to);
    for (int r = 0; r < node_of(m, id)->nregion; r++) visit(node_of(m, id)->region[r], from, to);
    if (node_of(m, id)->op != OP_RANDOM || node_of(m, id)->dead) continue;
    value_of(m, node_of(m, id)->out[0])->type.dtype = from;     // it makes f32 and nothing else
    cast_result(g, k, to);
  }
}

bool module_retype(Module *m, DType from, DType to) {
  int errors = m->diags->errors;
  for (int v = 1; v < m->values.len; v++) {
    Value *x = &m->values.at[v];
    if (x->type.dtype != from) continue;
    x->type.dtype = to;
    if (x->constant) x->constant = tensor_as(m, x->constant, to);
  }
  visit(m->main, from, to);
  return infer_module(m) && m->diags->errors == errors;
}
