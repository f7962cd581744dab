/* CALL ops: one call of a C function of runtime/ (lt_ops.h) with scratch for the longest result. Inputs are dense and
 * row-major (passes/storage.c sees to it). A result whose length depends on data leaves its count in a buffer, from
 * which the run sets the symbol. */
#include "passes/lower/functions.h"
#include "ir/eval_kit.h"
#include <string.h>

/* The output's buffer, or scratch when nobody reads it. */
static Buf *result(Lower *l, const Node *n, int k, DType t, Dim elems) {
  if (k < n->nout && n->out[k] && value_is_stored(l->fusion, n->out[k])) {
    Buf *b = lower_buf(l, n->out[k]);
    b->role = BUF_OUT;
    return b;
  }
  return lower_scratch(l, "unused", t, elems);
}

static Buf *count_of(Lower *l, const Node *n) {
  Buf *count = lower_scratch(l, "count", DT_I64, DIM(1));
  for (int k = 0; k < n->nout; k++) {
    if (!n->out[k]) continue;
    Dim d = value_of(l->m, n->out[k])->type.dims[0];
    for (int q = 0; q < symbol_count(); q++)
      if (!dim_is_const(d) && !strcmp(symbol_at(q)->name, dim_text(d))) {
        lower_symbol(l, symbol_at(q)->name, count);
        return count;
      }
  }
  return count;
}

static Dim product(const Type *t, int from, int to) {
  Dim d = DIM(1);
  for (int k = from; k < to; k++) d = dim_mul(d, t->dims[k]);
  return d;
}

static bool elem_of(Lower *l, const Node *n, int *elem) {
  DType t = value_of(l->m, n->in[0])->type.dtype;
  *elem = dtype_elem(t);
  return *elem ? true : lower_fail(l, "elements of type %s", dtype_info[t].text);
}

bool lower_topk(Lower *l, const Node *n) {
  Builder *b = &l->b;
  const Type *x = &value_of(l->m, n->in[0])->type;
  int axis = (int)node_int(n, "axis", 0), elem;
  if (!elem_of(l, n, &elem)) return false;
  Dim k = node_dims(n, "k")->dims[0], outer = product(x, 0, axis), inner = product(x, axis + 1, x->rank);
  Dim size = dim_mul(dim_mul(outer, k), inner);
  Buf *bufs[4] = {lower_buf(l, n->in[0]), result(l, n, 0, x->dtype, size), result(l, n, 1, DT_I64, size),
                  lower_scratch(l, "scratch", DT_I64, dim_mul(DIM(3), x->dims[axis]))};
  Expr *args[6] = {ex_int(b, elem), ex_dim(b, outer), ex_dim(b, x->dims[axis]), ex_dim(b, inner), ex_dim(b, k),
                   ex_int(b, node_int(n, "largest", 1))};
  st_call(b, "lt_topk", bufs, 4, args, 6);
  return true;
}

bool lower_nonzero(Lower *l, const Node *n) {
  Builder *b = &l->b;
  const Type *x = &value_of(l->m, n->in[0])->type;
  int elem;
  if (!elem_of(l, n, &elem)) return false;
  Buf *bufs[3] = {lower_buf(l, n->in[0]), result(l, n, 0, DT_I64, type_count(x)), count_of(l, n)};
  Expr *args[2] = {ex_int(b, elem), ex_dim(b, type_count(x))};
  st_call(b, "lt_nonzero", bufs, 3, args, 2);
  return true;
}

bool lower_unique(Lower *l, const Node *n) {
  Builder *b = &l->b;
  const Type *x = &value_of(l->m, n->in[0])->type;
  int axis = (int)node_int(n, "axis", 0), elem;
  if (!elem_of(l, n, &elem)) return false;
  Dim size = x->dims[axis];
  Buf *bufs[6] = {lower_buf(l, n->in[0]),
                  result(l, n, 0, DT_I64, size),
                  result(l, n, 1, DT_I64, size),
                  result(l, n, 2, DT_I64, size),
                  count_of(l, n),
                  lower_scratch(l, "scratch", DT_I64, dim_mul(DIM(3), size))};
  Expr *args[5] = {ex_int(b, elem), ex_dim(b, product(x, 0, axis)), ex_dim(b, size),
                   ex_dim(b, product(x, axis + 1, x->rank)), ex_int(b, node_int(n, "sorted", 1))};
  st_call(b, "lt_unique", bufs, 6, args, 5);
  return true;
}

