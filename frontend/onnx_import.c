/* ONNX model -> module: walks the graph in execution order and lets the importer of each node build canonical
 * nodes. Names are resolved through nested scopes (If, Loop and Scan bodies see outer values); calls of
 * model-local functions are inlined, with their attribute references replaced.
 *
 * Errors do not stop the walk: a node that failed gives FAILED_VALUEs, whose readers stay silent, so one run
 * reports every unsupported operator and every independent mistake.
 *
 * An initializer is a constant even where it is also listed as a graph input (IR versions below 4 list them all,
 * later ones mean "may be overridden", which a compiler cannot offer). */
#include "frontend/onnx_import.h"
#include <stdio.h>
#include <string.h>
#include "base/intern.h"
#include "base/text.h"
#include "frontend/import_fold.h"
#include "frontend/onnx_lists.h"
#include "frontend/onnx_loader.h"
#include "frontend/onnx_order.h"

enum {
  MAX_DEPTH = 60,                      // of nested calls and regions: functions that call themselves end here
  MAX_NODES = 1 << 18                  // calls that double at every level end here
};

typedef struct ImportRow { const char *domain, *op; int since; ImportFn fn; } ImportRow;
static const ImportRow rows[] = {
#define IMPORT(domain, op, since, function) {domain, #op, since, function},
#include "frontend/importers.def"
#undef IMPORT
};

/* The row for this version, or NULL; *first: the earliest version there is, 0 when the operator is unknown. */
static const ImportRow *find_row(const char *domain, const char *op, int opset, int *first) {
  const ImportRow *best = NULL;
  *first = 0;
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
    if (strcmp(rows[k].op, op) || strcmp(rows[k].domain, domain)) continue;
    if (!*first || rows[k].since < *first) *first = rows[k].since;
    if (rows[k].since <= opset && (!best || rows[k].since > best->since)) best = &rows[k];
  }
  return best;
}

static const char *plain_domain(const char *domain) {
  return !domain || !strcmp(domain, "ai.onnx") ? "" : domain;
}

OnnxSource onnx_source(const Import *x) { return ((Loader *)x->frontend)->source; }

/* ---- names ---- */
static bool lookup(const Scope *s, const char *name, int64_t *v) {
  for (; s; s = s->outer)
    if (names_find(&s->names, name, v)) return true;
  return false;
}

ValueId imp_named(Import *x, const char *name) {
  int64_t v;
  return lookup(((Loader *)x->frontend)->scope, intern(name), &v) ? (ValueId)v : 0;
}

static bool define(Loader *l, Scope *s, const char *name, int64_t v, const char *what) {
  if (names_add(&l->tmp, &s->names, intern(name), v)) return true;
  diag_error(l->d, "parse", NULL, "%s '%s' is defined twice", what, name);
  return false;
}

static int opset_in(Onnx__Opset *const *at, size_t n, const char *domain) {
  for (size_t k = 0; k < n; k++)
    if (!strcmp(plain_domain(at[k]->domain), domain))
      return at[k]->version < 1 ? 1 : at[k]->version > 1000 ? 1000 : (int)at[k]->version;
  return 0;
}

/* A function says itself which versions its body uses. Domains nobody imports count as version 1. */
static int opset_of(const Loader *l, const Scope *s, const char *domain) {
  int v = s->function ? opset_in(s->function->opset_import, s->function->n_opset_import, domain) : 0;
  if (!v) v = opset_in(l->model->opset_import, l->model->n_opset_import, domain);
  return v ? v : 1;
}

/* ---- nodes ---- */
static void list_unsupported(Loader *l, const char *domain, const char *op, int opset, int since, const char *node) {
  for (int k = 0; k < l->unsupported.len; k++) {
    Unsupported *u = &l->unsupported.at[k];
    if (u->opset != opset || strcmp(u->domain, domain) || strcmp(u->op, op)) continue;
    if (u->count++ < 3) u->nodes = arena_printf(&l->tmp, "%s, '%s'", u->nodes, node);
    return;
  }
  *vec_push(&l->tmp, &l->unsupported) = (Unsupported){domain, op, arena_printf(&l->tmp, "'%s'", node), opset, 1, since};
}

