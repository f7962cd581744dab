/* If, Loop, Scan -> the canonical rows with regions.
 *
 * A region's inputs need types before its body can be imported. They are what the node passes in; where the body
 * gives a carried value back with another size, that dim becomes a symbol of its own and the body is imported
 * again. The dims grow by a known step per trip or not at all: a bounded number of trips then bounds them. */
#include "frontend/calc.h"

static bool attach(Import *x, NodeId n, Graph *const *region, int count) {
  Node *nd = node_of(x->m, n);
  nd->region = arena_dup(&x->m->perm, region, (size_t)count * sizeof *region);
  nd->nregion = count;
  for (int k = 0; k < count; k++) region[k]->owner = n;
  return infer_node(x->m, n);
}

static bool set_outputs(Import *x, NodeId n) {
  for (int k = 0; k < x->nout; k++)
    if (!calc_set(x, k, node_of(x->m, n)->out[k])) return false;
  return true;
}

/* ---- If */

bool import_if(Import *x) {
  if (!calc_needs(x, 1)) return false;
  const Tensor *cond = imp_constant(x, 0);
  if (cond && cond->data && tensor_count(cond) == 1)     /* decided already: only that branch is there */
    return imp_inline(x, tensor_get(cond, 0) != 0 ? "then_branch" : "else_branch");
  Graph *region[] = { imp_graph(x, "then_branch"), imp_graph(x, "else_branch") };
  if (!region[0] || !region[1]) return false;
  NodeId n = graph_add_node(x->g, OP_IF, x->in, 1, region[0]->outputs.len, NULL, 0);
  return attach(x, n, region, 2) && set_outputs(x, n);
}

/* ---- carried values */

static void forget(Import *x, Graph *g) {
  for (int i = 0; i < g->nodes.len; i++) graph_remove_node(x->m, g->nodes.at[i]);
  g->nodes.len = 0;
}

/* Makes in[i] fit what the body gives back in after[i]. True when something had to change. `trips`: upper bound, or < 0. */
static bool loosen(Type *in, const Type *after, int n, int64_t trips) {
  bool changed = false;
  for (int k = 0; k < n; k++) {
    if (in[k].rank != after[k].rank) continue;           /* an error that inference reports */
    for (int d = 0; d < in[k].rank; d++) {
      Dim a = in[k].dims[d], b = after[k].dims[d], grow = dim_sub(b, a);
      if (dim_eq(a, b) || (!dim_is_const(a) && a.k == 0 && symbol_find(dim_text(a)))) continue;
      int64_t hi = INT32_MAX, first = dim_hi(a);
      if (dim_is_const(grow) && grow.k <= 0) hi = first;
      else if (dim_is_const(grow) && trips >= 0 && trips < INT32_MAX / grow.k) hi = first + trips * grow.k;
      in[k].dims[d] = dim_fresh_symbol("carried", 0, hi);
      changed = true;
    }
  }
  return changed;
}

/* Imports the body with input types `in`; carried inputs [first, first + n) come back as outputs [back, back + n). */
static Graph *body_import(Import *x, Type *in, int nin, int first, int n, int back, int64_t trips) {
  Type *after = NEW_N(&x->m->perm, Type, n + 1);
  for (int pass = 0; pass < 4; pass++) {
    Graph *g = imp_graph_typed(x, "body", in, nin);
    if (!g) return NULL;
    if (g->inputs.len < nin || g->outputs.len < back + n) return g;      /* inference says what is wrong */
    for (int k = 0; k < n; k++) after[k] = *calc_type(x, g->outputs.at[back + k]);
    if (!loosen(in + first, after, n, trips)) return g;
    forget(x, g);
  }
  imp_fail(x, "unsupported", "a carried value has a shape that changes with every iteration");
  return NULL;
}

/* ---- Loop */

bool import_loop(Import *x) {
  int carried = x->nin > 2 ? x->nin - 2 : 0;
  Type *in = NEW_N(&x->m->perm, Type, carried + 2);
  in[0] = type_of(DT_I64, 0, NULL);
  in[1] = type_of(DT_BOOL, 0, NULL);
  for (int k = 0; k < carried; k++) {
    if (!imp_present(x, k + 2)) return imp_fail(x, "parse", "carried value %d is missing", k);
    in[k + 2] = *imp_type(x, k + 2);
  }
  ValueId *v = NEW_N(&x->m->perm, ValueId, carried + 2);
  for (int k = 0; k < x->nin; k++) v[k] = x->in[k];
  const Dim *count = v[0] ? value_of(x->m, v[0])->content : NULL;
  Graph *g = body_import(x, in, carried + 2, 2, carried, 1, count ? dim_hi(*count) : -1);
  if (!g) return false;
  int nout = g->outputs.len - 1;
  NodeId n = graph_add_node(x->g, OP_LOOP, v, carried + 2, nout > 0 ? nout : 0, NULL, 0);
  return attach(x, n, &g, 1) && set_outputs(x, n);
}

/* ---- Scan */

typedef struct ScanAxes { Dim *in_axes, *in_reverse, *out_axes, *out_reverse; int slices, states; } ScanAxes;

static const int64_t *flags(Import *x, const char *name, int n) {
  const int64_t *v;
  int have = imp_ints(x, name, &v);
  if (have && have < n) imp_fail(x, "shape", "attribute '%s' has %d numbers, %d are needed", name, have, n);
  return have >= n ? v : NULL;
}

