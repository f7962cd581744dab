/* Attention as one kernel: every case goes through all passes and the loop interpreter, fused, scalar and naive, and
 * must give what the evaluator does. Sizes are no multiples of lanes, panels or tiles. */
#include "tests/unit/evaluate.h"
#include <string.h>

typedef enum { PLAIN, SCALED, MASKED, CAUSAL, PAST, BLIND, CAPPED, CAPPED_CAUSAL, DROPPED, DROPPED_CAUSAL } Between;

typedef struct Case {
  int batch, heads, shared, queries, keys, dk, dv;      /* shared: query heads to a head of keys */
  Between between;
  /* heads are views of [batch, rows, heads * d], and so is the result */
  bool split;
  int past;                                             /* keys and values are a concat: so many, and the rest */
  bool symbolic;                                        /* the numbers of queries and keys are known when it runs */
} Case;

static const Case cases[] = {
  {1, 2, 1, 13, 13, 8, 8, PLAIN, false, 0, false},
  {2, 3, 1, 37, 37, 20, 20, SCALED, true, 0, false},          // panels and vectors with a tail
  // more than one block of rows on narrow targets; odd values
  {1, 2, 1, 70, 35, 32, 7, MASKED, true, 0, false},
  {1, 1, 1, 64, 64, 16, 16, CAUSAL, false, 0, false},         // everything even
  {2, 2, 1, 9, 130, 5, 33, MASKED, false, 0, false},
  {1, 4, 2, 11, 19, 8, 8, SCALED, false, 0, false},           // grouped heads
  {1, 6, 3, 1, 21, 16, 16, MASKED, false, 0, false},          // and one query
  {1, 2, 1, 1, 50, 12, 12, SCALED, true, 0, false},           // one query, keys side by side
  {1, 2, 1, 3, 17, 64, 64, CAUSAL, false, 0, false},
  {1, 1, 1, 200, 40, 8, 24, CAPPED, false, 0, false},         // several blocks of rows
  {1, 2, 1, 14, 22, 8, 8, BLIND, false, 0, false},            // rows without any key: NaN, as ONNX's Softmax
  {1, 2, 1, 14, 22, 8, 8, DROPPED, true, 0, false},           // something after the softmax
  {1, 1, 1, 5, 1, 4, 4, SCALED, false, 0, false},             // one key
  {1, 2, 1, 1, 30, 12, 20, SCALED, false, 29, false},         // one query after a cache
  {2, 4, 2, 1, 21, 16, 16, MASKED, false, 13, false},         // with grouped heads
  {1, 2, 1, 1, 18, 8, 8, PLAIN, true, 17, false},
  {1, 2, 1, 7, 18, 8, 8, PLAIN, false, 11, false},            // more queries: the concat is made
  {1, 2, 1, 9, 19, 8, 12, MASKED, false, 0, true},            // sizes that only running tells
  {1, 2, 1, 50, 33, 20, 16, CAUSAL, true, 0, true},
  {1, 1, 1, 1, 5, 8, 8, SCALED, false, 0, true},
  {1, 2, 1, 1, 24, 8, 8, MASKED, false, 23, true},            // a cache as long as it happens to be
  {1, 2, 1, 100, 100, 16, 20, CAUSAL, true, 0, false},        // several blocks, tiles that see a part of the keys
  {2, 2, 1, 13, 40, 8, 8, PAST, false, 0, false},             // queries after some keys that all of them see
  {1, 2, 1, 60, 37, 12, 8, PAST, true, 0, true},              // and more queries than keys
  {1, 4, 2, 23, 23, 8, 8, CAUSAL, false, 0, false},           // grouped heads
  {1, 1, 1, 1, 9, 8, 8, PAST, false, 0, false},               // one query, part of the keys
  {1, 1, 1, 40, 40, 8, 24, CAPPED_CAUSAL, false, 0, false},
  {1, 2, 1, 24, 24, 8, 8, DROPPED_CAUSAL, true, 0, false},    // what follows may give weight to keys ahead
};

static const RunForm forms[] = {{"x86-64-v4", false, 1}, {"x86-64-v3", false, 1}, {"x86-64", false, 1},
                             {"aarch64", false, 1}, {"c99", false, 1}, {"x86-64", true, 1}, {"x86-64-v3", false, 3}};

