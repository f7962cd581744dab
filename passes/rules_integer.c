/* Products of small integers, as quantised networks have them, in f32: it holds every whole number up to 2^24, so where
 * no sum of products can be larger, in whatever order it is taken, the result is the same, and kernels for floats are
 * the fast ones. Weights are constant, so the largest sum is known. See rules.def. */
#include "passes/rules.h"
#include <math.h>

/* A byte, or a byte less its zero point: at most 255 from zero. */
static bool is_byte(const Rules *r, ValueId v, DType *t) {
  const Node *n = match_def(r, v, OP_CAST);
  if (n) *t = match_type(r, n->in[0])->dtype;
  return n && (*t == DT_U8 || *t == DT_I8);
}

static bool is_small(const Rules *r, ValueId v) {
  DType t, zero;
  double c, low;
  if (is_byte(r, v, &t)) return true;
  const Node *n = match_def(r, v, OP_SUB);
  if (!n || !is_byte(r, n->in[0], &t)) return false;
  low = t == DT_U8 ? 0 : -128;
  if (match_splat(r, n->in[1], &c)) return c >= low && c <= low + 255;
  return is_byte(r, n->in[1], &zero) && zero == t;
}

/* The largest sum of |weights| that meet in one element of the result: of a column [K, N], of a filter [M, …]. */
static double largest_sum(const Rules *r, const Tensor *w, bool columns) {
  int64_t n = w->dims[columns ? 1 : 0], of = tensor_count(w) / (n ? n : 1);
  double most = 0, *sum = NEW_N(&r->c->tmp, double, n + 1);
  for (int64_t k = 0; k < n * of; k++) {
    double *s = &sum[columns ? k % n : k / of];
    *s += fabs((double)tensor_get_int(w, k));
    most = fmax(most, *s);
  }
  return most;
}

static ValueId as_float(Rules *r, ValueId v) {
  Attr to = attr_dtype("to", DT_F32);
  return v ? rule_op(r, OP_CAST, &v, 1, &to, 1) : 0;
}

bool rule_integer_products(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  const Tensor *w = n->op == OP_MATMUL || n->op == OP_CONV ? match_constant(r, n->in[1]) : NULL;
  if (!w || match_type(r, n->out[0])->dtype != DT_I32 || !is_small(r, n->in[0])) return false;
  ValueId in[3] = {n->in[0], n->in[1], n->nin > 2 ? n->in[2] : 0};
  if (in[2] || (n->op == OP_MATMUL && w->rank != 2)) return false;
  if (largest_sum(r, w, n->op == OP_MATMUL) * 255 > ldexp(1, 24)) return false;
  Attr attr[8], to = attr_dtype("to", DT_I32);
  Op op = n->op;
  int nattr = n->nattr;
  for (int k = 0; k < nattr; k++) attr[k] = n->attr[k];
  attr[nattr++] = attr_int("exact", 1);
  if (!rule_go(r)) return false;
  for (int k = 0; k < 2; k++) in[k] = as_float(r, in[k]);
  ValueId y = rule_op(r, op, in, 2, attr, nattr);
  return rule_replace(r, rule_op(r, OP_CAST, &y, 1, &to, 1));
}
