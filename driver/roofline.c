/* What this core can do at most, measured by small kernels that are compiled for the target: multiply-adds in
 * registers, and reads of blocks that fit each cache, and none. See roofline.h. */
#include "driver/roofline.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static const char source_text[] =
  "typedef float vec __attribute__((vector_size(4 * LANES)));\n"
  "double peak(long n, float x);\n"
  "double peak(long n, float x) {\n"
  "  vec m = x - (vec){0}, c = x * 0.5f - (vec){0};\n"
  "  vec a0 = c, a1 = c + 1, a2 = c + 2, a3 = c + 3, a4 = c + 4, a5 = c + 5;   /* alike, they would be merged */\n"
  "  vec a6 = c + 6, a7 = c + 7, a8 = c + 8, a9 = c + 9, aa = c + 10, ab = c + 11;\n"
  "  for (long i = 0; i < n; i++) {\n"
  "    a0 = a0 * m + c; a1 = a1 * m + c; a2 = a2 * m + c; a3 = a3 * m + c; a4 = a4 * m + c; a5 = a5 * m + c;\n"
  "    a6 = a6 * m + c; a7 = a7 * m + c; a8 = a8 * m + c; a9 = a9 * m + c; aa = aa * m + c; ab = ab * m + c;\n"
  "  }\n"
  "  a0 += a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + aa + ab;\n"
  "  return a0[0];\n"
  "}\n"
  "double stream(const float *p, long n, long times);\n"
  "double stream(const float *p, long n, long times) {\n"
  "  vec a[8] = {{0}};\n"
  "  for (long t = 0; t < times; t++)\n"
  "    for (const vec *v = (const vec *)p, *end = v + n / LANES; v < end; v += 8) {\n"
  "      a[0] += v[0]; a[1] += v[1]; a[2] += v[2]; a[3] += v[3];\n"
  "      a[4] += v[4]; a[5] += v[5]; a[6] += v[6]; a[7] += v[7];\n"
  "    }\n"
  "  a[0] += a[1] + a[2] + a[3] + a[4] + a[5] + a[6] + a[7];\n"
  "  return a[0][0];\n"
  "}\n";

static int lanes_of(const Target *t) { return t->lanes > 1 ? t->lanes : 4; }

PeakKernels peak_kernels(const Options *o, const Target *t, Arena *a, Diags *d) {
  EmitFiles f = {0};
  Text source = {0};
  text_printf(&source, "#define LANES %d\n%s", lanes_of(t), source_text);
  *vec_push(a, &f.at) = (EmitFile){.name = "peak.c", .data = arena_strdup(a, source.at), .size = source.len};
  text_free(&source);
  Toolchain tc = toolchain_of(o, t, a);
  const char *so = toolchain_cached(&tc, &f, "peak.so", "", true, a, d);
  PeakKernels r = {NULL, NULL, t};
  void *h = so ? dlopen(so, RTLD_NOW | RTLD_LOCAL) : NULL;
  void *fma = h ? dlsym(h, "peak") : NULL, *stream = h ? dlsym(h, "stream") : NULL;
  memcpy(&r.fma, &fma, sizeof r.fma);                          // ISO C has no cast from object to function pointers
  memcpy(&r.stream, &stream, sizeof r.stream);
  return r;
}

double peak_gflops(const PeakKernels *k) {
  double best = 0;
  volatile double sink = 0;
  for (int i = 0; i < 5 && k->fma; i++) {
    double since = cpu_seconds();
    sink += k->fma(1000000, 0.25f);
    double g = 12.0 * 2 * lanes_of(k->target) * 1e6 / (cpu_seconds() - since) / 1e9;
    if (g > best) best = g;
  }
  (void)sink;
  return best;
}

/* The best of some rounds, each of about 16 MiB of reads. */
static double read_gbps(const PeakKernels *k, const float *p, double bytes) {
  long step = 8 * lanes_of(k->target), n = (long)bytes / 4 / step * step, times = (long)(16777216 / bytes) + 1;
  double best = 0;
  volatile double sink = k->stream(p, n, 1);
  for (int i = 0; i < 5; i++) {
    double since = cpu_seconds();
    sink += k->stream(p, n, times);
    double g = 4.0 * (double)n * (double)times / (cpu_seconds() - since) / 1e9;
    if (g > best) best = g;
  }
  (void)sink;
  return best;
}

static double l3_bytes(const Target *t) {
  long n = 0;
#ifdef _SC_LEVEL3_CACHE_SIZE
  n = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
  return n > 0 ? (double)n : t->l2 * 1024.0 * 8;
}

void roofline_measure(Roofline *r, const PeakKernels *k) {
  const Target *t = k->target;
  const double l3 = l3_bytes(t);
  *r = (Roofline){.lanes = lanes_of(t), .peak = peak_gflops(k),
                  .level = {{"L1", t->l1 * 1024.0, 0}, {"L2", t->l2 * 1024.0, 0}, {"L3", l3, 0}, {"DRAM", 1e30, 0}}};
  double most = l3 * 2 < 67108864 ? 67108864 : l3 * 2;         // nothing of it stays in a cache
  void *block = NULL;
  if (!k->stream || posix_memalign(&block, 4096, (size_t)most)) return;
  memset(block, 0, (size_t)most);
  const double shared = t->l2 * 4096.0 < l3 / 2 ? t->l2 * 4096.0 : l3 / 2;     // others may have most of the L3
  const double block_bytes[LEVELS] = {t->l1 * 512.0, t->l2 * 512.0, shared, most};
  for (int i = 0; i < LEVELS; i++) r->level[i].gbps = read_gbps(k, block, block_bytes[i]);
  free(block);
}

const Level *roofline_level(const Roofline *r, double bytes) {
  int i = 0;
  while (i < LEVELS - 1 && bytes > r->level[i].bytes) i++;
  return &r->level[i];
}

double roofline_ms(const Roofline *r, double flop, double bytes, const char **bound) {
  const Level *l = roofline_level(r, bytes);
  double compute = r->peak > 0 ? flop / r->peak / 1e6 : 0, memory = l->gbps > 0 ? bytes / l->gbps / 1e6 : 0;
  *bound = compute >= memory ? "FMA" : l->name;
  return compute >= memory ? compute : memory;
}
