/* Reductions over leading and middle axes: every module goes through all passes and the loop interpreter, as sums of
 * rows, scalar and naive, and must give what the evaluator does. */
#include "tests/unit/evaluate.h"

typedef struct Case { const char *x, *y; } Case;                 /* the input's type, what becomes of it */

static const Case cases[] = {
  {"f32[40,16]", "reduce_sum(%x) {axes=[0], keepdims=1}"},          // in registers
  {"f32[9,128]", "reduce_sum(%x) {axes=[0], keepdims=0}"},
  {"f32[37,70]", "reduce_sum(%x) {axes=[0], keepdims=1}"},          // in memory: rows and columns left over
  {"f32[3,40,264]", "reduce_sum(%x) {axes=[0,1], keepdims=0}"},
  {"f32[3,2,5,24]", "reduce_sum(%x) {axes=[1,2], keepdims=1}"},     // an axis before the rows
  {"f32[13,3,20]", "reduce_max(%x) {axes=[0], keepdims=1}"},        // an axis between rows and columns
  {"f32[8,5,32]", "reduce_max(%x) {axes=[0,1], keepdims=1}"},
  {"f32[30,5]", "reduce_sum(%x) {axes=[0], keepdims=1}"},           // too few columns
};

static const RunForm forms[] = {{"x86-64-v4", false, 1}, {"x86-64-v3", false, 1}, {"c99", false, 1}, {"x86-64", true, 1},
                             {"x86-64-v3", false, 2}, {"x86-64-v3", false, 7}, {"c99", false, 3}};

static void run_case(const Case *c, const RunForm *f) {
  symbols_reset();
  Diags d = {0};
  Text t = {0};
  text_printf(&t, "module t {\n  input %%x0 : %s\n  %%x = mul(%%x0, %%x0)\n  %%s = %s\n  %%y = relu(%%s)\n"
                  "  output %%y\n}\n", c->x, c->y);
  Module *m = module_parse(t.at, NULL, &d);
  cr_assert(m, "%s", d.errors ? d.at[0].text : "no module");
  const Tensor *in[1];
  Tensor *out[1] = {0};
  Eval e;
  evaluate_random(&e, m, in);
  const Tensor *want = eval_value(&e, m->main->outputs.at[0]);
  form_run(m, f, in, out, &d);
  double worst = worst_difference(want, out[0]);
  cr_expect(worst < 1e-4, "%s %s %s: off by %g", f->target, c->x, c->y, worst);
  eval_end(&e);
  module_free(m);
  text_free(&t);
  diags_free(&d);
}

Test(reduce, rows) {
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) run_case(&cases[k], &forms[f]);
}
