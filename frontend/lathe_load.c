/* A `.lathe` text -> Bundle: the text is parsed, then its functions are built one after the other.
 *
 * The order matters: what builds no updates comes first (evaluations, inference), because it declares all
 * parameters and shows what follows each of them; then `init`; then the training steps, whose optimizers add to
 * init. */
#include "frontend/lathe_build.h"
#include "base/intern.h"
#include <stdlib.h>
#include <string.h>

enum { STEP_STREAM = 1 << 20 };                                 /* random nodes of functions; below: those of init */

/* ---- functions ---- */

static Function *function_add(Lang *l, const char *name, FunctionKind kind) {
  Function *f = vec_push(&l->b->arena, &l->b->fn);
  *f = (Function){.name = name, .kind = kind, .m = module_new(name, &l->graph_errors)};
  f->m->path = l->text.path;
  return f;
}

static void function_begin(Lang *l, Module *m, FunctionKind kind, Dim n) {
  l->m = m;
  l->g = m->main;
  l->kind = kind;
  l->training = kind == FUNCTION_STEP;
  l->n = n;
  l->followed.len = l->called.len = l->column_values.len = 0;
}

static void function_end(Lang *l) {
  lang_check(l, (Span){0, 0});
  l->m = NULL;
  l->g = NULL;
}

static bool is_listed(const ValueList *list, ValueId v) {
  for (int k = 0; k < list->len; k++) if (list->at[k] == v) return true;
  return false;
}

static bool is_port(const Module *m, ValueId v) {
  return is_listed(&m->main->inputs, v) || is_listed(&m->main->outputs, v);
}

/* Inputs and outputs are found by their names: a value between them that has this name (a variable) gets another. */
void lang_free_name(Lang *l, const char *name) {
  ValueId v = graph_find_value(l->m, name);
  if (v && !is_port(l->m, v)) graph_rename_value(l->m, v, NULL);
}

/* Two reports of one name: the second is NAME_2. */
void lang_output(Lang *l, ValueId v, const char *name) {
  Module *m = l->m;
  const char *wanted = name;
  if (!value_of(m, v)->def || is_listed(&m->main->outputs, v)) v = build_op1(m->main, OP_COPY, v);
  for (int k = 2; is_port(m, graph_find_value(m, name)); k++) name = intern_printf("%s_%d", wanted, k);
  if (graph_find_value(m, name) != v) lang_free_name(l, name);
  if (strcmp(value_of(m, v)->name, name)) graph_rename_value(m, v, name);
  *vec_push(&m->perm, &m->main->outputs) = v;
}

/* ---- the parts of a text ---- */

/* --dim T=64 replaces a constant T; a size of that name that is no constant is inference's (lathe_net.c). */
static Val let_value(Lang *l, const LetDecl *d) {
  for (int k = 0; k < l->o->ndims; k++) {
    if (strcmp(l->o->dims[k].name, d->name.text)) continue;
    if (l->o->dims[k].lo == l->o->dims[k].hi) return val_int(DIM(l->o->dims[k].lo));
    lang_error(l, "usage", d->name.at, "'%s' is one number for the whole text; --dim gives it a range", d->name.text);
  }
  return lang_expr(l, d->value);
}

static void build_lets(Lang *l) {
  for (int k = 0; k < l->file->lets.len; k++) {
    const LetDecl *d = &l->file->lets.at[k];
    const Binding *b = binding_find(&l->lets, d->name.text);
    if (b) {
      lang_error(l, "name", d->name.at, "'%s' has a value already, from line %d", d->name.text,
          lathe_line(&l->text, b->at.start));
      continue;
    }
    lang_bind(l, &l->lets, d->name.text, let_value(l, d), d->name.at);
  }
}

/* Rows of inference: 1 up to the batch, or what --dim says; `given`: it says something. */
static Dim inference_rows(Lang *l, bool *given) {
  int64_t lo = 1, hi = l->b->batch;
  for (int k = 0; k < l->o->ndims; k++) {
    if (strcmp(l->o->dims[k].name, "N")) continue;
    *given = true;
    lo = l->o->dims[k].lo;
    hi = l->o->dims[k].hi;
  }
  return lo == hi ? DIM(lo) : dim_symbol("N", lo < 1 ? 1 : lo, hi > l->b->batch ? hi : l->b->batch);
}

