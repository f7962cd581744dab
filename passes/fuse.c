/* fuse: which nodes share a kernel (fusion.h).
 *
 * Nodes are visited in execution order. A heavy node opens a group. An elementwise node joins the group of an
 * operand of its own shape as epilogue: one with a heavy node if there is, else the latest, provided no other operand
 * depends on that group through a third one (that would be a cycle of kernels). A map on whose chain another operand
 * is comes along. What joins nothing opens a map. Views open nothing:
 * storage makes them strided, or they are evaluated where they are read.
 * Then attention becomes one group (fuse_attention.c), and maps that exactly one reader reads exactly once per element
 * are inlined into it (prologue). Cost: one reachability search per join, over groups; linear in practice as searches
 * stop at older groups. */
#include "passes/fusion.h"
#include "ir/ops.h"
#include <string.h>

typedef struct Fuse {
  Fusion *f;
  Module *m;
  int *stamp, now;                   /* per group: visited by the search `now` */
  NodeList *users;                   /* per value */
  bool *is_output;                   /* per value: output of some graph, or used by a control node */
} Fuse;

/* Placed into by its inputs (storage.c), or computed from nothing. */
static bool is_placed(const Node *n) { return n->op == OP_CONCAT || (n->op == OP_PAD && !n->group); }

/* A root that scatters takes none. */
static bool takes_epilogue(Module *m, const Node *root) {
  if (op_has(root->op, SCATTERS_OVERLAPS)) return pool_grad_tiles(m, root);
  return op_info[root->op].how == HOW_LOWER && !op_has(root->op, SCATTERS);
}

static int group_new(Fuse *s, Graph *g, NodeId root, ValueId out, NodeId last) {
  Group *n = vec_push(s->f->arena, &s->f->groups);
  *n = (Group){.root = root, .out = out, .graph = g, .last = last};
  return s->f->groups.len - 1;
}

/* Does the computation of v need group `target`? */
static bool depends(Fuse *s, ValueId v, int target) {
  NodeId d = value_of(s->m, v)->def;
  if (!d) return false;
  const Node *n = node_of(s->m, d);
  int g = n->group;
  if (g == target) return true;
  if (!g || n->nregion) {                                    // a view, or control flow: through it
    for (int k = 0; k < n->nin; k++) if (n->in[k] && depends(s, n->in[k], target)) return true;
    if (n->nregion) return true;                             // a region may use anything: assume it does
    return false;
  }
  if (s->stamp[g] == s->now) return false;
  s->stamp[g] = s->now;
  const Group *of = &s->f->groups.at[g];
  const Node *r = group_first(s->m, of);
  for (int k = 0; k < r->nin; k++) if (r->in[k] && depends(s, r->in[k], target)) return true;
  for (int q = 0; q < of->epilogue.len; q++) {
    const Node *e = node_of(s->m, of->epilogue.at[q]);
    for (int k = 0; k < e->nin; k++) {
      NodeId ed = e->in[k] ? value_of(s->m, e->in[k])->def : 0;
      if (ed && node_of(s->m, ed)->group == g) continue;     // inside the group
      if (e->in[k] && depends(s, e->in[k], target)) return true;
    }
  }
  return false;
}

/* Is v what group g computes at the index being written: its `out` or an epilogue's output? */
static bool on_chain(const Fuse *s, int g, ValueId v) {
  const Group *of = &s->f->groups.at[g];
  if (of->out == v) return true;
  for (int k = 0; k < of->epilogue.len; k++) if (node_of(s->m, of->epilogue.at[k])->out[0] == v) return true;
  return false;
}

/* Does some operand from outside of group g, of those that it has now, need group `target`? */
static bool group_depends(Fuse *s, int g, int target) {
  const Group *of = &s->f->groups.at[g];
  for (int k = 0; k < group_chain(of); k++) {
    const Node *n = node_of(s->m, group_node(s->m, of, k));
    for (int i = 0; i < n->nin; i++) {
      if (!n->in[i] || on_chain(s, g, n->in[i])) continue;
      s->now++;
      if (depends(s, n->in[i], target)) return true;
    }
  }
  return false;
}

/* The group, a map over the same elements as g, on whose chain v is; it may become a part of g when neither needs
 * the other. 0: there is none. */
static int joining_map(Fuse *s, int g, ValueId v) {
  NodeId d = value_of(s->m, v)->def;
  int h = d ? node_of(s->m, d)->group : 0;
  if (!h || h == g || !on_chain(s, h, v)) return 0;
  const Group *of = &s->f->groups.at[h], *to = &s->f->groups.at[g];
  if (of->root || of->graph != to->graph || !op_has(group_first(s->m, of)->op, ELEMENTWISE)) return 0;
  if (!type_same_shape(&value_of(s->m, of->out)->type, &value_of(s->m, to->out)->type)) return 0;
  return group_depends(s, g, h) || group_depends(s, h, g) ? 0 : h;
}

static void absorb(Fuse *s, int g, int h) {
  Group *of = &s->f->groups.at[h];
  for (int k = 0; k < group_chain(of); k++) {
    NodeId id = group_node(s->m, of, k);
    node_of(s->m, id)->group = g;
    *vec_push(s->f->arena, &s->f->groups.at[g].epilogue) = id;
  }
  of->dead = true;
}