bool lower_nms(Lower *l, const Node *n) {
  Builder *b = &l->b;
  const Type *boxes = &value_of(l->m, n->in[0])->type, *scores = &value_of(l->m, n->in[1])->type;
  Dim B = boxes->dims[0], N = boxes->dims[1], C = scores->dims[1];
  Dim most = dim_mul(DIM(3), dim_mul(dim_mul(B, C), N));
  Buf *bufs[8];
  for (int k = 0; k < 5; k++) bufs[k] = lower_buf(l, n->in[k]);
  bufs[5] = result(l, n, 0, DT_I64, most);
  bufs[6] = count_of(l, n);
  bufs[7] = lower_scratch(l, "scratch", DT_I64, dim_mul(DIM(3), N));
  Expr *args[4] = {ex_dim(b, B), ex_dim(b, C), ex_dim(b, N), ex_int(b, node_int(n, "centre", 0))};
  st_call(b, "lt_nms", bufs, 8, args, 4);
  return true;
}

/* roi_align, or with dy its gradient: bins [R,C,PH,PW]. */
static bool call_roi(Lower *l, const Node *n, const char *function, const Type *bins) {
  Builder *b = &l->b;
  const Type *x = &value_of(l->m, n->in[0])->type;
  Buf *bufs[5];
  for (int k = 0; k < n->nin; k++) bufs[k] = lower_buf(l, n->in[k]);
  bufs[n->nin] = result(l, n, 0, DT_F32, type_count(&value_of(l->m, n->out[0])->type));
  Expr *args[9];
  for (int k = 0; k < 4; k++) args[k] = ex_dim(b, x->dims[k]);
  args[4] = ex_dim(b, bins->dims[0]);
  args[5] = ex_dim(b, bins->dims[2]);
  args[6] = ex_dim(b, bins->dims[3]);
  args[7] = ex_int(b, node_int(n, "ratio", 0));
  args[8] = ex_int(b, node_int(n, "max", 0));
  st_call(b, function, bufs, n->nin + 1, args, 9);
  return true;
}

bool lower_roi_align(Lower *l, const Node *n) {
  return call_roi(l, n, "lt_roi_align", &value_of(l->m, n->out[0])->type);
}
bool lower_roi_align_grad(Lower *l, const Node *n) {
  return call_roi(l, n, "lt_roi_align_grad", &value_of(l->m, n->in[3])->type);
}

bool lower_ctc_loss(Lower *l, const Node *n) {
  Builder *b = &l->b;
  const Type *lp = &value_of(l->m, n->in[0])->type, *target = &value_of(l->m, n->in[1])->type;
  Dim S = target->dims[1], states = dim_add(dim_mul(DIM(2), S), DIM(1));
  Buf *bufs[7];
  for (int k = 0; k < 4; k++) bufs[k] = lower_buf(l, n->in[k]);
  bufs[4] = result(l, n, 0, DT_F32, lp->dims[1]);
  bufs[5] = result(l, n, 1, DT_F32, type_count(lp));
  bufs[6] = lower_scratch(l, "scratch", DT_F32, dim_mul(dim_add(lp->dims[0], DIM(2)), states));
  Expr *args[5] = {ex_dim(b, lp->dims[0]), ex_dim(b, lp->dims[1]), ex_dim(b, lp->dims[2]), ex_dim(b, S),
                   ex_int(b, node_int(n, "blank", 0))};
  st_call(b, "lt_ctc_loss", bufs, 7, args, 5);
  return true;
}

bool lower_random(Lower *l, const Node *n) {
  Builder *b = &l->b;
  const Type *y = &value_of(l->m, n->out[0])->type;
  bool normal = node_str(n, "kind", "uniform")[0] == 'n';
  // A network for inference has no steps: every call is step 0 and draws the same numbers, so that it can be repeated.
  bool has_step = n->nin > 0 && n->in[0];
  Buf *step = has_step ? lower_buf(l, n->in[0]) : lower_weight(l, "step", tensor_scalar(b->arena, DT_I64, 0));
  Buf *bufs[2] = {step, result(l, n, 0, DT_F32, type_count(y))};
  Dim steps = has_step ? type_count(&value_of(l->m, n->in[0])->type) : DIM(1);
  Expr *args[6] = {ex_dim(b, steps),
                   ex_dim(b, type_count(y)),
                   ex_int(b, node_int(n, "seed", 0)),
                   ex_int(b, node_int(n, "stream", 0)),
                   ex_const(b, DT_F32, node_float(n, "scale", 1)),
                   ex_const(b, DT_F32, node_float(n, "shift", 0))};
  st_call(b, normal ? "lt_random_normal" : "lt_random_uniform", bufs, 2, args, 6);
  return true;
}
