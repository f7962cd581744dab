/* scatter_elements, scatter_nd: y = x, then y[…] = reduce(y[…], update) in the order of the updates. Two nests of
 * one kernel; the second reads what it writes. Indices out of range are clamped: a kernel cannot report. */
#include "passes/lower/functions.h"
#include <string.h>

static void copy_all(Lower *l, const Node *n) {
  Expr *i[MAX_RANK];
  lower_loops_of(l, n->out[0], i);
  lower_write(l, i, lower_read(l, n->in[0], i));
  lower_loops_end(l, &value_of(l->m, n->out[0])->type);
}

static Expr *wrapped(Lower *l, Expr *idx, Dim size) {
  Builder *b = &l->b;
  Expr *n = ex_dim(b, size), *zero = ex_int(b, 0);
  idx = let(b, "at", ex_cast(b, DT_I64, idx));
  idx = ex_select(b, ex_lt(b, idx, zero), ex_add(b, idx, n), idx);
  return let(b, "at", ex_max(b, zero, ex_min(b, ex_sub(b, n, ex_int(b, 1)), idx)));
}

static void put(Lower *l, const Node *n, Expr **to, Expr *update) {
  Builder *b = &l->b;
  const char *how = node_str(n, "reduction", "none");
  if (strcmp(how, "none")) {
    Buf *buf = lower_buf(l, n->out[0]);
    buf->role = BUF_INOUT;
    Expr *old = ex_load(b, buf, lower_index(l, n->out[0], to));
    ScalarOp op = !strcmp(how, "add") ? S_ADD : !strcmp(how, "mul") ? S_MUL : !strcmp(how, "max") ? S_MAX : S_MIN;
    update = ex_scalar(b, op, old, update, NULL);
  }
  lower_write(l, to, update);
}

bool lower_scatter_elements(Lower *l, const Node *n) {
  const Type *x = &value_of(l->m, n->in[0])->type, *idx = &value_of(l->m, n->in[1])->type;
  int axis = (int)node_int(n, "axis", 0);
  l->accumulates = true;
  copy_all(l, n);
  Expr *i[MAX_RANK], *j[MAX_RANK];
  for (int k = 0; k < idx->rank; k++)                           // in order: two may give the same element
    i[k] = loop_begin(&l->b, "i", ex_int(&l->b, 0), ex_dim(&l->b, idx->dims[k]), 1, FOR_SEQ);
  for (int k = 0; k < x->rank; k++) j[k] = i[k];
  j[axis] = wrapped(l, lower_read(l, n->in[1], i), x->dims[axis]);
  put(l, n, j, lower_read(l, n->in[2], i));
  lower_loops_end(l, idx);
  return true;
}

/* x [d1…dk, rest…], idx [i…, k], updates [i…, rest…] */
bool lower_scatter_nd(Lower *l, const Node *n) {
  Builder *b = &l->b;
  const Type *x = &value_of(l->m, n->in[0])->type, *idx = &value_of(l->m, n->in[1])->type;
  const Type *u = &value_of(l->m, n->in[2])->type;
  Dim depth = idx->dims[idx->rank - 1];
  if (!dim_is_const(depth)) return lower_fail(l, "the last axis of its indices must be known");
  int k = (int)depth.k, picks = idx->rank - 1;
  l->accumulates = true;
  copy_all(l, n);
  Expr *i[MAX_RANK], *j[MAX_RANK], *q[MAX_RANK];
  for (int d = 0; d < picks; d++) q[d] = i[d] = loop_begin(b, "i", ex_int(b, 0), ex_dim(b, u->dims[d]), 1, FOR_SEQ);
  for (int d = 0; d < k; d++) {
    q[picks] = ex_int(b, d);
    j[d] = wrapped(l, lower_read(l, n->in[1], q), x->dims[d]);
  }
  for (int d = picks; d < u->rank; d++) {
    i[d] = loop_begin(b, "j", ex_int(b, 0), ex_dim(b, u->dims[d]), 1, d == u->rank - 1 ? FOR_VECTOR : FOR_SEQ);
    j[k + d - picks] = i[d];
  }
  put(l, n, j, lower_read(l, n->in[2], i));
  lower_loops_end(l, u);
  return true;
}
