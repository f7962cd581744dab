/* Unrolling and simplifying loop IR: what comes out, as text. */
#include "passes/loops.h"
#include <criterion/criterion.h>
#include <string.h>

typedef void (*Pass)(Arena *a, Kernel *k);

/* The body after a pass, without the outer indentation's first line. */
static void expect(Pass pass, const char *body, const char *want) {
  Arena a = {0};
  Diags d = {0};
  symbols_reset();
  const char *at = arena_printf(&a, "kernel k lanes 1 group 0 root 0 flops 0 ( in x: f32[9999] out y: f32[9999] ) dims N in 1..9 { %s }", body);
  Kernel *k = kernel_parse(&a, &at, &d);
  cr_assert(k && kernel_verify(k, &d), "%s", body);
  pass(&a, k);
  bool ok = kernel_verify(k, &d);
  diags_print(&d, stderr);
  cr_expect(ok, "%s", body);
  Text t = {0};
  kernel_print(&t, k);
  char *s = strstr(t.at, "9 {\n") + 4;
  s[strlen(s) - 2] = 0;                                         // the last brace
  cr_expect_str_eq(s, want, "got\n%s\nwant\n%s", s, want);
  text_free(&t);
  arena_free(&a);
}

Test(loop_passes, unroll) {
  expect(kernel_unroll, "unroll i in 0..3 { let a = x[i * 2] y[i] = a }",
         "  let a = x[0]\n  y[0] = a\n  let a2 = x[2]\n  y[1] = a2\n  let a3 = x[4]\n  y[2] = a3\n");
  expect(kernel_unroll, "unroll i in 0..N { y[i] = 1.0 }", "  for i in 0..N {\n    y[i] = 1.0\n  }\n");
  expect(kernel_unroll, "unroll i in 0..1000 { y[i] = 1.0 }", "  for i in 0..1000 {\n    y[i] = 1.0\n  }\n");
  expect(kernel_unroll, "unroll i in 0..2 { unroll j in 0..2 { y[i * 2 + j] = 1.0 } }",
         "  y[0] = 1.0\n  y[1] = 1.0\n  y[2] = 1.0\n  y[3] = 1.0\n");
  expect(kernel_unroll, "var s = 0.0 unroll i in 0..2 { s = s + x[i] } y[0] = s",
         "  var s = 0.0\n  s = s + x[0]\n  s = s + x[1]\n  y[0] = s\n");
}

Test(loop_passes, dead_code) {
  expect(kernel_simplify, "let a = x[0] let b = a + 1.0 y[0] = 2.0", "  y[0] = 2.0\n");
  expect(kernel_simplify, "var s = 0.0 for i in 0..9 { s = s + x[i] } y[0] = 2.0", "  y[0] = 2.0\n");
  expect(kernel_simplify, "var s = 0.0 for i in 0..9 { s = s + x[i] } y[0] = s",
         "  var s = 0.0\n  for i in 0..9 {\n    s = s + x[i]\n  }\n  y[0] = s\n");
}

Test(loop_passes, repeated_indices) {
  expect(kernel_simplify, "for i in 0..9 { for j in 0..9 { y[i * 9 + j] = x[i * 9 + j] + x[i * 9 + j + 1] } }",
         "  for i in 0..9 {\n    for j in 0..9 {\n      let at = i * 9 + j\n      y[at] = x[at] + x[at + 1]\n    }\n  }\n");
  expect(kernel_simplify, "for i in 0..9 { for j in 0..9 { y[i * 9 + j] = x[i * 9 + j] } }",   // twice is not often
         "  for i in 0..9 {\n    for j in 0..9 {\n      y[i * 9 + j] = x[i * 9 + j]\n    }\n  }\n");
  expect(kernel_simplify,                                       // goes where its last variable is
         "for i in 0..9 { for j in 0..9 { y[(i * 2 + N) * j] = x[(i * 2 + N) * 3] + x[(i * 2 + N) * 5] } }",
         "  for i in 0..9 {\n    let at = i * 2 + N\n    for j in 0..9 {\n      y[at * j] = x[at * 3] + x[at * 5]\n    }\n  }\n");
  expect(kernel_simplify, "for i in 0..9 { let p = i * 9 + N y[i * 9 + N] = x[i * 9 + N] + x[p] }",   // a let that is there serves
         "  for i in 0..9 {\n    let p = i * 9 + N\n    y[p] = x[p] + x[p]\n  }\n");
  expect(kernel_simplify, "var s = 0 for i in 0..9 { s = s + 1 y[s * 2 + i] = x[s * 2 + i] + x[s * 2 + i] }",   // s changes
         "  var s = 0\n  for i in 0..9 {\n    s = s + 1\n    y[s * 2 + i] = x[s * 2 + i] + x[s * 2 + i]\n  }\n");
}
