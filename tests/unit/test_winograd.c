/* Winograd's transforms: the matrices give the filter they stand for; convolutions of odd sizes, batches, channels that
 * are no multiple of the lanes, with bias, residual and relu go through all passes and the loop interpreter, which
 * checks bounds and poisons memory, and give what the evaluator does; what cannot be transformed is not. */
#include "passes/kernels/winograd.h"
#include "passes/pipeline.h"
#include "tests/unit/evaluate.h"
#include <string.h>

/* An image [images, in, height, width] through a 1x1 convolution, which makes it channels last, then 3x3. Images or
 * height below 0: a free dim, of that size when run. */
typedef struct Shape { int images, in, out, height, width, pad; bool residual, bias; int stride, group; } Shape;

static const Shape shapes[] = {
  {1, 8, 16, 8, 8, 1, false, true, 1, 1},       // whole tiles
  {1, 16, 24, 9, 13, 1, false, true, 1, 1},     // tiles stick out below and to the right
  {1, 5, 9, 7, 10, 1, false, true, 1, 1},       // channels that fill no vector, of input and output; rows 3 beyond
  {1, 19, 19, 6, 7, 1, true, true, 1, 1},       // a last vector of input that overlaps; a residual
  {3, 4, 8, 7, 7, 1, false, false, 1, 1},       // tiles of all images in one block; no bias
  {2, 3, 33, 5, 6, 0, false, true, 1, 1},       // not padded; a panel with a tail
  {1, 16, 16, 1, 1, 1, true, false, 1, 1},      // one pixel
  {1, 2, 4, 1, 19, 1, false, true, 1, 1},       // one row
  {1, 8, 8, 45, 3, 1, true, true, 1, 1},        // one column of tiles
  {3, 96, 4, 27, 27, 1, false, true, 1, 1},     // several blocks, the last not full
  {-2, 6, 12, 9, 5, 1, true, true, 1, 1},       // a batch known when running
  {1, 8, 12, -11, 9, 1, false, true, 1, 1},     // a height known when running
  {-3, 8, 12, -2, 6, 1, true, false, 1, 1},
  {1, 8, 16, 16, 16, 1, false, true, 2, 1},
  {1, 19, 33, 15, 22, 1, true, true, 2, 1},  // the last column is beyond all results; a residual
  {3, 5, 9, 9, 7, 0, false, false, 2, 1},
  {2, 24, 12, 31, 27, 1, false, true, 2, 1}, // several blocks
  {-2, 6, 12, -11, 9, 1, true, true, 2, 1},
  {1, 32, 48, 9, 10, 1, true, true, 1, 4},
  {2, 15, 21, 11, 8, 1, false, true, 2, 3},  // groups that fill no vector
  {1, 64, 64, 40, 41, 1, false, false, 1, 2},
};

static const char *const targets_tried[] = {"x86-64", "x86-64-v3", "x86-64-v4", "aarch64"};

static Module *module_make(const Shape *s, Diags *d) {
  Text t = {0};
  char n[16] = "N", h[16] = "H";
  if (s->images > 0) snprintf(n, sizeof n, "%d", s->images);
  if (s->height > 0) snprintf(h, sizeof h, "%d", s->height);
  text_put(&t, "module t {\n");
  if (s->images < 0) text_put(&t, "  dim N in 1..4\n");
  if (s->height < 0) text_put(&t, "  dim H in 1..30\n");
  text_printf(&t, "  input %%x0 : f32[%s,2,%s,%d]\n  weight %%w0 : f32[%d,2,1,1] = random 1\n", n, h, s->width, s->in);
  text_printf(&t, "  weight %%w : f32[%d,%d,3,3] = random 2\n  weight %%b : f32[%d] = random 3\n", s->out,
              s->in / s->group, s->out);
  text_put(&t, "  %x = conv(%x0, %w0) {strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1}\n");
  int stride = s->stride;
  text_printf(&t, "  %%c = conv(%%x, %%w%s) {strides=[%d,%d], pads=[%d,%d,%d,%d], dilations=[1,1], group=%d}\n",
              s->bias ? ", %b" : "", stride, stride, s->pad, s->pad, s->pad, s->pad, s->group);
  if (s->residual)
    text_printf(&t,
                "  weight %%w1 : f32[%d,2,1,1] = random 4\n"
                "  %%r = conv(%%x0, %%w1) {strides=[%d,%d], pads=[0,0,0,0], dilations=[1,1], group=1}\n  %%a = add(%%c, %%r)\n",
                s->out, stride, stride);
  text_printf(&t, "  %%z = relu(%%%s)\n  %%y = neg(%%z)\n  output %%y\n}\n", s->residual ? "a" : "c");
  Module *m = module_parse(t.at, NULL, d);
  text_free(&t);
  return m;
}