/* Rows of evaluation: what the trainer hands out, a batch or the rest of the data, whatever --dim says of inference. */
static Dim evaluation_rows(Lang *l, bool given) {
  return l->b->batch == 1 ? DIM(1) : dim_symbol(given ? "rows" : "N", 1, l->b->batch);
}

/* Columns and constants: a step finds both by their names. */
static void check_columns(Lang *l) {
  const DataDecl *d = &l->file->data;
  for (int k = 0; k < d->columns.len; k++) {
    const Word *name = &d->columns.at[k].name;
    const Binding *let = binding_find(&l->lets, name->text);
    int line = let ? lathe_line(&l->text, let->at.start) : 0;
    for (int i = 0; i < k; i++)
      if (!strcmp(d->columns.at[i].name.text, name->text)) line = lathe_line(&l->text, d->columns.at[i].name.at.start);
    if (line) lang_error(l, "name", name->at, "the name '%s' is taken by line %d", name->text, line);
  }
}

/* Names of nets and steps are names of functions in emitted C. */
static void check_names(Lang *l) {
  const LatheFile *f = l->file;
  VEC(Word) names = {0};
  *vec_push(l->a, &names) = (Word){"init", {0, 0}};
  for (int k = 0; k < f->nets.len; k++) *vec_push(l->a, &names) = f->nets.at[k]->name;
  for (int k = 0; k < f->steps.len; k++) *vec_push(l->a, &names) = f->steps.at[k]->name;
  for (int k = 0; k < f->nets.len; k++) net_has_body(l, f->nets.at[k]);
  for (int k = 1; k < names.len; k++)
    for (int i = 0; i < k; i++) {
      if (strcmp(names.at[i].text, names.at[k].text)) continue;
      if (i) lang_error(l, "name", names.at[k].at, "the name '%s' is taken by line %d", names.at[k].text,
          lathe_line(&l->text, names.at[i].at.start));
      else lang_error(l, "name", names.at[k].at, "'init' is the function that starts the state");
      break;
    }
}

static void function_drop(Lang *l) { module_free(l->b->fn.at[--l->b->fn.len].m); }

static const char *evaluation_name(Lang *l, const StepDecl *s) {
  bool taken = s->named;
  for (int k = 0; k < l->file->steps.len; k++) taken |= !strcmp(l->file->steps.at[k]->name.text, "eval");
  return taken ? intern_printf("eval_%s", s->name.text) : intern("eval");
}

/* A step without data has nothing to evaluate on; it is built so all the same, to meet its parameters. What is wrong
 * here is wrong in the training step as well, in other sizes: `failed` steps are not built again. */
static void build_evaluations(Lang *l, Dim rows, bool *failed) {
  for (int k = 0; k < l->file->steps.len; k++) {
    const StepDecl *s = l->file->steps.at[k];
    const char *name = lang_step_minimizes(s) ? evaluation_name(l, s) : s->name.text;
    Function *f = function_add(l, name, FUNCTION_EVAL);
    function_begin(l, f->m, FUNCTION_EVAL, rows);
    bool ok = lang_step_build(l, s), data = l->column_values.len > 0;
    function_end(l);
    failed[k] = !ok;
    if (!ok || (lang_step_minimizes(s) && !data)) function_drop(l);
  }
}

static void build_steps(Lang *l, const bool *failed) {
  for (int k = 0; k < l->file->steps.len; k++) {
    const StepDecl *s = l->file->steps.at[k];
    if (failed[k] || !lang_step_minimizes(s)) continue;
    Function *f = function_add(l, s->name.text, FUNCTION_STEP);
    function_begin(l, f->m, FUNCTION_STEP, DIM(l->b->batch));
    lang_step_build(l, s);
    function_end(l);
  }
}

/* init, steps, evaluations, inference; each kind in the order of the text. */
static void sort_functions(Bundle *b) {
  for (int k = 1; k < b->fn.len; k++) {
    Function f = b->fn.at[k];
    int at = k;
    for (; at > 0 && b->fn.at[at - 1].kind > f.kind; at--) b->fn.at[at] = b->fn.at[at - 1];
    b->fn.at[at] = f;
  }
}

