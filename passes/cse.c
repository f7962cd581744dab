/* cse: equal computations are done once, equal constants are kept once.
 *
 *   a = op(x, y) {…}; b = op(x, y) {…}  ->  b is a        where a's graph is b's or one around it
 *
 * Nodes are found by a hash of op, inputs and attributes; a region's table continues that of the graph around
 * it and is cut back at its end. Regions themselves are not compared. A node whose length depends on data has a
 * symbol of its own, so its type differs and it stays. A random op is a function of its attributes (seed,
 * stream) and step: equal ones give equal numbers. */
#include "passes/passes.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

typedef struct Cse {
  PassContext *c;
  Module *m;
  ValueId *by;                         /* per value: what stands for it */
  VEC(struct { uint64_t hash; NodeId node; int next; }) seen;
  int *bucket;                         /* index into seen + 1 */
  size_t mask;
} Cse;

static uint64_t mix(uint64_t h, const void *p, size_t n) { return XXH3_64bits_withSeed(p, n, h); }

static uint64_t attr_hash(uint64_t h, const Attr *a) {
  h = mix(h, &a->name, sizeof a->name);
  h = mix(h, &a->i, sizeof a->i);
  h = mix(h, &a->f, sizeof a->f);
  for (int i = 0; a->kind == ATTR_DIMS && i < a->n; i++) {
    h = mix(h, &a->dims[i].k, sizeof a->dims[i].k);
    h = mix(h, &a->dims[i].poly, sizeof a->dims[i].poly);
  }
  return h;                            // other kinds: attr_eq tells them apart
}

static uint64_t node_hash(const Node *n) {
  uint64_t h = mix((uint64_t)n->op, n->in, (size_t)n->nin * sizeof *n->in);
  for (int i = 0; i < n->nattr; i++) h = attr_hash(h, &n->attr[i]);
  return h;
}

static bool node_same(Module *m, const Node *a, const Node *b) {
  if (a->op != b->op || a->nin != b->nin || a->nout != b->nout || a->nattr != b->nattr || a->nregion || b->nregion)
    return false;
  if (a->nin && memcmp(a->in, b->in, (size_t)a->nin * sizeof *a->in)) return false;
  for (int i = 0; i < a->nattr; i++)
    if (!attr_eq(&a->attr[i], &b->attr[i])) return false;
  for (int k = 0; k < a->nout; k++)
    if (!type_eq(&value_of(m, a->out[k])->type, &value_of(m, b->out[k])->type)) return false;
  return true;
}

/* Outputs of the main graph have names to keep: they are replaced here or not at all. */
static bool stand_in(Cse *s, ValueId old, ValueId by) {
  if (!graph_may_replace(s->m, old, by)) return false;
  s->by[old] = by;
  return true;
}

static void visit(Cse *s, Graph *g, NodeId id) {
  Node *n = node_of(s->m, id);
  for (int k = 0; k < n->nin; k++) n->in[k] = s->by[n->in[k]];
  if (n->nregion || n->op == OP_COPY) return;
  uint64_t h = node_hash(n);
  int *b = &s->bucket[h & s->mask];
  for (int i = *b; i; i = s->seen.at[i - 1].next) {
    if (s->seen.at[i - 1].hash != h) continue;
    const Node *first = node_of(s->m, s->seen.at[i - 1].node);
    if (!node_same(s->m, first, n)) continue;
    bool ok = true;
    for (int k = 0; k < n->nout; k++) ok &= graph_may_replace(s->m, n->out[k], first->out[k]);
    if (!ok || !rule_enabled(s->c, "same-node")) return;
    for (int k = 0; k < n->nout; k++) {
      if (s->by[n->out[k]] == n->out[k]) stand_in(s, n->out[k], first->out[k]);
      for (int o = 0; o < g->outputs.len; o++)
        if (g->outputs.at[o] == n->out[k]) { graph_replace_uses(s->m, n->out[k], first->out[k]); break; }
    }
    graph_remove_node(s->m, id);
    return;
  }
  vec_push(&s->c->tmp, &s->seen);
  s->seen.at[s->seen.len - 1].hash = h;
  s->seen.at[s->seen.len - 1].node = id;
  s->seen.at[s->seen.len - 1].next = *b;
  *b = s->seen.len;
}

static void walk(Cse *s, Graph *g) {
  int mark = s->seen.len;
  for (int i = 0; i < g->nodes.len; i++) {
    NodeId id = g->nodes.at[i];
    if (node_of(s->m, id)->dead) continue;
    s->c->at = id;
    for (int k = 0; k < node_of(s->m, id)->nin; k++) node_of(s->m, id)->in[k] = s->by[node_of(s->m, id)->in[k]];
    for (int r = 0; r < node_of(s->m, id)->nregion; r++) walk(s, node_of(s->m, id)->region[r]);
    visit(s, g, id);
  }
  for (int o = 0; o < g->outputs.len; o++)
    if (g != s->m->main) g->outputs.at[o] = s->by[g->outputs.at[o]];
  while (s->seen.len > mark) {                         // entries of one bucket end in reverse order
    int last = s->seen.len - 1;
    s->bucket[s->seen.at[last].hash & s->mask] = s->seen.at[last].next;
    s->seen.len--;
  }
}

/* ---- constants ---- */

enum { HASHED_BYTES = 4096 };          // the rest is compared when these agree

static uint64_t constant_hash(const Tensor *t) {
  uint64_t h = mix((uint64_t)t->dtype * 16 + (uint64_t)t->rank, t->dims, (size_t)t->rank * sizeof *t->dims);
  size_t n = tensor_bytes(t);
  if (t->dtype == DT_STRING || !t->data) return h;
  return mix(h, t->data, n < HASHED_BYTES ? n : HASHED_BYTES);
}

static void merge_constants(Cse *s, size_t slots) {
  ValueId *table = NEW_N(&s->c->tmp, ValueId, slots);
  int *uses = graph_use_counts(s->m, &s->c->tmp);
  for (int v = 1; v < s->m->values.len; v++) {
    const Tensor *t = s->m->values.at[v].constant;
    if (!t || !t->data || !uses[v]) continue;
    size_t h = constant_hash(t) & (slots - 1);
    while (table[h] && !tensor_same(value_of(s->m, table[h])->constant, t)) h = (h + 1) & (slots - 1);
    if (!table[h]) table[h] = (ValueId)v;
    else if (graph_may_replace(s->m, (ValueId)v, table[h]) && rule_enabled(s->c, "same-constant")) s->by[v] = table[h];
  }
}

bool pass_cse(PassContext *c) {
  Module *m = c->module;
  size_t slots = 64;
  while (slots < (size_t)(m->values.len + m->nodes.len) * 2) slots *= 2;
  Cse s = {.c = c, .m = m, .by = NEW_N(&c->tmp, ValueId, m->values.len), .bucket = NEW_N(&c->tmp, int, slots),
           .mask = slots - 1};
  for (int v = 0; v < m->values.len; v++) s.by[v] = (ValueId)v;
  merge_constants(&s, slots);
  walk(&s, m->main);
  graph_sweep(m);
  return true;
}
