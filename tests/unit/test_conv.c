/* Convolutions of every form that a generator knows, each between its neighbours: every shape goes through all passes
 * and the loop interpreter, for wide and narrow vectors, scalar and naive, and must give what the evaluator does. */
#include "tests/unit/evaluate.h"

/* size[0] 0: one spatial axis */
typedef struct Shape { int n, in, out, size[2], kernel[2], stride, dilation, pad, group; } Shape;

static const Shape shapes[] = {
  // depthwise: tails of channels, lines in two sizes of tiles, windows that are loops, strides, dilations
  {1, 8, 8, {5, 9}, {3, 3}, 1, 1, 1, 8},
  {2, 13, 13, {6, 29}, {3, 3}, 1, 1, 1, 13},
  {1, 20, 20, {9, 17}, {5, 5}, 2, 1, 2, 20},
  {1, 19, 19, {7, 23}, {3, 3}, 1, 2, 2, 19},
  {1, 9, 9, {4, 31}, {1, 9}, 1, 1, 4, 9},
  {1, 16, 16, {7, 7}, {7, 7}, 1, 1, 3, 16},
  {1, 24, 24, {0, 40}, {1, 3}, 2, 1, 1, 24},
  {1, 17, 17, {6, 1}, {3, 1}, 1, 1, 0, 17},
  {1, 16, 16, {5, 6}, {1, 1}, 1, 1, 0, 16},
  {1, 200, 200, {3, 14}, {3, 3}, 1, 1, 1, 200},      // a tile walks down, all channels at once
  {1, 1000, 1000, {3, 8}, {3, 3}, 1, 1, 1, 1000},    // … and in blocks of channels, the last smaller
  // two and three channels out of each
  {1, 16, 32, {7, 7}, {7, 7}, 2, 1, 3, 16},
  {2, 13, 39, {6, 11}, {3, 3}, 1, 1, 1, 13},
  {1, 40, 80, {0, 12}, {1, 5}, 1, 1, 2, 40},
  // few channels out, odd numbers of them, few in
  {1, 3, 16, {9, 9}, {3, 3}, 2, 1, 1, 1},
  {1, 16, 3, {6, 11}, {3, 3}, 1, 1, 1, 1},
  {1, 64, 1, {5, 9}, {1, 1}, 1, 1, 0, 1},
  {1, 40, 2, {5, 13}, {3, 3}, 1, 1, 1, 1},
  {2, 19, 5, {4, 6}, {3, 3}, 1, 1, 1, 1},
  {1, 32, 9, {5, 14}, {3, 3}, 1, 1, 1, 1},
  {1, 64, 13, {6, 7}, {1, 1}, 1, 1, 0, 1},
  {1, 8, 103, {5, 8}, {1, 1}, 1, 1, 0, 1},
  // groups, strides, one axis
  {1, 12, 18, {7, 8}, {3, 3}, 1, 1, 1, 3},
  {1, 32, 20, {7, 8}, {3, 3}, 2, 1, 1, 4},
  {1, 32, 40, {9, 9}, {1, 1}, 2, 1, 0, 1},
  {1, 24, 40, {0, 33}, {1, 5}, 1, 2, 4, 1},
  {1, 48, 64, {14, 14}, {3, 3}, 1, 1, 1, 1},
  // tiles that run on from line to line; and by blocks, too
  {2, 9, 24, {14, 14}, {3, 3}, 2, 1, 1, 1},
  {1, 16, 33, {9, 13}, {3, 3}, 2, 2, 2, 1},
  {1, 20, 16, {5, 5}, {3, 3}, 1, 1, 0, 1},
  {1, 128, 64, {39, 33}, {1, 1}, 2, 1, 0, 1},
};

/* followed by gelu, which sums go through in turn */
static const Shape with_gelu[] = {
  {1, 12, 32, {14, 13}, {3, 3}, 2, 1, 1, 1},
  {1, 24, 32, {14, 14}, {1, 1}, 2, 1, 0, 2},
  {1, 40, 24, {5, 6}, {1, 1}, 1, 1, 0, 1},
};

static const RunForm forms[] = {
  {"x86-64-v4", false, 1}, {"x86-64-v3", false, 1}, {"x86-64", false, 1}, {"c99", false, 1}, {"x86-64-v3", true, 1}
};

static void put_pair(Text *t, const char *name, bool one_axis, int a, int b, bool comma) {
  if (one_axis) text_printf(t, "%s=[%d]%s", name, b, comma ? ", " : "");
  else text_printf(t, "%s=[%d,%d]%s", name, a, b, comma ? ", " : "");
}

