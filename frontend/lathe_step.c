/* Steps: a `train step` becomes a STEP, which updates, and an EVAL with the same losses and reports, which does not; an
 * `eval step` becomes an EVAL. The gradient and the updates are optimize.h's; this file says of which parameters.
 *
 * `over f` means the parameters of net f and of the nets it calls, but those of an imported ONNX file only when it is
 * named itself; f.conv1 means one layer. Without `over`: all that the step uses. All updates of a step start from
 * the parameters that it found. */
#include "frontend/lathe_build.h"
#include "base/intern.h"
#include "frontend/optimize.h"
#include <math.h>
#include <string.h>

/* ---- which parameters ---- */

static bool path_covers(const char *path, const char *name) {
  size_t n = strlen(path);
  return !strncmp(path, name, n) && (!name[n] || name[n] == '.');
}

static const char *root_of(const char *path) { return intern_n(path, strcspn(path, ".")); }

/* Does net `a` call `b`, perhaps through others? */
static bool calls(Lang *l, const char *a, const char *b, int depth) {
  if (a == b) return true;
  for (int k = 0; depth < 64 && k < l->uses.len; k++)
    if (l->uses.at[k].caller == a && calls(l, l->uses.at[k].callee, b, depth + 1)) return true;
  return false;
}

/* How well a path fits a parameter: its length, 1 for one that is reached by calls, 0: not at all. */
static size_t path_fit(Lang *l, const char *path, const Parameter *p) {
  if (path_covers(path, p->name)) return strlen(path) + 1;
  bool net = !strchr(path, '.');
  return net && !p->imported && calls(l, path, root_of(p->name), 0);
}

static bool in_module(Lang *l, const char *name) {
  for (int k = 0; k < l->m->state.len; k++)
    if (l->m->state.at[k].value && !strcmp(l->m->state.at[k].name, name)) return true;
  return false;
}

/* Reports a path that means nothing. */
static bool path_check(Lang *l, const Word *w) {
  VEC(const char *) names = {0};
  bool any = false, here = false;
  for (int k = 0; k < l->params.len; k++) {
    const Parameter *p = &l->params.at[k];
    bool fits = p->role == ROLE_PARAMETER && path_fit(l, w->text, p);
    any |= fits;
    here |= fits && in_module(l, p->name);
    const char *dot = strrchr(p->name, '.');
    *vec_push(l->a, &names) = intern_n(p->name, (size_t)(dot - p->name));
  }
  for (int k = 0; k < l->file->nets.len; k++) *vec_push(l->a, &names) = l->file->nets.at[k]->name.text;
  if (here) return true;
  if (any) lang_error(l, "name", w->at, "this step does not use '%s'", w->text);
  else if (net_find(l, w->text)) lang_error(l, "name", w->at, "net '%s' has no parameters", w->text);
  else {
    lang_error(l, "name", w->at, "there is no net or layer '%s'", w->text);
    const char *near = name_nearest(w->text, names.at, names.len);
    if (near) lang_hint(l, "did you mean '%s'?", near);
  }
  return false;
}

static bool is_frozen(Lang *l, const Parameter *p) {
  for (int k = 0; k < l->frozen.len; k++) if (path_fit(l, l->frozen.at[k].text, p)) return true;
  return false;
}

/* The group of a minimize whose path says most about the parameter; -1: none. */
static int group_of(Lang *l, const Statement *s, const Parameter *p) {
  int best = -1;
  size_t most = 0;
  for (int k = 0; k < s->groups.len; k++) {
    const Words *over = &s->groups.at[k].over;
    size_t fit = !over->len && !p->imported;
    for (int i = 0; i < over->len; i++) {
      size_t f = path_fit(l, over->at[i].text, p);
      fit = f > fit ? f : fit;
    }
    if (fit > most) { most = fit; best = k; }
  }
  return best;
}

/* ---- the optimizer ---- */

static bool number_of(Lang *l, const Arg *a, double *v) {
  Val x = lang_expr(l, a->value);
  if (x.kind == VAL_BOOL) x = val_float(x.b);
  if (val_is_number(&x) && (x.kind == VAL_FLOAT || dim_is_const(x.i))) { *v = x.f; return true; }
  if (x.kind != VAL_ERROR) lang_error(l, "type", a->at, "a number is needed, not %s", val_text(l->m, &x));
  return false;
}

