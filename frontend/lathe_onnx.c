/* net body = onnx("mobilenet.onnx", output="features"): an imported model as a net.
 *
 * The file is imported once; each call copies the nodes that the wanted outputs need into the module at work, the free
 * sizes of the model's inputs replaced by those of the arguments. Float initializers become parameters
 * "body.NAME"; they are trained only where `over` names the net. Normalisations and whatever else the importer folds
 * into constants stay constants. */
#include "frontend/lathe_build.h"
#include "base/intern.h"
#include "frontend/import.h"
#include <ctype.h>
#include <string.h>

struct OnnxNet { const NetDecl *decl; Module *m; ValueList outputs; struct OnnxNet *next; };

bool net_is_onnx(const NetDecl *n) { return n && n->from && !n->from->fresh && !strcmp(n->from->text, "onnx"); }

/* ---- the file ---- */

static const char *text_argument(Lang *l, const Term *call, const char *name, int position) {
  for (int k = 0, at = 0; k < call->args.len; k++) {
    const Arg *a = &call->args.at[k];
    if (a->name ? strcmp(a->name, name) : at++ != position) continue;
    if (a->value->kind == TERM_STRING) return a->value->text;
    lang_error(l, "type", a->at, "'%s' of onnx is a text", name);
  }
  return NULL;
}

static const char *beside(Lang *l, const char *path) {
  const char *slash = strrchr(l->text.path, '/');
  return !slash || path[0] == '/' ? path : arena_printf(l->a, "%.*s/%s", (int)(slash - l->text.path), l->text.path,
      path);
}

static bool choose_outputs(Lang *l, struct OnnxNet *x, const Term *from) {
  const char *name = text_argument(l, from, "output", 1);
  Module *m = x->m;
  if (!name) { x->outputs = m->main->outputs; return true; }
  ValueId v = graph_find_value(m, name);
  if (v) { *vec_push(l->a, &x->outputs) = v; return true; }
  VEC(const char *) names = {0};
  for (int k = 1; k < m->values.len; k++) if (m->values.at[k].def) *vec_push(l->a, &names) = m->values.at[k].name;
  lang_error(l, "name", from->at, "the model has no value '%s'", name);
  const char *near = name_nearest(name, names.at, names.len);
  if (near) lang_hint(l, "did you mean '%s'?", near);
  else lang_hint(l, "`lathe opt %s -p fold` lists its values", beside(l, text_argument(l, from, "path", 0)));
  return false;
}

/* Files made for one row are read again for any number of rows; NULL where the graph does not go along: an error, or a
 * result whose first axis is not that number. */
static Module *any_rows(const char *path, const Module *one) {
  for (int k = 0; k < one->main->inputs.len; k++) {
    const Type *t = &one->values.at[one->main->inputs.at[k]].type;
    if (!t->rank || !dim_is(t->dims[0], 1)) return NULL;
  }
  Diags d = {0};
  Module *m = onnx_import_file(path, &(ImportOptions){.free_batch = true}, &d);
  bool ok = m != NULL;
  for (int k = 0; ok && k < m->main->outputs.len; k++) {
    const Type *t = &value_of(m, m->main->outputs.at[k])->type, *first = &value_of(m, m->main->inputs.at[0])->type;
    ok = t->rank && dim_eq(t->dims[0], first->dims[0]);
  }
  if (m && !ok) module_free(m);
  diags_free(&d);
  return ok ? m : NULL;
}

Module *lathe_onnx_load(const char *path, Diags *d) {
  Module *m = onnx_import_file(path, NULL, d), *more = m ? any_rows(path, m) : NULL;
  if (more) module_free(m);
  return more ? more : m;
}

