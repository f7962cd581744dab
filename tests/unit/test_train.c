/* Losses, optimizers, schedules and layers of training against numbers of PyTorch (tests/train/make_cases.py): the
 * graphs are built, pass grad and the passes that simplify run, and the evaluator computes. Losses are also evaluated
 * as they stand, so that composites are compared with what they decompose into. */
#include "frontend/loss.h"
#include "frontend/optimize.h"
#include "frontend/train_layers.h"
#include "ir/eval.h"
#include "passes/fusion.h"
#include "passes/pass.h"
#include "tests/unit/cases.h"
#include "tests/unit/optimize_problem.h"
#include "tests/unit/simplify.h"

/* Each within `tolerance` of the largest of them; NaN where NaN is wanted. */
static void expect_near(const Tensor *got, const Tensor *want, double tolerance, const char *what) {
  cr_assert(got && got->dtype == want->dtype && tensor_count(got) == tensor_count(want), "%s: wrong type", what);
  double scale = 1e-6;
  for (int64_t i = 0; i < tensor_count(want); i++)
    if (fabs(tensor_get(want, i)) > scale) scale = fabs(tensor_get(want, i));
  for (int64_t i = 0; i < tensor_count(want); i++) {
    double g = tensor_get(got, i), w = tensor_get(want, i);
    cr_expect((g != g && w != w) || fabs(g - w) <= tolerance * scale, "%s: element %d is %.9g, PyTorch has %.9g",
              what, (int)i, g, w);
  }
}

static double option(const char *options, const char *name, double dflt) {
  const char *at = strstr(options, name);
  return at ? strtod(at + strlen(name) + 1, NULL) : dflt;
}

/* ---- losses ---- */

static const struct LossCase { const char *name, *options, *x, *target, *weight, *value, *gradient; } loss_cases[] = {
#include "tests/unit/loss_cases.h"
};

static void check_loss(const struct LossCase *c) {
  Diags d = {0};
  Module *m = module_new("loss", &d);
  Graph *g = m->main;
  char what[200];
  snprintf(what, sizeof what, "%s {%s} of %.30s, %.30s", c->name, c->options, c->x, c->target);
  LossSpec o = loss_default();
  o.label_smoothing = option(c->options, "label_smoothing", 0);
  o.ignore_index = (int64_t)option(c->options, "ignore_index", -100);
  o.delta = option(c->options, "delta", 1);
  o.margin = option(c->options, "margin", 1);
  if (strstr(c->options, "sum")) o.reduction = LOSS_SUM;
  ValueId weight = *c->weight ? graph_add_constant(m, NULL, read_tensor(&m->perm, c->weight)) : 0;
  if (strstr(c->options, "pos")) o.pos_weight = weight;
  else o.weight = weight;
  const Tensor *in = read_tensor(&m->perm, c->x);
  Type t = {.dtype = in->dtype, .rank = in->rank};
  for (int k = 0; k < in->rank; k++) t.dims[k] = DIM(in->dims[k]);
  ValueId x = graph_add_input(g, "x", t), target = graph_add_constant(m, NULL, read_tensor(&m->perm, c->target));
  ValueId out[2] = {loss_find(c->name)->build(g, x, target, &o), 0};
  if (!out[0]) diags_print(&d, stderr);
  cr_assert(out[0], "%s", what);
  *vec_push(&m->perm, &g->outputs) = out[0];
  for (int round = 0; round < 2; round++) {                     // as it stands, then simplified and with its gradient
    if (round && *c->gradient) {
      cr_assert(build_multi(g, OP_GRADIENT, (ValueId[]){out[0], x}, 2, NULL, 0, &out[1], 1));
      *vec_push(&m->perm, &g->outputs) = out[1];
    }
    if (round) simplify(m);
    Eval e;
    eval_begin(&e, m);
    cr_assert(eval_bind_input(&e, 0, in) && eval_graph(&e, g), "%s: %s", what, d.errors ? d.at[0].text : "");
    expect_near(eval_value(&e, g->outputs.at[0]), read_tensor(&m->perm, c->value), 2e-6, what);
    if (g->outputs.len > 1)
      expect_near(eval_value(&e, g->outputs.at[1]), read_tensor(&m->perm, c->gradient), 1e-5, what);
    eval_end(&e);
  }
  module_free(m);
  diags_free(&d);
}

Test(train, losses) {
  for (size_t k = 0; k < sizeof loss_cases / sizeof *loss_cases; k++) check_loss(&loss_cases[k]);
}

