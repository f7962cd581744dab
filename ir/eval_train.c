/* The composites that training is made of, by their definitions. */
#include "ir/eval_kit.h"

/* One row of C classes, `step` apart. q: the distribution that is asked for, smoothed. */
static double row_loss(const double *x, const double *q, const double *w, int64_t n, int64_t step, double *max,
                       double *log_sum) {
  double sum = 0, loss = 0;
  *max = -INFINITY;
  for (int64_t c = 0; c < n; c++) *max = scalar_eval_float(S_MAX, *max, x[c * step], 0);
  for (int64_t c = 0; c < n; c++) sum += exp(x[c * step] - *max);
  *log_sum = log(sum);
  for (int64_t c = 0; c < n; c++) loss -= q[c] * (w ? w[c] : 1) * (x[c * step] - *max - *log_sum);
  return loss;
}

bool eval_softmax_cross_entropy(Eval *e, const Node *node, const Tensor *const *in, Tensor **out) {
  Arena tmp = {0};
  int axis = (int)node_int(node, "axis", 1);
  double smoothing = node_float(node, "smoothing", 0), max, log_sum;
  int64_t n = in[0]->dims[axis], inner = dims_product(in[0]->dims, axis + 1, in[0]->rank);
  bool labels = tensor_is_word(in[1]), ok = true;
  const double *x = load_doubles(&tmp, in[0]), *t = load_doubles(&tmp, in[1]);
  const double *w = node->nin > 2 && in[2] ? load_doubles(&tmp, in[2]) : NULL;
  double *q = NEW_N(&tmp, double, n + 1);
  for (int64_t row = 0, rows = tensor_count(out[0]); ok && row < rows; row++) {
    int64_t at = row / inner * n * inner + row % inner;
    int64_t label = labels ? (int64_t)t[row] : 0;
    ok = !labels || index_wrap(&label, n);
    if (!ok) { eval_fail(e, node, "label %lld of %lld classes", (long long)label, (long long)n); break; }
    for (int64_t c = 0; c < n; c++)
      q[c] = (1 - smoothing) * (labels ? c == label : t[at + c * inner]) + smoothing / (double)n;
    store_double(out[0], row, row_loss(x + at, q, w, n, inner, &max, &log_sum));
    store_double(out[1], row, max);
    store_double(out[2], row, log_sum);
  }
  arena_free(&tmp);
  return ok;
}

bool eval_batch_norm_train(Eval *e, const Node *node, const Tensor *const *in, Tensor **out) {
  (void)e;
  Arena tmp = {0};
  const Tensor *t = in[0];
  const double *x = load_doubles(&tmp, t), *none = NULL;
  const double *scale = node->nin > 1 && in[1] ? load_doubles(&tmp, in[1]) : none;
  const double *bias = node->nin > 2 && in[2] ? load_doubles(&tmp, in[2]) : none;
  double epsilon = node_float(node, "epsilon", 0);
  int64_t channels = t->dims[1], inner = dims_product(t->dims, 2, t->rank), each = t->dims[0] * inner;
  for (int64_t c = 0; c < channels; c++) {
    double mean = 0, var = 0;
    for (int64_t k = 0; k < each; k++) mean += x[(k / inner * channels + c) * inner + k % inner];
    mean /= (double)each;
    for (int64_t k = 0; k < each; k++) {
      double d = x[(k / inner * channels + c) * inner + k % inner] - mean;
      var += d * d;
    }
    var /= (double)each;
    store_double(out[1], c, mean);
    store_double(out[2], c, var);
    for (int64_t k = 0; k < each; k++) {
      int64_t at = (k / inner * channels + c) * inner + k % inner;
      store_double(out[0], at, (x[at] - mean) / sqrt(var + epsilon) * (scale ? scale[c] : 1) + (bias ? bias[c] : 0));
    }
  }
  arena_free(&tmp);
  return true;
}

/* One row of scores -> share; -> grad: d loss / d score, by d softmax. */
static void row_of_shares(const double *q, const double *k, const double *v, const double *dy, int64_t seen, int64_t D, int64_t E,
                          double scale, double *share, double *grad) {
  double max = -INFINITY, sum = 0, mean = 0;
  for (int64_t j = 0; j < seen; j++) {
    double dot = 0;
    for (int64_t d = 0; d < D; d++) dot += q[d] * k[j * D + d];
    share[j] += scale * dot;                                    // it holds the bias
    max = scalar_eval_float(S_MAX, max, share[j], 0);
    grad[j] = 0;
    for (int64_t d = 0; d < E; d++) grad[j] += dy[d] * v[j * E + d];
  }
  for (int64_t j = 0; j < seen; j++) sum += share[j] = exp(share[j] - max);
  for (int64_t j = 0; j < seen; j++) mean += (share[j] /= sum) * grad[j];
  for (int64_t j = 0; j < seen; j++) grad[j] = scale * share[j] * (grad[j] - mean);
}

bool eval_attention_grad(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  Arena tmp = {0};
  int rank = in[0]->rank;
  int64_t S = in[0]->dims[rank - 2], D = in[0]->dims[rank - 1], T = in[1]->dims[rank - 2], E = in[2]->dims[rank - 1], ahead = T;
  eval_attr(e, n, "ahead", &ahead, 1);
  const Tensor *bias = n->nin > 4 ? in[4] : NULL;
  const double *x[4], *extra = bias ? load_doubles(&tmp, bias) : NULL;
  double *dx[3], *share = NEW_N(&tmp, double, T + 1), *grad = NEW_N(&tmp, double, T + 1);
  for (int k = 0; k < 4; k++) x[k] = load_doubles(&tmp, in[k]);
  for (int k = 0; k < 3; k++) dx[k] = NEW_N(&tmp, double, tensor_count(out[k]) + 1);
  int64_t index[MAX_RANK] = {0}, batch = 0;
  if (tensor_count(in[0])) do {
    const double *q = x[0] + batch * S * D, *k = x[1] + batch * T * D, *v = x[2] + batch * T * E, *dy = x[3] + batch * S * E;
    double *dq = dx[0] + batch * S * D, *dk = dx[1] + batch * T * D, *dv = dx[2] + batch * T * E;
    for (int64_t i = 0; i < S; i++) {
      int64_t seen = i + ahead + 1 < T ? i + ahead + 1 : T;
      index[rank - 2] = i;
      for (int64_t j = 0; j < seen; j++) {
        index[rank - 1] = j;
        int64_t at = 0;
        for (int d = 0; bias && d < bias->rank; d++)
          at = at * bias->dims[d] + (bias->dims[d] == 1 ? 0 : index[rank - bias->rank + d]);
        share[j] = extra ? extra[at] : 0;
      }
      row_of_shares(q + i * D, k, v, dy + i * E, seen, D, E, node_float(n, "scale", 1), share, grad);
      for (int64_t j = 0; j < seen; j++) {
        for (int64_t d = 0; d < D; d++) dq[i * D + d] += grad[j] * k[j * D + d];
        for (int64_t d = 0; d < D; d++) dk[j * D + d] += grad[j] * q[i * D + d];
        for (int64_t d = 0; d < E; d++) dv[j * E + d] += share[j] * dy[i * E + d];
      }
    }
    batch++;
  } while (index_next(index, in[0]->dims, rank - 2));
  for (int k = 0; k < 3; k++) store_doubles(out[k], dx[k]);
  arena_free(&tmp);
  return true;
}