/* Node id becomes the end of group g, together with the map on whose chain another operand is: chains that part and
 * meet again, as an optimizer's moments do, are one kernel. */
static bool try_join(Fuse *s, NodeId id, int g) {
  Node *n = node_of(s->m, id);
  Group *of = &s->f->groups.at[g];
  if (of->graph != n->graph) return false;
  if (of->root && !takes_epilogue(s->m, node_of(s->m, of->root))) return false;
  if (!type_same_shape(&value_of(s->m, n->out[0])->type, &value_of(s->m, of->out)->type)) return false;
  int map = 0;
  for (int k = 0; k < n->nin && !map; k++)
    if (n->in[k] && !on_chain(s, g, n->in[k])) map = joining_map(s, g, n->in[k]);
  for (int k = 0; k < n->nin && map; k++) {                       // what n reads besides must not need the map
    if (!n->in[k] || on_chain(s, g, n->in[k]) || on_chain(s, map, n->in[k])) continue;
    s->now++;
    if (depends(s, n->in[k], map)) map = 0;
  }
  for (int k = 0; k < n->nin; k++) {
    if (!n->in[k] || on_chain(s, g, n->in[k])) continue;
    s->now++;
    if (depends(s, n->in[k], g)) return false;
  }
  if (map) absorb(s, g, map);
  n->group = g;
  *vec_push(s->f->arena, &of->epilogue) = id;
  of->last = id;
  return true;
}

static void visit(Fuse *s, Graph *g);

/* Of the groups on whose chains operands of n are, without those tried: one with a root before maps, which it may take
 * in; the latest first. 0: there is none. */
static int next_group(const Fuse *s, const Node *n, const int *tried, int ntried) {
  int best = 0;
  for (int k = 0; k < n->nin; k++) {
    NodeId d = n->in[k] ? value_of(s->m, n->in[k])->def : 0;
    int q = d ? node_of(s->m, d)->group : 0;
    bool was = !q || !on_chain(s, q, n->in[k]);
    for (int i = 0; i < ntried; i++) was |= tried[i] == q;
    if (was) continue;
    bool roots[] = {best && s->f->groups.at[best].root, s->f->groups.at[q].root != 0};
    if (!best || (roots[0] == roots[1] ? q > best : roots[1])) best = q;
  }
  return best;
}

/* Is n left to the one reader of its result, which reads every element once (inline_maps)? So where an operand is
 * stored in any case, for others who are not elementwise: then the result never is. */
static bool left_to_reader(const Fuse *s, const Node *n) {
  const NodeList *by = &s->users[n->out[0]];
  if (by->len != 1 || s->is_output[n->out[0]]) return false;
  const Node *reader = node_of(s->m, by->at[0]);
  if (!op_has(reader->op, READS_ONCE) || reader->in[0] != n->out[0]) return false;
  for (int k = 0; k < n->nin; k++) {
    ValueId v = n->in[k];
    if (!v || !value_of(s->m, v)->def) continue;
    if (!type_same_shape(&value_of(s->m, v)->type, &value_of(s->m, n->out[0])->type)) continue;
    for (int q = 0; q < s->users[v].len; q++)
      if (!op_has(node_of(s->m, s->users[v].at[q])->op, ELEMENTWISE)) return true;
  }
  return false;
}

static void visit_node(Fuse *s, Graph *g, NodeId id) {
  Node *n = node_of(s->m, id);
  for (int r = 0; r < n->nregion; r++) visit(s, n->region[r]);
  n = node_of(s->m, id);
  if (n->nregion) return;
  OpHow how = op_info[n->op].how;
  if (how == HOW_LOWER || how == HOW_CALL) { n->group = group_new(s, g, id, n->out[0], id); return; }
  if (op_has(n->op, STRIDED_VIEW) || is_placed(n) || n->op == OP_IOTA || n->op == OP_DIMS) return;
  if (op_has(n->op, ELEMENTWISE) && !left_to_reader(s, n)) {
    int from[3], count = 0;
    for (int best; (best = next_group(s, n, from, count)) != 0; from[count++] = best)
      if (try_join(s, id, best)) return;
  }
  n->group = group_new(s, g, 0, n->out[0], id);
}

static void visit(Fuse *s, Graph *g) {
  for (int k = 0; k < g->nodes.len; k++) visit_node(s, g, g->nodes.at[k]);
}

/* ---- prologue: maps evaluated where they are read ---- */

/* What an element costs; maps with expensive functions are not repeated, ever. */
static bool is_cheap(const Node *n) {
  if (!op_is_scalar(n->op)) return true;
  return scalar_info[op_scalar(n->op)].c_operator || n->op == OP_WHERE || n->op == OP_MAX || n->op == OP_MIN;
}

static bool read_outside(Fuse *s, ValueId v, int g) {
  if (s->is_output[v]) return true;
  for (int k = 0; k < s->users[v].len; k++) if (node_of(s->m, s->users[v].at[k])->group != g) return true;
  return false;
}

