/* Looks ahead to the pass `strips`, before kernels are made: a 1x1 convolution is cut between rows of an image only if
 * its kernel keeps them apart (Lower.by_rows), which costs a little where nobody cuts it. */
#include "passes/conv.h"
#include "passes/strips.h"

/* The group of what computes v, a pad aside; -1: none. */
static int group_before(Module *m, ValueId v) {
  const Node *n = value_of(m, v)->def ? node_of(m, value_of(m, v)->def) : NULL;
  if (n && n->op == OP_PAD) return group_before(m, n->in[0]);
  return n ? n->group : -1;
}

static bool has_window(Module *m, const Node *n) {
  return n->op == OP_MAX_POOL || n->op == OP_AVG_POOL || (n->op == OP_CONV && conv_is_depthwise(m, n));
}

/* Is a depthwise convolution or a pool next to the group? What is not Winograd's, that is, and needs neighbouring
 * rows. */
static bool window_beside(const Fusion *f, int number) {
  const Node *n = node_of(f->m, f->groups.at[number].root);
  int before = group_before(f->m, n->in[0]);
  for (int g = 0; g < f->groups.len; g++) {
    const Node *root = f->groups.at[g].root ? node_of(f->m, f->groups.at[g].root) : NULL;
    if (root && has_window(f->m, root) && (g == before || group_before(f->m, root->in[0]) == number)) return true;
  }
  return false;
}

bool strips_may_cut(const Fusion *f, int number, const Target *t, const PassOptions *o) {
  enum { WIDE = 20 };
  const Group *g = &f->groups.at[number];
  const Node *n = g->root ? node_of(f->m, g->root) : NULL;
  if (o->strips < 0 || !n || n->op != OP_CONV) return false;
  const ValueId v[2] = {n->in[0], n->out[0]};
  bool large = false;
  for (int k = 0; k < 2; k++) {
    const Type *type = &value_of(f->m, v[k])->type;
    if (type->rank != 4 || !type_is_static(type) || type->dims[3].k < WIDE) return false;
    large |= target_is_far(t, (double)(type_count(type).k * dtype_bytes(type->dtype)));
  }
  return o->strips > 0 || (large && window_beside(f, number));
}
