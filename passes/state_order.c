/* When state may be written: an update has the same memory as the value it replaces (Module.state), so its kernel comes
 * after every other kernel that reads the old value, or reads and writes each element at one index.
 *
 * Where that can be arranged, Fusion.order gets an edge per reader, which lower_program follows. Where it cannot (a
 * reader needs the new value too, reads elsewhere, or stands in a region) the new value is computed beside the old
 * one and copied at the very end. Gradients die where they are used: updates are not put off. */
#include "passes/fusion.h"
#include "ir/ops.h"

typedef struct Order {
  Fusion *f;
  Module *m;
  NodeList *users;                   /* per value */
  int *stamp, now;                   /* per group: visited by the search `now` */
  VEC(int) readers;                  /* groups that read the slot at work */
  bool conflict;
} Order;

static bool reaches(Order *s, int from, int target);

static bool value_reaches(Order *s, ValueId v, int target) {
  NodeId d = v ? value_of(s->m, v)->def : 0;
  if (!d) return false;
  const Node *n = node_of(s->m, d);
  if (n->nregion) return true;                                  // a region may use anything: assume it does
  if (n->group) return reaches(s, n->group, target);
  for (int k = 0; k < n->nin; k++) if (value_reaches(s, n->in[k], target)) return true;
  return false;
}

static bool node_reaches(Order *s, NodeId id, int own, int target) {
  const Node *n = node_of(s->m, id);
  for (int k = 0; k < n->nin; k++) {
    NodeId d = n->in[k] ? value_of(s->m, n->in[k])->def : 0;
    if (d && node_of(s->m, d)->group == own) continue;
    if (value_reaches(s, n->in[k], target)) return true;
  }
  return false;
}

/* Must `target` run before group `from`, by data or by the edges so far? */
static bool reaches(Order *s, int from, int target) {
  if (from == target) return true;
  if (s->stamp[from] == s->now) return false;
  s->stamp[from] = s->now;
  const Group *g = &s->f->groups.at[from];
  for (int k = 0; k < group_nodes(g); k++) if (node_reaches(s, group_node(s->m, g, k), from, target)) return true;
  for (int k = 0; k < s->f->order.len; k++)
    if (s->f->order.at[k].group == from && reaches(s, s->f->order.at[k].after, target)) return true;
  return false;
}

/* Where node `id` is computed in the chain of its group: an inlined node at the last of those that read it. */
static int place_in_chain(Order *s, NodeId id) {
  const Node *n = node_of(s->m, id);
  const Group *g = &s->f->groups.at[n->group];
  if (n->out[0] == g->out) return 0;
  for (int k = 0; k < g->epilogue.len; k++) if (g->epilogue.at[k] == id) return k + 1;
  int last = 0;
  const NodeList *users = &s->users[n->out[0]];
  for (int k = 0; k < users->len; k++) {
    if (node_of(s->m, users->at[k])->group != n->group) continue;
    int place = place_in_chain(s, users->at[k]);
    if (place > last) last = place;
  }
  return last;
}

/* Does the node read v only at the index that its group writes, and before it writes `next`? Then the group may write
 * where it reads. */
static bool reads_in_step(Order *s, NodeId id, ValueId v, ValueId next) {
  const Node *n = node_of(s->m, id);
  const Group *g = &s->f->groups.at[n->group];
  if (place_in_chain(s, id) > place_in_chain(s, value_of(s->m, next)->def)) return false;
  if (!op_is_scalar(n->op) && n->op != OP_CAST) return false;
  if (!type_same_shape(&value_of(s->m, v)->type, &value_of(s->m, g->out)->type)) return false;
  if (!g->root) return true;
  const Node *root = node_of(s->m, g->root);                    // what is inlined into the root is read by its loops
  for (int k = 0; k < root->nin; k++) {
    NodeId d = root->in[k] ? value_of(s->m, root->in[k])->def : 0;
    if (d && node_of(s->m, d)->group == n->group) return false;
  }
  return true;
}