Test(train, every_loss_has_a_case) {
  for (int k = 0; k < loss_count; k++) {
    bool found = loss_info[k].target == TARGET_SEQUENCES;         // Test(train, ctc)
    for (size_t i = 0; i < sizeof loss_cases / sizeof *loss_cases; i++)
      found |= !strcmp(loss_cases[i].name, loss_info[k].name);
    cr_expect(found, "no case for %s", loss_info[k].name);
  }
}

Test(train, loss_of_the_wrong_shape) {
  static const char *const message[] = {"the target is f32[4], which does not fit f32[4,1]",
                                        "with its classes along axis 1"};
  for (int k = 0; k < 2; k++) {
    Diags d = {0};
    Module *m = module_new("loss", &d);
    ValueId x = graph_add_input(m->main, "x", type_of(DT_F32, 2, (Dim[]){DIM(4), DIM(1)}));
    ValueId t = graph_add_input(m->main, "t", type_of(k ? DT_I64 : DT_F32, 1, (Dim[]){DIM(k ? 3 : 4)}));
    LossSpec o = loss_default();
    cr_assert(!(k ? loss_cross_entropy : loss_mse)(m->main, x, t, &o));
    cr_expect(d.errors == 1 && strstr(d.at[0].text, message[k]), "%s", d.errors ? d.at[0].text : "no error");
    module_free(m);
    diags_free(&d);
  }
}

Test(train, ctc) {
  static const char *const ctc[][8] = {   // logits, targets, lengths of both, blank, reduction -> value, gradient
#include "tests/unit/ctc_cases.h"
  };
  for (size_t c = 0; c < sizeof ctc / sizeof *ctc; c++) {
    Diags d = {0};
    Module *m = module_new("ctc", &d);
    ValueId in[4], out[2];
    for (int k = 0; k < 4; k++) in[k] = graph_add_constant(m, NULL, read_tensor(&m->perm, ctc[c][k]));
    Type t = value_of(m, in[0])->type;
    ValueId x = graph_add_input(m->main, "x", t), log_probs = build_softmax(m->main, OP_LOG_SOFTMAX, x, 2);
    LossSpec o = {.input_lengths = in[2], .target_lengths = in[3], .blank = atoi(ctc[c][4]),
                  .reduction = strcmp(ctc[c][5], "sum") ? LOSS_MEAN : LOSS_SUM};
    out[0] = loss_ctc(m->main, log_probs, in[1], &o);
    cr_assert(out[0] && build_multi(m->main, OP_GRADIENT, (ValueId[]){out[0], x}, 2, NULL, 0, &out[1], 1), "%s",
              d.errors ? d.at[0].text : "");
    for (int k = 0; k < 2; k++) *vec_push(&m->perm, &m->main->outputs) = out[k];
    simplify(m);
    Eval e;
    eval_begin(&e, m);
    cr_assert(eval_bind_input(&e, 0, read_tensor(&m->perm, ctc[c][0])) && eval_graph(&e, m->main));
    expect_near(eval_value(&e, m->main->outputs.at[0]), read_tensor(&m->perm, ctc[c][6]), 2e-6, "ctc");
    expect_near(eval_value(&e, m->main->outputs.at[1]), read_tensor(&m->perm, ctc[c][7]), 1e-5, "ctc's gradient");
    eval_end(&e);
    module_free(m);
    diags_free(&d);
  }
}

/* ---- a bundle, run by the evaluator ---- */

typedef struct Run { Bundle b; Diags d; Arena arena; const Tensor *state[40]; } Run;

static const Tensor *copy_of(Run *r, const Tensor *t) {
  Tensor *c = tensor_new(&r->arena, t->dtype, t->rank, t->dims);
  memcpy(c->data, t->data, (size_t)(tensor_count(t) * dtype_bytes(t->dtype)));
  return c;
}

static int state_index(const Run *r, const char *name) {
  for (int k = 0; k < r->b.state.len; k++) if (!strcmp(r->b.state.at[k].name, name)) return k;
  cr_assert_fail("no state '%s'", name);
  return -1;
}

static const Tensor *state_of(const Run *r, const char *name) { return r->state[state_index(r, name)]; }

