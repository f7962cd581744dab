/* Inference: the types of a node's outputs from its inputs' types and its attributes.
 *
 * infer_node checks what the op's row says (arity, attributes and their kinds), calls the row's infer_NAME
 * (ir/infer_*.c by family; elementwise ops are inferred here from scalar.def), checks that the result can
 * exist (no negative size, no overflow, at most 2^48 elements) and then propagates known integer elements
 * (ir/infer_content.c). Errors name the node, the inputs' types and the attributes.
 *
 * Guarantees: whatever the attributes and input types are, there is either a type or an error; a node with
 * inputs of unknown type (an error was reported at their producer) fails without another message. */
#include "ir/infer.h"
#include "base/intern.h"
#include <stdarg.h>
#include <string.h>

/* ---- messages ---- */

const char *node_where(Module *m, const Node *n) {
  const char *op = n->source.op ? n->source.op : op_info[n->op].text;
  const char *name = n->source.node;
  if ((!name || !*name) && n->source.line > 0) {
    return intern(arena_printf(&m->perm, "line %d (%s)", n->source.line, op));
  }
  if ((!name || !*name) && n->nout > 0 && n->out[0]) name = value_of(m, n->out[0])->name;
  return intern(arena_printf(&m->perm, "node '%.200s' (%.100s)", name ? name : "?", op));
}

static bool fail(Infer *x, const char *kind, const char *fmt, va_list ap) {
  if (!x || x->error) return false;                  // the first reason is the useful one
  char text[1000];
  vsnprintf(text, sizeof text, fmt, ap);
  x->error = arena_strdup(&x->m->perm, text);
  x->kind = kind;
  return false;
}

bool infer_fail(Infer *x, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fail(x, "shape", fmt, ap);
  va_end(ap);
  return false;
}

bool infer_fail_type(Infer *x, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fail(x, "type", fmt, ap);
  va_end(ap);
  return false;
}

void infer_hint(Infer *x, const char *fmt, ...) {
  if (!x || x->hint) return;
  char text[500];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  x->hint = arena_strdup(&x->m->perm, text);
}

static bool attr_is_short(const Attr *a) {
  return a->kind != ATTR_FLOATS && a->kind != ATTR_TENSOR && a->kind != ATTR_STRS;
}

static void put_attr(Text *t, const Attr *a) {
  switch (a->kind) {
    case ATTR_INT: text_printf(t, "%s=%lld", a->name, (long long)a->i); break;
    case ATTR_FLOAT: text_printf(t, "%s=%g", a->name, a->f); break;
    case ATTR_STR: text_printf(t, "%s=%.40s", a->name, a->s); break;
    case ATTR_DTYPE:
      text_printf(t, "%s=%s", a->name, a->i > DT_NONE && a->i < DT_COUNT ? dtype_info[a->i].text : "?");
      break;
    case ATTR_DIMS:
      text_printf(t, "%s=[", a->name);
      for (int i = 0; i < a->n && i < MAX_RANK; i++) text_printf(t, "%s%s", i ? "," : "", dim_text(a->dims[i]));
      text_put(t, a->n > MAX_RANK ? ",…]" : "]");
      break;
    case ATTR_FLOATS: case ATTR_TENSOR: case ATTR_STRS: break;
  }
}

/* The line below an error: 'x': f32[1,64,56,56]  'w': f32[64,1,3,3]  group=1 */
static void report(const Infer *x) {
  const Node *n = x->n;
  diag_error(x->m->diags, x->kind ? x->kind : "shape", node_where(x->m, n), "%s", x->error);
  Text t = {0};
  for (int k = 0; k < n->nin && k < 6; k++) {
    const Type *in = infer_in(x, k);
    if (in) text_printf(&t, "%s'%.80s': %s", t.len ? "   " : "", infer_name(x, k), type_text(in));
  }
  if (n->nin > 6) text_printf(&t, "   … %d more", n->nin - 6);
  for (int k = 0; k < n->nattr && t.len < 400; k++) {
    if (attr_is_short(&n->attr[k])) text_put(&t, t.len ? "   " : "");
    put_attr(&t, &n->attr[k]);
  }
  if (t.len) diag_note(x->m->diags, "%s", t.at);
  if (x->hint) diag_note(x->m->diags, "hint: %s", x->hint);
  text_free(&t);
}

