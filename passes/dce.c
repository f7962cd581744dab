/* dce: drops nodes whose results nobody needs. One sweep from the outputs back; definitions come before uses.
 *
 * A node is needed when an output of it is, or when it gives a value to a symbol (a length that depends on
 * data) that a needed node's types or attributes mention. Inputs of the model stay: they are its interface.
 * Unused outputs of if, loop and scan stay too; their regions would have to change with them. */
#include "base/intern.h"
#include "passes/passes.h"
#include "passes/symbols.h"

typedef struct Live {
  PassContext *c;
  Module *m;
  bool *value;                         /* per value: needed */
  VEC(const char *) symbols;           /* mentioned by needed nodes */
} Live;

static bool is_mentioned(const Live *l, const char *symbol) {
  for (int i = 0; i < l->symbols.len; i++)
    if (l->symbols.at[i] == symbol) return true;
  return false;
}

static void mention(const char *symbol, void *ctx) {
  Live *l = ctx;
  if (!is_mentioned(l, symbol)) *vec_push(&l->c->tmp, &l->symbols) = symbol;
}

static void mention_type(Live *l, ValueId v) {
  const Type *t = &value_of(l->m, v)->type;
  for (int i = 0; i < t->rank; i++) dim_symbols(t->dims[i], mention, l);
}

/* Does running n set a symbol that is needed? */
static bool sets_symbol(const Live *l, const Node *n) {
  if (op_is_scalar(n->op) || (op_info[n->op].how != HOW_CALL && op_info[n->op].how != HOW_CONTROL)) return false;
  for (int k = 0; k < n->nout; k++) {
    const Type *t = &value_of(l->m, n->out[k])->type;
    for (int i = 0; i < t->rank; i++) {
      const char *s = dim_bare_symbol(t->dims[i]);
      if (s && is_mentioned(l, s)) return true;
    }
  }
  return false;
}

static void sweep(Live *l, Graph *g) {
  for (int i = 0; i < g->outputs.len; i++) {
    l->value[g->outputs.at[i]] = true;
    mention_type(l, g->outputs.at[i]);
  }
  for (int i = g->nodes.len - 1; i >= 0; i--) {
    NodeId id = g->nodes.at[i];
    const Node *n = node_of(l->m, id);
    if (n->dead) continue;
    l->c->at = id;
    bool needed = sets_symbol(l, n);
    for (int k = 0; k < n->nout && !needed; k++) needed = l->value[n->out[k]];
    if (!needed && rule_enabled(l->c, "unused")) {
      graph_remove_node(l->m, id);
      continue;
    }
    for (int r = 0; r < n->nregion; r++) sweep(l, node_of(l->m, id)->region[r]);
    n = node_of(l->m, id);
    for (int k = 0; k < n->nin; k++) {
      if (!n->in[k]) continue;
      l->value[n->in[k]] = true;
      mention_type(l, n->in[k]);
    }
    for (int k = 0; k < n->nout; k++) mention_type(l, n->out[k]);
    for (int k = 0; k < n->nattr; k++)
      for (int d = 0; n->attr[k].kind == ATTR_DIMS && d < n->attr[k].n; d++)
        dim_symbols(n->attr[k].dims[d], mention, l);
  }
}

bool pass_dce(PassContext *c) {
  Live l = {.c = c, .m = c->module, .value = NEW_N(&c->tmp, bool, c->module->values.len)};
  sweep(&l, c->module->main);
  graph_sweep(c->module);
  return true;
}
