/* Texts of the network language that learn: pass grad and the passes that simplify run on the modules of a bundle, the
 * evaluator computes init and then steps on a handful of rows, and the loss has to fall. */
#include "frontend/language.h"
#include "ir/eval.h"
#include "tests/unit/simplify.h"
#include <criterion/criterion.h>
#include <math.h>

typedef struct Trained { Bundle *b; Diags d; Arena arena; const Tensor **state; } Trained;     /* state: as b->state */

static int state_index(const Trained *t, const char *name) {
  return (int)(bundle_find(t->b, name) - t->b->state.at);
}

/* Rows that can be learnt: floats are smooth, integers repeat. */
static const Tensor *column(Trained *t, const Type *type) {
  int64_t dims[MAX_RANK];
  for (int k = 0; k < type->rank; k++) dims[k] = dim_hi(type->dims[k]);
  Tensor *x = tensor_new(&t->arena, type->dtype, type->rank, dims);
  int64_t row = tensor_count(x) / (type->rank && dims[0] ? dims[0] : 1);
  for (int64_t i = 0; i < tensor_count(x); i++)
    tensor_set(x, i, dtype_is_float(type->dtype) ? sin((double)(i / row) * 2 + (double)(i % row))
                                                 : (double)((i / row + i % row) % 3));
  return x;
}

/* One call; the first output. */
static double call(Trained *t, const Function *f) {
  Module *m = f->m;
  Eval e;
  eval_begin(&e, m);
  for (int k = 0; k < m->main->inputs.len; k++) {
    ValueId v = m->main->inputs.at[k];
    const StateSlot *s = graph_state_of_value(m, v);
    const Tensor *in = s ? t->state[state_index(t, s->name)] : column(t, &value_of(m, v)->type);
    cr_assert(eval_bind_input(&e, k, in), "%s of %s", value_of(m, v)->name, f->name);
  }
  cr_assert(eval_graph(&e, m->main));
  for (int k = 0; k < m->state.len; k++) {
    if (!m->state.at[k].next) continue;
    const Tensor *x = eval_value(&e, m->state.at[k].next);
    Tensor *kept = tensor_new(&t->arena, x->dtype, x->rank, x->dims);
    memcpy(kept->data, x->data, tensor_bytes(x));
    t->state[state_index(t, m->state.at[k].name)] = kept;
  }
  double loss = f->kind == FUNCTION_INIT ? 0 : tensor_get(eval_value(&e, m->main->outputs.at[0]), 0);
  eval_end(&e);
  return loss;
}

static void begin(Trained *t, const char *text) {
  *t = (Trained){.d = {.file = "t.lathe"}};
  t->b = lathe_language_text("t.lathe", text, strlen(text), NULL, &t->d);
  if (!t->b) diags_print(&t->d, stderr);
  cr_assert(t->b);
  t->state = NEW_N(&t->arena, const Tensor *, t->b->state.len);
  for (int k = 0; k < t->b->fn.len; k++) simplify(t->b->fn.at[k].m);
  call(t, &t->b->fn.at[0]);
  for (int k = 0; k < t->b->state.len; k++) cr_assert(t->state[k], "init leaves %s out", t->b->state.at[k].name);
}

static void end(Trained *t) {
  bundle_free(t->b);
  diags_free(&t->d);
  arena_free(&t->arena);
  symbols_reset();
}

/* The loss after so many steps. */
static double train(const char *text, int steps, double *first) {
  Trained t;
  double loss = 0;
  begin(&t, text);
  const Function *f = bundle_function(t.b, FUNCTION_STEP, NULL), *eval = bundle_function(t.b, FUNCTION_EVAL, NULL);
  for (int k = 0; k < steps; k++) {
    loss = call(&t, f);
    if (!k) *first = loss;
  }
  int random = state_index(&t, "random");
  cr_expect_eq(tensor_get_int(t.state[random], 0), steps, "steps are counted");
  if (eval) loss = call(&t, eval);
  end(&t);
  return loss;
}