/* Inputs that are no state take `input`; what becomes of the state is kept. */
static void run_function(Run *r, Module *m, const Tensor *input) {
  Eval e;
  eval_begin(&e, m);
  for (int k = 0; k < m->main->inputs.len; k++) {
    const StateSlot *s = graph_state_of_value(m, m->main->inputs.at[k]);
    bool ok = eval_bind_input(&e, k, s ? state_of(r, s->name) : input);
    if (!ok) diags_print(&r->d, stderr);
    cr_assert(ok);
  }
  bool ok = eval_graph(&e, m->main);
  if (!ok) diags_print(&r->d, stderr);
  cr_assert(ok);
  for (int k = 0; k < m->state.len; k++)
    if (m->state.at[k].next)
      r->state[state_index(r, m->state.at[k].name)] = copy_of(r, eval_value(&e, m->state.at[k].next));
  eval_end(&e);
}

static ValueId constant(Module *m, const char *text) {
  return graph_add_constant(m, NULL, read_tensor(&m->perm, text));
}

static ValueId parameter(Run *r, Module *init, Module *step, const char *name, const char *first) {
  Type t = value_of(init, constant(init, first))->type;
  cr_assert(bundle_add_state(&r->b, init, name, t, ROLE_PARAMETER, NULL, constant(init, first)));
  return graph_state(step, name, t);
}

static const struct OptimizeCase {
  const char *name, *options, *schedule, *w, *b, *average_w, *average_b;
} optimize_cases[] = {
#include "tests/unit/optimize_cases.h"
};

static OptimizeSpec read_spec(const struct OptimizeCase *c) {
  OptimizerKind kind;
  ScheduleKind rate = SCHEDULE_CONSTANT;
  cr_assert(optimizer_find(c->name, &kind));
  OptimizeSpec s = optimizer_default(kind);
  char word[40];
  double v;
  int n = 0;
  for (const char *p = c->options; sscanf(p, " %39[a-z_0-9]=%lf%n", word, &v, &n) == 2; p += n)
    cr_assert(optimizer_set(&s, word, v), "%s takes no %s", c->name, word);
  if (!*c->schedule) return s;
  sscanf(c->schedule, "%39[a-z]%n", word, &n);
  cr_assert(schedule_find(word, &rate));
  s.rate = schedule_default(rate, s.rate.lr);
  for (const char *p = c->schedule + n; sscanf(p, " %39[a-z_0-9]=%lf%n", word, &v, &n) == 2; p += n)
    cr_assert(schedule_set(&s.rate, word, v), "%s takes no %s", c->schedule, word);
  return s;
}

static void check_optimizer(const struct OptimizeCase *c) {
  Run r = {0};
  r.b.diags = &r.d;
  Module *init = module_new("init", &r.d), *m = module_new("step", &r.d);
  Graph *g = m->main;
  ValueId seed = graph_add_input(init->main, "seed", type_of(DT_I64, 1, (Dim[]){DIM(1)}));
  cr_assert(optimize_settings(&r.b, init, seed));
  ValueId w = parameter(&r, init, m, "w", problem_w), b = parameter(&r, init, m, "b", problem_b);
  Type counter = type_of(DT_I64, 1, (Dim[]){DIM(2)});
  ValueId step = build_reshape(g, build_slice(g, graph_state(m, "random", counter), 0, DIM(0), DIM(1)), NULL, 0);
  ValueId factor = build_cast(g, build_addc(g, build_op2c(g, OP_MOD, step, 2), 1), DT_F32);
  ValueId y = build_mul(g, constant(m, problem_y), factor);
  LossSpec o = loss_default();
  ValueId loss = loss_mse(g, build_add(g, build_matmul(g, constant(m, problem_x), w), b), y, &o);
  OptimizeGroup group = {(const char *const[]){"w", "b"}, 2, read_spec(c)};
  cr_assert(optimize_step(&r.b, m, init, loss, &group, 1), "%s", r.d.errors ? r.d.at[0].text : "");
  optimize_count(m);
  *vec_push(&m->perm, &g->outputs) = loss;
  simplify(init);
  simplify(m);
  run_function(&r, init, read_tensor(&r.arena, "i64[1] 7"));
  r.state[state_index(&r, "total_steps")] = read_tensor(&r.arena, "i64[1] 6");
  const Tensor *want_w = read_tensor(&r.arena, c->w), *want_b = read_tensor(&r.arena, c->b);
  for (int k = 0; k < 6; k++) {
    char what[200];
    snprintf(what, sizeof what, "%s {%s} {%s} step %d", c->name, c->options, c->schedule, k);
    run_function(&r, m, NULL);
    Tensor row_w = *state_of(&r, "w"), row_b = *state_of(&r, "b");
    row_w.data = (char *)want_w->data + 24 * k;
    row_b.data = (char *)want_b->data + 8 * k;
    expect_near(state_of(&r, "w"), &row_w, 3e-6, what);
    expect_near(state_of(&r, "b"), &row_b, 3e-6, what);
  }
  if (*c->average_w) expect_near(state_of(&r, "average/w"), read_tensor(&r.arena, c->average_w), 3e-6, c->options);
  if (*c->average_b) expect_near(state_of(&r, "average/b"), read_tensor(&r.arena, c->average_b), 3e-6, c->options);
  cr_expect(tensor_get_int(state_of(&r, "random"), 0) == 6 && tensor_get_int(state_of(&r, "random"), 1) == 7);
  module_free(init);
  module_free(m);
  arena_free(&r.arena);
  arena_free(&r.b.arena);
  diags_free(&r.d);
}

