/* Networks in which layouts meet: reduced to text, each goes through all passes and the loop interpreter, and must give what
 * the evaluator does, with as many copies as the comment says. */
#include "tests/unit/evaluate.h"

typedef struct Case { const char *name; int copies; const char *text; } Case;

#define CONV1 "{strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1}"
#define CONV3 "{strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1}"

static const Case cases[] = {
  {"tokens and back", 2,                                        // into padding: of the input, and of what no strides can write there
   "input %x : f32[2,3,8,12]\nweight %w : f32[20,3,3,3] = random 1\nweight %m : f32[20,20] = random 2\nweight %v : f32[9,20,3,3] = random 3\n"
   "%a = conv(%x, %w) " CONV3 "\n%b = reshape(%a) {shape=[2,20,96]}\n%t = transpose(%b) {perm=[0,2,1]}\n"
   "%n = layer_norm(%t) {axis=2, epsilon=1e-5}\n%p = matmul(%n, %m)\n%s = add(%p, %t)\n%u = transpose(%s) {perm=[0,2,1]}\n"
   "%r = reshape(%u) {shape=[2,20,8,12]}\n%y = conv(%r, %v) " CONV3 "\noutput %y\n"},
  {"shuffle", 1,
   "input %x : f32[1,4,7,5]\nweight %w : f32[24,4,1,1] = random 1\nweight %d : f32[24,1,3,3] = random 2\n%a = conv(%x, %w) " CONV1 "\n"
   "%b = reshape(%a) {shape=[1,3,8,7,5]}\n%t = transpose(%b) {perm=[0,2,1,3,4]}\n%s = reshape(%t) {shape=[1,24,7,5]}\n"
   "%c = conv(%s, %d) {strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=24}\n%y = relu(%c)\noutput %y\n"},
  {"pixel shuffle", 1,
   "input %x : f32[1,2,6,5]\nweight %w : f32[12,2,1,1] = random 1\n%a = conv(%x, %w) " CONV1 "\n%b = reshape(%a) {shape=[1,3,2,2,6,5]}\n"
   "%t = transpose(%b) {perm=[0,1,4,2,5,3]}\n%y = reshape(%t) {shape=[1,3,12,10]}\noutput %y\n"},
  {"heads of a detector", 0,
   "input %x : f32[1,3,6,5]\nweight %w : f32[8,3,1,1] = random 1\nweight %v : f32[12,3,1,1] = random 2\n%a = conv(%x, %w) " CONV1 "\n"
   "%b = conv(%x, %v) {strides=[2,2], pads=[0,0,0,0], dilations=[1,1], group=1}\n%s = transpose(%a) {perm=[0,2,3,1]}\n"
   "%t = transpose(%b) {perm=[0,2,3,1]}\n%p = reshape(%s) {shape=[1,60,4]}\n%q = reshape(%t) {shape=[1,27,4]}\n"
   "%y = concat(%p, %q) {axis=1}\noutput %y\n"},
  {"results that are views", 0,
   "input %x : f32[2,3,4,5]\nweight %w : f32[9,3,1,1] = random 1\nweight %m : f32[5,6] = random 2\n%a = conv(%x, %w) " CONV1 "\n%r = relu(%a)\n"
   "%y = transpose(%r) {perm=[0,2,3,1]}\noutput %y\n%p = matmul(%x, %m)\n%t = transpose(%p) {perm=[3,1,0,2]}\n%z = reshape(%t) {shape=[18,2,4]}\noutput %z\n"},
  {"a result and its view", 1,                                  // one of them has to be copied
   "input %x : f32[2,3,4]\n%e = exp(%x)\noutput %e\n%y = transpose(%e) {perm=[2,0,1]}\noutput %y\n"},
  {"two views of one value", 1,
   "input %x : f32[2,3,4]\n%e = exp(%x)\n%y = transpose(%e) {perm=[2,0,1]}\noutput %y\n%z = transpose(%e) {perm=[1,2,0]}\noutput %z\n"},
  {"norm of groups", 0,
   "input %x : f32[2,3,4,5]\nweight %w : f32[16,3,1,1] = random 1\nweight %v : f32[7,16,1,1] = random 2\n%a = conv(%x, %w) " CONV1 "\n"
   "%g = reshape(%a) {shape=[8,80]}\n%n = layer_norm(%g) {axis=1, epsilon=1e-5}\n%r = reshape(%n) {shape=[2,16,4,5]}\n%s = silu(%r)\n"
   "%y = conv(%s, %v) " CONV1 "\noutput %y\n"},
  {"a norm of channels, read as images", 0,
   "input %x : f32[1,3,6,6]\nweight %w : f32[16,3,2,2] = random 1\nweight %d : f32[16,1,3,3] = random 2\nweight %e : f32[16,16] = random 3\n"
   "%a = conv(%x, %w) {strides=[2,2], pads=[0,0,0,0], dilations=[1,1], group=1}\n%t = transpose(%a) {perm=[0,2,3,1]}\n"
   "%n = layer_norm(%t) {axis=3, epsilon=1e-6}\n%p = matmul(%n, %e)\n%u = transpose(%p) {perm=[0,3,1,2]}\n%s = add(%u, %a)\n"
   "%c = conv(%s, %d) {strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=16}\n%y = reduce_sum(%c) {axes=[2,3], keepdims=0}\noutput %y\n"},
  {"resized, then added", 1,                                    // loops follow what is stored, the sum
   "input %x : f32[1,3,6,5]\nweight %w : f32[16,3,1,1] = random 1\nweight %v : f32[16,3,2,2] = random 2\nweight %u : f32[8,16,1,1] = random 3\n"
   "%a = conv(%x, %w) " CONV1 "\n%b = conv(%x, %v) {strides=[2,2], pads=[0,0,0,1], dilations=[1,1], group=1}\n"
   "%r = resize(%b) {shape=[1,16,6,5], scales=f[1.0,1.0,2.0,1.6666666], mode=\"nearest\", coord=\"half_pixel\", nearest=\"round_prefer_floor\", "
   "cubic_a=-0.75, exclude_outside=0, extrapolation=0.0, antialias=0}\n%s = add(%r, %a)\n%t = silu(%s)\n%y = conv(%t, %u) " CONV1 "\noutput %y\n"},
  {"classes of pixels", 0,
   "input %x : f32[1,3,4,5]\nweight %w : f32[21,3,1,1] = random 1\n%a = conv(%x, %w) " CONV1 "\n"
   "%r = resize(%a) {shape=[1,21,8,10], scales=f[1.0,1.0,2.0,2.0], mode=\"linear\", coord=\"half_pixel\", nearest=\"round_prefer_floor\", cubic_a=-0.75, "
   "exclude_outside=0, extrapolation=0.0, antialias=0}\n%s = softmax(%r) {axis=1}\noutput %s\n%m = argmax(%r) {axis=1, keepdims=0, select_last=0}\noutput %m\n"},
  {"a result resized by columns, then by rows", 0,
   "input %x : f32[1,3,4,5]\nweight %w : f32[13,3,1,1] = random 1\n%a = conv(%x, %w) " CONV1 "\n"
   "%y = resize(%a) {shape=[1,13,16,19], scales=f[1.0,1.0,4.0,3.9], mode=\"linear\", coord=\"align_corners\", nearest=\"round_prefer_floor\", cubic_a=-0.75, "
   "exclude_outside=0, extrapolation=0.0, antialias=0}\noutput %y\n"},
  {"pools between convolutions", 0,                             // windows that reach beyond both ends of a line
   "input %x : f32[2,3,7,6]\nweight %w : f32[19,3,1,1] = random 1\nweight %v : f32[5,19,1,1] = random 2\n%a = conv(%x, %w) " CONV1 "\n"
   "%p = max_pool(%a) {kernel=[3,4], strides=[2,1], pads=[1,3,1,2], dilations=[1,1], ceil=0}\n"
   "%q = avg_pool(%p) {kernel=[2,2], strides=[2,2], pads=[0,0,0,0], dilations=[1,1], ceil=0, count_include_pad=0}\n%y = conv(%q, %v) " CONV1 "\noutput %y\n"},
  {"layers that read what all before them gave", 0,
   "input %x : f32[2,3,4,5]\nweight %v : f32[8,3,1,1] = random 1\nweight %w : f32[4,8,1,1] = random 2\nweight %t : f32[12,12,1,1] = random 3\n"
   "%a = conv(%x, %v) " CONV1 "\n%b = conv(%a, %w) " CONV1 "\n%p = concat(%a, %b) {axis=1}\n%c = conv(%p, %t) " CONV1 "\n"
   "%q = concat(%a, %b, %c) {axis=1}\n%n = relu(%q)\n%y = reduce_max(%n) {axes=[2,3], keepdims=1}\noutput %y\n"},
  {"channels shuffled in threes", 1,
   "input %x : f32[2,3,4,5]\nweight %w : f32[15,3,1,1] = random 1\nweight %v : f32[4,15,1,1] = random 2\n%a = conv(%x, %w) " CONV1 "\n"
   "%b = reshape(%a) {shape=[2,3,5,4,5]}\n%t = transpose(%b) {perm=[0,2,1,3,4]}\n%s = reshape(%t) {shape=[2,15,4,5]}\n"
   "%y = conv(%s, %v) " CONV1 "\noutput %y\n"},
  {"images resized between convolutions and added", 0,
   "input %x : f32[1,3,4,5]\ninput %b : f32[1,3,8,10]\nweight %w : f32[19,3,1,1] = random 1\nweight %v : f32[5,19,3,3] = random 2\n"
   "%a = conv(%x, %w) " CONV1 "\n%e = conv(%b, %w) " CONV1 "\n%f = relu(%e)\noutput %f\n"
   "%r = resize(%a) {shape=[1,19,8,10], scales=f[1.0,1.0,2.0,2.0], mode=\"nearest\", coord=\"asymmetric\", nearest=\"round_prefer_floor\", cubic_a=-0.75, "
   "exclude_outside=0, extrapolation=0.0, antialias=0}\n"
   "%s = add(%r, %f)\n%y = conv(%s, %v) {strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1}\noutput %y\n"},
};