static void move_node(Fuse *s, NodeId id, int into) {
  node_of(s->m, id)->group = into;
  *vec_push(s->f->arena, &s->f->groups.at[into].inlined) = id;
}

static void inline_maps(Fuse *s) {
  for (int g = s->f->groups.len - 1; g > 0; g--) {
    Group *of = &s->f->groups.at[g];
    if (of->root || of->dead) continue;
    // One value leaves the group, to nodes of one other group that read it once.
    ValueId v = of->epilogue.len ? node_of(s->m, of->epilogue.at[of->epilogue.len - 1])->out[0] : of->out;
    int into = 0;
    bool ok = !s->is_output[v] && s->users[v].len > 0;
    bool inner = true;
    for (int k = 0; k < group_chain(of); k++) {
      const Node *n = node_of(s->m, group_node(s->m, of, k));
      if (n->out[0] != v && read_outside(s, n->out[0], g)) inner = false;
      if (n->op == OP_COPY) ok = false;
    }
    if (!inner) ok = false;
    for (int k = 0; k < s->users[v].len && ok; k++) {
      NodeId uid = s->users[v].at[k];
      const Node *u = node_of(s->m, uid);
      if (!u->group || (into && u->group != into) || u->graph != of->graph) { ok = false; break; }
      into = u->group;
      const Group *to = &s->f->groups.at[into];
      if (to->root == uid) ok = op_has(u->op, READS_ONCE) && u->in[0] == v;
      else {                                                 // an epilogue operand or a map's: broadcast repeats it
        Dim small = type_count(&value_of(s->m, v)->type), large = type_count(&value_of(s->m, u->out[0])->type);
        bool repeats = !dim_known_le(large, small);
        bool cheap = true;
        for (int q = 0; q < group_chain(of); q++) cheap &= is_cheap(node_of(s->m, group_node(s->m, of, q)));
        if (repeats && !(cheap && of->epilogue.len < 2)) ok = false;
        if (u->op == OP_CONCAT || u->op == OP_PAD) ok = false;
      }
    }
    if (!ok || !into || s->users[v].len > 1) continue;
    // with what was inlined here
    for (int k = 0; k < group_nodes(of); k++) move_node(s, group_node(s->m, of, k), into);
    of->dead = true;
  }
}

bool value_is_stored(const Fusion *f, ValueId v) { return (int)v < f->nstored && f->stored[v]; }

void fusion_set_stored(Fusion *f, ValueId v, bool yes) {
  if ((int)v >= f->nstored) {
    int want = (int)v * 2 + 64;
    bool *more = NEW_N(f->arena, bool, want);
    if (f->stored) memcpy(more, f->stored, (size_t)f->nstored);
    f->stored = more;
    f->nstored = want;
  }
  f->stored[v] = yes;
}

int fusion_new_map(Fusion *f, NodeId id) {
  Node *n = node_of(f->m, id);
  Group *g = vec_push(f->arena, &f->groups);
  *g = (Group){.out = n->out[0], .graph = n->graph, .last = id};
  n->group = f->groups.len - 1;
  fusion_set_stored(f, n->out[0], true);
  return n->group;
}

/* ---- entry ---- */

static void collect_users(Fuse *s, Graph *g) {
  for (int k = 0; k < g->outputs.len; k++) s->is_output[g->outputs.at[k]] = true;
  for (int k = 0; k < g->nodes.len; k++) {
    NodeId id = g->nodes.at[k];
    const Node *n = node_of(s->m, id);
    for (int i = 0; i < n->nin; i++) {
      if (!n->in[i]) continue;
      *vec_push(s->f->arena, &s->users[n->in[i]]) = id;
      if (n->nregion) s->is_output[n->in[i]] = true;
      const Node *d = value_of(s->m, n->in[i])->def ? node_of(s->m, value_of(s->m, n->in[i])->def) : NULL;
      if (d && d->graph != n->graph) s->is_output[n->in[i]] = true;      // captured by a region
    }
    for (int r = 0; r < n->nregion; r++) collect_users(s, n->region[r]);
  }
}

Fusion *fuse_module(Module *m, bool naive, Arena *a) {
  Fusion *f = NEW(a, Fusion);
  f->m = m;
  f->arena = a;
  vec_push(a, &f->groups);
  Fuse s = {.f = f, .m = m, .stamp = NEW_N(a, int, m->nodes.len + 1), .users = NEW_N(a, NodeList, m->values.len),
            .is_output = NEW_N(a, bool, m->values.len)};
  for (int k = 0; k < m->nodes.len; k++) m->nodes.at[k].group = 0;
  collect_users(&s, m->main);
  visit(&s, m->main);
  if (!naive) fuse_attention(f, s.users, s.is_output);
  inline_maps(&s);
  for (int v = 1; v < m->values.len; v++) {
    const Node *d = m->values.at[v].def ? node_of(m, m->values.at[v].def) : NULL;
    if (d && !d->dead && d->group) fusion_set_stored(f, (ValueId)v, read_outside(&s, (ValueId)v, d->group));
  }
  return f;
}
