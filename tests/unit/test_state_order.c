/* Updates in place, on steps that no optimizer would write: values of the state and of what is made of them, through
 * elementwise nodes, views, products and branches, become the next state of any tensor; results show old values. What
 * the planned program leaves in memory is what the evaluator says, whatever is written where it is still to be read.
 * A failure prints the module, which is all that is needed to see it again. */
#include "ir/build.h"
#include "ir/eval.h"
#include "passes/pipeline.h"
#include <criterion/criterion.h>
#include <math.h>

enum { STEPS = 1000, STATES = 4, POOL = 24 };

static unsigned draw(unsigned *r, unsigned n) {
  return (*r = *r * 1103515245u + 12345u) >> 16 & 0x7fff ? (*r >> 16 & 0x7fff) % n : 0;
}

static ValueId branch(Module *m, ValueId a, ValueId b) {
  Graph *g = m->main;
  ValueId c = build_op2(g, OP_LT, build_reduce_all(g, OP_REDUCE_SUM, a), build_scalar(g, DT_F32, 0));
  NodeId n = graph_new_node(g, OP_IF, &c, 1, 1, NULL, 0);
  Graph *then = graph_new(m, "then", 0), *other = graph_new(m, "else", 0);
  *vec_push(&m->perm, &then->outputs) = build_op1(then, OP_TANH, b);
  *vec_push(&m->perm, &other->outputs) = build_mul(other, a, b);
  graph_attach_region(m, n, then);
  graph_attach_region(m, n, other);
  cr_assert(infer_node(m, n));
  return node_of(m, n)->out[0];
}

/* All values are f32[2,2]: any may become any tensor of the state. */
static ValueId one_more(Module *m, ValueId a, ValueId b, unsigned kind) {
  Graph *g = m->main;
  static const Dim back[2] = {DIM(1), DIM(1)}, steps[2] = {DIM(-1), DIM(-1)}, two[2] = {DIM(2), DIM(2)};
  Attr turn[] = {attr_dims(m, "starts", back, 2), attr_dims(m, "steps", steps, 2), attr_dims(m, "shape", two, 2)};
  switch (kind) {
  case 0: return build_swap(g, a, 0, 1);
  case 1: return build_op(g, OP_SLICE, &a, 1, turn, 3);
  case 2: return build_op1(g, OP_TANH, build_matmul(g, a, b));
  case 3: return build_expand(g, build_reduce(g, OP_REDUCE_SUM, a, (int[]){1}, 1, true), two, 2);
  case 4:
    return build_concat(g, 0,
                        (ValueId[]){build_slice(g, a, 0, DIM(0), DIM(1)), build_slice(g, b, 0, DIM(1), DIM(1))}, 2);
  case 5: return branch(m, a, b);
  case 6: return build_op1(g, OP_COPY, a);
  case 7: return build_mul(g, a, b);
  case 8: return build_op1(g, OP_SIN, a);
  default: return build_add(g, build_mulc(g, a, 0.5), b);
  }
}

static Module *step_module(unsigned seed, Diags *d) {
  static const char *const names[STATES] = {"p", "q", "r", "s"};
  unsigned r = seed * 2654435761u + 1;
  Module *m = module_new("step", d);
  Type t = type_of(DT_F32, 2, (Dim[]){DIM(2), DIM(2)});
  ValueId pool[POOL];
  int n = 0, states = 1 + (int)draw(&r, STATES), nodes = 1 + (int)draw(&r, 10);
  pool[n++] = graph_add_input(m->main, "x", t);
  for (int k = 0; k < states; k++) pool[n++] = graph_state(m, names[k], t);
  for (int k = 0; k < nodes; k++) {
    ValueId a = pool[draw(&r, (unsigned)n)], b = pool[draw(&r, (unsigned)n)];
    pool[n++] = one_more(m, a, b, draw(&r, 11));
  }
  for (int k = (int)draw(&r, 3); k > 0; k--) *vec_push(&m->perm, &m->main->outputs) = pool[draw(&r, (unsigned)n)];
  for (int k = 0; k < states; k++)
    if (draw(&r, 6)) graph_state_next(m, names[k], pool[draw(&r, (unsigned)n)]);
  if (!m->main->outputs.len) graph_state_next(m, names[0], pool[n - 1]);
  return m;
}

