/* Rules on control flow. See rules.def.
 *
 * An if whose branches differ in shape gave its outputs lengths of their own, as symbols; with the branch known
 * they are replaced by that branch's lengths, in the whole module. */
#include "passes/rules.h"
#include "passes/symbols.h"

static void settle_symbols(Rules *r, ValueId old, ValueId by) {
  const Type was = value_of(r->m, old)->type, is = value_of(r->m, by)->type;
  for (int i = 0; i < was.rank && i < is.rank; i++) {
    const char *s = dim_bare_symbol(was.dims[i]);
    if (s && !dim_eq(was.dims[i], is.dims[i])) module_subst_symbol(r->m, s, is.dims[i]);
  }
}

bool rule_if_constant(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  double c;
  if (n->nregion != 2 || !match_splat(r, n->in[0], &c)) return false;
  Graph *branch = n->region[c != 0 ? 0 : 1], *g = n->graph;
  int nout = n->nout;
  if (branch->outputs.len != nout || !rule_go(r)) return false;
  graph_adopt_nodes(g, branch);
  for (int k = 0; k < nout; k++) {
    ValueId old = node_of(r->m, id)->out[k], by = branch->outputs.at[k];
    settle_symbols(r, old, by);
    if (!graph_may_replace(r->m, old, by)) by = rule_op1(r, OP_COPY, by);
    graph_replace_uses(r->m, old, by);
  }
  graph_remove_node(r->m, id);
  graph_insert_end(g);
  return true;
}
