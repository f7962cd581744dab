/* The network language: tokens, the tree, the functions of a bundle; nets against hand-made numbers and PyTorch's. */
#include "frontend/language.h"
#include "frontend/lathe_ast.h"
#include "ir/eval.h"
#include "tests/unit/language_values.h"
#include <criterion/criterion.h>
#include <math.h>

static Diags d;
static Arena a;

static void start(void) { d = (Diags){.file = "t.lathe"}; a = (Arena){0}; }
static void stop(void) { diags_free(&d); arena_free(&a); symbols_reset(); }

static LatheText text_of(const char *s) { return (LatheText){"t.lathe", s, strlen(s), &a, &d}; }

static Bundle *load(const char *s) {
  Bundle *b = lathe_language_text("t.lathe", s, strlen(s), NULL, &d);
  if (!b) diags_print(&d, stderr);
  return b;
}

/* ---- text ---- */

Test(language, tokens, .init = start, .fini = stop) {
  LatheText t = text_of("x=1_000 # note\n\"a\\n\"|>f2 1.5e-3 %");
  Tokens k = lathe_lex(&t, true);
  static const struct { TokenKind kind; const char *text; } want[] = {
    {TOKEN_NAME, "x"}, {TOKEN_MARK, "="}, {TOKEN_NUMBER, "1_000"}, {TOKEN_COMMENT, "# note"}, {TOKEN_STRING, "a\n"},
    {TOKEN_MARK, "|>"}, {TOKEN_NAME, "f2"}, {TOKEN_NUMBER, "1.5e-3"}, {TOKEN_MARK, "%"}, {TOKEN_END, ""}};
  cr_assert_eq(k.len, (int)(sizeof want / sizeof *want));
  for (int i = 0; i < k.len; i++) {
    cr_expect_eq(k.at[i].kind, want[i].kind, "token %d", i);
    cr_expect_str_eq(k.at[i].text, want[i].text);
  }
  cr_expect_eq(k.at[2].number, 1000);
  cr_expect(k.at[2].integral);
  cr_expect_float_eq(k.at[7].number, 1.5e-3, 1e-12);
  cr_expect_eq(k.at[4].breaks, 1);
  cr_expect_eq(d.errors, 0);
}

static void put_term(Text *t, const Term *e) {
  switch (e->kind) {
    case TERM_NUMBER: case TERM_STRING: case TERM_BOOL: case TERM_NAME: text_put(t, e->text); return;
    case TERM_CALL:
      text_printf(t, "%s%s(", e->fresh ? "new " : "", e->text);
      for (int k = 0; k < e->args.len; k++) {
        text_printf(t, "%s%s%s", k ? " " : "", e->args.at[k].name ? e->args.at[k].name : "", e->args.at[k].name
            ? "=" : "");
        put_term(t, e->args.at[k].value);
      }
      text_put(t, ")");
      return;
    case TERM_UNARY: case TERM_BINARY:
      text_printf(t, "(%s ", e->text);
      put_term(t, e->a);
      if (e->b) { text_put(t, " "); put_term(t, e->b); }
      text_put(t, ")");
      return;
    case TERM_INDEX: put_term(t, e->a); /* fall through */
    case TERM_TUPLE:
      text_put(t, "[");
      for (int k = 0; k < e->items.len; k++) { if (k) text_put(t, " "); put_term(t, e->items.at[k]); }
      text_put(t, "]");
      return;
    case TERM_SLICE:
      if (e->a) put_term(t, e->a);
      text_put(t, ":");
      if (e->b) put_term(t, e->b);
      return;
  }
}

