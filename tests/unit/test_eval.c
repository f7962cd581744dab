/* The evaluator: the table of eval_cases.h, then symbols, control flow, failures and the runtime's functions. */
#include "ir/eval.h"
#include "tests/unit/cases.h"
#include "base/intern.h"
#include "runtime/lt_ops.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void run_case(const Case *c) {
  Diags d = {0};
  Module *m = module_new("case", &d);
  Op op = op_from_text(c->op);
  ValueId in[MAX_IN] = {0};
  Attr attrs[16];
  int nin = 0;
  char what[400];
  snprintf(what, sizeof what, "%s {%s} of %s", c->op, c->attrs, c->in[0] ? c->in[0] : "nothing");
  cr_assert(op != OP_NONE, "%s: no such op", what);
  for (int k = 0; k < MAX_IN && c->in[k]; k++, nin++)
    if (*c->in[k]) in[k] = graph_add_constant(m, NULL, read_tensor(&m->perm, c->in[k]));
  int nattr = read_attrs(m, op, c->attrs, attrs);
  NodeId n = graph_add_node(m->main, op, in, nin, case_outputs(c), attrs, nattr);
  Eval e;
  eval_begin(&e, m);
  bool ok = !d.errors && eval_node(&e, n);
  cr_expect(ok, "%s: %s", what, d.errors ? d.at[0].text : "failed without a word");
  for (int k = 0; ok && k < MAX_OUT && c->out[k]; k++)
    if (*c->out[k]) expect_tensor(eval_value(&e, node_of(m, n)->out[k]), read_tensor(&m->perm, c->out[k]), what);
  eval_end(&e);
  module_free(m);
  diags_free(&d);
}

Test(eval, table) {
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) run_case(&cases[k]);
}

/* Every op but control flow and random (below) has a row. */
Test(eval, table_is_complete) {
  for (int o = OP_NONE + 1 + SCALAR_COUNT; o < OP_COUNT; o++) {
    bool found = op_info[o].how == HOW_CONTROL || op_info[o].how == HOW_DECOMPOSE || o == OP_RANDOM;
    for (size_t k = 0; k < sizeof cases / sizeof *cases && !found; k++) found = !strcmp(cases[k].op, op_info[o].text);
    cr_expect(found, "no case for %s", op_info[o].text);
  }
}

/* ---- whole modules, given as text ---- */

static Diags diags;
static Module *module;
static Eval eval;

static void load(const char *text) {
  symbols_reset();
  diags = (Diags){0};
  module = module_parse(text, NULL, &diags);
  if (!module) diags_print(&diags, stderr);
  cr_assert(module);
  eval_begin(&eval, module);
}

static void unload(void) {
  eval_end(&eval);
  module_free(module);
  diags_free(&diags);
}

static bool give(int k, const char *tensor) { return eval_bind_input(&eval, k, read_tensor(&module->perm, tensor)); }

static void expect_output(int k, const char *want) {
  expect_tensor(eval_value(&eval, module->main->outputs.at[k]), read_tensor(&module->perm, want), want);
}

static void expect_error(const char *part) {
  cr_expect(diags.errors > 0 && strstr(diags.at[diags.len - 1].text, part), "no '%s' in '%s'", part,
            diags.errors ? diags.at[diags.len - 1].text : "");
}

Test(eval, input_symbols) {
  load("module m {\n"
       "  dim N in 1..32\n"
       "  input %a : f32[N + 1]\n"
       "  input %b : f32[N,2]\n"
       "  %y : f32[2*N] = reshape(%b) {shape=[2*N]}\n"
       "  %n : i64[1] = dims() {dims=[N], rank=1}\n"
       "  output %y\n  output %n\n}\n");
  cr_assert(give(0, "f32[3] 1 2 3"));                   // N + 1 = 3
  cr_assert(!give(1, "f32[3,2] 1 2 3 4 5 6"));
  expect_error("input 'b' is f32[3,2], the model takes f32[N,2]; N = 2");
  cr_assert(give(1, "f32[2,2] 1 2 3 4"));
  cr_assert(eval_graph(&eval, module->main));
  expect_output(0, "f32[4] 1 2 3 4");
  expect_output(1, "i64[1] 2");
  unload();
}

