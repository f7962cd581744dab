/* Kernels run strip by strip: the bits of the same kernels run one after the other, in one part and in several, for
 * strips of any height; what must be in strips is, and what must not be is not. */
#include "passes/pipeline.h"
#include "tests/unit/evaluate.h"
#include <math.h>

#define CONV(y, x, w, stride, pad, group)                                                                         \
  "  %" y " = conv(%" x ", %" w ") {strides=[" stride "," stride "], dilations=[1,1], pads=[" pad "," pad "," pad \
  "," pad "], group=" group "}\n"
#define RELU(y, x) "  %" y " = relu(%" x ")\n"
#define WEIGHT(w, shape) "  weight %" w " : f32[" shape "] = random 7\n"
#define POOL(kind, y, x, k, stride, pad, more)                                                                     \
  "  %" y " = " kind "(%" x ") {kernel=[" k "," k "], strides=[" stride "," stride "], pads=[" pad "," pad "," pad \
  "," pad "], dilations=[1,1], ceil=0" more "}\n"

/* The network's output is row-major, which has no rows of pixels: one more convolution makes it. */
#define LAST(x, channels) WEIGHT("o", "5," channels ",1,1") CONV("y", x, "o", "1", "0", "1") "  output %y\n"

/* strips: kernels that run in strips of 2 rows; serial: only where threads do not share them */
typedef struct Case { const char *name, *body, *strips; bool serial; } Case;

static const Case cases[] = {
  {"expand, depthwise, project", "  input %x : f32[1,8,13,21]\n" WEIGHT("e", "24,8,1,1")
   WEIGHT("d", "24,1,3,3") WEIGHT("p", "8,24,1,1")
   CONV("a", "x", "e", "1", "0", "1") RELU("b", "a") CONV("c", "b", "d", "1", "1", "24") RELU("f", "c")
   CONV("g", "f", "p", "1", "0", "1") LAST("g", "8"), "conv_relu pad conv_relu conv; ", false},
  {"the same and what it began with", "  input %x : f32[1,3,13,21]\n" WEIGHT("s", "8,3,3,3")
   WEIGHT("e", "24,8,1,1") WEIGHT("d", "24,1,5,5") WEIGHT("p", "8,24,1,1")
   CONV("q", "x", "s", "1", "1", "1") CONV("a", "q", "e", "1", "0", "1") RELU("b", "a")
   CONV("c", "b", "d", "1", "2", "24") RELU("f", "c")
   CONV("g", "f", "p", "1", "0", "1") "  %h = add(%g, %q)\n"
   LAST("h", "8"), "conv conv_relu pad conv_relu conv_add; ", false},
  {"strides", "  input %x : f32[1,8,27,61]\n" WEIGHT("e", "17,8,1,1") WEIGHT("d", "17,1,3,3") WEIGHT("p", "9,17,1,1")
   CONV("a", "x", "e", "1", "0", "1") RELU("b", "a") CONV("c", "b", "d", "2", "1", "17") RELU("f", "c")
   CONV("g", "f", "p", "2", "0", "1") LAST("g", "9"), "conv_relu pad conv_relu conv; ", false},
  {"two in a row", "  input %x : f32[1,8,12,22]\n" WEIGHT("e", "16,8,1,1") WEIGHT("d", "16,1,3,3")
   WEIGHT("h", "16,1,3,3")
   CONV("a", "x", "e", "1", "0", "1") CONV("b", "a", "d", "1", "1", "16") RELU("c", "b")
   CONV("f", "c", "h", "2", "1", "16") RELU("g", "f") LAST("g", "16"), "conv pad conv_relu pad conv_relu; ", false},
  {"maximum", "  input %x : f32[1,3,25,41]\n" WEIGHT("s", "16,3,7,7") CONV("a", "x", "s", "2", "3", "1")
   RELU("b", "a")
   POOL("max_pool", "c", "b", "3", "2", "1", "") LAST("c", "16"), "conv_relu max_pool; ", false},
  {"a value that others read, too", "  input %x : f32[1,3,27,41]\n" WEIGHT("s", "16,3,3,3")
   WEIGHT("t", "16,16,1,1") CONV("a", "x", "s", "2", "1", "1") RELU("b", "a")
   POOL("avg_pool", "c", "b", "2", "2", "0", ", count_include_pad=0") LAST("c", "16")
   CONV("z", "b", "t", "1", "0", "1") "  output %z\n", "conv_relu avg_pool; ", false},
  {"… and its last row, which the pool does not", "  input %x : f32[1,3,25,41]\n" WEIGHT("s", "16,3,3,3")
   WEIGHT("t", "16,16,1,1") CONV("a", "x", "s", "2", "1", "1") RELU("b", "a")
   POOL("avg_pool", "c", "b", "2", "2", "0", ", count_include_pad=0") LAST("c", "16")
   CONV("z", "b", "t", "1", "0", "1") "  output %z\n", "conv_relu avg_pool; ", true},
  {"… and the border above its first row", "  input %x : f32[1,3,27,96]\n" WEIGHT("s", "16,3,3,3")
   WEIGHT("p", "16,16,1,1") WEIGHT("t", "16,16,3,3") CONV("a", "x", "s", "2", "1", "1") RELU("b", "a")
   CONV("c", "b", "p", "2", "0", "1") CONV("z", "b", "t", "2", "1", "1")
   "  %y = mul(%z, %c)\n  output %y\n", "conv_relu pad conv; ", true},
  {"images", "  input %x : f32[3,8,5,21]\n" WEIGHT("e", "24,8,1,1") WEIGHT("d", "24,1,3,3")
   CONV("a", "x", "e", "1", "0", "1") RELU("b", "a")
   CONV("y", "b", "d", "1", "1", "24") "  output %y\n", "conv_relu pad conv; ", false},
};