/* The node and its region: inputs states, then scanned values. Outputs in node_of(…)->out; 0 after an error. */
static NodeId scan_node(Import *x, const ValueId *v, int nin, Graph *g, const ScanAxes *s) {
  int scans = g->outputs.len - s->states;
  if (scans < 0) { imp_fail(x, "shape", "the body gives %d values for %d states", g->outputs.len, s->states); return 0; }
  Attr a[] = { attr_int("scan_inputs", s->slices), attr_dims(x->m, "in_axes", s->in_axes, s->slices),
               attr_dims(x->m, "in_reverse", s->in_reverse, s->slices), attr_dims(x->m, "out_axes", s->out_axes, scans),
               attr_dims(x->m, "out_reverse", s->out_reverse, scans) };
  NodeId n = graph_add_node(x->g, OP_SCAN, v, nin, g->outputs.len, a, 5);
  return attach(x, n, &g, 1) ? n : 0;
}

static Type slice_type(Type t, int axis) {
  for (int i = axis; i + 1 < t.rank; i++) t.dims[i] = t.dims[i + 1];
  t.rank--;
  return t;
}

/* Axes and directions of the node's scan inputs; `in` becomes what one trip of the body sees. */
static bool scan_inputs(Import *x, ScanAxes *s, Type *in, int skip) {
  const int64_t *axes = flags(x, "scan_input_axes", s->slices);
  const int64_t *reverse = flags(x, skip ? "directions" : "scan_input_directions", s->slices);
  s->in_axes = NEW_N(&x->m->perm, Dim, s->slices + 1);
  s->in_reverse = NEW_N(&x->m->perm, Dim, s->slices + 1);
  for (int k = 0; k < s->slices; k++) {
    Type *t = &in[s->states + k];
    int axis = imp_axis(x, axes ? axes[k] : 0, t->rank);
    if (axis < 0) return false;
    s->in_axes[k] = DIM(axis);
    s->in_reverse[k] = DIM(reverse && reverse[k]);
    *t = slice_type(*t, axis);
  }
  return true;
}

static bool scan_outputs(Import *x, ScanAxes *s, const Graph *g) {
  int scans = g->outputs.len - s->states;
  if (scans < 0) return true;                            /* scan_node says so */
  const int64_t *axes = flags(x, "scan_output_axes", scans), *reverse = flags(x, "scan_output_directions", scans);
  s->out_axes = NEW_N(&x->m->perm, Dim, scans + 1);
  s->out_reverse = NEW_N(&x->m->perm, Dim, scans + 1);
  for (int k = 0; k < scans; k++) {
    int axis = imp_axis(x, axes ? axes[k] : 0, calc_rank(x, g->outputs.at[s->states + k]) + 1);
    if (axis < 0) return false;
    s->out_axes[k] = DIM(axis);
    s->out_reverse[k] = DIM(reverse && reverse[k]);
  }
  return true;
}

bool import_scan_9(Import *x) {
  ScanAxes s = { .slices = (int)imp_int(x, "num_scan_inputs", 0) };
  s.states = x->nin - s.slices;
  if (s.slices < 1 || s.states < 0) return imp_fail(x, "shape", "num_scan_inputs=%d with %d inputs", s.slices, x->nin);
  Type *in = NEW_N(&x->m->perm, Type, x->nin);
  for (int k = 0; k < x->nin; k++) {
    if (!imp_present(x, k)) return imp_fail(x, "parse", "input %d is missing", k);
    in[k] = *imp_type(x, k);
  }
  if (!scan_inputs(x, &s, in, 0)) return false;
  Graph *g = body_import(x, in, x->nin, 0, s.states, 0, -1);
  if (!g || !scan_outputs(x, &s, g)) return false;
  NodeId n = scan_node(x, x->in, x->nin, g, &s);
  return n && set_outputs(x, n);
}

/* Version 8 has a batch axis in front of everything: a scan over the batch whose body is the scan over the sequence. */
bool import_scan_8(Import *x) {
  if (imp_present(x, 0)) return imp_fail(x, "unsupported", "sequence_lens of Scan-8; scan sequences of one length");
  ScanAxes inner = { .slices = (int)imp_int(x, "num_scan_inputs", 0) }, outer = { .slices = x->nin - 1 };
  int nin = x->nin - 1;
  inner.states = nin - inner.slices;
  if (inner.slices < 1 || inner.states < 0) return imp_fail(x, "shape", "num_scan_inputs=%d with %d inputs", inner.slices, nin);
  Type *in = NEW_N(&x->m->perm, Type, nin);
  ValueId *v = NEW_N(&x->m->perm, ValueId, nin);
  Graph *batch = graph_new(x->m, "batch", 0), *around = x->g;
  for (int k = 0; k < nin; k++) {
    if (!imp_present(x, k + 1) || imp_rank(x, k + 1) < 1) return imp_fail(x, "parse", "input %d is missing", k + 1);
    in[k] = slice_type(*imp_type(x, k + 1), 0);
    v[k] = graph_add_input(batch, NULL, in[k]);
  }
  if (!scan_inputs(x, &inner, in, 1)) return false;
  Graph *g = body_import(x, in, nin, 0, inner.states, 0, -1);
  if (!g || !scan_outputs(x, &inner, g)) return false;
  x->g = batch;
  NodeId n = scan_node(x, v, nin, g, &inner);
  x->g = around;
  if (!n) return false;
  for (int k = 0; k < g->outputs.len; k++) *vec_push(&x->m->perm, &batch->outputs) = node_of(x->m, n)->out[k];
  outer.in_axes = outer.in_reverse = NEW_N(&x->m->perm, Dim, nin + 1);
  outer.out_axes = outer.out_reverse = NEW_N(&x->m->perm, Dim, batch->outputs.len + 1);
  n = scan_node(x, x->in + 1, nin, batch, &outer);
  return n && set_outputs(x, n);
}