Test(eval, input_out_of_bounds) {
  load("module m {\n  dim N in 1..4\n  input %a : f32[N]\n  output %a\n}\n");
  cr_assert(!give(0, "f32[5] 1 2 3 4 5"));
  expect_error("makes N = 5, but it was declared to be in 1..4");
  cr_assert(!give(0, "i32[2] 1 2"));
  expect_error("the model takes f32[N]");
  unload();
}

Test(eval, length_that_depends_on_data) {
  load("module m {\n"
       "  dim nonzero in 0..6\n"
       "  input %x : f32[6]\n"
       "  %i : i64[nonzero] = nonzero(%x)\n"
       "  %y : f32[nonzero] = gather(%x, %i) {axis=0}\n"
       "  %z : f32[nonzero] = add(%y, %y)\n"
       "  output %z\n}\n");
  cr_assert(give(0, "f32[6] 0 1 0 2 3 0"));
  cr_assert(eval_graph(&eval, module->main));
  expect_output(0, "f32[3] 2 4 6");
  cr_assert(give(0, "f32[6] 0 0 0 0 0 0"));             // again, with another length
  cr_assert(eval_graph(&eval, module->main));
  expect_output(0, "f32[0]");
  unload();
}

Test(eval, if_runs_one_branch) {
  load("module m {\n"
       "  input %c : bool[]\n  input %x : f32[2]\n"
       "  %y : f32[2] = if(%c)\n"
       "    region then() {\n      %r : f32[2] = neg(%x)\n      yield %r\n    }\n"
       "    region else() {\n      yield %x\n    }\n"
       "  output %y\n}\n");
  cr_assert(give(1, "f32[2] 1 2"));
  for (int c = 0; c < 2; c++) {
    cr_assert(give(0, c ? "bool[] 1" : "bool[] 0"));
    cr_assert(eval_graph(&eval, module->main));
    expect_output(0, c ? "f32[2] -1 -2" : "f32[2] 1 2");
  }
  unload();
}

/* s += i while s < 4: stops after i = 0 1 2 3; collects s before each addition doubled */
Test(eval, loop_carries_and_collects) {
  load("module m {\n"
       "  dim loop_trips in 0..10\n"
       "  input %n : i64[]\n  input %go : bool[]\n  input %s0 : i64[]\n"
       "  weight %four : i64[] = [4]\n"
       "  %s : i64[], %all : i64[loop_trips] = loop(%n, %go, %s0)\n"
       "    region body(%i : i64[], %c : bool[], %v : i64[]) {\n"
       "      %w : i64[] = add(%v, %i)\n"
       "      %more : bool[] = lt(%w, %four)\n"
       "      %d : i64[] = add(%v, %v)\n"
       "      yield %more, %w, %d\n    }\n"
       "  output %s\n  output %all\n}\n");
  struct { const char *n, *go, *s, *all; } want[] = {
    {"i64[] 10", "bool[] 1", "i64[] 6", "i64[4] 0 0 2 6"},
    {"i64[] 2", "bool[] 1", "i64[] 1", "i64[2] 0 0"},
    {"i64[] 10", "bool[] 0", "i64[] 0", "i64[0]"},
    {"i64[] -3", "bool[] 1", "i64[] 0", "i64[0]"},
  };
  for (size_t k = 0; k < sizeof want / sizeof *want; k++) {
    cr_assert(give(0, want[k].n) && give(1, want[k].go) && give(2, "i64[] 0"));
    cr_assert(eval_graph(&eval, module->main), "%s", diags.errors ? diags.at[0].text : "");
    expect_output(0, want[k].s);
    expect_output(1, want[k].all);
  }
  unload();
}

