/* steps FILE.cases…            the steps of written texts: `case NAME`, then a text of the network language
 * steps --random FROM COUNT    of random ones (random_net.h)
 *
 * The emitted step against the evaluator's on the module as it was written: from a state whose moments are random, too,
 * three calls of every step, each from the emitted state before it. Every tensor of the state and every output within
 * 1e-5 of the tensor's largest element; integers are equal. What is at risk is the order of updates in place
 * (passes/state_order.c). Guards and poison are twin.c's. Environment: ONLY=NAME, TARGET, NAIVE, VERBOSE. */
#include "base/text.h"
#include "runtime/lt_file.h"
#include "tests/tools/random_net.h"
#include "tests/tools/twin.h"
#include <math.h>
#include <stdlib.h>

enum { CALLS = 3 };
static const double limit = 1e-5;
static int passed, failed;

static double draw(uint64_t *r, double lo, double hi) {
  *r = *r * 6364136223846793005u + 1442695040888963407u;
  return lo + (hi - lo) * (double)(*r >> 40) / (1 << 24);
}

static int64_t count_of(const lt_state_tensor *s) {
  int64_t n = 1;
  for (int k = 0; k < s->rank; k++) n *= s->dims[k];
  return n;
}

/* A state as after many steps. What a square root is taken of is positive; steps and settings stay init's. */
static void randomise(Twin *t, uint64_t *r) {
  for (int k = 0; k < t->table->tensors; k++) {
    const lt_state_tensor *s = &t->table->tensor[k];
    if (s->role == LT_COUNTER || s->role == LT_SETTING || strcmp(s->dtype, "f32")) continue;
    bool positive = strstr(s->name, ".v/") || strstr(s->name, "adagrad.sum/") || strstr(s->name, "_var");
    float *x = (float *)(t->state + s->offset);
    for (int64_t i = 0, n = count_of(s); i < n; i++) {
      double v = positive ? draw(r, 0.5, 1.5) : draw(r, -0.3, 0.3);
      x[i] = (float)(s->role == LT_PARAMETER ? x[i] + v / 2 : v);
    }
  }
}

static const Tensor *random_input(Twin *t, const lt_port *p, uint64_t *r, Arena *a) {
  Tensor *x = tensor_new(a, dtype_from_text(p->dtype), p->rank, p->dims);
  int64_t classes = 3;
  for (int c = 0; c < t->emitted->column.len; c++)
    if (!strcmp(t->emitted->column.at[c].name, p->name) && t->emitted->column.at[c].classes)
      classes = t->emitted->column.at[c].classes;
  for (int64_t i = 0, n = tensor_count(x); i < n; i++) {
    double v = draw(r, -1, 1);
    if (dtype_is_float(x->dtype)) tensor_set(x, i, (float)v);
    else tensor_set_int(x, i, (int64_t)((v + 1) / 2 * (double)classes) % classes);
  }
  return x;
}

/* Of the worst element, relative to the largest. Gradients that are 0 but for rounding are no matter: at least 1e-2. */
static double distance(const Tensor *got, const Tensor *want) {
  double worst = 0, largest = 1e-2;
  if (!dtype_is_float(want->dtype)) return memcmp(got->data, want->data, tensor_bytes(want)) ? HUGE_VAL : 0;
  for (int64_t i = 0, n = tensor_count(want); i < n; i++) {
    double e = fabs(tensor_get(got, i) - tensor_get(want, i));
    largest = fmax(largest, fabs(tensor_get(want, i)));
    if (!(e <= worst)) worst = isnan(e) ? HUGE_VAL : e;
  }
  return worst / largest;
}

typedef struct Worst { double error; const char *name; int call; } Worst;

static void worse(Worst *w, double e, const char *name, int call) {
  if (e > w->error || !w->name) *w = (Worst){e, name, call};
}

static bool compare_call(Twin *t, const lt_function *f, int call, uint64_t *r, Worst *w, Arena *a) {
  const Tensor **in = NEW_N(a, const Tensor *, f->inputs + 1);
  Tensor **out = NEW_N(a, Tensor *, f->outputs + 1), **want = NEW_N(a, Tensor *, f->outputs + 1);
  Tensor **next = NEW_N(a, Tensor *, t->table->tensors + 1);
  for (int k = 0; k < f->inputs; k++) in[k] = random_input(t, &f->in[k], r, a);
  const char *before = arena_dup(a, t->state, t->table->state_bytes);
  if (!twin_run(t, f, in, out, a) || !twin_mean(t, f, before, in, want, next, a)) return false;
  for (int k = 0; k < f->outputs; k++) worse(w, distance(out[k], want[k]), f->out[k].name, call);
  for (int k = 0; k < t->table->tensors; k++) {
    if (!next[k]) continue;
    Tensor got = *next[k];
    got.data = t->state + t->table->tensor[k].offset;
    worse(w, distance(&got, next[k]), t->table->tensor[k].name, call);
  }
  return true;
}

static void check(const char *name, const char *text, uint64_t seed, const Target *target) {
  Twin t;
  Arena a = {0};
  Worst w = {0};
  if (getenv("ONLY") && strcmp(getenv("ONLY"), name)) return;
  bool ok = twin_open(&t, name, text, target, getenv("NAIVE") != NULL) && twin_init(&t, seed);
  if (ok) randomise(&t, &seed);
  for (int call = 0; ok && call < CALLS; call++)
    for (int k = 0; ok && twin_step_at(&t, k); k++) ok = compare_call(&t, twin_step_at(&t, k), call, &seed, &w, &a);
  bool good = ok && w.error <= limit;
  good ? passed++ : failed++;
  if (!ok) printf("FAIL  %s: %s\n", name, t.diags.len ? t.diags.at[0].text : "?");
  else printf("%s  %s: at most %.1e, '%s' in call %d\n", good ? "ok  " : "FAIL", name, w.error, w.name, w.call + 1);
  if (!good || getenv("VERBOSE")) printf("      %s (again: ONLY='%s')\n%s", target->name, name, text);
  fflush(stdout);
  twin_close(&t);
  arena_free(&a);
}

static void check_file(const char *path, const Target *target) {
  char why[300];
  size_t n;
  char *text = file_load(path, &n, why, sizeof why);
  if (!text) { printf("FAIL  %s\n", why); failed++; return; }
  for (char *s = strstr(text, "case "), *next; s; s = next) {
    next = strstr(s + 1, "\ncase ");
    if (next) *next++ = 0;
    char *body = s + strcspn(s, "\n");
    if (*body) *body++ = 0;
    check(s + 5, body, 1, target);
  }
  free(text);
}

int main(int argc, char **argv) {
  const Target *target = target_find(getenv("TARGET") ? getenv("TARGET") : "native");
  if (!target) return 2;
  for (int k = 1; k < argc; k++) {
    if (strcmp(argv[k], "--random")) { check_file(argv[k], target); continue; }
    if (k + 2 >= argc) return 2;
    long from = atol(argv[k + 1]), count = atol(argv[k + 2]);
    for (long seed = from; seed < from + count; seed++) {
      Text text = {0};
      char name[40];
      random_net(&text, (uint64_t)seed);
      snprintf(name, sizeof name, "random %ld", seed);
      check(name, text.at, (uint64_t)seed, target);
      text_free(&text);
    }
    k += 2;
  }
  printf("%d passed, %d failed\n", passed, failed);
  return failed > 0;
}
