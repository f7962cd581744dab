/* Inference of if, loop and scan. Their regions are inferred before them, with the types the frontend gave the
 * region's inputs; here both sides must fit together.
 *
 * Where two shapes meet (both arms of an if; a value before and after an iteration) equal dims stay, different
 * ones become a symbol that running sets, bounded by both. A node whose regions are not attached yet has
 * outputs of unknown type and no error: graph_add_node comes before the regions. */
#include "ir/infer.h"
#include <string.h>

static const Type *type_at(Infer *x, ValueId v) { return &value_of(x->m, v)->type; }

static bool is_known(const Type *t) { return t->dtype != DT_NONE && (t->rank >= 0 || t->kind != KIND_TENSOR); }

static bool no_regions_yet(Infer *x, int want, bool *ok) {
  const Node *n = x->n;
  bool some = false;
  for (int r = 0; r < n->nregion; r++) some |= n->region[r] != NULL;
  if (some && n->nregion == want) {
    for (int r = 0; r < want; r++) if (!n->region[r]) return *ok = infer_fail(x, "region %d is missing", r), true;
    return false;
  }
  *ok = !some || infer_fail(x, "%d regions, needs %d", n->nregion, want);
  for (int k = 0; k < n->nout; k++) x->out[k].rank = -1;
  return true;
}

/* True when everything the region gives has a type; false without a message when an error was reported inside. */
static bool region_typed(Infer *x, const Graph *g) {
  for (int k = 0; k < g->inputs.len + g->outputs.len; k++) {
    ValueId v = k < g->inputs.len ? g->inputs.at[k] : g->outputs.at[k - g->inputs.len];
    if (v && is_known(type_at(x, v))) continue;
    if (!x->m->diags->errors) infer_fail_type(x, "a value of region '%s' has no type", g->name ? g->name : "?");
    return false;
  }
  return true;
}

static bool one_element(Infer *x, int k, DType t, const char *what) {
  const Type *a = infer_in(x, k);
  if (!a) return true;
  if (a->kind == KIND_TENSOR && a->dtype == t && dim_is(type_count(a), 1)) return true;
  return infer_fail_type(x, "the %s must be one %s, is %s", what, dtype_info[t].text, type_text(a));
}

/* Result k, whose shape is a's or b's. */
static bool join(Infer *x, int k, const Type *a, const Type *b, const char *stem) {
  if (a->kind != b->kind || a->dtype != b->dtype) {
    return infer_fail_type(x, "output %d is %s in one case and %s in the other", k, type_text(a), type_text(b));
  }
  Type *y = &x->out[k];
  *y = *a;
  if (a->rank != b->rank) {
    return infer_fail(x, "output %d has rank %d in one case and %d in the other", k, a->rank, b->rank);
  }
  for (int i = 0; i < a->rank; i++) {
    Dim p = a->dims[i], q = b->dims[i];
    if (dim_always_eq(p, q)) continue;
    int64_t lo = int64_max(0, int64_min(dim_lo(p), dim_lo(q))), hi = int64_max(lo, int64_max(dim_hi(p), dim_hi(q)));
    y->dims[i] = infer_fresh_dim(x, k, i, stem, lo, hi);
  }
  return true;
}

bool infer_if(Infer *x) {
  bool ok;
  if (!one_element(x, 0, DT_BOOL, "condition")) return false;
  if (no_regions_yet(x, 2, &ok)) return ok;
  const Graph *then = x->n->region[0], *other = x->n->region[1];
  if (!region_typed(x, then) || !region_typed(x, other)) return false;
  if (then->outputs.len != x->n->nout || other->outputs.len != x->n->nout) {
    return infer_fail(x, "%d outputs, the branches give %d and %d", x->n->nout, then->outputs.len, other->outputs.len);
  }
  for (int k = 0; k < x->n->nout; k++) {
    if (!join(x, k, type_at(x, then->outputs.at[k]), type_at(x, other->outputs.at[k]), "if_dim")) return false;
  }
  return true;
}

/* ---- loops ---- */

static void *count_parts(void *ctx, DimKind k, int64_t c, const char *symbol, void *a, void *b) {
  (void)c, (void)symbol, (void)a, (void)b;
  *(int *)ctx += k == DIM_SYMBOL ? 1 : 2;
  return ctx;
}

static bool bare_symbol(Dim d) {
  int parts = 0;
  if (!dim_is_const(d)) dim_fold(d, count_parts, &parts);
  return parts == 1;
}

/* A region input takes what is given: the same type; a dim that is a symbol of its own takes any size. */
static bool input_fits(Infer *x, const Type *given, const Type *want, const char *what) {
  bool ok = given->kind == want->kind && given->dtype == want->dtype && given->rank == want->rank;
  for (int i = 0; ok && i < given->rank; i++) {
    ok = dim_always_eq(given->dims[i], want->dims[i]) || bare_symbol(want->dims[i]);
  }
  if (ok) return true;
  return infer_fail(x, "%s is %s, the body takes %s", what, type_text(given), type_text(want));
}