static const RunForm forms[] = {{"x86-64-v3", false, 1}, {"x86-64-v4", false, 1}, {"x86-64", false, 2}, {"c99", false, 1}, {"x86-64-v3", true, 1}};

static int copies_of(const Program *p) {
  int n = 0;
  for (int k = 0; k < p->kernels.len; k++) n += strstr(p->kernels.at[k]->name, "_copy") || strstr(p->kernels.at[k]->name, "_reshape");
  return n;
}

/* The last resize stores single elements only: its loops do not follow the layout. Columns that are resized before may
 * well be gathered one by one. */
static bool resizes_by_elements(const Program *p) {
  bool found = false;
  for (int k = 0; k < p->kernels.len; k++) {
    Text t = {0};
    kernel_print(&t, p->kernels.at[k]);
    if (strstr(p->kernels.at[k]->name, "_resize")) found = !strstr(t.at, "ramp(");
    text_free(&t);
  }
  return found;
}

static void run_case(const Case *c, const RunForm *f) {
  symbols_reset();
  Diags d = {0};
  Text t = {0};
  text_printf(&t, "module t {\n%s}\n", c->text);
  Module *m = module_parse(t.at, NULL, &d);
  cr_assert(m, "%s: %s", c->name, d.errors ? d.at[0].text : "no module");
  Eval e;
  const Tensor *in[2];
  Tensor *out[2] = {0};
  evaluate_random(&e, m, in);
  ValueId want[2] = {m->main->outputs.at[0], m->main->outputs.at[m->main->outputs.len - 1]};
  const Tensor *right[2] = {eval_value(&e, want[0]), eval_value(&e, want[1])};
  int outputs = m->main->outputs.len;
  Program *p = form_run(m, f, in, out, &d);
  for (int k = 0; k < outputs; k++) {
    double worst = worst_difference(right[k], out[k]);
    cr_expect(worst < 1e-4, "%s, %s: output %d is off by %g", c->name, f->target, k, worst);
  }
  if (!f->naive && target_find(f->target)->lanes > 1) {
    cr_expect(copies_of(p) == c->copies, "%s, %s: %d copies", c->name, f->target, copies_of(p));
    cr_expect(!resizes_by_elements(p), "%s, %s: a resize without vectors", c->name, f->target);
  }
  eval_end(&e);
  module_free(m);
  text_free(&t);
  diags_free(&d);
}

Test(layout, networks) {
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) run_case(&cases[k], &forms[f]);
}
