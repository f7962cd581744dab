/* The gradient of attention as plain nests, one batch after the other, over matrices of shares and of the gradient of
 * scores:
 *
 *   p = softmax(scale q k^T + bias)      g = scale p (dy v^T - sum over keys of p dy v^T)
 *   dq = g k                             dk = g^T q        dv = p^T dy
 */
#include "passes/lower/functions.h"
#include <math.h>

typedef struct Nest {
  Lower *l;
  const Node *n;
  DType t;
  Type scores;
  Buf *share, *grad;                 /* [S, T] */
  Expr *i[MAX_RANK];                 /* the batch */
} Nest;

static Expr *at(Nest *s, int k, Expr *row, Expr *col) {
  int rank = s->scores.rank;
  s->i[rank - 2] = row;
  s->i[rank - 1] = col;
  return ex_cast(&s->l->b, s->t, lower_read(s->l, s->n->in[k], s->i));
}

static Expr *size(Nest *s, int k, int from_end) {
  const Type *t = &value_of(s->l->m, s->n->in[k])->type;
  return ex_dim(&s->l->b, t->dims[t->rank - from_end]);
}

static Expr *loop(Nest *s, const char *name, Expr *hi) {
  return loop_begin(&s->l->b, name, ex_int(&s->l->b, 0), hi, 1, FOR_SEQ);
}

static Expr *dot(Nest *s, int x, int y, Expr *i, Expr *j) {
  Builder *b = &s->l->b;
  Var *sum = reg(b, "dot", ex_const(b, s->t, 0));
  Expr *d = loop(s, "d", size(s, x, 1));
  st_set(b, sum, ex_fma(b, at(s, x, i, d), at(s, y, j, d), ex_var(b, sum)));
  loop_end(b);
  return ex_var(b, sum);
}

static Expr *cell(Nest *s, Expr *i, Expr *j) { return ex_add(&s->l->b, ex_mul(&s->l->b, i, size(s, 1, 2)), j); }

static void shares_of_row(Nest *s, Expr *i) {
  Builder *b = &s->l->b;
  Expr *keys = size(s, 1, 2), *scale = ex_const(b, s->t, node_float(s->n, "scale", 1)), *zero = ex_const(b, s->t, 0);
  const Attr *ahead = node_dims(s->n, "ahead");
  Expr *seen = ahead ? let(b, "seen", ex_min(b, keys, ex_add(b, i, ex_dim(b, dim_add(ahead->dims[0], DIM(1)))))) : keys;
  Var *top = reg(b, "top", ex_const(b, s->t, -INFINITY)), *sum = reg(b, "sum", zero), *mean = reg(b, "mean", zero);
  Expr *j = loop(s, "j", seen), *x = ex_mul(b, dot(s, 0, 1, i, j), scale);
  if (s->n->nin > 4 && s->n->in[4]) {
    s->i[s->scores.rank - 2] = i;
    s->i[s->scores.rank - 1] = j;
    x = ex_add(b, x, ex_cast(b, s->t, lower_read_broadcast(s->l, s->n->in[4], &s->scores, s->i)));
  }
  x = let(b, "x", x);
  st_store(b, s->share, cell(s, i, j), x);
  st_store(b, s->grad, cell(s, i, j), dot(s, 3, 2, i, j));
  st_set(b, top, ex_max(b, ex_var(b, top), x));
  loop_end(b);
  j = loop(s, "j", seen);
  Expr *e = let(b, "e",
                ex_scalar(b, S_EXP, ex_sub(b, ex_load(b, s->share, cell(s, i, j)), ex_var(b, top)), NULL, NULL));
  st_store(b, s->share, cell(s, i, j), e);
  st_set(b, sum, ex_add(b, ex_var(b, sum), e));
  st_set(b, mean, ex_fma(b, e, ex_load(b, s->grad, cell(s, i, j)), ex_var(b, mean)));
  loop_end(b);
  st_set(b, mean, ex_scalar(b, S_DIV, ex_var(b, mean), ex_var(b, sum), NULL));
  j = loop(s, "j", seen);
  Expr *p = let(b, "p", ex_scalar(b, S_DIV, ex_load(b, s->share, cell(s, i, j)), ex_var(b, sum), NULL));
  st_store(b, s->share, cell(s, i, j), p);
  Expr *g = ex_sub(b, ex_load(b, s->grad, cell(s, i, j)), ex_var(b, mean));
  st_store(b, s->grad, cell(s, i, j), ex_mul(b, ex_mul(b, p, g), scale));
  loop_end(b);
  j = loop_begin(b, "j", seen, keys, 1, FOR_SEQ);
  st_store(b, s->share, cell(s, i, j), zero);
  st_store(b, s->grad, cell(s, i, j), zero);
  loop_end(b);
}

/* out[row, col] = the sum over m of from[row, m] x[m, col], or of from[m, row]. */
static void product(Nest *s, Buf *from, bool turned, int rows_of, int x, int out) {
  Builder *b = &s->l->b;
  if (out && !value_is_stored(s->l->fusion, s->n->out[out])) return;
  Expr *i = loop(s, "i", size(s, rows_of, 2)), *c = loop(s, "c", size(s, x, 1));
  Var *sum = reg(b, "r", ex_const(b, s->t, 0));
  Expr *m = loop(s, "m", size(s, x, 2));
  st_set(b, sum, ex_fma(b, ex_load(b, from, turned ? cell(s, m, i) : cell(s, i, m)), at(s, x, m, c), ex_var(b, sum)));
  loop_end(b);
  s->i[s->scores.rank - 2] = i;
  s->i[s->scores.rank - 1] = c;
  if (out) lower_write_to(s->l, s->n->out[out], s->i, ex_var(b, sum));
  else lower_write(s->l, s->i, ex_var(b, sum));
  loop_end(b);
  loop_end(b);
}

bool lower_attention_grad(Lower *l, const Node *n) {
  Builder *b = &l->b;
  const Type *q = &value_of(l->m, n->in[0])->type, *k = &value_of(l->m, n->in[1])->type;
  Nest s = {.l = l, .n = n, .t = dtype_compute(q->dtype), .scores = *q};
  s.scores.dims[q->rank - 1] = k->dims[q->rank - 2];
  for (int d = 0; d < q->rank - 2; d++)
    s.i[d] = loop_begin(b, "batch", ex_int(b, 0), ex_dim(b, q->dims[d]), 1, FOR_PARALLEL);
  Dim cells = dim_mul(q->dims[q->rank - 2], k->dims[q->rank - 2]);
  s.share = lower_scratch(l, "share", s.t, cells);
  s.grad = lower_scratch(l, "grad", s.t, cells);
  Expr *i = loop(&s, "i", size(&s, 0, 2));
  shares_of_row(&s, i);
  loop_end(b);
  product(&s, s.grad, false, 0, 1, 0);
  product(&s, s.grad, true, 1, 0, 1);
  product(&s, s.share, true, 1, 3, 2);
  for (int d = 0; d < q->rank - 2; d++) loop_end(b);
  return true;
}
