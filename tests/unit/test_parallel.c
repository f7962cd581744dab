/* What is marked parallel: the interpreter finds the iterations that share what they must not. */
#include "ir/loop.h"
#include <criterion/criterion.h>
#include <string.h>

/* Runs a kernel whose parameters are all f32[16]; says why it was refused, or "". */
static const char *race_of(const char *params, const char *body) {
  static char why[1000];
  Arena a = {0};
  Diags d = {0};
  float memory[4][16] = {{0}};
  Memory mem[4];
  for (int k = 0; k < 4; k++) mem[k] = (Memory){memory[k], 16};
  const char *text = arena_printf(&a, "kernel k lanes 1 group 1 root 0 flops 0 (\n%s) {\n%s}\n", params, body);
  Kernel *k = kernel_parse(&a, &text, &d);
  *why = 0;
  if (k) kernel_finish(k);
  if (!k) snprintf(why, sizeof why, "does not parse");
  else if (!kernel_run(k, mem, NULL, &d)) snprintf(why, sizeof why, "%s", d.at[0].text);
  diags_free(&d);
  arena_free(&a);
  return why;
}

#define X "  in x: f32[16]\n"
#define Y "  inout y: f32[16]\n"
#define SHARED "  scratch s: f32[16]\n"
#define PRIVATE "  scratch s: f32[16] private 1\n"
#define FINE(params, body) cr_expect_str_eq(race_of(params, body), "")
#define RACE(params, body, what) cr_expect(strstr(race_of(params, body), what), "%s", race_of(params, body))

Test(parallel, races) {
  FINE(X Y, "par i in 0..16 { y[i] = x[i] }");
  FINE(X Y, "par i in 0..4 { par j in 0..4 { y[i * 4 + j] = x[j] } }");
  FINE(Y, "par i in 0..16 { y[i] = y[i] * 2.0 }");
  RACE(Y, "par i in 0..15 { y[i + 1] = y[i] }", "reads y[1], which another iteration of a parallel loop wrote");
  RACE(Y, "par i in 0..15 { y[i] = y[i + 1] }", "writes y[1], which another iteration of a parallel loop reads");
  RACE(Y, "par i in 0..4 { y[0] = 1.0 }", "writes y[0], which another iteration of a parallel loop wrote, too");
  RACE(Y, "par i in 0..4 { for j in 0..4 { y[j] = 1.0 } }", "wrote, too");
  RACE(X Y, "par i in 0..4 { par j in 0..4 { y[i + j] = x[j] } }", "wrote, too");
  RACE(X Y, "par i in 0..4 { let v = y[0]\n y[3 - i] = v }",
       "writes y[0], which another iteration of a parallel loop reads");
  RACE(Y, "par i in 0..4 { if i < 3 { let v = y[0]\n y[8 + i] = v } else { y[0] = 1.0 } }",
       "writes y[0], which another iteration");
  FINE(Y, "for t in 0..3 { par i in 0..8 { y[i] = y[15 - i] }\n par i in 0..8 { y[8 + i] = y[i] } }");
}

Test(parallel, blocks) {
  FINE(Y, "par { par i in 0..8 { y[i] = 1.0 }\n par i in 8..16 { y[i] = 2.0 } }");
  FINE(Y, "par { { y[0] = 1.0\n y[1] = y[0] }\n y[2] = 1.0 }");
  RACE(Y, "par { y[0] = 1.0\n y[1] = y[0] }", "reads y[0]");
  RACE(Y, "par { par i in 0..8 { y[i] = 1.0 }\n par i in 7..16 { y[i] = 2.0 } }", "writes y[7]");
}

Test(parallel, private_scratch) {
  FINE(Y PRIVATE, "par i in 0..4 { for j in 0..4 { s[j] = 1.0 }\n y[i] = s[3] }");
  RACE(Y SHARED, "par i in 0..4 { for j in 0..4 { s[j] = 1.0 }\n y[i] = s[3] }", "writes s[0]");
  FINE(Y SHARED, "for j in 0..4 { s[j] = 1.0 }\n par i in 0..4 { y[i] = s[i] }");
  RACE(Y PRIVATE, "for j in 0..4 { s[j] = 1.0 }\n par i in 0..4 { y[i] = s[i] }",
       "scratch made inside a parallel loop");
  RACE(Y PRIVATE, "par i in 0..4 { if i < 1 { s[0] = 1.0 }\n y[i] = s[0] }", "scratch made inside a parallel loop");
  FINE(Y PRIVATE, "par i in 0..4 { par j in 0..4 { s[j] = 1.0 }\n par j in 0..4 { y[i * 4 + j] = s[3 - j] } }");
  RACE(Y PRIVATE, "par i in 0..4 { par j in 0..4 { s[0] = 1.0\n y[i * 4 + j] = s[0] } }", "writes s[0]");
}

Test(parallel, scratch_belongs_to_its_loops) {
  Arena a = {0};
  Builder b;
  kernel_new(&b, &a, "k");
  cr_expect_eq(loop_parallel_depth(&b), 0);
  loop_begin(&b, "i", ex_int(&b, 0), ex_int(&b, 4), 1, FOR_PARALLEL_VECTOR);
  loop_begin(&b, "one", ex_int(&b, 0), ex_int(&b, 1), 1, FOR_PARALLEL);        // not built: no loop
  loop_begin(&b, "t", ex_int(&b, 0), ex_int(&b, 4), 1, FOR_SEQ);
  cr_expect_eq(loop_parallel_depth(&b), 1);
  loop_begin(&b, "j", ex_int(&b, 0), ex_int(&b, 4), 1, FOR_PARALLEL);
  cr_expect_eq(loop_parallel_depth(&b), 2);
  for (int k = 0; k < 4; k++) loop_end(&b);
  cr_expect_eq(loop_parallel_depth(&b), 0);
  arena_free(&a);
}
