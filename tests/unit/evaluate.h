/* What tests of kernels share: random inputs, what the evaluator makes of them, the same by a compiled program, and how
 * far a result is from that. */
#ifndef TESTS_UNIT_EVALUATE_H
#define TESTS_UNIT_EVALUATE_H
#include "ir/eval.h"
#include "passes/pipeline.h"
#include <criterion/criterion.h>
#include <math.h>

/* Numbers in [-scale, scale), the same for the same salt. */
static inline void random_fill(Tensor *x, uint64_t salt, double scale) {
  uint64_t r = 88172645463325252u + salt;
  for (int64_t i = 0; i < tensor_count(x); i++) {
    r ^= r << 13; r ^= r >> 7; r ^= r << 17;
    tensor_set(x, i, scale * ((double)(r >> 40) / (1 << 23) - 1));
  }
}

static inline Tensor *random_input(Arena *a, const Type *t, uint64_t salt) {
  int64_t dims[MAX_RANK];
  for (int k = 0; k < t->rank; k++) dims[k] = t->dims[k].k;
  Tensor *x = tensor_new(a, t->dtype, t->rank, dims);
  random_fill(x, salt, 1);
  return x;
}

/* Fills `in` with random inputs and runs the evaluator; the results by eval_value, until eval_end. */
static inline void evaluate_random(Eval *e, Module *m, const Tensor **in) {
  eval_begin(e, m);
  for (int k = 0; k < m->main->inputs.len; k++) {
    in[k] = random_input(&m->perm, &value_of(m, m->main->inputs.at[k])->type, (uint64_t)k);
    cr_assert(eval_bind_input(e, k, in[k]));
  }
  cr_assert(eval_graph(e, m->main));
}

/* parts: of every kernel that can be shared */
typedef struct RunForm { const char *target; bool naive; int parts; } RunForm;

/* Compiles m in this form and runs it with the loop interpreter. */
static inline Program *form_run_by(Strassen s, Module *m, const RunForm *f, const Tensor **in, Tensor **out, Diags *d) {
  PassOptions o = {.naive = f->naive, .strassen = s, .verify = true, .part_cycles = f->parts > 1 ? 1 : 0};
  Program *p = compile_module(m, target_find(f->target), &o, &m->perm);
  cr_assert(p && program_run_parts(p, f->parts, in, out, &m->perm, d), "%s: %s", f->target,
            d->errors ? d->at[0].text : "?");
  return p;
}

static inline Program *form_run(Module *m, const RunForm *f, const Tensor **in, Tensor **out, Diags *d) {
  return form_run_by(STRASSEN_OFF, m, f, in, out, d);
}

/* The largest difference; INFINITY where one of the two is NaN, as memory is that was never written. */
static inline double worst_difference(const Tensor *want, const Tensor *got) {
  double worst = 0;
  for (int64_t i = 0; i < tensor_count(want); i++) {
    double off = fabs(tensor_get(want, i) - tensor_get(got, i));
    worst = isnan(off) ? INFINITY : fmax(worst, off);
  }
  return worst;
}
#endif
