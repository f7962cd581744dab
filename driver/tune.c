/* `--tune FILE`: choices of generators that are measured instead of predicted.
 *
 * Kernels that FILE does not list are built with each combination of their alternatives: the whole model once with every
 * kernel's first choice, once with every second, and so on, all of them then timed kernel by kernel in turns, where they
 * stand in the model: with the caches as their neighbours leave them. The fastest of each is kept in FILE, which later
 * compiles read. Of a network in lathe's language all functions but init are measured. */
#include "driver/bench.h"
#include "driver/bundle_calls.h"
#include "passes/tuning.h"
#include "ir/dim.h"
#include <errno.h>
#include <stdlib.h>

enum { VARIANTS = 12, TURNS = 5 };                             /* combinations tried at most; times that each is measured */
static const double turn_seconds = 0.3;
static const double gain = 0.97;                               /* a choice must be this much faster than the model's own */

typedef struct Variant {
  Compiled c; Loaded l; Call call;                             /* a model */
  BundleBuild x; BundleCalls calls;                            /* or a network's functions */
  bool compiled;
  TunedKernel *kernels;
  int n;
  double *seconds;
} Variant;

/* What is tuned. compile: false after messages, and nothing is left. load: false after messages. */
typedef struct Subject {
  bool (*compile)(Variant *v, const char *path, const Options *o);
  bool (*load)(Variant *v, const Options *o);
  void (*time)(Variant *v);
  void (*drop)(Variant *v);
} Subject;

/* The kernels of this module took what the profile says. */
static void take_times(Variant *v, const Module *m) {
  for (int i = 0; i < v->n; i++) {
    if (v->kernels[i].module != m) continue;
    double s = layers_seconds(v->kernels[i].group);
    if (s < v->seconds[i]) v->seconds[i] = s;
  }
}

static bool compile_one(Variant *v, const char *path, const Options *o) { return model_compile(&v->c, path, o); }

static bool load_one(Variant *v, const Options *o) {
  Case x;
  Diags *d = &v->c.diags;
  bool ok = model_load(&v->l, &v->c, o) && layers_begin(v->l.handle, v->c.prefix, v->c.p, &v->c.arena, d);
  if (ok) x = case_random(&v->c, 1, SIZES_LOW, NULL);
  ok = ok && call_make(&v->call, &v->c, &v->l, &x) && call_run(&v->call, &v->c, 0);
  if (!ok) diags_print(d, stderr);
  return ok;
}

static void time_one(Variant *v) {
  if (!layers_begin(v->l.handle, v->c.prefix, v->c.p, &v->c.arena, &v->c.diags)) return;
  double since = seconds_now();
  for (int calls = 0; calls < 3 || seconds_now() - since < turn_seconds; calls++) call_go(&v->call);
  take_times(v, v->c.m);
}

static void drop_one(Variant *v) {
  if (v->l.handle && v->call.m) call_free(&v->call);
  model_unload(&v->l);
  compiled_drop(&v->c);
}

static const Subject model_subject = {compile_one, load_one, time_one, drop_one};

static bool compile_functions(Variant *v, const char *path, const Options *o) {
  if (!bundle_load(&v->x, path, o)) return false;
  if (bundle_passes(&v->x, o)) return true;
  bundle_close(&v->x);
  return false;
}

static bool hook(Variant *v, const BundleCall *t) {
  BundleBuild *x = &v->x;
  return layers_begin(v->calls.library, emit_function_prefix(&x->arena, x->prefix, t->f), t->f->p, &x->arena, &x->diags);
}

static bool load_functions(Variant *v, const Options *o) {
  bool ok = bundle_calls_open(&v->calls, &v->x, o);
  for (int k = 0; ok && k < v->calls.n; k++) ok = hook(v, &v->calls.at[k]) && !bundle_call(&v->calls, &v->calls.at[k]);
  return ok;
}

static void time_functions(Variant *v) {
  for (int k = 0; k < v->calls.n; k++) {
    const BundleCall *t = &v->calls.at[k];
    if (!hook(v, t)) return;
    double since = seconds_now();
    for (int calls = 0; calls < 3 || seconds_now() - since < turn_seconds / v->calls.n; calls++) bundle_call(&v->calls, t);
    take_times(v, t->f->m);
  }
}

static void drop_functions(Variant *v) {
  bundle_calls_close(&v->calls);
  bundle_close(&v->x);
}

static const Subject network_subject = {compile_functions, load_functions, time_functions, drop_functions};

