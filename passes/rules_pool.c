/* Pools of large windows, axis by axis. See rules.def. */
#include "passes/rules.h"
#include <string.h>

/* max_pool of x with the attributes of another on `axis` alone, or on all axes but that. */
static ValueId pool_part(Rules *r, ValueId x, const Attr *attr, int nattr, int spatial, int axis, bool alone) {
  Attr *a = arena_dup(&r->m->perm, attr, (size_t)nattr * sizeof *a);
  for (int k = 0; k < nattr; k++) {
    if (a[k].kind != ATTR_DIMS) continue;
    Dim v[2 * MAX_RANK];
    for (int i = 0; i < a[k].n; i++)
      v[i] = (i % spatial == axis) == alone ? a[k].dims[i] : DIM(strcmp(a[k].name, "pads") ? 1 : 0);
    a[k] = attr_dims(r->m, a[k].name, v, a[k].n);
  }
  return rule_op(r, OP_MAX_POOL, &x, 1, a, nattr);
}

/* The last axis first, since vectors often lie along others. It must halve the comparisons: what lies between is written
 * and read again. */
bool rule_pool_axes(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  const Attr *kernel = node_dims(n, "kernel"), *strides = node_dims(n, "strides");
  int spatial = kernel->n, axis = spatial - 1;
  if (n->nout > 1) return false;
  while (axis > 0 && dim_is(kernel->dims[axis], 1)) axis--;
  int64_t others = 1, lines = 1;                                // elements of a window's other axes; lines pooled for each result
  for (int k = 0; k < spatial; k++) {
    if (!dim_is_const(kernel->dims[k]) || !dim_is_const(strides->dims[k])) return false;
    if (k == axis) continue;
    others *= kernel->dims[k].k;
    lines *= strides->dims[k].k;
  }
  int64_t length = kernel->dims[axis].k;
  if (others * length <= 2 * (length * lines + others) || !rule_go(r)) return false;
  n = node_of(r->m, id);
  const Attr *attr = arena_dup(&r->m->perm, n->attr, (size_t)n->nattr * sizeof *attr);
  int nattr = n->nattr;
  ValueId part = pool_part(r, n->in[0], attr, nattr, spatial, axis, true);
  return rule_replace(r, pool_part(r, part, attr, nattr, spatial, axis, false));
}
