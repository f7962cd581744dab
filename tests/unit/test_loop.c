/* The loop IR: builders simplify, text reads back as itself, wrong kernels are refused, the interpreter checks. */
#include "ir/loop.h"
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* A builder with the indices that most cases need: n in 0..N (N in 1..32), c in 0..8, h, w in 0..28. */
typedef struct Fixture { Arena a; Builder b; Expr *N, *n, *c, *h, *w; Buf *x; } Fixture;

static Fixture f_memory;
static Text text_memory;

static void release(void) {
  arena_free(&f_memory.a);
  text_free(&text_memory);
}

TestSuite(loop, .fini = release);

static Fixture *begin(void) {
  Fixture *f = &f_memory;
  symbols_reset();
  Builder *b = &f->b;
  kernel_new(b, &f->a, "k");
  Dim N = dim_symbol("N", 1, 32);
  f->x = kernel_buf(b, "x", DT_F32, BUF_IN, dim_mul(N, DIM(6272)), 1);
  f->N = ex_dim(b, N);
  f->n = loop_begin(b, "n", ex_int(b, 0), f->N, 1, FOR_SEQ);
  f->c = loop_begin(b, "c", ex_int(b, 0), ex_int(b, 8), 1, FOR_SEQ);
  f->h = loop_begin(b, "h", ex_int(b, 0), ex_int(b, 28), 1, FOR_SEQ);
  f->w = loop_begin(b, "w", ex_int(b, 0), ex_int(b, 28), 1, FOR_SEQ);
  return f;
}

/* Text of an expression: that of a let of its own kernel. */
static const char *text_of(Fixture *f, Expr *e) {
  Text t = {0};
  text_free(&text_memory);
  Block body = {0}, *at = f->b.at;
  Kernel k = {.name = "k", .body = &body, .flops = DIM(0)};
  f->b.at = &body;
  // not through let: it passes leaves
  if (e->lanes == 1 && e->elem == DT_I64) st_store(&f->b, f->x, e, ex_const(&f->b, DT_F32, 1));
  else reg(&f->b, "r", e);
  f->b.at = at;
  kernel_print(&t, &k);
  text_memory = t;
  char *s = strstr(t.at, e->lanes == 1 && e->elem == DT_I64 ? "x[" : "r = "), *end = strchr(s, '\n');
  *end = 0;
  if (s[0] == 'r') return s + 4;
  *strstr(s, "] = 1.0") = 0;
  return s + 2;
}

#define IS(e, text) cr_expect_str_eq(text_of(f, (e)), (text))
#define INT(v) ex_int(&f->b, (v))
#define ADD(x, y) ex_add(&f->b, (x), (y))
#define SUB(x, y) ex_sub(&f->b, (x), (y))
#define MUL(x, y) ex_mul(&f->b, (x), (y))
#define DIV(x, y) ex_div(&f->b, (x), (y))
#define REM(x, y) ex_rem(&f->b, (x), (y))

Test(loop, sums) {
  Fixture *f = begin();
  IS(ADD(f->h, INT(0)), "h");
  IS(ADD(INT(2), f->h), "h + 2");
  IS(ADD(f->h, INT(-2)), "h - 2");
  IS(SUB(ADD(f->h, INT(5)), INT(2)), "h + 3");
  IS(SUB(f->h, f->h), "0");
  IS(ADD(MUL(f->h, INT(3)), f->h), "h * 4");
  IS(SUB(ADD(f->h, f->w), f->h), "w");
  IS(ADD(f->h, ADD(f->w, INT(1))), "h + w + 1");
  IS(MUL(MUL(f->h, INT(3)), INT(4)), "h * 12");
  IS(MUL(f->h, INT(0)), "0");
  IS(ADD(MUL(SUB(f->h, INT(2)), INT(28)), SUB(f->w, INT(2))), "h * 28 + w - 58");
}

Test(loop, division_of_flat_indices) {
  Fixture *f = begin();
  Expr *flat = ADD(MUL(ADD(MUL(ADD(MUL(f->n, INT(8)), f->c), INT(28)), f->h), INT(28)), f->w);
  IS(flat, "((n * 8 + c) * 28 + h) * 28 + w");
  IS(DIV(flat, INT(28)), "n * 224 + c * 28 + h");
  IS(REM(flat, INT(28)), "w");
  IS(REM(DIV(flat, INT(784)), INT(8)), "c");
  IS(DIV(flat, INT(6272)), "n");
  IS(REM(flat, INT(56)), "h % 2 * 28 + w");
  IS(DIV(flat, INT(56)), "n * 112 + c * 14 + h / 2");
  IS(DIV(DIV(f->h, INT(2)), INT(3)), "h / 6");
  IS(DIV(f->h, INT(28)), "0");
  IS(DIV(SUB(f->h, INT(1)), INT(2)), "(h - 1) / 2");           // may be negative: left alone
  IS(DIV(MUL(f->c, f->N), f->N), "c");
  IS(REM(ADD(MUL(f->c, f->N), f->n), f->N), "n");              // n < N is seen through its loop
  IS(DIV(ADD(MUL(f->c, f->N), f->n), f->N), "c");
}