/* ---- inputs and attributes ---- */

const Type *infer_in(const Infer *x, int k) {
  if (k < 0 || k >= x->n->nin || !x->n->in[k]) return NULL;
  return &value_of(x->m, x->n->in[k])->type;
}

const char *infer_name(const Infer *x, int k) {
  const char *s = k < x->n->nin && x->n->in[k] ? value_of(x->m, x->n->in[k])->name : NULL;
  return s ? s : "?";
}

bool infer_int(Infer *x, const char *name, int64_t lo, int64_t hi, int64_t *v) {
  *v = node_int(x->n, name, lo);
  if (*v >= lo && *v <= hi) return true;
  if (hi == ATTR_BOUND && *v < lo)
    return infer_fail(x, "%s is %lld, must be at least %lld", name, (long long)*v, (long long)lo);
  return infer_fail(x, "%s is %lld, must be in %lld..%lld", name, (long long)*v, (long long)lo, (long long)hi);
}

bool infer_axis(Infer *x, int rank, int *axis) {
  *axis = 0;
  int64_t v = node_int(x->n, "axis", 0);
  if (v < 0 || v >= rank) return infer_fail(x, "axis %lld does not exist in a tensor of rank %d", (long long)v, rank);
  *axis = (int)v;
  return true;
}

bool infer_dim_list(Infer *x, const char *name, int n, const Dim **v) {
  const Attr *a = node_dims(x->n, name);
  int have = a ? a->n : 0;
  *v = a ? a->dims : NULL;
  if (n >= 0 && have != n) return infer_fail(x, "%s has %d entries, needs %d", name, have, n);
  if (have > MAX_RANK)
    return infer_fail(x, "%s has %d entries, tensors have at most %d dimensions", name, have, MAX_RANK);
  return true;
}

bool infer_ints(Infer *x, const char *name, int n, int64_t lo, int64_t hi, int64_t *v) {
  const Attr *a = node_dims(x->n, name);
  int have = a ? a->n : 0;
  if (have != n) return infer_fail(x, "%s has %d entries, needs %d", name, have, n);
  for (int i = 0; i < n; i++) {
    Dim d = a->dims[i];
    if (!dim_is_const(d)) return infer_fail(x, "%s must be constant, entry %d is %s", name, i, dim_text(d));
    if (d.k < lo || d.k > hi) {
      return infer_fail(x, "%s[%d] is %lld, must be in %lld..%lld", name, i, (long long)d.k, (long long)lo,
                        (long long)hi);
    }
    v[i] = d.k;
  }
  return true;
}

bool infer_shape(Infer *x, const char *name, Type *t) {
  const Attr *a = node_dims(x->n, name);
  const Dim *v;
  if (!infer_dim_list(x, name, -1, &v)) return false;
  t->rank = a ? a->n : 0;
  for (int i = 0; i < t->rank; i++) {
    if (dim_hi(v[i]) < 0) return infer_fail(x, "%s[%d] is negative: %s", name, i, dim_text(v[i]));
    t->dims[i] = v[i];
  }
  return true;
}

bool infer_choice(Infer *x, const char *name, const char *choices) {
  const char *v = node_str(x->n, name, "");
  size_t n = strlen(v);
  for (const char *c = choices; *c;) {
    size_t len = strcspn(c, " ");
    if (len == n && !memcmp(c, v, n)) return true;
    c += len + (c[len] == ' ');
  }
  return infer_fail(x, "%s is '%.60s', must be one of: %s", name, v, choices);
}

/* ---- types ---- */

bool infer_float_input(Infer *x, int k) {
  const Type *t = infer_in(x, k);
  if (!t || dtype_is_float(t->dtype)) return true;
  return infer_fail_type(x, "'%s' must have a float type, is %s", infer_name(x, k), dtype_info[t->dtype].text);
}

