/* `lathe verify`: the emitted code, compiled and run with guarded and poisoned memory, against stored outputs
 * and against the evaluator on a fresh import. Every case runs twice with different poison: a result that
 * differs depends on memory that nobody wrote. */
#include "driver/cases.h"
#include "ir/eval.h"
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Diff { double abs, rel; int64_t ulp, at; int64_t bad; } Diff;

static int64_t ordered(float f) {                              // floats as integers in the same order
  int32_t i;
  memcpy(&i, &f, 4);
  return i < 0 ? (int64_t)INT32_MIN - i : i;
}

static double allowed(const Options *o, DType t, double largest) {
  if (!dtype_is_float(t)) return 0;
  double scale = t == DT_F32 || t == DT_F64 ? 1 : t == DT_F16 ? 20 : t == DT_BF16 ? 100 : 1000;   // by their digits
  return scale * (o->rtol * largest + o->atol);
}

static Diff compare(const Options *o, const Tensor *got, const Tensor *want) {
  Diff d = {.at = -1};
  int64_t n = tensor_count(want);
  bool flt = dtype_is_float(want->dtype);
  double largest = 0;
  for (int64_t i = 0; i < n; i++) {
    double v = fabs(tensor_get(want, i));
    if (isfinite(v) && v > largest) largest = v;
  }
  double limit = allowed(o, want->dtype, largest);
  for (int64_t i = 0; i < n; i++) {
    double g = tensor_get(got, i), w = tensor_get(want, i), e = fabs(g - w);
    if (flt ? (isnan(g) && isnan(w)) || g == w : tensor_get_int(got, i) == tensor_get_int(want, i)) continue;
    if (!flt || !(e <= limit)) d.bad++;
    if (isnan(e)) e = HUGE_VAL;
    if (want->dtype == DT_F32 && isfinite(e)) {
      int64_t u = ordered((float)g) - ordered((float)w);
      if (llabs(u) > d.ulp) d.ulp = llabs(u);
    }
    if (e > d.abs || d.at < 0) { d.abs = e; d.at = i; }
  }
  d.rel = largest > 0 ? d.abs / largest : d.abs;
  return d;
}

static bool same_shape(const Tensor *a, const Tensor *b) {
  bool same = a->dtype == b->dtype && a->rank == b->rank;
  for (int i = 0; same && i < a->rank; i++) same = a->dims[i] == b->dims[i];
  return same;
}

static const char *shape_text(Arena *a, const Tensor *t) {
  Text s = {0};
  text_printf(&s, "%s[", dtype_info[t->dtype].text);
  for (int i = 0; i < t->rank; i++) text_printf(&s, "%s%lld", i ? "," : "", (long long)t->dims[i]);
  text_put(&s, "]");
  const char *r = arena_strdup(a, s.at);
  text_free(&s);
  return r;
}

static bool report(Compiled *c, const Options *o, const char *set, const char *name, const Tensor *got, const Tensor *want, const char *against) {
  if (!same_shape(got, want)) {
    printf("%-14s %-20s %s, but the %s is %s  FAILED\n", set, name, shape_text(&c->arena, got), against, shape_text(&c->arena, want));
    return false;
  }
  Diff d = compare(o, got, want);
  printf("%-14s %-20s %-22s %-9s  abs %.2e  rel %.2e", set, name, shape_text(&c->arena, got), against, d.abs, d.rel);
  if (want->dtype == DT_F32) printf("  ulp %lld", (long long)d.ulp);
  if (!d.bad) { printf("  ok\n"); return true; }
  printf("  FAILED: %lld of %lld; worst at %lld: %.9g, not %.9g\n", (long long)d.bad, (long long)tensor_count(want), (long long)d.at,
         tensor_get(got, d.at), tensor_get(want, d.at));
  return false;
}

