/* Measures runtime/vecmath.tmpl against double-precision libm.
 *
 *   accuracy [--table]                     every function, every width, SAMPLES bit patterns
 *   accuracy --sweep NAME... [--every N]   all 2^32 patterns (or every N-th) at 16 lanes: the record in
 *                                          docs/vecmath.md
 *
 * The first prints what fails, or a row for each function with --table. It takes bit patterns scrambled by
 * an odd multiplier, so that one vector holds large and small, usual and special values at once: a lane that
 * disturbs its neighbour shows. All widths see the same inputs. Exit code 1 if anything failed. */
#include "tests/vecmath/ulp.h"
#include "vecmath_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 4096, SAMPLES = 1 << 19, WIDTHS = 5 };

static const int widths[WIDTHS] = {1, 2, 4, 8, 16};
static int passed, failed, print_all;

/* --- The functions and what they should give --------------------------------------------------- */

static double ref_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double ref_silu(double x) { return x < -1000 && !isinf(x) ? -0.0 : x / (1 + exp(-x)); }
static double ref_gelu(double x) { return x < -1000 && !isinf(x) ? -0.0 : 0.5 * x * erfc(-x * 0.70710678118654752); }
static double ref_gelu_tanh(double x) {
  if (x < -1000 && !isinf(x))
    return -0.0;
  return x / (1 + exp(-1.5957691216057308 * (x + 0.044715 * x * x * x)));
}
static double ref_softplus(double x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }
static double ref_mish(double x) { return x < -1000 && !isinf(x) ? -0.0 : x * tanh(ref_softplus(x)); }
static double ref_rsqrt(double x) { return 1 / sqrt(x); }
static double ref_sign(double x) { return isnan(x) ? x : (x > 0) - (x < 0); }
static double ref_relu(double x) { return x < 0 ? 0 : x; }
static double ref_isnan(double x) { return isnan(x) ? -1 : 0; }
static double ref_isinf(double x) { return isinf(x) ? -1 : 0; }
static double ref_round_even(double x) { return rint(x); }
static double ref_max(double a, double b) { return isnan(a) || isnan(b) ? NAN : a > b ? a : b; }
static double ref_min(double a, double b) { return isnan(a) || isnan(b) ? NAN : a < b ? a : b; }
static double ref_mod(double x, double y) {
  double r = fmod(x, y);
  if (r == 0)
    return copysign(0, y);
  return (r < 0) != (y < 0) ? r + y : r;
}

/* name, reference, the most ULP allowed (measured maxima with a little air; 0 = exact) */
#define UNARY_CASES(X)                                                                                \
  X(exp, exp, 1.1)                                                                                    \
  X(expm1, expm1, 1.6)                                                                                \
  X(log, log, 0.9)                                                                                    \
  X(log1p, log1p, 1.5)                                                                                \
  X(tanh, tanh, 1.7)                                                                                  \
  X(sigmoid, ref_sigmoid, 1.7)                                                                        \
  X(silu, ref_silu, 2.0)                                                                              \
  X(mish, ref_mish, 2.0)                                                                              \
  X(softplus, ref_softplus, 1.8)                                                                      \
  X(erf, erf, 1.6)                                                                                    \
  X(gelu, ref_gelu, 2.5)                                                                              \
  X(gelu_tanh, ref_gelu_tanh, 2.0)                                                                    \
  X(sinh, sinh, 1.9)                                                                                  \
  X(cosh, cosh, 1.6)                                                                                  \
  X(sin, sin, 1.6)                                                                                    \
  X(cos, cos, 1.6)                                                                                    \
  X(tan, tan, 0.51)                                                                                   \
  X(asin, asin, 1.5)                                                                                  \
  X(acos, acos, 1.2)                                                                                  \
  X(atan, atan, 1.6)                                                                                  \
  X(asinh, asinh, 0.51)                                                                               \
  X(acosh, acosh, 0.51)                                                                               \
  X(atanh, atanh, 0.51)                                                                               \
  X(sqrt, sqrt, 0.5)                                                                                  \
  X(rsqrt, ref_rsqrt, 1.5)                                                                            \
  X(abs, fabs, 0)                                                                                     \
  X(sign, ref_sign, 0)                                                                                \
  X(relu, ref_relu, 0)                                                                                \
  X(isnan, ref_isnan, 0)                                                                              \
  X(isinf, ref_isinf, 0)                                                                              \
  X(floor, floor, 0)                                                                                  \
  X(ceil, ceil, 0)                                                                                    \
  X(trunc, trunc, 0)                                                                                  \
  X(round_even, ref_round_even, 0)

#define BINARY_CASES(X)                                                                               \
  X(pow, pow, 0.51)                                                                                   \
  X(atan2, atan2, 1.9)                                                                                \
  X(fmod, fmod, 0)                                                                                    \
  X(mod, ref_mod, 0.5)                                                                                \
  X(copysign, copysign, 0)                                                                            \
  X(max, ref_max, 0)                                                                                  \
  X(min, ref_min, 0)