static bool tuning_load(Tuning *t, const char *path, Diags *d) {
  char why[300];
  size_t n;
  FILE *f = fopen(path, "rb");
  if (!f && errno == ENOENT) return true;                      // nothing measured yet
  if (f) fclose(f);
  char *text = file_load(path, &n, why, sizeof why);
  if (!text) { diag_error(d, "io", NULL, "%s", why); return false; }
  bool ok = tuning_parse(t, text, d);
  free(text);
  return ok;
}

/* Does some kernel without a row have more than `probe` combinations? */
static bool is_open(const Tuning *t, int probe) {
  for (int i = 0; i < t->kernels.len; i++)
    if (t->kernels.at[i].choices > probe && !tuning_find(t, t->kernels.at[i].key)) return true;
  return false;
}

/* Built with choice number `probe` of every kernel without a row; loaded if that is anything new. */
static bool variant_make(Variant *v, const Subject *s, const char *path, Options *o, int probe) {
  Tuning *t = o->tuning;
  t->probe = probe;
  t->kernels.len = 0;
  if (!(v->compiled = s->compile(v, path, o))) return false;
  v->n = t->kernels.len;
  v->kernels = NEW_N(o->arena, TunedKernel, v->n + 1);
  v->seconds = NEW_N(o->arena, double, v->n + 1);
  if (v->n) memcpy(v->kernels, t->kernels.at, sizeof *v->kernels * (size_t)v->n);
  for (int i = 0; i < v->n; i++) v->seconds[i] = 1e30;
  return !is_open(t, probe) || s->load(v, o);
}

/* The fastest choice of kernel k, which has the same place in every variant. */
static void settle(Tuning *t, Variant *v, int n, int k) {
  const TunedKernel *x = &v[0].kernels[k];
  int best = 0;
  double limit = v[0].seconds[k] * gain;
  for (int i = 1; i < n && i < x->choices; i++)
    if (k < v[i].n && v[i].seconds[k] < limit) { best = i; limit = v[i].seconds[k]; }
  if (x->choices > 1) tuning_add(t, arena_strdup(t->arena, x->key), best);
}

/* Measures what is missing. false: an error was printed. */
static bool measure(Tuning *t, const Subject *s, const char *path, Options *o) {
  Variant *v = NEW_N(t->arena, Variant, VARIANTS);
  int n = 0, timed = 0;
  bool ok = true;
  while (ok && n < VARIANTS) {
    ok = variant_make(&v[n++], s, path, o, timed);
    if (!ok || !is_open(t, timed)) break;
    timed++;
  }
  for (int turn = 0; ok && turn < TURNS; turn++)
    for (int i = 0; i < timed; i++) s->time(&v[i]);
  for (int k = 0; ok && timed && k < v[0].n; k++)
    if (!tuning_find(t, v[0].kernels[k].key)) settle(t, v, timed, k);
  for (int i = 0; i < n; i++) if (v[i].compiled) s->drop(&v[i]);
  t->probe = 0;
  if (n) symbols_reset();                                      // what follows gets the names that a process of its own would give
  return ok;
}

static bool tune(const Subject *s, const char *path, Options *o) {
  if (!o->tune) return true;
  if (o->naive) usage_error("--naive has no choices that --tune could measure");
  Tuning *t = NEW(o->arena, Tuning);
  Diags d = {.file = o->tune};
  t->arena = o->arena;
  Options trial = *o;
  trial.tuning = t;
  trial.layers = true;
  trial.output = NULL;
  bool ok = tuning_load(t, o->tune, &d) && (t->rows.len || output_is_file(o->tune));
  int before = t->rows.len;
  ok = ok && measure(t, s, path, &trial);
  if (ok && t->rows.len > before) {
    Text out = {0};
    char why[300];
    tuning_print(&out, t);
    ok = text_save(&out, o->tune, why, sizeof why);
    if (!ok) diag_error(&d, "io", NULL, "%s", why);
    text_free(&out);
    int other = 0;
    for (int i = before; i < t->rows.len; i++) other += t->rows.at[i].choice != 0;
    fprintf(stderr, "%s: %d kernels measured, %d of them faster with another choice than the cost model's\n",
            o->tune, t->rows.len - before, other);
  }
  o->tuning = t;
  diags_print(&d, stderr);
  diags_free(&d);
  return ok;
}

bool model_tune(const char *path, Options *o) { return tune(&model_subject, path, o); }
bool network_tune(const char *path, Options *o) { return tune(&network_subject, path, o); }
