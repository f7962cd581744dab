/* trajectory [--target T] NET.lathe…: ten steps of a network against PyTorch's, stored in NET.npz beside
 * it (written by tests/train/make_trajectories.py, which has the same network in PyTorch):
 *
 *   x, y …   the columns that NET.lathe's data block names; step k takes rows k * batch on
 *   start    parameters and statistics before the first step, one after the other as in the state
 *   step1    the same after every step of the text was called once
 *   loss     [10, steps of the text]
 *
 * After step 1 the loss, every tensor of step1 and the change of each are compared with PyTorch's, and the whole state
 * with the evaluator's; after step 10 the losses. Errors are the worst element's, relative to the tensor's largest.
 *
 * trajectory --state FILE NET.lathe: writes the state that init makes, for make_trajectories.py. */
#include "base/text.h"
#include "runtime/lt_data.h"
#include "runtime/lt_state.h"
#include "tests/tools/twin.h"
#include <math.h>
#include <stdlib.h>

enum { STEPS = 10 };
/* Of values after one step, and of losses after ten. A change is small beside the values, whose rounding it has. */
static const double limit_first = 1e-4, limit_last = 1e-3, limit_change = 1e-3, limit_twin = 1e-5;

static int passed, failed;

static void verdict(const char *net, const char *what, double error, double limit) {
  bool ok = error <= limit;
  ok ? passed++ : failed++;
  printf("%s  %s: %s: %.1e, at most %.0e\n", ok ? "ok  " : "FAIL", net, what, error, limit);
}

static void broken(const char *net, const char *why) {
  failed++;
  printf("FAIL  %s: %s\n", net, why);
}

/* ---- stored numbers ---- */

typedef struct Stored { Arena *a; const char *dir, *npz; char why[400]; } Stored;

/* Rows [from, from + n) of an array, all with n -1. NULL: s->why. */
static Tensor *rows(Stored *s, const char *call, int64_t from, int64_t n) {
  lt_data d;
  if (lt_data_open(call, s->dir, &d, s->why, sizeof s->why)) return NULL;
  if (n < 0) n = d.rows;
  int64_t dims[MAX_RANK] = {n}, *index = NEW_N(s->a, int64_t, n + 1);
  for (int k = 0; k < d.rank; k++) dims[k + 1] = d.dims[k];
  for (int64_t k = 0; k < n; k++) index[k] = from + k;
  Tensor *t = tensor_new(s->a, dtype_from_text(d.dtype), d.rank + 1, dims);
  bool ok = from + n <= d.rows && !lt_data_rows(&d, index, n, t->data, s->why, sizeof s->why);
  if (from + n > d.rows) snprintf(s->why, sizeof s->why, "%s has %lld rows", call, (long long)d.rows);
  lt_data_close(&d);
  return ok ? t : NULL;
}

static Tensor *array(Stored *s, const char *name) {
  return rows(s, arena_printf(s->a, "npz(\"%s\", \"%s\")", s->npz, name), 0, -1);
}

/* ---- parameters and statistics of a state ---- */

static bool is_stored(const lt_state_tensor *s) { return s->role == LT_PARAMETER || s->role == LT_STATISTIC; }

static int64_t count_of(const lt_state_tensor *s) {
  int64_t n = 1;
  for (int k = 0; k < s->rank; k++) n *= s->dims[k];
  return n;
}

static int64_t stored_count(const lt_bundle *b) {
  int64_t n = 0;
  for (int k = 0; k < b->tensors; k++) n += is_stored(&b->tensor[k]) ? count_of(&b->tensor[k]) : 0;
  return n;
}

static void state_set(Twin *t, const float *from) {
  for (int k = 0; k < t->table->tensors; k++) {
    const lt_state_tensor *s = &t->table->tensor[k];
    if (!is_stored(s)) continue;
    memcpy(t->state + s->offset, from, (size_t)count_of(s) * sizeof *from);
    from += count_of(s);
  }
}

/* Of n elements: the worst error relative to the largest of want; with `base`, of what they differ from it. */
static double error_of(const float *got, const float *want, const float *base, int64_t n) {
  double worst = 0, largest = 0;
  for (int64_t i = 0; i < n; i++) {
    double at = base ? base[i] : 0, e = fabs((double)got[i] - want[i]);
    largest = fmax(largest, fabs(want[i] - at));
    if (base) e = fmax(0, e - 2 * 1.2e-7 * fabs(want[i]));
    if (!(e <= worst)) worst = e;
  }
  if (isnan(worst)) return HUGE_VAL;
  return worst == 0 ? 0 : worst / largest;
}

static void compare_stored(Twin *t, const char *net, const float *want, const float *start) {
  for (int k = 0; k < t->table->tensors; k++) {
    const lt_state_tensor *s = &t->table->tensor[k];
    if (!is_stored(s)) continue;
    int64_t n = count_of(s);
    const float *got = (const float *)(t->state + s->offset);
    char what[200];
    snprintf(what, sizeof what, "%s after step 1", s->name);
    verdict(net, what, error_of(got, want, NULL, n), limit_first);
    snprintf(what, sizeof what, "change of %s", s->name);
    verdict(net, what, error_of(got, want, start, n), limit_change);
    want += n;
    start += n;
  }
}

