/* The matrices of F(m x m, 3x3) and what they do to vectors.
 *
 * Toom and Cook: a filtered tile is a product of polynomials (transposed), found from its values at n - 1 points and
 * at infinity. The points are 0 and pairs +p, -p: then even and odd terms are summed once for both. For m = 4 the
 * pairs are 5/8 and 3/2. Root mean square errors over those of direct sums, for 64 to 256 channels: 1.8 to 2.1; with
 * the customary 1 and 2 3.7 to 4.8, with sqrt(1/2) and sqrt(2) 1.8 to 2.3. And all entries of A and B are exact in
 * f32. Filters of two taps, for stride 2, need a point less: 1, or 3/4, -3/4 and 2, which add the least error among
 * eighths. */
#include "passes/kernels/winograd.h"
#include <math.h>
#include <string.h>

/* coefficients of the product of (x - point) over all points but `skip`, into every `stride`-th of c */
static void product(const Form *f, int skip, double *c) {
  int len = 1, s = f->stride;
  c[0] = 1;
  for (int k = 0; k < f->polynomial - 1; k++) {
    if (k == skip) continue;
    c[len * s] = 0;
    for (int i = len++; i > 0; i--) c[i * s] = c[(i - 1) * s] - f->point[k] * c[i * s];
    c[0] *= -f->point[k];
  }
}

void winograd_form(Form *f, int m, int stride) {
  int taps = stride == 1 ? 3 : 2, last = m + taps - 2;
  *f = (Form){.m = m, .n = stride * (m - 1) + 3, .stride = stride, .polynomial = last + 1, .pairs = (last - 1) / 2};
  static const double points[2][2][WINOGRAD_MAX] = {{{0, 1, -1}, {0, 0.625, -0.625, 1.5, -1.5}},
                                                    {{0, 1}, {0, 0.75, -0.75, 2}}};
  memcpy(f->point, points[stride - 1][m == 4], sizeof f->point);
  for (int j = 0; j < last; j++) {
    double all = 1;
    for (int k = 0; k < last; k++) if (k != j) all *= f->point[j] - f->point[k];
    for (int i = 0; i < m; i++) f->a[i][j] = pow(f->point[j], i);
    for (int i = 0; i < taps; i++) f->g[j][stride * i] = pow(f->point[j], i) / all;
    product(f, j, f->b[j]);
  }
  f->a[m - 1][last] = f->g[last][2] = 1;
  product(f, -1, f->b[last]);
  for (int i = 0; stride == 2 && i < m; i++) {
    int j = f->polynomial + i;
    f->a[i][j] = f->b[j][2 * i + 1] = f->g[j][1] = 1;
  }
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

static bool is_paired(const Form *f, int j) { return j > 0 && j <= 2 * f->pairs; }

/* Row j of B'. For points p and -p instead what they have in common, and what differs, over p: the rows are the first
 * and p times the second, added and subtracted. The coefficient of the highest power is 1. Gives the number of
 * terms. */
static int input_row(const Form *f, int j, double *row) {
  int n = 0;
  for (int k = 0; k < f->n; k++) {
    if (!is_paired(f, j)) row[k] = f->b[j][k];
    else if (j % 2) row[k] = (f->b[j][k] + f->b[j + 1][k]) / 2;
    else row[k] = (f->b[j - 1][k] - f->b[j][k]) / 2 / f->point[j - 1];
    n += row[k] != 0;
  }
  return n;
}

/* Of a vector's inputs, results or weights (3), as the functions below combine them. */
static int operations_of(const Form *f, int other) {
  int single = f->polynomial - 2 - 2 * f->pairs, operations = 0;
  double row[WINOGRAD_MAX];
  if (other == 3) return 5 * f->pairs + 1;
  if (other == f->m) return 2 * f->pairs + f->m * (f->pairs + single + (f->stride == 2));
  for (int j = 0; j < f->polynomial; j++) operations += input_row(f, j, row) - !is_paired(f, j);
  return operations;
}

/* A pass over `from` columns, then one over `to` rows: arithmetic, loads and stores do not overlap much, since what is
 * half transformed goes through memory. Timed on Zen 3 (AVX2), in cycles: F(4) 180 of inputs, 140 of results, 120 of
 * weights, where this gives 180, 130 and 118; F(2) 45, 36 and 50 for 64, 36 and 59. */
double winograd_cycles(const Target *g, const Form *f, int from, int to) {
  int other = from == f->n ? to : from, operations = operations_of(f, other);
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

/* Of powers, the highest first. */
static Expr *terms(Builder *b, const Form *f, int j, Expr *const *d) {
  Expr *sum = NULL;
  double row[WINOGRAD_MAX];
  input_row(f, j, row);
  for (int k = f->n - 1; k >= 0; k--)
    if (row[k] != 0) sum = scaled(b, d[k], row[k], sum);
  return sum;
}

void winograd_input(Builder *b, const Form *f, Expr *const *d, Expr **out) {
  for (int j = 0; j < f->polynomial; j++) {
    if (!is_paired(f, j)) { out[j] = let(b, "bd", terms(b, f, j, d)); continue; }
    double p = f->point[j];
    Expr *even = let(b, "even", terms(b, f, j, d)), *odd = let(b, "odd", terms(b, f, j + 1, d));
    out[j] = let(b, "bd", scaled(b, odd, p, even));
    out[++j] = let(b, "bd", scaled(b, odd, -p, even));
  }
  for (int j = f->polynomial; j < f->n; j++) out[j] = d[2 * (j - f->polynomial) + 1];
}

void winograd_output(Builder *b, const Form *f, Expr *const *x, Expr **out) {
  int paired = 2 * f->pairs, last = f->polynomial - 1;
  Expr *sum[WINOGRAD_MAX], *diff[WINOGRAD_MAX];
  for (int j = 1; j < paired; j += 2) {
    sum[j] = let(b, "sum", ex_add(b, x[j], x[j + 1]));
    diff[j] = let(b, "diff", ex_sub(b, x[j], x[j + 1]));
  }
  for (int i = 0; i < f->m; i++) {
    Expr *y = i == 0 ? x[0] : i == f->m - 1 ? x[last] : NULL;
    for (int j = 1; j < paired; j += 2) y = scaled(b, i % 2 ? diff[j] : sum[j], f->a[i][j], y);
    for (int j = paired + 1; j < last; j++) y = scaled(b, x[j], f->a[i][j], y);
    if (f->stride == 2) y = ex_add(b, y, x[f->polynomial + i]);
    out[i] = let(b, "s", y);
  }
}

void winograd_load(Builder *b, const char *name, Buf *buf, Expr *from, int64_t stride, int size, int lanes, Expr **x) {
  for (int k = 0; k < size; k++)
    x[k] = let(b, name, ex_load(b, buf, lanes_at(b, ex_add(b, from, ex_int(b, k * stride)), lanes)));
}
