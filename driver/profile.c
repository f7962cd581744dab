/* Time per kernel: the emitted run function calls a hook before each one (EmitOptions.profile); the hook charges
 * the time since the last to the kernel before. Kernels are listed by what they cost. */
#include "driver/bench.h"
#include <dlfcn.h>
#include <stdlib.h>

enum { SAMPLES = 255 };                                        /* the last calls of each kernel: their median counts */

typedef struct Row { const Step *step; double seconds, sample[SAMPLES]; int64_t times, calls; } Row;
static struct { VEC(Row) rows; int current; double last; } profile;

static void hook(int step) {
  double now = cpu_seconds();
  if (profile.current >= 0) profile.rows.at[profile.current].seconds += now - profile.last;
  if (step >= 0) profile.rows.at[step].times++;
  else for (int i = 0; i < profile.rows.len; i++) {            // the end of a call: what each kernel took in it
    Row *r = &profile.rows.at[i];
    if (!r->times) continue;
    r->sample[r->calls++ % SAMPLES] = r->seconds;
    r->seconds = 0;
  }
  profile.current = step;
  profile.last = cpu_seconds();
}

/* In the order in which emit_run.c numbers them. */
static void collect(Arena *a, const StepList *s) {
  for (int i = 0; i < s->len; i++) {
    const Step *x = s->at[i];
    if (x->kind == STEP_KERNEL) *vec_push(a, &profile.rows) = (Row){.step = x};
    collect(a, &x->then);
    collect(a, &x->other);
  }
}

bool profile_begin(void *library, const char *prefix, const Program *p, Arena *a, Diags *d) {
  void *at = dlsym(library, arena_printf(a, "%s_profile", prefix));
  if (!at) { diag_error(d, "internal", NULL, "the library has no profile hook"); return false; }
  void (*fn)(int) = hook;
  memcpy(at, &fn, sizeof fn);
  profile.rows.len = 0;
  collect(a, &p->steps);
  profile.current = -1;
  return true;
}

void profile_reset(void) {
  for (int i = 0; i < profile.rows.len; i++) profile.rows.at[i].seconds = 0, profile.rows.at[i].calls = profile.rows.at[i].times = 0;
}

static int by_value(const void *x, const void *y) {
  double a = *(const double *)x, b = *(const double *)y;
  return a < b ? -1 : a > b;
}

double profile_seconds(int group) {
  double sum = 0;
  for (int i = 0; i < profile.rows.len; i++) {
    Row *r = &profile.rows.at[i];
    int n = r->calls < SAMPLES ? (int)r->calls : SAMPLES;
    if (r->step->kernel->group != group || !n) continue;
    qsort(r->sample, (size_t)n, sizeof *r->sample, by_value);
    sum += r->sample[n / 2];
  }
  return sum;
}

static int by_time(const void *x, const void *y) {
  double a = ((const Row *)x)->seconds, b = ((const Row *)y)->seconds;
  return a < b ? 1 : a > b ? -1 : 0;
}

/* The note's line of source nodes, and its line of shapes. */
static const char *note_line(Arena *a, const char *note, int n) {
  for (; note && n > 0; n--) { note = strchr(note, '\n'); if (note) note++; }
  return note ? arena_printf(a, "%.*s", (int)strcspn(note, "\n"), note) : "";
}

void profile_report(Arena *a, int64_t (*symbol)(const char *name, void *ctx), void *ctx, int calls, double peak) {
  double total = 0, flop = 0;
  for (int i = 0; i < profile.rows.len; i++) {
    Row *r = &profile.rows.at[i];
    int n = r->calls < SAMPLES ? (int)r->calls : SAMPLES;
    qsort(r->sample, (size_t)n, sizeof *r->sample, by_value);
    total += r->seconds = n ? r->sample[n / 2] : 0;
  }
  qsort(profile.rows.at, (size_t)profile.rows.len, sizeof(Row), by_time);
  printf("      ms      %%   GFLOP/s  peak  kernel\n");
  for (int i = 0; i < profile.rows.len; i++) {
    const Row *r = &profile.rows.at[i];
    if (!r->calls) continue;
    const Kernel *f = r->step->kernel;
    double work = (double)dim_eval(f->flops, symbol, ctx) * (double)r->times / (double)r->calls, g = work / r->seconds / 1e9;
    flop += work;
    printf("%8.4f  %5.1f  %8.1f  %3.0f%%  %-24s %s  %s\n", r->seconds * 1e3, 100 * r->seconds / total, g, peak > 0 ? 100 * g / peak : 0, f->name,
           note_line(a, f->note, 2), note_line(a, f->note, 1));
  }
  printf("%8.4f  100.0  %8.1f  %3.0f%%  of %.0f GFLOP/s on this core; medians of CPU time, up to %d of %d calls\n", total * 1e3, flop / total / 1e9,
         peak > 0 ? 100 * flop / total / 1e9 / peak : 0, peak, SAMPLES, calls);
}