Test(language, what_binds_how, .init = start, .fini = stop) {
  static const char *const cases[][2] = {
    {"1 + 2 * 3 - 4", "(- (+ 1 (* 2 3)) 4)"},
    {"-a ** 2", "(- (** a 2))"},
    {"a ** -b ** c", "(** a (- (** b c)))"},
    {"a @ b + c > d", "(> (+ (@ a b) c) d)"},
    {"a + b |> f |> g(2, k=3)", "g(f((+ a b)) 2 k=3)"},
    {"(a |> f) + x[:, 1:n - 1, -1]", "(+ f(a) x[: 1:(- n 1) (- 1)])"},
    {"new block(x) + [1, 2][0]", "(+ new block(x) [1 2][0])"},
    {"f()\n (a)", "f()"},
  };
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    char s[200];
    snprintf(s, sizeof s, "let x = %s\n", cases[k][0]);
    LatheText t = text_of(s);
    LatheFile *f = lathe_parse(&t);
    Text got = {0};
    put_term(&got, f->lets.at[0].value);
    cr_expect_str_eq(got.at, cases[k][1]);
    text_free(&got);
  }
}

/* Any bytes at all: an error or a tree, never a crash. */
Test(language, damaged_texts, .init = start, .fini = stop) {
  static const char good[] = "let k = 3 # c\nnet f(x: f32[N, 4]) -> f32[N, 3] { return dense(x, k) |> relu }\n"
                             "data { x: f32[4] = npy(\"x\") / 2 batch 8 hold_out 10% }\n"
                             "train step s { loss = mean(f(x)) minimize loss over f with adam(lr=cosine(1e-3)) }\n";
  static const char bytes[] = "(){}[],:=+-*/<>.%@\"#|\n a1\x80\x01";
  unsigned seed = 1;
  for (int round = 0; round < 3000; round++) {
    char s[sizeof good];
    memcpy(s, good, sizeof s);
    for (int k = 0; k < 1 + round % 4; k++) {
      seed = seed * 1664525u + 1013904223u;
      s[(seed >> 8) % (sizeof s - 1)] = bytes[(seed >> 24) % (sizeof bytes - 1)];
    }
    Diags local = {0};
    Bundle *b = lathe_language_text("t.lathe", s, sizeof s - 1, NULL, &local);
    cr_expect((b != NULL) == (local.errors == 0));
    if (b) bundle_free(b);
    diags_free(&local);
  }
}

/* ---- evaluation ---- */

static float filled(const char *name, int64_t i) {
  size_t n = strlen(name);
  bool var = n > 11 && !strcmp(name + n - 11, "running_var");
  return (float)(sin(0.7 * (double)i + (double)n) * 0.3 + (var ? 1.0 : 0.0));
}

static const Tensor *input_of(Module *m, ValueId v, const double *given) {
  const Value *x = value_of(m, v);
  int64_t dims[MAX_RANK];
  for (int k = 0; k < x->type.rank; k++) dims[k] = dim_hi(x->type.dims[k]);
  Tensor *t = tensor_new(&a, x->type.dtype, x->type.rank, dims);
  bool state = graph_state_of_value(m, v) != NULL;
  for (int64_t i = 0; i < tensor_count(t); i++)
    tensor_set(t, i, given && !state ? given[i] : (double)filled(x->name, i));
  return t;
}

/* Output k of a function whose inputs and parameters are filled by the formula of make_values.py, or from `given`. */
static void expect_output(const Bundle *b, const char *name, int k, const double *given, const float *want, int n) {
  const Function *f = bundle_function(b, FUNCTION_INFER, name);
  cr_assert(f, "no function %s", name);
  Module *m = f->m;
  Eval e;
  eval_begin(&e, m);
  for (int i = 0; i < m->main->inputs.len; i++)
    cr_assert(eval_bind_input(&e, i, input_of(m, m->main->inputs.at[i], given)));
  cr_assert(eval_graph(&e, m->main));
  const Tensor *y = eval_value(&e, m->main->outputs.at[k]);
  cr_assert_eq(tensor_count(y), n, "%s: %lld elements", name, (long long)tensor_count(y));
  for (int i = 0; i < n; i++)
    cr_expect_float_eq(tensor_get(y, i), want[i], 2e-5, "%s[%d]: %g, not %g", name, i, tensor_get(y, i),
    (double)want[i]);
  eval_end(&e);
}

