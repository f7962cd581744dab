/* `lathe verify`: the emitted code, compiled and run with guarded and poisoned memory, against stored outputs
 * and against the evaluator on a fresh import. Every case runs twice with different poison: a result that
 * differs depends on memory that nobody wrote. */
#include "driver/cases.h"
#include "passes/grad.h"
#include "passes/pipeline.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Diff { double abs, rel; int64_t ulp, at, bad, stepped; } Diff;   /* stepped: one step of quantisation apart */

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

/* step: see quantised_step. */
static Diff compare(const Options *o, const Tensor *got, const Tensor *want, double step) {
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
    bool close = flt && e <= limit, one_step = !close && e <= step * (1 + 1e-5);
    d.stepped += one_step;
    d.bad += !close && !one_step;
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

static bool report(Compiled *c, const Options *o, const char *set, int output, const Tensor *got,
                   const Tensor *want, const char *against) {
  const char *name = value_of(c->m, c->m->main->outputs.at[output])->name;
  double step = c->step[output];
  if (!same_shape(got, want)) {
    printf("%-14s %-20s %s, but the %s is %s  FAILED\n", set, name, shape_text(&c->arena, got), against,
           shape_text(&c->arena, want));
    return false;
  }
  Diff d = compare(o, got, want, step);
  printf("%-14s %-20s %-22s %-9s  abs %.2e  rel %.2e", set, name, shape_text(&c->arena, got), against, d.abs, d.rel);
  if (want->dtype == DT_F32) printf("  ulp %lld", (long long)d.ulp);
  if (d.stepped) printf("  %lld one quantisation step (%.4g) off", (long long)d.stepped, step);
  if (!d.bad) { printf("  ok\n"); return true; }
  printf("  FAILED: %lld of %lld; worst at %lld: %.9g, not %.9g\n", (long long)d.bad, (long long)tensor_count(want),
         (long long)d.at, tensor_get(got, d.at), tensor_get(want, d.at));
  return false;
}

/* The evaluator's outputs, from a module that no pass has touched. */
static bool evaluate(Compiled *fresh, const Case *x, const Tensor **out, Arena *a) {
  return grad_resolve(fresh->m) && case_evaluate(fresh->m, x->in, out, a);
}

static bool is_random(const Module *m) {
  for (int i = 1; i < m->nodes.len; i++)
    if (!m->nodes.at[i].dead && m->nodes.at[i].op == OP_RANDOM) return true;
  return false;
}

static bool same_again(Call *k, Compiled *c, const Case *x, const Tensor *first, int output, int way) {
  static const char *const why[] = {"from call to call: it depends on memory that nobody wrote",
                                    "when its parts run one by one, the last one first",
                                    "from the call by one thread"};
  const Tensor *again = call_output(k, c, output);
  if (same_shape(first, again) && (!tensor_bytes(again) || !memcmp(first->data, again->data, tensor_bytes(again))))
    return true;
  printf("%-14s %-20s differs %s  FAILED\n", x->name, k->m->out[output].name, why[way]);
  return false;
}

static bool verify_call(Compiled *c, Compiled *fresh, const Options *o, const Case *x, Call *k) {
  const struct lt_pool *pool = k->pool;
  if (!call_run(k, c, 0xFF)) return false;
  int nout = c->m->main->outputs.len;
  const Tensor **got = NEW_N(&c->arena, const Tensor *, nout + 1), **want = NEW_N(&c->arena, const Tensor *, nout + 1);
  for (int i = 0; i < nout; i++) got[i] = call_output(k, c, i);
  bool ok = true;
  for (int way = 0; ok && way < (pool ? 3 : 1); way++) {         // of several threads: the same, then their parts in turn, then by one
    if (way == 1) k->pool = call_in_turn((int)o->threads);
    if (way == 2) k->pool = NULL;
    if (!call_run(k, c, 0x3C)) return false;
    for (int i = 0; i < nout; i++) ok &= same_again(k, c, x, got[i], i, way);
  }
  bool by_chance = is_random(c->m);                            // then only types can agree
  for (int i = 0; i < nout && !by_chance; i++)
    if (x->want[i]) ok &= report(c, o, x->name, i, got[i], x->want[i], "reference");
  bool compared = false;
  for (int i = 0; i < nout; i++) compared |= x->want[i] != NULL;
  if (ok && pool)
    printf("%-14s the same bits by %d threads, by their parts in turn and by one\n", x->name, (int)o->threads);
  if (o->no_eval && (!compared || by_chance))
    printf("%-14s ran twice with the same result, within its memory\n", x->name);
  if (!o->no_eval) {
    if (!evaluate(fresh, x, want, &c->arena)) { diags_print(&fresh->diags, stderr); return false; }
    for (int i = 0; i < nout; i++) ok &= report(c, o, x->name, i, got[i], want[i], "evaluator");
  }
  return ok;
}

static bool verify_case(Compiled *c, Compiled *fresh, const Loaded *l, const Options *o, const Case *x) {
  Call k;
  bool ok = call_make(&k, c, l, x) && verify_call(c, fresh, o, x, &k);
  call_free(&k);
  return ok;
}

/* A model without an ONNX file (.ir): its ports are the module's. */
static void ports_of_module(Ports *p, Arena *a, const Module *m) {
  const Graph *g = m->main;
  *p = (Ports){g->inputs.len, g->outputs.len, NEW_N(a, Port, g->inputs.len + 1), NEW_N(a, Port, g->outputs.len + 1), false};
  for (int i = 0; i < p->nin; i++) p->in[i].name = m->values.at[g->inputs.at[i]].name;
  for (int i = 0; i < p->nout; i++) p->out[i].name = m->values.at[g->outputs.at[i]].name;
}

static bool is_onnx(const char *path) {
  size_t n = strlen(path);
  return n < 3 || strcmp(path + n - 3, ".ir") != 0;
}

/* A model, compiled for one choice of what its data fix. */
typedef struct Unit { Compiled c, fresh; Loaded l; Ports ports; } Unit;
typedef struct Verify { Unit u; Case last; Strings sets; Arena arena; int cases, failed; } Verify;

/* Compiles, again and again while the messages say what to fix and the data has it. */
static bool compile_for_data(Compiled *c, Options *o, Ports *p) {
  for (int round = 0; round < 8; round++) {
    o->quiet = true;
    bool ok = model_compile(c, o->args.at[0], o);
    o->quiet = false;
    if (ok) return true;
    if (!ports_adapt(p, &c->diags, o->bind_data)) break;
  }
  return model_compile(c, o->args.at[0], o);
}

/* set NULL: without data. */
static bool unit_compile(Unit *u, Options *o, Arena *a, const char *set) {
  Diags early = {.file = o->args.at[0]};
  bool from_data = set && is_onnx(o->args.at[0]);
  *u = (Unit){.ports = {0}};
  if (from_data && (!ports_find(&u->ports, a, o->args.at[0], &early) || !ports_load(&u->ports, a, set, &early))) {
    diags_print(&early, stderr);
    return false;
  }
  o->ports = from_data ? &u->ports : NULL;
  if (!(from_data ? compile_for_data(&u->c, o, &u->ports) : model_compile(&u->c, o->args.at[0], o))) return false;
  if (!from_data) ports_of_module(&u->ports, a, u->c.m);
  return true;
}

/* "set_0 fixes x f32[1,3,64,64], sr = 16000": what the data decided. */
static void unit_say(Unit *u, const char *set) {
  const char *between = " fixes ", *slash = strrchr(set, '/');
  for (int k = 0; k < u->ports.nin; k++) {
    const Port *p = &u->ports.in[k];
    if (!p->bound && !p->sample.shaped) continue;
    if (*between == ' ') printf("%s", slash ? slash + 1 : set);
    printf("%s%s ", between, p->name);
    if (p->bound && tensor_count(p->value) == 1 && p->value->dtype != DT_STRING)
      printf("= %.9g", tensor_get(p->value, 0));
    else printf("%s%s", shape_text(&u->c.arena, p->value), p->bound ? " (the values)" : "");
    between = ", ";
  }
  if (*between == ',') printf("\n");
}

static bool unit_make(Unit *u, Options *o, Arena *a, const char *set) {
  if (!unit_compile(u, o, a, set)) return false;
  if (set) unit_say(u, set);
  bool ok = model_load(&u->l, &u->c, o);
  if (!ok) compiled_free(&u->c);
  return ok && (o->no_eval || (model_import(&u->fresh, o->args.at[0], o) && module_expand(u->fresh.m, EXPAND_ALL)));
}

/* Prints what the cases reported. */
static void unit_end(Unit *u) {
  compiled_free(&u->c);
  if (u->fresh.m) module_free(u->fresh.m);
  diags_free(&u->fresh.diags);
  arena_free(&u->fresh.arena);
  model_unload(&u->l);
}

static bool same_tensor(const Tensor *a, const Tensor *b, bool values) {
  if (!a || !b) return a == b;
  return same_shape(a, b) &&
      (!values || a->dtype == DT_STRING || !tensor_bytes(a) || !memcmp(a->data, b->data, tensor_bytes(a)));
}

/* Would compiling for the data that `now` has loaded give the same? */
static bool same_choices(const Ports *was, const Ports *now) {
  for (int k = 0; k < was->nin; k++) {
    const Port *p = &was->in[k];
    if ((p->bound || p->sample.shaped) && !same_tensor(p->value, now->in[k].value, p->bound)) return false;
  }
  return true;
}

static bool has_free_sizes(const Loaded *l) {
  for (int i = 0; i < l->model->symbols; i++)
    if (l->model->symbol[i].input >= 0) return true;
  return false;
}

static void count(Verify *v, bool ok) {
  v->cases++;
  v->failed += !ok;
}

static bool verify_set(Verify *v, Options *o, const char *set) {
  Unit *u = &v->u;
  Ports now = u->ports;
  now.in = arena_dup(&v->arena, now.in, sizeof *now.in * (size_t)(now.nin + 1));
  now.out = arena_dup(&v->arena, now.out, sizeof *now.out * (size_t)(now.nout + 1));
  if (!ports_load(&now, &v->arena, set, &u->c.diags)) return false;
  if (same_choices(&u->ports, &now)) u->ports = now;
  else {
    unit_end(u);
    if (!unit_make(u, o, &v->arena, set)) return false;
  }
  v->last = (Case){0};
  bool ok = case_of_data(&u->c, &u->ports, set, &v->last);
  count(v, ok && verify_case(&u->c, &u->fresh, &u->l, o, &v->last));
  if (!ok) v->last = (Case){0};
  return true;
}

static void verify_random(Verify *v, const Options *o) {
  static const Sizes sizes[] = {SIZES_LOW, SIZES_HIGH, SIZES_RANDOM, SIZES_RANDOM, SIZES_FULL};
  Unit *u = &v->u;
  int n = has_free_sizes(&u->l) ? 5 : 1;
  for (int i = 0; i < n; i++) {
    Case x = case_random(&u->c, (uint64_t)o->seed + (uint64_t)i, sizes[i], v->last.in ? &v->last : NULL);
    Options only_run = *o;
    only_run.no_eval |= sizes[i] == SIZES_FULL;
    bool ok = verify_case(&u->c, &u->fresh, &u->l, &only_run, &x);
    count(v, ok);
  }
}

static bool load_sets(Verify *v, const Options *o) {
  Diags d = {.file = o->args.at[0]};
  bool ok = true;
  for (int i = 0; ok && i < o->data.len; i++) ok = data_sets(&v->arena, o->data.at[i], &v->sets, &d);
  diags_print(&d, stderr);
  diags_free(&d);
  return ok;
}

static int verify(Options *o) {
  Verify v = {0};
  if (!load_sets(&v, o) || !unit_make(&v.u, o, &v.arena, v.sets.len ? v.sets.at[0] : NULL)) {
    arena_free(&v.arena);
    return EXIT_FAILED;
  }
  bool ok = true;
  for (int i = 0; ok && i < v.sets.len; i++) ok = verify_set(&v, o, v.sets.at[i]);
  if (ok && (!v.sets.len || (!o->no_eval && has_free_sizes(&v.u.l)))) verify_random(&v, o);
  unit_end(&v.u);
  if (v.failed) printf("%d of %d cases FAILED\n", v.failed, v.cases);
  arena_free(&v.arena);
  return ok && !v.failed ? EXIT_DONE : EXIT_FAILED;
}

/* ---- --bisect ---- */

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
  Verify v = {0};
  if (!load_sets(&v, o) || !unit_compile(&v.u, o, &v.arena, v.sets.len ? v.sets.at[0] : NULL)) return EXIT_FAILED;
  int64_t good = 0, bad = v.u.c.rewrites;
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
  if (!unit_compile(&v.u, &at, &v.arena, v.sets.len ? v.sets.at[0] : NULL)) return EXIT_FAILED;
  const Compiled *c = &v.u.c;
  printf("rewrite %lld breaks it: %s at %s\n  `lathe opt %s --rewrites %lld --stop-after dce` shows the graph; --no-rule %s leaves the rule out\n",
         (long long)bad, c->last_rule, c->last_where ? c->last_where : "?", o->args.at[0], (long long)bad,
         c->last_rule);
  return EXIT_FAILED;
}

int verb_verify(Options *o) {
  o->want_dims = true;                                         // or data that give them
  return o->grad ? verify_gradients(o) : o->bisect ? bisect(o) : verify(o);
}
