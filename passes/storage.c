/* storage: where the elements of every stored value are (Value.at): layout, views, values placed into others.
 *
 * 1. Layout: an axis order per stored value, row-major or channels-last ([N, spatial…, C]). Convolutions write
 *    channels-last, so that vector lanes are channels; pools, elementwise chains, concat and pad follow their
 *    input; graph inputs, outputs, constants and everything else are row-major. A value that only a transpose reads
 *    is stored as the transpose has it, if vectors stay vectors: attention then writes merged heads.
 * 2. Placing, from the last node to the first: the inputs of a concat, and the input of a constant pad, live
 *    inside the output's storage where their producer can write with strides; else a copy node is inserted.
 *    The pad node itself then only fills the border.
 * 3. Views, from first to last: reshape, transpose, slice and expand become strides over their input's storage;
 *    a reshape that strides cannot say becomes a copy (a map kernel that reads through the view).
 * After it every value that a kernel reads from memory has at.base. */
#include "ir/ops.h"
#include "passes/fusion.h"
#include "passes/storage_impl.h"
#include <string.h>

static Node *def_of(Place *p, ValueId v) {
  NodeId d = value_of(p->m, v)->def;
  return d ? node_of(p->m, d) : NULL;
}

/* ---- 1. layout ---- */

static bool wants_channels_last(Place *p, const Node *n) {
  const Type *y = &value_of(p->m, n->out[0])->type;
  if (y->rank < 3 || y->rank > 5) return false;
  if (op_has(n->op, CHANNELS_LAST)) return dtype_is_float(y->dtype);
  if (op_has(n->op, FOLLOWS_LAYOUT)) return n->nout == 1 && p->last[n->in[0]];
  if (op_has(n->op, ELEMENTWISE))
    for (int k = 0; k < n->nin; k++)
      if (n->in[k] && p->last[n->in[k]] && type_same_shape(&value_of(p->m, n->in[k])->type, y)) return true;
  return false;
}

static void layout_graph(Place *p, Graph *g) {
  for (int k = 0; k < g->nodes.len; k++) {
    const Node *n = node_of(p->m, g->nodes.at[k]);
    for (int r = 0; r < n->nregion; r++) layout_graph(p, n->region[r]);
    if (n->nregion) continue;
    if (!p->is_output[n->out[0]]) p->last[n->out[0]] = wants_channels_last(p, n);
  }
}

/* Kernels write with any strides, C functions do not; and what a region reads has users that are not looked at here. */
static void find_turned(Place *p) {
  int *users = NEW_N(p->f->arena, int, p->n);
  for (int k = 0; k < p->m->nodes.len; k++) {
    const Node *n = &p->m->nodes.at[k];
    if (n->dead) continue;
    for (int i = 0; i < n->nin; i++) {
      ValueId v = n->in[i];
      const Node *d = v ? def_of(p, v) : NULL;
      if (!d || users[v]++ || p->is_output[v]) { if (v) p->turned[v] = 0; continue; }
      const Attr *perm = n->op == OP_TRANSPOSE && n->graph == d->graph ? node_dims(n, "perm") : NULL;
      bool writes = d->group && d->out[0] == v && !d->nregion && op_info[d->op].how != HOW_CALL;
      if (perm && writes && perm->dims[perm->n - 1].k == perm->n - 1) p->turned[v] = (NodeId)k;
    }
  }
}

/* Dense storage of v's own. */
void own_storage(Place *p, ValueId v) {
  Value *val = value_of(p->m, v);
  const Type *t = &val->type;
  int order[MAX_RANK], at = 0;                                // axes, outermost first
  bool last = (int)v < p->n && p->last[v];
  NodeId turned = (int)v < p->n && !last ? p->turned[v] : 0;
  const Attr *perm = turned ? node_dims(node_of(p->m, turned), "perm") : NULL;
  for (int k = 0; k < t->rank; k++) if (!(last && k == 1)) order[at++] = perm ? (int)perm->dims[k].k : k;
  if (last) order[at++] = 1;
  Dim s = DIM(1);
  for (int k = t->rank - 1; k >= 0; k--) {
    val->at.stride[order[k]] = s;
    s = dim_mul(s, t->dims[order[k]]);
  }
  val->at.base = v;
  val->at.offset = DIM(0);
  val->at.size = s;
}

bool storage_is_row_major(Module *m, ValueId v) {
  const Value *val = value_of(m, v);
  if (!val->at.base) return true;
  Dim s = DIM(1);
  for (int k = val->type.rank - 1; k >= 0; k--) {
    if (dim_is(val->type.dims[k], 1)) continue;
    if (!dim_eq(val->at.stride[k], s)) return false;
    s = dim_mul(s, val->type.dims[k]);
  }
  return true;
}

/* ---- copies ---- */