#define LENGTH(x) (int)(sizeof x / sizeof *x)

Test(language, pytorch_computes_the_same, .init = start, .fini = stop) {
  Bundle *b = load(
    "net cnn(x: f32[2, 3, 9, 9]) -> f32[2, 3] {\n"
    "  x = conv(x, 4, kernel=3, stride=2, pad=1) |> batch_norm |> relu |> max_pool(2)\n"
    "  x = conv_transpose(x, 2, kernel=3, stride=2, pad=1, output_pad=1) |> group_norm(2)\n"
    "  return resize(x, scale=2) |> leaky_relu(0.2) |> avg_pool(2, pad=1) |> flatten |> dense(3)\n}\n"
    "net lstm_net(x: f32[2, 5, 3]) { return lstm(x, 4) }\n"
    "net gru_net(x: f32[2, 5, 3]) { return gru(x, 4) }\n"
    "net rnn_net(x: f32[2, 5, 3]) { return rnn(x, 4) }\n"
    "net text(i: i64[2, 4]) {\n"
    "  x = embedding(i, 5, 8) |> layer_norm\n  x = x + attention(x, 2, causal=true)\n"
    "  return gelu(x) |> rms_norm |> softmax\n}\n");
  cr_assert(b);
  expect_output(b, "cnn", 0, NULL, torch_cnn, LENGTH(torch_cnn));
  expect_output(b, "lstm_net", 0, NULL, torch_lstm_net, LENGTH(torch_lstm_net));
  expect_output(b, "gru_net", 0, NULL, torch_gru_net, LENGTH(torch_gru_net));
  expect_output(b, "rnn_net", 0, NULL, torch_rnn_net, LENGTH(torch_rnn_net));
  expect_output(b, "text", 0, (double[]){0, 3, 1, 4, 2, 2, 0, 1}, torch_text, LENGTH(torch_text));
  bundle_free(b);
}

Test(language, states_and_sequences_as_in_pytorch, .init = start, .fini = stop) {
  Bundle *b = load(
    "net deep(x: f32[2, 5, 3]) {\n"
    "  y, h, c = lstm(x, 4, layers=2, bidirectional=true, states=true)\n"
    "  z, h, c = lstm(y, 4, layers=2, bidirectional=true, state=h, cell=c, states=true)\n"
    "  return concat(flatten(z), h, c)\n}\n"
    "net learned(x: f32[2, 5, 3]) {\n  start = parameter([1, 4])\n  return gru(x, 4, state=start, last=true)\n}\n"
    "net ctc_net(x: f32[2, 7, 4]) {\n"
    "  target = stack(range(3) + 1, 2 - range(3))\n  x = log_softmax(x)\n"
    "  some = ctc(x, target, input_lengths=6 - 3 * range(2), target_lengths=3 - range(2), reduction=\"sum\")\n"
    "  return stack(ctc(x, target), some)\n}\n");
  cr_assert(b);
  expect_output(b, "deep", 0, NULL, torch_deep, LENGTH(torch_deep));
  expect_output(b, "learned", 0, NULL, torch_learned, LENGTH(torch_learned));
  expect_output(b, "ctc_net", 0, NULL, torch_ctc_net, LENGTH(torch_ctc_net));
  bundle_free(b);
}