bool infer_numeric_input(Infer *x, int k) {
  const Type *t = infer_in(x, k);
  if (!t || dtype_is_float(t->dtype) || dtype_is_int(t->dtype)) return true;
  return infer_fail_type(x, "'%s' must have a numeric type, is %s", infer_name(x, k), dtype_info[t->dtype].text);
}

bool infer_index_input(Infer *x, int k) {
  const Type *t = infer_in(x, k);
  if (!t || t->dtype == DT_I64 || t->dtype == DT_I32) return true;
  return infer_fail_type(x, "'%s' holds indices and must be i32 or i64, is %s", infer_name(x, k),
                         dtype_info[t->dtype].text);
}

bool infer_same_dtype(Infer *x, int k) {
  const Type *a = infer_in(x, 0), *b = infer_in(x, k);
  if (!a || !b || a->dtype == b->dtype) return true;
  return infer_fail_type(x, "'%s' is %s but '%s' is %s", infer_name(x, 0), dtype_info[a->dtype].text,
                         infer_name(x, k), dtype_info[b->dtype].text);
}

bool infer_input_shape(Infer *x, int k, int rank, const Dim *dims, const char *what) {
  const Type *t = infer_in(x, k);
  if (!t) return true;
  bool ok = t->rank == rank;
  for (int i = 0; ok && i < rank; i++) {
    ok = dim_always_eq(t->dims[i], dims[i]);
    if (!ok) infer_hint_dims(x, t->dims[i], dims[i]);
  }
  if (ok) return true;
  Type want = *t;
  want.rank = rank;
  memcpy(want.dims, dims, sizeof(Dim) * (size_t)rank);
  return infer_fail(x, "%s must be %s, is %s", what, type_text(&want), type_text(t));
}

/* ---- dims: equality and hints are in infer_dims.c ---- */

static Dim simpler(Dim a, Dim b) {
  if (dim_is_const(a)) return a;
  if (dim_is_const(b)) return b;
  return strlen(dim_text(b)) < strlen(dim_text(a)) ? b : a;
}

bool type_broadcast(Infer *x, const Type *a, const Type *b, Type *out) {
  int rank = a->rank > b->rank ? a->rank : b->rank;
  Dim dims[MAX_RANK];
  for (int i = 0; i < rank; i++) {
    int ia = i - (rank - a->rank), ib = i - (rank - b->rank);
    Dim da = ia >= 0 ? a->dims[ia] : DIM(1), db = ib >= 0 ? b->dims[ib] : DIM(1);
    if (dim_is(db, 1)) dims[i] = da;
    else if (dim_is(da, 1)) dims[i] = db;
    else if (dim_always_eq(da, db)) dims[i] = simpler(da, db);
    else {
      infer_hint_dims(x, da, db);
      return infer_fail(x, "shapes do not broadcast: axis %d is %s and %s", i - rank, dim_text(da), dim_text(db));
    }
  }
  out->rank = rank;
  memcpy(out->dims, dims, sizeof(Dim) * (size_t)rank);
  return true;
}

Dim infer_fresh_dim(Infer *x, int out, int axis, const char *stem, int64_t lo, int64_t hi) {
  const Type *old = &value_of(x->m, x->n->out[out])->type;
  if (old->dtype != DT_NONE && axis < old->rank && !dim_is_const(old->dims[axis])) {
    // made by an earlier run on this node: keep its users' shapes valid
    const char *text = dim_text(old->dims[axis]);
    if (!strncmp(text, stem, strlen(stem)) && symbol_find(text)) return dim_symbol(text, lo, hi);
  }
  return dim_fresh_symbol(stem, lo, hi);
}

/* ---- elementwise ops ---- */

static bool domain_takes(ScalarDomain d, DType t) {
  DClass c = dtype_info[t].cls;
  bool flt = c == CLASS_FLOAT, integer = c == CLASS_INT || c == CLASS_UINT, logic = c == CLASS_BOOL;
  switch (d) {
    case DOM_NUM: return flt || integer;
    case DOM_FLT: return flt;
    case DOM_INT: return integer;
    case DOM_BITS: return integer || logic;
    case DOM_LOGIC: return logic;
    case DOM_ANY: return true;
  }
  return false;
}