Test(train, optimizers) {
  for (size_t k = 0; k < sizeof optimize_cases / sizeof *optimize_cases; k++) check_optimizer(&optimize_cases[k]);
}

Test(train, options_of_optimizers) {
  OptimizeSpec s = optimizer_default(OPTIMIZER_SGD);
  cr_expect(!optimizer_set(&s, "beta1", 0.5) && optimizer_set(&s, "momentum", 0.5) && s.momentum == 0.5);
  cr_expect(!schedule_set(&s.rate, "every", 3) && schedule_set(&s.rate, "warmup", 3) && s.rate.warmup == 3);
  Diags d = {0};
  Bundle b = {.diags = &d};
  Module *init = module_new("init", &d), *m = module_new("step", &d);
  ValueId w = graph_state(m, "w", type_of(DT_F32, 0, NULL));
  OptimizeGroup group = {(const char *const[]){"w"}, 1, optimizer_default(OPTIMIZER_ADAM)};
  group.spec.beta1 = 2;
  cr_expect(!optimize_step(&b, m, init, w, &group, 1) &&
            strstr(d.at[0].text, "beta1 = 2: it has to be at least 0 and below 1"));
  group.spec.beta1 = 0.9;
  cr_expect(!optimize_step(&b, m, init, w, &group, 1) && strstr(d.at[1].text, "'w' is no parameter"));
  module_free(init);
  module_free(m);
  arena_free(&b.arena);
  diags_free(&d);
}

/* Two steps over the same parameter have moments of their own; a name that does not fit is refused. */
Test(train, names_of_moments) {
  Run r = {0};
  r.b.diags = &r.d;
  Module *init = module_new("init", &r.d), *step[2] = {module_new("first", &r.d), module_new("second", &r.d)};
  OptimizeGroup group = {(const char *const[]){"w"}, 1, optimizer_default(OPTIMIZER_ADAM)};
  for (int k = 0; k < 2; k++) {
    ValueId w = k ? graph_state(step[k], "w", type_of(DT_F32, 0, NULL)) : parameter(&r, init, step[k], "w", "f32[] 3");
    cr_assert(optimize_step(&r.b, step[k], init, build_mul(step[k]->main, w, w), &group, 1));
  }
  static const char *const want[] =
      {"w", "calls/first", "adam.m/w", "adam.v/w", "calls/second", "adam.m@second/w", "adam.v@second/w"};
  cr_assert(r.b.state.len == 7);
  for (int k = 0; k < 7; k++) cr_expect_str_eq(r.b.state.at[k].name, want[k]);
  char name[120] = "w";
  memset(name + 1, 'w', 100);
  cr_expect(!bundle_add_state(&r.b, init, name, type_of(DT_F32, 0, NULL), ROLE_PARAMETER, NULL, 0) && r.d.errors == 1);
  module_free(init);
  for (int k = 0; k < 2; k++) module_free(step[k]);
  arena_free(&r.b.arena);
  diags_free(&r.d);
}

/* ---- layers ---- */

/* A module that takes x, scale, bias as inputs; y is for the layer under test to set. */
typedef struct Layer { Diags d; Module *m; ValueId in[3], y, out[3]; } Layer;

static void layer_begin(Layer *l, const char *const *tensor) {
  *l = (Layer){0};
  l->m = module_new("layer", &l->d);
  for (int k = 0; k < 3; k++)
    l->in[k] = graph_add_input(l->m->main, NULL, value_of(l->m, constant(l->m, tensor[k]))->type);
}

