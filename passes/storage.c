/* storage: where the elements of every stored value are (Value.at): views, and values placed into others.
 *
 * 1. Placing, from the last node to the first: the inputs of a concat, and the input of a constant pad, live
 *    inside the output's storage where their producer can write with strides, if need be through a view of what it
 *    computes; else a copy node is inserted. A concat of what lies together in a larger one is a part of that. The pad
 *    node itself then only fills the border. So do results: what a caller gets transposed is written so.
 * 2. Views, from first to last: reshape, transpose, slice and expand become strides over their input's storage;
 *    a reshape that strides cannot say becomes a copy (a map kernel that reads through the view).
 * What is placed nowhere has dense storage of its own, in the order that `layout` chose. After it every value that a
 * kernel reads from memory has at.base. */
#include "ir/ops.h"
#include "passes/fusion.h"
#include "passes/storage_impl.h"
#include <string.h>

static Node *def_of(Place *p, ValueId v) {
  NodeId d = value_of(p->m, v)->def;
  return d ? node_of(p->m, d) : NULL;
}

bool output_is_computed(Module *m, int k) {
  ValueId v = m->main->outputs.at[k];
  for (int q = 0; q < k; q++) if (m->main->outputs.at[q] == v) return false;
  const Node *d = value_of(m, v)->def ? node_of(m, value_of(m, v)->def) : NULL;
  return d && !d->nregion && (d->group || d->op == OP_CONCAT || pads_in_place(d));
}

bool output_is_view(Module *m, int k) {
  ValueId v = m->main->outputs.at[k];
  for (int q = 0; q < k; q++) if (m->main->outputs.at[q] == v) return false;
  const Node *d = value_of(m, v)->def ? node_of(m, value_of(m, v)->def) : NULL;
  return d && op_has(d->op, STRIDED_VIEW) && !d->group && !graph_state_of_value(m, v);
}

/* Dense storage of v's own, in the order that layout chose. */
void own_storage(Place *p, ValueId v) {
  Value *val = value_of(p->m, v);
  AxisOrder order = fusion_layout(p->f, v).order;
  val->at = strides_dense(&val->type, &order);
  val->at.base = v;
}

bool storage_is_row_major(Module *m, ValueId v) {
  const Value *val = value_of(m, v);
  return !val->at.base || strides_are_row_major(&val->type, &val->at);
}

/* ---- copies ---- */

/* A copy of v made just before node `before`, for its sake (0: at the end of g); its storage is left to the caller. A
 * reshape that nobody else reads need not become a copy itself. */
ValueId insert_copy(Place *p, Graph *g, NodeId before, ValueId v) {
  Source keep = graph_source(p->m);
  NodeId from = before ? before : value_of(p->m, v)->def;
  graph_set_source(p->m, from ? node_of(p->m, from)->source : (Source){0});
  if (before) graph_insert_before(g, before);
  ValueId c = graph_op(g, OP_COPY, &v, 1, NULL, 0);
  if (before) graph_insert_end(g);
  graph_set_source(p->m, keep);
  fusion_new_map(p->f, value_of(p->m, c)->def);
  const Node *n = def_of(p, v);
  if ((int)v < p->n && p->uses[v] == 1 && n && n->op == OP_RESHAPE && !n->group && n->graph == g)
    p->read_through[v] = true;
  return c;
}

/* ---- 1. placing ---- */

/* Can v be written straight into another value's storage? */
bool placeable(Place *p, Graph *g, ValueId v) {
  const Value *val = value_of(p->m, v);
  Node *d = def_of(p, v);
  if (!d || d->graph != g || val->constant || val->at.base || ((int)v < p->n && p->is_output[v])) return false;
  if (d->nregion) return false;
  if ((d->op == OP_CONCAT && !d->group) || (d->op == OP_PAD && d->group)) return true;
  if (!d->group || !value_is_stored(p->f, v)) return false;
  const Group *gr = &p->f->groups.at[d->group];
  if (!gr->root) return true;
  const Node *root = node_of(p->m, gr->root);
  return op_info[root->op].how != HOW_CALL && (d->out[0] == v || op_has(root->op, PLACES_ALL));
}

/* Are neighbours in v's own layout neighbours at `at`, so that its producer still writes vectors? */
static bool keeps_vectors(Place *p, ValueId v, const Storage *at) {
  const Type *t = &value_of(p->m, v)->type;
  Layout own = fusion_layout(p->f, v);
  int k = t->rank - 1;
  while (k >= 0 && dim_is(t->dims[own.order.axis[k]], 1)) k--;
  return k < 0 || dim_is(at->stride[own.order.axis[k]], 1);
}

