/* Building and changing modules. See graph.h. Attributes and types: graph_types.c.
 *
 * Everything is allocated in module->perm; arrays that passes replace are left behind there. References are
 * ids, because the arrays of nodes and values move when they grow: a Node * or Value * is good until the
 * next node or value is added. */
#include "ir/ops.h"
#include "base/intern.h"
#include <stdlib.h>

Module *module_new(const char *name, Diags *d) {
  Module *m = xrealloc(NULL, sizeof *m);
  memset(m, 0, sizeof *m);
  m->diags = d;
  m->name = intern(name);
  *vec_push(&m->perm, &m->values) = (Value){0};
  *vec_push(&m->perm, &m->nodes) = (Node){0};
  m->main = graph_new(m, name, 0);
  return m;
}

void module_free(Module *m) {
  if (!m) return;
  arena_free(&m->perm);
  free(m);
}

Graph *graph_new(Module *m, const char *name, NodeId owner) {
  Graph *g = NEW(&m->perm, Graph);
  g->module = m;
  g->owner = owner;
  g->name = intern(name ? name : "");
  *vec_push(&m->perm, &m->graphs) = g;
  return g;
}

/* ---- names: an open-addressing table of value ids, by the interned pointer ---- */

static size_t name_slot(const Module *m, const char *name) {
  size_t h = (size_t)(((uintptr_t)name >> 4) * 0x9e3779b97f4a7c15u) & (m->names.slots - 1);
  while (m->names.at[h] && m->values.at[m->names.at[h]].name != name) h = (h + 1) & (m->names.slots - 1);
  return h;
}

static void name_add(Module *m, ValueId v) {
  if (m->names.count * 2 >= m->names.slots) {
    ValueId *old = m->names.at;
    size_t n = m->names.slots;
    m->names.slots = n ? n * 2 : 256;
    m->names.at = NEW_N(&m->perm, ValueId, m->names.slots);
    m->names.count = 0;
    for (size_t i = 0; i < n; i++)
      if (old[i]) name_add(m, old[i]);
  }
  size_t h = name_slot(m, m->values.at[v].name);
  if (!m->names.at[h]) m->names.count++;
  m->names.at[h] = v;
}

ValueId graph_find_value(const Module *m, const char *name) {
  if (!m->names.slots) return 0;
  return m->names.at[name_slot(m, intern(name))];
}

/* `name`, or name_1, name_2 … when it is taken. Without a name: v1, v2 … */
static const char *unique_name(Module *m, const char *name) {
  if (name && *name && !graph_find_value(m, name)) return intern(name);
  char buf[300];
  do {
    if (name && *name) snprintf(buf, sizeof buf, "%.250s_%d", name, ++m->uniq);
    else snprintf(buf, sizeof buf, "v%d", ++m->uniq);
  } while (graph_find_value(m, buf));
  return intern(buf);
}

void graph_rename_value(Module *m, ValueId v, const char *name) {
  Value *x = value_of(m, v);
  if (name && *name && x->name == intern(name)) return;
  x->name = unique_name(m, name);                    // the old name's slot now leads nowhere, which is harmless
  name_add(m, v);
}

void graph_swap_names(Module *m, ValueId a, ValueId b) {
  Value *x = value_of(m, a), *y = value_of(m, b);
  const char *name = x->name;
  x->name = y->name;
  y->name = name;
  name_add(m, a);                                    // their old slots no longer match and are passed over
  name_add(m, b);
}

/* ---- values ---- */

ValueId graph_add_value(Module *m, const char *name, Type t) {
  ValueId id = (ValueId)m->values.len;
  const char *unique = unique_name(m, name);
  *vec_push(&m->perm, &m->values) = (Value){.name = unique, .type = t};
  name_add(m, id);
  return id;
}

ValueId graph_add_input(Graph *g, const char *name, Type t) {
  ValueId v = graph_add_value(g->module, name, t);
  *vec_push(&g->module->perm, &g->inputs) = v;
  return v;
}

ValueId graph_add_constant(Module *m, const char *name, const Tensor *t) {
  Dim dims[MAX_RANK];
  for (int i = 0; i < t->rank; i++) dims[i] = DIM(t->dims[i]);
  ValueId v = graph_add_value(m, name, type_of(t->dtype, t->rank, dims));
  value_of(m, v)->constant = t;
  infer_constant_content(m, v);
  return v;
}