Test(language, arithmetic_by_hand, .init = start, .fini = stop) {
  Bundle *b = load(
    "let half = 1 / 2\nlet six = 12 / 2\n"
    "net f(x: f32[2, 3]) -> (f32[2, 2], f32[3, 2], f32[2], i64[2], f32[]) {\n"
    "  y = x * half + (x > 2)\n"
    "  return y[:, 1:], transpose(x), x[1, 0:2] ** 2, argmax(x), sum(x) / six - size(x, 1)\n}\n"
    "net h(x: f32[2, 3]) { return flip(x, 1) + in_training(100, 1) }\n"
    "net g(i: u8[3]) -> f32[3, 4] { return one_hot(i, 4) + i[0] / 2 }\n");
  cr_assert(b);
  double x[] = {1, 2, 3, 4, 0, -1};
  expect_output(b, "f", 0, x, (float[]){1, 2.5f, 0, -0.5f}, 4);
  expect_output(b, "f", 1, x, (float[]){1, 4, 2, 0, 3, -1}, 6);
  expect_output(b, "f", 2, x, (float[]){16, 0}, 2);
  expect_output(b, "f", 3, x, (float[]){2, 0}, 2);
  expect_output(b, "f", 4, x, (float[]){-1.5f}, 1);
  expect_output(b, "h", 0, x, (float[]){4, 3, 2, 0, 1, 5}, 6);
  expect_output(b, "g", 0, (double[]){1, 0, 3}, (float[]){.5f, 1.5f, .5f, .5f, 1.5f, .5f, .5f, .5f, .5f, .5f, .5f,
      1.5f}, 12);
  bundle_free(b);
}

/* ---- bundles ---- */

static int state_count(const Bundle *b, StateRole role) {
  int n = 0;
  for (int k = 0; k < b->state.len; k++) n += b->state.at[k].role == role;
  return n;
}

Test(language, shared_and_separate_parameters, .init = start, .fini = stop) {
  Bundle *b = load("net block(x: f32[N, C]) { return dense(x, 4) }\n"
                   "net shared(x: f32[N, 4]) { repeat 3 { x = block(x) } return x }\n");
  cr_assert(b);
  cr_expect_eq(state_count(b, ROLE_PARAMETER), 2);
  cr_expect(bundle_find(b, "block.dense1.weight"));
  bundle_free(b);
  b = load("net block(x: f32[N, C]) { return dense(x, 4) }\n"
           "net separate(x: f32[N, 5]) { repeat 3 { x = new block(x) } return x }\n");
  cr_assert(b);
  cr_expect_eq(state_count(b, ROLE_PARAMETER), 6);
  cr_expect_str_eq(type_text(&bundle_find(b, "separate.block1.dense1.weight")->type), "f32[4,5]");
  cr_expect_str_eq(type_text(&bundle_find(b, "separate.block3.dense1.weight")->type), "f32[4,4]");
  bundle_free(b);
}

static const char training[] =
  "net f(x: f32[N, 4]) { x = dense(x, 8) |> batch_norm |> relu |> dropout(0.5) return dense(x, 3) |> dropout(0.5) }\n"
  "data { x: f32[4] = npy(\"x.npy\") y: u8[] = npy(\"y.npy\") batch 16 shuffle hold_out 20% epochs 3 }\n"
  "train step {\n  loss = cross_entropy(f(x), y)\n  minimize loss over f with sgd(0.1)\n"
  "  report accuracy(f(x), y), twice = 2 * loss\n}\n";

