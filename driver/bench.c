/* `lathe bench`: the median time of a call, and how much of this core's FMA peak that is. */
#include "driver/bench.h"
#include <dlfcn.h>
#include <stdlib.h>

static int by_value(const void *x, const void *y) {
  double a = *(const double *)x, b = *(const double *)y;
  return a < b ? -1 : a > b;
}

double median_of(double *v, int n) {
  qsort(v, (size_t)n, sizeof *v, by_value);
  return n ? v[n / 2] : 0;
}

int64_t call_symbol(const char *name, void *ctx) {
  const Call *k = ctx;
  for (int i = 0; i < k->m->symbols; i++)
    if (!strcmp(k->m->symbol[i].name, name)) return k->symbols[i];
  return 1;
}

typedef struct Bench { Compiled c; Loaded l; Call k; Case x; PeakKernels peak; double gflops; Numbers ms, cpu, turn; } Bench;   /* turn: a core for each part */

static bool wants_layers(const Options *o) { return o->layers || o->explain; }

static bool bench_prepare(Bench *b, const Options *o) {
  Compiled *c = &b->c;
  if (!model_load(&b->l, c, o)) return false;
  if (wants_layers(o) && !layers_begin(b->l.handle, c->prefix, c->p, &c->arena, &c->diags)) return false;
  b->x = case_random(c, (uint64_t)o->seed, SIZES_LOW, NULL);
  return call_make(&b->k, c, &b->l, &b->x) && call_run(&b->k, c, 0);
}

static void bench_measure(Bench *b, const Options *o) {
  Call *k = &b->k;
  b->peak = peak_kernels(o, b->c.target, &b->c.arena, &b->c.diags);
  b->gflops = peak_gflops(&b->peak);
  const struct lt_pool *pool = k->pool, *in_turn = pool ? call_in_turn((int)o->threads) : NULL;
  if (wants_layers(o)) layers_reset();
  if (wants_layers(o) && pool) pool = in_turn;                    // what kernels take: not what the machine is busy with
  k->pool = pool;
  for (double start = seconds_now(); b->ms.len < 5 || seconds_now() - start < o->seconds;) {
    double since = seconds_now(), cpu_since = cpu_seconds();
    call_go(k);
    *vec_push(&b->c.arena, &b->cpu) = (cpu_seconds() - cpu_since) * 1e3;
    *vec_push(&b->c.arena, &b->ms) = (seconds_now() - since) * 1e3;
    if (!pool || pool == in_turn) continue;
    double turn_since = call_clock();
    k->pool = in_turn;
    call_go(k);
    k->pool = pool;
    *vec_push(&b->c.arena, &b->turn) = (call_clock() - turn_since) * 1e3;
  }
  double again = peak_gflops(&b->peak);
  if (again > b->gflops) b->gflops = again;
}

static bool bench_layers(Bench *b, const Options *o) {
  Layers l = {.name = b->c.prefix, .target = b->c.target->name, .calls = b->ms.len};
  roofline_measure(&l.roof, &b->peak);
  if (b->gflops > l.roof.peak) l.roof.peak = b->gflops;
  layers_collect(&l, &b->c.arena, call_symbol, &b->k);
  return layers_report(&l, o, &b->c.arena, &b->c.diags);
}

static void bench_report(Bench *b, const Options *o) {
  const Compiled *c = &b->c;
  int n = b->ms.len;
  double ms = median_of(b->ms.at, n), cpu = median_of(b->cpu.at, n), fastest = b->ms.at[0];
  double flop = (double)dim_eval(program_flops(c->p), call_symbol, &b->k), g = flop / cpu / 1e6;
  if (o->json) {
    printf("{\"model\": \"%s\", \"target\": \"%s\", \"ms\": %.6g, \"cpu_ms\": %.6g, \"fastest_ms\": %.6g, ", c->prefix,
           c->target->name, ms, cpu, fastest);
    printf("\"calls\": %d, \"flop\": %.0f, \"gflops\": %.4g, \"peak_gflops\": %.4g}\n", n, flop, g, b->gflops);
    return;
  }
  printf("%s  %s: median %.4f ms, of CPU time %.4f, fastest %.4f (%d calls)\n", c->prefix, c->target->name, ms, cpu,
         fastest, n);
  printf("  %.4g MFLOP per call, %.1f GFLOP/s", flop / 1e6, g);
  if (b->gflops > 0) printf(", %.0f%% of this core's %.0f", 100 * g / b->gflops, b->gflops);
  if (b->turn.len)
    printf("\n  %d threads: %.4f ms of CPU time with the parts of each kernel in turn and only the longest counted",
           (int)o->threads, median_of(b->turn.at, b->turn.len));
  printf("\n  arena %zu bytes, weights %zu bytes\n", b->k.arena_bytes, b->k.m->weights_bytes);
}

static int bench_one(Options *o) {
  Bench b = {.ms = {0}};
  o->want_dims = true;
  if (is_language(o->args.at[0]) && !o->checkpoint) return bundle_bench(o);
  if (!model_tune(o->args.at[0], o) || !model_compile(&b.c, o->args.at[0], o)) return EXIT_FAILED;
  bool ok = bench_prepare(&b, o);
  if (ok) bench_measure(&b, o);
  if (ok && wants_layers(o)) ok = bench_layers(&b, o);
  else if (ok) bench_report(&b, o);
  if (b.k.m) call_free(&b.k);
  model_unload(&b.l);
  compiled_free(&b.c);
  return ok ? EXIT_DONE : EXIT_FAILED;
}

int verb_bench(Options *o) {
  if (o->against) return against_bench(o);
  if (o->output && !wants_layers(o)) usage_error("-o takes the page of --layers or --explain");
  if (o->output && o->args.len > 1) usage_error("-o takes the page of one model");
  if (o->output && !output_is_file(o->output)) return EXIT_FAILED;
  int code = EXIT_DONE;
  for (int i = 0; i < o->args.len; i++) {
    Options one = *o;
    one.args = (Strings){.at = o->args.at + i, .len = 1};
    int k = bench_one(&one);
    if (k != EXIT_DONE) code = k;
  }
  return code;
}
