/* `lathe bench`: the median time of a call, and how much of this core's FMA peak that is. The peak is measured
 * in the same run, by a kernel of independent multiply-adds in registers. */
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

static const char peak_source[] =
  "typedef float vec __attribute__((vector_size(4 * LANES)));\n"
  "double peak(long n, float x);\n"
  "double peak(long n, float x) {\n"
  "  vec m = x - (vec){0}, c = x * 0.5f - (vec){0};\n"
  "  vec a0 = c, a1 = c + 1, a2 = c + 2, a3 = c + 3, a4 = c + 4, a5 = c + 5;         /* alike, they would be merged */\n"
  "  vec a6 = c + 6, a7 = c + 7, a8 = c + 8, a9 = c + 9, aa = c + 10, ab = c + 11;\n"
  "  for (long i = 0; i < n; i++) {\n"
  "    a0 = a0 * m + c; a1 = a1 * m + c; a2 = a2 * m + c; a3 = a3 * m + c; a4 = a4 * m + c; a5 = a5 * m + c;\n"
  "    a6 = a6 * m + c; a7 = a7 * m + c; a8 = a8 * m + c; a9 = a9 * m + c; aa = aa * m + c; ab = ab * m + c;\n"
  "  }\n"
  "  a0 += a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + aa + ab;\n"
  "  return a0[0];\n"
  "}\n";

static int lanes_of(const Target *t) { return t->lanes > 1 ? t->lanes : 4; }

PeakFn *peak_kernel(const Options *o, const Target *t, Arena *a, Diags *d) {
  EmitFiles f = {0};
  Text source = {0};
  text_printf(&source, "#define LANES %d\n%s", lanes_of(t), peak_source);
  *vec_push(a, &f.at) = (EmitFile){.name = "peak.c", .data = arena_strdup(a, source.at), .size = source.len};
  text_free(&source);
  Toolchain tc = toolchain_of(o, t, a);
  const char *so = toolchain_cached(&tc, &f, "peak.so", "", true, a, d);
  if (!so) return NULL;
  void *h = dlopen(so, RTLD_NOW | RTLD_LOCAL);
  void *sym = h ? dlsym(h, "peak") : NULL;
  PeakFn *fn = NULL;
  memcpy(&fn, &sym, sizeof fn);                                // ISO C has no cast from object to function pointers
  return fn;
}

double peak_gflops(PeakFn *fn, const Target *t) {
  double best = 0;
  volatile double sink = 0;
  for (int i = 0; i < 5; i++) {
    double since = cpu_seconds();
    sink += fn(1000000, 0.25f);
    double g = 12.0 * 2 * lanes_of(t) * 1e6 / (cpu_seconds() - since) / 1e9;
    if (g > best) best = g;
  }
  (void)sink;
  return best;
}

int64_t call_symbol(const char *name, void *ctx) {
  const Call *k = ctx;
  for (int i = 0; i < k->m->symbols; i++)
    if (!strcmp(k->m->symbol[i].name, name)) return k->symbols[i];
  return 1;
}

static int bench_one(Options *o) {
  Compiled c;
  Loaded l = {0};
  o->want_dims = true;
  if (is_language(o->args.at[0]) && !o->checkpoint) return bundle_bench(o);
  if (!model_tune(o->args.at[0], o) || !model_compile(&c, o->args.at[0], o)) return EXIT_FAILED;
  Call k;
  bool ok = model_load(&l, &c, o) && (!o->profile || profile_begin(l.handle, c.prefix, c.p, &c.arena, &c.diags));
  Case x = {0};
  if (ok) x = case_random(&c, (uint64_t)o->seed, SIZES_LOW, NULL);
  ok = ok && call_make(&k, &c, &l, &x) && call_run(&k, &c, 0);
  if (!ok) { diags_print(&c.diags, stderr); return EXIT_FAILED; }
  PeakFn *fn = peak_kernel(o, c.target, &c.arena, &c.diags);
  VEC(double) t = {0}, cpu = {0};
  double start = seconds_now(), peak = fn ? peak_gflops(fn, c.target) : 0;
  if (o->profile) profile_reset();
  for (start = seconds_now(); t.len < 5 || seconds_now() - start < o->seconds;) {
    double since = seconds_now(), cpu_since = cpu_seconds();
    k.m->run(k.weights, k.arena, k.symbols, k.in, k.out);
    *vec_push(&c.arena, &cpu) = (cpu_seconds() - cpu_since) * 1e3;
    *vec_push(&c.arena, &t) = (seconds_now() - since) * 1e3;
  }
  if (fn) { double again = peak_gflops(fn, c.target); if (again > peak) peak = again; }
  if (o->profile) { profile_report(&c.arena, call_symbol, &k, t.len, peak); return EXIT_DONE; }
  double ms = median_of(t.at, t.len), cpu_ms = median_of(cpu.at, cpu.len), flop = program_flops(c.p, call_symbol, &k), g = flop / cpu_ms / 1e6;
  if (o->json)
    printf("{\"model\": \"%s\", \"target\": \"%s\", \"ms\": %.6g, \"cpu_ms\": %.6g, \"fastest_ms\": %.6g, \"calls\": %d, \"flop\": %.0f, \"gflops\": %.4g, \"peak_gflops\": %.4g}\n",
           c.prefix, c.target->name, ms, cpu_ms, t.at[0], t.len, flop, g, peak);
  else {
    printf("%s  %s: median %.4f ms, of CPU time %.4f, fastest %.4f (%d calls)\n", c.prefix, c.target->name, ms, cpu_ms, t.at[0], t.len);
    printf("  %.4g MFLOP per call, %.1f GFLOP/s", flop / 1e6, g);
    if (peak > 0) printf(", %.0f%% of this core's %.0f", 100 * g / peak, peak);
    printf("\n  arena %zu bytes, weights %zu bytes\n", k.arena_bytes, k.m->weights_bytes);
  }
  return EXIT_DONE;
}

int verb_bench(Options *o) {
  if (o->against) return against_bench(o);
  int code = EXIT_DONE;
  for (int i = 0; i < o->args.len; i++) {
    Options one = *o;
    one.args = (Strings){.at = o->args.at + i, .len = 1};
    int k = bench_one(&one);
    if (k != EXIT_DONE) code = k;
  }
  return code;
}
