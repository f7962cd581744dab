/* layout: the order of axes of every value that lies in memory, the cheapest for all kernels together.
 *
 * Each value has two orders to choose from: label 0, row-major; label 1, channels last ([N, spatial…, C]), or the order
 * of a transpose that alone reads it, or what the operand that it follows has. A view has no choice of its own: it lies
 * as its operand does; but a reshape that strides cannot say with some label is a copy with that label, and may also be
 * one where that makes what follows cheaper. The costs (layout_cost.c) are of single values (what a convolution or a
 * product reads) and of pairs (a map reads as it writes; a copy has both sides), so the cheapest labels are a minimum
 * cut (cut.c).
 *
 * Row-major always: inputs, outputs and constants; what C functions write; what crosses into or out of a region.
 * Storage may then still put a value elsewhere (into a concat, a pad), so orders predicted here can be wrong: that
 * costs time, never correctness. */
#include "passes/layout_impl.h"

static const double FORCED = 1e12;

Layout fusion_layout(const Fusion *f, ValueId v) {
  return (int)v < f->nlayout ? f->layout[v] : (Layout){order_row_major(MAX_RANK), false};
}

static const Type *type_at(const Layouts *s, ValueId v) { return &value_of(s->m, v)->type; }

static Node *def_of(const Layouts *s, ValueId v) {
  return value_of(s->m, v)->def ? node_of(s->m, value_of(s->m, v)->def) : NULL;
}

/* ---- which orders ---- */

static void set_fixed(Layouts *s, ValueId v, Storage at) { s->of[v] = (Sides){true, -1, {at, at}}; }

static void set_row_major(Layouts *s, ValueId v) {
  AxisOrder order = order_row_major(MAX_RANK);
  set_fixed(s, v, strides_dense(type_at(s, v), &order));
}

static void set_choice(Layouts *s, ValueId v, Storage zero, Storage one) {
  s->of[v] = (Sides){true, s->cut.n++, {zero, one}};
}

/* The order that is not row-major of x, if it has one: what a view makes of a row-major operand before what might
 * be. */
static bool other_order(const Layouts *s, ValueId x, AxisOrder *order) {
  if (!s->of[x].known) return false;
  for (int l = 0; l < 2; l++) {
    *order = order_of_strides(type_at(s, x), &s->of[x].at[l]);
    if (!order_is_row_major(type_at(s, x), order)) return true;
  }
  return false;
}

/* That of an operand which n goes through element by element, or window by window. */
static bool followed_order(const Layouts *s, const Node *n, AxisOrder *order) {
  const Type *y = type_at(s, n->out[0]);
  bool all = op_has(n->op, ELEMENTWISE);
  for (int k = 0; k < (all || n->op == OP_CONCAT ? n->nin : n->nin > 0); k++)
    if (n->in[k] && type_at(s, n->in[k])->rank == y->rank && (!all || type_same_shape(type_at(s, n->in[k]), y)) &&
        other_order(s, n->in[k], order))
      return true;
  return false;
}

/* Label 1 of what n computes first. */
static bool second_order(Layouts *s, const Node *n, NodeId turned, AxisOrder *order) {
  ValueId v = n->out[0];
  const Type *t = type_at(s, v);
  const Group *g = n->group ? &s->f->groups.at[n->group] : NULL;
  const Node *root = g && g->root ? node_of(s->m, g->root) : NULL;
  if (t->rank < 3 || s->p.is_output[v] || n->nout != 1 || (root && op_info[root->op].how == HOW_CALL)) return false;
  if (root && root->op == OP_CONV_GRAD_WEIGHT) return false;    // its reader is an optimizer, beside the state
  *order = order_channels_last(t->rank);
  if (root && op_has(root->op, CHANNELS_LAST)) return true;
  if (n->op != OP_MATMUL && followed_order(s, n, order)) return true;
  if (turned) {
    const Attr *perm = node_dims(node_of(s->m, turned), "perm");
    for (int k = 0; k < perm->n; k++) order->axis[k] = (int8_t)perm->dims[k].k;
    return true;
  }
  *order = order_channels_last(t->rank);
  return t->rank <= 5;
}

/* A view lies where its operand does, but what strides cannot say. */
static void set_view(Layouts *s, const Node *n) {
  ValueId x = n->in[0], y = n->out[0];
  if (!s->of[x].known) return;
  const Type *t = type_at(s, y);
  Storage at[2];
  bool said[2];
  AxisOrder other = order_channels_last(t->rank), rows = order_row_major(t->rank);
  for (int l = 0; l < 2; l++) said[l] = strides_of_view(s->m, n, &s->of[x].at[l], &at[l]);
  if (said[0] && said[1]) {
    s->of[y] = (Sides){true, s->of[x].thing, {at[0], at[1]}};
    return;
  }
  if (t->rank < 3 || t->rank > 5) other = rows;
  int l = said[1];                                              // the label that is said, or 0
  if (!said[0] && !said[1]) at[0] = strides_dense(t, &rows);
  AxisOrder first = order_of_strides(t, &at[l]);
  at[1 - l] = strides_dense(t, order_is_row_major(t, &first) ? &other : &rows);
  set_choice(s, y, at[0], at[1]);
}

