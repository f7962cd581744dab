/* Kernels that train convolutions: forward with computed weights, gradients of inputs and weights, pools. Every shape
 * goes through all passes and the loop interpreter, tiled, vectorised, scalar and naive, and must give what the
 * evaluator does. x and dy arrive channels-last, as from a convolution before and after, or row-major. */
#include "tests/unit/evaluate.h"
#include <string.h>

typedef struct Shape { int n, c, m, h, w, kh, kw, stride, pad_begin, pad_end, dilation, group; } Shape;

static const Shape shapes[] = {
  {2, 5, 16, 7, 8, 3, 3, 1, 1, 1, 1, 1},       // channels that do not fill a tile
  {3, 6, 20, 9, 9, 3, 2, 2, 1, 0, 1, 1},       // panels and a tail; stride; asymmetric pads
  {2, 4, 8, 8, 7, 2, 3, 1, 2, 1, 2, 1},        // dilated
  {2, 1, 16, 10, 10, 5, 5, 1, 0, 0, 1, 1},     // few input channels: taps are rows
  {2, 3, 24, 9, 8, 7, 7, 2, 3, 3, 1, 1},       // some taps are rows
  {2, 8, 8, 6, 6, 3, 3, 1, 1, 1, 1, 8},        // depthwise
  {2, 20, 20, 7, 7, 3, 3, 2, 1, 1, 1, 20},     // depthwise with a tail
  {2, 8, 24, 6, 5, 3, 3, 1, 1, 1, 1, 2},       // groups
  {2, 12, 40, 4, 4, 1, 1, 1, 0, 0, 1, 1},      // 1x1
  {5, 7, 16, 5, 5, 1, 1, 2, 0, 0, 1, 1},       // 1x1 with a stride
  {7, 4, 8, 12, 11, 3, 3, 1, 1, 1, 1, 1},      // several blocks of pixels, the last smaller
  {2, 4, 8, 20, 19, 3, 3, 1, 1, 1, 1, 1},      // blocks of rows
  {3, 5, 8, 1, 300, 1, 3, 1, 0, 0, 1, 1},      // pieces of a row
  {20, 5, 12, 6, 7, 2, 2, 1, 0, 0, 1, 1},      // ranges of images that are summed apart, each of a block and a piece
  {2, 4, 2, 5, 5, 3, 3, 1, 1, 1, 1, 1},        // too few outputs for a tile
  {2, 16, 32, 9, 10, 3, 3, 1, 1, 1, 1, 1},     // Winograd: all tiles at once, some stick out
  {9, 16, 16, 12, 18, 3, 3, 1, 1, 1, 1, 1},    // blocks of tiles, the last smaller
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static int out_size(int in, int k, const Shape *s) {
  return (in + s->pad_begin + s->pad_end - (k - 1) * s->dilation - 1) / s->stride + 1;
}

/* y = conv(x, w, b), its gradients by the rules; `last`: x and dy from a depthwise 1x1. */
static const char *conv_module(Arena *a, const Shape *s, bool last) {
  Text t = {0};
  int oh = out_size(s->h, s->kh, s), ow = out_size(s->w, s->kw, s);
  text_printf(&t, "module t {\n  input %%x0 : f32[%d,%d,%d,%d]\n  input %%g0 : f32[%d,%d,%d,%d]\n"
                  "  input %%w : f32[%d,%d,%d,%d]\n  input %%b : f32[%d]\n",
              s->n, s->c, s->h, s->w, s->n, s->m, oh, ow, s->m, s->c / s->group, s->kh, s->kw, s->m);
  static const char unit[] = "strides=[1,1], pads=[0,0,0,0], dilations=[1,1]";
  if (last)
    text_printf(&t,
                "  weight %%i : f32[%d,1,1,1] = random 1\n  weight %%j : f32[%d,1,1,1] = random 2\n"
                "  %%x = conv(%%x0, %%i) {%s, group=%d}\n  %%g = conv(%%g0, %%j) {%s, group=%d}\n",
                s->c, s->m, unit, s->c, unit, s->m);
  const char *x = last ? "x" : "x0", *g = last ? "g" : "g0";
  text_printf(&t,
              "  %%y = conv(%%%s, %%w, %%b) {strides=[%d,%d], pads=[%d,%d,%d,%d], dilations=[%d,%d], group=%d}\n",
              x, s->stride, s->stride, s->pad_begin, s->pad_begin, s->pad_end, s->pad_end, s->dilation, s->dilation,
              s->group);
  text_printf(&t, "  %%p = mul(%%y, %%%s)\n  %%l = reduce_sum(%%p) {axes=[0,1,2,3], keepdims=0}\n"
              "  %%dx, %%dw, %%db = gradient(%%l, %%%s, %%w, %%b)\n  output %%y\n  output %%dx\n  output %%dw\n"
              "  output %%db\n}\n", g, x);
  const char *r = arena_strdup(a, t.at);
  text_free(&t);
  return r;
}

static const char *pool_module(Arena *a, const char *pool, int c, bool last) {
  Text t = {0};
  text_printf(&t, "module t {\n  input %%x0 : f32[2,%d,8,9]\n  input %%w : f32[%d,%d,1,1]\n", c, c, c);
  if (last) text_printf(&t, "  %%x = conv(%%x0, %%w) {strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1}\n");
  text_printf(&t, "  %%y = %s\n  %%p = mul(%%y, %%y)\n  %%l = reduce_sum(%%p) {axes=[0,1,2,3], keepdims=0}\n", pool);
  text_printf(&t, "  %%dx = gradient(%%l, %s)\n  %%z = relu(%%dx)\n  output %%z\n}\n", last ? "%x" : "%x0");
  const char *r = arena_strdup(a, t.at);
  text_free(&t);
  return r;
}

/* parts: of every kernel that can be shared */
typedef struct Form { const char *target; bool naive; int parts; Winograd winograd; } Form;
static const Form forms[] = {{"x86-64-v4", false, 1, WINOGRAD_AUTO}, {"x86-64-v3", false, 1, WINOGRAD_AUTO},
                             {"c99", false, 1, WINOGRAD_AUTO}, {"x86-64", true, 1, WINOGRAD_AUTO},
                             {"x86-64-v3", false, 2, WINOGRAD_AUTO}, {"x86-64-v3", false, 7, WINOGRAD_AUTO},
                             {"c99", false, 3, WINOGRAD_AUTO}, {"x86-64-v4", false, 1, WINOGRAD_F4},
                             {"x86-64-v3", false, 1, WINOGRAD_F4}, {"x86-64-v3", false, 3, WINOGRAD_F4},
                             {"x86-64-v3", false, 1, WINOGRAD_F2}};
enum { FORMS = sizeof forms / sizeof *forms, PLAIN_FORMS = 7, MOST = 8 };   /* the rest: for 3x3 kernels */

static void expect_close(const Tensor *got, const Tensor *want, double bound, const char *what, int output) {
  double most = 1e-30, worst = 0;
  for (int64_t i = 0; i < tensor_count(want); i++) {
    most = fmax(most, fabs(tensor_get(want, i)));
    worst = fmax(worst, fabs(tensor_get(got, i) - tensor_get(want, i)));
    if (isnan(tensor_get(got, i))) worst = HUGE_VAL;
  }
  cr_expect(worst <= bound * most, "%s: output %d differs by %g of %g", what, output, worst, most);
}

/* The evaluator knows no `gradient`: expands it. */
static void expand(Module *m, Arena *a) {
  PassContext c;
  PassOptions o = {0};
  pass_begin(&c, m, target_find("c99"), &o, a);
  cr_assert(pass_run(&c, pass_find("grad")));
  pass_end(&c);
}

static void check(const char *text, int nforms, const char *what) {
  for (int f = 0; f < nforms; f++) {
    symbols_reset();
    Diags d = {0};
    Arena a = {0};
    char name[300];
    static const char *const tiles[] = {[WINOGRAD_F2] = " f2", [WINOGRAD_F4] = " f4"};
    snprintf(name, sizeof name, "%s%s%s: %s", forms[f].target, forms[f].naive ? " naive" : "",
             forms[f].winograd ? tiles[forms[f].winograd] : "", what);
    Module *m[2] = {module_parse(text, NULL, &d), module_parse(text, NULL, &d)};
    cr_assert(m[0] && m[1], "%s: %s\n%s", name, d.len ? d.at[0].text : "?", text);
    PassOptions o = {.naive = forms[f].naive, .verify = true, .winograd = forms[f].winograd,
                     .part_cycles = forms[f].parts > 1 ? 1 : 0};
    Program *p = compile_module(m[0], target_find(forms[f].target), &o, &a);
    cr_assert(p, "%s: %s\n%s", name, d.len ? d.at[0].text : "?", text);
    const Tensor *in[MOST] = {0};
    Tensor *out[MOST] = {0};
    expand(m[1], &a);
    Eval e;
    eval_begin(&e, m[1]);
    for (int k = 0; k < m[1]->main->inputs.len; k++) {
      in[k] = random_input(&a, &value_of(m[1], m[1]->main->inputs.at[k])->type, k);
      eval_bind_input(&e, k, in[k]);
    }
    cr_assert(eval_graph(&e, m[1]->main), "%s: %s", name, d.len ? d.at[0].text : "?");
    cr_assert(program_run_parts(p, forms[f].parts, in, out, &a, &d), "%s: %s", name, d.len ? d.at[0].text : "?");
    for (int k = 0; k < m[1]->main->outputs.len; k++)
      expect_close(out[k], eval_value(&e, m[1]->main->outputs.at[k]), forms[f].winograd ? 1e-5 : 2e-6, name, k);
    eval_end(&e);
    module_free(m[0]);
    module_free(m[1]);
    arena_free(&a);
    diags_free(&d);
  }
}

Test(grad_kernels, convolutions) {
  for (int k = 0; k < SHAPES; k++)
    for (int last = 0; last < 2; last++) {
      Arena a = {0};
      char what[120];
      const Shape *s = &shapes[k];
      snprintf(what, sizeof what, "%d->%d %dx%d kernel %dx%d stride %d group %d%s", s->c, s->m, s->h, s->w, s->kh,
               s->kw, s->stride, s->group, last ? " channels-last" : "");
      bool filter = s->kh == 3 && s->kw == 3 && s->stride == 1 && s->dilation == 1 && s->group == 1;
      check(conv_module(&a, s, last), filter && last ? FORMS : PLAIN_FORMS, what);
      arena_free(&a);
    }
}

Test(grad_kernels, pools) {
  static const char *const pools[] = {
    "max_pool(%s) {kernel=[2,3], strides=[2,3], pads=[0,0,0,0], dilations=[1,1], ceil=0}",       // tiles
    "max_pool(%s) {kernel=[3,3], strides=[2,2], pads=[1,1,1,1], dilations=[1,1], ceil=1}",
    "max_pool(%s) {kernel=[2,2], strides=[1,2], pads=[0,0,0,0], dilations=[2,1], ceil=0}",
    "avg_pool(%s) {kernel=[2,3], strides=[2,3], pads=[0,0,0,0], dilations=[1,1], ceil=0, count_include_pad=1}",
    "avg_pool(%s) {kernel=[3,2], strides=[2,2], pads=[1,0,1,1], dilations=[1,1], ceil=1, count_include_pad=0}",
    "avg_pool(%s) {kernel=[3,2], strides=[2,2], pads=[1,0,1,1], dilations=[1,1], ceil=1, count_include_pad=1}",
    "lp_pool(%s) {kernel=[2,2], strides=[2,2], pads=[0,0,0,0], dilations=[1,1], ceil=0, p=3}",
  };
  for (size_t k = 0; k < sizeof pools / sizeof *pools; k++)
    for (int last = 0; last < 2; last++)
      for (int c = 2; c < 12; c += 9) {
        Arena a = {0};
        check(pool_module(&a,
                          arena_printf(&a, "%.*s(%s%s", (int)strcspn(pools[k], "("), pools[k], last ? "%x" : "%x0",
                                       strchr(pools[k], ')')),
                          c, last),
              PLAIN_FORMS, pools[k]);
        arena_free(&a);
      }
}

/* The rule's op against the evaluator; see test_eval.c for whether it is the slope. A rounded weight may differ by
 * order. */
Test(grad_kernels, sampling) {
  static const char *const samples[] = {
      "roi_align(%x, %r, %b) {height=2, width=3, ratio=0, max=0}",
      "roi_align(%x, %r, %b) {height=2, width=3, ratio=2, max=1}",
      "grid_sample(%x, %g) {mode=\"linear\", padding=\"zeros\", align_corners=0}",
      "grid_sample(%x, %g) {mode=\"linear\", padding=\"border\", align_corners=1}",
      "grid_sample(%x, %g) {mode=\"cubic\", padding=\"reflection\", align_corners=0}",
  };
  for (size_t k = 0; k < sizeof samples / sizeof *samples; k++)
    for (int last = 0; last < 2; last++) {
      Arena a = {0};
      check(arena_printf(&a,
                         "module t {\n  input %%x0 : f32[2,9,6,5]\n  input %%w : f32[9,9,1,1]\n"
                         "  input %%g : f32[2,3,4,2]\n"
                         "  weight %%r : f32[3,4] = [0,0.5,4,3, 1.5,1,3,5, -3,0,2,4]\n"
                         "  weight %%b : i64[3] = [0,1,1]\n%s  %%y = %s\n"
                         "  %%p = mul(%%y, %%y)\n  %%l = reduce_sum(%%p) {axes=[0,1,2,3], keepdims=0}\n"
                         "  %%dx, %%dg = gradient(%%l, %s, %%g)\n"
                         "  %%z = relu(%%dx)\n  output %%z\n  output %%dg\n}\n",
                         last ? "  %x = conv(%x0, %w) {strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1}\n"
                              : "  %x = copy(%x0)\n",
                         samples[k], "%x"),
            PLAIN_FORMS, samples[k]);
      arena_free(&a);
    }
}

/* Through time: one sequence and several, weights that are read forwards and backwards, both forms of gru. */
Test(grad_kernels, recurrent) {
  static const char *const layers[] = {
    "lstm:4:1:", "lstm:4:5:", "gru:3:1:, linear_before_reset=1", "gru:3:5:, linear_before_reset=0", "rnn:1:3:",
  };
  for (size_t k = 0; k < sizeof layers / sizeof *layers; k++)
    for (int n = 1; n < 3; n++) {
      Arena a = {0};
      const char *gates = strchr(layers[k], ':') + 1, *batch = strchr(gates, ':') + 1, *more = strchr(batch, ':') + 1;
      int h = 24, g = atoi(gates) * h, b = atoi(batch);
      const char *op = arena_printf(&a, "%.*s", (int)(gates - layers[k]) - 1, layers[k]);
      check(arena_printf(&a,
                         "module t {\n  input %%x : f32[4,%d,6]\n  input %%w : f32[%d,%d,6]\n"
                         "  input %%r : f32[%d,%d,%d]\n"
                         "  %%y, %%h%s = %s(%%x, %%w, %%r) {hidden=%d, direction=\"%s\", activations=s[], alpha=f[], beta=f[], clip=0.0%s%s}\n"
                         "  %%p = mul(%%y, %%y)\n  %%l = reduce_sum(%%p) {axes=[0,1,2,3], keepdims=0}\n"
                         "  %%dx, %%dw, %%dr = gradient(%%l, %%x, %%w, %%r)\n"
                         "  output %%dx\n  output %%dw\n  output %%dr\n}\n",
                         b, n, g, n, g, h, g == 4 * h ? ", %c" : "", op, h, n == 2 ? "bidirectional" : "reverse",
                         g == 4 * h ? ", input_forget=0" : "", more),
            PLAIN_FORMS, layers[k]);
      arena_free(&a);
    }
}