static void report_unsupported(Loader *l) {
  for (int k = 0; k < l->unsupported.len; k++) {
    const Unsupported *u = &l->unsupported.at[k];
    Text t = {0};
    text_printf(&t, "operator %s%s%s (opset %d) is not supported", u->domain, *u->domain ? "." : "", u->op, u->opset);
    if (u->since > u->opset) text_printf(&t, " (lathe knows it from opset %d on)", u->since);
    text_printf(&t, "; used by %s", u->nodes);
    if (u->count > 3) text_printf(&t, " and %d more", u->count - 3);
    diag_error(l->d, "unsupported", NULL, "%s", t.at);
    text_free(&t);
  }
}

/* The node with references to the calling node's attributes replaced; an attribute whose reference leads
 * nowhere is absent. */
static void resolve_attributes(Loader *l, const Scope *s, const Onnx__Node *p, OnnxNode *node) {
  *node = (OnnxNode){.proto = p, .attr = NEW_N(&l->tmp, const Onnx__Attribute *, p->n_attribute + 1),
                     .read = NEW_N(&l->tmp, bool, p->n_attribute + 1)};
  for (size_t k = 0; k < p->n_attribute; k++) {
    const Onnx__Attribute *a = p->attribute[k], *target = NULL;
    if (a->ref_attr_name && *a->ref_attr_name && s->function) {
      for (int i = 0; i < s->call->nattr && !target; i++)
        if (!strcmp(s->call->attr[i]->name, a->ref_attr_name)) target = s->call->attr[i];
      for (size_t i = 0; i < s->function->n_attribute_proto && !target; i++)
        if (s->function->attribute_proto[i]->name && !strcmp(s->function->attribute_proto[i]->name, a->ref_attr_name))
          target = s->function->attribute_proto[i];
      if (!target) continue;
      Onnx__Attribute *copy = arena_dup(&l->tmp, target, sizeof *target);
      copy->name = a->name;
      a = copy;
    }
    if (a->name) node->attr[node->nattr++] = a;
  }
}

static const Onnx__Function *find_function(const Loader *l, const Onnx__Node *p) {
  const char *domain = plain_domain(p->domain), *overload = p->overload ? p->overload : "";
  for (size_t k = 0; k < l->model->n_functions; k++) {
    const Onnx__Function *f = l->model->functions[k];
    if (f->name && !strcmp(f->name, p->op_type) && !strcmp(plain_domain(f->domain), domain) &&
        !strcmp(f->overload ? f->overload : "", overload))
      return f;
  }
  return NULL;
}

static bool import_nodes(Loader *l, Scope *s, Onnx__Node *const *node, size_t n);

/* The body of a function, with the caller's values under the formal names; sets the call's outputs. */
static bool inline_function(Loader *l, Import *x, const Onnx__Function *f, const char *where) {
  Scope s = {.g = x->g, .call = x->node, .function = f, .path = where};
  if (x->nin > (int)f->n_input || x->nout > (int)f->n_output)
    return imp_fail(x, "parse", "passes %d inputs and %d outputs to function '%s', which has %zu and %zu",
                    x->nin, x->nout, f->name, f->n_input, f->n_output);
  for (size_t k = 0; k < f->n_input; k++)
    if (!define(l, &s, f->input[k], (int)k < x->nin ? x->in[k] : 0, "function input")) return false;
  Scope *outside = l->scope;
  l->scope = &s;
  bool ok = import_nodes(l, &s, f->node, f->n_node);
  l->scope = outside;
  for (int k = 0; k < x->nout; k++) {
    int64_t v;
    if (!names_find(&s.names, intern(f->output[k]), &v))
      return imp_fail(x, "parse", "function '%s' never computes its output '%s'", f->name, f->output[k]);
    if (v == FAILED_VALUE) ok = false;
    else x->out[k] = (ValueId)v;
  }
  return ok;
}