static void set_node(Layouts *s, const Node *n, NodeId turned) {
  if (n->nregion) {
    for (int k = 0; k < n->nout; k++) if (n->out[k]) set_row_major(s, n->out[k]);
    return;
  }
  if (op_has(n->op, STRIDED_VIEW) && !n->group) { set_view(s, n); return; }
  bool placed = !n->group && (n->op == OP_CONCAT || n->op == OP_PAD);
  for (int k = 0; k < n->nout; k++) {
    ValueId v = n->out[k];
    if (!v || s->of[v].known || !(placed || value_is_stored(s->f, v) || s->p.is_output[v])) continue;
    AxisOrder order;
    set_row_major(s, v);
    if (k || !second_order(s, n, turned, &order)) continue;
    set_choice(s, v, s->of[v].at[0], strides_dense(type_at(s, v), &order));
  }
}

/* Of each value the transpose that alone reads it, or 0. Kernels write with any strides, C functions do not; and what a
 * region reads has users that are not looked at here. */
static NodeId *find_turned(Layouts *s) {
  NodeId *turned = NEW_N(s->f->arena, NodeId, s->m->values.len);
  int *users = NEW_N(s->f->arena, int, s->m->values.len);
  for (int k = 0; k < s->m->nodes.len; k++) {
    const Node *n = &s->m->nodes.at[k];
    for (int i = 0; i < n->nin && !n->dead; i++) {
      ValueId v = n->in[i];
      const Node *d = v ? def_of(s, v) : NULL;
      if (!d || users[v]++) { if (v) turned[v] = 0; continue; }
      const Attr *perm = n->op == OP_TRANSPOSE && n->graph == d->graph ? node_dims(n, "perm") : NULL;
      bool writes = d->group && d->out[0] == v && !d->nregion;
      if (perm && writes && perm->dims[perm->n - 1].k == perm->n - 1) turned[v] = (NodeId)k;
    }
  }
  return turned;
}

static void set_graph(Layouts *s, Graph *g, const NodeId *turned) {
  for (int k = 0; k < g->inputs.len; k++) set_row_major(s, g->inputs.at[k]);
  for (int k = 0; k < g->nodes.len; k++) {
    const Node *n = node_of(s->m, g->nodes.at[k]);
    for (int i = 0; i < n->nin; i++)
      if (n->in[i] && value_of(s->m, n->in[i])->constant && !s->of[n->in[i]].known) set_row_major(s, n->in[i]);
    set_node(s, n, n->nout ? turned[n->out[0]] : 0);
    for (int r = 0; r < n->nregion; r++) set_graph(s, n->region[r], turned);
  }
}

/* Results that are views are written where the caller wants them, if that can be. */
static void set_outputs(Layouts *s) {
  for (int k = 0; k < s->m->main->outputs.len; k++) {
    ValueId v = s->m->main->outputs.at[k];
    if (!output_is_view(s->m, k)) continue;
    AxisOrder order = order_row_major(MAX_RANK);
    Storage at = strides_dense(type_at(s, v), &order), before;
    for (const Node *n; !placeable(&s->p, s->m->main, v); at = before, v = n->in[0]) {
      n = def_of(s, v);
      if (!n || n->group || !op_has(n->op, STRIDED_VIEW) || !strides_before_view(s->m, n, &at, &before)) break;
    }
    if (placeable(&s->p, s->m->main, v) && !s->of[v].known) set_fixed(s, v, at);
  }
}

/* ---- what conversions cost ---- */

typedef struct Move { ValueId x, y; const Node *view; bool placed; } Move;

static bool same_order(const Layouts *s, ValueId v, const Storage *a, const Storage *b) {
  AxisOrder x = order_of_strides(type_at(s, v), a), y = order_of_strides(type_at(s, v), b);
  return order_same(type_at(s, v), &x, &y);
}

/* The operand of a reshape along whose axis a step along the result's goes; -1: none. */
static int axis_through(const Type *x, const Type *y, int axis) {
  int head = 0, tail = 0;
  while (head < x->rank && head < y->rank && dim_eq(x->dims[head], y->dims[head])) head++;
  while (tail < x->rank - head && tail < y->rank - head &&
         dim_eq(x->dims[x->rank - 1 - tail], y->dims[y->rank - 1 - tail]))
    tail++;
  if (axis < head) return axis;
  if (axis >= y->rank - tail) return axis + x->rank - y->rank;
  return axis == y->rank - 1 - tail ? x->rank - 1 - tail : -1;
}

