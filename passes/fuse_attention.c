/* fuse: attention as one group, so that the matrix of scores never lies in memory.
 *
 *   softmax(between(q k^T)) -> shares, after(shares) v
 *
 * `between` and `after` are any elementwise nodes (scale, masks, caps) and reshapes of the batch axes (grouped heads).
 * They and the two products are taken into the group of the last one, if nobody else reads what lies between: then
 * nothing outside can need a part of it, and no cycle of kernels comes about. Where something else reads the shares
 * (dropout on them, gradients of gradients) all stay nodes of their own. kernels/attention.c builds the group.
 *
 * With one query, as in decoding, a concat of old keys and new ones, or values, is taken in as well, and read where its
 * parts lie: copying them would cost as much as all the rest. */
#include "passes/fusion.h"
#include "ir/ops.h"
#include <string.h>

enum { MOST_BETWEEN = 24, MOST_HEAD = 128 };                    /* elements of a head that one row's kernel keeps */

typedef struct Match {
  Fusion *f;
  Module *m;
  const NodeList *users;
  const bool *is_output;
  const Graph *graph;
  NodeId found;                      /* the node that the walk looks for */
  NodeList path;                     /* nodes that lie between it and where the walk began */
  int steps;
} Match;

static NodeId def_of(const Match *s, ValueId v) { return v ? value_of(s->m, v)->def : 0; }

static bool listed(const NodeList *list, NodeId id) {
  for (int k = 0; k < list->len; k++) if (list->at[k] == id) return true;
  return false;
}

/* Rows and columns stay; the axes before them may be cut differently. */
static bool reshapes_batch(const Match *s, const Node *n) {
  const Type *x = &value_of(s->m, n->in[0])->type, *y = &value_of(s->m, n->out[0])->type;
  return n->op == OP_RESHAPE && x->rank >= 2 && y->rank >= 2 && dim_eq(x->dims[x->rank - 1], y->dims[y->rank - 1]) &&
         dim_eq(x->dims[x->rank - 2], y->dims[y->rank - 2]);
}

/* Does v come from one node `op`, through elementwise nodes and reshapes that keep the number of elements? Those are
 * listed. */
static bool walk_back(Match *s, ValueId v, Op op, Dim count) {
  NodeId id = def_of(s, v);
  const Node *n = id ? node_of(s->m, id) : NULL;
  if (!n || n->graph != s->graph || n->nregion || !dim_eq(type_count(&value_of(s->m, v)->type), count)) return false;
  if (n->op == op) {
    bool other = s->found && s->found != id;                    // the second is another operand, read from memory
    if (!other) s->found = id;
    return !other;
  }
  if (listed(&s->path, id)) return true;
  if (++s->steps > MOST_BETWEEN || (!op_is_scalar(n->op) && n->op != OP_CAST && !reshapes_batch(s, n))) return false;
  bool reaches = false;
  for (int k = 0; k < n->nin; k++) reaches |= n->in[k] && walk_back(s, n->in[k], op, count);
  if (reaches) *vec_push(s->f->arena, &s->path) = id;
  return reaches;
}

/* Is v read by nodes of the path alone, and by `last`? */
static bool stays_inside(const Match *s, ValueId v, NodeId last) {
  if (s->is_output[v] || !s->users[v].len) return false;
  for (int k = 0; k < s->users[v].len; k++)
    if (s->users[v].at[k] != last && !listed(&s->path, s->users[v].at[k])) return false;
  return true;
}

static bool closed(const Match *s, NodeId first, NodeId last) {
  if (!stays_inside(s, node_of(s->m, first)->out[0], last)) return false;
  for (int k = 0; k < s->path.len; k++) if (!stays_inside(s, node_of(s->m, s->path.at[k])->out[0], last)) return false;
  return true;
}

static bool is_f32(const Match *s, ValueId v) { return value_of(s->m, v)->type.dtype == DT_F32; }

/* Products of f32 with heads of a known size; every batch has shares of its own. */
static bool products_fit(const Match *s, const Node *scores, const Node *root) {
  const Type *q = &value_of(s->m, scores->in[0])->type, *t = &value_of(s->m, scores->out[0])->type;
  const Type *p = &value_of(s->m, root->in[0])->type, *y = &value_of(s->m, root->out[0])->type;
  if (!is_f32(s, scores->in[0]) || !is_f32(s, scores->in[1]) || !is_f32(s, root->in[1])) return false;
  if (q->rank > t->rank || p->rank != y->rank) return false;
  for (int k = 0; k < y->rank - 2; k++) if (!dim_eq(p->dims[k], y->dims[k])) return false;
  return dim_is_const(q->dims[q->rank - 1]) && dim_is_const(y->dims[y->rank - 1]) && q->dims[q->rank - 1].k > 0 &&
         y->dims[y->rank - 1].k > 0 && dim_lo(t->dims[t->rank - 1]) > 0;
}

