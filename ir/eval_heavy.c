/* matmul, conv, conv_transpose and conv_grad_weight: sums of products, accumulated in double (floats) or in 64 bits that wrap
 * (integers) and rounded once at the end. The loops are in eval_heavy.tmpl. */
#include "ir/eval_kit.h"

typedef struct ConvShape {
  int64_t N, C, M, group;
  int rank;                                             // spatial axes
  int64_t in[MAX_RANK], out[MAX_RANK], k[MAX_RANK], stride[MAX_RANK], dilation[MAX_RANK], pad[MAX_RANK];  // pad: begins
  bool plain_1x1;                                       // one tap, stride 1, no padding
} ConvShape;

#define T double
#define NAME(f) f##_doubles
#include "ir/eval_heavy.tmpl"
#undef T
#undef NAME
#define T uint64_t
#define NAME(f) f##_words
#include "ir/eval_heavy.tmpl"
#undef T
#undef NAME

/* [..., M, K] x [..., K, N]: y's leading axes are the broadcast batch */
bool eval_matmul(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *a = in[0], *b = in[1];
  Tensor *y = out[0];
  int64_t M = a->dims[a->rank - 2], K = a->dims[a->rank - 1], N = b->dims[b->rank - 1];
  if (b->dims[b->rank - 2] != K) return eval_fail(e, n, "%s x %s", tensor_type_text(a), tensor_type_text(b));
  int batch = y->rank - 2;
  int64_t i[MAX_RANK] = {0}, at = 0;
  if (tensor_count(y) == 0) return true;
  Arena tmp = {0};
  bool floats = tensor_is_float(y);
  double *af = NULL, *bf = NULL, *yf = NULL;
  uint64_t *aw = NULL, *bw = NULL, *yw = NULL;
  if (floats) { af = load_doubles(&tmp, a); bf = load_doubles(&tmp, b); yf = NEW_N(&tmp, double, tensor_count(y)); }
  else { aw = load_words(&tmp, a); bw = load_words(&tmp, b); yw = NEW_N(&tmp, uint64_t, tensor_count(y)); }
  do {
    int64_t ai = 0, bi = 0;                             // which matrix of each side
    for (int d = 0; d < batch; d++) {
      int da = d - (batch - (a->rank - 2)), db = d - (batch - (b->rank - 2));
      if (da >= 0) ai = ai * a->dims[da] + (a->dims[da] == 1 ? 0 : i[d]);
      if (db >= 0) bi = bi * b->dims[db] + (b->dims[db] == 1 ? 0 : i[d]);
    }
    if (floats) matmul_doubles(af + ai * M * K, bf + bi * K * N, yf + at * M * N, M, K, N);
    else matmul_words(aw + ai * M * K, bw + bi * K * N, yw + at * M * N, M, K, N);
    at++;
  } while (index_next(i, y->dims, batch));
  if (floats) store_doubles(y, yf);
  else store_words(y, yw);
  arena_free(&tmp);
  return true;
}

/* Reads the attributes; w [M, C, k…] (only its k count), y has the output's channels. */
static bool conv_shape(Eval *e, const Node *n, const Tensor *x, const Tensor *w, const Tensor *y, ConvShape *s) {
  memset(s, 0, sizeof *s);
  s->rank = x->rank - 2;
  s->N = x->dims[0]; s->C = x->dims[1]; s->M = y->dims[1];
  s->group = node_int(n, "group", 1);
  int64_t pads[2 * MAX_RANK] = {0};
  for (int d = 0; d < s->rank; d++) s->stride[d] = s->dilation[d] = 1;
  eval_attr(e, n, "strides", s->stride, s->rank);
  eval_attr(e, n, "dilations", s->dilation, s->rank);
  eval_attr(e, n, "pads", pads, 2 * s->rank);
  s->plain_1x1 = true;
  for (int d = 0; d < s->rank; d++) {
    s->in[d] = x->dims[d + 2]; s->out[d] = y->dims[d + 2]; s->k[d] = w->dims[d + 2];
    s->pad[d] = pads[d];
    if (s->stride[d] < 1 || s->dilation[d] < 1) return eval_fail(e, n, "strides and dilations must be positive");
    if (s->k[d] != 1 || s->stride[d] != 1 || s->pad[d] || s->in[d] != s->out[d]) s->plain_1x1 = false;
  }
  if (s->group < 1 || s->C % s->group || s->M % s->group)
    return eval_fail(e, n, "group %lld does not divide %lld and %lld channels", (long long)s->group, (long long)s->C,
                     (long long)s->M);
  return true;
}

static bool convolve(Eval *e, const Node *n, const Tensor *const *in, Tensor *y, bool transposed) {
  const Tensor *x = in[0], *w = in[1], *bias = n->nin > 2 ? in[2] : NULL;
  ConvShape s;
  if (!conv_shape(e, n, x, w, y, &s)) return false;
  if (transposed ? w->dims[0] != s.C || w->dims[1] * s.group != s.M : w->dims[0] != s.M || w->dims[1] * s.group != s.C)
    return eval_fail(e, n, "weight %s does not fit input %s with group=%lld", tensor_type_text(w), tensor_type_text(x),
                     (long long)s.group);
  Arena tmp = {0};
  int64_t plane = dims_product(s.out, 0, s.rank), channels = s.N * s.M;
  if (tensor_is_float(y)) {
    double *acc = NEW_N(&tmp, double, tensor_count(y) + 1), *b = bias ? load_doubles(&tmp, bias) : NULL;
    for (int64_t c = 0; b && c < channels; c++)
      for (int64_t i = 0; i < plane; i++) acc[c * plane + i] = b[c % s.M];
    (transposed ? conv_transpose_doubles : conv_doubles)(&s, load_doubles(&tmp, x), load_doubles(&tmp, w), acc);
    store_doubles(y, acc);
  } else {
    uint64_t *acc = NEW_N(&tmp, uint64_t, tensor_count(y) + 1), *b = bias ? load_words(&tmp, bias) : NULL;
    for (int64_t c = 0; b && c < channels; c++)
      for (int64_t i = 0; i < plane; i++) acc[c * plane + i] = b[c % s.M];
    (transposed ? conv_transpose_words : conv_words)(&s, load_words(&tmp, x), load_words(&tmp, w), acc);
    store_words(y, acc);
  }
  arena_free(&tmp);
  return true;
}

bool eval_conv(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return convolve(e, n, in, out[0], false);
}
bool eval_conv_transpose(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return convolve(e, n, in, out[0], true);
}

bool eval_conv_grad_weight(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *x = in[0], *dy = in[1];
  Tensor *dw = out[0];
  ConvShape s;
  if (!conv_shape(e, n, x, dw, dy, &s)) return false;
  if (x->dims[0] != dy->dims[0]) return eval_fail(e, n, "%s and %s", tensor_type_text(x), tensor_type_text(dy));
  Arena tmp = {0};
  if (tensor_is_float(dw)) {
    double *sum = NEW_N(&tmp, double, tensor_count(dw) + 1);
    conv_grad_weight_doubles(&s, load_doubles(&tmp, x), load_doubles(&tmp, dy), sum);
    store_doubles(dw, sum);
  } else {
    uint64_t *sum = NEW_N(&tmp, uint64_t, tensor_count(dw) + 1);
    conv_grad_weight_words(&s, load_words(&tmp, x), load_words(&tmp, dy), sum);
    store_words(dw, sum);
  }
  arena_free(&tmp);
  return true;
}