/* One loop per function and width, as a kernel would have it.  isnan and isinf return masks. */
#define f32x1 float
#define IS_MASK(name) (sizeof #name == 6 && #name[0] == 'i' && #name[1] == 's')
#define RUN_UNARY(name, width)                                                                        \
  static void run_##name##_##width(const float *a, const float *b, float *out, int n)                 \
  {                                                                                                   \
    (void)b;                                                                                          \
    for (int i = 0; i < n; i += width) {                                                              \
      f32x##width x;                                                                                  \
      memcpy(&x, a + i, sizeof x);                                                                    \
      RUN_RESULT_##width(lt_##name##_##width(x), IS_MASK(name));                                      \
      memcpy(out + i, &x, sizeof x);                                                                  \
    }                                                                                                 \
  }
#define RUN_RESULT_1(r, mask) (x = (float)(r))
#define RUN_RESULT_N(r, mask, T) (x = (mask) ? __builtin_convertvector((i##T)(r), f##T) : (f##T)(r))
#define RUN_RESULT_2(r, mask) RUN_RESULT_N(r, mask, 32x2)
#define RUN_RESULT_4(r, mask) RUN_RESULT_N(r, mask, 32x4)
#define RUN_RESULT_8(r, mask) RUN_RESULT_N(r, mask, 32x8)
#define RUN_RESULT_16(r, mask) RUN_RESULT_N(r, mask, 32x16)
#define RUN_BINARY(name, width)                                                                       \
  static void run_##name##_##width(const float *a, const float *b, float *out, int n)                 \
  {                                                                                                   \
    for (int i = 0; i < n; i += width) {                                                              \
      f32x##width x, y;                                                                               \
      memcpy(&x, a + i, sizeof x);                                                                    \
      memcpy(&y, b + i, sizeof y);                                                                    \
      x = lt_##name##_##width(x, y);                                                                  \
      memcpy(out + i, &x, sizeof x);                                                                  \
    }                                                                                                 \
  }
#define ALL_WIDTHS(RUN, name) RUN(name, 1) RUN(name, 2) RUN(name, 4) RUN(name, 8) RUN(name, 16)
#define RUN_UNARY_ALL(name, ref, limit) ALL_WIDTHS(RUN_UNARY, name)
#define RUN_BINARY_ALL(name, ref, limit) ALL_WIDTHS(RUN_BINARY, name)
UNARY_CASES(RUN_UNARY_ALL)
BINARY_CASES(RUN_BINARY_ALL)

typedef struct Case {
  const char *name;
  double (*unary)(double);
  double (*binary)(double, double);
  double limit;
  void (*run[WIDTHS])(const float *a, const float *b, float *out, int n);
} Case;

#define RUNS(name) {run_##name##_1, run_##name##_2, run_##name##_4, run_##name##_8, run_##name##_16}
#define UNARY_ROW(name, ref, limit) {#name, ref, NULL, limit, RUNS(name)},
#define BINARY_ROW(name, ref, limit) {#name, NULL, ref, limit, RUNS(name)},
static const Case cases[] = {UNARY_CASES(UNARY_ROW) BINARY_CASES(BINARY_ROW)};
enum { N_CASES = sizeof cases / sizeof *cases };

typedef struct Worst {
  double ulp;
  float a, b, got;
  int width;
} Worst;

/* n is a multiple of 16. */
static void measure(const Case *c, const float *a, const float *b, int n, int first, Worst *worst) {
  static double want[BLOCK];
  static float got[BLOCK];
  for (int i = 0; i < n; i++)
    want[i] = c->unary ? c->unary(a[i]) : c->binary(a[i], b[i]);
  for (int w = first; w < WIDTHS; w++) {
    c->run[w](a, b, got, n);
    for (int i = 0; i < n; i++) {
      // the unit of gelu is that of x/2 where the result is smaller
      double size = c->unary == ref_gelu ? fmax(fabs(want[i]), fabs((double)a[i]) / 2) : want[i];
      double ulp = ulp_error_at(got[i], want[i], size);
      if (c->limit == 0 && want[i] == 0 && c->unary && !signbit(got[i]) != !signbit(want[i]))
        ulp = INFINITY; // exact functions keep the sign of zero
      if (ulp > worst->ulp)
        *worst = (Worst){ulp, a[i], b[i], got[i], widths[w]};
    }
  }
}

static void report(const Case *c, const Worst *worst) {
  int ok = worst->ulp <= c->limit;
  if (ok)
    passed++;
  else
    failed++;
  if (ok && !print_all)
    return;
  printf("%-10s %6.3f ULP of %4.2f allowed   at %.9g", c->name, worst->ulp, c->limit, (double)worst->a);
  if (c->binary)
    printf(", %.9g", (double)worst->b);
  printf(" (0x%08x)%s\n", (unsigned)bits_of(worst->a), ok ? "" : "   <-- TOO FAR");
  if (!ok)
    printf("  got %.9g at %d lanes; repeat: accuracy --sweep %s\n", (double)worst->got, worst->width, c->name);
  fflush(stdout);
}

/* --- Inputs ------------------------------------------------------------------------------------ */