/* The nodes of group g, all of which must be listed or be `root`. */
static bool group_inside(const Match *s, int g, NodeId root) {
  const Group *of = &s->f->groups.at[g];
  if (of->root && of->root != root) return false;
  if (!of->root && !listed(&s->path, value_of(s->m, of->out)->def)) return false;
  for (int k = 0; k < of->epilogue.len; k++) if (!listed(&s->path, of->epilogue.at[k])) return false;
  return true;
}

static bool groups_inside(const Match *s, NodeId root) {
  if (!group_inside(s, node_of(s->m, root)->group, root)) return false;
  for (int k = 0; k < s->path.len; k++) {
    int g = node_of(s->m, s->path.at[k])->group;
    if (g && !group_inside(s, g, root)) return false;
  }
  return true;
}

static void take(Match *s, NodeId id, int into) {
  Node *n = node_of(s->m, id);
  if (n->group) s->f->groups.at[n->group].dead = true;
  n->group = into;
  *vec_push(s->f->arena, &s->f->groups.at[into].inlined) = id;
}

static bool one_reader(const Match *s, ValueId v) { return !s->is_output[v] && s->users[v].len == 1; }

/* The concat along axis `axis` of v, whose last axis is axis `inner` of v, through views that nobody else reads: into
 * group g with them. */
static void take_concat(Match *s, ValueId v, int axis, int inner, int g) {
  NodeList path = {0};
  for (;;) {
    NodeId id = def_of(s, v);
    const Node *n = id ? node_of(s->m, id) : NULL;
    if (!n || n->group || n->graph != s->f->groups.at[g].graph || !one_reader(s, v)) return;
    *vec_push(s->f->arena, &path) = id;
    if (n->op == OP_CONCAT) {
      int rank = value_of(s->m, v)->type.rank;
      if ((int)node_int(n, "axis", 0) != axis || inner != rank - 1 || axis == inner) return;
      break;
    }
    int shift = value_of(s->m, n->in[0])->type.rank - value_of(s->m, v)->type.rank;
    if (n->op == OP_TRANSPOSE) {
      axis = (int)node_dims(n, "perm")->dims[axis].k;
      inner = (int)node_dims(n, "perm")->dims[inner].k;
    } else if (reshapes_batch(s, n)) {
      axis += shift;
      inner += shift;
    } else return;
    v = n->in[0];
  }
  for (int k = 0; k < path.len; k++) take(s, path.at[k], g);
}

static void take_caches(Match *s, const Node *scores, const Node *root, int g) {
  const Type *t = &value_of(s->m, scores->out[0])->type, *q = &value_of(s->m, scores->in[0])->type;
  int k = value_of(s->m, scores->in[1])->type.rank, v = value_of(s->m, root->in[1])->type.rank;
  if (!dim_is(t->dims[t->rank - 2], 1) || q->dims[q->rank - 1].k > MOST_HEAD) return;
  take_concat(s, scores->in[1], k - 1, k - 2, g);
  take_concat(s, root->in[1], v - 2, v - 1, g);
}

static void match_group(Match *s, int g) {
  const Group *of = &s->f->groups.at[g];
  const Node *root = node_of(s->m, of->root);
  Match after = *s, between = *s;
  after.graph = between.graph = of->graph;
  if (!walk_back(&after, root->in[0], OP_SOFTMAX, type_count(&value_of(s->m, root->in[0])->type))) return;
  const Node *softmax = node_of(s->m, after.found);
  const Type *t = &value_of(s->m, softmax->out[0])->type;
  if (t->dtype != DT_F32 || node_int(softmax, "axis", 0) != t->rank - 1) return;
  if (!walk_back(&between, softmax->in[0], OP_MATMUL, type_count(t))) return;
  if (!closed(&after, after.found, of->root) || !closed(&between, between.found, after.found)) return;
  if (!groups_inside(&after, after.found) || !groups_inside(&between, between.found)) return;
  if (!products_fit(s, node_of(s->m, between.found), root)) return;
  NodeId scores = between.found, shares = after.found;
  take(s, scores, g);
  for (int k = 0; k < between.path.len; k++) take(s, between.path.at[k], g);
  take(s, shares, g);
  for (int k = 0; k < after.path.len; k++) take(s, after.path.at[k], g);
  take_caches(s, node_of(s->m, scores), root, g);
  s->f->groups.at[g].scores = scores;
  s->f->groups.at[g].softmax = shares;
}

void fuse_attention(Fusion *f, const NodeList *users, const bool *is_output) {
  Match s = {.f = f, .m = f->m, .users = users, .is_output = is_output};
  for (int g = 1; g < f->groups.len; g++) {
    const Group *of = &f->groups.at[g];
    if (!of->dead && of->root && node_of(f->m, of->root)->op == OP_MATMUL) match_group(&s, g);
  }
}
