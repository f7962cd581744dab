/* Convolution and its transpose, naive, for any number of spatial axes.
 *   conv:            y[n, m, o…] = b[m] + sum over c, k… of x[n, g*C + c, o*stride + k*dilation - pad] * w[m, c, k…]
 *   conv_transpose:  y[n, g*M + m, o…] = b + sum over c, k… of x[n, g*C + c, i] * w[g*C + c, m, k…],
 *                    where o = i*stride + k*dilation - pad must hold for an integer i
 *   conv_grad_weight: dw[m, c, k…] = sum over n, o… of dy[n, m, o…] * x[n, g*C + c, o*stride + k*dilation - pad]
 * Taps outside x are skipped by a guard. kernels/conv.c has the tiled version. */
#include "passes/lower/functions.h"

/* guard for 0 <= e < size, left out where bounds show that it always holds */
static Expr *in_range(Builder *b, Expr *guard, Expr *e, Dim size) {
  Expr *lo = ex_scalar(b, S_GE, e, ex_int(b, 0), NULL), *hi = ex_lt(b, e, ex_dim(b, size));
  int64_t known;
  if (!(ex_is_int(lo, &known) && known)) guard = guard ? ex_scalar(b, S_AND, guard, lo, NULL) : lo;
  if (!(ex_is_int(hi, &known) && known)) guard = guard ? ex_scalar(b, S_AND, guard, hi, NULL) : hi;
  return guard;
}

/* o*stride + k*dilation - pad along spatial axis s */
static Expr *input_at(Builder *b, const Node *n, int s, Expr *o, Expr *k) {
  Dim stride = node_dims(n, "strides")->dims[s], dil = node_dims(n, "dilations")->dims[s];
  Expr *at = ex_add(b, ex_mul(b, o, ex_dim(b, stride)), ex_mul(b, k, ex_dim(b, dil)));
  return ex_sub(b, at, ex_dim(b, node_dims(n, "pads")->dims[s]));
}

/* sum += x[j] * (weight or dy)[q]; 0 where x has no such element. */
static void add_product(Lower *l, const Node *n, Var *sum, Expr **j, Expr **q, Expr *guard) {
  Builder *b = &l->b;
  DType t = sum->elem;
  Expr *p = ex_cast(b, t, lower_read(l, n->in[0], j)), *r = ex_cast(b, t, lower_read(l, n->in[1], q));
  if (guard) p = ex_select(b, guard, p, ex_const(b, t, 0));
  st_set(b, sum, ex_fma(b, p, r, ex_var(b, sum)));
}

/* Added last: see start_comes_last in kernels/tile.c. */
static Expr *with_bias(Lower *l, const Node *n, Expr *channel, Expr *sum, DType t) {
  if (n->nin < 3 || !n->in[2]) return sum;
  return ex_add(&l->b, sum, ex_cast(&l->b, t, lower_read(l, n->in[2], &channel)));
}

bool lower_conv(Lower *l, const Node *n) {
  Builder *b = &l->b;
  const Type *x = &value_of(l->m, n->in[0])->type, *w = &value_of(l->m, n->in[1])->type;
  const Type *y = &value_of(l->m, n->out[0])->type;
  const Attr *pads = node_dims(n, "pads");
  int spatial = x->rank - 2;
  int64_t group = node_int(n, "group", 1);
  Expr *i[MAX_RANK], *j[MAX_RANK], *q[MAX_RANK];
  lower_loops(l, y, i, y->rank - 1);
  DType t = dtype_compute(y->dtype);
  Var *sum = reg(b, "sum", ex_const(b, t, 0));
  j[0] = i[0];
  q[0] = i[1];
  q[1] = loop_begin(b, "c", ex_int(b, 0), ex_dim(b, w->dims[1]), 1, FOR_SEQ);
  Expr *g = group == 1 ? ex_int(b, 0) : ex_div(b, i[1], ex_int(b, y->dims[1].k / group));
  j[1] = ex_add(b, ex_mul(b, g, ex_dim(b, w->dims[1])), q[1]);
  Expr *guard = NULL;
  for (int s = 0; s < spatial; s++) {
    q[2 + s] = loop_begin(b, "kh", ex_int(b, 0), ex_dim(b, w->dims[2 + s]), 1, FOR_SEQ);
    j[2 + s] = input_at(b, n, s, i[2 + s], q[2 + s]);
    if (!dim_is(pads->dims[s], 0) || !dim_is(pads->dims[s + spatial], 0))
      guard = in_range(b, guard, j[2 + s], x->dims[2 + s]);
  }
  add_product(l, n, sum, j, q, guard);
  for (int s = 0; s < spatial + 1; s++) loop_end(b);
  lower_write(l, i, with_bias(l, n, i[1], ex_var(b, sum), t));
  lower_loops_end(l, y);
  return true;
}

