/* How far off results are, by Winograd's transforms and by direct sums: a bound on the error's root mean square, over
 * that of the results of the same channel, for the channel where it is largest.
 *
 * Every operation rounds; what it adds is taken as independent of the rest and, relative to its result, at most
 * u / sqrt(3) in the mean square (u = 2^-24: all of an interval of one ulp alike, the ulp as large as it gets). Inputs
 * are taken as independent of each other, with variance 1. (Higham and Mary, A New Approach to Probabilistic Rounding
 * Error Analysis, 2019, argue for the former.) A sum of K products g[k] d[k], one after the other, then has the error
 *
 *   sum over k of (K - k) g[k]^2                       times u^2 / 3: term k is in K - k partial sums
 *
 * Products of transformed tiles are such sums over channels, of u[i][j] for weights and of variance |B_i|^2 |B_j|^2 for
 * inputs, B_i being a row of B'; A' takes their error to the results. Over the m x m results of a tile that is
 *
 *   sum over i, j of  a[i] a[j] |B_i|^2 |B_j|^2  sum over c of (C - c + OTHER) u[i][j][c]^2
 *   a[i] = mean of A'[y][i]^2
 *
 * OTHER has the roundings apart from the sum's: 1 of the weight, 3 in each pass over an input, and 3 in each over
 * products, where terms may be alike: twice. */
#include "passes/kernels/winograd.h"
#include <math.h>

enum { OTHER = 1 + 2 * 3 + 2 * 2 * 3 };
static const double ROUNDING = 0x1p-48 / 3;

/* a[i] |B_i|^2 */
static double gain(const Form *f, int i) {
  double a = 0, b = 0;
  for (int y = 0; y < f->m; y++) a += f->a[y][i] * f->a[y][i] / f->m;
  for (int k = 0; k < f->n; k++) b += f->b[i][k] * f->b[i][k];
  return a * b;
}

/* The largest of error[o] over the variance of results of channel o. */
static double largest(const double *error, const float *w, int64_t k, int64_t out) {
  double most = 0;
  for (int64_t o = 0; o < out; o++) {
    double variance = 0;
    for (int64_t i = 0; i < k; i++) variance += (double)w[o * k + i] * w[o * k + i];
    if (variance > 0) most = fmax(most, error[o] / variance);
  }
  return sqrt(ROUNDING * most);
}

/* Weights of one variance, unknown otherwise: that of u[i][j] follows from G. */
static double expected(const Form *f, int64_t in) {
  double one = 0;
  for (int i = 0; i < f->n; i++) {
    double g = 0;
    for (int k = 0; k < 3; k++) g += f->g[i][k] * f->g[i][k];
    one += gain(f, i) * g;
  }
  return sqrt(ROUNDING * one * one / 9 * ((double)(in + 1) / 2 + OTHER));
}

double winograd_error(Arena *a, const Form *f, const float *w, const float *u, int64_t in, int64_t out) {
  if (!w) return expected(f, in);
  double *error = NEW_N(a, double, out);
  for (int i = 0; i < f->n; i++)
    for (int j = 0; j < f->n; j++)
      for (int64_t c = 0; c < in; c++) {
        const float *row = u + ((i * f->n + j) * in + c) * out;
        double by = gain(f, i) * gain(f, j) * (double)(in - c + OTHER);
        for (int64_t o = 0; o < out; o++) error[o] += by * row[o] * row[o];
      }
  return largest(error, w, 9 * in, out);
}

/* Taps are the outer sum, channels the inner. */
double direct_error(Arena *a, const float *w, int64_t in, int64_t out) {
  if (!w) return sqrt(ROUNDING * (double)(9 * in + 1) / 2);
  double *error = NEW_N(a, double, out);
  for (int64_t o = 0; o < out; o++)
    for (int64_t c = 0; c < in; c++)
      for (int64_t tap = 0; tap < 9; tap++) {
        double g = w[(o * in + c) * 9 + tap];
        error[o] += (double)(9 * in - tap * in - c) * g * g;
      }
  return largest(error, w, 9 * in, out);
}