/* running sum over the columns, from the last, collected as columns */
Test(eval, scan_axes_and_directions) {
  load(
      "module m {\n"
      "  input %h : f32[2]\n  input %x : f32[2,3]\n"
      "  %last : f32[2], %all : f32[2,3] = scan(%h, %x) {scan_inputs=1, in_axes=[1], in_reverse=[1], out_axes=[1], out_reverse=[1]}\n"
      "    region body(%s : f32[2], %c : f32[2]) {\n"
      "      %t : f32[2] = add(%s, %c)\n"
      "      yield %t, %t\n    }\n"
      "  output %last\n  output %all\n}\n");
  cr_assert(give(0, "f32[2] 0 100") && give(1, "f32[2,3] 1 2 3 4 5 6"));
  cr_assert(eval_graph(&eval, module->main), "%s", diags.errors ? diags.at[0].text : "");
  expect_output(0, "f32[2] 6 115");
  expect_output(1, "f32[2,3] 6 5 3 115 111 106");
  unload();
}

Test(eval, failures_say_why) {
  load("module m {\n  input %x : f32[3]\n  input %i : i64[1]\n  %y : f32[1] = gather(%x, %i) {axis=0}\n  output %y\n"
       "}\n");
  cr_assert(!eval_graph(&eval, module->main));
  expect_error("input 0 ('x') has no value");
  cr_assert(give(0, "f32[3] 1 2 3") && give(1, "i64[1] 3"));
  cr_assert(!eval_graph(&eval, module->main));
  expect_error("index 3 is outside an axis of size 3");
  unload();
}

Test(eval, strings) {
  Diags d = {0};
  Module *m = module_new("strings", &d);
  Tensor *numbers = read_tensor(&m->perm, "f32[3] 0.1 -2.5 inf");
  Attr to_string = attr_dtype(intern("to"), DT_STRING), to_f32 = attr_dtype(intern("to"), DT_F32);
  ValueId x = graph_add_constant(m, NULL, numbers), text = graph_op(m->main, OP_CAST, &x, 1, &to_string, 1);
  ValueId back = graph_op(m->main, OP_CAST, &text, 1, &to_f32, 1);
  ValueId same = graph_op(m->main, scalar_op(S_EQ), (ValueId[]){text, text}, 2, NULL, 0);
  Eval e;
  eval_begin(&e, m);
  cr_assert(!d.errors && eval_graph(&e, m->main), "%s", d.errors ? d.at[0].text : "");
  const char *const *s = eval_value(&e, text)->data;
  cr_expect_str_eq(s[0], "0.1");
  cr_expect_str_eq(s[1], "-2.5");
  expect_tensor(eval_value(&e, back), numbers, "there and back");
  expect_tensor(eval_value(&e, same), read_tensor(&m->perm, "bool[3] 1 1 1"), "eq");
  eval_end(&e);
  module_free(m);
  diags_free(&d);
}

/* ---- runtime/ ---- */

/* The known answers published with Random123 (kat_vectors, philox4x32 10). */
Test(random, philox_known_answers) {
  static const struct { uint32_t counter[4], key[2], want[4];
  } known[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
    uint32_t out[4];
    lt_philox(known[k].counter, known[k].key, out);
    cr_expect(!memcmp(out, known[k].want, sizeof out), "vector %zu: %08x %08x %08x %08x", k, out[0], out[1], out[2],
              out[3]);
  }
}