static void put_heads(Text *t, const char *name, int batch, int heads, const char *rows, int size, bool split) {
  if (!split) { text_printf(t, "  input %%%s : f32[%d,%d,%s,%d]\n", name, batch, heads, rows, size); return; }
  text_printf(t, "  input %%%s0 : f32[%d,%s,%d]\n", name, batch, rows, heads * size);
  text_printf(t, "  %%%s1 = reshape(%%%s0) {shape=[%d,%s,%d,%d]}\n", name, name, batch, rows, heads, size);
  text_printf(t, "  %%%s = transpose(%%%s1) {perm=[0,2,1,3]}\n", name, name);
}

/* Keys or values, perhaps old ones and new ones. */
static void put_keys(Text *t, const char *name, const Case *c, const char *rows, int size) {
  int heads = c->heads / c->shared;
  char n[2][16], old[16], young[16];
  if (!c->past) { put_heads(t, name, c->batch, heads, rows, size, c->split); return; }
  for (int k = 0; k < 2; k++) snprintf(n[k], sizeof n[k], "%s%c", name, k ? 'n' : 'o');
  if (c->symbolic) snprintf(old, sizeof old, "T");
  else snprintf(old, sizeof old, "%d", c->past);
  snprintf(young, sizeof young, "%d", c->keys - c->past);
  put_heads(t, n[0], c->batch, heads, old, size, false);
  put_heads(t, n[1], c->batch, heads, young, size, c->split);
  text_printf(t, "  %%%s = concat(%%%s, %%%s) {axis=2}\n", name, n[0], n[1]);
}

/* `from` with what j op i + past hides. */
static void put_mask(Text *t, const char *from, const char *op, int past, const char *queries, const char *keys) {
  text_printf(t, "  %%j = iota() {dtype=i64, shape=[%s,%s], axis=1}\n", queries, keys);
  text_printf(t, "  %%i = iota() {dtype=i64, shape=[%s,%s], axis=0}\n", queries, keys);
  text_printf(t, "  weight %%n : i64[] = [%d]\n  %%ip = add(%%i, %%n)\n  weight %%low : f32[] = [-inf]\n", past);
  text_printf(t, "  %%g = %s(%%j, %%ip)\n  %%x = where(%%g, %%low, %%%s)\n", op, from);
}

/* %s, the scores, become %x. */
static void put_between(Text *t, const Case *c, const char *queries, const char *keys) {
  switch (c->between) {
  case PLAIN: text_put(t, "  %x = copy(%s)\n"); return;
  case SCALED: case DROPPED: text_put(t, "  weight %f : f32[] = [0.25]\n  %x = mul(%s, %f)\n"); return;
  case CAPPED: case CAPPED_CAUSAL:
    text_put(t, "  weight %f : f32[] = [2.0]\n  %z = div(%s, %f)\n  %h = tanh(%z)\n");
    text_printf(t, "  %%%s = mul(%%h, %%f)\n", c->between == CAPPED ? "x" : "c");
    if (c->between == CAPPED_CAUSAL) put_mask(t, "c", "gt", 0, queries, keys);
    return;
  case MASKED: text_printf(t, "  input %%m : f32[%d,1,1,%s]\n  %%x = add(%%s, %%m)\n", c->batch, keys); return;
  case CAUSAL: put_mask(t, "s", "gt", 0, queries, keys); return;
  case PAST: put_mask(t, "s", "ge", 4, queries, keys); return;
  case BLIND: put_mask(t, "s", "ge", 0, queries, keys); return;
  case DROPPED_CAUSAL:
    text_put(t, "  weight %f : f32[] = [0.25]\n");
    put_mask(t, "s", "gt", 0, queries, keys);
    return;
  }
}