static void find_readers(Order *s, ValueId v, const StateSlot *slot, int writer) {
  for (int k = 0; k < s->users[v].len && !s->conflict; k++) {
    NodeId id = s->users[v].at[k];
    const Node *n = node_of(s->m, id);
    if (n->nregion || n->graph != s->m->main) { s->conflict = true; return; }
    if (!n->group) { find_readers(s, n->out[0], slot, writer); continue; }     // a view
    if (n->group == writer) {
      if (v != slot->value || !reads_in_step(s, id, v, slot->next)) s->conflict = true;
      continue;
    }
    *vec_push(s->f->arena, &s->readers) = n->group;
  }
}

/* Output k of the main graph becomes a copy of what it is, made by a group of its own. */
static ValueId copy_output(Fusion *f, int k) {
  Module *m = f->m;
  Graph *g = m->main;
  Source keep = graph_source(m);
  ValueId old = g->outputs.at[k];
  NodeId from = value_of(m, old)->def;
  graph_set_source(m, from ? node_of(m, from)->source : (Source){0});
  ValueId copy = graph_op(g, OP_COPY, &old, 1, NULL, 0);
  graph_set_source(m, keep);
  fusion_new_map(f, value_of(m, copy)->def);
  g->outputs.at[k] = copy;
  for (int q = 0; q < m->state.len; q++) if (m->state.at[q].next == old) m->state.at[q].next = copy;
  if (from || value_of(m, old)->constant) graph_swap_names(m, old, copy);      // an input keeps its name
  return copy;
}

static void put_off(Order *s, ValueId next) {
  int k = 0;
  while (s->m->main->outputs.at[k] != next) k++;
  *vec_push(s->f->arena, &s->f->late) = copy_output(s->f, k);
  fusion_set_stored(s->f, next, true);
}

/* Outputs that no kernel makes, views of state among them: whoever copies them reads the state and has its place. */
static void copy_views(Fusion *f) {
  Module *m = f->m;
  for (int k = 0; k < m->main->outputs.len; k++) {
    NodeId d = value_of(m, m->main->outputs.at[k])->def;
    if (!d || (!node_of(m, d)->group && !node_of(m, d)->nregion)) copy_output(f, k);
  }
}

void state_order(Fusion *f) {
  Module *m = f->m;
  bool reads = false;                                            // init only writes
  for (int k = 0; k < m->state.len; k++) reads |= m->state.at[k].value != 0;
  if (!reads) return;
  copy_views(f);
  Order s = {.f = f, .m = m, .users = NEW_N(f->arena, NodeList, m->values.len)};
  s.stamp = NEW_N(f->arena, int, f->groups.len + m->state.len);
  for (int k = 1; k < m->nodes.len; k++) {
    const Node *n = &m->nodes.at[k];
    for (int i = 0; i < n->nin && !n->dead; i++) if (n->in[i]) *vec_push(f->arena, &s.users[n->in[i]]) = (NodeId)k;
  }
  for (int k = 0; k < m->state.len; k++) {
    StateSlot *slot = &m->state.at[k];
    if (!slot->value || !slot->next) continue;
    NodeId d = value_of(m, slot->next)->def;
    int writer = d ? node_of(m, d)->group : 0;
    s.readers.len = 0;
    s.conflict = !writer || node_of(m, d)->graph != m->main;
    if (!s.conflict) find_readers(&s, slot->value, slot, writer);
    for (int r = 0; r < s.readers.len && !s.conflict; r++) {
      s.now++;
      s.conflict = reaches(&s, s.readers.at[r], writer);
    }
    if (s.conflict) { put_off(&s, slot->next); continue; }
    for (int r = 0; r < s.readers.len; r++) *vec_push(f->arena, &f->order) = (GroupOrder){writer, s.readers.at[r]};
  }
}
