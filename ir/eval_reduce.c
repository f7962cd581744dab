/* Reductions, argmax/argmin, running sums and products, softmax, layer and RMS normalisation.
 * Everything but the reductions proper works on lines: x seen as [outer, n, inner] about one axis, or
 * [outer, n] over the trailing axes. Floats accumulate in double, integers in 64 bits that wrap. */
#include "ir/eval_kit.h"

/* For each element of x in order, which element of y it belongs to: y's strides with 0 on reduced axes.
 * keepdims does not matter: both shapes have the same elements. */
static void reduce_strides(Eval *e, const Node *n, const Tensor *x, int64_t *stride) {
  int64_t axes[MAX_RANK], step = 1;
  int count = eval_attr(e, n, "axes", axes, MAX_RANK);
  bool reduced[MAX_RANK] = {false};
  for (int k = 0; k < count; k++) reduced[axes[k]] = true;
  for (int k = x->rank - 1; k >= 0; k--) {
    stride[k] = reduced[k] ? 0 : step;
    if (!reduced[k]) step *= x->dims[k];
  }
}

static bool reduce(Eval *e, const Node *n, const Tensor *x, Tensor *y, ScalarOp op) {
  Arena tmp = {0};
  int64_t stride[MAX_RANK], i[MAX_RANK] = {0}, count = tensor_count(x), results = tensor_count(y);
  reduce_strides(e, n, x, stride);
  bool floats = tensor_is_float(x);
  double start = op == S_ADD ? 0 : op == S_MUL ? 1 : op == S_MAX ? lowest_double(x->dtype) : highest_double(x->dtype);
  uint64_t start_word = op == S_ADD ? 0 : op == S_MUL ? 1
                      : op == S_MAX ? lowest_word(x->dtype) : highest_word(x->dtype);
  double *xf = floats ? load_doubles(&tmp, x) : NULL, *yf = floats ? NEW_N(&tmp, double, results + 1) : NULL;
  uint64_t *xw = floats ? NULL : load_words(&tmp, x), *yw = floats ? NULL : NEW_N(&tmp, uint64_t, results + 1);
  for (int64_t k = 0; k < results; k++)
    if (floats) yf[k] = start;
    else yw[k] = start_word;
  for (int64_t at = 0; at < count; at++) {
    int64_t to = 0;
    for (int k = 0; k < x->rank; k++) to += i[k] * stride[k];
    if (floats) yf[to] = op == S_ADD ? yf[to] + xf[at] : scalar_eval_float(op, yf[to], xf[at], 0);
    else if (op == S_ADD) yw[to] += xw[at];
    else if (op == S_MUL) yw[to] *= xw[at];
    else if (word_less(x->dtype, xw[at], yw[to]) == (op == S_MIN)) yw[to] = xw[at];
    index_next(i, x->dims, x->rank);
  }
  if (floats) store_doubles(y, yf);
  else store_words(y, yw);
  arena_free(&tmp);
  return true;
}

bool eval_reduce_sum(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return reduce(e, n, in[0], out[0], S_ADD);
}
bool eval_reduce_prod(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return reduce(e, n, in[0], out[0], S_MUL);
}
bool eval_reduce_max(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return reduce(e, n, in[0], out[0], S_MAX);
}
bool eval_reduce_min(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return reduce(e, n, in[0], out[0], S_MIN);
}

/* ---- lines about one axis ---- */

typedef struct Lines { int64_t outer, n, inner; } Lines;

static Lines lines_about(const Tensor *x, int axis) {
  return (Lines){dims_product(x->dims, 0, axis), x->dims[axis], dims_product(x->dims, axis + 1, x->rank)};
}

/* The first (or last) of the largest (smallest). A comparison with NaN is false: it is chosen only in place 0. */
static bool arg_extreme(const Node *n, const Tensor *x, Tensor *y, bool largest) {
  Lines l = lines_about(x, (int)node_int(n, "axis", 0));
  bool last = node_int(n, "select_last", 0) != 0, floats = tensor_is_float(x);
  Arena tmp = {0};
  double *xf = floats ? load_doubles(&tmp, x) : NULL;
  uint64_t *xw = floats ? NULL : load_words(&tmp, x);
  for (int64_t o = 0; o < l.outer; o++)
    for (int64_t i = 0; i < l.inner; i++) {
      int64_t best = 0, base = o * l.n * l.inner + i;
      for (int64_t k = 1; k < l.n; k++) {
        int64_t a = base + k * l.inner, b = base + best * l.inner;
        bool less = floats ? xf[a] < xf[b] : word_less(x->dtype, xw[a], xw[b]);
        bool more = floats ? xf[a] > xf[b] : word_less(x->dtype, xw[b], xw[a]);
        bool equal = floats ? xf[a] == xf[b] : xw[a] == xw[b];
        if ((largest ? more : less) || (last && equal)) best = k;
      }
      tensor_set_int(y, o * l.inner + i, best);
    }
  arena_free(&tmp);
  return true;
}

bool eval_argmax(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  (void)e;
  return arg_extreme(n, in[0], out[0], true);
}
bool eval_argmin(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  (void)e;
  return arg_extreme(n, in[0], out[0], false);
}