void graph_make_constant(Module *m, ValueId v, const Tensor *t) {
  Value *x = value_of(m, v);
  x->constant = t;
  x->def = 0;
  x->def_index = 0;
  for (int i = 0; i < t->rank; i++) x->type.dims[i] = DIM(t->dims[i]);
  infer_constant_content(m, v);
}

ValueId graph_scalar(Module *m, DType t, double v) {
  return graph_add_constant(m, NULL, tensor_scalar(&m->perm, t, v));
}

ValueId graph_ints(Module *m, const int64_t *v, int n) {
  Tensor *t = tensor_new(&m->perm, DT_I64, 1, (int64_t[]){n});
  if (n) memcpy(t->data, v, (size_t)n * sizeof *v);
  return graph_add_constant(m, NULL, t);
}

/* ---- nodes ---- */

void graph_set_source(Module *m, Source s) { m->source = s; }
Source graph_source(const Module *m) { return m->source; }

static int node_position(const Graph *g, NodeId n, int guess) {
  if (guess < g->nodes.len && g->nodes.at[guess] == n) return guess;
  for (int i = 0; i < g->nodes.len; i++)
    if (g->nodes.at[i] == n) return i;
  return g->nodes.len;
}

void graph_insert_before(Graph *g, NodeId n) {
  g->before = n;
  g->before_at = node_position(g, n, g->before_at);
}

void graph_insert_end(Graph *g) { g->before = 0; }

static void list_node(Graph *g, NodeId id) {
  *vec_push(&g->module->perm, &g->nodes) = id;
  if (!g->before) return;
  int at = node_position(g, g->before, g->before_at);
  if (at >= g->nodes.len - 1) return;                // it is gone: at the end
  memmove(&g->nodes.at[at + 1], &g->nodes.at[at], (size_t)(g->nodes.len - 1 - at) * sizeof(NodeId));
  g->nodes.at[at] = id;
  g->before_at = at + 1;
}

void graph_adopt_nodes(Graph *to, Graph *from) {
  for (int i = 0; i < from->nodes.len; i++) {
    NodeId n = from->nodes.at[i];
    node_of(to->module, n)->graph = to;
    list_node(to, n);
  }
  from->nodes.len = 0;
}

NodeId graph_new_node(Graph *g, Op op, const ValueId *in, int nin, int nout, const Attr *attr, int nattr) {
  Module *m = g->module;
  NodeId id = (NodeId)m->nodes.len;
  Node n = {.op = op, .nin = nin, .nout = nout, .nattr = nattr, .graph = g, .source = m->source};
  n.in = arena_dup(&m->perm, in, (size_t)nin * sizeof *in);
  n.out = NEW_N(&m->perm, ValueId, nout);
  n.attr = arena_dup(&m->perm, attr, (size_t)nattr * sizeof *attr);
  for (int i = 0; i < nout; i++) {
    n.out[i] = graph_add_value(m, NULL, type_of(DT_NONE, -1, NULL));
    value_of(m, n.out[i])->def = id;
    value_of(m, n.out[i])->def_index = i;
  }
  *vec_push(&m->perm, &m->nodes) = n;
  list_node(g, id);
  return id;
}

void graph_add_outputs(Module *m, NodeId id, int nout) {
  int have = node_of(m, id)->nout, all = nout > have ? nout : have;
  ValueId *out = NEW_N(&m->perm, ValueId, all + 1);
  bool added = false;
  for (int k = 0; k < all; k++) {
    out[k] = k < have ? node_of(m, id)->out[k] : 0;
    if (out[k] || k >= nout) continue;
    out[k] = graph_add_value(m, NULL, type_of(DT_NONE, -1, NULL));
    value_of(m, out[k])->def = id;
    value_of(m, out[k])->def_index = k;
    added = true;
  }
  node_of(m, id)->out = out;
  node_of(m, id)->nout = all;
  if (added) infer_node(m, id);
}

void graph_attach_region(Module *m, NodeId id, Graph *region) {
  Node *n = node_of(m, id);
  Graph **all = NEW_N(&m->perm, Graph *, n->nregion + 1);
  for (int r = 0; r < n->nregion; r++) all[r] = n->region[r];
  all[n->nregion++] = region;
  n->region = all;
  region->owner = id;
}

NodeId graph_add_node(Graph *g, Op op, const ValueId *in, int nin, int nout, const Attr *attr, int nattr) {
  NodeId id = graph_new_node(g, op, in, nin, nout, attr, nattr);
  infer_node(g->module, id);
  return id;
}