/* v, or what it is a view of, is written where v has to be. */
static bool place_at(Place *p, Graph *g, ValueId v, Storage at) {
  ValueId wanted = v;
  while (!placeable(p, g, v)) {
    Node *n = def_of(p, v);
    Storage before, back;
    bool view = n && op_has(n->op, STRIDED_VIEW) && !n->group && n->graph == g && !value_of(p->m, v)->at.base;
    if (!view || fusion_layout(p->f, v).copied || !strides_before_view(p->m, n, &at, &before)) return false;
    if (!strides_of_view(p->m, n, &before, &back)) return false;
    const Type *t = &value_of(p->m, v)->type;
    for (int k = 0; k < t->rank; k++) if (!dim_is(t->dims[k], 1) && !dim_eq(at.stride[k], back.stride[k])) return false;
    at = before;
    v = n->in[0];
  }
  if (v != wanted && !keeps_vectors(p, v, &at)) return false;
  value_of(p->m, v)->at = at;
  return true;
}

static void place_or_copy(Place *p, Graph *g, NodeId id, int input, Storage at) {
  ValueId v = node_of(p->m, id)->in[input];
  if (place_at(p, g, v, at)) return;
  v = insert_copy(p, g, id, v);
  node_of(p->m, id)->in[input] = v;
  value_of(p->m, v)->at = at;
}

static void place_concat(Place *p, Graph *g, NodeId id) {
  int axis = (int)node_int(node_of(p->m, id), "axis", 0), nin = node_of(p->m, id)->nin;
  Storage at = value_of(p->m, node_of(p->m, id)->out[0])->at;
  for (int k = 0; k < nin; k++) {
    Dim size = value_of(p->m, node_of(p->m, id)->in[k])->type.dims[axis];
    if (!dim_is(size, 0)) place_or_copy(p, g, id, k, at);
    at.offset = dim_add(at.offset, dim_mul(size, at.stride[axis]));
  }
}

/* Do all that a concat joins lie in a larger one already, one behind the other? Then it is a part of that, as in nets
 * where each layer reads what all before it gave. */
static bool lies_in_larger(Place *p, Graph *g, const Node *n, Storage *at) {
  int axis = (int)node_int(n, "axis", 0);
  *at = value_of(p->m, n->in[0])->at;
  const Node *larger = at->base ? def_of(p, at->base) : NULL;
  if (!larger || larger->op != OP_CONCAT || larger->graph != g || p->is_output[n->out[0]]) return false;
  Dim next = at->offset;
  for (int k = 0; k < n->nin; k++) {
    const Value *v = value_of(p->m, n->in[k]);
    const Node *d = def_of(p, n->in[k]);
    if (!d || d->graph != g || v->at.base != at->base) return false;
    if (!dim_eq(v->at.offset, next) || dim_lo(v->type.dims[axis]) < 2) return false;
    for (int q = 0; q < v->type.rank; q++)
      if (!dim_is(v->type.dims[q], 1) && !dim_eq(v->at.stride[q], at->stride[q])) return false;
    next = dim_add(next, dim_mul(v->type.dims[axis], at->stride[axis]));
  }
  return keeps_vectors(p, n->out[0], at);
}

static void place_pad(Place *p, Graph *g, NodeId id) {
  const Attr *before = node_dims(node_of(p->m, id), "before");
  Storage at = value_of(p->m, node_of(p->m, id)->out[0])->at;
  for (int k = 0; k < before->n; k++) at.offset = dim_add(at.offset, dim_mul(before->dims[k], at.stride[k]));
  place_or_copy(p, g, id, 0, at);
}

/* A pad whose border alone needs writing: constant, growing on every side, by a scalar known outside. */
bool pads_in_place(const Node *n) {
  if (n->op != OP_PAD || strcmp(node_str(n, "mode", "constant"), "constant")) return false;
  const Attr *sides[2] = {node_dims(n, "before"), node_dims(n, "after")};
  for (int s = 0; s < 2; s++)
    for (int k = 0; k < sides[s]->n; k++) if (dim_lo(sides[s]->dims[k]) < 0) return false;
  return true;
}

static void place_graph(Place *p, Graph *g) {
  NodeList nodes = g->nodes;                                   // copies are inserted while we walk
  for (int k = nodes.len - 1; k >= 0; k--) {
    NodeId id = nodes.at[k];
    Node *n = node_of(p->m, id);
    place_control(p, g, id);
    n = node_of(p->m, id);
    for (int r = 0; r < n->nregion; r++) place_graph(p, node_of(p->m, id)->region[r]);
    n = node_of(p->m, id);
    Storage at;
    if (n->op == OP_CONCAT && !n->group && !value_of(p->m, n->out[0])->at.base && lies_in_larger(p, g, n, &at)) {
      value_of(p->m, n->out[0])->at = at;
    } else if ((n->op == OP_CONCAT && !n->group) || pads_in_place(n)) {
      // a concat in a group is read where its parts lie
      if (!value_of(p->m, n->out[0])->at.base) own_storage(p, n->out[0]);
      if (n->op == OP_CONCAT) place_concat(p, g, id);
      else place_pad(p, g, id);
    }
  }
}