/* Resolves p's inputs into x->in. False: one is unknown (reported) or failed before. */
static bool resolve_inputs(Loader *l, Scope *s, const Onnx__Node *p, Import *x) {
  bool ok = true;
  x->in = NEW_N(&l->tmp, ValueId, p->n_input + 16);           // importers read absent ones as 0
  for (size_t k = 0; k < p->n_input; k++) {
    int64_t v;
    if (!*p->input[k]) continue;
    if (!lookup(s, intern(p->input[k]), &v)) {
      diag_error(l->d, "parse", NULL, "node '%s' (%s) reads '%s', which nothing produces", onnx_node_name(p),
                 p->op_type, p->input[k]);
      ok = false;
    } else if (v == FAILED_VALUE) {
      ok = false;
    } else {
      x->in[k] = (ValueId)v;
    }
  }
  x->nin = (int)p->n_input;
  while (x->nin && !*p->input[x->nin - 1]) x->nin--;          // trailing absent ones
  return ok;
}

/* Outputs made by this node's importer take the ONNX names; those passed through keep theirs. */
static void name_outputs(Loader *l, Import *x, const Onnx__Node *p, int first_value, const char *path) {
  for (int k = 0; k < x->nout; k++) {
    if (!*p->output[k] || (int)x->out[k] < first_value || value_of(l->m, x->out[k])->type.kind != KIND_TENSOR) continue;
    bool again = false;
    for (int i = 0; i < k; i++) again |= x->out[i] == x->out[k];
    if (!again)
      graph_rename_value(l->m, x->out[k], *path ? arena_printf(&l->tmp, "%s%s", path, p->output[k]) : p->output[k]);
  }
}

static bool may_stay_unread(const char *op, const char *attribute) {
  static const struct { const char *op, *attribute; } table[] = {
#define UNREAD(op, attribute, why) {op, attribute},
#include "frontend/unread.def"
#undef UNREAD
  };
  for (size_t k = 0; k < sizeof table / sizeof *table; k++)
    if (!strcmp(table[k].attribute, attribute) && (!table[k].op || !strcmp(table[k].op, op))) return true;
  return false;
}

/* What an importer has not asked for is not in what it built. */
static bool all_read(Import *x) {
  for (int k = 0; k < x->node->nattr; k++) {
    const char *name = x->node->attr[k]->name;
    if (!x->node->read[k] && !may_stay_unread(x->op, name))
      return imp_fail(x, "unsupported", "attribute '%s' is not one that lathe knows in this operator; without it the "
                      "result could be another", name);
  }
  return true;
}

static bool import_node(Loader *l, Scope *s, const Onnx__Node *p) {
  const char *domain = plain_domain(p->domain);
  if (!p->op_type) {
    diag_error(l->d, "parse", NULL, "node '%s' has no operator", onnx_node_name(p));
    return false;
  }
  OnnxNode node;
  resolve_attributes(l, s, p, &node);
  Import x = {.m = l->m, .g = s->g, .node = &node, .op = p->op_type, .domain = domain, .frontend = l,
              .opset = opset_of(l, s, domain), .nout = (int)p->n_output};
  x.out = NEW_N(&l->tmp, ValueId, p->n_output + 1);
  const char *where = *s->path ? arena_printf(&l->tmp, "%s%s", s->path, onnx_node_name(p)) : onnx_node_name(p);
  bool ok = resolve_inputs(l, s, p, &x);
  int first, first_value = l->m->values.len;
  const Onnx__Function *function = find_function(l, p);
  const ImportRow *row = function ? NULL : find_row(domain, p->op_type, x.opset, &first);
  if (!function && !row) {
    list_unsupported(l, domain, p->op_type, x.opset, first, where);
    ok = false;
  }
  if (ok && l->depth >= MAX_DEPTH)
    ok = imp_fail(&x, "parse", "is nested more than %d levels deep; does a function call itself?", MAX_DEPTH);
  if (ok) {
    int errors = l->d->errors;
    Source before = graph_source(l->m);
    graph_set_source(l->m, (Source){intern(where), intern(p->op_type), 0});
    l->depth++;
    ok = (function ? inline_function(l, &x, function, arena_printf(&l->tmp, "%s/", where)) : row->fn(&x)) &&
         !x.failed && l->d->errors == errors;
    l->depth--;
    graph_set_source(l->m, before);
    for (int k = 0; ok && k < x.nout; k++)
      if (*p->output[k] && !x.out[k])
        ok = imp_fail(&x, "unsupported", "output %d ('%s') is not supported", k, p->output[k]);
    if (ok && !function) ok = all_read(&x);
    if (!ok && !l->d->errors && !l->unsupported.len) imp_fail(&x, "internal", "the importer failed without saying why");
    if (ok && !function) name_outputs(l, &x, p, first_value, s->path);
  }
  for (size_t k = 0; k < p->n_output; k++)
    if (*p->output[k]) ok &= define(l, s, p->output[k], ok ? (int64_t)x.out[k] : FAILED_VALUE, "value");
  return ok;
}

