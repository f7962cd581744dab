/* max_pool, avg_pool, lp_pool and their gradients. x [N,C,in…] -> y [N,C,out…]; window element k of output o is the input index
 * o * stride + k * dilation - pad. Positions outside the input take part in nothing, except that avg_pool with
 * count_include_pad divides by the positions inside the padded input (what ceil adds beyond is never counted). */
#include "ir/eval_kit.h"

typedef struct Window {
  int rank;
  int64_t planes, in[MAX_RANK], out[MAX_RANK], k[MAX_RANK], stride[MAX_RANK], dilation[MAX_RANK], pads[2 * MAX_RANK];
} Window;

static Window window_of(Eval *e, const Node *n, const Tensor *x, const Tensor *y) {
  Window w = {.rank = x->rank - 2, .planes = x->dims[0] * x->dims[1]};
  for (int d = 0; d < w.rank; d++) {
    w.in[d] = x->dims[d + 2]; w.out[d] = y->dims[d + 2];
    w.k[d] = w.stride[d] = w.dilation[d] = 1;
  }
  eval_attr(e, n, "kernel", w.k, w.rank);
  eval_attr(e, n, "strides", w.stride, w.rank);
  eval_attr(e, n, "dilations", w.dilation, w.rank);
  eval_attr(e, n, "pads", w.pads, 2 * w.rank);
  return w;
}

/* The flat index in the plane of window element k at output o; -1 outside the input, -2 outside the padding too. */
static int64_t window_at(const Window *w, const int64_t *o, const int64_t *k) {
  int64_t flat = 0, outside = 0;
  for (int d = 0; d < w->rank; d++) {
    int64_t i = o[d] * w->stride[d] + k[d] * w->dilation[d] - w->pads[d];
    if (i < -w->pads[d] || i >= w->in[d] + w->pads[d + w->rank]) return -2;
    if (i < 0 || i >= w->in[d]) outside = -1;
    flat = flat * w->in[d] + i;
  }
  return outside ? outside : flat;
}

/* The position of a row-major index when the spatial axes are counted first-axis-fastest (storage_order 1). */
static int64_t column_major(const Window *w, int64_t flat) {
  int64_t i[MAX_RANK], at = 0;
  for (int d = w->rank - 1; d >= 0; d--) { i[d] = flat % w->in[d]; flat /= w->in[d]; }
  for (int d = w->rank - 1; d >= 0; d--) at = at * w->in[d] + i[d];
  return at;
}

/* The first of the largest; a NaN wins and stays. Indices count from the start of the whole tensor. A window
 * without any element gives the type's lowest value and index -1. */
bool eval_max_pool(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *x = in[0];
  Tensor *y = out[0], *indices = n->nout > 1 && n->out[1] ? out[1] : NULL;
  if (tensor_count(y) == 0) return true;
  Window w = window_of(e, n, x, y);
  bool floats = tensor_is_float(x), by_column = node_int(n, "storage_order", 0) != 0;
  int64_t plane = dims_product(w.in, 0, w.rank), at = 0;
  Arena tmp = {0};
  double *xf = floats ? load_doubles(&tmp, x) : NULL;
  uint64_t *xw = floats ? NULL : load_words(&tmp, x);
  for (int64_t p = 0; p < w.planes; p++) {
    int64_t o[MAX_RANK] = {0};
    do {
      int64_t k[MAX_RANK] = {0}, best = -1;
      do {
        int64_t j = window_at(&w, o, k);
        if (j < 0) continue;
        bool first = best < 0, wins;
        if (floats) {
          double v = xf[p * plane + j], b = first ? 0 : xf[p * plane + best];
          wins = first || v > b || (isnan(v) && !isnan(b));
        } else wins = first || word_less(x->dtype, xw[p * plane + best], xw[p * plane + j]);
        if (wins) best = j;
      } while (index_next(k, w.k, w.rank));
      if (best >= 0) copy_element(y->data, at, x->data, p * plane + best, (size_t)dtype_bytes(x->dtype));
      else if (floats) tensor_set(y, at, lowest_double(y->dtype));
      else tensor_set_int(y, at, (int64_t)lowest_word(y->dtype));
      if (indices) tensor_set_int(indices, at, best < 0 ? -1 : p * plane + (by_column ? column_major(&w, best) : best));
      at++;
    } while (index_next(o, w.out, w.rank));
  }
  arena_free(&tmp);
  return true;
}