Test(language, functions_of_a_training, .init = start, .fini = stop) {
  Bundle *b = load(training);
  cr_assert(b);
  static const FunctionKind kinds[] = {FUNCTION_INIT, FUNCTION_STEP, FUNCTION_EVAL, FUNCTION_INFER};
  cr_assert_eq(b->fn.len, 4);
  for (int k = 0; k < 4; k++) cr_expect_eq(b->fn.at[k].kind, kinds[k]);
  cr_expect_eq(b->batch, 16);
  cr_expect_eq(b->epochs, 3);
  cr_expect(b->shuffle);
  cr_expect_float_eq(b->hold_out, 0.2, 1e-12);
  cr_expect_eq(b->column.at[1].classes, 3, "labels are below the number of logits");
  cr_expect_eq(state_count(b, ROLE_PARAMETER), 6);
  cr_expect_eq(state_count(b, ROLE_STATISTIC), 2);
  for (int k = 1; k < 3; k++) {                                  // loss and reports come first, in order
    Module *m = b->fn.at[k].m;
    static const char *const names[] = {"loss", "accuracy", "twice"};
    int at = 0;
    for (int i = 0; i < m->main->outputs.len; i++) {
      if (graph_state_of_value(m, m->main->outputs.at[i])) continue;
      cr_expect_str_eq(value_of(m, m->main->outputs.at[i])->name, names[at++]);
    }
    cr_expect_eq(at, 3);
  }
  Module *eval = b->fn.at[2].m;
  for (int k = 0; k < eval->state.len; k++) cr_expect_eq(eval->state.at[k].next, 0, "an evaluation changes nothing");
  for (int k = 1; k < eval->nodes.len; k++)
    cr_expect_neq(eval->nodes.at[k].op, OP_RANDOM, "no dropout in an evaluation");
  bundle_free(b);
}

/* A trainer finds columns and reports by name, whatever variables are called. */
Test(language, names_of_ports, .init = start, .fini = stop) {
  Bundle *b = load("net f(x: f32[N, 4]) { return dense(x, 3) }\n"
                   "data { x: f32[4] = npy(\"x.npy\") y: i64[] = npy(\"y.npy\") batch 2 }\n"
                   "train step {\n  y = f(in_training(flip(x, 1), x)) + 1\n  share = mean(y, axes=0)[0:1]\n"
                   "  loss = cross_entropy(y, argmax(y))\n  minimize loss with sgd(0.1)\n"
                   "  report share, loss = 2 * loss\n}\n"
                   "train step other { minimize cross_entropy(f(x), y) with sgd(0.1) }\n");
  cr_assert(b);
  for (int f = 0; f < b->fn.len; f++) {
    Module *m = b->fn.at[f].m;
    if (b->fn.at[f].kind != FUNCTION_STEP && b->fn.at[f].kind != FUNCTION_EVAL) continue;
    cr_expect_str_eq(value_of(m, m->main->inputs.at[0])->name, "x");
    cr_expect_eq(graph_find_value(m, strstr(b->fn.at[f].name, "other") ? "cross_entropy" : "share") != 0, 1);
    ValueId share = graph_find_value(m, "share");
    if (share) cr_expect_eq(value_of(m, share)->type.rank, 0, "the report has the name, not the variable");
  }
  bundle_free(b);
}

/* Random nodes of all functions of a bundle differ in their streams: no two dropouts drop the same elements. */
Test(language, streams_differ, .init = start, .fini = stop) {
  Bundle *b = load(training);
  cr_assert(b);
  int64_t seen[64];
  int n = 0;
  for (int f = 0; f < b->fn.len; f++)
    for (int k = 1; k < b->fn.at[f].m->nodes.len; k++) {
      const Node *x = node_of(b->fn.at[f].m, (NodeId)k);
      if (x->op != OP_RANDOM) continue;
      int64_t stream = node_int(x, "stream", -1);
      for (int i = 0; i < n; i++) cr_expect_neq(stream, seen[i]);
      cr_assert_lt(n, 64);
      seen[n++] = stream;
    }
  cr_expect_eq(n, 4, "two weights and two dropouts, not %d", n);
  bundle_free(b);
}

/* Weights start by what follows them. */
Test(language, initialisers, .init = start, .fini = stop) {
  Bundle *b = load("net f(x: f32[N, 50]) {\n"
                   "  a = dense(x, 8) |> layer_norm |> relu\n  b = dense(x, 8) |> tanh\n"
                   "  c = dense(x, 8, init=\"uniform(0.25)\")\n"
                   "  d = dense(x, 8)\n  return a + b + c + d\n}\n");
  cr_assert(b);
  Module *m = b->fn.at[0].m;
  static const double want[] = {0.2, 2 * 0.32163376, 0.5, 2 * 0.32163376};     // sqrt(2/50), 2 sqrt(6/58)
  int at = 0;
  for (int k = 1; k < m->nodes.len; k++) {
    const Node *x = node_of(m, (NodeId)k);
    if (x->op != OP_RANDOM) continue;
    cr_expect_float_eq(node_float(x, "scale", 0), want[at], 1e-6, "weight %d", at);
    at++;
  }
  cr_expect_eq(at, 4);
  bundle_free(b);
}

