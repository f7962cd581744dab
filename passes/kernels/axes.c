/* Axes that generators may walk as one, and the padding of one; see tile.h. */
#include "passes/kernels/tile.h"

bool padded_axis(Lower *l, ValueId v, int axis, int64_t *lo, int64_t *hi) {
  NodeId def = value_of(l->m, v)->def;
  const Node *n = def ? node_of(l->m, def) : NULL;
  if (!n || n->op != OP_PAD || n->nin != 1 || strcmp(node_str(n, "mode", "constant"), "constant")) return false;
  Dim before = node_dims(n, "before")->dims[axis], after = node_dims(n, "after")->dims[axis],
      size = value_of(l->m, v)->type.dims[axis];
  if (!dim_is_const(before) || !dim_is_const(after) || !dim_is_const(size) || before.k < 0 || after.k < 0) return false;
  *lo = before.k;
  *hi = size.k - after.k;
  return true;
}

bool axes_collapse(Lower *l, ValueId v, int from, int to) {
  const Value *val = value_of(l->m, v);
  bool ones = true;
  for (int k = from; k <= to; k++) ones &= k < 0 || dim_is(val->type.dims[k], 1);
  if (ones) return true;
  if (!val->at.base || from < 0) return false;
  for (int k = from; k < to; k++)
    if (!dim_eq(val->at.stride[k], dim_mul(val->at.stride[k + 1], val->type.dims[k + 1]))) return false;
  return true;
}

bool epilogue_collapses(Lower *l, int from, int to) {
  const Type *y = &value_of(l->m, l->out)->type;
  if (value_is_stored(l->fusion, l->out) && !axes_collapse(l, l->out, from, to)) return false;
  for (int k = 0; k < l->g->epilogue.len; k++) {
    const Node *n = node_of(l->m, l->g->epilogue.at[k]);
    if (value_is_stored(l->fusion, n->out[0]) && !axes_collapse(l, n->out[0], from, to)) return false;
    for (int i = 0; i < n->nin; i++) {
      const Value *v = n->in[i] ? value_of(l->m, n->in[i]) : NULL;
      if (!v) continue;
      if (v->def && node_of(l->m, v->def)->group == l->group) {
        bool chain = n->in[i] == l->out;
        for (int q = 0; q < k; q++) chain |= node_of(l->m, l->g->epilogue.at[q])->out[0] == n->in[i];
        if (chain) continue;
        return false;                                           // an inlined node: not looked into
      }
      int shift = y->rank - v->type.rank;
      if (to - shift < 0) continue;                             // all its axes lie behind the collapsed ones
      if (!axes_collapse(l, n->in[i], from - shift, to - shift)) return false;
      // a size of 1 on some collapsed axes only would need the separate indices
      bool some = false, all = true;
      for (int q = from - shift; q <= to - shift; q++) {
        bool one = q < 0 || dim_is(v->type.dims[q], 1), y1 = dim_is(y->dims[q + shift], 1);
        some |= one && !y1;
        all &= one || y1;
      }
      if (some && !all) return false;
    }
  }
  return true;
}
