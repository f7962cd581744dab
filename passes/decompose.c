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
#define OP(E, name, MIN, MAX, NOUT, HOW, ATTRS, GRADIENT) FN_##HOW(E, name)
#include "ir/ops.def"
#undef OP
};

bool decompose_stop_gradient(Graph *g, const Node *n, ValueId *out) {
  out[0] = build_op1(g, OP_COPY, n->in[0]);
  return out[0] != 0;
}

static void visit(PassContext *c, Graph *g) {
  Module *m = c->module;
  for (int k = 0; k < g->nodes.len; k++) {
    NodeId id = g->nodes.at[k];
    Node n = *node_of(m, id);
    if (n.dead) continue;
    for (int r = 0; r < n.nregion; r++) visit(c, n.region[r]);
    if (!decompose_fn[n.op] || !rule_enabled(c, op_info[n.op].text)) continue;
    ValueId *out = NEW_N(&m->perm, ValueId, n.nout + 1);
    Source before = graph_source(m);
    graph_set_source(m, n.source);
    graph_insert_before(g, id);
    bool ok = decompose_fn[n.op](g, &n, out);
    graph_insert_end(g);
    graph_set_source(m, before);
    if (!ok) continue;                                          // reported
    for (int q = 0; q < n.nout; q++) if (n.out[q] && out[q]) graph_replace_uses(m, n.out[q], out[q]);
    graph_remove_node(m, id);
  }
}

bool pass_decompose(PassContext *c) {
  int errors = c->diags->errors;
  visit(c, c->module->main);
  graph_sweep(c->module);
  return c->diags->errors == errors;
}
