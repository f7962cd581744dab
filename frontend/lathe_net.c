/* Nets: their frames, the sizes in their types, calls, and a net as a function of its own.
 *
 * A net is one set of parameters, named "NET.LAYER.leaf". A call `f(x)` uses that set, wherever it stands; `new f(x)`
 * within a net makes a set of its own for that place, "CALLER.f1.LAYER.leaf", and `net g = new f` a set named g.
 * A name in the dims of a net's arguments is bound by the call: f32[T, T] wants two equal sizes. */
#include "frontend/lathe_build.h"
#include "base/intern.h"
#include <string.h>

enum { DEEPEST_CALL = 64 };

/* `net g = new f` has f's body. NULL: there is no such net, or they go round in a circle. */
static const NetDecl *body_of(Lang *l, const NetDecl *n) {
  for (int k = 0; n && n->from && n->from->fresh; k++) n = k < DEEPEST_CALL ? net_find(l, n->from->text) : NULL;
  return n;
}

const NetDecl *net_find(Lang *l, const char *name) {
  for (int k = 0; k < l->file->nets.len; k++)
    if (!strcmp(l->file->nets.at[k]->name.text, name)) return l->file->nets.at[k];
  return NULL;
}

Frame *frame_push(Lang *l, const NetDecl *net, const char *prefix) {
  Frame *f = NEW(l->a, Frame);
  f->net = net;
  f->prefix = prefix;
  f->caller = l->frame;
  l->frame = f;
  return f;
}

void frame_pop(Lang *l) { l->frame = l->frame->caller; }

/* ---- dims ---- */

static const Binding *dim_binding(Lang *l, const char *name) {
  const Binding *b = l->frame ? binding_find(&l->frame->dims, name) : NULL;
  if (!b && l->frame) b = binding_find(&l->frame->vars, name);          // arguments that are numbers
  return b && b->v.kind == VAL_INT ? b : binding_find(&l->lets, name);
}

static bool is_free_name(Lang *l, const Term *e) { return e->kind == TERM_NAME && !dim_binding(l, e->text); }

bool lang_dim(Lang *l, const Term *e, Dim *out) {
  if (is_free_name(l, e)) {
    if (!strcmp(e->text, "N") && l->m) { *out = l->n; return true; }
    lang_error(l, "shape", e->at, "size '%s' is not known here", e->text);
    lang_hint(l, "name it in the shape of an argument, or say `let %s = 64`, or --dim %s=64", e->text, e->text);
    return false;
  }
  Val v = lang_expr(l, e);
  if (v.kind == VAL_INT && dim_lo(v.i) >= 0) { *out = v.i; return true; }
  if (v.kind != VAL_ERROR)
    lang_error(l, "shape", e->at, "a size is a whole number, 0 or more, not %s", val_text(l->m, &v));
  return false;
}

/* The declared type as text, sizes filled in where they are known: "f32[N, 1, 28, 28]". */
static const char *declared_text(Lang *l, const TypeTerm *t) { return lathe_quote(&l->text, t->at); }

/* ---- arguments ---- */

/* Elements in the same order in another shape, where the two differ only in axes of size 1. */
bool type_same_but_ones(const Type *have, const Dim *want, int rank) {
  int i = 0;
  for (int k = 0; k < rank; k++) {
    if (dim_is(want[k], 1)) continue;
    while (i < have->rank && dim_is(have->dims[i], 1)) i++;
    if (i == have->rank || !dim_eq(have->dims[i], want[k])) return false;
    i++;
  }
  while (i < have->rank && dim_is(have->dims[i], 1)) i++;
  return i == have->rank;
}

