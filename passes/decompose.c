/* decompose: rows of ops.def that say DECOMPOSE become the simpler ops they stand for.
 *
 * They exist so that their gradient can be written for the whole (passes/grad_*.c), which is shorter and keeps fewer
 * values than the gradient of the parts would. Nothing after this pass knows them. */
#include "passes/decompose.h"
#include "passes/passes.h"

#define FN_VIEW(E, name)
#define FN_LOWER(E, name)
#define FN_CALL(E, name)
#define FN_CONTROL(E, name)
#define FN_DECOMPOSE(E, name) [OP_##E] = decompose_##name,
static const DecomposeFn decompose_fn[OP_COUNT + 1] = {
  [OP_COUNT] = NULL,
#define OP(E, name, MIN, MAX, NOUT, HOW, ...) FN_##HOW(E, name)
#include "ir/ops.def"
#undef OP
};

bool decompose_stop_gradient(Graph *g, const Node *n, ValueId *out) {
  out[0] = build_op1(g, OP_COPY, n->in[0]);
  return out[0] != 0;
}

bool decompose_node(Graph *g, NodeId id) {
  Module *m = g->module;
  Node n = *node_of(m, id);
  ValueId *out = NEW_N(&m->perm, ValueId, n.nout + 1);
  Source before = graph_source(m);
  graph_set_source(m, n.source);
  graph_insert_before(g, id);
  bool ok = decompose_fn[n.op](g, &n, out);
  graph_insert_end(g);
  graph_set_source(m, before);
  for (int q = 0; ok && q < n.nout; q++) {
    if (!n.out[q] || !out[q]) continue;
    if (!graph_may_replace(m, n.out[q], out[q])) {
      graph_insert_before(g, id);
      out[q] = build_op1(g, OP_COPY, out[q]);
      graph_insert_end(g);
    }
    graph_replace_uses(m, n.out[q], out[q]);
  }
  graph_remove_node(m, id);                                     // also after an error: it has been reported
  return ok;
}

static void visit(PassContext *c, Graph *g) {
  Module *m = c->module;
  for (int k = 0; k < g->nodes.len; k++) {
    NodeId id = g->nodes.at[k];
    const Node *n = node_of(m, id);
    if (n->dead) continue;
    int regions = n->nregion;
    Op op = n->op;
    for (int r = 0; r < regions; r++) visit(c, node_of(m, id)->region[r]);
    if (decompose_fn[op] && rule_enabled(c, op_info[op].text)) decompose_node(g, id);
  }
}

bool pass_decompose(PassContext *c) {
  int errors = c->diags->errors;
  visit(c, c->module->main);
  graph_sweep(c->module);
  return c->diags->errors == errors;
}