static bool infer_scalar(Infer *x) {
  static const char *const takes[] = {[DOM_NUM] = "numbers", [DOM_FLT] = "floats", [DOM_INT] = "integers",
                                      [DOM_BITS] = "integers or bool", [DOM_LOGIC] = "bool", [DOM_ANY] = "anything"};
  ScalarOp op = op_scalar(x->n->op);
  const ScalarInfo *info = &scalar_info[op];
  int first = op == S_WHERE;                          // where: input 0 is the condition
  if (first && x->in[0]->dtype != DT_BOOL) {
    return infer_fail_type(x, "the condition '%s' must be bool, is %s", infer_name(x, 0),
                           dtype_info[x->in[0]->dtype].text);
  }
  DType t = x->in[first]->dtype;
  if (!domain_takes(info->domain, t)) {
    return infer_fail_type(x, "%s takes %s, '%s' is %s", info->text, takes[info->domain], infer_name(x, first),
                           dtype_info[t].text);
  }
  for (int k = first + 1; k < info->arity; k++) {
    if (x->in[k]->dtype == t) continue;
    return infer_fail_type(x, "operands have different types: '%s' is %s, '%s' is %s", infer_name(x, first),
                           dtype_info[t].text, infer_name(x, k), dtype_info[x->in[k]->dtype].text);
  }
  Type *y = &x->out[0];
  *y = *x->in[0];
  for (int k = 1; k < info->arity; k++) if (!type_broadcast(x, y, x->in[k], y)) return false;
  y->dtype = info->gives_bool ? DT_BOOL : t;
  return true;
}

/* ---- a node ---- */

static bool check_arity(Infer *x, const OpInfo *op) {
  const Node *n = x->n;
  int min_in = op->min_in, max_in = op->max_in, nout = op->nout;
  if (op_is_scalar(n->op)) min_in = max_in = scalar_info[op_scalar(n->op)].arity, nout = 1;
  if (n->nin < min_in || (max_in >= 0 && n->nin > max_in)) {
    return infer_fail(x, "%s has %d inputs, takes %s%d", op->text, n->nin,
                      min_in == max_in ? "" : n->nin < min_in ? "at least " : "at most ",
                      n->nin < min_in ? min_in : max_in);
  }
  if (nout >= 0 ? n->nout != nout : n->nout < 1 && op->how != HOW_CONTROL) {
    return infer_fail(x, "%s has %d outputs, gives %d", op->text, n->nout, nout < 0 ? 1 : nout);
  }
  bool optional_front = n->op == OP_LOOP;             // loop: trip count and condition may both be absent
  for (int k = 0; k < min_in && !optional_front; k++) {
    if (!n->in[k]) return infer_fail(x, "input %d is missing", k);
  }
  return true;
}

static bool check_attrs(Infer *x, const char *spec) {
  while (spec && *spec) {
    size_t name = strcspn(spec, ":"), word = strcspn(spec, " ");
    if (name > word) BUG("ops.def: attribute without a kind in '%s'", spec);
    size_t kind = word - name - 1;
    bool optional = kind && spec[word - 1] == '=';
    if (optional) kind--;
    const char *key = intern_n(spec, name);
    const Attr *a = node_attr(x->n, key);
    if (!a && !optional) return infer_fail(x, "attribute %s is missing", key);
    if (a) {
      const char *have = attr_kind_text(a->kind);
      if (strlen(have) != kind || memcmp(have, spec + name + 1, kind)) {
        return infer_fail(x, "attribute %s must be of kind %.*s, is %s", key, (int)kind, spec + name + 1, have);
      }
      if (a->kind == ATTR_DTYPE && (a->i <= DT_NONE || a->i >= DT_COUNT)) {
        return infer_fail_type(x, "attribute %s is no element type", key);
      }
      if (a->kind == ATTR_STR && !a->s) return infer_fail(x, "attribute %s is missing its text", key);
    }
    spec += word + (spec[word] == ' ');
  }
  return true;
}