/* y, a view, is a kernel that reads x, unless it already lies as x makes it. */
static double view_cost(const Layouts *s, const void *ctx, const Storage *x, const Storage *y) {
  const Move *m = ctx;
  Storage at;
  if (strides_of_view(s->m, m->view, x, &at) && same_order(s, m->y, &at, y)) return 0;
  int axis = layout_innermost(type_at(s, m->y), y);
  int from = m->view->op == OP_RESHAPE && axis >= 0 ? axis_through(type_at(s, m->x), type_at(s, m->y), axis) : -1;
  return layout_walk(s, m->x, x, from) + layout_walk(s, m->y, y, axis);
}

/* x lies inside y: by its producer, or by a copy. */
static double place_cost(const Layouts *s, const void *ctx, const Storage *x, const Storage *y) {
  const Move *m = ctx;
  if (m->placed) return same_order(s, m->x, x, y) ? 0 : FORCED;
  int axis = layout_innermost(type_at(s, m->x), y);
  return layout_walk(s, m->x, x, axis) + layout_walk(s, m->x, y, axis);
}

static void convert_row_major(Layouts *s, ValueId v) {
  if (!v || !s->of[v].known) return;
  Move m = {v, v, NULL, false};
  ValueId rows = (ValueId)s->m->values.len;                     // a copy that lies row-major
  AxisOrder order = order_row_major(MAX_RANK);
  set_fixed(s, rows, strides_dense(type_at(s, v), &order));
  layout_add_pair(s, v, rows, place_cost, &m);
}

static void cost_graph(Layouts *s, Graph *g) {
  for (int k = 0; k < g->nodes.len; k++) {
    const Node *n = node_of(s->m, g->nodes.at[k]);
    for (int r = 0; r < n->nregion; r++) cost_graph(s, n->region[r]);
    for (int i = 0; i < n->nin && n->nregion; i++) convert_row_major(s, n->in[i]);
    if (n->group || n->nregion) continue;
    ValueId y = n->out[0];
    if (op_has(n->op, STRIDED_VIEW) && s->of[y].known && s->of[y].thing != s->of[n->in[0]].thing)
      layout_add_pair(s, n->in[0], y, view_cost, &(Move){n->in[0], y, n, false});
    if (n->op != OP_CONCAT && n->op != OP_PAD) continue;
    for (int i = 0; i < (n->op == OP_PAD ? 1 : n->nin); i++)
      layout_add_pair(s, n->in[i], y, place_cost, &(Move){n->in[i], y, n, placeable(&s->p, g, n->in[i])});
  }
  for (int k = 0; k < g->outputs.len; k++) convert_row_major(s, g->outputs.at[k]);
}

/* ---- entry ---- */

static void take(Layouts *s, const bool *label) {
  Fusion *f = s->f;
  f->nlayout = s->m->values.len;
  f->layout = NEW_N(f->arena, Layout, f->nlayout);
  for (int v = 0; v < f->nlayout; v++) {
    const Sides *x = &s->of[v];
    int l = x->known && x->thing >= 0 && label[x->thing];
    f->layout[v].order = x->known ? order_of_strides(type_at(s, (ValueId)v), &x->at[l]) : order_row_major(MAX_RANK);
    const Node *n = x->known ? def_of(s, (ValueId)v) : NULL;
    if (!n || n->group || n->op != OP_RESHAPE || x->thing == s->of[n->in[0]].thing) continue;
    const Sides *from = &s->of[n->in[0]];
    int of = from->thing >= 0 && label[from->thing];
    f->layout[v].copied = view_cost(s, &(Move){n->in[0], (ValueId)v, n, false}, &from->at[of], &x->at[l]) > 0;
  }
}

void layout_choose(Fusion *f, const Target *t) {
  Module *m = f->m;
  int n = m->values.len + 1;
  Layouts s = {.f = f, .m = m, .target = t, .of = NEW_N(f->arena, Sides, n), .cut = cut_new(f->arena, n)};
  if (t->lanes == 1) return;                                    // plain nests: they were written for row-major
  s.p = (Place){.f = f, .m = m, .is_output = NEW_N(f->arena, bool, n), .n = n};
  s.cut.n = 0;
  for (int k = 0; k < n; k++) s.of[k].thing = -1;
  for (int k = 0; k < m->values.len; k++) m->values.at[k].at = (Storage){0};
  for (int k = 0; k < m->main->outputs.len; k++) s.p.is_output[m->main->outputs.at[k]] = true;
  set_outputs(&s);
  set_graph(&s, m->main, find_turned(&s));
  for (int k = 1; k < f->groups.len; k++) if (!f->groups.at[k].dead) layout_group_cost(&s, &f->groups.at[k]);
  cost_graph(&s, m->main);
  bool *label = NEW_N(f->arena, bool, s.cut.n + 1);
  cut_minimise(&s.cut, label);
  take(&s, label);
}