/* A copy of v made just before node `before`, for its sake (0: at the end of g); its storage is left to the caller. */
ValueId insert_copy(Place *p, Graph *g, NodeId before, ValueId v) {
  Source keep = graph_source(p->m);
  NodeId from = before ? before : value_of(p->m, v)->def;
  graph_set_source(p->m, from ? node_of(p->m, from)->source : (Source){0});
  if (before) graph_insert_before(g, before);
  ValueId c = graph_op(g, OP_COPY, &v, 1, NULL, 0);
  if (before) graph_insert_end(g);
  graph_set_source(p->m, keep);
  fusion_new_map(p->f, value_of(p->m, c)->def);
  return c;
}

/* ---- 2. placing ---- */

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
  if (op_has(root->op, PLACES_ALL)) return d == root;
  return op_info[root->op].how != HOW_CALL && d->out[0] == v;
}

static Storage place_inside(Place *p, ValueId outer, int axis, Dim at) {
  Storage st = value_of(p->m, outer)->at;
  st.offset = dim_add(st.offset, dim_mul(at, st.stride[axis]));
  return st;
}

static bool view_strides(Place *p, const Node *n, Storage *st);
static bool reshape_strides(const Value *from, Type *to, Storage *st);

static bool same_place(const Value *v, const Storage *a, const Storage *b) {
  bool same = dim_eq(a->offset, b->offset);
  for (int k = 0; same && k < v->type.rank; k++) same = dim_is(v->type.dims[k], 1) || dim_eq(a->stride[k], b->stride[k]);
  return same;
}

/* v into the place `at`: itself, or, if it is a view, what it is a view of, with the strides that make v lie there, if
 * vectors stay vectors. */
static bool place_at(Place *p, Graph *g, ValueId v, const Storage *at) {
  if (placeable(p, g, v)) {
    value_of(p->m, v)->at = *at;
    return true;
  }
  const Node *n = def_of(p, v);
  if (!n || n->graph != g || n->group || (n->op != OP_RESHAPE && n->op != OP_TRANSPOSE)) return false;
  Value *val = value_of(p->m, v), *from = value_of(p->m, n->in[0]);
  bool known = (int)n->in[0] < p->n && (int)v < p->n;
  if (!known || val->at.base || from->at.base || p->is_output[v] || p->last[n->in[0]]) return false;
  Storage back = *at, forth;
  Value there = *val;
  there.at = *at;
  if (n->op == OP_RESHAPE && !reshape_strides(&there, &from->type, &back)) return false;
  const Attr *perm = node_dims(n, "perm");
  for (int k = 0; n->op == OP_TRANSPOSE && k < perm->n; k++) back.stride[perm->dims[k].k] = at->stride[k];
  int inner = from->type.rank - 1;
  if (inner < 0 || !dim_is(back.stride[inner], 1)) return false;
  from->at = back;
  bool lies_there = view_strides(p, n, &forth) && same_place(val, &forth, at);
  from->at = (Storage){0};
  return lies_there && place_at(p, g, n->in[0], &back);
}

static void place_concat(Place *p, Graph *g, NodeId id) {
  int axis = (int)node_int(node_of(p->m, id), "axis", 0), nin = node_of(p->m, id)->nin;
  ValueId out = node_of(p->m, id)->out[0];
  Dim at = DIM(0);
  for (int k = 0; k < nin; k++) {
    ValueId v = node_of(p->m, id)->in[k];
    Dim size = value_of(p->m, v)->type.dims[axis];
    Storage to = place_inside(p, out, axis, at);
    if (!dim_is(size, 0) && !place_at(p, g, v, &to)) {
      v = insert_copy(p, g, id, v);
      node_of(p->m, id)->in[k] = v;
      value_of(p->m, v)->at = to;
    }
    at = dim_add(at, size);
  }
}

static void place_pad(Place *p, Graph *g, NodeId id) {
  Node *n = node_of(p->m, id);
  ValueId out = n->out[0], v = n->in[0];
  const Attr *before = node_dims(n, "before");
  if (!placeable(p, g, v)) {
    v = insert_copy(p, g, id, v);
    node_of(p->m, id)->in[0] = v;
  }
  Value *in = value_of(p->m, v);
  in->at = value_of(p->m, out)->at;
  for (int k = 0; k < before->n; k++)
    in->at.offset = dim_add(in->at.offset, dim_mul(before->dims[k], in->at.stride[k]));
}

/* A pad whose border alone needs writing: constant, growing on every side, by a scalar known outside. */
static bool pads_in_place(const Node *n) {
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
    if ((n->op == OP_CONCAT && !n->group) || pads_in_place(n)) {     // one in a group is read where its parts lie
      if (!value_of(p->m, n->out[0])->at.base) own_storage(p, n->out[0]);
      if (n->op == OP_CONCAT) place_concat(p, g, id);
      else place_pad(p, g, id);
    }
  }
}

/* ---- 3. views ---- */

/* Strides for `to` over storage of `from`; false when a merged axis is not contiguous. As numpy's reshape
 * without copying: both shapes are cut into runs of equal product; a run of old axes must be contiguous. */