static Module *module_make(const Case *c, Diags *d) {
  Text t = {0};
  int kv = c->heads / c->shared;
  char queries[16] = "Q", keys[16] = "T";
  if (!c->symbolic || c->past) snprintf(queries, sizeof queries, "%d", c->queries);
  if (!c->symbolic) snprintf(keys, sizeof keys, "%d", c->keys);
  else if (c->past) snprintf(keys, sizeof keys, "T + %d", c->keys - c->past);
  text_put(&t, c->symbolic ? "module t {\n  dim Q in 1..64\n  dim T in 1..64\n" : "module t {\n");
  put_heads(&t, "q", c->batch, c->heads, queries, c->dk, c->split);
  put_keys(&t, "k", c, keys, c->dk);
  put_keys(&t, "v", c, keys, c->dv);
  text_put(&t, "  %kt = transpose(%k) {perm=[0,1,3,2]}\n");
  if (c->shared > 1) {
    text_printf(&t, "  %%q5 = reshape(%%q) {shape=[%d,%d,%d,%d,%d]}\n", c->batch, kv, c->shared, c->queries, c->dk);
    text_printf(&t, "  %%kt5 = reshape(%%kt) {shape=[%d,%d,1,%d,%d]}\n", c->batch, kv, c->dk, c->keys);
    text_printf(&t, "  %%v5 = reshape(%%v) {shape=[%d,%d,1,%d,%d]}\n", c->batch, kv, c->keys, c->dv);
    text_printf(&t, "  %%s5 = matmul(%%q5, %%kt5)\n  %%s = reshape(%%s5) {shape=[%d,%d,%d,%d]}\n", c->batch,
                c->heads, c->queries, c->keys);
  } else text_put(&t, "  %s = matmul(%q, %kt)\n");
  put_between(&t, c, queries, keys);
  text_put(&t, "  %e = softmax(%x) {axis=3}\n");
  const char *p = "e";
  if (c->between == DROPPED_CAUSAL) { text_put(&t, "  %p = add(%e, %f)\n"); p = "p"; }
  if (c->between == DROPPED) { text_put(&t, "  %p = mul(%e, %f)\n"); p = "p"; }
  if (c->shared > 1) {
    text_printf(&t, "  %%p5 = reshape(%%%s) {shape=[%d,%d,%d,%d,%d]}\n", p, c->batch, kv, c->shared, c->queries,
                c->keys);
    text_printf(&t, "  %%o5 = matmul(%%p5, %%v5)\n  %%o = reshape(%%o5) {shape=[%d,%d,%d,%d]}\n", c->batch,
                c->heads, c->queries, c->dv);
  } else text_printf(&t, "  %%o = matmul(%%%s, %%v)\n", p);
  if (c->split) {
    text_printf(&t, "  %%ot = transpose(%%o) {perm=[0,2,1,3]}\n  %%w = reshape(%%ot) {shape=[%d,%s,%d]}\n",
                c->batch, queries, c->heads * c->dv);
    text_put(&t, "  %y = neg(%w)\n  output %y\n}\n");
  } else text_put(&t, "  %y = neg(%o)\n  output %y\n}\n");
  Module *m = module_parse(t.at, NULL, d);
  text_free(&t);
  return m;
}

static Tensor *input_of(Arena *a, const Type *t, const Case *c, uint64_t salt) {
  int64_t dims[MAX_RANK];
  for (int k = 0; k < t->rank; k++)
    dims[k] = dim_is_const(t->dims[k]) ? t->dims[k].k : !strcmp(dim_text(t->dims[k]), "Q") ? c->queries
            : !strcmp(dim_text(t->dims[k]), "T") && c->past ? c->past : c->keys;
  Tensor *x = tensor_new(a, t->dtype, t->rank, dims);
  random_fill(x, salt, 2);
  return x;
}

static bool has_attention(const Program *p) {
  for (int k = 0; k < p->kernels.len; k++) if (strstr(p->kernels.at[k]->name, "attention")) return true;
  return false;
}

/* worst_difference, but for rows that are NaN in both. */
static double worst_known(const Tensor *want, const Tensor *got) {
  double worst = 0;
  for (int64_t i = 0; i < tensor_count(want); i++) {
    double w = tensor_get(want, i), off = fabs(w - tensor_get(got, i));
    if (isnan(w) && isnan(tensor_get(got, i))) continue;        // memory never written is infinitely off
    worst = isnan(off) ? INFINITY : fmax(worst, off);
  }
  return worst;
}

/* As evaluate_random, with sizes where the module has symbols. */
static void evaluate_case(Eval *e, Module *m, const Case *sizes, const Tensor **in) {
  eval_begin(e, m);
  for (int k = 0; k < m->main->inputs.len; k++) {
    in[k] = input_of(&m->perm, &value_of(m, m->main->inputs.at[k])->type, sizes, (uint64_t)k);
    cr_assert(eval_bind_input(e, k, in[k]));
  }
  cr_assert(eval_graph(e, m->main));
}

