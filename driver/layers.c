/* Time per kernel: the emitted run function calls a hook before each one (EmitOptions.profile); the hook charges the
 * time since the last to the kernel before, less what reading the clock takes. */
#include "driver/cases.h"
#include "driver/layers.h"
#include <dlfcn.h>
#include <stdlib.h>

enum { SAMPLES = 255 };                                        /* the last calls of each kernel: their median counts */

/* strips: runs of the step that do its work once */
typedef struct Row { const Step *step; int64_t strips; double seconds, sample[SAMPLES]; int64_t times, calls; } Row;
static struct { VEC(Row) rows; int current; double last, clock; } profile;

static void hook(int step) {
  double now = call_clock();
  if (profile.current >= 0) profile.rows.at[profile.current].seconds += now - profile.last - profile.clock;
  if (step >= 0) profile.rows.at[step].times++;
  else for (int i = 0; i < profile.rows.len; i++) {            // the end of a call: what each kernel took in it
    Row *r = &profile.rows.at[i];
    if (!r->times) continue;
    r->sample[r->calls++ % SAMPLES] = r->seconds;
    r->seconds = 0;
  }
  profile.current = step;
  profile.last = call_clock();
}

/* In the order in which emit_run.c numbers them. */
static void collect(Arena *a, const StepList *s, int64_t strips) {
  for (int i = 0; i < s->len; i++) {
    const Step *x = s->at[i];
    if (x->kind == STEP_KERNEL) *vec_push(a, &profile.rows) = (Row){.step = x, .strips = strips};
    collect(a, &x->then, x->kind == STEP_STRIPS ? (x->count + x->rows - 1) / x->rows : strips);
    collect(a, &x->other, strips);
  }
}

static double clock_cost(void) {
  double least = 1;
  for (int i = 0; i < 1000; i++) {
    double since = call_clock(), t = call_clock() - since;
    if (t < least) least = t;
  }
  return least;
}

bool layers_begin(void *library, const char *prefix, const Program *p, Arena *a, Diags *d) {
  void *at = dlsym(library, arena_printf(a, "%s_profile", prefix));
  if (!at) { diag_error(d, "internal", NULL, "the library has no profile hook"); return false; }
  void (*fn)(int) = hook;
  memcpy(at, &fn, sizeof fn);
  profile.rows.len = profile.rows.cap = 0;                      // what was there lay in another model's arena
  collect(a, &p->steps, 1);
  profile.current = -1;
  profile.clock = clock_cost();
  return true;
}

void layers_reset(void) {
  for (int i = 0; i < profile.rows.len; i++) profile.rows.at[i] = (Row){.step = profile.rows.at[i].step, .strips = profile.rows.at[i].strips};
}

static int by_value(const void *x, const void *y) {
  double a = *(const double *)x, b = *(const double *)y;
  return a < b ? -1 : a > b;
}

/* Of the calls so far; 0: it never ran. */
static double median(Row *r) {
  int n = r->calls < SAMPLES ? (int)r->calls : SAMPLES;
  qsort(r->sample, (size_t)n, sizeof *r->sample, by_value);
  return n && r->sample[n / 2] > 0 ? r->sample[n / 2] : 0;     // less than what reading the clock takes
}

double layers_seconds(int group) {
  double sum = 0;
  for (int i = 0; i < profile.rows.len; i++) {
    Row *r = &profile.rows.at[i];
    if (r->step->kernel->group == group) sum += median(r);
  }
  return sum;
}

static int by_time(const void *x, const void *y) {
  const Layer *a = x, *b = y;
  return a->ms != b->ms ? (a->ms < b->ms ? 1 : -1) : a->order - b->order;
}

/* The note's line of source nodes, and its line of shapes: the second, and the last. */
static void note_lines(Arena *a, Layer *l) {
  const char *note = l->kernel->note ? l->kernel->note : "";
  const char *from = strstr(note, "\nfrom "), *last = strrchr(note, '\n');
  l->from = from ? arena_printf(a, "%.*s", (int)strcspn(from + 6, "\n"), from + 6) : "";
  l->shapes = last ? last + 1 : "";
}

/* A cycle of the cost model holds two multiply-adds of vectors. */
static double predicted(const Kernel *k, const Roofline *r, double flop) {
  double low = (double)dim_lo(k->flops), scale = low > 0 ? flop / low : 1;
  return k->cycles && r->peak > 0 ? (double)k->cycles * scale * 4 * r->lanes / r->peak / 1e6 : 0;
}

static void add_layer(Layers *l, Arena *a, Row *r, int order, int64_t (*symbol)(const char *name, void *ctx),
                      void *ctx) {
  double times = (double)r->times / (double)r->calls / (double)r->strips;
  Layer *x = &l->at[l->n++];
  *x = (Layer){.kernel = r->step->kernel, .order = order, .ms = median(r) * 1e3};
  note_lines(a, x);
  double flop = (double)dim_eval(x->kernel->flops, symbol, ctx), bytes = kernel_traffic(x->kernel, symbol, ctx);
  x->flop = flop * times;
  x->bytes = bytes * times;
  x->roof_ms = roofline_ms(&l->roof, flop, bytes, &x->bound) * times;
  x->predicted_ms = predicted(x->kernel, &l->roof, flop) * times;
  l->ms += x->ms;
  l->flop += x->flop;
  l->roof_ms += x->roof_ms;
}

void layers_collect(Layers *l, Arena *a, int64_t (*symbol)(const char *name, void *ctx), void *ctx) {
  l->at = NEW_N(a, Layer, profile.rows.len + 1);
  for (int i = 0; i < profile.rows.len; i++)
    if (profile.rows.at[i].calls) add_layer(l, a, &profile.rows.at[i], i, symbol, ctx);
  for (int i = 0; i < l->n; i++) l->at[i].share = l->ms > 0 ? l->at[i].ms / l->ms : 0;
  qsort(l->at, (size_t)l->n, sizeof *l->at, by_time);
}