Test(loop, bounds_decide) {
  Fixture *f = begin();
  Builder *b = &f->b;
  int64_t v;
  cr_expect(ex_is_int(ex_lt(b, f->h, INT(28)), &v) && v == 1);
  cr_expect(ex_is_int(ex_lt(b, f->n, f->N), &v) && v == 1);
  cr_expect(ex_is_int(ex_scalar(b, S_GE, SUB(f->h, INT(28)), INT(0), NULL), &v) && v == 0);
  cr_expect(!ex_is_int(ex_lt(b, f->h, INT(27)), &v));
  IS(ex_min(b, f->h, INT(27)), "h");
  IS(ex_max(b, f->h, INT(0)), "h");
  IS(ex_min(b, f->h, INT(5)), "min(h, 5)");
  IS(ex_select(b, ex_lt(b, f->h, INT(30)), f->h, f->w), "h");
}

Test(loop, ramps) {
  Fixture *f = begin();
  Builder *b = &f->b;
  Expr *r = ex_ramp(b, f->w, 1, 8);
  IS(ADD(MUL(f->h, INT(28)), r), "ramp(h * 28 + w, 1, 8)");
  IS(MUL(r, INT(3)), "ramp(w * 3, 3, 8)");
  IS(SUB(r, r), "splat(0, 8)");
  IS(ADD(r, MUL(r, INT(-1))), "splat(0, 8)");
  Expr *i = loop_begin(b, "i", INT(0), INT(64), 8, FOR_SEQ);
  IS(REM(ex_ramp(b, i, 1, 8), INT(16)), "ramp(i % 16, 1, 8)");  // i is a multiple of 8: no lane wraps
  IS(DIV(ex_ramp(b, i, 1, 8), INT(16)), "splat(i / 16, 8)");
  IS(REM(ex_ramp(b, MUL(f->w, INT(8)), 1, 8), INT(8)), "ramp(0, 1, 8)");
  IS(DIV(ex_ramp(b, MUL(f->w, INT(8)), 8, 8), INT(8)), "ramp(w, 1, 8)");
  loop_end(b);
  IS(ex_load(b, f->x, ex_splat(b, f->h, 8)), "splat(x[h], 8)");
}

Test(loop, floats_keep_their_special_values) {
  Fixture *f = begin();
  Builder *b = &f->b;
  Expr *x = ex_load(b, f->x, f->h), *zero = ex_const(b, DT_F32, 0), *one = ex_const(b, DT_F32, 1);
  IS(ADD(x, zero), "x[h] + 0.0");                               // -0 + 0 is 0
  IS(SUB(x, zero), "x[h]");
  IS(MUL(x, one), "x[h]");
  IS(MUL(x, zero), "x[h] * 0.0");                               // NaN
  IS(ADD(ex_const(b, DT_F32, 0.1), ex_const(b, DT_F32, 0.2)), "0.3");
  IS(ADD(ex_const(b, DT_F64, 0.1), ex_const(b, DT_F64, 0.2)), "0.30000000000000004:f64");
  IS(ex_const(b, DT_BF16, 1.01), "1.0078125");                  // rounded to what it stands for
  IS(ex_cast(b, DT_U8, ex_const(b, DT_I32, 300)), "44:u8");
}

Test(loop, statements_dissolve) {
  Arena a = {0};
  Builder b;
  Kernel *k = kernel_new(&b, &a, "k");
  Buf *y = kernel_buf(&b, "y", DT_F32, BUF_OUT, DIM(4), 0);
  Expr *i = loop_begin(&b, "i", ex_int(&b, 2), ex_int(&b, 3), 1, FOR_SEQ);
  st_store(&b, y, i, ex_const(&b, DT_F32, 1));
  loop_end(&b);
  i = loop_begin(&b, "i", ex_int(&b, 3), ex_int(&b, 3), 1, FOR_SEQ);
  st_store(&b, y, i, ex_const(&b, DT_F32, 2));
  loop_end(&b);
  if_begin(&b, ex_lt(&b, ex_int(&b, 1), ex_int(&b, 0)));
  st_store(&b, y, ex_int(&b, 0), ex_const(&b, DT_F32, 3));
  if_else(&b);
  st_store(&b, y, ex_int(&b, 1), ex_const(&b, DT_F32, 4));
  if_end(&b);
  kernel_finish(k);
  Text t = {0};
  kernel_print(&t, k);
  cr_expect_str_eq(t.at, "kernel k lanes 1 group 0 root 0 flops 0 (\n  out y: f32[4]\n) {\n  y[2] = 1.0\n"
                         "  y[1] = 4.0\n}\n");
  text_free(&t);
  arena_free(&a);
}

