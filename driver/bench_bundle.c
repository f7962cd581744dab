/* `lathe bench NET.lathe`: the time of its training steps on random data, one after the other as a trainer calls them. */
#include "driver/bench.h"
#include "driver/bundle.h"
#include "runtime/lt_pool.h"
#include "runtime/lt_train.h"
#include <dlfcn.h>
#include <stdlib.h>

typedef struct Timed {
  const Function *f;
  const lt_function *fn;
  void *arena;
  const void **in;
  void **out;
  int64_t *symbols;
  VEC(double) ms, cpu;
} Timed;

static void *block(Arena *a, size_t bytes) {
  char *p = arena_alloc(a, bytes + 64);
  return p + (64 - (uintptr_t)p % 64) % 64;
}

static int64_t elements(const lt_port *p) {
  int64_t n = 1;
  for (int k = 0; k < p->rank; k++) n *= p->dims[k] < 0 ? 1 : p->dims[k];
  return n;
}

/* Floats near 0; integers within the classes of their column. */
static void *random_port(Arena *a, const Bundle *b, const lt_port *p, unsigned *r) {
  int64_t n = elements(p), classes = 0;
  for (int k = 0; k < b->column.len; k++) if (!strcmp(b->column.at[k].name, p->name)) classes = b->column.at[k].classes;
  Tensor *t = tensor_new(a, dtype_from_text(p->dtype), 1, &n);
  for (int64_t i = 0; i < n; i++) {
    *r = *r * 1664525u + 1013904223u;
    if (dtype_is_float(t->dtype)) tensor_set(t, i, (double)(*r >> 8) / (1 << 23) - 1);
    else tensor_set_int(t, i, (int64_t)(*r >> 8) % (classes ? classes : 10));
  }
  return t->data;
}

static int run_step(Timed *t, void *state, const lt_pool *pool) {
  if (pool) return t->fn->run_parallel(state, t->arena, t->symbols, t->in, t->out, pool);
  return t->fn->run(state, t->arena, t->symbols, t->in, t->out);
}

static bool prepare(BundleBuild *x, Timed *t, int threads, unsigned *r) {
  const lt_function *fn = t->fn;
  t->symbols = NEW_N(&x->arena, int64_t, fn->symbols + 1);
  t->arena = block(&x->arena, fn->arena_bytes(t->symbols) + (size_t)(threads - 1) * fn->part_bytes);
  t->in = NEW_N(&x->arena, const void *, fn->inputs + 1);
  t->out = NEW_N(&x->arena, void *, fn->outputs + 1);
  for (int k = 0; k < fn->inputs; k++) t->in[k] = random_port(&x->arena, x->b, &fn->in[k], r);
  for (int k = 0; k < fn->outputs; k++)
    t->out[k] = block(&x->arena, (size_t)(elements(&fn->out[k]) * fn->out[k].elem_bytes));
  return true;
}

static int64_t no_symbol(const char *name, void *ctx) { (void)name, (void)ctx; return 1; }

static double work_of(const Program *p) {
  double w = 0;
  for (int k = 0; k < p->kernels.len; k++) w += (double)dim_eval(p->kernels.at[k]->flops, no_symbol, NULL);
  return w;
}

static const lt_bundle *load(BundleBuild *x, const Options *o, void **handle) {
  EmitFiles files = {0};
  if (!bundle_emit(x, o, true, &files)) return NULL;
  Toolchain t = toolchain_of(o, x->target, &x->arena);
  const char *so = toolchain_cached(&t, &files, "bundle.so", "", true, &x->arena, &x->diags);
  *handle = so ? dlopen(so, RTLD_NOW | RTLD_LOCAL) : NULL;
  if (so && !*handle) diag_error(&x->diags, "io", NULL, "cannot load the compiled network: %s", dlerror());
  return *handle ? dlsym(*handle, arena_printf(&x->arena, "lt_bundle_%s", x->prefix)) : NULL;
}

