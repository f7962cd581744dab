/* How fast the functions of runtime/vecmath.tmpl are: ns per element at 1, 4, 8 and 16 lanes, over an array
 * that stays in the second-level cache, CPU time, best of several passes (others on the machine only ever add to
 * it). */
#define _POSIX_C_SOURCE 200809L
#include "vecmath_all.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { N = 1 << 15, PASSES = 60 };

#define f32x1 float
#define LOOP(name, width)                                                                           \
  static void loop_##name##_##width(const float *in, float *out) {                                  \
    for (int i = 0; i < N; i += width) {                                                            \
      f32x##width x;                                                                                \
      memcpy(&x, in + i, sizeof x);                                                                 \
      x = lt_##name##_##width(x);                                                                   \
      memcpy(out + i, &x, sizeof x);                                                                \
    }                                                                                               \
  }
#define FUNCTIONS(X)                                                                                \
  X(exp) X(tanh) X(sigmoid) X(erf) X(gelu) X(gelu_tanh) X(silu) X(mish) X(softplus) X(log) X(log1p) \
  X(expm1) X(sin) X(cos) X(tan) X(asin) X(atan) X(sinh) X(asinh) X(rsqrt) X(floor) X(abs)
#define LOOPS(name) LOOP(name, 1) LOOP(name, 4) LOOP(name, 8) LOOP(name, 16)
FUNCTIONS(LOOPS)

typedef void Loop(const float *in, float *out);

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);                 // of this process: others share the machine
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void time_it(const char *name, Loop *const run[4]) {
  static float in[N], out[N];
  for (int i = 0; i < N; i++) in[i] = (float)((i * 7919) % N) * (8.0f / N) - 4.0f; // -4 … 4
  printf("%-10s", name);
  for (int w = 0; w < 4; w++) {
    double best = 1e9;
    for (int pass = 0; pass < PASSES; pass++) {
      double start = seconds();
      run[w](in, out);
      double took = seconds() - start;
      if (took < best) best = took;
    }
    printf(" %8.3f", best * 1e9 / N);
  }
  printf("\n");
}

#define TIME(name) time_it(#name, (Loop *const[4]){loop_##name##_1, loop_##name##_4, loop_##name##_8, loop_##name##_16});

int main(void) {
  printf("ns/element  1 lane  4 lanes  8 lanes 16 lanes\n");
  FUNCTIONS(TIME)
  return 0;
}