/* ---- text ---- */

static const char *everything =
  "kernel k lanes 8 group 3 root 12 flops 2*N (\n"
  "  in x: f32[16*N] @4 const\n"
  "  in half: bf16[64]\n"
  "  inout y: f32[16*N] @7\n"
  "  scratch s: i64[8]\n"
  "  local t: u8[32]\n"
  ") dims N in 1..32 {\n"
  "  about \"two\\nlines \\\"quoted\\\"\"\n"
  "  chose \"tile 6x2\" 1200\n"
  "  par n in 0..N {\n"
  "    var acc = splat(0.0, 8)\n"
  "    for i in 0..16 step 8 {\n"
  "      let a = x[ramp(n * 16 + i, 1, 8)]\n"
  "      acc = fma(a, splat(half[i], 8), acc)\n"
  "    }\n"
  "    unroll j in 0..2 {\n"
  "      t[j] = cast(s[j] - (3 - j) * 2 / -1, u8)\n"
  "    }\n"
  "    vec k in n % 3..16 {\n"
  "      note \"here\"\n"
  "      prefetch x[k * 8 + 100]\n"
  "      {\n"
  "        y[k] = where(x[k] < 1e-05, min(x[k], inf), bits(7:i32, f32))\n"
  "      }\n"
  "    }\n"
  "    if and(n > 0, not(n == 3)) {\n"
  "      y[n] = reduce_max(acc) + (1.0 - (2.0 - 3.0))\n"
  "    } else {\n"
  "      call lt_fn(x, y; n, 1.5:f64, true)\n"
  "    }\n"
  "  }\n"
  "}\n";

Test(loop, text_reads_back) {
  Arena a = {0};
  Diags d = {0};
  symbols_reset();
  const char *at = everything;
  Kernel *k = kernel_parse(&a, &at, &d);
  diags_print(&d, stderr);
  cr_assert(k);
  Text t = {0};
  kernel_print(&t, k);
  cr_expect_str_eq(t.at, everything);
  cr_expect(kernel_verify(k, &d));
  diags_print(&d, stderr);
  text_free(&t);
  arena_free(&a);
}

Test(loop, every_prefix_is_refused) {
  size_t n = strlen(everything);
  for (size_t len = 0; len < n - 1; len++) {
    Arena a = {0};
    Diags d = {0};
    char *s = strdup(everything);
    s[len] = 0;
    const char *at = s;
    cr_expect(!kernel_parse(&a, &at, &d) && d.errors == 1, "prefix of %zu", len);
    free(s);
    arena_free(&a);
    diags_free(&d);
  }
}

static const char *complaint(const char *body) {
  static char text[400];
  Arena a = {0};
  Diags d = {0};
  char *s = arena_printf(&a, "kernel k lanes 1 group 0 root 0 flops 0 ( in x: f32[8] out y: f32[8] ) { %s }", body);
  const char *at = s;
  Kernel *k = kernel_parse(&a, &at, &d);
  if (k) kernel_verify(k, &d);
  snprintf(text, sizeof text, "%s", d.len ? d.at[0].text : "");
  arena_free(&a);
  diags_free(&d);
  return text;
}

#define REFUSED(body, why) cr_expect(strstr(complaint(body), why), "%s: %s", body, complaint(body))

Test(loop, wrong_kernels_are_refused) {
  cr_expect_str_empty(complaint("for i in 0..8 { y[i] = x[i] }"));
  REFUSED("y[0] = x[0] + 1", "arguments of different types");
  REFUSED("y[0] = z", "no buffer or variable is called 'z'");
  REFUSED("x[0] = 1.0", "a store to an input");
  REFUSED("y[ramp(0, 1, 4)] = 1.0", "a store of another type");
  REFUSED("let a = 1.0 a = 2.0", "not mutable");
  REFUSED("for i in 0..8 { let a = x[i] } y[0] = a", "'a'");
  REFUSED("if x[0] { y[0] = 1.0 }", "not one bool");
  REFUSED("for i in 0..x[0] { y[0] = 1.0 }", "a loop bound");
  REFUSED("y[0] = bitand(x[0], x[1])", "'bitand' does not take f32");
}