/* Zeros, denormals, range ends, NaNs, and where the methods change; each with its neighbours. */
static int edge_values(float *out) {
  static const float plain[] = {
    0.0f, 0x1p-149f, 0x1p-126f, 0x1p-100f, 0x1p-24f, 0x1p-12f, 0.3465736f, 0.5f, 0.70710678f,
    0.875f, 1.0f, 1.41421356f, 1.57079633f, 2.0f, 2.5f, 3.0f, 3.14159265f, 4.0f, 8.66434f,
    9.01091f, 10.0f, 11.0f, 14.5f, 16.6355f, 20.0f, 87.3365f, 88.0f, 88.72283f, 89.41599f,
    90.0f, 103.27893f, 103.97208f, 110.0f, 1048576.0f, 4194304.0f, 8388607.5f, 8388608.0f,
    16777216.0f, 67108864.0f, 0x1p31f, 0x1p32f, 0x1p63f, 0x1p96f, 0x1.fffffep127f, INFINITY, NAN,
  };
  int n = 0;
  for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
    uint32_t bits = bits_of(plain[i]);
    for (uint32_t step = 0; step < 3; step++) {
      uint32_t near = bits + step - 1;
      if (near > 0x7fc00000u)
        continue;
      out[n++] = float_of(near);
      out[n++] = float_of(near | 0x80000000u);
    }
  }
  return n;
}

/* Feeds pairs to measure() in whole blocks. */
typedef struct Feed {
  const Case *c;
  Worst *worst;
  int n;
  float a[BLOCK], b[BLOCK];
} Feed;

static void feed_flush(Feed *feed) {
  while (feed->n % 16 != 0) {
    feed->a[feed->n] = feed->a[0];
    feed->b[feed->n++] = feed->b[0];
  }
  measure(feed->c, feed->a, feed->b, feed->n, 0, feed->worst);
  feed->n = 0;
}

static void feed_pair(Feed *feed, float a, float b) {
  feed->a[feed->n] = a;
  feed->b[feed->n++] = b;
  if (feed->n == BLOCK)
    feed_flush(feed);
}

/* Random pairs of patterns rarely meet in pow's interesting region or in fmod's long divisions;
 * two of three are drawn closer: moderate values, and small whole numbers. */
static void feed_binary(Feed *feed, uint32_t i) {
  uint32_t a = i * 2654435761u, b = (i ^ 0x5bd1e995u) * 2246822519u;
  if (i % 3 == 0) {
    feed_pair(feed, float_of(a), float_of(b));
  } else if (i % 3 == 1) {
    float base = float_of(0x3f000000u + (a >> 6));
    feed_pair(feed, i & 8 ? -base : base, ((float)(int32_t)b) * 0x1p-24f);
  } else {
    feed_pair(feed, (float)((int32_t)a >> 20) * 0.125f, (float)((int32_t)b >> 24) * 0.5f);
  }
}

static void quick(const Case *c) {
  static Feed feed;
  static float edges[400];
  Worst worst = {.ulp = -1};
  feed = (Feed){.c = c, .worst = &worst};
  int n_edges = edge_values(edges);
  for (int i = 0; i < n_edges; i++)
    for (int j = 0; j < (c->binary ? n_edges : 1); j++)
      feed_pair(&feed, edges[i], edges[j]);
  for (uint32_t i = 0; i < SAMPLES; i++) {
    if (c->binary)
      feed_binary(&feed, i);
    else
      feed_pair(&feed, float_of(i * 2654435761u), 0);
  }
  feed_flush(&feed);
  report(c, &worst);
}

static void sweep(const Case *c, uint32_t every) {
  static float a[BLOCK];
  Worst worst = {.ulp = -1};
  int n = 0;
  for (uint64_t pattern = 0; pattern < UINT64_C(1) << 32; pattern += every) {
    a[n++] = float_of((uint32_t)pattern);
    if (n == BLOCK) {
      measure(c, a, a, n, WIDTHS - 1, &worst);
      n = 0;
    }
  }
  if (n >= 16)
    measure(c, a, a, n - n % 16, WIDTHS - 1, &worst);
  report(c, &worst);
}

static const Case *case_named(const char *name) {
  for (int i = 0; i < N_CASES; i++)
    if (strcmp(cases[i].name, name) == 0)
      return &cases[i];
  return NULL;
}

int main(int argc, char **argv) {
  print_all = argc > 1;
  if (argc > 1 && strcmp(argv[1], "--sweep") == 0) {
    uint32_t every = 1;
    for (int i = 2; i < argc; i++)
      if (strcmp(argv[i], "--every") == 0 && i + 1 < argc)
        every = (uint32_t)strtoul(argv[i + 1], NULL, 10);
    for (int i = 2; i < argc; i++) {
      const Case *c = case_named(argv[i]);
      if (c && c->unary)
        sweep(c, every ? every : 1);
    }
  } else {
    for (int i = 0; i < N_CASES; i++)
      quick(&cases[i]);
  }
  printf("vecmath: %d passed, %d failed\n", passed, failed);
  return failed > 0;
}
