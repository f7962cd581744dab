/* The border of a constant pad. The input already lies inside the output (passes/storage.c); what is left are
 * two slabs per padded axis: axes before it run over the inside only, axes after it over everything. */
#include "passes/lower/functions.h"

static void fill_slab(Lower *l, const Node *n, int axis, bool after) {
  Builder *b = &l->b;
  const Type *x = &value_of(l->m, n->in[0])->type, *y = &value_of(l->m, n->out[0])->type;
  const Attr *before = node_dims(n, "before");
  Dim lead = before->dims[axis], end = dim_add(lead, x->dims[axis]);
  Dim from = after ? end : DIM(0), to = after ? y->dims[axis] : lead;
  if (dim_eq(from, to)) return;
  Expr *i[MAX_RANK],
      *fill = n->nin > 1 && n->in[1] ? lower_read(l, n->in[1], NULL) : ex_const(b, dtype_compute(y->dtype), 0);
  int inner = -1;
  for (int k = 0; k < y->rank; k++)
    if (dim_is(value_of(l->m, n->out[0])->at.stride[k], 1) && !dim_is(y->dims[k], 1)) inner = k;
  for (int pass = 0; pass < 2; pass++)                          // the contiguous axis goes innermost
    for (int k = 0; k < y->rank; k++) {
      if ((k == inner) != (pass == 1)) continue;
      Dim lo = k == axis ? from : k < axis ? before->dims[k] : DIM(0);
      Dim hi = k == axis ? to : k < axis ? dim_add(before->dims[k], x->dims[k]) : y->dims[k];
      i[k] = loop_begin(b, "i", ex_dim(b, lo), ex_dim(b, hi), 1, k == inner ? FOR_PARALLEL_VECTOR : FOR_PARALLEL);
    }
  lower_write_to(l, n->out[0], i, fill);
  for (int k = 0; k < y->rank; k++) loop_end(b);
}

bool lower_pad_border(Lower *l, const Node *n) {
  int rank = value_of(l->m, n->out[0])->type.rank;
  par_begin(&l->b);
  for (int axis = 0; axis < rank; axis++)
    for (int after = 0; after < 2; after++) {
      fill_slab(l, n, axis, after);
      par_next(&l->b);
    }
  par_end(&l->b);
  return true;
}