static void build_nets(Lang *l, Dim rows) {
  for (int k = 0; k < l->file->nets.len; k++) {
    const NetDecl *n = l->file->nets.at[k];
    if (net_is_pattern(l, n) || net_is_open(l, n)) continue;
    Function *f = function_add(l, n->name.text, FUNCTION_INFER);
    function_begin(l, f->m, FUNCTION_INFER, rows);
    bool ok = net_build(l, n);
    function_end(l);
    if (!ok) function_drop(l);
  }
}

/* A net that nothing uses is a mistake beside steps, which use nets; so is one that cannot be built without a call. */
static void check_uses(Lang *l) {
  for (int k = 0; k < l->file->nets.len; k++) {
    const NetDecl *n = l->file->nets.at[k];
    if (net_is_called(l, n)) continue;
    if (!net_has_body(l, n)) continue;
    if (net_is_open(l, n) && !net_is_onnx(n)) {
      lang_error(l, "shape", n->at, "net %s has sizes that nothing says: no step or net calls it", n->name.text);
      lang_hint(l, "`let T = 64`, or --dim T=64 for a size T");
    } else if (l->file->steps.len)
      lathe_warn(&l->text, "unused", n->name.at, "no step or net calls net %s", n->name.text);
  }
}

/* init stands first in the bundle. */
static void build_init(Lang *l) {
  Function *f = function_add(l, intern("init"), FUNCTION_INIT);
  Function init = *f;
  memmove(&l->b->fn.at[1], l->b->fn.at, (size_t)(l->b->fn.len - 1) * sizeof init);
  l->b->fn.at[0] = init;
  function_begin(l, init.m, FUNCTION_INIT, DIM(1));
  lang_build_init(l);
  function_end(l);
}

static void build_all(Lang *l) {
  Frame top = {.prefix = ""};
  l->frame = &top;
  build_lets(l);
  lang_settings(l);
  check_names(l);
  check_columns(l);
  bool given = false, *failed = NEW_N(l->a, bool, l->file->steps.len + 1);
  Dim rows = inference_rows(l, &given);
  build_evaluations(l, evaluation_rows(l, given), failed);
  build_nets(l, rows);
  check_uses(l);
  if (!l->failures) lang_check_variables(l);
  build_init(l);
  build_steps(l, failed);
  sort_functions(l->b);
  l->frame = NULL;
}

static const char *stem_of(Arena *a, const char *path) {
  const char *slash = strrchr(path, '/');
  char *s = arena_strdup(a, slash ? slash + 1 : path), *dot = strrchr(s, '.');
  if (dot && dot != s) *dot = 0;
  return s;
}

Bundle *lathe_language_text(const char *path, const char *text, size_t size, const LanguageOptions *o, Diags *d) {
  static const LanguageOptions none = {0};
  Arena tmp = {0}, own = {0};
  Bundle *b = NEW(&own, Bundle);
  *b = (Bundle){.arena = own, .diags = d};
  b->name = stem_of(&b->arena, path);
  b->source = arena_printf(&b->arena, "%.*s", (int)size, text);
  Lang l = {.text = {intern(path), b->source, strlen(b->source), &tmp, d}, .o = o ? o : &none, .b = b, .d = d,
      .a = &tmp, .stream = STEP_STREAM};
  int errors = d->errors;
  if (size > strlen(b->source))
    lathe_error(&l.text, "parse", (Span){(int)strlen(b->source), (int)strlen(b->source)}, "a zero byte in the text");
  l.file = lathe_parse(&l.text);
  if (d->errors == errors) build_all(&l);
  for (int k = 0; k < b->fn.len; k++) b->fn.at[k].m->diags = d;
  diags_free(&l.graph_errors);
  lang_onnx_free(&l);
  arena_free(&tmp);
  if (d->errors == errors) {
    bundle_layout(b);
    return b;
  }
  bundle_free(b);
  return NULL;
}

Bundle *lathe_language_load(const char *path, const LanguageOptions *o, Diags *d) {
  char why[300];
  size_t size;
  char *text = file_load(path, &size, why, sizeof why);
  if (!text) {
    diag_error(d, "io", NULL, "%s", why);
    return NULL;
  }
  Bundle *b = lathe_language_text(path, text, size, o, d);
  free(text);
  return b;
}