ValueId graph_op(Graph *g, Op op, const ValueId *in, int nin, const Attr *attr, int nattr) {
  NodeId n = graph_add_node(g, op, in, nin, 1, attr, nattr);
  return node_of(g->module, n)->out[0];
}

/* ---- changing ---- */

static bool is_output(const Graph *g, ValueId v) {
  for (int i = 0; i < g->outputs.len; i++)
    if (g->outputs.at[i] == v) return true;
  return false;
}

bool graph_may_replace(const Module *m, ValueId old, ValueId by) {
  return !is_output(m->main, old) || (m->values.at[by].def && !is_output(m->main, by) &&
                                      m->nodes.at[m->values.at[by].def].graph == m->main);
}

static StateSlot *state_slot(Module *m, const char *name) {
  for (int k = 0; k < m->state.len; k++)
    if (!strcmp(m->state.at[k].name, name)) return &m->state.at[k];
  StateSlot *s = vec_push(&m->perm, &m->state);
  *s = (StateSlot){intern(name), 0, 0};
  return s;
}

ValueId graph_state(Module *m, const char *name, Type t) {
  StateSlot *s = state_slot(m, name);
  if (!s->value) s->value = graph_add_input(m->main, name, t);
  return s->value;
}

void graph_state_next(Module *m, const char *name, ValueId v) {
  StateSlot *s = state_slot(m, name);
  bool own = value_of(m, v)->def && !is_output(m->main, v);      // an output has memory of its own
  if (!own) v = graph_op(m->main, OP_COPY, &v, 1, NULL, 0);
  ValueId was = s->next;
  s->next = v;
  for (int k = 0; was && k < m->main->outputs.len; k++)
    if (m->main->outputs.at[k] == was) { m->main->outputs.at[k] = v; return; }
  *vec_push(&m->perm, &m->main->outputs) = v;
}

const StateSlot *graph_state_of_value(const Module *m, ValueId v) {
  for (int k = 0; v && k < m->state.len; k++)
    if (m->state.at[k].value == v || m->state.at[k].next == v) return &m->state.at[k];
  return NULL;
}

void graph_replace_uses(Module *m, ValueId old, ValueId by) {
  if (old == by) return;
  bool keep = !graph_may_replace(m, old, by), named = is_output(m->main, old);
  for (int i = 1; i < m->nodes.len; i++) {
    Node *n = &m->nodes.at[i];
    if (n->dead) continue;
    for (int k = 0; k < n->nin; k++)
      if (n->in[k] == old) n->in[k] = by;
  }
  for (int i = 0; i < m->graphs.len; i++) {
    Graph *g = m->graphs.at[i];
    if (g == m->main && keep) continue;
    for (int k = 0; k < g->outputs.len; k++)
      if (g->outputs.at[k] == old) g->outputs.at[k] = by;
  }
  if (!named || keep) return;
  for (int k = 0; k < m->state.len; k++) if (m->state.at[k].next == old) m->state.at[k].next = by;
  graph_swap_names(m, old, by);
}

void graph_remove_node(Module *m, NodeId id) {
  Node *n = node_of(m, id);
  n->dead = true;
  for (int r = 0; r < n->nregion; r++)
    for (int i = 0; i < n->region[r]->nodes.len; i++) graph_remove_node(m, n->region[r]->nodes.at[i]);
}

void graph_sweep(Module *m) {
  for (int i = 0; i < m->graphs.len; i++) {
    Graph *g = m->graphs.at[i];
    int n = 0;
    for (int k = 0; k < g->nodes.len; k++)
      if (!node_of(m, g->nodes.at[k])->dead) g->nodes.at[n++] = g->nodes.at[k];
    g->nodes.len = n;
  }
}

static void count_uses(Module *m, const Graph *g, int *uses) {
  for (int i = 0; i < g->nodes.len; i++) {
    const Node *n = node_of(m, g->nodes.at[i]);
    if (n->dead) continue;
    for (int k = 0; k < n->nin; k++) uses[n->in[k]]++;
    for (int r = 0; r < n->nregion; r++) count_uses(m, n->region[r], uses);
  }
  for (int k = 0; k < g->outputs.len; k++) uses[g->outputs.at[k]]++;
}

int *graph_use_counts(Module *m, Arena *a) {
  int *uses = NEW_N(a, int, m->values.len);
  count_uses(m, m->main, uses);
  uses[0] = 0;                                       // absent inputs
  return uses;
}