static void run_case(const Case *c, const RunForm *f) {
  symbols_reset();
  Diags d = {0};
  Module *m = module_make(c, &d);
  cr_assert(m, "%s", d.errors ? d.at[0].text : "no module");
  const Tensor *in[6];
  Tensor *out[1] = {0};
  Eval e;
  evaluate_case(&e, m, c, in);
  const Tensor *want = eval_value(&e, m->main->outputs.at[0]);
  Program *p = form_run(m, f, in, out, &d);
  cr_expect(has_attention(p) == (!f->naive && strcmp(f->target, "c99") != 0), "%s, case %d: fused or not",
            f->target, (int)(c - cases));
  double worst = worst_known(want, out[0]);
  cr_expect(worst < 1e-5, "%s%s, case %d: off by %g", f->target, f->naive ? " naive" : "", (int)(c - cases), worst);
  eval_end(&e);
  module_free(m);
  diags_free(&d);
}

Test(attention, against_the_evaluator) {
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) run_case(&cases[k], &forms[f]);
}

/* ---- the gradient ---- */

typedef enum { NO_BIAS, KEY_BIAS, FULL_BIAS } Bias;

typedef struct GradCase {
  int batch, heads, queries, keys, dk, dv, ahead;       /* ahead -1: all keys are seen */
  Bias bias;
  bool split, symbolic;                                 /* as of Case */
  int outputs;                                          /* so many of dq, dk, dv are used */
} GradCase;

static const GradCase grad_cases[] = {
  {1, 2, 13, 13, 8, 8, -1, NO_BIAS, false, false, 3},
  {2, 3, 37, 29, 20, 7, -1, KEY_BIAS, true, false, 3},          // tiles and vectors with a tail
  {1, 2, 64, 64, 16, 16, 0, NO_BIAS, true, false, 3},
  {1, 1, 150, 150, 8, 12, 0, NO_BIAS, false, false, 3},         // several blocks of rows on narrow targets
  {1, 1, 300, 70, 4, 4, -1, NO_BIAS, false, false, 3},
  {1, 2, 9, 50, 5, 33, 7, FULL_BIAS, false, false, 3},          // keys that no query sees
  {1, 2, 50, 20, 12, 8, 3, KEY_BIAS, true, false, 3},
  {2, 1, 1, 19, 8, 8, 4, NO_BIAS, false, false, 3},
  {1, 2, 7, 1, 8, 8, -1, NO_BIAS, false, false, 3},
  {2, 1, 1, 1, 1, 1, 0, NO_BIAS, false, false, 3},
  {1, 2, 33, 40, 8, 8, 2, FULL_BIAS, true, true, 3},            // sizes that only running tells
  {1, 2, 60, 23, 20, 16, -1, NO_BIAS, false, true, 3},
  {1, 2, 21, 26, 8, 8, 0, NO_BIAS, false, false, 1},            // keys and values without a gradient
};

static Module *grad_module(const GradCase *c, Diags *d) {
  Text t = {0};
  char queries[16] = "Q", keys[16] = "T";
  if (!c->symbolic) snprintf(queries, sizeof queries, "%d", c->queries);
  if (!c->symbolic) snprintf(keys, sizeof keys, "%d", c->keys);
  text_put(&t, c->symbolic ? "module t {\n  dim Q in 1..64\n  dim T in 1..64\n" : "module t {\n");
  put_heads(&t, "q", c->batch, c->heads, queries, c->dk, c->split);
  put_heads(&t, "k", c->batch, c->heads, keys, c->dk, c->split);
  put_heads(&t, "v", c->batch, c->heads, keys, c->dv, c->split);
  put_heads(&t, "g", c->batch, c->heads, queries, c->dv, c->split);
  if (c->bias == KEY_BIAS) text_printf(&t, "  input %%b : f32[%d,1,1,%s]\n", c->batch, keys);
  if (c->bias == FULL_BIAS) text_printf(&t, "  input %%b : f32[%s,%s]\n", queries, keys);
  text_printf(&t, "  %%dq, %%dk, %%dv = attention_grad(%%q, %%k, %%v, %%g%s) {scale=0.5", c->bias ? ", %b" : "");
  if (c->ahead >= 0) text_printf(&t, ", ahead=[%d]", c->ahead);
  text_put(&t, "}\n  %y = neg(%dq)\n  output %y\n");
  if (c->outputs == 3) text_put(&t, "  output %dk\n  %z = transpose(%dv) {perm=[0,2,1,3]}\n  %w = add(%z, %z)\n"
                                    "  output %w\n");
  text_put(&t, "}\n");
  Module *m = module_parse(t.at, NULL, d);
  text_free(&t);
  return m;
}

