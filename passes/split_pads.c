/* split_pads: conv(x, pads) -> conv(pad(x), 0), and the like for conv_transpose and conv_grad_weight, for floats.
 *
 * The tiled kernel then reads without guards, and storage lets the producer of x write straight into the padded
 * buffer, so that only the border is left to fill. Runs before fuse. */
#include "passes/split_pads.h"
#include "ir/ops.h"
#include <string.h>

/* A pad of v that stands before node `end`: the convolution's, for its gradient. 0: none. */
static ValueId find_pad(Module *m, const Graph *g, NodeId end, ValueId v, const Attr *before, const Attr *after) {
  for (int k = 0; k < g->nodes.len && g->nodes.at[k] != end; k++) {
    const Node *n = node_of(m, g->nodes.at[k]);
    if (n->op == OP_PAD && !n->dead && n->nin == 1 && n->in[0] == v &&
        !strcmp(node_str(n, "mode", "constant"), "constant") &&
        attr_eq(node_attr(n, "before"), before) && attr_eq(node_attr(n, "after"), after)) return n->out[0];
  }
  return 0;
}

/* Puts a zero pad before input 0 of node id and gives the node these pads. */
static void insert_pad(Module *m, Graph *g, NodeId id, const Dim *before, const Dim *after, const Dim *pads) {
  Node *n = node_of(m, id);
  int rank = value_of(m, n->in[0])->type.rank;
  bool any = false;
  for (int k = 0; k < rank; k++) any |= !dim_is(before[k], 0) || !dim_is(after[k], 0);
  if (!any) return;
  Attr a[3] = {attr_dims(m, "before", before, rank), attr_dims(m, "after", after, rank), attr_str("mode", "constant")};
  ValueId v = n->in[0], p = find_pad(m, g, id, v, &a[0], &a[1]);
  if (!p) {
    graph_set_source(m, n->source);
    graph_insert_before(g, id);
    p = graph_op(g, OP_PAD, &v, 1, a, 3);
    graph_insert_end(g);
  }
  n = node_of(m, id);
  ValueId *in = arena_dup(&m->perm, n->in, sizeof *n->in * (size_t)n->nin);
  in[0] = p;
  n->in = in;
  const char *name = node_dims(n, "pads")->name;
  for (int k = 0; k < n->nattr; k++)
    if (n->attr[k].name == name) n->attr[k] = attr_dims(m, "pads", pads, 2 * (rank - 2));
}

/* conv(x, pads) -> conv(pad(x, pads), 0), and conv_grad_weight alike */
static void split_conv(Module *m, Graph *g, NodeId id) {
  const Node *n = node_of(m, id);
  const Attr *pads = node_dims(n, "pads");
  int rank = value_of(m, n->in[0])->type.rank;
  Dim before[MAX_RANK], after[MAX_RANK], zero[2 * MAX_RANK] = {{0}};
  for (int k = 0; k < rank; k++) {
    before[k] = k < 2 ? DIM(0) : pads->dims[k - 2];
    after[k] = k < 2 ? DIM(0) : pads->dims[k - 2 + rank - 2];
  }
  insert_pad(m, g, id, before, after, zero);
}

/* conv_transpose(x, pads) -> conv_transpose(pad(x, b, a), pads + (b, a) * stride): what is cut off at the border grows
 * by what the padding adds. b and a are what the outermost taps reach beyond x. */
static void split_conv_transpose(Module *m, Graph *g, NodeId id) {
  const Node *n = node_of(m, id);
  const Attr *pads = node_dims(n, "pads"), *strides = node_dims(n, "strides"), *dil = node_dims(n, "dilations");
  const Type *x = &value_of(m, n->in[0])->type, *w = &value_of(m, n->in[1])->type, *y = &value_of(m, n->out[0])->type;
  int spatial = x->rank - 2;
  Dim before[MAX_RANK] = {{0}}, after[MAX_RANK] = {{0}}, cut[2 * MAX_RANK];
  for (int s = 0; s < spatial; s++) {
    Dim in = x->dims[2 + s], out = y->dims[2 + s];
    if (!dim_is_const(in) || !dim_is_const(out)) return;
    int64_t stride = strides->dims[s].k, pad = pads->dims[s].k, reach = (w->dims[2 + s].k - 1) * dil->dims[s].k - pad;
    int64_t b = reach > 0 ? reach / stride : 0, a = (out.k - 1 + pad) / stride - (in.k - 1);
    if (a < 0) a = 0;
    before[2 + s] = DIM(b);
    after[2 + s] = DIM(a);
    cut[s] = DIM(pad + b * stride);
    cut[s + spatial] = DIM(pads->dims[s + spatial].k + a * stride);
  }
  insert_pad(m, g, id, before, after, cut);
}

static void walk(Module *m, Graph *g) {
  NodeList nodes = {0};
  for (int k = 0; k < g->nodes.len; k++) *vec_push(&m->perm, &nodes) = g->nodes.at[k];
  for (int k = 0; k < nodes.len; k++) {
    const Node *n = node_of(m, nodes.at[k]);
    for (int r = 0; r < n->nregion; r++) walk(m, node_of(m, nodes.at[k])->region[r]);
    n = node_of(m, nodes.at[k]);
    bool transposed = n->op == OP_CONV_TRANSPOSE;
    if ((n->op != OP_CONV && n->op != OP_CONV_GRAD_WEIGHT && !transposed) ||
        !dtype_is_float(value_of(m, n->out[0])->type.dtype))
      continue;
    if (!transposed) split_conv(m, g, nodes.at[k]);
    else split_conv_transpose(m, g, nodes.at[k]);
  }
}

void split_pads(Module *m) { walk(m, m->main); }
