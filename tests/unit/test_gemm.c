/* Matrix products of transposes, with batches and an epilogue: every shape goes through all passes and the loop
 * interpreter, tiled, vectorised, scalar and naive, and must give what the evaluator does. */
#include "tests/unit/evaluate.h"

typedef struct Shape { int batch, m, k, n; bool turn_a, turn_b; } Shape;

static const Shape shapes[] = {
  {0, 64, 300, 32, true, false},        // two blocks of k, the last smaller
  {0, 37, 256, 19, true, false},        // tiles of two sizes; a panel with a tail
  {0, 200, 40, 24, true, false},        // several blocks of rows
  {0, 5, 33, 4, true, true},            // both turned
  {0, 30, 513, 70, true, true},
  {3, 9, 35, 17, true, false},          // batches
  {2, 20, 8, 16, true, false},          // a sum too short to pack
  {0, 1, 64, 16, true, false},          // one row
  {0, 16, 50, 33, false, true},
  {2, 7, 40, 16, false, true},
  {0, 132, 512, 72, false, true},       // more of A than half the L2 of x86-64-v3 holds: two blocks of rows
  {0, 40, 70, 256, false, false},       // rows of B a power of two apart: packed
};

/* Constant weights and few rows: whole groups of panels, what is left of them, tails of every width, sums of odd
 * length. */
static const Shape few[] = {
  {0, 1, 64, 64, false, false},
  {0, 1, 33, 211, false, false},
  {0, 1, 1, 5, false, false},
  {0, 1, 7, 31, false, false},
  {0, 1, 100, 10, false, false},
  {1, 1, 50, 48, false, false},
  {0, 2, 30, 77, false, false},
  {0, 2, 901, 600, false, false},       // larger than the caches of all targets
  {0, 3, 700, 790, false, false},
  {0, 19, 40, 75, false, false},        // rows and a tail, whose sums are written in turn
  {0, 13, 24, 48, false, false},
};

/* Weights that are constant: tails of columns, few columns, one, rows that are odd. */
static const Shape constants[] = {
    {0, 9, 64, 1, false, false}, {0, 30, 20, 3, false, false}, {0, 7, 33, 2, false, false},
    {2, 5, 32, 5, false, false}, {0, 11, 48, 9, false, false}, {0, 13, 17, 13, false, false},
    {0, 14, 40, 31, false, false}, {0, 1, 24, 7, false, false}, {3, 6, 40, 103, false, false},
};

/* By Strassen's algorithm: odd rows, two, several groups of columns, panels and a rest, a batch that collapses. */
static const Shape halved[] = {
    {0, 13, 30, 64, false, false}, {0, 2, 2, 32, false, false}, {3, 5, 16, 96, false, false},
    {0, 97, 40, 640, false, false}, {0, 40, 22, 160, false, false},
};

static const RunForm forms[] = {{"x86-64-v4", false, 1}, {"x86-64-v3", false, 1}, {"c99", false, 1},
                                {"x86-64", true, 1}, {"x86-64-v3", false, 2}, {"x86-64-v3", false, 7},
                                {"c99", false, 3}};

static void put_operand(Text *t, const char *name, int batch, int rows, int cols, bool turn) {
  text_printf(t, "  input %%%s0 : f32[", name);
  if (batch) text_printf(t, "%d,", batch);
  text_printf(t, "%d,%d]\n", turn ? cols : rows, turn ? rows : cols);
  text_printf(t, "  %%%s = transpose(%%%s0) {perm=[%s]}\n", name, name,
              turn ? (batch ? "0,2,1" : "1,0") : batch ? "0,1,2" : "0,1");
}

static Module *module_make(const Shape *s, bool constant, Diags *d) {
  Text t = {0};
  text_put(&t, "module t {\n");
  put_operand(&t, "a", s->batch, s->m, s->k, s->turn_a);
  if (constant) text_printf(&t, "  weight %%b : f32[%d,%d] = random 1\n", s->k, s->n);
  else put_operand(&t, "b", s->batch, s->k, s->n, s->turn_b);
  text_printf(&t, "  input %%c : f32[%d]\n  %%p = matmul(%%a, %%b)\n  %%q = add(%%p, %%c)\n  %%y = %s(%%q)\n"
                  "  output %%y\n}\n", s->n,
              s->m % 2 ? "gelu" : "relu");             // a long epilogue and a short one
  Module *m = module_parse(t.at, NULL, d);
  text_free(&t);
  return m;
}

static void run_shape(const Shape *s, bool constant, const RunForm *f, Strassen strassen) {
  symbols_reset();
  Diags d = {0};
  Module *m = module_make(s, constant, &d);
  cr_assert(m, "%s", d.errors ? d.at[0].text : "no module");
  const Tensor *in[3];
  Tensor *out[1] = {0};
  Eval e;
  evaluate_random(&e, m, in);
  const Tensor *want = eval_value(&e, m->main->outputs.at[0]);
  form_run_by(strassen, m, f, in, out, &d);
  double worst = worst_difference(want, out[0]);
  cr_expect(worst < 1e-4, "%s %d x %d x %d x %d: off by %g", f->target, s->batch, s->m, s->k, s->n, worst);
  eval_end(&e);
  module_free(m);
  diags_free(&d);
}

Test(gemm, transposes) {
  for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) run_shape(&shapes[k], false, &forms[f], STRASSEN_OFF);
}

Test(gemm, few_rows) {
  for (size_t k = 0; k < sizeof few / sizeof *few; k++)
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) run_shape(&few[k], true, &forms[f], STRASSEN_OFF);
}

Test(gemm, constants) {
  for (size_t k = 0; k < sizeof constants / sizeof *constants; k++)
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) run_shape(&constants[k], true, &forms[f], STRASSEN_OFF);
}

Test(gemm, halves) {
  for (size_t k = 0; k < sizeof halved / sizeof *halved; k++)
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) run_shape(&halved[k], true, &forms[f], STRASSEN_ALWAYS);
}

/* Sums of halves would be larger than f32 can hold. */
Test(gemm, whole_numbers_are_not_halved) {
  for (int exact = 0; exact < 2; exact++) {
    symbols_reset();
    Diags d = {0};
    Text t = {0};
    text_put(&t, "module t {\n  input %a : f32[40,22]\n  weight %b : f32[22,160] = random 1\n");
    text_printf(&t, "  %%y = matmul(%%a, %%b)%s\n  output %%y\n}\n", exact ? " {exact=1}" : "");
    Module *m = module_parse(t.at, NULL, &d);
    cr_assert(m, "%s", d.errors ? d.at[0].text : "no module");
    PassOptions o = {.strassen = STRASSEN_ALWAYS, .verify = true};
    Program *p = compile_module(m, target_find("x86-64-v3"), &o, &m->perm);
    cr_assert(p);
    const char *choice = p->kernels.at[0]->choice;
    cr_expect_eq(choice && strstr(choice, "Strassen") != NULL, !exact, "%s", choice ? choice : "nothing chosen");
    text_free(&t);
    module_free(m);
    diags_free(&d);
  }
}