static int params_trained(const char *step, char *names, size_t size) {
  char s[1500];
  snprintf(s, sizeof s,
           "net a(x: f32[N, 4]) { return dense(x, 4) }\n"
           "net b(x: f32[N, 4]) { return a(x) |> dense(3) |> dense(2, name=\"head\") }\n"
           "data { x: f32[4] = npy(\"x.npy\") y: i64[] = npy(\"y.npy\") }\n"
           "train step { loss = cross_entropy(b(x), y)\n%s }\n", step);
  Bundle *b = load(s);
  cr_assert(b, "%s", step);
  int n = 0;
  names[0] = 0;
  for (int k = 0; k < b->state.len; k++) {
    const StateTensor *t = &b->state.at[k];
    if (t->role != ROLE_OPTIMIZER || !strstr(t->name, "weight")) continue;
    snprintf(names + strlen(names), size - strlen(names), "%s ", t->of);
    n++;
  }
  bundle_free(b);
  return n;
}

Test(language, over_and_freeze, .init = start, .fini = stop) {
  static const struct { const char *step, *names; } cases[] = {
    {"minimize loss with sgd(0.1, momentum=0.9)", "a.dense1.weight b.dense1.weight b.head.weight "},
    {"minimize loss over b with sgd(0.1, momentum=0.9)", "a.dense1.weight b.dense1.weight b.head.weight "},
    {"minimize loss over a with sgd(0.1, momentum=0.9)", "a.dense1.weight "},
    {"minimize loss over b.head with sgd(0.1, momentum=0.9)", "b.head.weight "},
    {"freeze a, b.head\nminimize loss over b with sgd(0.1, momentum=0.9)", "b.dense1.weight "},
    {"minimize loss over b with sgd(0.1) over b.head with sgd(0.1, momentum=0.9)", "b.head.weight "},
  };
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    char names[400];
    params_trained(cases[k].step, names, sizeof names);
    cr_expect_str_eq(names, cases[k].names, "%s: %s", cases[k].step, names);
  }
}

/* ---- data ---- */

static bool peek(void *ctx, const char *call, Type *row, int64_t *classes, char *why, size_t why_len) {
  int *calls = ctx;
  ++*calls;
  if (strcmp(call, "text(\"a.txt\", length=9)")) { snprintf(why, why_len, "no %s", call); return false; }
  Dim nine = DIM(9);
  *row = type_of(DT_I32, 1, &nine);
  *classes = 65;
  return true;
}

Test(language, types_from_the_data, .init = start, .fini = stop) {
  int calls = 0;
  LanguageOptions o = {.peek = peek, .peek_ctx = &calls};
  static const char s[] = "let T = 8\nlet V = vocab(c)\n"
                          "net f(c: i32[N, T]) -> f32[N, T, V] { return embedding(c, V, V) }\n"
                          "data { c = text(\"a.txt\", length=T + 1) batch 4 }\n"
                          "eval step { x = c[:, 0:T] loss = mean(f(x)) }\n";
  Bundle *b = lathe_language_text("t.lathe", s, strlen(s), &o, &d);
  if (!b) diags_print(&d, stderr);
  cr_assert(b);
  cr_expect_str_eq(type_text(&bundle_find(b, "f.embedding1.weight")->type), "f32[65,65]");
  cr_expect_eq(b->column.at[0].classes, 65);
  cr_expect_eq(calls, 1, "the file is looked at once, not %d times", calls);
  bundle_free(b);
}
