/* The vectoriser: a kernel computes the same before and after, for odd sizes, every vector width and with
 * sentinels around what it writes; and what must be refused is. */
#include "passes/loops.h"
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { SIZE = 400, EDGE = 8 };

static const float SENTINEL = 12345.0f;

static Kernel *parse(Arena *a, const char *body, int n) {
  Diags d = {0};
  const char *size = arena_printf(a, "%d", n);
  Text t = {0};
  text_put(&t,
           "kernel k lanes 1 group 0 root 0 flops 0 ( in x: f32[400] in w: f32[400] in q: i8[400] in d: f64[400] out y: f32[400]"
           " ) dims N in 1..400 { ");
  for (const char *s = body; *s; s++)
    if (*s == '#') text_put(&t, size);                          // the length of the loop
    else text_bytes(&t, s, 1);
  text_put(&t, " }");
  const char *at = t.at;
  Kernel *k = kernel_parse(a, &at, &d);
  diags_print(&d, stderr);
  cr_assert(k, "%s", body);
  text_free(&t);
  return k;
}

static void run(const Kernel *k, int n, float *y) {
  static float x[SIZE], w[SIZE];
  static double dd[SIZE];
  static int8_t q[SIZE];
  for (int i = 0; i < SIZE; i++) {
    x[i] = (float)((i * 37) % 101 - 50) / 8;                    // sums are exact in any order
    w[i] = (float)((i * 53) % 29 - 14) / 4;
    q[i] = (int8_t)(i * 7);
    dd[i] = x[i] + 0.25;
  }
  for (int i = 0; i < SIZE; i++) y[i] = SENTINEL;
  Memory mem[5] = {{x, SIZE}, {w, SIZE}, {q, SIZE}, {dd, SIZE}, {y, SIZE}};
  int64_t dims[1] = {n};
  Diags d = {0};
  bool ok = kernel_verify(k, &d) && kernel_run(k, mem, dims, &d);
  diags_print(&d, stderr);
  cr_assert(ok);
  diags_free(&d);
}

static bool has(const Kernel *k, const char *what) {
  Text t = {0};
  kernel_print(&t, k);
  bool found = strstr(t.at, what) != NULL;
  text_free(&t);
  return found;
}

/* Runs `body` with every length and width; true when the longest was vectorised at every width. */
static bool same(const char *body) {
  static const int lengths[] = {1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 100, 131, 257};
  bool all = true;
  for (int lanes = 4; lanes <= 16; lanes *= 2)
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
      Arena a = {0};
      symbols_reset();
      Kernel *k = parse(&a, body, lengths[i]);
      static float before[SIZE], after[SIZE];
      run(k, lengths[i], before);
      Target t = {.name = "test", .lanes = lanes};
      kernel_vectorise(&a, k, &t);
      run(k, lengths[i], after);
      for (int j = 0; j < SIZE; j++)
        cr_assert(before[j] == after[j] || (before[j] != before[j] && after[j] != after[j]),
                  "%s\nlength %d, %d lanes: y[%d] is %g, was %g", body, lengths[i], lanes, j, after[j], before[j]);
      cr_expect(!has(k, "vec "), "%s: a loop is left undecided", body);
      if (lengths[i] > 100 && !has(k, "ramp(") && !has(k, "splat(")) all = false;
      arena_free(&a);
    }
  return all;
}

#define VECTORISED(body) cr_expect(same(body), "not vectorised: %s", body)
#define REFUSED(body) cr_expect(!same(body), "vectorised: %s", body)

Test(vectorise, maps) {
  VECTORISED("vec i in 0..# { y[i + 8] = x[i] * 2.0 + w[i + 3] }");
  VECTORISED("vec i in 3..# { let a = x[i - 3] y[i] = where(a < 0.0, a * 0.5, a) }");
  VECTORISED("vec i in 0..# { y[i] = cast(q[i], f32) * w[7] }");
  VECTORISED("vec i in 0..# { y[i] = cast(d[i] * 2.0:f64, f32) }");
  VECTORISED("vec i in 0..# { y[i] = cast(i, f32) }");
  VECTORISED("vec i in 0..# { y[i] = 1.5 }");
  VECTORISED("vec i in 0..# { y[i] = x[i] + w[i % 16] }");        // a gather at widths that do not divide 16
  // the guard does not depend on i: stays lazy
  VECTORISED("vec i in 0..# { y[i] = where(x[0] > 100.0, x[i + 9999], w[i]) }");
}

Test(vectorise, symbolic_length) {
  VECTORISED("vec i in 0..N { y[i] = x[i] * 2.0 }");
  VECTORISED("var r = 0.0 vec i in 0..N { r = r + x[i] } y[0] = r");
  VECTORISED("vec i in 2..N { y[i] = x[i] }");
}

