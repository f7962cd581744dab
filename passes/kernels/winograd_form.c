/* The matrices of F(m x m, 3x3) and what they do to vectors.
 *
 * Toom and Cook: a filtered tile is a product of polynomials (transposed), found from its values at n - 1 points and
 * at infinity. The points are 0 and pairs +p, -p: then even and odd terms are summed once for both. For m = 4 the
 * pairs are 5/8 and 3/2. Root mean square errors over those of direct sums, for 64 to 256 channels: 1.8 to 2.1; with
 * the customary 1 and 2 3.7 to 4.8, with sqrt(1/2) and sqrt(2) 1.8 to 2.3. And all entries of A and B are exact in
 * f32. */
#include "passes/kernels/winograd.h"
#include <math.h>

/* coefficients of the product of (x - point) over all points but `skip`; returns their number */
static int product(const Form *f, int skip, double *c) {
  int len = 1;
  c[0] = 1;
  for (int k = 0; k < f->n - 1; k++) {
    if (k == skip) continue;
    c[len] = 0;
    for (int i = len++; i > 0; i--) c[i] = c[i - 1] - f->point[k] * c[i];
    c[0] *= -f->point[k];
  }
  return len;
}

void winograd_form(Form *f, int m) {
  *f = (Form){.m = m, .n = m + 2};
  int last = f->n - 1;
  static const double two[] = {0, 1, -1}, four[] = {0, 0.625, -0.625, 1.5, -1.5};
  for (int j = 0; j < last; j++) f->point[j] = m == 2 ? two[j] : four[j];
  for (int j = 0; j < last; j++) {
    double all = 1;
    for (int k = 0; k < last; k++) if (k != j) all *= f->point[j] - f->point[k];
    for (int i = 0; i < m; i++) f->a[i][j] = pow(f->point[j], i);
    for (int i = 0; i < 3; i++) f->g[j][i] = pow(f->point[j], i) / all;
    product(f, j, f->b[j]);
  }
  f->a[m - 1][last] = f->g[last][2] = 1;
  product(f, -1, f->b[last]);
}

float *winograd_weights(Arena *a, const Form *f, const float *w, int64_t in, int64_t out) {
  int n = f->n;
  float *u = NEW_N(a, float, n * n * in * out);
  for (int64_t o = 0; o < out; o++)
    for (int64_t c = 0; c < in; c++) {
      const float *g = w + (o * in + c) * 9;
      double half[WINOGRAD_MAX][3] = {{0}};                       // G g
      for (int i = 0; i < n; i++)
        for (int k = 0; k < 9; k++) half[i][k % 3] += f->g[i][k / 3] * (double)g[k];
      for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
          double sum = 0;
          for (int k = 0; k < 3; k++) sum += half[i][k] * f->g[j][k];
          u[((i * n + j) * in + c) * out + o] = (float)sum;
        }
    }
  return u;
}

/* A pass over `from` columns, then one over `to` rows: arithmetic, loads and stores do not overlap much, since what is
 * half transformed goes through memory. Timed on Zen 3 (AVX2), in cycles: F(4) 180 of inputs, 140 of results, 120 of
 * weights, where this gives 180, 130 and 118; F(2) 45, 36 and 50 for 64, 36 and 59. */
double winograd_cycles(const Target *g, const Form *f, int from, int to) {
  int n = f->n, m = f->m, other = from == n ? to : from;
  int operations = other == n ? n * m / 2 : other == m ? n - 2 + m * m / 2 : 5 * (n - 2) / 2 + 1;
  double lines = from + to;
  return operations * lines / g->fmas + from * lines / g->loads + to * lines / g->stores;
}

/* ---- on vectors ---- */

Buf *winograd_part(Builder *b, int64_t elements) {
  Buf *part = kernel_buf(b, "half", DT_F32, BUF_LOCAL, DIM(elements), 0);
  part->private_to = loop_parallel_depth(b);
  return part;
}

/* x * by + to; to NULL: x * by */
static Expr *scaled(Builder *b, Expr *x, double by, Expr *to) {
  if (by == 1) return to ? ex_add(b, to, x) : x;
  if (by == -1 && to) return ex_sub(b, to, x);
  Expr *k = ex_splat(b, ex_const(b, DT_F32, by), x->lanes);
  return to ? ex_fma(b, k, x, to) : ex_mul(b, k, x);
}

/* The terms of one parity of a row of B', over `by`, the highest first: its coefficient is 1. */
static Expr *terms(Builder *b, const double *row, int n, int parity, double by, Expr *const *d) {
  Expr *sum = NULL;
  for (int k = n - 1; k >= 0; k--)
    if (k % 2 == parity && row[k] != 0) sum = scaled(b, d[k], row[k] / by, sum);
  return sum;
}

void winograd_input(Builder *b, const Form *f, Expr *const *d, Expr **out) {
  int n = f->n;
  out[0] = let(b, "bd", terms(b, f->b[0], n, 0, 1, d));
  for (int j = 1; j < n - 1; j += 2) {
    double p = f->point[j];
    Expr *even = let(b, "even", terms(b, f->b[j], n, 0, 1, d)), *odd = let(b, "odd", terms(b, f->b[j], n, 1, p, d));
    out[j] = let(b, "bd", scaled(b, odd, p, even));
    out[j + 1] = let(b, "bd", scaled(b, odd, -p, even));
  }
  out[n - 1] = let(b, "bd", terms(b, f->b[n - 1], n, 1, 1, d));
}

void winograd_output(Builder *b, const Form *f, Expr *const *x, Expr **out) {
  int n = f->n;
  Expr *sum[WINOGRAD_MAX], *diff[WINOGRAD_MAX];
  for (int j = 1; j < n - 1; j += 2) {
    sum[j] = let(b, "sum", ex_add(b, x[j], x[j + 1]));
    diff[j] = let(b, "diff", ex_sub(b, x[j], x[j + 1]));
  }
  for (int i = 0; i < f->m; i++) {
    Expr *y = i == 0 ? x[0] : i == f->m - 1 ? x[n - 1] : NULL;
    for (int j = 1; j < n - 1; j += 2) y = scaled(b, i % 2 ? diff[j] : sum[j], f->a[i][j], y);
    out[i] = let(b, "s", y);
  }
}