/* ---- 2. views ---- */

/* Has v elements in memory? Values that are evaluated where they are read (iota, dims) have none, nor have views of
 * them. */
static bool in_memory(Place *p, ValueId v) { return value_of(p->m, v)->at.base != 0; }

static void view_graph(Place *p, Graph *g) {
  for (int k = 0; k < g->nodes.len; k++) {
    NodeId id = g->nodes.at[k];
    Node *n = node_of(p->m, id);
    for (int r = 0; r < n->nregion; r++) view_graph(p, node_of(p->m, id)->region[r]);
    n = node_of(p->m, id);
    for (int o = 0; o < n->nout; o++)
      if (n->out[o] && value_is_stored(p->f, n->out[o]) && !in_memory(p, n->out[o])) own_storage(p, n->out[o]);
    if (n->nregion)
      for (int o = 0; o < n->nout; o++) if (n->out[o] && !in_memory(p, n->out[o])) own_storage(p, n->out[o]);
    if (op_has(n->op, STRIDED_VIEW) && !n->group && in_memory(p, n->in[0])) {
      Storage st;
      bool copied = fusion_layout(p->f, n->out[0]).copied;
      if (!copied && strides_of_view(p->m, n, &value_of(p->m, n->in[0])->at, &st)) value_of(p->m, n->out[0])->at = st;
      else if ((int)n->out[0] >= p->n || !p->read_through[n->out[0]]) {
        fusion_new_map(p->f, id);
        own_storage(p, n->out[0]);
      }
    }
    if (op_info[n->op].how == HOW_CALL)                        // C functions take dense row-major arrays
      for (int q = 0; q < n->nin; q++) {
        ValueId v = node_of(p->m, id)->in[q];
        if (!v || (in_memory(p, v) && storage_is_row_major(p->m, v) && dim_is(value_of(p->m, v)->at.offset, 0)))
          continue;
        ValueId c = insert_copy(p, g, id, v);
        own_storage(p, c);
        node_of(p->m, id)->in[q] = c;
        k++;
      }
  }
}

/* ---- outputs ---- */

/* An output of the main graph is written by a kernel into the caller's memory: its own, row-major, once. */
static void outputs(Place *p) {
  Graph *g = p->m->main;
  for (int k = 0; k < g->outputs.len; k++) {
    ValueId v = g->outputs.at[k];
    if (output_is_computed(p->m, k)) continue;
    if (output_is_view(p->m, k)) {
      const Type *t = &value_of(p->m, v)->type;
      AxisOrder order = order_row_major(t->rank);
      Storage at = strides_dense(t, &order);
      at.base = v;
      if (place_at(p, g, v, at)) continue;
    }
    const Node *d = def_of(p, v);
    g->outputs.at[k] = insert_copy(p, g, 0, v);
    p->is_output[g->outputs.at[k]] = true;
    for (int q = 0; q < p->m->state.len; q++)
      if (p->m->state.at[q].next == v) p->m->state.at[q].next = g->outputs.at[k];
    // the caller knows both by name
    if (d || value_of(p->m, v)->constant) graph_swap_names(p->m, v, g->outputs.at[k]);
  }
}

void storage_assign(Fusion *f) {
  Module *m = f->m;
  int slack = m->values.len + 8 * m->nodes.len + 64;           // copies add values
  Place p = {.f = f, .m = m, .is_output = NEW_N(f->arena, bool, slack), .read_through = NEW_N(f->arena, bool, slack),
             .uses = NEW_N(f->arena, int, slack), .n = slack};
  memcpy(p.uses, graph_use_counts(m, f->arena), (size_t)m->values.len * sizeof *p.uses);
  for (int k = 0; k < m->main->outputs.len; k++) p.is_output[m->main->outputs.at[k]] = true;
  for (int v = 1; v < m->values.len; v++) {
    m->values.at[v].at = (Storage){0};
    if (m->values.at[v].constant || !m->values.at[v].def) own_storage(&p, (ValueId)v);
  }
  outputs(&p);
  // pads that only fill their border are kernels of their own
  for (int k = 0; k < m->nodes.len; k++)
    if (!m->nodes.at[k].dead && pads_in_place(&m->nodes.at[k])) {
      Node *n = &m->nodes.at[k];
      if (!n->group) fusion_new_map(f, (NodeId)k);
      f->groups.at[n->group].root = (NodeId)k;
    }
  for (int k = 0; k < m->nodes.len; k++) {                     // other pads read through their index mapping
    Node *n = &m->nodes.at[k];
    if (!n->dead && n->op == OP_PAD && !n->group) fusion_new_map(f, (NodeId)k);
  }
  place_graph(&p, m->main);
  view_graph(&p, m->main);
}
