/* Pools of large windows and resizing by weights, axis by axis. See rules.def. */
#include "ir/resize.h"
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

/* The last axis first, since vectors often lie along others. It must halve the comparisons: what lies between is
 * written and read again. */
bool rule_pool_axes(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  const Attr *kernel = node_dims(n, "kernel"), *strides = node_dims(n, "strides");
  int spatial = kernel->n, axis = spatial - 1;
  if (n->nout > 1) return false;
  while (axis > 0 && dim_is(kernel->dims[axis], 1)) axis--;
  // elements of a window's other axes; lines pooled for each result
  int64_t others = 1, lines = 1;
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

/* resize of x with the attributes of another on `axis` alone, or on all axes but that. */
static ValueId resize_part(Rules *r, ValueId x, const Attr *attr, int nattr, int axis, bool alone) {
  Attr *a = arena_dup(&r->m->perm, attr, (size_t)nattr * sizeof *a);
  const Type *t = &value_of(r->m, x)->type;
  double scales[MAX_RANK];
  Dim shape[MAX_RANK];
  for (int k = 0; k < nattr; k++) {
    for (int i = 0; i < a[k].n && i < t->rank; i++) {
      bool keep = (i == axis) == alone;
      if (a[k].kind == ATTR_FLOATS) scales[i] = keep ? a[k].floats[i] : 1;
      if (a[k].kind == ATTR_DIMS) shape[i] = keep ? a[k].dims[i] : t->dims[i];
    }
    if (a[k].kind == ATTR_FLOATS) a[k] = attr_floats(r->m, a[k].name, scales, a[k].n);
    if (a[k].kind == ATTR_DIMS) a[k] = attr_dims(r->m, a[k].name, shape, a[k].n);
  }
  return rule_op(r, OP_RESIZE, &x, 1, a, nattr);
}

/* How many elements of x make one along this axis, more or less. */
static double taps(const ResizeAxis *s) {
  if (s->in == s->out && s->scale == 1) return 1;
  return (s->mode == 'c' ? 4 : 2) * (s->antialias && s->scale < 1 ? 1 / s->scale : 1);
}

/* First the axis after which the least lies between; of several the last, whose elements are gathered where vectors run
 * along it. That is written and read again. */
bool rule_resize_axes(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  const Type *x = &value_of(r->m, n->in[0])->type, *y = &value_of(r->m, n->out[0])->type;
  if (!strcmp(node_str(n, "mode", ""), "nearest") || !strcmp(node_str(n, "coord", ""), "tf_crop_and_resize"))
    return false;
  if (!dtype_is_float(y->dtype) || !type_is_static(x) || !type_is_static(y)) return false;
  double all = 1, most = 0;                                     // most: by how much longer the other axes become
  int axis = -1;
  double longer = 1;
  for (int k = 0; k < y->rank; k++) longer *= (double)y->dims[k].k / (double)x->dims[k].k;
  for (int k = 0; k < y->rank; k++) {
    ResizeAxis s = resize_axis_of(n, x->dims[k].k, y->dims[k].k, NULL, x->rank, k);
    double others = longer * (double)s.in / (double)s.out;
    all *= taps(&s);
    if (taps(&s) > 1 && others >= most) { most = others; axis = k; }
  }
  if (axis < 0) return false;
  ResizeAxis s = resize_axis_of(n, x->dims[axis].k, y->dims[axis].k, NULL, x->rank, axis);
  double first = taps(&s), rest = all / first;
  if (rest == 1 || all <= (first + 2) / most + rest || !rule_go(r)) return false;
  n = node_of(r->m, id);
  const Attr *attr = arena_dup(&r->m->perm, n->attr, (size_t)n->nattr * sizeof *attr);
  int nattr = n->nattr;
  ValueId part = resize_part(r, n->in[0], attr, nattr, axis, true);
  return rule_replace(r, resize_part(r, part, attr, nattr, axis, false));
}