/* The declared dims, names that are still free bound by the value's. False: reported. */
static bool bind_dims(Lang *l, const TypeTerm *t, const Type *have, Span at, Dim *want) {
  for (int k = 0; k < t->dims.len; k++) {
    const Term *e = t->dims.at[k];
    bool free_name = is_free_name(l, e);
    if (free_name && have->rank != t->dims.len && strcmp(e->text, "N")) {
      lang_error(l, "shape", at, "%s where %s is declared", type_text(have), declared_text(l, t));
      return false;
    }
    if (free_name) {
      Dim d = have->rank == t->dims.len ? have->dims[k] : l->n;
      lang_bind(l, &l->frame->dims, e->text, val_int(d), e->at);
    }
    if (!lang_dim(l, e, &want[k])) return false;
  }
  return true;
}

static bool cast_to(Lang *l, ValueId *v, const TypeTerm *t, Span at) {
  DType have = build_dtype(l->g, *v);
  if (have == t->dtype) return true;
  if (dtype_is_float(have) && !dtype_is_float(t->dtype)) {
    lang_error(l, "type", at, "%s where %s is declared", type_text(build_type(l->g, *v)), declared_text(l, t));
    lang_hint(l, "a float becomes an integer only where you say so: cast(x, \"%s\")", dtype_info[t->dtype].text);
    return false;
  }
  *v = build_cast(l->g, *v, t->dtype);
  return true;
}

/* The value as the type that is declared; names of sizes are bound in l->frame. */
static Val conform(Lang *l, Val v, const TypeTerm *t, Span at) {
  if (v.kind == VAL_ERROR) return v;
  if (t->kind != TYPE_TENSOR) {
    if (t->kind == TYPE_FLOAT && v.kind == VAL_INT && dim_is_const(v.i)) return val_float((double)v.i.k);
    static const ValKind want[] = {VAL_TENSOR, VAL_INT, VAL_FLOAT, VAL_BOOL, VAL_STR};    // by TypeKind
    if (v.kind == want[t->kind]) return v;
    lang_error(l, "type", at, "%s where %s is declared", val_text(l->m, &v), declared_text(l, t));
    return val_error();
  }
  if (v.kind == VAL_TUPLE || v.kind == VAL_STR || v.kind == VAL_NONE) {
    lang_error(l, "type", at, "%s where %s is declared", val_text(l->m, &v), declared_text(l, t));
    return val_error();
  }
  ValueId x = lang_as_tensor(l, v, t->dtype);
  if (!x) return val_error();
  Dim want[MAX_RANK];
  Type have = *build_type(l->g, x);
  if (!bind_dims(l, t, &have, at, want)) return val_error();
  Type wanted = type_of(t->dtype, t->dims.len, want);
  if (!type_same_but_ones(&have, want, t->dims.len)) {
    lang_error(l, "shape", at, "%s where %s is declared", type_text(&have), declared_text(l, t));
    const char *is = type_text(&wanted);
    if (strcmp(is, declared_text(l, t))) lang_hint(l, "here %s is %s", declared_text(l, t), is);
    return val_error();
  }
  if (!cast_to(l, &x, t, at)) return val_error();
  return val_tensor(build_reshape(l->g, x, want, t->dims.len));
}

static const Arg *argument_of(const Term *call, const NetDecl *n, int k) {
  int position = 0;
  for (int i = 0; i < call->args.len; i++) {
    const Arg *a = &call->args.at[i];
    if (a->name ? !strcmp(a->name, n->params.at[k].name.text) : position++ == k) return a;
  }
  return NULL;
}

static bool arguments_exist(Lang *l, const NetDecl *n, const NetDecl *body, const Term *call) {
  int position = 0;
  for (int i = 0; i < call->args.len; i++) {
    const Arg *a = &call->args.at[i];
    bool known = !a->name && position++ < body->params.len;
    for (int k = 0; a->name && k < body->params.len; k++) known |= !strcmp(a->name, body->params.at[k].name.text);
    if (known) continue;
    if (a->name) lang_error(l, "name", a->at, "net %s has no argument '%s'", n->name.text, a->name);
    else lang_error(l, "name", a->at, "net %s takes %d argument%s", n->name.text, body->params.len,
        body->params.len == 1 ? "" : "s");
    return false;
  }
  for (int k = 0; k < body->params.len; k++) {
    if (argument_of(call, body, k) || body->params.at[k].value) continue;
    lang_error(l, "name", call->at, "argument '%s' of net %s is missing", body->params.at[k].name.text, n->name.text);
    return false;
  }
  return true;
}