/* With depth: taps there, and padding and stride. */
typedef struct Deep { int images, in, out, depth, height, width, taps, pad[2], stride[2]; } Deep;

static const Deep deep[] = {
  {1, 8, 16, 4, 9, 10, 3, {1, 1}, {1, 1}},
  {2, 19, 12, 4, 8, 7, 3, {1, 1}, {2, 2}},   // a plane of padding, whose taps are left out, before only
  {1, 5, 33, 3, 13, 22, 2, {0, 1}, {1, 1}},  // none
  {3, 4, 8, 1, 7, 7, 3, {1, 0}, {1, 2}},     // one plane
  {1, 12, 24, 6, 30, 31, 5, {2, 1}, {3, 1}}, // several blocks
};

static Module *deep_make(const Deep *s, Diags *d) {
  Text t = {0};
  text_printf(&t, "module t {\n  input %%x0 : f32[%d,2,%d,%d,%d]\n  weight %%w0 : f32[%d,2,1,1,1] = random 1\n",
              s->images, s->depth, s->height, s->width, s->in);
  text_printf(&t, "  weight %%w : f32[%d,%d,%d,3,3] = random 2\n  weight %%b : f32[%d] = random 3\n", s->out, s->in,
              s->taps, s->out);
  text_put(&t, "  %x = conv(%x0, %w0) {strides=[1,1,1], pads=[0,0,0,0,0,0], dilations=[1,1,1], group=1}\n");
  text_printf(&t, "  %%c = conv(%%x, %%w, %%b) {strides=[%d,%d,%d], ", s->stride[0], s->stride[1], s->stride[1]);
  text_printf(&t, "pads=[%d,%d,%d,%d,%d,%d], dilations=[1,1,1], group=1}\n", s->pad[0], s->pad[1], s->pad[1],
              s->pad[0], s->pad[1], s->pad[1]);
  text_put(&t, "  %z = relu(%c)\n  %y = neg(%z)\n  output %y\n}\n");
  Module *m = module_parse(t.at, NULL, d);
  text_free(&t);
  return m;
}

static Tensor *image_of(Arena *a, int rank, const int64_t *dims) {
  Tensor *x = tensor_new(a, DT_F32, rank, dims);
  random_fill(x, 0, 1);
  return x;
}

static bool transformed(const Program *p, const char *form) {
  for (int k = 0; k < p->kernels.len; k++)
    if (p->kernels.at[k]->choice && strstr(p->kernels.at[k]->choice, form)) return true;
  return false;
}

/* `what`: of the shape. Frees m. */
static void run_module(Module *m, Diags *d, int rank, const int64_t *dims, const char *what, const char *target,
                       Winograd form) {
  cr_assert(m, "%s", d->errors ? d->at[0].text : "no module");
  Tensor *out[1] = {0};
  Eval e;
  eval_begin(&e, m);
  const Tensor *in[1] = {image_of(&m->perm, rank, dims)};
  cr_assert(eval_bind_input(&e, 0, in[0]));
  cr_assert(eval_graph(&e, m->main));
  const Tensor *want = eval_value(&e, m->main->outputs.at[0]);
  PassOptions o = {.winograd = form, .verify = true};
  Program *p = compile_module(m, target_find(target), &o, &m->perm);
  cr_assert(p && program_run(p, in, out, &m->perm, d), "%s %s: %s", target, what, d->errors ? d->at[0].text : "?");
  cr_expect(transformed(p, form == WINOGRAD_F2 ? "F(2x2)" : "F(4x4)"), "%s %s: not transformed", target, what);
  double worst = 0, largest = 0;
  for (int64_t i = 0; i < tensor_count(want); i++) {
    double off = fabs(tensor_get(want, i) - tensor_get(out[0], i));
    worst = isnan(off) ? INFINITY : fmax(worst, off);           // NaN: never written
    largest = fmax(largest, fabs(tensor_get(want, i)));
  }
  cr_expect(worst <= 3e-6 * largest, "%s F%d %s: off by %g of %g", target, form == WINOGRAD_F2 ? 2 : 4, what, worst,
            largest);
  eval_end(&e);
  module_free(m);
  diags_free(d);
}