static const char *const names[] = {"x86-64-v4", "x86-64-v3", "x86-64"};

/* "conv_relu max_pool; " for each step of strips */
static const char *strips_of(Arena *a, const StepList *steps) {
  const char *text = "";
  for (int i = 0; i < steps->len; i++) {
    const StepList *in = &steps->at[i]->then;
    for (int k = 0; steps->at[i]->kind == STEP_STRIPS && k < in->len; k++)
      text = arena_printf(a, "%s%s%s", text, strchr(in->at[k]->kernel->name, '_') + 1, k + 1 < in->len ? " " : "; ");
  }
  return text;
}

static Module *module_of(const Case *x, Diags *d) {
  symbols_reset();
  Text t = {0};
  text_printf(&t, "module t {\n%s}\n", x->body);
  Module *m = module_parse(t.at, NULL, d);
  cr_assert(m, "%s: %s", x->name, d->len ? d->at[0].text : "no module");
  text_free(&t);
  return m;
}

/* The outputs' bytes, one after the other, for the inputs of the evaluator, and how they differ from the
 * evaluator's. */
static Tensor *run_case(const Case *x, const char *target, int rows, int parts, Arena *keep, double *off,
                        const char **strips) {
  Diags d = {0};
  Module *m = module_of(x, &d);
  const Tensor *in[2];
  Tensor *out[2] = {0}, *r;
  Eval e;
  evaluate_random(&e, m, in);
  PassOptions o = {.strips = rows, .part_cycles = parts > 1 ? 10 : 0, .winograd = WINOGRAD_OFF};
  Arena a = {0};
  Program *p = compile_module(m, target_find(target), &o, &a);
  cr_assert(p && program_run_parts(p, parts, in, out, &a, &d), "%s, %s, %d rows, %d parts: %s", x->name, target,
            rows, parts, d.len ? d.at[0].text : "?");
  *strips = strips_of(keep, &p->steps);
  *off = 0;
  int64_t bytes = 0, at = 0;
  for (int k = 0; k < m->main->outputs.len; k++) bytes += (int64_t)tensor_bytes(out[k]);
  r = tensor_new(keep, DT_U8, 1, &bytes);
  for (int k = 0; k < m->main->outputs.len; at += (int64_t)tensor_bytes(out[k++])) {
    *off = fmax(*off, worst_difference(eval_value(&e, m->main->outputs.at[k]), out[k]));
    memcpy((char *)r->data + at, out[k]->data, tensor_bytes(out[k]));
  }
  eval_end(&e);
  module_free(m);
  diags_free(&d);
  arena_free(&a);
  return r;
}