/* y[k] = x[0] op … op x[k]; exclusive: without x[k] itself; reverse: from the end */
static bool running(const Node *n, const Tensor *x, Tensor *y, bool product) {
  Lines l = lines_about(x, (int)node_int(n, "axis", 0));
  bool exclusive = node_int(n, "exclusive", 0) != 0, reverse = node_int(n, "reverse", 0) != 0,
      floats = tensor_is_float(x);
  Arena tmp = {0};
  double *xf = floats ? load_doubles(&tmp, x) : NULL;
  uint64_t *xw = floats ? NULL : load_words(&tmp, x);
  for (int64_t o = 0; o < l.outer; o++)
    for (int64_t i = 0; i < l.inner; i++) {
      double f = product;
      uint64_t w = product;
      for (int64_t step = 0; step < l.n; step++) {
        int64_t k = reverse ? l.n - 1 - step : step, at = (o * l.n + k) * l.inner + i;
        if (exclusive && floats) tensor_set(y, at, f);
        else if (exclusive) tensor_set_int(y, at, (int64_t)w);
        if (floats) f = product ? f * xf[at] : f + xf[at];
        else w = product ? w * xw[at] : w + xw[at];
        if (!exclusive && floats) tensor_set(y, at, f);
        else if (!exclusive) tensor_set_int(y, at, (int64_t)w);
      }
    }
  arena_free(&tmp);
  return true;
}

bool eval_cumsum(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  (void)e;
  return running(n, in[0], out[0], false);
}
bool eval_cumprod(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  (void)e;
  return running(n, in[0], out[0], true);
}

/* softmax: exp(x - max) / sum(exp(x - max)) of the first `ahead` + i + 1 elements of row i, 0 beyond; ahead < 0: of all.
 * log: x - max - log(sum(exp(x - max))) */
static bool softmax(const Node *n, const Tensor *x, Tensor *y, bool take_log, int64_t ahead) {
  Lines l = lines_about(x, (int)node_int(n, "axis", 0));
  Arena tmp = {0};
  double *v = load_doubles(&tmp, x);
  int64_t rows = ahead < 0 ? 1 : x->dims[x->rank - 2];
  for (int64_t o = 0; o < l.outer; o++)
    for (int64_t i = 0; i < l.inner; i++) {
      double *p = v + o * l.n * l.inner + i, max = -INFINITY, sum = 0;
      int64_t seen = ahead < 0 || o % rows + ahead + 1 > l.n ? l.n : o % rows + ahead + 1;
      for (int64_t k = 0; k < seen; k++) max = scalar_eval_float(S_MAX, max, p[k * l.inner], 0);
      for (int64_t k = 0; k < seen; k++) sum += exp(p[k * l.inner] - max);
      for (int64_t k = 0; k < l.n; k++) {
        double d = p[k * l.inner] - max;
        p[k * l.inner] = k >= seen ? 0 : take_log ? d - log(sum) : exp(d) / sum;
      }
    }
  store_doubles(y, v);
  arena_free(&tmp);
  return true;
}

bool eval_softmax(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  int64_t ahead = -1;
  eval_attr(e, n, "ahead", &ahead, 1);
  return softmax(n, in[0], out[0], false, ahead);
}
bool eval_log_softmax(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  (void)e;
  return softmax(n, in[0], out[0], true, -1);
}

/* ---- normalisation over the trailing axes ---- */

/* Element `at` of x -> element of a parameter p that broadcasts to x. */
static int64_t broadcast_at(const Tensor *x, const Tensor *p, int64_t at) {
  int64_t i[MAX_RANK], flat = 0;
  for (int k = x->rank - 1; k >= 0; k--) { i[k] = at % x->dims[k]; at /= x->dims[k]; }
  for (int k = 0; k < p->rank; k++) flat = flat * p->dims[k] + (p->dims[k] == 1 ? 0 : i[x->rank - p->rank + k]);
  return flat;
}

/* y = (x - mean) / sqrt(variance + epsilon) * scale + bias; RMS: mean taken as 0 */
static bool normalise(const Node *n, const Tensor *const *in, Tensor **out, bool centred) {
  const Tensor *x = in[0], *scale = n->nin > 1 ? in[1] : NULL, *bias = n->nin > 2 ? in[2] : NULL;
  int axis = (int)node_int(n, "axis", x->rank - 1);
  int64_t outer = dims_product(x->dims, 0, axis), size = dims_product(x->dims, axis, x->rank);
  double epsilon = node_float(n, "epsilon", 1e-5);
  Arena tmp = {0};
  double *v = load_doubles(&tmp, x), *s = scale ? load_doubles(&tmp, scale) : NULL;
  double *b = bias ? load_doubles(&tmp, bias) : NULL;
  for (int64_t o = 0; o < outer; o++) {
    double *p = v + o * size, mean = 0, variance = 0;
    for (int64_t k = 0; centred && k < size; k++) mean += p[k] / (double)size;
    for (int64_t k = 0; k < size; k++) variance += (p[k] - mean) * (p[k] - mean) / (double)size;
    double inverse = 1.0 / sqrt(variance + epsilon);
    for (int64_t k = 0; k < size; k++) {
      p[k] = (p[k] - mean) * inverse;
      if (s) p[k] *= s[broadcast_at(x, scale, o * size + k)];
      if (b) p[k] += b[broadcast_at(x, bias, o * size + k)];
    }
    if (n->nout > 1 && n->out[1]) tensor_set(out[1], o, mean);
    if (n->nout > 2 && n->out[2]) tensor_set(out[2], o, inverse);
  }
  store_doubles(out[0], v);
  arena_free(&tmp);
  return true;
}

bool eval_layer_norm(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  (void)e;
  return normalise(n, in, out, true);
}
bool eval_rms_norm(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  (void)e;
  return normalise(n, in, out, false);
}