static bool import_nodes(Loader *l, Scope *s, Onnx__Node *const *node, size_t n) {
  const int *order = onnx_order(&l->tmp, node, n, l->d);
  bool ok = order != NULL;
  for (size_t k = 0; order && k < n; k++) {
    if (l->nodes > MAX_NODES) return false;
    if (l->nodes++ == MAX_NODES)
      diag_error(l->d, "memory", NULL, "the model comes to more than %d nodes; do its functions or loops multiply?",
                 MAX_NODES);
    ok &= import_node(l, s, node[order[k]]);
  }
  return ok;
}

/* ---- graphs ---- */
static const char *text_or_empty(const char *s) { return s ? s : ""; }

static bool import_initializers(Loader *l, Scope *s, const Onnx__Graph *p) {
  bool ok = true;
  for (size_t k = 0; k < p->n_initializer + p->n_sparse_initializer; k++) {
    bool sparse = k >= p->n_initializer;
    const Onnx__SparseTensor *sp = sparse ? p->sparse_initializer[k - p->n_initializer] : NULL;
    const char *name = text_or_empty(!sparse ? p->initializer[k]->name : sp->values ? sp->values->name : NULL);
    const char *where = arena_printf(&l->tmp, "initializer '%s'", name);
    const Tensor *t = sparse ? onnx_sparse_tensor(&l->source, sp, where)
                             : onnx_tensor(&l->source, p->initializer[k], where);
    ok &= t && define(l, s, name, (int64_t)graph_add_constant(l->m, name, t), "initializer");
    if (!t) define(l, s, name, FAILED_VALUE, "initializer");
    else if (dtype_is_float(t->dtype)) l->m->parameters += tensor_count(t);
  }
  return ok;
}

static bool import_main_inputs(Loader *l, Scope *s, const Onnx__Graph *p) {
  bool ok = true;
  l->input = -1;
  for (size_t k = 0; k < p->n_input; k++) {
    const char *name = text_or_empty(p->input[k]->name);
    int64_t there;
    if (names_find(&s->names, intern(name), &there)) continue;            // an initializer
    l->input++;
    ImportSample *sample = l->input < l->o->nsamples ? &l->o->samples[l->input] : NULL;
    if (sample) sample->name = intern(name);
    Type t;
    if (p->input[k]->type && (p->input[k]->type->sequence_type || p->input[k]->type->optional_type)) {
      ValueId v = list_input(l, s->g, name, p->input[k]->type);
      ok &= define(l, s, name, v ? (int64_t)v : FAILED_VALUE, "input") && v;
      continue;
    }
    bool known = onnx_type(l, name, p->input[k]->type, true, &t);
    const Tensor *value = NULL;
    if (known) known = onnx_bound(l, name, &t, &value);
    if (sample) sample->type = t, sample->bound = value;
    int64_t v = !known ? FAILED_VALUE
                : value ? (int64_t)graph_add_constant(l->m, name, value) : (int64_t)graph_add_input(s->g, name, t);
    ok &= define(l, s, name, v, "input") && known;
  }
  return ok;
}

/* Whether v can be an output of g as it is: made by a node of g and not an output yet. */
static bool own_value(const Graph *g, ValueId v) {
  NodeId def = value_of(g->module, v)->def;
  for (int k = 0; k < g->outputs.len; k++)
    if (g->outputs.at[k] == v) return false;
  return def && node_of(g->module, def)->graph == g;
}

