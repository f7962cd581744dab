/* lt_ctc_loss: see lt_ops.h. Forward and backward variables in log space: Graves, Fernandez, Gomez and Schmidhuber,
 * ICML 2006. */
#include "lt_ops.h"
#include <math.h>

/* log(exp(a) + exp(b)) */
static float log_add(float a, float b) {
  float m = a > b ? a : b;
  if (m == -INFINITY) return m;
  return m + logf(expf(a - m) + expf(b - m));
}

/* Position s of the target with blanks between: blank, t0, blank, t1, …, blank. */
static int64_t symbol_at(const int64_t *target, int64_t s, int64_t blank) { return s % 2 ? target[s / 2] : blank; }

/* May a path come to s from s - 2? Not across a blank between equal symbols. */
static int skips(const int64_t *target, int64_t s) { return s % 2 && s >= 2 && target[s / 2] != target[s / 2 - 1]; }

/* One row: lp and grad step by N * C from one moment to the next. alpha [T, L]; beta [2, L] of two moments. */
static float row_loss(const float *lp, const int64_t *target, float *grad, float *alpha, float *beta, int64_t T,
                      int64_t S, int64_t step, int64_t blank) {
  int64_t L = 2 * S + 1, t, s;
  float total;
  if (T == 0) return S ? INFINITY : 0;
  for (t = 0; t < T; t++)
    for (s = 0; s < L; s++) {
      float a = t ? alpha[(t - 1) * L + s] : s < 2 ? 0 : -INFINITY;
      if (t && s >= 1) a = log_add(a, alpha[(t - 1) * L + s - 1]);
      if (t && skips(target, s)) a = log_add(a, alpha[(t - 1) * L + s - 2]);
      alpha[t * L + s] = a + lp[t * step + symbol_at(target, s, blank)];
    }
  total = log_add(alpha[(T - 1) * L + L - 1], S ? alpha[(T - 1) * L + L - 2] : -INFINITY);
  for (t = T - 1; t >= 0; t--) {                                 /* beta: what comes after t, not t itself */
    float *now = beta + t % 2 * L, *next = beta + (t + 1) % 2 * L;
    for (s = 0; s < L; s++) {
      int64_t c = symbol_at(target, s, blank);
      float b = t < T - 1 ? next[s] + lp[(t + 1) * step + c] : s >= L - 2 ? 0 : -INFINITY;
      if (t < T - 1 && s + 1 < L) b = log_add(b, next[s + 1] + lp[(t + 1) * step + symbol_at(target, s + 1, blank)]);
      if (t < T - 1 && s + 2 < L && skips(target, s + 2))
        b = log_add(b, next[s + 2] + lp[(t + 1) * step + symbol_at(target, s + 2, blank)]);
      now[s] = b;
      if (total > -INFINITY) grad[t * step + c] -= expf(alpha[t * L + s] + b - total);
    }
  }
  return -total;
}

void lt_ctc_loss(const float *lp, const int64_t *target, const int64_t *in_length, const int64_t *target_length,
                 float *loss, float *grad, float *scratch, int64_t T, int64_t N, int64_t C, int64_t S, int64_t blank) {
  int64_t i, n, k, L = 2 * S + 1;
  for (i = 0; i < T * N * C; i++) grad[i] = 0;
  for (n = 0; n < N; n++) {
    int64_t t = in_length[n] < 0 ? 0 : in_length[n] > T ? T : in_length[n];
    int64_t s = target_length[n] < 0 ? 0 : target_length[n] > S ? S : target_length[n];
    int known = 1;
    for (k = 0; k < s; k++) known &= target[n * S + k] >= 0 && target[n * S + k] < C;
    loss[n] = !known ? NAN :
              row_loss(lp + n * C, target + n * S, grad + n * C, scratch, scratch + T * L, t, s, N * C, blank);
  }
}