/* ---- steps ---- */

static double relative(double got, double want) {
  double e = fabs(got - want) / fmax(fabs(want), 1e-6);
  return isnan(e) ? HUGE_VAL : e;
}

/* Every tensor of the state against what the evaluator makes of `before`. */
static bool compare_twin(Twin *t, const char *net, const lt_function *f, const char *before, const Tensor *const *in,
                         const Tensor *loss, Arena *a) {
  Tensor **out = NEW_N(a, Tensor *, f->outputs + 1), **next = NEW_N(a, Tensor *, t->table->tensors + 1);
  if (!twin_mean(t, f, before, in, out, next, a)) return false;
  double worst = relative(tensor_get(loss, 0), tensor_get(out[0], 0));
  for (int k = 0; k < t->table->tensors; k++) {
    const lt_state_tensor *s = &t->table->tensor[k];
    if (!next[k]) continue;
    if (next[k]->dtype == DT_F32)
      worst = fmax(worst, error_of((const float *)(t->state + s->offset), next[k]->data, NULL, count_of(s)));
    else if (memcmp(t->state + s->offset, next[k]->data, tensor_bytes(next[k]))) worst = HUGE_VAL;
  }
  verdict(net, arena_printf(a, "%s against the evaluator", f->name), worst, limit_twin);
  return true;
}

/* One call of f on batch `step`; its loss. NAN: why is in s->why or t->diags. */
static double one_step(Twin *t, Stored *s, const char *net, const lt_function *f, int step, Arena *a) {
  const Tensor **in = NEW_N(a, const Tensor *, f->inputs + 1);
  Tensor **out = NEW_N(a, Tensor *, f->outputs + 1);
  for (int k = 0; k < f->inputs; k++) {
    const char *call = NULL;
    for (int c = 0; c < t->table->columns; c++)
      if (!strcmp(t->table->column[c].name, f->in[k].name)) call = t->table->column[c].call;
    if (!call) snprintf(s->why, sizeof s->why, "%s takes '%s', which is no column", f->name, f->in[k].name);
    in[k] = !call ? NULL : rows(s, call, step * t->table->batch, t->table->batch);
    if (!in[k]) return NAN;
  }
  const char *before = arena_dup(a, t->state, t->table->state_bytes);
  if (!twin_run(t, f, in, out, a)) return NAN;
  if (step == 0 && !compare_twin(t, net, f, before, in, out[0], a)) return NAN;
  return tensor_get(out[0], 0);
}

static bool follow(Twin *t, Stored *s, const char *net) {
  Tensor *start = array(s, "start"), *first = array(s, "step1"), *loss = array(s, "loss");
  if (!start || !first || !loss || !twin_init(t, 1)) return false;
  if (tensor_count(start) != stored_count(t->table)) {
    snprintf(s->why, sizeof s->why, "%s is of another network: make_trajectories.py makes it anew", s->npz);
    return false;
  }
  state_set(t, start->data);
  int64_t at = 0;
  double worst = 0;
  for (int step = 0; step < STEPS; step++) {
    for (int k = 0; twin_step_at(t, k); k++, at++) {
      double v = one_step(t, s, net, twin_step_at(t, k), step, s->a);
      if (isnan(v) || at >= tensor_count(loss)) return false;
      double e = relative(v, tensor_get(loss, at));
      if (step == 0) verdict(net, arena_printf(s->a, "loss of %s", twin_step_at(t, k)->name), e, limit_first);
      worst = fmax(worst, e);
    }
    if (step == 0) compare_stored(t, net, first->data, start->data);
  }
  verdict(net, "losses of ten steps", worst, limit_last);
  return true;
}

static void check(const char *path, const Target *target) {
  Twin t;
  Arena a = {0};
  const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
  Stored s = {.a = &a, .dir = slash ? arena_printf(&a, "%.*s", (int)(slash - path), path) : "."};
  s.npz = arena_printf(&a, "%.*s.npz", (int)strcspn(base, "."), base);
  const char *net = arena_printf(&a, "%s (%s)", base, target->name);
  bool ok = twin_open(&t, path, NULL, target, false) && follow(&t, &s, net);
  if (!ok) broken(net, t.diags.len ? t.diags.at[0].text : s.why);
  twin_close(&t);
  arena_free(&a);
}

static int write_state(const char *path, const char *to) {
  Twin t;
  char why[300] = "";
  bool ok = twin_open(&t, path, NULL, target_find("native"), false) && twin_init(&t, 1) &&
            !lt_state_save(to, t.state, t.table->state_bytes, NULL, 0, why, sizeof why);
  if (!ok) { diags_print(&t.diags, stderr); fprintf(stderr, "%s\n", why); }
  twin_close(&t);
  return ok ? 0 : 1;
}

int main(int argc, char **argv) {
  const Target *target = target_find("native");
  if (argc == 4 && !strcmp(argv[1], "--state")) return write_state(argv[3], argv[2]);
  for (int k = 1; k < argc; k++) {
    if (!strcmp(argv[k], "--target") && k + 1 < argc) target = target_find(argv[++k]);
    else if (target) check(argv[k], target);
  }
  printf("%d passed, %d failed\n", passed, failed);
  return failed > 0;
}