/* ---- the body ---- */

/* What a net gives where it declares nothing: a tensor, or as its only result a list of them. */
static Val as_result(Lang *l, Val v, bool only, Span at) {
  if (v.kind == VAL_ERROR || v.kind == VAL_TENSOR) return v;
  if (v.kind == VAL_BOOL || val_is_number(&v)) return val_tensor(lang_as_tensor(l, v, DT_NONE));
  bool list = only && v.kind == VAL_TUPLE && v.n;
  for (int k = 0; list && k < v.n; k++) list = v.at[k].kind == VAL_TENSOR;
  if (list) return v;
  lang_error(l, "type", at, "a net returns tensors, not %s", val_text(l->m, &v));
  return val_error();
}

static Val check_results(Lang *l, const NetDecl *n, const NetDecl *body) {
  Frame *f = l->frame;
  if (!f->returned) {
    lang_error(l, "name", body->at, "net %s returns nothing", n->name.text);
    lang_hint(l, "its last statement is `return` and the result");
    return val_error();
  }
  Val *r = f->result.at;
  int count = f->result.n;
  if (body->results.len && body->results.len != count) {
    lang_error(l, "type", f->returned_at->at, "%d results where %d are declared", count, body->results.len);
    return val_error();
  }
  for (int k = 0; k < count; k++) {
    Span at = f->returned_at->results.at[k]->at;
    if (body->results.len) r[k] = conform(l, r[k], body->results.at[k], at);
    else r[k] = as_result(l, r[k], count == 1, at);
    if (r[k].kind == VAL_ERROR) return val_error();
  }
  return count == 1 ? r[0] : f->result;
}

static Val run_body(Lang *l, const NetDecl *n, const NetDecl *body) {
  lang_statements(l, &body->body);
  return check_results(l, n, body);
}

static bool at_work(Lang *l, const NetDecl *body) {
  int deep = 0;
  for (Frame *f = l->frame; f; f = f->caller, deep++) if (f->net && body_of(l, f->net) == body) return true;
  return deep > DEEPEST_CALL;
}

/* ---- calls ---- */

const char *lang_fresh_name(Lang *l, const char *kind, const char *given) {
  Frame *f = l->frame;
  if (given) return intern_printf("%s%s", f->prefix, given);
  int k = 0;
  while (k < f->counts.len && strcmp(f->counts.at[k].kind, kind)) k++;
  if (k == f->counts.len) {
    vec_push(l->a, &f->counts);
    f->counts.at[k].kind = kind;
  }
  return intern_printf("%s%s%d", f->prefix, kind, ++f->counts.at[k].n);
}

static Val remembered(Lang *l, const char *prefix, const Val *args, int n) {
  for (int k = 0; k < l->called.len; k++) {
    if (l->called.at[k].prefix != prefix || l->called.at[k].n != n) continue;
    bool same = true;
    for (int i = 0; same && i < n; i++) same = val_same(&l->called.at[k].args[i], &args[i]);
    if (same) return l->called.at[k].result;
  }
  return val_none();
}

static void note_use(Lang *l, const NetDecl *n, const Term *call) {
  if (!l->frame->net || call->fresh) return;
  const char *caller = intern_n(l->frame->prefix, strcspn(l->frame->prefix, "."));
  for (int k = 0; k < l->uses.len; k++)
    if (l->uses.at[k].caller == caller && l->uses.at[k].callee == n->name.text) return;
  vec_push(l->a, &l->uses);
  l->uses.at[l->uses.len - 1].caller = caller;
  l->uses.at[l->uses.len - 1].callee = n->name.text;
}