static bool reshape_strides(const Value *from, Type *to, Storage *st) {
  int a = 0, b = 0, na = from->type.rank, nb = to->rank;
  const Dim *x = from->type.dims, *y = to->dims;
  while (a < na || b < nb) {
    int a0 = a, b0 = b;
    Dim px = DIM(1), py = DIM(1), q;
    if (a < na) px = x[a++];
    if (b < nb) py = y[b++];
    while (!dim_eq(px, py)) {                                  // take from the side that divides the other
      if (b < nb && dim_divisible(px, py, &q) && !dim_is(px, 1)) py = dim_mul(py, y[b++]);
      else if (a < na) px = dim_mul(px, x[a++]);
      else if (b < nb) py = dim_mul(py, y[b++]);
      else return false;
    }
    while (a < na && dim_is(x[a], 1)) a++;
    while (b < nb && dim_is(y[b], 1)) b++;
    Dim inner = DIM(0), next = DIM(0);
    bool have = false;
    for (int k = a - 1; k >= a0; k--) {
      if (dim_is(x[k], 1)) continue;
      if (!have) { inner = from->at.stride[k]; have = true; }
      else if (!dim_eq(from->at.stride[k], next)) return false;
      next = dim_mul(from->at.stride[k], x[k]);
    }
    Dim s = have ? inner : DIM(0);
    for (int k = b - 1; k >= b0; k--) {
      st->stride[k] = s;
      s = dim_mul(s, y[k]);
    }
  }
  return true;
}

static bool view_strides(Place *p, const Node *n, Storage *st) {
  const Value *x = value_of(p->m, n->in[0]);
  Type *y = &value_of(p->m, n->out[0])->type;
  *st = x->at;
  if (n->op == OP_RESHAPE) return reshape_strides(x, y, st);
  if (n->op == OP_TRANSPOSE) {
    const Attr *perm = node_dims(n, "perm");
    for (int k = 0; k < perm->n; k++) st->stride[k] = x->at.stride[perm->dims[k].k];
    return true;
  }
  if (n->op == OP_EXPAND) {
    for (int k = 0; k < y->rank; k++) {
      int from = k - (y->rank - x->type.rank);
      bool one = from < 0 || (dim_is(x->type.dims[from], 1) && !dim_is(y->dims[k], 1));
      st->stride[k] = one ? DIM(0) : x->at.stride[from];
    }
    return true;
  }
  const Attr *starts = node_dims(n, "starts"), *steps = node_dims(n, "steps");
  for (int k = 0; k < y->rank; k++) {
    st->offset = dim_add(st->offset, dim_mul(starts->dims[k], x->at.stride[k]));
    st->stride[k] = dim_mul(x->at.stride[k], steps->dims[k]);
  }
  return true;
}

/* Does anything outside read v from memory through this view? Views of values that are evaluated in place
 * (iota, dims) stay views. */
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
    bool strided = n->op == OP_RESHAPE || n->op == OP_TRANSPOSE || n->op == OP_SLICE || n->op == OP_EXPAND;
    if (strided && !n->group && in_memory(p, n->in[0])) {
      Storage st;
      if (view_strides(p, n, &st)) value_of(p->m, n->out[0])->at = st;
      else {
        fusion_new_map(p->f, id);
        own_storage(p, n->out[0]);
      }
    }
    if (op_info[n->op].how == HOW_CALL)                        // C functions take dense row-major arrays
      for (int q = 0; q < n->nin; q++) {
        ValueId v = node_of(p->m, id)->in[q];
        if (!v || (in_memory(p, v) && storage_is_row_major(p->m, v) && dim_is(value_of(p->m, v)->at.offset, 0))) continue;
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
    const Node *d = def_of(p, v);
    bool twice = false;
    for (int q = 0; q < k; q++) twice |= g->outputs.at[q] == v;
    bool computed = d && !d->nregion && (d->group || d->op == OP_CONCAT || pads_in_place(d));
    if (computed && !twice) continue;
    g->outputs.at[k] = insert_copy(p, g, 0, v);
    for (int q = 0; q < p->m->state.len; q++)
      if (p->m->state.at[q].next == v) p->m->state.at[q].next = g->outputs.at[k];
    if (d || value_of(p->m, v)->constant) graph_swap_names(p->m, v, g->outputs.at[k]);   // the caller knows both by name
  }
}

void storage_assign(Fusion *f, bool channels_last) {
  Module *m = f->m;
  int slack = m->values.len + 8 * m->nodes.len + 64;           // copies add values
  Place p = {.f = f, .m = m, .last = NEW_N(f->arena, bool, slack), .is_output = NEW_N(f->arena, bool, slack), .turned = NEW_N(f->arena, NodeId, slack), .n = slack};
  outputs(&p);
  for (int k = 0; k < m->main->outputs.len; k++) p.is_output[m->main->outputs.at[k]] = true;
  if (channels_last) {
    find_turned(&p);
    layout_graph(&p, m->main);
  }
  for (int v = 1; v < m->values.len; v++) {
    m->values.at[v].at = (Storage){0};
    if (m->values.at[v].constant || !m->values.at[v].def) own_storage(&p, (ValueId)v);
  }
  for (int k = 0; k < m->nodes.len; k++)                       // pads that only fill their border are kernels of their own
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