/* Carried value k: before the first iteration, as the body takes it, after an iteration. */
static bool carry(Infer *x, int k, const Type *first, const Type *in, const Type *after, const char *stem) {
  char what[64];
  snprintf(what, sizeof what, "carried value %d before the loop", k);
  if (!input_fits(x, first, in, what)) return false;
  snprintf(what, sizeof what, "carried value %d after an iteration", k);
  return input_fits(x, after, in, what) && join(x, k, first, after, stem);
}

static bool inside(Infer *x, const Graph *g, const Graph *of) {
  for (int hops = 0; g && hops < 1000; hops++) {
    if (g == of) return true;
    g = g->owner ? node_of(x->m, g->owner)->graph : NULL;
  }
  return false;
}

typedef struct { const char *name; bool seen; } Seek;

static void *seek(void *ctx, DimKind k, int64_t c, const char *symbol, void *a, void *b) {
  (void)c, (void)a, (void)b;
  Seek *s = ctx;
  if (k == DIM_SYMBOL && !strcmp(symbol, s->name)) s->seen = true;
  return ctx;
}

/* Is d made of symbols that exist outside of region g? Others mean nothing after the loop. */
typedef struct { Infer *x; const Graph *g; bool outside; } Scope;

static void *check_symbol(void *ctx, DimKind k, int64_t c, const char *symbol, void *a, void *b) {
  (void)c, (void)a, (void)b;
  Scope *s = ctx;
  if (k != DIM_SYMBOL || !s->outside) return ctx;
  Module *m = s->x->m;
  Seek found = {.name = symbol};
  for (int v = 1; v < m->values.len && !found.seen; v++) {
    const Value *value = &m->values.at[v];
    bool input = false;
    for (int i = 0; i < s->g->inputs.len; i++) input |= s->g->inputs.at[i] == (ValueId)v;
    if (input || !is_known(&value->type) || (value->def && inside(s->x, node_of(m, value->def)->graph, s->g))) continue;
    if (value->def && node_of(m, value->def) == s->x->n) continue;   // our own results of an earlier run
    for (int i = 0; i < value->type.rank; i++) {
      if (!dim_is_const(value->type.dims[i])) dim_fold(value->type.dims[i], seek, &found);
    }
  }
  s->outside &= found.seen;
  return ctx;
}

static bool known_outside(Infer *x, const Graph *g, Dim d) {
  if (dim_is_const(d)) return true;
  Scope s = {x, g, true};
  dim_fold(d, check_symbol, &s);
  return s.outside;
}

/* Scan output k: one slice of type `item` per trip, stacked along `axis`. */
static bool stack(Infer *x, int k, const Graph *g, const Type *item, int64_t axis, Dim trips, const char *stem) {
  Type *y = &x->out[k];
  if (item->kind != KIND_TENSOR)
    return infer_fail_type(x, "output %d collects tensors, the body gives %s", k, type_text(item));
  if (item->rank >= MAX_RANK)
    return infer_fail(x, "output %d would have rank %d, at most %d is supported", k, item->rank + 1, MAX_RANK);
  if (axis < 0 || axis > item->rank) return infer_fail(x, "output %d has no axis %lld", k, (long long)axis);
  *y = (Type){.dtype = item->dtype, .rank = item->rank + 1};
  for (int i = 0, from = 0; i < y->rank; i++) {
    y->dims[i] = i == axis ? trips : item->dims[from++];
    if (i == axis || known_outside(x, g, y->dims[i])) continue;
    y->dims[i] = infer_fresh_dim(x, k, i, stem, int64_max(0, dim_lo(y->dims[i])), int64_max(0, dim_hi(y->dims[i])));
  }
  return true;
}

static bool always_true(Module *m, ValueId v) {
  const Tensor *t = v ? value_of(m, v)->constant : NULL;
  return t && t->data && t->dtype == DT_BOOL && tensor_count(t) == 1 && tensor_get_int(t, 0) != 0;
}

/* The condition can never end the loop: absent or true at first, and true or handed on by the body. */
static bool runs_all_trips(Module *m, const Node *n) {
  const Graph *body = n->region[0];
  if (n->in[1] && !always_true(m, n->in[1])) return false;
  ValueId v = body->outputs.at[0];
  for (int hops = 0; hops < 100; hops++) {
    const Value *value = value_of(m, v);
    const Node *def = value->def ? node_of(m, value->def) : NULL;
    if (!def || def->op != OP_COPY) break;
    v = def->in[0];
  }
  return v == body->inputs.at[1] || always_true(m, v);
}

bool loop_trips(Module *m, const Node *n, Dim *trips) {
  const Dim *count = n->in[0] ? value_of(m, n->in[0])->content : NULL;
  if (!count || !runs_all_trips(m, n)) return false;
  *trips = dim_max(*count, DIM(0));
  return true;
}