/* Inference compiles a net for the sizes that a step called it with, where nothing else says them. */
static void note_sizes(Lang *l, const NetDecl *n, const Bindings *dims) {
  for (int k = 0; k < l->seen.len; k++) if (l->seen.at[k].net == n) return;
  vec_push(l->a, &l->seen);
  l->seen.at[l->seen.len - 1].net = n;
  l->seen.at[l->seen.len - 1].dims = *dims;
}

static Val call_body(Lang *l, const NetDecl *n, const NetDecl *body, const Term *call, const char *prefix,
    const Val *given) {
  bool ok = true;
  frame_push(l, n, prefix);
  for (int k = 0; k < body->params.len; k++) {
    const Arg *a = argument_of(call, body, k);
    const ParamDecl *p = &body->params.at[k];
    Span at = a ? a->at : p->name.at;
    lang_source(l, at, n->name.text);
    Val v = conform(l, given[k], p->type, at);
    ok &= lang_check(l, at) && v.kind != VAL_ERROR;
    lang_bind(l, &l->frame->vars, p->name.text, v, p->name.at);
  }
  Val result = ok ? run_body(l, n, body) : val_error();
  if (!l->frame->caller->net) note_sizes(l, n, &l->frame->dims);
  frame_pop(l);
  return result;
}

bool net_has_body(Lang *l, const NetDecl *n) {
  const NetDecl *last = n, *next = n;
  if (body_of(l, n)) return true;
  for (int k = 0; next && k < DEEPEST_CALL; k++) next = net_find(l, (last = next)->from->text);
  if (next) lang_error(l, "name", n->from->at, "net %s is a copy of itself", n->name.text);
  else lang_error(l, "name", last->from->at, "there is no net '%s' to copy", last->from->text);
  return false;
}

Val lang_call_net(Lang *l, const NetDecl *n, const Term *call) {
  const NetDecl *body = body_of(l, n);
  if (!l->m) { lang_error(l, "name", call->at, "a net cannot be called here"); return val_error(); }
  if (!net_has_body(l, n)) return val_error();
  if (at_work(l, body)) {
    lang_error(l, "name", call->at, "net %s calls itself", n->name.text);
    lang_hint(l, "a network is built once and for all; repeat 4 { … } builds layers in a row");
    return val_error();
  }
  bool onnx = net_is_onnx(body);
  if (!onnx && !arguments_exist(l, n, body, call)) return val_error();
  const char *prefix = intern_printf("%s.", call->fresh ? lang_fresh_name(l, n->name.text, NULL) : n->name.text);
  int count = onnx ? call->args.len : body->params.len;
  Val *given = NEW_N(l->a, Val, count + 1);
  bool ok = true;
  for (int k = 0; k < count; k++) {
    const Arg *a = onnx ? &call->args.at[k] : argument_of(call, body, k);
    given[k] = lang_expr(l, a ? a->value : body->params.at[k].value);
    ok &= given[k].kind != VAL_ERROR;
  }
  if (!ok) return val_error();
  Val result = remembered(l, prefix, given, count);
  if (result.kind != VAL_NONE) return result;
  note_use(l, n, call);
  result = onnx ? lang_call_onnx(l, body, given, call, prefix) : call_body(l, n, body, call, prefix, given);
  vec_push(l->a, &l->called);
  l->called.at[l->called.len - 1].prefix = prefix;
  l->called.at[l->called.len - 1].args = given;
  l->called.at[l->called.len - 1].n = count;
  l->called.at[l->called.len - 1].result = result;
  return result;
}
/* ---- a net as a function ---- */

/* A size by name as inference has it: --dim, or what a step called the net with. */
static bool named_size(Lang *l, const NetDecl *n, const char *name, Dim *out) {
  for (int k = 0; k < l->o->ndims; k++) {
    const LanguageDim *d = &l->o->dims[k];
    if (strcmp(d->name, name)) continue;
    *out = d->lo == d->hi ? DIM(d->lo) : dim_symbol(d->name, d->lo, d->hi);
    return true;
  }
  for (int k = 0; k < l->seen.len; k++) {
    const Binding *b = l->seen.at[k].net == n ? binding_find(&l->seen.at[k].dims, name) : NULL;
    if (!b || b->v.kind != VAL_INT || !dim_is_const(b->v.i)) continue;
    *out = b->v.i;
    return true;
  }
  return false;
}