/* The tensors of every output; lists are taken apart, and the form says how. */
static bool import_outputs(Loader *l, Scope *s, const Onnx__Graph *p, bool is_main) {
  bool ok = true;
  Text form = {0};
  for (size_t k = 0; k < p->n_output; k++) {
    const char *name = text_or_empty(p->output[k]->name);
    int64_t found;
    if (!lookup(s, intern(name), &found)) {
      diag_error(l->d, "parse", NULL, "output '%s' is produced by no node", name);
      ok = false;
      continue;
    }
    if (found == FAILED_VALUE || found == 0) { ok = false; continue; }
    ValueId v = (ValueId)found;
    if (is_main) onnx_check_output(l, name, p->output[k]->type, &value_of(l->m, v)->type);
    Leaves leaf = {0};
    list_flatten(l, v, &leaf, &form);
    bool alone = !list_find(l, v);
    for (int i = 0; i < leaf.len; i++) {
      v = leaf.at[i];
      if (!own_value(s->g, v)) v = graph_op(s->g, OP_COPY, &v, 1, NULL, 0);  // an output has its own memory
      if (is_main) graph_rename_value(l->m, v, alone ? name : arena_printf(&l->tmp, "%s_%d", name, i));
      *vec_push(&l->m->perm, &s->g->outputs) = v;
    }
  }
  vec_push(&l->tmp, &l->forms);
  l->forms.at[l->forms.len - 1].g = s->g;
  l->forms.at[l->forms.len - 1].text = arena_strdup(&l->tmp, form.at ? form.at : "");
  text_free(&form);
  return ok;
}

static Scope region_scope(const Loader *l, Graph *g) {
  return (Scope){.outer = l->scope,
                 .g = g,
                 .call = l->scope->call,
                 .function = l->scope->function,
                 .path = l->scope->path};
}

Graph *onnx_import_region(Import *x, const Onnx__Graph *p, const Type *in, int n) {
  Loader *l = x->frontend;
  Graph *g = graph_new(x->m, text_or_empty(p->name), 0);
  Scope s = region_scope(l, g), *outside = l->scope;
  bool ok = import_initializers(l, &s, p);
  for (size_t k = 0; ok && k < p->n_input; k++) {
    const char *name = text_or_empty(p->input[k]->name);
    Type t;
    ok = onnx_type(l, name, p->input[k]->type, false, &t);
    if (ok && (int)k < n) {
      if (in[k].dtype != DT_NONE) t.dtype = in[k].dtype;
      if (in[k].rank >= 0) {
        DType keep = t.dtype;
        t = in[k];
        t.dtype = keep;
      }
    }
    if (ok && (t.rank < 0 || t.dtype == DT_NONE))
      ok = imp_fail(x, "shape", "the shape of its body's input '%s' is not known", name);
    if (ok) ok = define(l, &s, name, (int64_t)graph_add_input(g, name, t), "input");
  }
  if (!ok) return NULL;
  l->scope = &s;
  ok = import_nodes(l, &s, p->node, p->n_node);
  ok = import_outputs(l, &s, p, false) && ok;
  l->scope = outside;
  return ok ? g : NULL;
}

bool onnx_inline_region(Import *x, const Onnx__Graph *p, const ValueId *in, int nin, ValueId *out, int nout) {
  Loader *l = x->frontend;
  Scope s = region_scope(l, x->g), *outside = l->scope;
  if (p->n_output < (size_t)nout)
    return imp_fail(x, "parse", "needs %d outputs of its graph, which has only %zu", nout, p->n_output);
  if (p->n_input != (size_t)nin) return imp_fail(x, "parse", "its graph has %zu inputs and gets %d", p->n_input, nin);
  bool ok = import_initializers(l, &s, p);
  for (int k = 0; k < nin; k++) ok = define(l, &s, text_or_empty(p->input[k]->name), (int64_t)in[k], "input") && ok;
  l->scope = &s;
  ok = ok && import_nodes(l, &s, p->node, p->n_node);
  l->scope = outside;
  for (int k = 0; ok && k < nout; k++) {
    int64_t v;
    const char *name = text_or_empty(p->output[k]->name);
    if (!lookup(&s, intern(name), &v))
      return imp_fail(x, "parse", "output '%s' of its graph is produced by no node", name);
    ok = v != FAILED_VALUE;
    if (ok) out[k] = (ValueId)v;
  }
  return ok;
}