static void unknown_option(Lang *l, const Arg *a, const OptimizerInfo *info, bool optimizer) {
  const char *names[32] = {"warmup"};
  int n = optimizer ? 0 : 1;
  for (int k = 0; k < info->noption; k++) names[n++] = info->option[k].name;
  for (int k = 0; optimizer && k < optimize_ncommon && n < 32; k++) names[n++] = optimize_common[k].name;
  Text all = {0};
  for (int k = 0; k < n; k++) text_printf(&all, "%s%s", k ? ", " : "", names[k]);
  lang_error(l, "name", a->at, "%s has no option '%s'", info->name, a->name);
  const char *near = name_nearest(a->name, names, n);
  if (near) lang_hint(l, "did you mean '%s'?", near);
  else lang_hint(l, "it takes %s", all.at);
  text_free(&all);
}

/* cosine(1e-3, warmup=100) */
static bool read_schedule(Lang *l, const Term *e, Schedule *out) {
  ScheduleKind kind;
  if (!schedule_find(e->text, &kind)) return false;
  *out = schedule_default(kind, 0);
  for (int k = 0; k < e->args.len; k++) {
    const Arg *a = &e->args.at[k];
    double v;
    if (!number_of(l, a, &v)) continue;
    if (!a->name && k) lang_error(l, "name", a->at,
        "%s takes one number by position, the learning rate; others by name", e->text);
    else if (!schedule_set(out, a->name ? a->name : "lr", v)) unknown_option(l, a, &schedule_info[kind], false);
  }
  if (!(out->lr > 0)) lang_error(l, "type", e->at, "%s needs a learning rate above 0: %s(1e-3)", e->text, e->text);
  return true;
}

static void read_option(Lang *l, const Arg *a, OptimizeSpec *spec, bool first) {
  const char *name = a->name ? a->name : "lr";
  double v;
  if (!strcmp(name, "ema")) name = "average";
  if (!a->name && !first) {
    lang_error(l, "name", a->at, "only the learning rate may stand without its name");
    return;
  }
  if (!strcmp(name, "lr") && a->value->kind == TERM_CALL && read_schedule(l, a->value, &spec->rate)) return;
  if (!number_of(l, a, &v)) return;
  if (!optimizer_set(spec, name, v)) unknown_option(l, a, &optimizer_info[spec->kind], true);
}

/* adam(lr = …, weight_decay = …) */
static bool read_optimizer(Lang *l, const Term *e, OptimizeSpec *spec) {
  OptimizerKind kind;
  int before = l->failures;
  if ((e->kind != TERM_CALL && e->kind != TERM_NAME) || !optimizer_find(e->text, &kind)) {
    const char *names[OPTIMIZER_COUNT];
    Text all = {0};
    for (int k = 0; k < OPTIMIZER_COUNT; k++) {
      names[k] = optimizer_info[k].name;
      text_printf(&all, "%s%s", k ? ", " : "", names[k]);
    }
    lang_error(l, "name", e->at, "'%s' is no optimizer", e->text);
    const char *near = name_nearest(e->text, names, OPTIMIZER_COUNT);
    lang_hint(l, near ? "did you mean '%s'?" : "there are %s", near ? near : all.at);
    text_free(&all);
    return false;
  }
  *spec = optimizer_default(kind);
  for (int k = 0; k < e->args.len; k++) read_option(l, &e->args.at[k], spec, k == 0);
  return l->failures == before;
}

/* ---- minimize ---- */

/* By an earlier `minimize` of this step. */
static bool is_updated(const Lang *l, const char *parameter) {
  for (int k = 0; k < l->m->state.len; k++)
    if (!strcmp(l->m->state.at[k].name, parameter)) return l->m->state.at[k].next != 0;
  return false;
}

static void update(Lang *l, const Statement *s, ValueId loss) {
  OptimizeGroup *groups = NEW_N(l->a, OptimizeGroup, s->groups.len);
  int total = 0;
  bool ok = true;
  for (int k = 0; k < s->groups.len; k++) {
    ok &= read_optimizer(l, s->groups.at[k].with, &groups[k].spec);
    for (int i = 0; i < s->groups.at[k].over.len; i++) ok &= path_check(l, &s->groups.at[k].over.at[i]);
    groups[k].param = NEW_N(l->a, const char *, l->params.len + 1);
  }
  const Bundle *b = l->b;
  for (int k = 0; k < b->state.len; k++) {                       // in the order of the state block
    if (b->state.at[k].role != ROLE_PARAMETER || !in_module(l, b->state.at[k].name)) continue;
    const Parameter *p = lang_parameter(l, intern(b->state.at[k].name));
    int g = p && !is_frozen(l, p) ? group_of(l, s, p) : -1;
    if (g < 0) continue;
    if (is_updated(l, p->name)) {
      lang_error(l, "name", s->at, "'%s' is trained by two losses of this step", p->name);
      lang_hint(l, "minimize their sum, or say over which nets each goes");
      return;
    }
    ((const char **)groups[g].param)[groups[g].n++] = p->name;
    total++;
  }
  if (ok && !total) lang_error(l, "name", s->at, "nothing is left to train");
  if (!ok || !total) return;
  lang_source(l, s->at, "minimize");
  optimize_step(l->b, l->m, l->b->fn.at[0].m, loss, groups, s->groups.len);
  lang_check(l, s->at);
}