static void report(BundleBuild *x, const Options *o, Timed *t, int n, double peak) {
  double all = 0, work = 0;
  for (int k = 0; k < n; k++) {
    double ms = median_of(t[k].ms.at, t[k].ms.len), cpu = median_of(t[k].cpu.at, t[k].cpu.len),
           w = work_of(t[k].f->p), g = w / cpu / 1e6;
    all += ms;
    work += w;
    const Program *p = t[k].f->p;
    if (o->json)
      printf(
          "{\"net\": \"%s\", \"step\": \"%s\", \"target\": \"%s\", \"ms\": %.6g, \"cpu_ms\": %.6g, \"calls\": %d, \"flop\": %.0f, \"gflops\": %.4g, "
          "\"peak_gflops\": %.4g, \"arena_bytes\": %lld, \"arena_lower\": %lld, \"state_bytes\": %lld}\n",
          x->prefix, t[k].f->name, x->target->name, ms, cpu, t[k].ms.len, w, g, peak, (long long)p->arena_bound,
          (long long)p->arena_lower, (long long)x->b->state_bytes);
    else
      printf("%s.%s  %s: median %.4f ms, of CPU time %.4f (%d calls)\n  %.4g MFLOP, %.1f GFLOP/s, %.0f%% of this core's %.0f; arena %lld bytes, no plan below %lld\n",
             x->prefix, t[k].f->name, x->target->name, ms, cpu, t[k].ms.len, w / 1e6, g,
             peak > 0 ? 100 * g / peak : 0, peak, (long long)p->arena_bound, (long long)p->arena_lower);
  }
  if (!o->json)
    printf("%s: %.4f ms for %lld rows, %.4g MFLOP; state %lld bytes\n", x->prefix, all, (long long)x->b->batch,
           work / 1e6, (long long)x->b->state_bytes);
}

static void report_layers(BundleBuild *x, const Options *o, const Timed *t, const PeakKernels *k) {
  Layers l = {.name = arena_printf(&x->arena, "%s.%s", x->prefix, t->f->name),
              .target = x->target->name,
              .calls = t->ms.len};
  roofline_measure(&l.roof, k);
  layers_collect(&l, &x->arena, no_symbol, NULL);
  layers_report(&l, o, &x->arena, &x->diags);
}

int bundle_bench(Options *o) {
  BundleBuild x;
  void *handle = NULL;
  if (!bundle_load(&x, o->args.at[0], o)) return EXIT_FAILED;
  const lt_bundle *table = bundle_passes(&x, o) ? load(&x, o, &handle) : NULL;
  if (!table) { bundle_close(&x); return EXIT_FAILED; }
  void *state = block(&x.arena, table->state_bytes);
  unsigned r = (unsigned)o->seed;
  lt_pool *pool = o->threads > 1 ? lt_pool_open((int)o->threads) : NULL;
  int threads = pool ? pool->threads(pool->self) : 1;
  int64_t seed = (int64_t)o->seed;
  const void *init_in[] = {&seed};
  Timed *t = NEW_N(&x.arena, Timed, table->functions + 1);
  int n = 0, bad = 0;
  for (int k = 0; k < table->functions; k++) {
    const lt_function *fn = table->function[k];
    if (fn->kind == LT_INIT) bad |= fn->run(state, NULL, NULL, init_in, NULL);
    if (fn->kind != LT_STEP) continue;
    t[n] = (Timed){.f = bundle_function(x.b, FUNCTION_STEP, fn->name), .fn = fn};
    prepare(&x, &t[n++], threads, &r);
  }
  bool layers = o->layers || o->explain;
  PeakKernels kernels = peak_kernels(o, x.target, &x.arena, &x.diags);
  double peak = peak_gflops(&kernels);
  if (layers && n)
    bad |= !layers_begin(handle, emit_function_prefix(&x.arena, x.prefix, t[0].f), t[0].f->p, &x.arena, &x.diags);
  for (int k = 1; layers && k < n; k++) t[k].fn = NULL;      // one step at a time: the first
  for (int k = 0; !bad && k < n; k++) if (t[k].fn) bad |= run_step(&t[k], state, pool);
  if (layers) layers_reset();
  for (double start = seconds_now(); !bad && n && (t[0].ms.len < 5 || seconds_now() - start < o->seconds);)
    for (int k = 0; k < n && t[k].fn; k++) {
      double since = seconds_now(), cpu = cpu_seconds();
      bad |= run_step(&t[k], state, pool);
      *vec_push(&x.arena, &t[k].cpu) = (cpu_seconds() - cpu) * 1e3;
      *vec_push(&x.arena, &t[k].ms) = (seconds_now() - since) * 1e3;
    }
  if (bad) diag_error(&x.diags, "internal", NULL, "a step failed");
  else if (!n) diag_error(&x.diags, "usage", NULL, "has no training step to time");
  else if (layers) report_layers(&x, o, &t[0], &kernels);
  else report(&x, o, t, n, peak);
  bool ok = !x.diags.errors;
  lt_pool_close(pool);
  bundle_close(&x);
  return ok ? EXIT_DONE : EXIT_FAILED;
}