/* Outputs y and the gradients of sum(y d). */
static void layer_differentiate(Layer *l, const char *d) {
  Graph *g = l->m->main;
  ValueId loss = build_reduce_all(g, OP_REDUCE_SUM, build_mul(g, l->y, constant(l->m, d)));
  cr_assert(build_multi(g, OP_GRADIENT, (ValueId[]){loss, l->in[0], l->in[1], l->in[2]}, 4, NULL, 0, l->out, 3));
  for (int k = 0; k < 3; k++) *vec_push(&l->m->perm, &g->outputs) = l->out[k];
}

/* Evaluates with these inputs, then expects these outputs. */
static void layer_check(Layer *l, const char *const *tensor, int n, const char *const *want, int nwant) {
  Eval e;
  eval_begin(&e, l->m);
  for (int k = 0; k < n; k++) cr_assert(eval_bind_input(&e, k, read_tensor(&l->m->perm, tensor[k])));
  cr_assert(eval_graph(&e, l->m->main), "%s", l->d.errors ? l->d.at[0].text : "");
  cr_assert(l->m->main->outputs.len == nwant);
  for (int k = 0; k < nwant; k++)
    expect_near(eval_value(&e, l->m->main->outputs.at[k]), read_tensor(&l->m->perm, want[k]), 1e-5, want[k]);
  eval_end(&e);
}

static void layer_end(Layer *l) {
  module_free(l->m);
  diags_free(&l->d);
}

Test(train, batch_norm) {
  static const char *const rows[][12] = {
#include "tests/unit/batch_norm_cases.h"
  };
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {     // x scale bias mean var d -> y mean var dx dscale dbias
    Layer l;
    layer_begin(&l, rows[k]);
    l.y = batch_norm_train(l.m, l.in[0], l.in[1], l.in[2], "mean", "var", 0.1, 1e-5);
    *vec_push(&l.m->perm, &l.m->main->outputs) = l.y;
    const char *want[] = {rows[k][7], rows[k][8], rows[k][6], rows[k][9], rows[k][10], rows[k][11]};
    layer_check(&l, rows[k], 5, want, 3);
    layer_differentiate(&l, rows[k][5]);
    simplify(l.m);
    layer_check(&l, rows[k], 5, want, 6);
    layer_end(&l);
  }
}

/* By the running statistics, which a second call in a step moves again. */
Test(train, batch_norm_later) {
  static const char *const in[] = {"f32[2,1] 1 3", "f32[1] 2", "f32[1] 5", "f32[1] 4", "f32[1] 4"};
  Layer l;
  layer_begin(&l, in);
  cr_assert(batch_norm_running(l.m, l.in[0], l.in[1], l.in[2], "mean", "var", 0) != 0);
  *vec_push(&l.m->perm, &l.m->main->outputs) = batch_norm_running(l.m, l.in[0], l.in[1], l.in[2], "mean", "var", 0);
  Layer t;
  layer_begin(&t, in);
  for (int k = 0; k < 2; k++) batch_norm_train(t.m, t.in[0], t.in[1], t.in[2], "mean", "var", 0.5, 0);
  simplify(t.m);
  static const char *const swapped[] = {"f32[2,1] 1 3", "f32[1] 2", "f32[1] 5", "f32[1] 4", "f32[1] 4"};
  layer_check(&l, swapped, 5, (const char *const[]){"f32[2,1] 2 4"}, 1);
  layer_check(&t, in, 5, (const char *const[]){"f32[1] 2.5", "f32[1] 2.5"}, 2);   // towards 2 (unbiased too), twice
  layer_end(&l);
  layer_end(&t);
}

Test(train, group_norm) {
  static const char *const rows[][8] = {
#include "tests/unit/group_norm_cases.h"
  };
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {     // x scale bias d -> y dx dscale dbias
    Layer l;
    layer_begin(&l, rows[k]);
    l.y = group_norm(l.m->main, l.in[0], 2, l.in[1], l.in[2], 1e-5);
    *vec_push(&l.m->perm, &l.m->main->outputs) = l.y;
    layer_differentiate(&l, rows[k][3]);
    simplify(l.m);
    layer_check(&l, rows[k], 3, rows[k] + 4, 4);
    layer_end(&l);
  }
  Layer l;
  layer_begin(&l, rows[0]);
  cr_expect(!group_norm(l.m->main, l.in[0], 3, 0, 0, 1e-5) && strstr(l.d.at[0].text, "cannot be cut into 3 groups"));
  layer_end(&l);
}