Test(random, a_function_of_seed_step_stream_and_index) {
  enum { N = 20000 };
  static float a[N], b[N];
  int64_t step = 0;
  lt_random_uniform(NULL, a, 1, N, 7, 1, 1, 0);
  lt_random_uniform(&step, b, 1, 10, 7, 1, 1, 0);
  cr_expect(!memcmp(a, b, 10 * sizeof *a), "no step is step 0, and a prefix does not depend on the length");
  step = 1;
  lt_random_uniform(&step, b, 1, N, 7, 1, 1, 0);
  cr_expect(memcmp(a, b, 10 * sizeof *a));
  lt_random_uniform(NULL, b, 1, N, 7, 2, 1, 0);
  cr_expect(memcmp(a, b, 10 * sizeof *a));
  lt_random_uniform(NULL, b, 1, N, 8, 1, 1, 0);
  cr_expect(memcmp(a, b, 10 * sizeof *a));
  lt_random_normal(NULL, b, 1, N, 7, 1, 1, 0);
  double mean = 0, normal_mean = 0, normal_square = 0;
  for (int i = 0; i < N; i++) {
    cr_assert(a[i] >= 0 && a[i] < 1 && isfinite(b[i]));
    mean += a[i] / N; normal_mean += b[i] / N; normal_square += b[i] * b[i] / N;
  }
  cr_expect(fabs(mean - 0.5) < 0.01 && fabs(normal_mean) < 0.03 && fabs(normal_square - 1) < 0.05,   // 4 to 5 sigma
            "%g %g %g", mean, normal_mean, normal_square);
}

/* The two ways of lt_topk (few kept in order; all sorted) agree where they meet. */
Test(runtime, topk_small_and_large) {
  enum { N = 200, K = 65 };
  static int32_t x[N], v[K], w[K];
  static int64_t i[K], j[K], scratch[3 * N];
  for (int k = 0; k < N; k++) x[k] = k * 7919 % 31;
  for (int largest = 0; largest < 2; largest++) {
    lt_topk(x, v, i, scratch, LT_I32, 1, N, 1, K, largest);
    lt_topk(x, w, j, scratch, LT_I32, 1, N, 1, K - 1, largest);
    cr_expect(!memcmp(v, w, (K - 1) * sizeof *v) && !memcmp(i, j, (K - 1) * sizeof *i));
    for (int k = 1; k < K; k++) {
      cr_expect(largest ? v[k - 1] >= v[k] : v[k - 1] <= v[k]);
      cr_expect(v[k - 1] != v[k] || i[k - 1] < i[k]);
    }
  }
}

/* By every element of x, in steps of 1/64: x and the regions are fractions of 2, so that nothing is rounded much. */
Test(runtime, roi_align_grad_is_the_slope) {
  enum { C = 2, H = 5, W = 6, PH = 2, PW = 3, R = 4, NX = 2 * C * H * W, NY = R * C * PH * PW };
  static const float rois[4 * R] = {0, 0.5f, 4.5f, 3, 1.5f, 1, 3, 5, -3, 0, 2, 4, 1, 1, 2, 2}, h = 1 / 64.f;
  static const int64_t batch[R] = {0, 1, -1, 5};
  static float x[NX], y[NY], z[NY], dy[NY], dx[NX];
  for (int k = 0; k < NX; k++) x[k] = (float)(k * 37 % 119 - 40) / 8;
  for (int k = 0; k < NY; k++) dy[k] = (float)(k * 29 % 53 - 26) / 16;
  for (int max = 0; max < 2; max++)
    for (int ratio = 0; ratio < 3; ratio++) {
      lt_roi_align(x, rois, batch, y, 2, C, H, W, R, PH, PW, ratio, max);
      lt_roi_align_grad(x, rois, batch, dy, dx, 2, C, H, W, R, PH, PW, ratio, max);
      for (int k = 0; k < NX; k++) {
        float old = x[k], slope = 0;
        x[k] += h;
        lt_roi_align(x, rois, batch, z, 2, C, H, W, R, PH, PW, ratio, max);
        x[k] = old;
        for (int i = 0; i < NY; i++) slope += dy[i] * (z[i] - y[i]) / h;
        cr_expect(fabsf(slope - dx[k]) < 1e-3f, "max %d, ratio %d: element %d is %g, not %g", max, ratio, k, dx[k],
                  slope);
      }
    }
}
