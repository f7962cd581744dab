/* canonicalise: rewrites the graph by the rules of rules.def until none matches, or the round's budget is spent.
 *
 * One walk over the nodes in order; at each node the rules of its op are tried until none applies. New nodes
 * stand before the root and are visited in the next round. Uses are counted anew after every rewrite, so that
 * "used once" is true when a rule asks. Every rule keeps types; the number of rewrites is bounded by the walk. */
#include "passes/passes.h"
#include "passes/rules.h"
#include <math.h>
#include <string.h>

typedef struct Rule { RuleFn apply; const char *name; Op op; const char *text; } Rule;

static const Rule rules[] = {
#define RULE(function, name, op, text) {function, name, OP_##op, text},
#include "passes/rules.def"
#undef RULE
};
enum { RULES = sizeof rules / sizeof *rules };

/* ---- matching ---- */

const Node *match_def(const Rules *r, ValueId v, Op op) {
  if (!v || !value_of(r->m, v)->def) return NULL;
  const Node *n = node_of(r->m, value_of(r->m, v)->def);
  return n->op == op && !n->dead ? n : NULL;
}

bool match_once(const Rules *r, ValueId v) { return (int)v >= r->nuses || r->uses[v] == 1; }

const Tensor *match_constant(const Rules *r, ValueId v) {
  const Tensor *t = v ? value_of(r->m, v)->constant : NULL;
  return t && t->data ? t : NULL;
}

bool match_splat(const Rules *r, ValueId v, double *x) {
  for (const Node *n; (n = match_def(r, v, OP_EXPAND)) || (n = match_def(r, v, OP_RESHAPE));) v = n->in[0];
  const Tensor *t = match_constant(r, v);
  int64_t n = t ? tensor_count(t) : 0;
  DClass cls = t ? dtype_info[t->dtype].cls : CLASS_NONE;
  if (n < 1 || (cls != CLASS_FLOAT && cls != CLASS_INT && cls != CLASS_UINT && cls != CLASS_BOOL)) return false;
  size_t b = (size_t)dtype_bytes(t->dtype);
  if (n > 1 && memcmp(t->data, (const char *)t->data + b, (size_t)(n - 1) * b)) return false;
  *x = tensor_get(t, 0);
  return true;
}

bool match_with_splat(const Rules *r, ValueId v, Op op, double *x, ValueId *other) {
  const Node *n = match_def(r, v, op);
  if (!n) return false;
  if (match_splat(r, n->in[1], x)) { *other = n->in[0]; return true; }
  if ((op == OP_ADD || op == OP_MUL) && match_splat(r, n->in[0], x)) { *other = n->in[1]; return true; }
  return false;
}

bool match_with_number(const Rules *r, ValueId v, Op op, double x, ValueId *other) {
  double y;
  return match_with_splat(r, v, op, &y, other) && fabs(y - x) <= 1e-3 * fabs(x);
}

bool match_same_type(const Rules *r, ValueId a, ValueId b) { return type_eq(match_type(r, a), match_type(r, b)); }

/* ---- replacing ---- */

bool rule_go(Rules *r) {
  if (!rule_enabled(r->c, r->name)) return false;
  const Node *n = node_of(r->m, r->root);
  graph_set_source(r->m, n->source);
  graph_insert_before(n->graph, r->root);
  return true;
}

ValueId rule_op(Rules *r, Op op, const ValueId *in, int nin, const Attr *attr, int nattr) {
  return graph_op(node_of(r->m, r->root)->graph, op, in, nin, attr, nattr);
}
ValueId rule_op1(Rules *r, Op op, ValueId a) { return rule_op(r, op, &a, 1, NULL, 0); }
ValueId rule_op2(Rules *r, Op op, ValueId a, ValueId b) { return rule_op(r, op, (ValueId[]){a, b}, 2, NULL, 0); }

ValueId rule_reshape(Rules *r, ValueId v, const Type *like) {
  Attr a = attr_dims(r->m, "shape", like->dims, like->rank);
  return rule_op(r, OP_RESHAPE, &v, 1, &a, 1);
}

bool rule_may_replace(const Rules *r, ValueId by) {
  return graph_may_replace(r->m, node_of(r->m, r->root)->out[0], by);
}

bool rule_replace(Rules *r, ValueId by) {
  ValueId old = node_of(r->m, r->root)->out[0];
  if (!graph_may_replace(r->m, old, by)) by = rule_op1(r, OP_COPY, by);
  graph_replace_uses(r->m, old, by);
  graph_remove_node(r->m, r->root);
  graph_insert_end(node_of(r->m, r->root)->graph);
  return true;
}

/* ---- the walk ---- */

static void count_uses(Rules *r) {
  r->uses = graph_use_counts(r->m, &r->c->tmp);
  r->nuses = r->m->values.len;
}

static void apply_rules(Rules *r, NodeId id) {
  for (int i = 0; i < RULES; i++) {
    const Node *n = node_of(r->m, id);
    if (n->dead) return;
    if (rules[i].op && rules[i].op != n->op) continue;
    r->name = rules[i].name;
    r->root = r->c->at = id;
    if (!rules[i].apply(r, id)) continue;
    count_uses(r);
    i = -1;                                          // another rule may match what is there now
  }
}

static void walk(Rules *r, Graph *g) {
  NodeList nodes = {0};                              // rules insert into the list itself
  for (int i = 0; i < g->nodes.len; i++) *vec_push(&r->c->tmp, &nodes) = g->nodes.at[i];
  for (int i = 0; i < nodes.len; i++) {
    NodeId id = nodes.at[i];
    for (int k = 0; !node_of(r->m, id)->dead && k < node_of(r->m, id)->nregion; k++)
      walk(r, node_of(r->m, id)->region[k]);
    apply_rules(r, id);
  }
}

bool pass_canonicalise(PassContext *c) {
  int64_t before = c->rewrites;
  Rules r = {.c = c, .m = c->module};
  Source source = graph_source(c->module);
  count_uses(&r);
  walk(&r, c->module->main);
  graph_set_source(c->module, source);
  graph_sweep(c->module);
  return c->rewrites == before || infer_module(c->module);       // types may be known more exactly now
}