/* Inputs whose producer failed: true when some input has no type. Says so only when nobody else did. */
static bool inputs_unknown(Infer *x) {
  for (int k = 0; k < x->n->nin; k++) {
    const Type *t = infer_in(x, k);
    if (!t || (t->dtype != DT_NONE && (t->rank >= 0 || t->kind != KIND_TENSOR))) continue;
    if (!x->m->diags->errors) infer_fail_type(x, "the type of input '%s' is not known", infer_name(x, k));
    return true;
  }
  return false;
}

static bool inputs_are_tensors(Infer *x) {
  for (int k = 0; k < x->n->nin; k++) {
    const Type *t = infer_in(x, k);
    if (!t) continue;
    if (t->kind != KIND_TENSOR) {
      return infer_fail_type(x, "'%s' is a %s, must be a tensor", infer_name(x, k),
                             t->kind == KIND_SEQUENCE ? "sequence" : "optional");
    }
  }
  return true;
}

enum { DIM_TEXT_MAX = 4000 };

/* A result that can exist: no size is negative for all values of the symbols, at most 2^48 elements. */
static bool check_output(Infer *x, Type *t) {
  if (t->kind != KIND_TENSOR) return true;
  if (t->rank > MAX_RANK) return infer_fail(x, "the result has rank %d, at most %d is supported", t->rank, MAX_RANK);
  int64_t count = 1;
  for (int i = 0; i < t->rank; i++) {
    Dim d = t->dims[i];
    if (dim_hi(d) < 0) return infer_fail(x, "size of axis %d of the result would be negative: %s", i, dim_text(d));
    if (!dim_is_const(d) && strlen(dim_text(d)) > DIM_TEXT_MAX) {    // walks over dims take time by their length
      return infer_fail(x, "size of axis %d of the result is too long an expression: %.60s…", i, dim_text(d));
    }
    int64_t lo = dim_lo(d);                           // symbols count with their smallest value
    if (lo <= 1) continue;
    if (lo > ELEMENTS_MAX / count) return infer_fail(x, "the result %s has more than 2^48 elements", type_text(t));
    count *= lo;
  }
  return true;
}

static bool infer_types(Infer *x) {
  const OpInfo *op = &op_info[x->n->op];
  if (!check_arity(x, op) || !check_attrs(x, op->attrs)) return false;
  if (inputs_unknown(x)) return false;
  if (op->how != HOW_CONTROL && !inputs_are_tensors(x)) return false;
  bool saved = dim_overflow;
  dim_overflow = false;
  bool ok = op_is_scalar(x->n->op) ? infer_scalar(x) : op->infer && op->infer(x);
  if (ok && dim_overflow) ok = infer_fail(x, "sizes overflow 64 bits");
  for (int k = 0; ok && k < x->n->nout; k++) ok = check_output(x, &x->out[k]);
  dim_overflow = saved;
  return ok;
}

bool infer_node(Module *m, NodeId id) {
  const Node *n = node_of(m, id);
  if (n->op <= OP_NONE || n->op >= OP_COUNT) return false;
  Type few[4] = {0};
  Arena tmp = {0};
  Infer x = {.m = m, .n = n, .out = n->nout <= 4 ? few : NEW_N(&tmp, Type, n->nout)};
  for (int k = 0; k < n->nin && k < (int)(sizeof x.in / sizeof *x.in); k++) x.in[k] = infer_in(&x, k);
  bool ok = infer_types(&x);
  if (!ok && x.error) report(&x);
  for (int k = 0; k < n->nout; k++) {
    if (!n->out[k]) continue;
    Value *v = value_of(m, n->out[k]);
    v->type = ok ? x.out[k] : (Type){.rank = -1};
    v->content = NULL;
  }
  if (ok) infer_content(m, id);
  arena_free(&tmp);
  return ok;
}

int infer_region(Module *m, Graph *g) {
  int failed = 0;
  for (int i = 0; i < g->nodes.len; i++) {
    const Node *n = node_of(m, g->nodes.at[i]);
    if (n->dead) continue;
    for (int r = 0; r < n->nregion; r++) if (n->region[r]) failed += infer_region(m, n->region[r]);
    failed += !infer_node(m, g->nodes.at[i]);
  }
  return failed;
}

bool infer_module(Module *m) { return !m->main || !infer_region(m, m->main); }