bool infer_loop(Infer *x) {
  const Node *n = x->n;
  bool ok;
  if (!one_element(x, 0, DT_I64, "trip count") || !one_element(x, 1, DT_BOOL, "condition")) return false;
  if (no_regions_yet(x, 1, &ok)) return ok;
  const Graph *body = n->region[0];
  int carried = n->nin - 2, scans = n->nout - carried;
  if (!region_typed(x, body)) return false;
  if (body->inputs.len != 2 + carried)
    return infer_fail(x, "the body takes %d values, the loop gives %d", body->inputs.len, 2 + carried);
  if (scans < 0 || body->outputs.len != 1 + n->nout) {
    return infer_fail(x, "the body gives %d values, %d outputs need %d", body->outputs.len, n->nout, 1 + n->nout);
  }
  const Type *cond = type_at(x, body->outputs.at[0]);
  if (cond->dtype != DT_BOOL || !dim_is(type_count(cond), 1))
    return infer_fail_type(x, "the body's condition must be one bool, is %s", type_text(cond));
  for (int k = 0; k < carried; k++) {
    const Type *first = infer_in(x, 2 + k);
    if (!first) return infer_fail(x, "carried value %d is missing", k);
    if (!carry(x, k, first, type_at(x, body->inputs.at[2 + k]), type_at(x, body->outputs.at[1 + k]), "loop_dim"))
      return false;
  }
  const Dim *count = n->in[0] ? value_of(x->m, n->in[0])->content : NULL;
  int64_t most = count ? int64_max(0, int64_min(dim_hi(*count), INT32_MAX)) : INT32_MAX;
  Dim trips;
  if (loop_trips(x->m, n, &trips)) {}
  else if (scans > 0) trips = infer_fresh_dim(x, carried, 0, "loop_trips", 0, most);
  else trips = DIM(0);
  for (int k = 0; k < scans; k++) {
    if (!stack(x, carried + k, body, type_at(x, body->outputs.at[1 + carried + k]), 0, trips, "loop_dim")) return false;
  }
  return true;
}

/* Scan inputs are cut along in_axes: what the body sees of one. */
static bool scan_item(Infer *x, int k, int64_t axis, Dim *trips, Type *item) {
  const Type *a = infer_in(x, k);
  if (!a || a->kind != KIND_TENSOR) return infer_fail(x, "scan input %d is missing", k);
  if (axis < 0 || axis >= a->rank)
    return infer_fail(x, "scan input '%s' has no axis %lld", infer_name(x, k), (long long)axis);
  if (trips->k >= 0 && !dim_always_eq(*trips, a->dims[axis])) {
    return infer_fail(x, "scan inputs have different lengths: %s and %s", dim_text(*trips), dim_text(a->dims[axis]));
  }
  *trips = a->dims[axis];
  *item = (Type){.dtype = a->dtype};
  for (int i = 0; i < a->rank; i++) if (i != axis) item->dims[item->rank++] = a->dims[i];
  return true;
}

bool infer_scan(Infer *x) {
  const Node *n = x->n;
  int64_t cut;
  bool ok;
  if (!infer_int(x, "scan_inputs", 1, n->nin, &cut)) return false;
  if (no_regions_yet(x, 1, &ok)) return ok;
  const Graph *body = n->region[0];
  int states = n->nin - (int)cut, scans = n->nout - states;
  if (!region_typed(x, body)) return false;
  if (body->inputs.len != n->nin)
    return infer_fail(x, "the body takes %d values, scan gives %d", body->inputs.len, n->nin);
  if (scans < 0 || body->outputs.len != n->nout)
    return infer_fail(x, "the body gives %d values for %d outputs", body->outputs.len, n->nout);
  const Attr *in_axes = node_dims(n, "in_axes"), *out_axes = node_dims(n, "out_axes");
  const Attr *in_reverse = node_dims(n, "in_reverse"), *out_reverse = node_dims(n, "out_reverse");
  if (in_axes->n != cut || in_reverse->n != cut)
    return infer_fail(x, "in_axes and in_reverse need %d entries", (int)cut);
  if (out_axes->n != scans || out_reverse->n != scans)
    return infer_fail(x, "out_axes and out_reverse need %d entries", scans);
  for (int k = 0; k < states; k++) {
    const Type *first = infer_in(x, k);
    if (!first) return infer_fail(x, "state %d is missing", k);
    if (!carry(x, k, first, type_at(x, body->inputs.at[k]), type_at(x, body->outputs.at[k]), "scan_dim")) return false;
  }
  Dim trips = DIM(-1);
  for (int k = 0; k < cut; k++) {
    Type item;
    if (!dim_is_const(in_axes->dims[k])) return infer_fail(x, "in_axes must be constant");
    if (!scan_item(x, states + k, in_axes->dims[k].k, &trips, &item) ||
        !input_fits(x, &item, type_at(x, body->inputs.at[states + k]), "a slice of a scan input")) return false;
  }
  for (int k = 0; k < scans; k++) {
    if (!dim_is_const(out_axes->dims[k])) return infer_fail(x, "out_axes must be constant");
    if (!stack(x, states + k, body, type_at(x, body->outputs.at[states + k]), out_axes->dims[k].k, trips, "scan_dim"))
      return false;
  }
  return true;
}
