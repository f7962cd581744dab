/* split_pads: conv(x, pads) -> conv(pad(x), 0), for float convolutions with constant weights.
 *
 * The tiled kernel then reads without guards, and storage lets the producer of x write straight into the padded
 * buffer, so that only the border is left to fill. Runs before fuse. */
#include "passes/split_pads.h"
#include "ir/ops.h"

static void split(Module *m, Graph *g, NodeId id) {
  Node *n = node_of(m, id);
  const Attr *pads = node_dims(n, "pads");
  const Type *x = &value_of(m, n->in[0])->type;
  int spatial = x->rank - 2;
  Dim before[MAX_RANK], after[MAX_RANK], zero[2 * MAX_RANK];
  bool any = false;
  for (int k = 0; k < x->rank; k++) {
    before[k] = k < 2 ? DIM(0) : pads->dims[k - 2];
    after[k] = k < 2 ? DIM(0) : pads->dims[k - 2 + spatial];
    any |= !dim_is(before[k], 0) || !dim_is(after[k], 0);
    zero[k] = zero[k + MAX_RANK] = DIM(0);
  }
  if (!any) return;
  Attr a[3] = {attr_dims(m, "before", before, x->rank), attr_dims(m, "after", after, x->rank), attr_str("mode", "constant")};
  ValueId v = n->in[0];
  graph_set_source(m, n->source);
  graph_insert_before(g, id);
  ValueId p = graph_op(g, OP_PAD, &v, 1, a, 3);
  graph_insert_end(g);
  n = node_of(m, id);
  ValueId *in = arena_dup(&m->perm, n->in, sizeof *n->in * (size_t)n->nin);
  in[0] = p;
  n->in = in;
  for (int k = 0; k < n->nattr; k++)
    if (n->attr[k].name == pads->name) { n->attr[k] = attr_dims(m, "pads", zero, 2 * spatial); break; }
}

static void walk(Module *m, Graph *g) {
  NodeList nodes = {0};
  for (int k = 0; k < g->nodes.len; k++) *vec_push(&m->perm, &nodes) = g->nodes.at[k];
  for (int k = 0; k < nodes.len; k++) {
    const Node *n = node_of(m, nodes.at[k]);
    for (int r = 0; r < n->nregion; r++) walk(m, node_of(m, nodes.at[k])->region[r]);
    n = node_of(m, nodes.at[k]);
    if (n->op == OP_CONV && dtype_is_float(value_of(m, n->out[0])->type.dtype) && value_of(m, n->in[1])->constant)
      split(m, g, nodes.at[k]);
  }
}

void split_pads(Module *m) { walk(m, m->main); }