/* avg: sum / count. lp: (sum |x|^p) ^ (1/p) */
static bool mean_pool(Eval *e, const Node *n, const Tensor *x, Tensor *y, bool include_pad, int64_t p_norm) {
  if (tensor_count(y) == 0) return true;
  Window w = window_of(e, n, x, y);
  int64_t plane = dims_product(w.in, 0, w.rank), at = 0;
  Arena tmp = {0};
  double *v = load_doubles(&tmp, x), *to = NEW_N(&tmp, double, tensor_count(y));
  for (int64_t p = 0; p < w.planes; p++) {
    int64_t o[MAX_RANK] = {0};
    do {
      int64_t k[MAX_RANK] = {0}, count = 0;
      double sum = 0;
      do {
        int64_t j = window_at(&w, o, k);
        if (j >= 0) sum += p_norm ? pow(fabs(v[p * plane + j]), (double)p_norm) : v[p * plane + j];
        if (j >= 0 || (include_pad && j == -1)) count++;
      } while (index_next(k, w.k, w.rank));
      to[at++] = p_norm ? pow(sum, 1.0 / (double)p_norm) : count ? sum / (double)count : 0;
    } while (index_next(o, w.out, w.rank));
  }
  store_doubles(y, to);
  arena_free(&tmp);
  return true;
}

bool eval_avg_pool(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return mean_pool(e, n, in[0], out[0], node_int(n, "count_include_pad", 0) != 0, 0);
}

bool eval_lp_pool(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return mean_pool(e, n, in[0], out[0], false, node_int(n, "p", 2));
}

/* dx, zero at first, gets every dy at the first element of its window that equals y or is no number. */
bool eval_max_pool_grad(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *x = in[0], *y = in[1];
  if (tensor_count(y) == 0 || tensor_count(x) == 0) return true;
  Window w = window_of(e, n, x, y);
  int64_t plane = dims_product(w.in, 0, w.rank), at = 0;
  Arena tmp = {0};
  double *xf = load_doubles(&tmp, x), *yf = load_doubles(&tmp, y), *dy = load_doubles(&tmp, in[2]),
      *dx = NEW_N(&tmp, double, tensor_count(x));
  for (int64_t p = 0; p < w.planes; p++) {
    int64_t o[MAX_RANK] = {0};
    do {
      int64_t k[MAX_RANK] = {0};
      do {
        int64_t j = window_at(&w, o, k);
        if (j < 0 || (xf[p * plane + j] != yf[at] && !isnan(xf[p * plane + j]))) continue;
        dx[p * plane + j] += dy[at];
        break;
      } while (index_next(k, w.k, w.rank));
      at++;
    } while (index_next(o, w.out, w.rank));
  }
  store_doubles(out[0], dx);
  arena_free(&tmp);
  return true;
}

/* Every element of a window gets dy / count. */
bool eval_avg_pool_grad(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *y = in[0];
  Tensor *x = out[0];
  if (tensor_count(y) == 0 || tensor_count(x) == 0) return true;
  Window w = window_of(e, n, x, y);
  char counts = node_str(n, "count", "inside")[0];              // i, p or o
  int64_t plane = dims_product(w.in, 0, w.rank), at = 0;
  Arena tmp = {0};
  double *dy = load_doubles(&tmp, y), *dx = NEW_N(&tmp, double, tensor_count(x));
  for (int64_t p = 0; p < w.planes; p++) {
    int64_t o[MAX_RANK] = {0};
    do {
      int64_t k[MAX_RANK] = {0}, count = 0, j;
      do {
        j = window_at(&w, o, k);
        count += j >= 0 || (counts == 'p' && j == -1);
      } while (index_next(k, w.k, w.rank));
      memset(k, 0, sizeof k);
      do {
        j = window_at(&w, o, k);
        if (j >= 0) dx[p * plane + j] += counts == 'o' ? dy[at] : dy[at] / (double)count;
      } while (index_next(k, w.k, w.rank));
      at++;
    } while (index_next(o, w.out, w.rank));
  }
  store_doubles(x, dx);
  arena_free(&tmp);
  return true;
}
