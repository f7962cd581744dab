/* Gradient of matrix products: y = a b, da = dy b^T, db = a^T dy. Batch axes that were broadcast are summed by
 * grad_add_to; where the whole of b is shared, as a layer's weights are, its batches become rows of one product. */
#include "passes/grad_attention.h"

/* [..., M, K] as [... * M, K] */
static ValueId as_rows(Graph *g, ValueId v) {
  Type t = *build_type(g, v);
  Dim rows = DIM(1);
  for (int k = 0; k < t.rank - 1; k++) rows = dim_mul(rows, t.dims[k]);
  return build_reshape(g, v, (Dim[]){rows, t.dims[t.rank - 1]}, 2);
}

static bool has_batch(Graph *g, ValueId v) {
  const Type *t = build_type(g, v);
  for (int k = 0; k < t->rank - 2; k++)
    if (!dim_is(t->dims[k], 1)) return true;
  return false;
}

bool grad_matmul(GradNode *r) {
  if (grad_whole_attention(r)) return true;
  Graph *g = r->g;
  ValueId a = r->in[0], b = r->in[1], dy = r->dy[0];
  if (grad_wants(r, 0)) grad_add_to(r, 0, build_matmul(g, dy, build_swap(g, b, -2, -1)));
  if (!grad_wants(r, 1)) return true;
  bool shared = !has_batch(g, b) && build_rank(g, a) > 2;       // then dy has a's rows
  if (shared) a = as_rows(g, a), dy = as_rows(g, dy);
  ValueId db = build_matmul(g, build_swap(g, a, -2, -1), dy);
  if (shared) db = build_reshape_like(g, db, build_type(g, b));
  grad_add_to(r, 1, db);
  return true;
}
