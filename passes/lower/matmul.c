/* Matrix product, naive: y[…, m, n] = sum over k of a[…, m, k] * b[…, k, n]; batch axes broadcast.
 * kernels/gemm.c has the register-tiled version. */
#include "passes/lower/functions.h"

/* The operand's index for output batch index i and its own last two. */
void matmul_operand_index(Lower *l, ValueId v, const Type *y, Expr **i, Expr *row, Expr *col, Expr **j) {
  const Type *t = &value_of(l->m, v)->type;
  for (int k = 0; k < t->rank - 2; k++)
    j[k] = dim_is(t->dims[k], 1) ? ex_int(&l->b, 0) : i[k + y->rank - t->rank];
  j[t->rank - 2] = row;
  j[t->rank - 1] = col;
}

bool lower_matmul(Lower *l, const Node *n) {
  Builder *b = &l->b;
  const Type *a = &value_of(l->m, n->in[0])->type, *y = &value_of(l->m, n->out[0])->type;
  Expr *i[MAX_RANK], *ia[MAX_RANK], *ib[MAX_RANK];
  lower_loops(l, y, i, y->rank - 1);
  Var *sum = reg(b, "sum", ex_const(b, dtype_compute(y->dtype), 0));
  Expr *k = loop_begin(b, "k", ex_int(b, 0), ex_dim(b, a->dims[a->rank - 1]), 1, FOR_SEQ);
  matmul_operand_index(l, n->in[0], y, i, i[y->rank - 2], k, ia);
  matmul_operand_index(l, n->in[1], y, i, k, i[y->rank - 1], ib);
  Expr *p = ex_cast(b, sum->elem, lower_read(l, n->in[0], ia)), *q = ex_cast(b, sum->elem, lower_read(l, n->in[1], ib));
  st_set(b, sum, ex_fma(b, p, q, ex_var(b, sum)));
  loop_end(b);
  lower_write(l, i, ex_var(b, sum));
  lower_loops_end(l, y);
  return true;
}