bool lower_conv_transpose(Lower *l, const Node *n) {
  Builder *b = &l->b;
  const Type *x = &value_of(l->m, n->in[0])->type, *w = &value_of(l->m, n->in[1])->type;
  const Type *y = &value_of(l->m, n->out[0])->type;
  const Attr *strides = node_dims(n, "strides"), *pads = node_dims(n, "pads"), *dil = node_dims(n, "dilations");
  int spatial = x->rank - 2;
  int64_t group = node_int(n, "group", 1);
  Expr *i[MAX_RANK], *j[MAX_RANK], *q[MAX_RANK];
  lower_loops(l, y, i, -1);
  DType t = dtype_compute(y->dtype);
  Var *sum = reg(b, "sum", ex_const(b, t, 0));
  Dim per_in = dim_floordiv(x->dims[1], DIM(group)), per_out = w->dims[1];
  Expr *g = group == 1 ? ex_int(b, 0) : ex_div(b, i[1], ex_dim(b, per_out));
  Expr *c = loop_begin(b, "c", ex_int(b, 0), ex_dim(b, per_in), 1, FOR_SEQ);
  j[0] = i[0];
  j[1] = q[0] = ex_add(b, ex_mul(b, g, ex_dim(b, per_in)), c);
  q[1] = group == 1 ? i[1] : ex_rem(b, i[1], ex_dim(b, per_out));
  Expr *guard = NULL;
  for (int s = 0; s < spatial; s++) {
    Expr *stride = ex_dim(b, strides->dims[s]), *zero = ex_int(b, 0);
    q[2 + s] = loop_begin(b, "kh", zero, ex_dim(b, w->dims[2 + s]), 1, FOR_SEQ);
    Expr *o = ex_add(b, i[2 + s], ex_dim(b, pads->dims[s]));
    Expr *at = let(b, "at", ex_sub(b, o, ex_mul(b, q[2 + s], ex_dim(b, dil->dims[s]))));
    j[2 + s] = ex_div(b, at, stride);
    Expr *whole = ex_scalar(b, S_EQ, ex_rem(b, at, stride), zero, NULL);
    Expr *ok = ex_scalar(b, S_AND, ex_scalar(b, S_GE, at, zero, NULL),
                         ex_lt(b, j[2 + s], ex_dim(b, x->dims[2 + s])), NULL);
    ok = ex_scalar(b, S_AND, ok, whole, NULL);
    guard = guard ? ex_scalar(b, S_AND, guard, ok, NULL) : ok;
  }
  if (guard) if_begin(b, guard);
  add_product(l, n, sum, j, q, NULL);
  if (guard) if_end(b);
  for (int s = 0; s < spatial + 1; s++) loop_end(b);
  lower_write(l, i, with_bias(l, n, i[1], ex_var(b, sum), t));
  lower_loops_end(l, y);
  return true;
}

bool lower_conv_grad_weight(Lower *l, const Node *n) {
  Builder *b = &l->b;
  const Type *x = &value_of(l->m, n->in[0])->type, *dy = &value_of(l->m, n->in[1])->type;
  const Type *dw = &value_of(l->m, n->out[0])->type;
  int64_t group = node_int(n, "group", 1);
  Expr *i[MAX_RANK], *j[MAX_RANK], *q[MAX_RANK], *guard = NULL;
  lower_loops(l, dw, i, -1);
  DType t = dtype_compute(dw->dtype);
  Var *sum = reg(b, "sum", ex_const(b, t, 0));
  Expr *g = group == 1 ? ex_int(b, 0) : ex_div(b, i[0], ex_dim(b, dim_floordiv(dy->dims[1], DIM(group))));
  q[0] = j[0] = loop_begin(b, "n", ex_int(b, 0), ex_dim(b, x->dims[0]), 1, FOR_SEQ);
  q[1] = i[0];
  j[1] = ex_add(b, ex_mul(b, g, ex_dim(b, dw->dims[1])), i[1]);
  for (int s = 0; s < x->rank - 2; s++) {
    q[2 + s] = loop_begin(b, "o", ex_int(b, 0), ex_dim(b, dy->dims[2 + s]), 1, FOR_SEQ);
    j[2 + s] = input_at(b, n, s, q[2 + s], i[2 + s]);
    guard = in_range(b, guard, j[2 + s], x->dims[2 + s]);
  }
  add_product(l, n, sum, j, q, guard);
  for (int k = 0; k < x->rank - 1; k++) loop_end(b);
  lower_write(l, i, ex_var(b, sum));
  lower_loops_end(l, dw);
  return true;
}