/* ---- the whole model ---- */
static bool check_opsets(Loader *l) {
  const Onnx__Model *p = l->model;
  if (p->has_ir_version && p->ir_version >= 3 && !opset_in(p->opset_import, p->n_opset_import, "") && p->graph->n_node)
    for (size_t k = 0; k < p->graph->n_node; k++)
      if (!*plain_domain(p->graph->node[k]->domain)) {
        diag_warn(l->d, "parse", NULL, "the model does not say which version of ai.onnx it uses; taken as opset 1");
        break;
      }
  return true;
}

static const char *stem_of(Arena *a, const char *path) {
  const char *slash = path ? strrchr(path, '/') : NULL, *base = slash ? slash + 1 : path ? path : "model";
  char *s = arena_strdup(a, base), *dot = strrchr(s, '.');
  if (dot && dot != s) *dot = 0;
  return s;
}

static Module *import_model(Module *m, const Onnx__Model *p, const char *path, const ImportOptions *o, Diags *d) {
  static const ImportOptions none = {0};
  Loader l = {.m = m, .d = d, .model = p, .o = o ? o : &none, .source = {&m->perm, NULL, d}};
  l.dim_used = NEW_N(&l.tmp, bool, l.o->ndims + 1);
  l.bind_used = NEW_N(&l.tmp, bool, l.o->nbinds + 1);
  l.list_used = NEW_N(&l.tmp, bool, l.o->nlists + 1);
  if (path) {
    const char *slash = strrchr(path, '/');
    l.source.folder = !slash ? "." : slash == path ? "/" : arena_printf(&m->perm, "%.*s", (int)(slash - path), path);
    m->path = intern(path);
  }
  Scope s = {.g = m->main, .path = ""};
  l.scope = &s;
  bool ok = check_opsets(&l);
  ok = import_initializers(&l, &s, p->graph) && ok;
  ok = import_main_inputs(&l, &s, p->graph) && ok;
  onnx_check_options(&l);
  ok = ok && !l.unbound.len;                                  // with sizes nobody wants, more would go wrong
  ok = (l.unbound.len || import_nodes(&l, &s, p->graph->node, p->graph->n_node)) && ok;
  ok = (l.unbound.len || import_outputs(&l, &s, p->graph, true)) && ok;
  report_unsupported(&l);
  if (ok && !p->graph->n_output) diag_error(d, "parse", NULL, "the model has no outputs"), ok = false;
  if (!ok && !d->errors) diag_error(d, "internal", NULL, "the import failed without saying why");
  if (l.eval.m) eval_end(&l.eval);
  arena_free(&l.tmp);
  if (d->errors) {
    module_free(m);
    return NULL;
  }
  graph_sweep(m);
  return m;
}

Module *onnx_import_bytes(const void *p, size_t n, const char *path, const ImportOptions *o, Diags *d) {
  Arena tmp = {0};
  Module *m = module_new(stem_of(&tmp, path), d);
  arena_free(&tmp);
  const Onnx__Model *model = onnx_decode_model(&m->perm, p, n, d);
  if (model) return import_model(m, model, path, o, d);
  module_free(m);
  return NULL;
}

Module *onnx_import_file(const char *path, const ImportOptions *o, Diags *d) {
  OnnxBytes b;
  if (!onnx_bytes_open(&b, path, d)) return NULL;
  Arena tmp = {0};
  Module *m = module_new(stem_of(&tmp, path), d);
  arena_free(&tmp);
  const Onnx__Model *model = onnx_decode_model(&m->perm, b.at, b.len, d);
  onnx_bytes_close(&b);                                       // before the walk: decoding has copied what stays
  if (model) return import_model(m, model, path, o, d);
  module_free(m);
  return NULL;
}