/* The evaluator's outputs, from a module that no pass has touched. */
static bool evaluate(Compiled *fresh, const Case *x, const Tensor **out, Arena *a) {
  Eval e;
  eval_begin(&e, fresh->m);
  Graph *g = fresh->m->main;
  bool ok = true;
  for (int i = 0; ok && i < g->inputs.len; i++) ok = eval_bind_input(&e, i, x->in[i]);
  ok = ok && eval_graph(&e, g);
  for (int i = 0; ok && i < g->outputs.len; i++) {
    const Tensor *t = eval_value(&e, g->outputs.at[i]);
    if (!t) { ok = false; break; }
    Tensor *copy = tensor_new(a, t->dtype, t->rank, t->dims);
    if (tensor_bytes(t)) memcpy(copy->data, t->data, tensor_bytes(t));
    out[i] = copy;
  }
  eval_end(&e);
  return ok;
}

static bool is_random(const Module *m) {
  for (int i = 1; i < m->nodes.len; i++)
    if (!m->nodes.at[i].dead && m->nodes.at[i].op == OP_RANDOM) return true;
  return false;
}

static bool verify_case(Compiled *c, Compiled *fresh, const Loaded *l, const Options *o, const Case *x) {
  Call k;
  if (!call_make(&k, c, l, x) || !call_run(&k, c, 0xFF)) return false;
  int nout = c->m->main->outputs.len;
  const Tensor **got = NEW_N(&c->arena, const Tensor *, nout + 1), **want = NEW_N(&c->arena, const Tensor *, nout + 1);
  for (int i = 0; i < nout; i++) got[i] = call_output(&k, c, i);
  if (!call_run(&k, c, 0x3C)) return false;
  bool ok = true;
  for (int i = 0; i < nout; i++) {
    const Tensor *again = call_output(&k, c, i);
    if (same_shape(got[i], again) && (!tensor_bytes(again) || !memcmp(got[i]->data, again->data, tensor_bytes(again)))) continue;
    printf("%-14s %-20s differs from call to call: it depends on memory that nobody wrote  FAILED\n", x->name, k.m->out[i].name);
    ok = false;
  }
  bool by_chance = is_random(c->m);                            // then only types can agree
  for (int i = 0; i < nout && !by_chance; i++)
    if (x->want[i]) ok &= report(c, o, x->name, k.m->out[i].name, got[i], x->want[i], "reference");
  if (!o->no_eval) {
    if (!evaluate(fresh, x, want, &c->arena)) { diags_print(&fresh->diags, stderr); return false; }
    for (int i = 0; i < nout; i++) ok &= report(c, o, x->name, k.m->out[i].name, got[i], want[i], "evaluator");
  }
  return ok;
}

/* ---- --bisect ---- */

static int verify(Options *o);

/* Verification with only the first n rewrites, in a process of its own: a crash is a failure too. */
static bool holds_with(Options *o, int64_t n) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    int null = open("/dev/null", O_WRONLY);
    dup2(null, 1);
    dup2(null, 2);
    o->rewrites = (double)n;
    _exit(verify(o));
  }
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_DONE;
}

static int bisect(Options *o) {
  Compiled c;
  if (!model_compile(&c, o->args.at[0], o)) return EXIT_FAILED;
  int64_t good = 0, bad = c.rewrites;
  printf("%lld rewrites\n", (long long)bad);
  if (holds_with(o, bad)) { printf("verification passes with all of them\n"); return EXIT_DONE; }
  if (!holds_with(o, 0)) { printf("verification fails without any: the cause is elsewhere\n"); return EXIT_FAILED; }
  while (bad - good > 1) {
    int64_t n = good + (bad - good) / 2;
    bool ok = holds_with(o, n);
    printf("  first %lld: %s\n", (long long)n, ok ? "passes" : "fails");
    if (ok) good = n;
    else bad = n;
  }
  Options at = *o;
  at.rewrites = (double)bad;
  if (!model_compile(&c, o->args.at[0], &at)) return EXIT_FAILED;
  printf("rewrite %lld breaks it: %s at %s\n  `lathe opt %s --rewrites %lld --stop-after dce` shows the graph; --no-rule %s leaves the rule out\n",
         (long long)bad, c.last_rule, c.last_where ? c.last_where : "?", o->args.at[0], (long long)bad, c.last_rule);
  return EXIT_FAILED;
}

