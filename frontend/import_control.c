/* If, Loop, Scan -> the canonical rows with regions.
 *
 * A region's inputs need types before its body can be imported. They are what the node passes in; where the body
 * gives a carried value back with another size, that dim becomes a symbol of its own and the body is imported
 * again. The dims grow by a known step per trip or not at all: a bounded number of trips then bounds them. */
#include <string.h>
#include "frontend/calc.h"

/* The node with its regions; its outputs become x's. */
static bool control_node(Import *x, Op op, const ValueId *in, int nin, const Attr *a, int na, Graph *const *region,
                         int nregion, int nout) {
  ValueId *out = NEW_N(&x->m->perm, ValueId, nout + 1);
  if (!calc_regions(x, op, in, nin, a, na, region, nregion, out, nout)) return false;
  for (int k = 0; k < x->nout && k < nout; k++) calc_set(x, k, out[k]);
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
  const char *form = imp_region_form(x, region[0]);
  if (strcmp(form, imp_region_form(x, region[1])))
    return imp_fail(x, "unsupported",
                    "its branches give lists of different lengths; the condition must be known when compiling");
  int nout = region[0]->outputs.len;
  ValueId *out = NEW_N(&x->m->perm, ValueId, nout + 1);
  return calc_regions(x, OP_IF, x->in, 1, NULL, 0, region, 2, out, nout) && imp_set_flat(x, form, out);
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

enum { UNROLL_MOST = 64 };

/* Trips that are known when compiling: the body that many times, one after the other. For loops that carry lists,
 * or whose body needs the iteration number for shapes. *known: it is such a loop. */
static bool unrolled(Import *x, bool *known) {
  int carried = x->nin > 2 ? x->nin - 2 : 0, scans = x->nout - carried, trips = 0;
  const Tensor *count = imp_constant(x, 0), *cond = imp_constant(x, 1);
  *known = (!imp_present(x, 0) || count) && (!imp_present(x, 1) || cond) && scans >= 0 && (count || cond);
  int64_t most = count ? tensor_get_int(count, 0) : UNROLL_MOST;
  if (most > UNROLL_MOST) *known = false;
  if (!*known) return false;
  ValueId *in = NEW_N(&x->m->perm, ValueId, carried + 2), *out = NEW_N(&x->m->perm, ValueId, x->nout + 1);
  ValueId *scanned = NEW_N(&x->m->perm, ValueId, (scans + 1) * (UNROLL_MOST + 1));
  for (int k = 0; k < carried; k++) in[k + 2] = x->in[k + 2];
  bool going = !cond || tensor_get_int(cond, 0);
  for (; going && trips < most; trips++) {
    in[0] = imp_scalar(x, DT_I64, trips);
    in[1] = imp_scalar(x, DT_BOOL, 1);
    if (!imp_inline_with(x, "body", in, carried + 2, out, x->nout + 1)) return false;
    const Tensor *again = value_of(x->m, out[0])->constant;
    if (!again) return imp_fail(x, "unsupported", "whether it goes on exists only at run time");
    going = tensor_get_int(again, 0) != 0;
    for (int k = 0; k < carried; k++) in[k + 2] = out[k + 1];
    for (int k = 0; k < scans; k++) scanned[k * UNROLL_MOST + trips] = calc_unsqueeze(x, out[1 + carried + k], 0);
  }
  if (going && !count) return imp_fail(x, "unsupported", "goes on for more than %d iterations", UNROLL_MOST);
  if (!trips && scans) return imp_fail(x, "unsupported", "never runs, so its scanned outputs have no shape");
  for (int k = 0; k < carried; k++) imp_set(x, k, in[k + 2]);
  for (int k = 0; k < scans; k++) imp_set(x, carried + k, calc_concat(x, 0, scanned + k * UNROLL_MOST, trips));
  return !x->failed;
}

bool import_loop(Import *x) {
  int carried = x->nin > 2 ? x->nin - 2 : 0;
  Type *in = NEW_N(&x->m->perm, Type, carried + 2);
  in[0] = type_of(DT_I64, 0, NULL);
  in[1] = type_of(DT_BOOL, 0, NULL);
  for (int k = 0; k < carried; k++) {
    if (!imp_present(x, k + 2)) return imp_fail(x, "parse", "carried value %d is missing", k);
    in[k + 2] = *imp_type(x, k + 2);
  }
  bool lists = false, known;
  for (int k = 0; k < carried; k++) lists |= in[k + 2].kind != KIND_TENSOR;
  if (lists) {
    bool ok = unrolled(x, &known);
    return known ? ok
                 : imp_fail(x, "unsupported",
                            "carries a sequence or optional, but how often it runs exists only at run time");
  }
  ValueId *v = NEW_N(&x->m->perm, ValueId, carried + 2);
  for (int k = 0; k < x->nin; k++) v[k] = x->in[k];
  const Dim *count = v[0] ? value_of(x->m, v[0])->content : NULL;
  int messages = x->m->diags->len, errors = x->m->diags->errors;
  Graph *g = body_import(x, in, carried + 2, 2, carried, 1, count ? dim_hi(*count) : -1);
  if (!g) {                                              /* once more with the iteration number as a constant */
    Diags failed = *x->m->diags;
    x->m->diags->len = messages, x->m->diags->errors = errors, x->failed = false;
    bool ok = unrolled(x, &known);
    if (!known) x->m->diags->len = failed.len, x->m->diags->errors = failed.errors;
    return known && ok;
  }
  int nout = g->outputs.len - 1;
  return control_node(x, OP_LOOP, v, carried + 2, NULL, 0, &g, 1, nout > 0 ? nout : 0);
}

/* ---- Scan */

typedef struct ScanAxes { Dim *in_axes, *in_reverse, *out_axes, *out_reverse; int slices, states; } ScanAxes;

static const int64_t *flags(Import *x, const char *name, int n) {
  const int64_t *v;
  int have = imp_ints(x, name, &v);
  if (have && have < n) imp_fail(x, "shape", "attribute '%s' has %d numbers, %d are needed", name, have, n);
  return have >= n ? v : NULL;
}

static bool scan_attrs(Import *x, const Graph *g, const ScanAxes *s, Attr a[5]) {
  int scans = g->outputs.len - s->states;
  if (scans < 0) return imp_fail(x, "shape", "the body gives %d values for %d states", g->outputs.len, s->states);
  a[0] = attr_int("scan_inputs", s->slices);
  a[1] = attr_dims(x->m, "in_axes", s->in_axes, s->slices);
  a[2] = attr_dims(x->m, "in_reverse", s->in_reverse, s->slices);
  a[3] = attr_dims(x->m, "out_axes", s->out_axes, scans);
  a[4] = attr_dims(x->m, "out_reverse", s->out_reverse, scans);
  return true;
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
  Attr a[5];
  return g && scan_outputs(x, &s, g) && scan_attrs(x, g, &s, a) &&
         control_node(x, OP_SCAN, x->in, x->nin, a, 5, &g, 1, g->outputs.len);
}

/* Version 8 has a batch axis in front of everything: a scan over the batch whose body is the scan over the sequence. */
bool import_scan_8(Import *x) {
  if (imp_present(x, 0)) return imp_fail(x, "unsupported", "sequence_lens of Scan-8; scan sequences of one length");
  ScanAxes inner = { .slices = (int)imp_int(x, "num_scan_inputs", 0) }, outer = { .slices = x->nin - 1 };
  int nin = x->nin - 1;
  inner.states = nin - inner.slices;
  if (inner.slices < 1 || inner.states < 0)
    return imp_fail(x, "shape", "num_scan_inputs=%d with %d inputs", inner.slices, nin);
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
  Attr a[5];
  if (!g || !scan_outputs(x, &inner, g) || !scan_attrs(x, g, &inner, a)) return false;
  int nout = g->outputs.len;
  ValueId *out = NEW_N(&x->m->perm, ValueId, nout + 1);
  x->g = batch;
  bool ok = calc_regions(x, OP_SCAN, v, nin, a, 5, &g, 1, out, nout);
  x->g = around;
  if (!ok) return false;
  for (int k = 0; k < nout; k++) *vec_push(&x->m->perm, &batch->outputs) = out[k];
  outer.in_axes = outer.in_reverse = NEW_N(&x->m->perm, Dim, nin + 1);
  outer.out_axes = outer.out_reverse = NEW_N(&x->m->perm, Dim, nout + 1);
  return scan_attrs(x, batch, &outer, a) && control_node(x, OP_SCAN, x->in + 1, nin, a, 5, &batch, 1, nout);
}