static void run_shape(const Shape *s, const char *target, Winograd form) {
  char what[80];
  Diags d = {0};
  symbols_reset();
  snprintf(what, sizeof what, "%dx%dx%dx%d to %d, stride %d, groups %d", s->images, s->in, s->height, s->width,
           s->out, s->stride, s->group);
  run_module(module_make(s, &d), &d, 4, (int64_t[]){abs(s->images), 2, abs(s->height), s->width}, what, target, form);
}

static void run_deep(const Deep *s, const char *target, Winograd form) {
  char what[80];
  Diags d = {0};
  symbols_reset();
  snprintf(what, sizeof what, "%dx%dx%dx%dx%d to %d", s->images, s->in, s->depth, s->height, s->width, s->out);
  run_module(deep_make(s, &d), &d, 5, (int64_t[]){s->images, 2, s->depth, s->height, s->width}, what, target, form);
}

Test(winograd, shapes) {
  for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
    for (size_t t = 0; t < sizeof targets_tried / sizeof *targets_tried; t++)
      for (int form = WINOGRAD_F2; form <= WINOGRAD_F4; form++) run_shape(&shapes[k], targets_tried[t], (Winograd)form);
}

Test(winograd, depth) {
  for (size_t k = 0; k < sizeof deep / sizeof *deep; k++)
    for (size_t t = 0; t < sizeof targets_tried / sizeof *targets_tried; t++)
      for (int form = WINOGRAD_F2; form <= WINOGRAD_F4; form++) run_deep(&deep[k], targets_tried[t], (Winograd)form);
}

/* y[i] = sum over k of g[k] d[stride i + k], and every entry of A and B has its f32 exactly */
Test(winograd, matrices) {
  for (int which = 0; which < 4; which++) {
    Form f;
    int size = which & 1 ? 4 : 2, stride = 1 + which / 2;
    winograd_form(&f, size, stride);
    for (int i = 0; i < f.m; i++)
      for (int at = 0; at < f.n; at++)
        for (int k = 0; k < 3; k++) {                           // d = 1 at `at`, g = 1 at k
          double y = 0;
          for (int j = 0; j < f.n; j++) y += f.a[i][j] * f.g[j][k] * f.b[j][at];
          cr_expect(fabs(y - (at == stride * i + k)) < 1e-14,
                    "F(%d), stride %d: output %d, input %d, weight %d: %g", size, stride, i, at, k, y);
        }
    for (int i = 0; i < f.n; i++)
      for (int j = 0; j < f.n; j++)
        cr_expect(f.a[i][j] == (float)f.a[i][j] && f.b[i][j] == (float)f.b[i][j], "F(%d), stride %d: entry %d, %d",
                  size, stride, i, j);
  }
}

typedef struct Refused { const char *weight, *attrs; } Refused;

static const Refused refused[] = {
  {"8,8,3,3", "strides=[3,3], pads=[1,1,1,1], dilations=[1,1], group=1"},
  {"8,8,3,3", "strides=[1,2], pads=[1,1,1,1], dilations=[1,1], group=1"},
  {"8,8,3,3", "strides=[1,1], pads=[2,2,2,2], dilations=[2,2], group=1"},
  {"8,1,3,3", "strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=8"},
  {"8,8,3,1", "strides=[1,1], pads=[1,0,1,0], dilations=[1,1], group=1"},
  {"8,8,3,3", "strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1, exact=1"},
  {"8,8,5,5", "strides=[1,1], pads=[2,2,2,2], dilations=[1,1], group=1"},
};

Test(winograd, others_are_left_alone) {
  for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) {
    symbols_reset();
    Diags d = {0};
    Text t = {0};
    text_put(&t, "module t {\n  input %x0 : f32[1,2,12,12]\n  weight %w0 : f32[8,2,1,1] = random 1\n");
    text_printf(&t, "  weight %%w : f32[%s] = random 2\n", refused[k].weight);
    text_put(&t, "  %x = conv(%x0, %w0) {strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1}\n");
    text_printf(&t, "  %%y = conv(%%x, %%w) {%s}\n  output %%y\n}\n", refused[k].attrs);
    Module *m = module_parse(t.at, NULL, &d);
    cr_assert(m, "%s", d.errors ? d.at[0].text : "no module");
    PassOptions o = {.winograd = WINOGRAD_F4, .verify = true};
    Program *p = compile_module(m, target_find("x86-64-v3"), &o, &m->perm);
    cr_assert(p);
    cr_expect(!transformed(p, "winograd"), "%s {%s} is transformed", refused[k].weight, refused[k].attrs);
    text_free(&t);
    module_free(m);
    diags_free(&d);
  }
}