static void run_grad_case(const GradCase *c, const RunForm *f) {
  symbols_reset();
  Diags d = {0};
  Module *m = grad_module(c, &d);
  cr_assert(m, "%s", d.errors ? d.at[0].text : "no module");
  const Tensor *in[5];
  Tensor *out[3] = {0};
  Case sizes = {.queries = c->queries, .keys = c->keys};
  Eval e;
  evaluate_case(&e, m, &sizes, in);
  const Tensor *want[3];
  for (int k = 0; k < c->outputs; k++) want[k] = eval_value(&e, m->main->outputs.at[k]);
  form_run(m, f, in, out, &d);
  for (int k = 0; k < c->outputs; k++) {
    double worst = worst_difference(want[k], out[k]);
    cr_expect(worst < 3e-5, "%s%s, gradient %d, result %d: off by %g", f->target, f->naive ? " naive" : "",
              (int)(c - grad_cases), k, worst);
  }
  eval_end(&e);
  module_free(m);
  diags_free(&d);
}

Test(attention, gradient_against_the_evaluator) {
  for (size_t k = 0; k < sizeof grad_cases / sizeof *grad_cases; k++)
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) run_grad_case(&grad_cases[k], &forms[f]);
}

/* ---- what the gradient of a graph becomes ---- */

static int grad_nodes(const char *more) {
  Diags d = {0};
  Text t = {0};
  symbols_reset();
  text_put(&t, "module t {\n  input %q : f32[2,3,4]\n  input %k : f32[2,3,4]\n  input %v : f32[2,3,5]\n"
               "  weight %c : f32[] = [0.5]\n  weight %low : f32[] = [-inf]\n  %t = transpose(%k) {perm=[0,2,1]}\n"
               "  %s = matmul(%q, %t)\n  %x = mul(%s, %c)\n"
               "  %j = iota() {dtype=i64, shape=[3,3], axis=1}\n  %i = iota() {dtype=i64, shape=[3,3], axis=0}\n"
               "  %g = gt(%j, %i)\n  %z = where(%g, %low, %x)\n  %p = softmax(%z) {axis=2}\n  %y = matmul(%p, %v)\n"
               "  %l = reduce_sum(%y) {axes=[0,1,2], keepdims=0}\n  %dq = gradient(%l, %q)\n  output %dq\n");
  text_printf(&t, "%s}\n", more);
  Module *m = module_parse(t.at, NULL, &d);
  cr_assert(m && module_expand(m, EXPAND_GRADIENTS), "%s", d.errors ? d.at[0].text : "?");
  int found = 0;
  for (int k = 1; k < m->nodes.len; k++) {
    const Node *n = node_of(m, (NodeId)k);
    if (n->dead || n->op != OP_ATTENTION_GRAD) continue;
    found++;
    cr_expect_float_eq(node_float(n, "scale", 1), 0.5, 0);
    cr_expect(node_dims(n, "ahead") && dim_is(node_dims(n, "ahead")->dims[0], 0));
  }
  module_free(m);
  text_free(&t);
  diags_free(&d);
  return found;
}

Test(attention, gradient_as_a_whole) {
  cr_expect_eq(grad_nodes(""), 1);
  cr_expect_eq(grad_nodes("  output %p\n"), 0, "shares are kept anyway");
  cr_expect_eq(grad_nodes("  %m = mul(%dq, %dq)\n  %n = reduce_sum(%m) {axes=[0,1,2], keepdims=0}\n"
                          "  %ddv = gradient(%n, %v)\n  output %ddv\n"), 0, "its own gradient is asked for");
}
