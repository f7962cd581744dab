/* The bound on rounding: measured against sums in double, for weights as they come and weights made to be bad, results
 * are within it, and it is no empty promise; weights for which F(4x4) would be too far off get smaller tiles. */
#include "passes/kernels/winograd.h"
#include "passes/pipeline.h"
#include "tests/unit/evaluate.h"
#include <string.h>

enum { ACROSS = 14, OUT = 4 };

/* How the weight of a tap is made from a random one, by channel and by tap. */
typedef struct Weights { const char *what; double first; const double *taps; bool sign; } Weights;

/* From the eigenvector of A' and B's gains through G that belongs to the largest value: taps F(4x4) likes least. */
static const double even[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, worst[9] = {.621, 0, .485, 0, 0, 0, .485, 0, .379},
                    corner[9] = {0, 0, 0, 0, 0, 0, 0, 0, 1}, signs[9] = {1, -1, 1, -1, 1, -1, 1, -1, 1};
static const Weights kinds[] = {{"random", 1, even, true},
                                {"of one sign", 1, even, false},
                                {"signs in turn", 1, signs, false},
                                {"one tap", 1, corner, true},
                                {"worst taps", 1, worst, true},
                                {"worst taps, a large first channel", 1000, worst, true}};

static Module *module_make(int channels, int out, int size, int stride, Diags *d) {
  Text t = {0};
  symbols_reset();
  text_printf(&t, "module t {\n  input %%x0 : f32[1,%d,%d,%d]\n  weight %%w : f32[%d,%d,3,3] = random 1\n", size,
              size, channels, out, channels);
  text_put(&t, "  %x = transpose(%x0) {perm=[0,3,1,2]}\n");
  text_printf(&t, "  %%y = conv(%%x, %%w) {strides=[%d,%d], pads=[0,0,0,0], dilations=[1,1], group=1}\n  output %%y\n"
                  "}\n", stride, stride);
  Module *m = module_parse(t.at, NULL, d);
  cr_assert(m, "%s", d->errors ? d->at[0].text : "no module");
  text_free(&t);
  return m;
}

static Tensor *weights_of(Module *m, const Weights *kind) {
  for (int v = 1; v < m->values.len; v++) {
    Tensor *w = (Tensor *)value_of(m, v)->constant;
    if (!w || w->rank != 4) continue;
    for (int64_t i = 0; i < tensor_count(w); i++) {
      double g = tensor_get(w, i);
      g = (kind->sign ? g : fabs(g)) * kind->taps[i % 9] * (i / 9 % w->dims[1] == 0 ? kind->first : 1);
      tensor_set(w, i, g);
    }
    return w;
  }
  return NULL;
}

/* Of channel o: RMS error over RMS. */
static double measured(const Tensor *x, const Tensor *w, const Tensor *y, int64_t o, int stride) {
  int64_t channels = w->dims[1], across = y->dims[3], size = x->dims[2];
  double error = 0, all = 0;
  for (int64_t p = 0; p < across * across; p++) {
    double sum = 0;
    for (int64_t tap = 0; tap < 9; tap++)
      for (int64_t c = 0; c < channels; c++)
        sum += tensor_get(w, (o * channels + c) * 9 + tap) *
               tensor_get(x, ((p / across * stride + tap / 3) * size + p % across * stride + tap % 3) * channels + c);
    double off = tensor_get(y, o * across * across + p) - sum;
    error += off * off;
    all += sum * sum;
  }
  return sqrt(error / all);
}

static void run(const Weights *kind, int channels, Winograd which, int stride) {
  Diags d = {0};
  Module *m = module_make(channels, OUT, ACROSS * stride + 1, stride, &d);
  const Tensor *w = weights_of(m, kind),
               *in[1] = {random_input(&m->perm, &value_of(m, m->main->inputs.at[0])->type, 7)};
  Tensor *out[1] = {0};
  PassOptions o = {.winograd = which};
  Program *p = compile_module(m, target_find("x86-64-v3"), &o, &m->perm);
  cr_assert(p && program_run(p, in, out, &m->perm, &d), "%s", d.errors ? d.at[0].text : "?");
  Form f = {0};
  double bound = direct_error(&m->perm, w->data, channels, OUT), most = 0;
  if (which != WINOGRAD_OFF) {
    winograd_form(&f, which == WINOGRAD_F2 ? 2 : 4, stride);
    bound = winograd_error(&m->perm, &f, w->data, winograd_weights(&m->perm, &f, w->data, channels, OUT), channels,
                           OUT);
  }
  for (int64_t k = 0; k < OUT; k++) most = fmax(most, measured(in[0], w, out[0], k, stride));
  cr_expect(most <= bound && most >= bound / 6, "%s, F(%d), stride %d, %d channels: RMS error %.2e, bound %.2e",
            kind->what, f.m, stride, channels, most, bound);
  module_free(m);
  diags_free(&d);
}

Test(winograd_error, bounds_what_is_measured) {
  static const int channels[] = {3, 24, 160};
  static const Winograd forms[] = {WINOGRAD_OFF, WINOGRAD_F2, WINOGRAD_F4};
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
    for (int c = 0; c < 3; c++)
      for (int f = 0; f < 6; f++) run(&kinds[k], channels[c], forms[f % 3], 1 + f / 3);
}

static void expect_choice(const Weights *kind, const char *choice) {
  Diags d = {0};
  Module *m = module_make(384, 64, 30, 1, &d);
  weights_of(m, kind);
  PassOptions o = {0};
  Program *p = compile_module(m, target_find("x86-64-v3"), &o, &m->perm);
  cr_assert(p);
  bool found = false;
  for (int k = 0; k < p->kernels.len; k++)
    found |= p->kernels.at[k]->choice && strstr(p->kernels.at[k]->choice, choice);
  cr_expect(found, "weights that are %s: not %s", kind->what, choice);
  module_free(m);
  diags_free(&d);
}

Test(winograd_error, smaller_tiles_where_it_would_be_too_large) {
  expect_choice(&kinds[0], "F(4x4)");
  expect_choice(&kinds[5], "F(2x2)");
}