static struct OnnxNet *load(Lang *l, const NetDecl *n) {
  for (struct OnnxNet *x = l->onnx; x; x = x->next) if (x->decl == n) return x->m ? x : NULL;
  struct OnnxNet *x = NEW(l->a, struct OnnxNet);
  *x = (struct OnnxNet){.decl = n, .next = l->onnx};
  l->onnx = x;
  const char *path = text_argument(l, n->from, "path", 0);
  if (!path) { lang_error(l, "name", n->from->at, "onnx(\"model.onnx\") takes the path of a file"); return NULL; }
  Diags d = {0};
  x->m = lathe_onnx_load(beside(l, path), &d);
  if (!x->m) lang_error(l, d.len ? d.at[0].kind : "io", n->from->at, "%s: %s", path,
                        d.len ? d.at[0].text : "cannot be read");
  diags_free(&d);
  if (!x->m || choose_outputs(l, x, n->from)) return x->m ? x : NULL;
  module_free(x->m);
  x->m = NULL;
  return NULL;
}

void lang_onnx_free(Lang *l) {
  for (struct OnnxNet *x = l->onnx; x; x = x->next) if (x->m) module_free(x->m);
}

/* ---- a copy ---- */

typedef struct Copy {
  Lang *l;
  Module *from;
  const char *prefix;
  Span at;
  ValueId *to;                                                  /* per value of `from`; 0: not copied yet */
  VEC(struct { const char *symbol; Dim is; }) sizes;
} Copy;

static Dim size_of(const Copy *c, Dim d) {
  for (int k = 0; k < c->sizes.len; k++) d = dim_subst(d, c->sizes.at[k].symbol, c->sizes.at[k].is);
  return d;
}

/* A size of an input: it has to be the argument's, or is a free one that becomes it. */
static bool bind_size(Copy *c, Dim declared, Dim given) {
  Dim now = size_of(c, declared);
  if (dim_eq(now, given)) return true;
  if (!symbol_find(dim_text(now)) || dim_is_const(now)) return false;
  vec_push(c->l->a, &c->sizes);
  c->sizes.at[c->sizes.len - 1].symbol = dim_text(now);
  c->sizes.at[c->sizes.len - 1].is = given;
  return true;
}

static bool bind_input(Copy *c, ValueId input, Val v, Span at) {
  Lang *l = c->l;
  const Value *x = value_of(c->from, input);
  ValueId is = lang_as_tensor(l, v, x->type.dtype);
  if (!is) {
    lang_error(l, "type", at, "input '%s' of the model takes a tensor, not %s", x->name, val_text(l->m, &v));
    return false;
  }
  Type have = *build_type(l->g, is);
  bool fits = have.rank == x->type.rank && (dtype_is_float(x->type.dtype) || !dtype_is_float(have.dtype));
  for (int k = 0; fits && k < have.rank; k++) fits = bind_size(c, x->type.dims[k], have.dims[k]);
  if (!fits) {
    lang_error(l, "shape", at, "%s where input '%s' of the model is %s", type_text(&have), x->name,
        type_text(&x->type));
    if (x->type.rank == have.rank && x->type.rank && dim_is(x->type.dims[0], 1))
      lang_hint(l, "the file is made for a batch of 1 and computes with that size; export it with a free first axis");
    return false;
  }
  c->to[input] = build_cast(l->g, is, x->type.dtype);
  return true;
}

static ValueId copy_constant(Copy *c, ValueId v) {
  Lang *l = c->l;
  const Value *x = value_of(c->from, v);
  Tensor *t = arena_dup(&l->m->perm, x->constant, sizeof *t);
  bool made = x->name[0] == 'v' && isdigit((unsigned char)x->name[1]);   // by the importer
  if (!dtype_is_float(t->dtype) || !t->rank || made) {
    if (tensor_bytes(t)) t->data = arena_dup(&l->m->perm, t->data, tensor_bytes(t));
    return graph_add_constant(l->m, NULL, t);
  }
  const char *name = intern_printf("%s%.200s", c->prefix, x->name);
  if (strlen(name) >= STATE_NAME - 16) name = intern_printf("%sweight_%d", c->prefix, (int)v);
  Parameter *p = lang_declare(l, name, x->type, ROLE_PARAMETER, c->at);
  if (!p->value) {
    Tensor *kept = arena_dup(&l->b->arena, t, sizeof *t);
    kept->data = arena_dup(&l->b->arena, t->data, tensor_bytes(t));
    p->value = kept;
    p->imported = true;
    p->init = "zeros";
  }
  return graph_state(l->m, name, x->type);
}