/* x -> 1x1 convolution -> the convolution -> + its own input where it fits -> end; weights constant or computed. */
static Module *module_make(const Shape *s, const char *end, bool constant, Diags *d) {
  Text t = {0};
  bool line = !s->size[0];
  int pad = s->kernel[0] > 1 ? s->pad : 0;
  char size[40], kernel[40];
  if (line) snprintf(size, sizeof size, "%d", s->size[1]), snprintf(kernel, sizeof kernel, "%d", s->kernel[1]);
  else {
    snprintf(size, sizeof size, "%d,%d", s->size[0], s->size[1]);
    snprintf(kernel, sizeof kernel, "%d,%d", s->kernel[0], s->kernel[1]);
  }
  text_printf(&t, "module t {\n  input %%x : f32[%d,2,%s]\n  weight %%v : f32[%d,2,%s] = random 1\n", s->n, size,
              s->in, line ? "1" : "1,1");
  text_printf(&t, "  %s %%w : f32[%d,%d,%s]%s\n  weight %%b : f32[%d] = random 3\n", constant ? "weight" : "input",
              s->out, s->in / s->group, kernel, constant ? " = random 2" : "", s->out);
  text_printf(&t, "  %%i = conv(%%x, %%v) {%s, group=1}\n",
              line ? "strides=[1], pads=[0,0], dilations=[1]" : "strides=[1,1], pads=[0,0,0,0], dilations=[1,1]");
  text_put(&t, "  %c = conv(%i, %w, %b) {");
  put_pair(&t, "strides", line, s->stride, s->stride, true);
  put_pair(&t, "dilations", line, s->dilation, s->dilation, true);
  if (line) text_printf(&t, "pads=[%d,%d]", s->pad, s->pad);
  else text_printf(&t, "pads=[%d,%d,%d,%d]", pad, s->pad, pad, s->pad);
  text_printf(&t, ", group=%d}\n", s->group);
  bool same = s->in == s->out && s->stride == 1 && (s->kernel[0] - 1) * s->dilation == 2 * pad &&
      (s->kernel[1] - 1) * s->dilation == 2 * s->pad;
  if (same) text_put(&t, "  %e = add(%c, %i)\n");
  text_printf(&t, "  %%y = %s(%s)\n  output %%y\n}\n", end, same ? "%e" : "%c");
  Module *m = module_parse(t.at, NULL, d);
  cr_assert(m, "%s\n%s", d->errors ? d->at[0].text : "no module", t.at);
  text_free(&t);
  return m;
}

static void run_shape(const Shape *s, const char *end, const RunForm *f, bool constant) {
  symbols_reset();
  Diags d = {0};
  Module *m = module_make(s, end, constant, &d);
  const Tensor *in[2];
  Tensor *out[1] = {0};
  Eval e;
  evaluate_random(&e, m, in);
  const Tensor *want = eval_value(&e, m->main->outputs.at[0]);
  form_run(m, f, in, out, &d);
  double worst = worst_difference(want, out[0]);
  cr_expect(worst < 1e-4,
            "%s%s: %d x %d->%d, %dx%d, kernel %dx%d, stride %d, dilation %d, groups %d, %s weights: off by %g",
            f->target, f->naive ? " naive" : "", s->n, s->in, s->out, s->size[0], s->size[1], s->kernel[0],
            s->kernel[1], s->stride, s->dilation, s->group, constant ? "constant" : "computed", worst);
  eval_end(&e);
  module_free(m);
  diags_free(&d);
}

static void run_shapes(const Shape *s, size_t n, const char *end) {
  for (size_t k = 0; k < n; k++)
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++)
      for (int constant = 0; constant < 2; constant++) run_shape(&s[k], end, &forms[f], constant);
}

Test(conv, shapes) { run_shapes(shapes, sizeof shapes / sizeof *shapes, "relu"); }
Test(conv, long_epilogues) { run_shapes(with_gelu, sizeof with_gelu / sizeof *with_gelu, "gelu"); }

/* What a tile adds and writes is asked for where the output is larger than half the L2, and nothing else changes. */
Test(conv, asks_for_far_rows) {
  static const Shape far = {1, 40, 40, {41, 41}, {1, 1}, 1, 1, 0, 1}, near = {1, 40, 40, {20, 20}, {1, 1}, 1, 1, 0, 1};
  for (int k = 0; k < 2; k++) {
    symbols_reset();
    Diags d = {0};
    Text t = {0};
    Module *m = module_make(k ? &near : &far, "relu", true, &d);
    Program *p = compile_module(m, target_find("x86-64-v3"), &(PassOptions){.verify = true}, &m->perm);
    cr_assert(p, "%s", d.errors ? d.at[0].text : "?");
    kernel_print(&t, p->kernels.at[p->kernels.len - 1]);
    cr_expect_eq(strstr(t.at, "prefetch") == NULL, k == 1, "%s", t.at);
    text_free(&t);
    module_free(m);
    diags_free(&d);
  }
  run_shape(&far, "relu", &forms[1], true);
}
