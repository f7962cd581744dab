/* Tunings: their text, and that every choice a tuning can make computes the same. */
#include "ir/eval.h"
#include "passes/pipeline.h"
#include <criterion/criterion.h>

static const char *const nets[] = {
  "module t {\n  input %x : f32[37,40]\n  input %w : f32[40,100]\n  %y = matmul(%x, %w)\n  output %y\n}\n",
  "module t {\n  input %x : f32[2,5,9,11]\n  input %w : f32[40,5,3,3]\n"
  "  %y = conv(%x, %w) {strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1}\n  output %y\n}\n",
  "module t {\n  input %x : f32[1,72,7,7]\n  input %w : f32[72,1,3,3]\n"
  "  %y = conv(%x, %w) {strides=[2,2], pads=[0,0,0,0], dilations=[1,1], group=72}\n  output %y\n}\n",
};

/* Small whole numbers: their sums are equal in any order. */
static Tensor *whole_numbers(Arena *a, const Type *t, int salt) {
  int64_t dims[MAX_RANK];
  for (int k = 0; k < t->rank; k++) dims[k] = t->dims[k].k;
  Tensor *x = tensor_new(a, t->dtype, t->rank, dims);
  for (int64_t i = 0; i < tensor_count(x); i++) tensor_set(x, i, (double)((i * 7 + salt) % 9) - 4);
  return x;
}

/* Compiles and runs with every kernel's choice number `probe`. The largest number of choices of a kernel. */
static int try_one(const char *text, const char *target, int probe) {
  symbols_reset();
  Diags d = {0};
  Module *m = module_parse(text, NULL, &d);
  cr_assert(m, "%s", d.errors ? d.at[0].text : "no module");
  const Tensor *in[3];
  Tensor *out[1] = {0};
  Eval e;
  eval_begin(&e, m);
  for (int k = 0; k < m->main->inputs.len; k++) {
    in[k] = whole_numbers(&m->perm, &value_of(m, m->main->inputs.at[k])->type, k);
    cr_assert(eval_bind_input(&e, k, in[k]));
  }
  cr_assert(eval_graph(&e, m->main));
  const Tensor *want = eval_value(&e, m->main->outputs.at[0]);
  Tuning t = {.arena = &m->perm, .probe = probe};
  PassOptions o = {.verify = true, .tuning = &t};
  Program *p = compile_module(m, target_find(target), &o, &m->perm);
  cr_assert(p && program_run(p, in, out, &m->perm, &d), "%s: %s", target, d.errors ? d.at[0].text : "?");
  for (int64_t i = 0; i < tensor_count(want); i++)
    cr_assert(tensor_get(want, i) == tensor_get(out[0], i), "%s, choice %d: element %d is %g, not %g", target, probe,
              (int)i, tensor_get(out[0], i), tensor_get(want, i));
  int choices = 1;
  for (int k = 0; k < t.kernels.len; k++) if (t.kernels.at[k].choices > choices) choices = t.kernels.at[k].choices;
  eval_end(&e);
  module_free(m);
  diags_free(&d);
  return choices;
}

Test(tuning, every_choice) {
  static const char *const target[] = {"x86-64-v3", "x86-64-v4", "x86-64"};
  for (size_t k = 0; k < sizeof nets / sizeof *nets; k++)
    for (size_t q = 0; q < sizeof target / sizeof *target; q++) {
      int choices = 1;
      for (int probe = 0; probe < choices; probe++) {
        int n = try_one(nets[k], target[q], probe);
        if (n > choices) choices = n;
      }
      cr_expect(choices > 1 || k == 2, "net %d on %s leaves nothing to choose", (int)k, target[q]);
    }
}

Test(tuning, text) {
  Arena a = {0};
  Diags d = {0};
  Tuning t = {.arena = &a}, again = {.arena = &a};
  tuning_add(&t, "native/8/16 matmul(f32[1,2];f32[2,3])", 3);
  tuning_add(&t, "native/8/16 relu(f32[4])f32[4]", 0);
  tuning_add(&t, "native/8/16 relu(f32[4])f32[4]", 2);          // the first stays
  Text s = {0};
  tuning_print(&s, &t);
  cr_assert(tuning_parse(&again, s.at, &d));
  cr_assert_eq(again.rows.len, 2);
  cr_assert_eq(tuning_find(&again, t.rows.at[0].key)->choice, 3);
  cr_assert_eq(tuning_find(&again, t.rows.at[1].key)->choice, 0);
  cr_assert_null(tuning_find(&again, "native/8/16 relu(f32[5])f32[5]"));
  text_free(&s);
  static const char *const bad[] = {"",
                                    "lathe tuning 2\n",
                                    "lathe tuning 1\nx y\n",
                                    "lathe tuning 1\n1\n",
                                    "lathe tuning 1\n-1 k\n",
                                    "lathe tuning 1\n1 \n",
                                    "lathe tuning 1\n99999999999999999999 k\n",
                                    "lathe tuning 1x\n"};
  for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
    cr_expect(!tuning_parse(&again, bad[k], &d), "'%s' was taken", bad[k]);
  diags_free(&d);
  arena_free(&a);
}