Test(strips, same_bits) {
  static const int heights[] = {1, 2, 3, 5}, parts[] = {1, 2, 3, 7};
  for (int c = 0; c < (int)(sizeof cases / sizeof *cases); c++)
    for (int t = 0; t < 3; t++) {
      Arena keep = {0};
      double off;
      const char *strips;
      Tensor *want = run_case(&cases[c], names[t], -1, 1, &keep, &off, &strips);
      cr_expect(off < 1e-4, "%s, %s: off by %g", cases[c].name, names[t], off);
      cr_expect_str_eq(strips, "");
      for (int h = 0; h < 4; h++)
        for (int q = 0; q < 4; q++) {
          Tensor *got = run_case(&cases[c], names[t], heights[h], parts[q], &keep, &off, &strips);
          cr_expect(!memcmp(want->data, got->data, tensor_bytes(want)), "%s, %s, %d rows, %d parts: off by %g",
                    cases[c].name, names[t], heights[h], parts[q], off);
          if (heights[h] == 2 && (q == 0 || !cases[c].serial))
            cr_expect(strstr(strips, cases[c].strips), "%s, %s: in strips are %s", cases[c].name, names[t], strips);
        }
      arena_free(&keep);
    }
}

/* A value between that is stored whole, of which two parts would make the same rows, is not shared; sharing it is
 * seen. */
Test(strips, parts_that_make_the_same) {
  static const Case x = {"", "  input %x : f32[1,3,25,41]\n" WEIGHT("s", "16,3,3,3") WEIGHT("t", "16,16,1,1")
   CONV("a", "x", "s", "2", "1", "1") RELU("b", "a")
    POOL("max_pool", "c", "b", "3", "2", "1", "") LAST("c", "16")
   CONV("z", "b", "t", "1", "0", "1") "  output %z\n", "", false};
  for (int shared = 0; shared < 2; shared++) {
    Diags d = {0};
    Module *m = module_of(&x, &d);
    Arena a = {0};
    const Tensor *in[1] = {random_input(&a, &value_of(m, m->main->inputs.at[0])->type, 1)};
    Tensor *out[2] = {0};
    PassOptions o = {.strips = 2, .part_cycles = shared ? 10 : 0, .winograd = WINOGRAD_OFF};
    Program *p = compile_module(m, target_find("x86-64-v3"), &o, &a);
    cr_assert(p);
    cr_expect_eq(strstr(strips_of(&a, &p->steps), "conv_relu max_pool; ") == NULL, shared);
    for (int i = 0; i < p->steps.len; i++) if (p->steps.at[i]->kind == STEP_STRIPS) p->steps.at[i]->parts = 3;
    bool ok = program_run_parts(p, 3, in, out, &a, &d);
    cr_expect_eq(ok, shared, "%s", d.len ? d.at[0].text : "it ran");
    if (!shared)
      cr_expect(d.len && strstr(d.at[0].text, "two parts of strips make element"), "%s",
                d.len ? d.at[0].text : "no error");
    diags_free(&d);
    module_free(m);
    arena_free(&a);
  }
}

/* ---- rows made once ---- */

/* What a kernel knows at its top: symbols of the strip, and lets made of these; `of_strip` says of which kind. */
typedef struct Known { const Var *var; int64_t value; bool of_strip; } Known;
typedef struct Strip { VEC(Known) known; Arena a; } Strip;