Test(vectorise, inner_loops_and_registers) {
  VECTORISED("vec i in 0..# { var s = 0.0 for k in 0..4 { s = fma(x[i + k], w[k], s) } y[i] = s }");
  VECTORISED("vec i in 0..# { var s = x[0] if x[1] < 0.0 { s = x[i] } y[i] = s }");
  VECTORISED("vec i in 0..# { var c = 1.0 for k in 0..3 { c = c * w[k] } y[i] = c + x[i] }");
}

Test(vectorise, reductions) {
  VECTORISED("var r = 0.0 vec i in 0..# { r = r + x[i] } y[0] = r");
  VECTORISED("var r = 1.0 vec i in 0..# { r = fma(x[i], w[i], r) } y[0] = r");
  VECTORISED("var r = -2.0 vec i in 0..# { r = max(x[i], r) } y[0] = r");
  VECTORISED("var r = inf vec i in 0..# { r = min(r, x[i]) } y[0] = r");
  VECTORISED("var r = 0:i32 vec i in 0..# { r = max(r, cast(q[i], i32)) } y[0] = cast(r, f32)");
  VECTORISED(
      "var r = 0.0 var m = x[0] vec i in 0..# { let a = x[i] m = max(m, a) r = r + a y[i + 1] = a } y[0] = r + m");
  VECTORISED("var n = 0.0 vec i in 0..# { n = n + where(x[i] > 0.0, 1.0, 0.0) } y[0] = n");
  VECTORISED("var r = 0.0 vec i in 0..# { for k in 0..3 { r = r + x[i + k * 7] } } y[0] = r");
}

Test(vectorise, guards_are_split_off) {
  VECTORISED("vec i in 0..# { y[i] = where(and(i >= 2, i < 100), x[i - 2], 0.0) }");
  VECTORISED(
      "vec i in 0..# { var s = 0.0 for k in 0..5 { s = s + where(and(i + k >= 2, i + k - 2 < #), x[i + k - 2], 0.0) * w[k] } y[i] = s }");
  VECTORISED("var r = 0.0 vec i in 0..# { r = r + where(i >= 1, x[i - 1], 0.0) } y[0] = r");
  VECTORISED("vec i in 0..# { let a = x[i] y[i] = where(a > 0.0, x[i], w[0]) }");   // loads that are in bounds anyway
}

Test(vectorise, refusals) {
  REFUSED("vec i in 0..# { y[i] = where(x[i] > 9999.0, x[i + 9999], 0.0) }");       // only where the data says
  REFUSED("vec i in 0..# { if x[i] > 0.0 { y[i] = 1.0 } }");
  REFUSED("vec i in 0..# { y[0] = x[i] }");                                         // the last one counts
  REFUSED("vec i in 0..100 { y[i * 2] = x[i] }");
  REFUSED("vec i in 0..100 { y[i] = x[i * 2] }");                                   // gathers and nothing else
  REFUSED("var r = 0.0 vec i in 0..# { r = x[i] - r } y[0] = r");
  REFUSED("var r = 0.0 vec i in 0..# { r = r + x[i] y[i] = r }");                   // a running sum
  REFUSED("var r = 0.0 vec i in 0..# { r = r + x[i] r = max(r, 0.0) } y[0] = r");
  REFUSED("var r = 0.0 vec i in 0..# { r = x[i] } y[0] = r");
  REFUSED("vec i in 0..# { for k in 0..i { y[i] = x[k] } }");
}

Test(vectorise, scalar_target) {
  Arena a = {0};
  Kernel *k = parse(&a, "vec i in 0..100 { y[i] = x[i] }", 100);
  Target t = {.name = "c99", .lanes = 1};
  kernel_vectorise(&a, k, &t);
  cr_expect(!has(k, "ramp("));
  cr_expect(has(k, "for i in 0..100 {"));
  arena_free(&a);
}

Test(vectorise, tails) {
  Arena a = {0};
  Kernel *k = parse(&a, "vec i in 0..31 { y[i] = x[i] }", 31);
  Target t = {.name = "test", .lanes = 8};
  kernel_vectorise(&a, k, &t);
  cr_expect(has(k, "for i in 0..24 step 8 {\n    y[ramp(i, 1, 8)] = x[ramp(i, 1, 8)]\n  }\n"
                   "  y[ramp(24, 1, 4)] = x[ramp(24, 1, 4)]\n  y[ramp(28, 1, 2)] = x[ramp(28, 1, 2)]\n"
                   "  y[30] = x[30]\n"));
  arena_free(&a);
}