static ValueId copied(Copy *c, ValueId v) {
  if (v && !c->to[v] && value_of(c->from, v)->constant) c->to[v] = copy_constant(c, v);
  return v ? c->to[v] : 0;
}

static bool copy_node(Copy *c, NodeId id) {
  Lang *l = c->l;
  const Node *n = node_of(c->from, id);
  if (n->nregion) {
    lang_error(l, "unsupported", c->at, "the model has control flow (%s), which a net cannot import",
               op_info[n->op].text);
    return false;
  }
  ValueId *in = NEW_N(l->a, ValueId, n->nin + 1);
  for (int k = 0; k < n->nin; k++) in[k] = copied(c, n->in[k]);
  Attr *a = arena_dup(&l->m->perm, n->attr, (size_t)n->nattr * sizeof *a);
  for (int k = 0; k < n->nattr; k++) {
    if (a[k].kind == ATTR_DIMS) {
      Dim *d = NEW_N(&l->m->perm, Dim, a[k].n + 1);
      for (int i = 0; i < a[k].n; i++) d[i] = size_of(c, a[k].dims[i]);
      a[k].dims = d;
    } else if (a[k].kind == ATTR_FLOATS)
      a[k].floats = arena_dup(&l->m->perm, a[k].floats, (size_t)a[k].n * sizeof(double));
    else if (a[k].kind == ATTR_STRS) a[k].strs = arena_dup(&l->m->perm, a[k].strs, (size_t)a[k].n * sizeof(char *));
    else if (a[k].kind == ATTR_TENSOR) { lang_error(l, "unsupported", c->at,
        "the model has a %s, which a net cannot import", op_info[n->op].text); return false; }
  }
  graph_set_source(l->m, n->source);
  NodeId copy = graph_add_node(l->g, n->op, in, n->nin, n->nout, a, n->nattr);
  for (int k = 0; k < n->nout; k++) c->to[n->out[k]] = node_of(l->m, copy)->out[k];
  return lang_check(l, c->at);
}

/* Marks the nodes that v needs. */
static void need(Copy *c, ValueId v, bool *needed) {
  NodeId id = v ? value_of(c->from, v)->def : 0;
  if (!id || needed[id] || c->to[v]) return;
  needed[id] = true;
  const Node *n = node_of(c->from, id);
  for (int k = 0; k < n->nin; k++) need(c, n->in[k], needed);
}

Val lang_call_onnx(Lang *l, const NetDecl *n, const Val *args, const Term *call, const char *prefix) {
  struct OnnxNet *x = load(l, n);
  if (!x) return val_error();
  Copy c = {.l = l, .from = x->m, .prefix = prefix, .at = call->at, .to = NEW_N(l->a, ValueId, x->m->values.len)};
  const ValueList *in = &x->m->main->inputs;
  if (call->args.len != in->len) {
    lang_error(l, "name", call->at, "the model has %d input%s, the call %d argument%s", in->len, in->len == 1 ? ""
        : "s",
               call->args.len, call->args.len == 1 ? "" : "s");
    return val_error();
  }
  for (int k = 0; k < in->len; k++) if (!bind_input(&c, in->at[k], args[k], call->args.at[k].at)) return val_error();
  bool *needed = NEW_N(l->a, bool, x->m->nodes.len);
  for (int k = 0; k < x->outputs.len; k++) need(&c, x->outputs.at[k], needed);
  for (int k = 0; k < x->m->main->nodes.len; k++) {
    NodeId id = x->m->main->nodes.at[k];
    if (needed[id] && !copy_node(&c, id)) return val_error();
  }
  Val v = {.kind = VAL_TUPLE, .n = x->outputs.len, .at = NEW_N(l->a, Val, x->outputs.len)};
  for (int k = 0; k < v.n; k++) v.at[k] = val_tensor(copied(&c, x->outputs.at[k]));
  return v.n == 1 ? v.at[0] : v;
}
