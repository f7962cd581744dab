/* Dims: normal forms, bounds, text, and a random check of every simplification against plain arithmetic. */
#include "ir/dim.h"
#include <criterion/criterion.h>
#include <string.h>

static const char *norm(const char *s) {             // parse and print
  Dim d;
  return dim_parse(&s, &d) && !*s ? dim_text(d) : "(no parse)";
}
#define IS(in, out) cr_assert_str_eq(norm(in), out, "%s -> %s, not %s", in, norm(in), out)

static void symbols(void) {
  symbols_reset();
  dim_symbol("N", 1, 32);
  dim_symbol("H", 1, 4096);
  dim_symbol("W", 1, 4096);
  dim_symbol("any", 0, INT32_MAX);
}

Test(dim, sums, .init = symbols) {
  IS("3", "3");
  IS("N + 1 + N", "2*N + 1");
  IS("1 + W*H + H*W - 2*N", "2*H*W - 2*N + 1");
  IS("(N + 1)*(N - 1)", "N*N - 1");
  IS("N - N", "0");
  IS("-N + 3", "-N + 3");
  IS("'a b'*2 - N", "-N + 2*'a b'");
  IS("-9223372036854775808", "-9223372036854775808");
}

Test(dim, division, .init = symbols) {
  IS("(2*N) floordiv 2", "N");
  IS("(2*N + 3) floordiv 2", "N + 1");
  IS("(3*N + 5) floordiv 2", "N + (N + 1) floordiv 2 + 2");
  IS("(N*H*W) floordiv (H*W)", "N");
  IS("(N*N - 1) floordiv (N + 1)", "N - 1");
  IS("(4*N + 2) floordiv 8", "N floordiv 2");
  IS("((H + 1) floordiv 2 + 1) floordiv 2", "(H + 3) floordiv 4");
  IS("N floordiv 64", "0");
  IS("(N + 64) floordiv 128", "0");
  IS("(N - 1) floordiv N", "0");
  IS("N ceildiv 2", "(N + 1) floordiv 2");
  IS("(6*N + 4) mod 3", "1");
  IS("(6*N + 4) mod 4", "2*(N mod 2)");
  IS("N mod 33", "N");
  IS("(N*H + 3) mod H", "3 mod H");
  IS("3*(H floordiv 2)*N", "3*N*(H floordiv 2)");
}

Test(dim, min_max, .init = symbols) {
  IS("min(N, 32)", "N");
  IS("max(N, 0)", "N");
  IS("min(N, N + 1)", "N");
  IS("min(5, N)", "min(N, 5)");
  IS("max(max(H, W), H)", "max(H, W)");
  IS("max(N - 32, 0)", "0");
  IS("max(max(H, W) + N, H + 5)", "max(H + N, H + 5, N + W)");
  IS("max(max(H, 2*W) + N, W, W + H)", "max(H + N, H + W, N + 2*W)");
  IS("min(H, min(W, 7), H + 3)", "min(H, W, 7)");
}

Test(dim, questions, .init = symbols) {
  Dim n = dim_symbol("N", 1, 32), h = dim_symbol("H", 1, 4096);
  cr_assert_eq(dim_lo(dim_sub(n, DIM(3))), -2);
  cr_assert_eq(dim_hi(dim_mul(n, h)), 32 * 4096);
  cr_assert(dim_known_le(n, dim_mul(n, DIM(2))));
  cr_assert(!dim_known_le(n, h));
  Dim q;
  cr_assert(dim_divisible(dim_add(dim_mul(n, h), n), n, &q) && dim_eq(q, dim_add(h, DIM(1))));
  cr_assert(!dim_divisible(dim_add(n, DIM(1)), DIM(2), &q));
  cr_assert(dim_eq(dim_subst(dim_floordiv(dim_add(n, DIM(1)), DIM(2)), "N", DIM(7)), DIM(4)));
}

Test(dim, saturates, .init = symbols) {
  cr_assert_eq(dim_mul(DIM(INT64_MAX), DIM(2)).k, INT64_MAX);
  cr_assert(dim_overflow);
  dim_overflow = false;
  Dim any = dim_symbol("any", 0, INT32_MAX);
  cr_assert_eq(dim_hi(dim_mul(dim_mul(any, any), dim_mul(any, any))), INT64_MAX);
  cr_assert(!dim_overflow, "bounds are only estimates: they do not raise the flag");
}

/* ---- random expressions: every rewrite keeps the value ---- */

static int64_t at_value[4];
static int64_t value(const char *s, void *ctx) {
  (void)ctx;
  return at_value[*s == 'N' ? 0 : *s == 'H' ? 1 : *s == 'W' ? 2 : 3];
}

static uint64_t seed = 12345;
static int64_t rnd(int64_t n) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (int64_t)((seed >> 33) % (uint64_t)n);
}

static int64_t fdiv(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

static Dim expression(int depth, int64_t *v) {
  int64_t a, b;
  if (!depth || rnd(6) == 0) {
    int k = (int)rnd(4);
    if (k == 3) { *v = rnd(12) - 3; return DIM(*v); }
    const char *name[] = {"N", "H", "W"};
    *v = at_value[k];
    return dim_symbol(name[k], INT64_MIN, INT64_MAX);
  }
  Dim x = expression(depth - 1, &a), y = expression(depth - 1, &b);
  switch (rnd(7)) {
    case 0: *v = a + b; return dim_add(x, y);
    case 1: *v = a - b; return dim_sub(x, y);
    case 2: *v = a * b; return dim_mul(x, y);
    case 3: *v = a < b ? a : b; return dim_min(x, y);
    case 4: *v = a > b ? a : b; return dim_max(x, y);
    case 5: {
      int64_t d = 1 + rnd(8);
      bool symbolic = rnd(3) == 0;
      if (symbolic) { *v = fdiv(a, at_value[0]); return dim_floordiv(x, dim_symbol("N", 1, 32)); }
      *v = fdiv(a, d);
      return dim_floordiv(x, DIM(d));
    }
    default: {
      int64_t d = 1 + rnd(8);
      *v = a - d * fdiv(a, d);
      return dim_mod(x, DIM(d));
    }
  }
}

Test(dim, random_values, .init = symbols) {
  for (int i = 0; i < 20000; i++) {
    at_value[0] = 1 + rnd(32);
    at_value[1] = 1 + rnd(4096);
    at_value[2] = 1 + rnd(4096);
    int64_t want;
    Dim d = expression(1 + (int)rnd(4), &want);
    if (dim_overflow) { dim_overflow = false; continue; }
    int64_t got = dim_eval(d, value, NULL);
    cr_assert_eq(got, want, "case %d: %s is %ld, not %ld, at N=%ld H=%ld W=%ld", i, dim_text(d), (long)got, (long)want,
                 (long)at_value[0], (long)at_value[1], (long)at_value[2]);
    cr_assert(dim_lo(d) <= got && got <= dim_hi(d), "case %d: %s out of its bounds", i, dim_text(d));
    const char *text = dim_text(d), *s = text;
    Dim again;
    cr_assert(dim_parse(&s, &again) && !*s, "case %d: %s does not parse", i, text);
    cr_assert(dim_eq(d, again), "case %d: %s reads back as %s", i, text, dim_text(again));
  }
}
