/* lstm, gru and rnn: weights that are constants and weights that are inputs, one sequence and several, in both
 * directions. Every case goes through all passes and the loop interpreter, tiled, vectorised, scalar and naive, by one
 * thread and in parts, and must give what the evaluator does. */
#include "tests/unit/evaluate.h"

typedef struct Case {
  const char *op;
  int gates, steps, batch, features, hidden, directions;
  const char *attributes;
} Case;

static const Case cases[] = {
  // one row: streams of weights; steps forwards and backwards
  {"lstm", 4, 3, 1, 9, 20, 1, ", input_forget=0"},
  {"lstm", 4, 1, 1, 8, 16, 1, ", input_forget=0"},                              // the input's product has one row, too
  // a row of each sequence; both directions
  {"lstm", 4, 2, 2, 5, 40, 2, ", input_forget=0"},
  {"lstm", 4, 3, 7, 12, 24, 1, ", input_forget=0"},                             // tiles
  {"lstm", 4, 2, 1, 3, 9, 1, ", input_forget=1"},
  {"gru", 3, 4, 1, 10, 33, 1, ", linear_before_reset=1"},
  {"gru", 3, 3, 1, 10, 20, 2, ", linear_before_reset=0"},       // two products to a step
  {"gru", 3, 2, 6, 7, 16, 1, ", linear_before_reset=0"},
  {"rnn", 1, 3, 1, 6, 70, 1, ""},                               // panels beyond whole groups of streams
};

static const RunForm forms[] = {{"x86-64-v4", false, 1}, {"x86-64-v3", false, 1}, {"c99", false, 1},
                             {"x86-64", true, 1}, {"x86-64-v4", false, 3}, {"x86-64-v3", false, 2},
                             {"x86-64-v3", false, 7}, {"c99", false, 2}};

static Module *module_make(const Case *c, bool constant, Diags *d) {
  Text t = {0};
  int h = c->hidden, n = c->directions, g = c->gates;
  const char *kind = constant ? "weight" : "input", *seeds[] = {"", " = random 1", " = random 2", " = random 3"};
  text_printf(&t, "module t {\n  input %%x : f32[%d,%d,%d]\n", c->steps, c->batch, c->features);
  text_printf(&t, "  %s %%w : f32[%d,%d,%d]%s\n", kind, n, g * h, c->features, seeds[constant]);
  text_printf(&t, "  %s %%r : f32[%d,%d,%d]%s\n", kind, n, g * h, h, seeds[2 * constant]);
  text_printf(&t, "  %s %%b : f32[%d,%d]%s\n", kind, n, 2 * g * h, seeds[3 * constant]);
  text_printf(&t,
              "  %%y, %%h%s = %s(%%x, %%w, %%r, %%b) {hidden=%d, direction=\"%s\", activations=s[], alpha=f[], beta=f[], clip=0.0%s}\n",
              g == 4 ? ", %c" : "", c->op, h, n == 2 ? "bidirectional" : "forward", c->attributes);
  text_printf(&t, "  output %%y\n  output %%h\n%s}\n", g == 4 ? "  output %c\n" : "");
  Module *m = module_parse(t.at, NULL, d);
  text_free(&t);
  return m;
}

static void run_case(const Case *c, bool constant, const RunForm *f) {
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
  form_run(m, f, in, out, &d);
  for (int k = 0; k < outputs; k++) {
    double worst = worst_difference(want[k], out[k]);
    cr_expect(worst < 2e-5, "%s in %d parts, %s %d steps of %d, %d -> %d%s: output %d off by %g", f->target,
              f->parts, c->op, c->steps, c->batch, c->features, c->hidden, constant ? ", constant" : "", k, worst);
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

/* Steps that are worth a thread are a loop of the program, and its number is known in it only; others stay in one
 * kernel. Kernels count what they do in one step, so that a call does as much either way. */
Test(recurrent, steps_of_threads) {
  static const Case large = {"lstm", 4, 5, 1, 9, 64, 1, ", input_forget=0"};
  int64_t flops[3];
  for (int grain = 0; grain < 3; grain++) {
    symbols_reset();
    Diags d = {0};
    Module *m = module_make(&large, true, &d);
    PassOptions o = {.verify = true, .part_cycles = grain == 0 ? 0 : grain == 1 ? 100 : 100000};
    Program *p = compile_module(m, target_find("x86-64-v3"), &o, &m->perm);
    cr_assert(p);
    int loops = 0;
    for (int i = 0; i < p->steps.len; i++) {
      const Step *s = p->steps.at[i];
      if (s->kind != STEP_LOOP) continue;
      loops++;
      cr_expect_eq(s->trips.k, 5);
      cr_expect_str_eq(s->symbol, "step");
      cr_expect_eq(s->then.len, 2, "%d steps in a step", s->then.len);      // the product, the cell
      cr_expect(s->then.at[0]->kernel->parts > 1);
    }
    cr_expect_eq(loops, grain == 1);
    flops[grain] = program_flops(p).k;
    module_free(m);
    diags_free(&d);
  }
  cr_expect_eq(flops[0], flops[1]);
  cr_expect_eq(flops[0], flops[2]);
}

/* The number of steps, and of sequences, may be the caller's. */
Test(recurrent, steps_of_any_number) {
  for (int steps = 1; steps <= 4; steps += 3)
    for (int parts = 1; parts <= 3; parts += 2) {
      symbols_reset();
      Diags d = {0};
      Module *m = module_parse(
          "module t {\n  dim T in 1..6\n  dim N in 1..4\n  input %x : f32[T,N,7]\n"
          "  weight %w : f32[2,48,7] = random 1\n  weight %r : f32[2,48,16] = random 2\n"
          "  %y, %h = gru(%x, %w, %r) {hidden=16, direction=\"bidirectional\", activations=s[], alpha=f[], beta=f[], "
          "clip=0.0, linear_before_reset=1}\n  output %y\n  output %h\n}\n",
          NULL, &d);
      cr_assert(m, "%s", d.errors ? d.at[0].text : "?");
      const Tensor *in[1] = {
          random_input(&m->perm, &(Type){.dtype = DT_F32, .rank = 3, .dims = {DIM(steps), DIM(3), DIM(7)}}, 1)};
      Tensor *out[2] = {0};
      Eval e;
      eval_begin(&e, m);
      cr_assert(eval_bind_input(&e, 0, in[0]) && eval_graph(&e, m->main));
      PassOptions o = {.verify = true, .part_cycles = parts > 1 ? 1 : 0};
      Program *p = compile_module(m, target_find("x86-64-v3"), &o, &m->perm);
      cr_assert(p && program_run_parts(p, parts, in, out, &m->perm, &d), "%s", d.errors ? d.at[0].text : "?");
      for (int k = 0; k < 2; k++) {
        double worst = worst_difference(eval_value(&e, m->main->outputs.at[k]), out[k]);
        cr_expect(worst < 2e-5, "%d steps, %d parts: output %d off by %g", steps, parts, k, worst);
      }
      eval_end(&e);
      module_free(m);
      diags_free(&d);
    }
}
