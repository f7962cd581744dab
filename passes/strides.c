/* Strides of dense storage, and views as strides over the storage of their operand. */
#include "passes/strides.h"
#include "ir/ops.h"

AxisOrder order_row_major(int rank) {
  AxisOrder o = {{0}};
  for (int k = 0; k < rank; k++) o.axis[k] = (int8_t)k;
  return o;
}

AxisOrder order_channels_last(int rank) {
  AxisOrder o = {{0}};
  for (int k = 1; k < rank; k++) o.axis[k] = (int8_t)(k + 1 < rank ? k + 1 : 1);
  return o;
}

/* Expanded axes, which do not move in memory, go with the axis before them. */
AxisOrder order_of_strides(const Type *t, const Storage *s) {
  AxisOrder o = {{0}};
  int64_t key[MAX_RANK], above = INT64_MAX;
  for (int k = 0; k < t->rank; k++) {
    key[k] = above = dim_is(s->stride[k], 0) ? above : dim_hi(s->stride[k]);
    int at = k;
    for (; at > 0 && key[o.axis[at - 1]] < key[k]; at--) o.axis[at] = o.axis[at - 1];
    o.axis[at] = (int8_t)k;
  }
  return o;
}

bool order_is_row_major(const Type *t, const AxisOrder *o) {
  int last = -1;
  for (int k = 0; k < t->rank; k++) {
    if (dim_is(t->dims[o->axis[k]], 1)) continue;
    if (o->axis[k] < last) return false;
    last = o->axis[k];
  }
  return true;
}

bool order_same(const Type *t, const AxisOrder *a, const AxisOrder *b) {
  for (int i = 0, j = 0;; i++, j++) {
    while (i < t->rank && dim_is(t->dims[a->axis[i]], 1)) i++;
    while (j < t->rank && dim_is(t->dims[b->axis[j]], 1)) j++;
    if (i == t->rank || j == t->rank) return i == j;
    if (a->axis[i] != b->axis[j]) return false;
  }
}

Storage strides_dense(const Type *t, const AxisOrder *order) {
  Storage st = {0};
  Dim s = DIM(1);
  for (int k = t->rank - 1; k >= 0; k--) {
    st.stride[order->axis[k]] = s;
    s = dim_mul(s, t->dims[order->axis[k]]);
  }
  st.offset = DIM(0);
  st.size = s;
  return st;
}

bool strides_are_row_major(const Type *t, const Storage *st) {
  Dim s = DIM(1);
  for (int k = t->rank - 1; k >= 0; k--) {
    if (dim_is(t->dims[k], 1)) continue;
    if (!dim_eq(st->stride[k], s)) return false;
    s = dim_mul(s, t->dims[k]);
  }
  return true;
}

/* False when a merged axis is not contiguous. As numpy's reshape without copying: both shapes are cut into runs of
 * equal product; a run of old axes must be contiguous. */
static bool reshape_strides(const Type *from, const Storage *at, const Type *to, Storage *st) {
  int a = 0, b = 0, na = from->rank, nb = to->rank;
  const Dim *x = from->dims, *y = to->dims;
  while (a < na || b < nb) {
    int a0 = a, b0 = b;
    Dim px = DIM(1), py = DIM(1), q;
    if (a < na) px = x[a++];
    if (b < nb) py = y[b++];
    while (!dim_eq(px, py)) {                                  // take from the side that divides the other
      if (b < nb && dim_divisible(px, py, &q) && !dim_is(px, 1)) py = dim_mul(py, y[b++]);
      else if (a < na) px = dim_mul(px, x[a++]);
      else if (b < nb) py = dim_mul(py, y[b++]);
      else return false;
    }
    while (a < na && dim_is(x[a], 1)) a++;
    while (b < nb && dim_is(y[b], 1)) b++;
    Dim inner = DIM(0), next = DIM(0);
    bool have = false;
    for (int k = a - 1; k >= a0; k--) {
      if (dim_is(x[k], 1)) continue;
      if (!have) { inner = at->stride[k]; have = true; }
      else if (!dim_eq(at->stride[k], next)) return false;
      next = dim_mul(at->stride[k], x[k]);
    }
    Dim s = have ? inner : DIM(0);
    for (int k = b - 1; k >= b0; k--) {
      st->stride[k] = s;
      s = dim_mul(s, y[k]);
    }
  }
  return true;
}

bool strides_of_view(Module *m, const Node *n, const Storage *x, Storage *st) {
  const Type *tx = &value_of(m, n->in[0])->type, *ty = &value_of(m, n->out[0])->type;
  *st = *x;
  if (n->op == OP_RESHAPE) return reshape_strides(tx, x, ty, st);
  if (n->op == OP_TRANSPOSE) {
    const Attr *perm = node_dims(n, "perm");
    for (int k = 0; k < perm->n; k++) st->stride[k] = x->stride[perm->dims[k].k];
    return true;
  }
  if (n->op == OP_EXPAND) {
    for (int k = 0; k < ty->rank; k++) {
      int from = k - (ty->rank - tx->rank);
      bool one = from < 0 || (dim_is(tx->dims[from], 1) && !dim_is(ty->dims[k], 1));
      st->stride[k] = one ? DIM(0) : x->stride[from];
    }
    return true;
  }
  const Attr *starts = node_dims(n, "starts"), *steps = node_dims(n, "steps");
  for (int k = 0; k < ty->rank; k++) {
    st->offset = dim_add(st->offset, dim_mul(starts->dims[k], x->stride[k]));
    st->stride[k] = dim_mul(x->stride[k], steps->dims[k]);
  }
  return true;
}

bool strides_before_view(Module *m, const Node *n, const Storage *y, Storage *st) {
  const Type *tx = &value_of(m, n->in[0])->type, *ty = &value_of(m, n->out[0])->type;
  *st = *y;
  if (n->op == OP_RESHAPE) return reshape_strides(ty, y, tx, st);
  if (n->op != OP_TRANSPOSE) return false;
  const Attr *perm = node_dims(n, "perm");
  for (int k = 0; k < perm->n; k++) st->stride[perm->dims[k].k] = y->stride[k];
  return true;
}