static const struct { const char *what, *text; int steps; double below; } cases[] = {
  {"perceptron",
   "net f(x: f32[N, 4]) { return dense(x, 16) |> batch_norm |> relu |> dense(3) }\n"
   "data { x: f32[4] = npy(\"x\") y: i64[] = npy(\"y\") batch 6 }\n"
   "train step { minimize cross_entropy(f(x), y) with adam(lr=0.05) }\n", 30, 0.1},
  {"convolution",
   "net f(x: f32[N, 1, 6, 6]) {\n  x = conv(x, 4, kernel=3, pad=\"same\") |> relu |> max_pool(2)\n"
   "  return flatten(x) |> dense(3)\n}\n"
   "data { x: f32[6, 6] = npy(\"x\") y: u8[] = npy(\"y\") batch 6 }\n"
   "train step { minimize cross_entropy(f(x), y) over f with sgd(lr=0.1, momentum=0.9) }\n", 30, 0.1},
  {"recurrence",
   "net f(x: i32[N, 5]) { return embedding(x, 3, 4) |> lstm(8, last=true) |> dense(3) }\n"
   "data { x: i32[6] = npy(\"x\") batch 4 }\n"
   "train step { minimize cross_entropy(f(x[:, 0:5]), x[:, 5]) with adam(lr=0.05, clip_norm=1) }\n", 25, 0.2},
  {"attention",
   "net block(x: f32[N, 5, 8]) -> f32[N, 5, 8] {\n"
   "  x = x + attention(layer_norm(x), 2, causal=true)\n  return x + dense(gelu(dense(layer_norm(x), 16)), 8)\n}\n"
   "net f(x: i32[N, 5]) {\n  w = parameter([3, 8])\n  x = w[x] + parameter([5, 8])\n  repeat 2 { x = new block(x) }\n"
   "  return layer_norm(x) @ transpose(w)\n}\n"
   "data { x: i32[6] = npy(\"x\") batch 4 }\n"
   "train step { minimize cross_entropy(f(x[:, 0:5]), x[:, 1:6], axis=2) with adamw(lr=0.02) }\n", 25, 0.2},
  {"encoder and decoder",
   "net f(x: i32[N, 6]) {\n  y, h = embedding(x[:, 0:3], 3, 4) |> gru(8, states=true)\n"
   "  return embedding(x[:, 3:5], 3, 4) |> gru(8, state=h, last=true) |> dense(3)\n}\n"
   "data { x: i32[6] = npy(\"x\") batch 4 }\n"
   "train step { minimize cross_entropy(f(x), x[:, 5]) with adam(lr=0.05) }\n", 25, 0.2},
  {"labels without places",
   "net f(x: i32[N, 6]) { return embedding(x, 3, 4) |> lstm(8) |> dense(4) |> log_softmax }\n"
   "data { x: i32[6] = npy(\"x\") batch 4 }\n"
   "train step { minimize ctc(f(x), x[:, 1:3] + 1) with adam(lr=0.05) }\n", 40, 0.2},
  {"two networks, one frozen",
   "net g(x: f32[N, 4]) { return dense(x, 4) |> tanh }\nnet f(x: f32[N, 4]) { return g(x) |> dense(4) }\n"
   "data { x: f32[4] = npy(\"x\") batch 6 }\n"
   "train step { freeze g minimize mse(f(x), x) with rmsprop(lr=0.05) }\n", 40, 0.05},
};

Test(language_train, losses_fall) {
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    double first = 0, last = train(cases[k].text, cases[k].steps, &first);
    cr_expect(last < cases[k].below && first > 2 * last, "%s: from %g to %g", cases[k].what, first, last);
  }
}

/* A critic and a generator: each step moves its own parameters and leaves the other's alone. */
Test(language_train, steps_of_a_gan) {
  Trained t;
  begin(&t, "net generator(z: f32[N, 2]) -> f32[N, 4] { return dense(z, 8) |> relu |> dense(4) }\n"
            "net critic(x: f32[N, 4]) -> f32[N, 1] { return dense(x, 8) |> leaky_relu(0.2) |> dense(1) }\n"
            "data { x: f32[4] = npy(\"x\") batch 4 }\n"
            "train step critic_step {\n  fake = stop_gradient(generator(normal(N, 2)))\n"
            "  loss = bce_logits(critic(x), 1) + bce_logits(critic(fake), 0)\n"
            "  minimize loss over critic with adam(lr=0.01)\n}\n"
            "train step generator_step {\n  loss = bce_logits(critic(generator(normal(N, 2))), 1)\n"
            "  minimize loss over generator with adam(lr=0.01)\n}\n");
  for (int k = 0; k < 2; k++) {
    const Function *f = bundle_function(t.b, FUNCTION_STEP, k ? "generator_step" : "critic_step");
    const Tensor *critic = t.state[state_index(&t, "critic.dense1.weight")];
    const Tensor *generator = t.state[state_index(&t, "generator.dense1.weight")];
    cr_expect(isfinite(call(&t, f)));
    cr_expect_eq(tensor_same(critic, t.state[state_index(&t, "critic.dense1.weight")]), k == 1);
    cr_expect_eq(tensor_same(generator, t.state[state_index(&t, "generator.dense1.weight")]), k == 0);
  }
  end(&t);
}
