/* lstm, gru and rnn: weights that are constants and weights that are inputs, one sequence and several, in both directions.
 * Every case goes through all passes and the loop interpreter, tiled, vectorised, scalar and naive, and must give what the
 * evaluator does. */
#include "passes/pipeline.h"
#include "tests/unit/evaluate.h"

typedef struct Case { const char *op; int gates, steps, batch, features, hidden, directions; const char *attributes; } Case;

static const Case cases[] = {
  {"lstm", 4, 3, 1, 9, 20, 1, ", input_forget=0"},                              // one row: streams of weights; steps forwards and backwards
  {"lstm", 4, 1, 1, 8, 16, 1, ", input_forget=0"},                              // the input's product has one row, too
  {"lstm", 4, 2, 2, 5, 40, 2, ", input_forget=0"},                              // a row of each sequence; both directions
  {"lstm", 4, 3, 7, 12, 24, 1, ", input_forget=0"},                             // tiles
  {"lstm", 4, 2, 1, 3, 9, 1, ", input_forget=1"},
  {"gru", 3, 4, 1, 10, 33, 1, ", linear_before_reset=1"},
  {"gru", 3, 3, 1, 10, 20, 2, ", linear_before_reset=0"},       // two products to a step
  {"gru", 3, 2, 6, 7, 16, 1, ", linear_before_reset=0"},
  {"rnn", 1, 3, 1, 6, 70, 1, ""},                               // panels beyond whole groups of streams
};

typedef struct Form { const char *target; bool naive; } Form;
static const Form forms[] = {{"x86-64-v4", false}, {"x86-64-v3", false}, {"c99", false}, {"x86-64", true}};

static Module *module_make(const Case *c, bool constant, Diags *d) {
  Text t = {0};
  int h = c->hidden, n = c->directions, g = c->gates;
  const char *kind = constant ? "weight" : "input", *seeds[] = {"", " = random 1", " = random 2", " = random 3"};
  text_printf(&t, "module t {\n  input %%x : f32[%d,%d,%d]\n", c->steps, c->batch, c->features);
  text_printf(&t, "  %s %%w : f32[%d,%d,%d]%s\n", kind, n, g * h, c->features, seeds[constant]);
  text_printf(&t, "  %s %%r : f32[%d,%d,%d]%s\n", kind, n, g * h, h, seeds[2 * constant]);
  text_printf(&t, "  %s %%b : f32[%d,%d]%s\n", kind, n, 2 * g * h, seeds[3 * constant]);
  text_printf(&t, "  %%y, %%h%s = %s(%%x, %%w, %%r, %%b) {hidden=%d, direction=\"%s\", activations=s[], alpha=f[], beta=f[], clip=0.0%s}\n", g == 4 ? ", %c" : "", c->op, h,
              n == 2 ? "bidirectional" : "forward", c->attributes);
  text_printf(&t, "  output %%y\n  output %%h\n%s}\n", g == 4 ? "  output %c\n" : "");
  Module *m = module_parse(t.at, NULL, d);
  text_free(&t);
  return m;
}

static void run_case(const Case *c, bool constant, const Form *f) {
  symbols_reset();
  Diags d = {0};
  Module *m = module_make(c, constant, &d);
  cr_assert(m, "%s: %s", c->op, d.errors ? d.at[0].text : "no module");
  const Tensor *in[4], *want[3];
  Tensor *out[3] = {0};
  Eval e;
  evaluate_random(&e, m, in);
  int outputs = m->main->outputs.len;
  for (int k = 0; k < outputs; k++) want[k] = eval_value(&e, m->main->outputs.at[k]);
  PassOptions o = {.naive = f->naive, .verify = true};
  Program *p = compile_module(m, target_find(f->target), &o, &m->perm);
  cr_assert(p && program_run(p, in, out, &m->perm, &d), "%s: %s", f->target, d.errors ? d.at[0].text : "?");
  for (int k = 0; k < outputs; k++) {
    double worst = worst_difference(want[k], out[k]);
    cr_expect(worst < 2e-5, "%s %s %d steps of %d, %d -> %d%s: output %d off by %g", f->target, c->op, c->steps, c->batch,
              c->features, c->hidden, constant ? ", constant" : "", k, worst);
  }
  eval_end(&e);
  module_free(m);
  diags_free(&d);
}

Test(recurrent, layers) {
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++)
      for (int constant = 0; constant < 2; constant++) run_case(&cases[k], constant, &forms[f]);
}