/* y is 0 or x / (1 - p), dx alike; about p of it is 0; another step or stream chooses differently. */
Test(train, dropout) {
  Diags d = {0};
  Module *m = module_new("dropout", &d);
  Graph *g = m->main;
  Type t = type_of(DT_F32, 1, (Dim[]){DIM(4000)});
  ValueId x = graph_add_input(g, "x", t), y = dropout_train(m, x, 0.25, 1), other = dropout_train(m, x, 0.25, 2), dx;
  ValueId loss = build_reduce_all(g, OP_REDUCE_SUM, build_mulc(g, y, 3));
  cr_assert(build_multi(g, OP_GRADIENT, (ValueId[]){loss, x}, 2, NULL, 0, &dx, 1));
  ValueId outputs[] = {y, other, dx};
  for (int k = 0; k < 3; k++) *vec_push(&m->perm, &g->outputs) = outputs[k];
  simplify(m);
  float kept[2][4000];
  for (int step = 0; step < 2; step++) {
    Eval e;
    eval_begin(&e, m);
    Tensor *ones = tensor_new(&e.own, DT_F32, 1, (int64_t[]){4000});
    for (int i = 0; i < 4000; i++) tensor_set(ones, i, 1);
    cr_assert(eval_bind_input(&e, 0, ones) &&
              eval_bind_input(&e, 1, read_tensor(&e.own, step ? "i64[2] 1 0" : "i64[2] 0 0")));
    cr_assert(eval_graph(&e, g));
    const float *out[3];
    for (int k = 0; k < 3; k++) out[k] = eval_value(&e, g->outputs.at[k])->data;
    int zeros = 0, differ = 0;
    for (int i = 0; i < 4000; i++) {
      cr_assert((out[0][i] == 0 || fabsf(out[0][i] - 4 / 3.0f) < 1e-6f) && fabsf(out[2][i] - 3 * out[0][i]) < 1e-5f);
      zeros += out[0][i] == 0;
      differ += out[0][i] != out[1][i];
      kept[step][i] = out[0][i];
    }
    cr_expect(zeros > 900 && zeros < 1100 && differ > 1300 && differ < 1700, "%d zeros, %d differ", zeros, differ);
    eval_end(&e);
  }
  cr_expect(memcmp(kept[0], kept[1], sizeof kept[0]) != 0);
  module_free(m);
  diags_free(&d);
}

/* Parameter and moments are written by one kernel, in one pass. */
Test(train, an_update_is_one_kernel) {
  for (int kind = 0; kind < OPTIMIZER_COUNT; kind++)
    for (int clips = 0; clips < 2; clips++) {
      Run r = {0};
      r.b.diags = &r.d;
      Module *init = module_new("init", &r.d), *m = module_new("step", &r.d);
      ValueId w = parameter(&r, init, m, "w", problem_w), x = constant(m, problem_x);
      ValueId y = build_matmul(m->main, x, w);
      ValueId loss = build_reduce_all(m->main, OP_REDUCE_SUM, build_mul(m->main, y, y));
      OptimizeGroup group = {(const char *const[]){"w"}, 1, optimizer_default((OptimizerKind)kind)};
      group.spec.momentum = group.spec.centered = kind == OPTIMIZER_SGD || kind == OPTIMIZER_RMSPROP ? 0.5 : 0;
      group.spec.average = 0.9;
      group.spec.accumulate = 2;
      group.spec.clip_norm = clips;
      cr_assert(optimize_step(&r.b, m, init, loss, &group, 1));
      simplify(m);
      Arena arena = {0};
      Fusion *f = fuse_module(m, false, &arena);
      int kernel = node_of(m, value_of(m, m->state.at[0].next)->def)->group, written = 0;
      for (int k = 0; k < m->state.len; k++) {
        if (!m->state.at[k].next || value_of(m, m->state.at[k].next)->type.rank != 2) continue;
        if (!strncmp(m->state.at[k].name, "sum/", 4) && clips) continue;        // complete before the norm is known
        int g = node_of(m, value_of(m, m->state.at[k].next)->def)->group;
        cr_expect(g == kernel, "%s: %s has a kernel of its own", optimizer_info[kind].name, m->state.at[k].name);
        written++;
      }
      cr_expect(written >= 3 && !f->groups.at[kernel].dead);
      arena_free(&arena);
      module_free(init);
      module_free(m);
      arena_free(&r.b.arena);
      arena_free(&r.arena);
      diags_free(&r.d);
    }
}
