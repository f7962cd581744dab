/* runtime/vecmath.tmpl beside SLEEF, a well-known library of vector mathematics, where it is installed.
 *
 * A row for each function that both have:
 *   ULP libm    largest error of ours against glibc in double
 *   ULP SLEEF   largest error of ours against SLEEF in double (1.0 ULP of double): a second opinion on the first
 *   theirs      largest error of SLEEF's float function (1.0 ULP by its documentation) against glibc in double
 *   ns          of one element, ours and theirs, vectors of the machine's width, arguments in [-4, 4] (logarithms:
 *               (0, 8]), CPU time, best of PASSES
 * Exit code 1 if ours is further than 2 ULP from SLEEF's double function. Prints SKIPPED without SLEEF. */
#define _POSIX_C_SOURCE 200809L
#include "tests/vecmath/ulp.h"
#include "vecmath_all.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#if !defined(HAVE_SLEEF)
int main(void) {
  printf("sleef: SKIPPED, libsleef-dev is not installed\n");
  return 0;
}
#else
#include <sleef.h>

#if defined(__AVX512F__)
#define OURS(name) lt_##name##_16
#define THEIRS(name) Sleef_##name##f16_u10avx512f
typedef f32x16 Vector;
#elif defined(__AVX2__)
#define OURS(name) lt_##name##_8
#define THEIRS(name) Sleef_##name##f8_u10avx2
typedef f32x8 Vector;
#else
#define OURS(name) lt_##name##_4
#define THEIRS(name) Sleef_##name##f4_u10sse2
typedef f32x4 Vector;
#endif

enum { N = 1 << 12, BLOCKS = 1 << 7, PASSES = 60 };

#define FUNCTIONS(X)                                                                                \
  X(exp) X(expm1) X(log) X(log1p) X(tanh) X(erf) X(sin) X(cos) X(tan) X(asin) X(acos) X(atan)       \
  X(sinh) X(cosh) X(asinh) X(acosh) X(atanh)

#define LOOP(prefix, name, call)                                                                    \
  static void prefix##_##name(const float *in, float *out) {                                        \
    for (int i = 0; i < N; i += (int)(sizeof(Vector) / sizeof(float))) {                            \
      Vector x;                                                                                     \
      memcpy(&x, in + i, sizeof x);                                                                 \
      x = call(x);                                                                                  \
      memcpy(out + i, &x, sizeof x);                                                                \
    }                                                                                               \
  }
#define LOOPS(name) LOOP(ours, name, OURS(name)) LOOP(theirs, name, THEIRS(name))
FUNCTIONS(LOOPS)

/* sigmoid has no twin: ours against the definition, and beside the vector loop one writes with SLEEF's exp. */
static double libm_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double sleef_sigmoid(double x) { return 1 / (1 + Sleef_exp_u10(-x)); }
static Vector vector_sigmoid(Vector x) { return 1.0f / (1.0f + (Vector)THEIRS(exp)(-x)); }
LOOP(ours, sigmoid, OURS(sigmoid))
LOOP(theirs, sigmoid, vector_sigmoid)

typedef struct Row {
  const char *name;
  void (*ours)(const float *in, float *out), (*theirs)(const float *in, float *out);
  double (*libm)(double), (*sleef)(double);
} Row;
#define ROW(name) {#name, ours_##name, theirs_##name, name, Sleef_##name##_u10},
static const Row rows[] = {FUNCTIONS(ROW){"sigmoid", ours_sigmoid, theirs_sigmoid, libm_sigmoid, sleef_sigmoid}};

static double ns_of(void (*run)(const float *in, float *out), bool positive) {
  static float in[N], out[N];
  double best = 1e9;
  for (int i = 0; i < N; i++) in[i] = (float)((i * 7919) % N + 1) * (8.0f / N) - (positive ? 0.0f : 4.0f);
  for (int pass = 0; pass < PASSES; pass++) {
    struct timespec from, to;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    run(in, out);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    double took = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
    if (took < best) best = took;
  }
  return best / N;
}

static void raise(double *worst, double ulp) {
  if (ulp > *worst) *worst = ulp;
}

int main(void) {
  static float in[N], ours[N], theirs[N];
  int failed = 0, n = (int)(sizeof rows / sizeof *rows);
  printf("function  ULP libm  ULP SLEEF  theirs      ns  theirs\n");
  for (const Row *r = rows; r < rows + n; r++) {
    double libm = 0, sleef = 0, other = 0;
    for (uint32_t block = 0; block < BLOCKS; block++) {
      for (uint32_t i = 0; i < N; i++) in[i] = float_of((block * N + i) * 2654435761u);
      r->ours(in, ours);
      r->theirs(in, theirs);
      for (int i = 0; i < N; i++) {
        double want = r->libm(in[i]);
        raise(&libm, ulp_error(ours[i], want));
        raise(&sleef, ulp_error(ours[i], r->sleef(in[i])));
        raise(&other, ulp_error(theirs[i], want));
      }
    }
    bool positive = strncmp(r->name, "log", 3) == 0 || strcmp(r->name, "acosh") == 0;
    bool ok = sleef <= 2;
    printf("%-8s %9.3f %10.3f %7.3f %7.3f %7.3f%s\n", r->name, libm, sleef, other, ns_of(r->ours, positive),
           ns_of(r->theirs, positive), ok ? "" : "   <-- TOO FAR");
    failed += !ok;
  }
  printf("sleef: %d passed, %d failed\n", n - failed, failed);
  return failed > 0;
}
#endif