/* ---- statements of steps ---- */

/* One number as f32 of rank 0. */
static ValueId as_scalar(Lang *l, Val v, Span at, const char *what) {
  if (v.kind == VAL_ERROR) return 0;
  bool fits = v.kind == VAL_TENSOR ? dim_is(type_count(build_type(l->g, v.v)), 1) : val_is_number(&v);
  if (!fits) {
    lang_error(l, "shape", at, "%s is one number, not %s", what, val_text(l->m, &v));
    lang_hint(l, "mean(…) or sum(…) makes one of it");
    return 0;
  }
  ValueId x = lang_as_tensor(l, v, DT_F32);
  return build_reshape(l->g, build_cast(l->g, x, DT_F32), NULL, 0);
}

static const char *shown_name(const Term *e, const char *otherwise) {
  return e->kind == TERM_NAME || e->kind == TERM_CALL ? e->text : otherwise;
}

static void add_result(Lang *l, const char *name, ValueId v, const Statement *minimize) {
  vec_push(l->a, &l->results);
  l->results.at[l->results.len - 1].name = name;
  l->results.at[l->results.len - 1].v = v;
  l->results.at[l->results.len - 1].minimize = minimize;
}

void lang_step_statement(Lang *l, const Statement *s) {
  if (s->kind == STATEMENT_FREEZE) {
    for (int k = 0; k < s->names.len; k++) *vec_push(l->a, &l->frozen) = s->names.at[k];
    return;
  }
  bool minimize = s->kind == STATEMENT_MINIMIZE;
  Val v = lang_expr(l, s->value);
  if (minimize && v.kind != VAL_ERROR && v.kind != VAL_TENSOR) {
    lang_error(l, "type", s->value->at, "a loss depends on parameters; this is %s", val_text(l->m, &v));
    return;
  }
  ValueId x = as_scalar(l, v, s->value->at, minimize ? "a loss" : "what is reported");
  if (!x) return;
  add_result(l, s->names.len ? s->names.at[0].text : shown_name(s->value, minimize ? "loss" : "value"), x, minimize
      ? s : NULL);
}

static bool is_minimized(const Lang *l, ValueId v) {
  for (int k = 0; k < l->results.len; k++) if (l->results.at[k].minimize && l->results.at[k].v == v) return true;
  return false;
}

/* Losses first, then `loss` of a step that minimises nothing, then reports. */
static void step_outputs(Lang *l) {
  bool any = false;
  for (int k = 0; k < l->results.len; k++) any |= l->results.at[k].minimize != NULL;
  const Binding *b = binding_find(&l->frame->vars, "loss");
  ValueId loss = !any && b ? as_scalar(l, b->v, b->at, "loss") : 0;
  if (loss) lang_output(l, loss, "loss");
  for (int pass = 0; pass < 2; pass++)
    for (int k = 0; k < l->results.len; k++) {
      if ((l->results.at[k].minimize == NULL) != (pass == 1)) continue;
      if (pass == 1 && !any && !strcmp(l->results.at[k].name, "loss")) continue;
      if (pass == 1 && is_minimized(l, l->results.at[k].v)) continue;      // it is there already
      lang_output(l, l->results.at[k].v, l->results.at[k].name);
    }
}

bool lang_step_minimizes(const StepDecl *s) {
  for (int k = 0; k < s->body.len; k++) if (s->body.at[k]->kind == STATEMENT_MINIMIZE) return true;
  return false;
}

/* The step as the function at work: a STEP updates, an EVAL does not. */
bool lang_step_build(Lang *l, const StepDecl *s) {
  int before = l->failures;
  l->results.len = l->frozen.len = 0;
  frame_push(l, NULL, "");
  lang_statements(l, &s->body);
  bool ok = lang_check(l, s->at) && l->failures == before;
  if (ok && !l->results.len && !binding_find(&l->frame->vars, "loss")) {
    lang_error(l, "name", s->at, "this step has no result");
    lang_hint(l, s->trains ? "minimize a loss, or report a number" : "report a number");
    ok = false;
  }
  if (ok) step_outputs(l);
  if (ok && l->kind == FUNCTION_STEP)
    for (int k = 0; k < l->results.len; k++)
      if (l->results.at[k].minimize) update(l, l->results.at[k].minimize, l->results.at[k].v);
  if (ok && l->kind == FUNCTION_STEP) optimize_count(l->m);
  frame_pop(l);
  return lang_check(l, s->at) && l->failures == before;
}