static bool number_of(Strip *s, const Expr *e, int64_t *n, bool *of_strip) {
  int64_t arg[3] = {0};
  if (e->kind == EX_CONST) { *n = e->i; return true; }
  for (int i = 0; e->kind == EX_VAR && i < s->known.len; i++)
    if (s->known.at[i].var == e->var) {
      *n = s->known.at[i].value;
      *of_strip |= s->known.at[i].of_strip;
      return true;
    }
  if (e->kind != EX_SCALAR || dtype_is_float(e->elem)) return false;
  for (int i = 0; i < 3 && e->arg[i]; i++) if (!number_of(s, e->arg[i], &arg[i], of_strip)) return false;
  *n = scalar_eval_int(e->op, arg[0], arg[1], arg[2]);
  return true;
}

typedef struct Rows { int64_t lo, hi; } Rows;
typedef VEC(Rows) RowsList;

/* The ranges of all loops whose bounds follow from the strip. */
static void rows_of(Strip *s, const Block *b, RowsList *to) {
  for (int i = 0; b && i < b->stmts.len; i++) {
    const Stmt *t = b->stmts.at[i];
    Known x = {.var = t->var};
    Rows r;
    bool of_strip = false;
    if (t->kind == ST_LET && number_of(s, t->value, &x.value, &x.of_strip)) *vec_push(&s->a, &s->known) = x;
    if (t->kind == ST_FOR && number_of(s, t->lo, &r.lo, &of_strip) && number_of(s, t->hi, &r.hi, &of_strip) && of_strip)
      *vec_push(&s->a, to) = r;
    rows_of(s, t->body, to);
    rows_of(s, t->other, to);
  }
}

/* No strip begins before the last one has ended; between them there may be rows that nobody needs. */
static int check_rows(const Step *step, const Kernel *k, const char *name) {
  RowsList before = {0};
  Strip s = {0};
  int found = 0;
  for (int64_t top = 0; top < step->count; top += step->rows) {
    RowsList now = {0};
    s.known.len = 0;
    for (int i = 0; i < k->dims.len; i++) {
      const char *dim = k->dims.at[i];
      int64_t bottom = int64_min(top + step->rows, step->count);
      int64_t value = !strcmp(dim, TOP_SYMBOL) ? top : !strcmp(dim, BOTTOM_SYMBOL) ? bottom : 0;
      *vec_push(&s.a, &s.known) = (Known){k->dim_vars.at[i], value, true};
    }
    rows_of(&s, k->body, &now);
    for (int i = 0; i < before.len && i < now.len; i++, found++)
      cr_expect(before.at[i].hi <= before.at[i].lo || now.at[i].hi <= now.at[i].lo || now.at[i].lo >= before.at[i].hi,
                "%s, %s: rows %d to %d, then from %d on", name, k->name, (int)before.at[i].lo, (int)before.at[i].hi,
                (int)now.at[i].lo);
    before = now;
  }
  arena_free(&s.a);
  return found;
}

Test(strips, rows_made_once) {
  for (int c = 0; c < (int)(sizeof cases / sizeof *cases); c++) {
    Diags d = {0};
    Arena a = {0};
    Module *m = module_of(&cases[c], &d);
    PassOptions o = {.strips = 2, .winograd = WINOGRAD_OFF};
    Program *p = compile_module(m, target_find("x86-64-v3"), &o, &a);
    cr_assert(p);
    for (int i = 0; i < p->steps.len; i++) {
      const Step *s = p->steps.at[i];
      for (int k = 0; s->kind == STEP_STRIPS && k < s->then.len; k++)
        cr_expect(check_rows(s, s->then.at[k]->kernel, cases[c].name) > 0, "%s, %s: no loop over rows", cases[c].name,
                  s->then.at[k]->kernel->name);
    }
    module_free(m);
    diags_free(&d);
    arena_free(&a);
  }
}