static void inputs_of(Module *m, const Tensor **in) {
  for (int k = 0; k < m->main->inputs.len; k++) {
    Tensor *t = tensor_new(&m->perm, DT_F32, 2, (int64_t[]){2, 2});
    for (int i = 0; i < 4; i++) tensor_set(t, i, sin(1.0 + 4 * k + i));
    in[k] = t;
  }
}

static void step_agrees(unsigned seed, bool naive, int parts) {
  Diags d = {0};
  symbols_reset();
  Module *meant = step_module(seed, &d), *m = step_module(seed, &d);
  const Tensor *in[STATES + 1];
  Tensor *out[STATES + 3] = {0};
  inputs_of(meant, in);
  Eval e;
  eval_begin(&e, meant);
  for (int k = 0; k < meant->main->inputs.len; k++) cr_assert(eval_bind_input(&e, k, in[k]));
  cr_assert(eval_graph(&e, meant->main));
  Program *p = compile_module(m, target_find("x86-64-v3"),
                              &(PassOptions){.verify = true, .naive = naive, .part_cycles = parts > 1 ? 1 : 0},
                              &m->perm);
  bool ok = p && program_run_parts(p, parts, in, out, &m->perm, &d);
  double worst = ok ? 0 : HUGE_VAL;
  for (int k = 0; ok && k < meant->main->outputs.len; k++) {
    const Tensor *want = eval_value(&e, meant->main->outputs.at[k]);
    for (int i = 0; i < 4; i++) worst = fmax(worst, fabs(tensor_get(want, i) - tensor_get(out[k], i)));
  }
  if (!(worst < 1e-4)) {
    Text t = {0};
    module_print(&t, meant);
    diags_print(&d, stderr);
    cr_expect(false, "step %u%s is wrong by %g:\n%s", seed, naive ? ", naive" : "", worst, t.at);
    text_free(&t);
  }
  eval_end(&e);
  module_free(meant);
  module_free(m);
  diags_free(&d);
}

Test(state_order, random_steps) {
  for (unsigned k = 0; k < STEPS; k++) step_agrees(k, k % 4 == 3, k % 3 == 1 ? 3 : 1);
}

/* Kernels call tensors of the state by their words, but for one that emitted C might use itself. */
Test(state_order, names_in_kernels) {
  static const char *const names[] = {"net.dense1.weight", "adam.m/net.dense1.weight", "net.expf"};
  Diags d = {0};
  symbols_reset();
  Module *m = module_new("step", &d);
  Type t = type_of(DT_F32, 1, (Dim[]){DIM(9)});
  ValueId v[3];
  for (int k = 0; k < 3; k++) v[k] = graph_state(m, names[k], t);
  for (int k = 1; k < 3; k++) graph_state_next(m, names[k], build_add(m->main, build_mulc(m->main, v[k], 0.5), v[0]));
  Program *p = compile_module(m, target_find("x86-64-v3"), &(PassOptions){.verify = true}, &m->perm);
  cr_assert(p && p->kernels.len == 2);
  const char *got = "";
  for (int k = 0; k < 2; k++)
    for (int i = 0; i < p->kernels.at[k]->bufs.len; i++) {
      const Buf *b = p->kernels.at[k]->bufs.at[i];
      got = arena_printf(&m->perm, "%s%s%s ", got, b->name, b->is_named ? "" : " (not named)");
    }
  cr_expect_str_eq(got, "state weight new_state m weight new_m ");
  module_free(m);
  diags_free(&d);
}