int verb_verify(Options *o) { return o->bisect ? bisect(o) : verify(o); }

/* A model without an ONNX file (.ir): its ports are the module's. */
static void ports_of_module(Ports *p, Arena *a, const Module *m) {
  const Graph *g = m->main;
  *p = (Ports){g->inputs.len, g->outputs.len, NEW_N(a, Port, g->inputs.len + 1), NEW_N(a, Port, g->outputs.len + 1), false};
  for (int i = 0; i < p->nin; i++) p->in[i].name = m->values.at[g->inputs.at[i]].name;
  for (int i = 0; i < p->nout; i++) p->out[i].name = m->values.at[g->outputs.at[i]].name;
}

/* Compiles; with --bind-data again and again while the messages say what to fix and the data has it. */
static bool compile_for_data(Compiled *c, Options *o, Ports *p) {
  o->ports = p;
  for (int round = 0; round < 8 && o->bind_data; round++) {
    o->quiet = true;
    bool ok = model_compile(c, o->args.at[0], o);
    o->quiet = false;
    if (ok) return true;
    if (!ports_adapt(p, &c->diags)) break;
  }
  return model_compile(c, o->args.at[0], o);
}

static bool is_onnx(const char *path) {
  size_t n = strlen(path);
  return n < 3 || strcmp(path + n - 3, ".ir") != 0;
}

typedef struct Verify { Compiled c, fresh; Loaded l; Ports ports; Arena arena; int cases, failed; } Verify;

static void count(Verify *v, const Options *o, const Case *x) {
  v->cases++;
  v->failed += !verify_case(&v->c, &v->fresh, &v->l, o, x);
}

static bool verify_with(Verify *v, Options *o, const Strings *sets) {
  Diags early = {.file = o->args.at[0]};
  bool onnx = is_onnx(o->args.at[0]), ok = true;
  if (onnx && sets->len) ok = ports_find(&v->ports, &v->arena, o->args.at[0], &early) && ports_load(&v->ports, &v->arena, sets->at[0], &early);
  diags_print(&early, stderr);
  if (!ok) return false;
  if (!(onnx && sets->len ? compile_for_data(&v->c, o, &v->ports) : model_compile(&v->c, o->args.at[0], o))) return false;
  if (!onnx) ports_of_module(&v->ports, &v->arena, v->c.m);
  ok = model_load(&v->l, &v->c, o) && (o->no_eval || model_import(&v->fresh, o->args.at[0], o));
  for (int i = 0; ok && i < sets->len; i++) {
    Case x;
    ok = ports_load(&v->ports, &v->arena, sets->at[i], &v->c.diags) && case_of_data(&v->c, &v->ports, sets->at[i], &x);
    if (ok) count(v, o, &x);
  }
  if (ok && !sets->len) {
    Case small = case_random(&v->c, (uint64_t)o->seed, true), large = case_random(&v->c, (uint64_t)o->seed + 1, false);
    count(v, o, &small);
    if (v->l.model->symbols) count(v, o, &large);
  }
  diags_print(&v->c.diags, stderr);
  return ok;
}

static int verify(Options *o) {
  Verify v = {0};
  Diags d = {.file = o->args.at[0]};
  Strings sets = {0};
  for (int i = 0; i < o->data.len; i++)
    if (!data_sets(&v.arena, o->data.at[i], &sets, &d)) { diags_print(&d, stderr); return EXIT_FAILED; }
  if (!verify_with(&v, o, &sets)) return EXIT_FAILED;
  if (v.failed) printf("%d of %d cases FAILED\n", v.failed, v.cases);
  return v.failed ? EXIT_FAILED : EXIT_DONE;
}