static bool dim_is_open(Lang *l, const NetDecl *n, const NetDecl *body, const Term *e) {
  Dim d;
  if (e->kind == TERM_BINARY) return dim_is_open(l, n, body, e->a) || dim_is_open(l, n, body, e->b);
  if (e->kind != TERM_NAME || !strcmp(e->text, "N") || binding_find(&l->lets, e->text)) return false;
  for (int k = 0; k < body->params.len; k++)
    if (!strcmp(body->params.at[k].name.text, e->text)) return !body->params.at[k].value;
  return !named_size(l, n, e->text, &d);
}

static void bind_named_sizes(Lang *l, const NetDecl *n, const Term *e) {
  Dim d;
  if (e->kind == TERM_BINARY) {
    bind_named_sizes(l, n, e->a);
    bind_named_sizes(l, n, e->b);
  } else if (is_free_name(l, e) && strcmp(e->text, "N") && named_size(l, n, e->text, &d))
    lang_bind(l, &l->frame->dims, e->text, val_int(d), e->at);
}

bool net_is_open(Lang *l, const NetDecl *n) {
  const NetDecl *body = body_of(l, n);
  if (!body || net_is_onnx(body)) return true;                   // an ONNX file needs no compiling by this way
  for (int k = 0; k < body->params.len; k++) {
    const ParamDecl *p = &body->params.at[k];
    if (p->type->kind != TYPE_TENSOR && !p->value) return true;
    for (int i = 0; i < p->type->dims.len; i++) if (dim_is_open(l, n, body, p->type->dims.at[i])) return true;
  }
  return false;
}

static bool net_input(Lang *l, const ParamDecl *p) {
  if (p->type->kind != TYPE_TENSOR) {                            // its default
    Val v = conform(l, lang_expr(l, p->value), p->type, p->name.at);
    lang_bind(l, &l->frame->vars, p->name.text, v, p->name.at);
    return v.kind != VAL_ERROR;
  }
  Dim dims[MAX_RANK];
  for (int k = 0; k < p->type->dims.len; k++) bind_named_sizes(l, l->frame->net, p->type->dims.at[k]);
  for (int k = 0; k < p->type->dims.len; k++) if (!lang_dim(l, p->type->dims.at[k], &dims[k])) return false;
  ValueId v = graph_add_input(l->m->main, p->name.text, type_of(p->type->dtype, p->type->dims.len, dims));
  lang_bind(l, &l->frame->vars, p->name.text, val_tensor(v), p->name.at);
  return true;
}

bool net_build(Lang *l, const NetDecl *n) {
  const NetDecl *body = body_of(l, n);
  if (!body) return false;
  frame_push(l, n, intern_printf("%s.", n->name.text));
  bool ok = true;
  for (int pass = 0; pass < 2; pass++)                           // plain values first: they may stand in dims
    for (int k = 0; k < body->params.len; k++)
      if ((body->params.at[k].type->kind == TYPE_TENSOR) == pass) ok &= net_input(l, &body->params.at[k]);
  Val r = ok ? run_body(l, n, body) : val_error();
  frame_pop(l);
  if (r.kind == VAL_ERROR) return false;
  for (int k = 0; ok && k < (r.kind == VAL_TUPLE ? r.n : 1); k++) {
    const char *name = r.kind == VAL_TUPLE ? intern_printf("%s_%d", n->name.text, k + 1) : n->name.text;
    ValueId v = lang_as_tensor(l, r.kind == VAL_TUPLE ? r.at[k] : r, DT_NONE);
    ok = v != 0;
    if (ok) lang_output(l, v, name);                             // a text: the net helps others, and is no network
  }
  return ok;
}