static int64_t two(const char *name, void *ctx) { (void)name, (void)ctx; return 2; }

/* Bytes of `body` over x and y, 8 floats each, and a table of 100. */
static double traffic(const char *body) {
  Arena a = {0};
  Diags d = {0};
  const char *at = arena_printf(
      &a,
      "kernel k lanes 1 group 0 root 0 flops 0 ( in x: f32[8] in t: f32[100] out y: f32[8] local s: f32[4] ) { %s }",
      body);
  Kernel *k = kernel_parse(&a, &at, &d);
  cr_assert(k, "%s", body);
  double bytes = kernel_traffic(k, two, NULL);
  arena_free(&a);
  return bytes;
}

Test(loop, traffic) {
  cr_expect_eq(traffic("for i in 0..8 { y[i] = x[i] }"), 64);
  cr_expect_eq(traffic("for i in 0..8 step 4 { y[ramp(i, 1, 4)] = x[ramp(i, 1, 4)] }"), 64);
  cr_expect_eq(traffic("for j in 0..5 { for i in 0..8 { y[i] = x[i] * x[0] } }"), 64, "each element counts once");
  cr_expect_eq(traffic("for i in 0..3 { y[i] = t[i * 30] }"), 24, "what is looked up, not the table");
  cr_expect_eq(traffic("for i in 0..3 { s[i] = x[i] } if x[0] < 1.0 { y[0] = s[1] } else { y[1] = s[2] }"), 16 + 8,
               "a local is no traffic");
  cr_expect_eq(traffic("call lt_fn(t, y)"), 432, "a call takes all of its buffers");
}

/* ---- interpreter ---- */

static bool run(const char *body, float *x, float *y, char *why) {
  Arena a = {0};
  Diags d = {0};
  const char *at =
      arena_printf(&a,
                   "kernel k lanes 1 group 0 root 0 flops 0 ( in x: f32[8] out y: f32[8] local t: f32[4] ) { %s }",
                   body);
  Kernel *k = kernel_parse(&a, &at, &d);
  Memory mem[2] = {{x, 8}, {y, 8}};
  bool ok = k && kernel_verify(k, &d) && kernel_run(k, mem, NULL, &d);
  snprintf(why, 400, "%s", d.len ? d.at[0].text : "");
  arena_free(&a);
  diags_free(&d);
  return ok;
}

Test(loop, interpreter) {
  float x[8] = {1, -2, 3, -4, 5, -6, 7, -8}, y[8] = {0};
  char why[400];
  cr_expect(run("for i in 0..8 step 4 { y[ramp(i, 1, 4)] = max(x[ramp(7 - i, -1, 4)], splat(0.0, 4)) }", x, y, why),
            "%s", why);
  float want[8] = {0, 7, 0, 5, 0, 3, 0, 1};
  cr_expect_arr_eq(y, want, sizeof want);
  cr_expect(run("var a = 0.0 for i in 0..8 { if i % 2 == 0 { a = a + x[i] } else { a = a - x[i] } } y[0] = a", x, y,
                why),
            "%s", why);
  cr_expect_eq(y[0], 36);
  // lazy
  cr_expect(run("y[0] = reduce_add(x[ramp(0, 1, 8)]) y[1] = where(x[0] > 0.0, 1.0, x[9])", x, y, why), "%s", why);
  cr_expect_eq(y[0], -4);
  cr_expect_eq(y[1], 1);
  cr_expect(run("let v = x[ramp(0, 1, 8)] y[ramp(0, 1, 2)] = part(v, 3, 2) y[2] = part(v, 5, 1) y[ramp(4, 1, 4)] = part(v + v, 1, 4)",
                x, y, why),
            "%s", why);
  float parts[8] = {7, -8, -6, y[3], 10, -12, 14, -16};
  cr_expect_arr_eq(y, parts, sizeof parts);
  cr_expect(run("t[1] = 2.5 y[0] = t[1]", x, y, why), "%s", why);
  cr_expect_eq(y[0], 2.5f);
}

Test(loop, interpreter_sees_errors) {
  float x[8] = {0}, y[8];
  char why[400];
  cr_expect(!run("for i in 0..9 { y[0] = x[i] }", x, y, why));
  cr_expect(strstr(why, "reads x[8], which has 8 elements"), "%s", why);
  cr_expect(!run("y[ramp(5, 1, 4)] = splat(1.0, 4)", x, y, why));
  cr_expect(strstr(why, "writes y[8]"), "%s", why);
  cr_expect(!run("y[0] = t[2]", x, y, why));
  cr_expect(strstr(why, "reads t[2], which nobody wrote"), "%s", why);
}
