/* read_NAME: views as index mappings. The output's element at i is an element of an input at an index made
 * from i; nothing is moved. Bounds are kept by construction; padding and concat choose with a select whose
 * arms are only evaluated when chosen (C's ?:). */
#include "passes/lower/lower.h"
#include "passes/lower/functions.h"
#include <math.h>
#include <string.h>

static const Type *in_type(Lower *l, const Node *n, int k) { return &value_of(l->m, n->in[k])->type; }
static const Type *out_type(Lower *l, const Node *n) { return &value_of(l->m, n->out[0])->type; }

Expr *read_reshape(Lower *l, const Node *n, Expr **i) {
  const Type *x = in_type(l, n, 0), *y = out_type(l, n);
  Expr *j[MAX_RANK];
  // Equal leading and trailing axes pass through; only the middle is flattened and split again.
  int head = 0, tail = 0;
  while (head < x->rank && head < y->rank && dim_eq(x->dims[head], y->dims[head])) head++;
  while (tail < x->rank - head && tail < y->rank - head &&
         dim_eq(x->dims[x->rank - 1 - tail], y->dims[y->rank - 1 - tail])) tail++;
  for (int k = 0; k < head; k++) j[k] = i[k];
  for (int k = 0; k < tail; k++) j[x->rank - 1 - k] = i[y->rank - 1 - k];
  Expr *flat = lower_flatten(l, y->dims + head, y->rank - head - tail, i + head);
  lower_unflatten(l, x->dims + head, x->rank - head - tail, flat, j + head);
  return lower_read(l, n->in[0], j);
}

Expr *read_transpose(Lower *l, const Node *n, Expr **i) {
  const Attr *perm = node_dims(n, "perm");
  Expr *j[MAX_RANK];
  for (int k = 0; k < perm->n; k++) j[perm->dims[k].k] = i[k];
  return lower_read(l, n->in[0], j);
}

Expr *read_expand(Lower *l, const Node *n, Expr **i) {
  return lower_read_broadcast(l, n->in[0], out_type(l, n), i);
}

Expr *read_slice(Lower *l, const Node *n, Expr **i) {
  const Attr *starts = node_dims(n, "starts"), *steps = node_dims(n, "steps");
  Expr *j[MAX_RANK];
  for (int k = 0; k < starts->n; k++)
    j[k] = ex_add(&l->b, ex_dim(&l->b, starts->dims[k]), ex_mul(&l->b, i[k], ex_dim(&l->b, steps->dims[k])));
  return lower_read(l, n->in[0], j);
}

/* mode constant: x inside, the pad value outside. reflect: … 2 1 [0 1 2] 1 0 …; edge: 0 0 [0 1 2] 2 2;
 * wrap: 1 2 [0 1 2] 0 1. Reflections are folded arithmetically, so any pad width is in bounds. */
/* Where element i of the padded axis is in x. Negative amounts crop, and what is left is repeated, as in ONNX
 * Runtime. */
static Expr *repeated(Lower *l, const char *mode, Expr *i, Dim x, Dim before, Dim after) {
  Builder *b = &l->b;
  Dim crop = dim_max(DIM(0), dim_sub(DIM(0), before)), cut = dim_max(DIM(0), dim_sub(DIM(0), after));
  Dim left = dim_sub(x, dim_add(crop, cut));
  Expr *j = ex_sub(b, i, ex_dim(b, dim_max(DIM(0), before))), *size = ex_dim(b, left),
       *last = ex_sub(b, size, ex_int(b, 1));
  if (!strcmp(mode, "edge")) {
    j = ex_max(b, ex_int(b, 0), ex_min(b, last, j));
  } else if (!strcmp(mode, "reflect")) {                      // period 2(size-1): triangle wave
    Expr *period = ex_max(b, ex_int(b, 1), ex_mul(b, last, ex_int(b, 2)));
    Expr *r = ex_scalar(b, S_MOD, j, period, NULL);
    j = ex_min(b, ex_min(b, r, ex_sub(b, period, r)), last);
  } else {
    j = ex_scalar(b, S_MOD, j, size, NULL);
  }
  return ex_add(b, j, ex_dim(b, crop));
}

Expr *read_pad(Lower *l, const Node *n, Expr **i) {
  const Type *x = in_type(l, n, 0), *y = out_type(l, n);
  const char *mode = node_str(n, "mode", "constant");
  const Dim *before = node_dims(n, "before")->dims, *after = node_dims(n, "after")->dims;
  Expr *j[MAX_RANK], *inside = NULL;
  for (int k = 0; k < x->rank; k++) {
    j[k] = i[k];
    if (dim_eq(x->dims[k], y->dims[k]) && dim_is(before[k], 0)) continue;
    if (strcmp(mode, "constant")) {
      j[k] = repeated(l, mode, i[k], x->dims[k], before[k], after[k]);
    } else {
      j[k] = ex_sub(&l->b, i[k], ex_dim(&l->b, before[k]));
      Expr *lo = ex_scalar(&l->b, S_GE, j[k], ex_int(&l->b, 0), NULL),
           *hi = ex_lt(&l->b, j[k], ex_dim(&l->b, x->dims[k]));
      Expr *in = ex_scalar(&l->b, S_AND, lo, hi, NULL);
      inside = inside ? ex_scalar(&l->b, S_AND, inside, in, NULL) : in;
    }
  }
  Expr *v = lower_read(l, n->in[0], j);
  if (!inside) return v;
  Expr *fill = n->nin > 1 && n->in[1] ? lower_read(l, n->in[1], NULL) : ex_const(&l->b, v->elem, 0);
  return ex_select(&l->b, inside, v, fill);
}

Expr *read_concat(Lower *l, const Node *n, Expr **i) {
  int axis = (int)node_int(n, "axis", 0), rank = out_type(l, n)->rank;
  Expr *j[MAX_RANK], *result = NULL;
  Dim end = out_type(l, n)->dims[axis];
  for (int k = n->nin - 1; k >= 0; k--) {                     // from the last: nested selects read in order
    Dim size = in_type(l, n, k)->dims[axis], start = dim_sub(end, size);
    if (!dim_is(size, 0)) {
      for (int q = 0; q < rank; q++) j[q] = i[q];
      j[axis] = ex_sub(&l->b, i[axis], ex_dim(&l->b, start));
      Expr *v = lower_read(l, n->in[k], j);
      result = result ? ex_select(&l->b, ex_lt(&l->b, i[axis], ex_dim(&l->b, end)), v, result) : v;
    }
    end = start;
  }
  return result ? result : ex_const(&l->b, dtype_compute(out_type(l, n)->dtype), 0);
}

/* idx < 0 counts from the end of the axis; out of range is clamped, as nothing can be reported from a kernel. */
static Expr *wrap_index(Lower *l, Expr *idx, Dim size) {
  Builder *b = &l->b;
  Expr *n = ex_dim(b, size), *zero = ex_int(b, 0);
  idx = let(b, "at", ex_cast(b, DT_I64, idx));
  int64_t known;
  if (ex_is_int(idx, &known) && dim_is_const(size) && known >= -size.k && known < size.k)
    return ex_int(b, known < 0 ? known + size.k : known);
  Expr *w = ex_select(b, ex_lt(b, idx, zero), ex_add(b, idx, n), idx);
  return let(b, "at", ex_max(b, zero, ex_min(b, ex_sub(b, n, ex_int(b, 1)), w)));
}

Expr *read_gather(Lower *l, const Node *n, Expr **i) {
  const Type *x = in_type(l, n, 0), *idx = in_type(l, n, 1);
  int axis = (int)node_int(n, "axis", 0);
  Expr *j[MAX_RANK];
  for (int k = 0; k < axis; k++) j[k] = i[k];
  j[axis] = wrap_index(l, lower_read(l, n->in[1], i + axis), x->dims[axis]);
  for (int k = axis + 1; k < x->rank; k++) j[k] = i[k + idx->rank - 1];
  return lower_read(l, n->in[0], j);
}

Expr *read_gather_elements(Lower *l, const Node *n, Expr **i) {
  const Type *x = in_type(l, n, 0);
  int axis = (int)node_int(n, "axis", 0);
  Expr *j[MAX_RANK];
  for (int k = 0; k < x->rank; k++) j[k] = i[k];
  j[axis] = wrap_index(l, lower_read(l, n->in[1], i), x->dims[axis]);
  return lower_read(l, n->in[0], j);
}

Expr *read_gather_nd(Lower *l, const Node *n, Expr **i) {
  const Type *x = in_type(l, n, 0), *idx = in_type(l, n, 1);
  int batch = (int)node_int(n, "batch_dims", 0), depth = (int)idx->dims[idx->rank - 1].k;
  Expr *j[MAX_RANK], *q[MAX_RANK];
  for (int k = 0; k < batch; k++) j[k] = i[k];
  for (int k = 0; k < idx->rank - 1; k++) q[k] = i[k];
  for (int d = 0; d < depth; d++) {
    q[idx->rank - 1] = ex_int(&l->b, d);
    j[batch + d] = wrap_index(l, lower_read(l, n->in[1], q), x->dims[batch + d]);
  }
  for (int k = batch + depth; k < x->rank; k++) j[k] = i[k - batch - depth + idx->rank - 1];
  return lower_read(l, n->in[0], j);
}

Expr *read_iota(Lower *l, const Node *n, Expr **i) {
  const Type *y = out_type(l, n);
  Expr *at = y->rank ? i[node_int(n, "axis", 0)] : ex_int(&l->b, 0);
  return ex_cast(&l->b, dtype_compute(y->dtype), at);
}

Expr *read_dims(Lower *l, const Node *n, Expr **i) {
  const Attr *dims = node_dims(n, "dims");
  if (!dims || !dims->n) return ex_int(&l->b, 0);
  if (out_type(l, n)->rank == 0) return ex_dim(&l->b, dims->dims[0]);
  Expr *r = ex_dim(&l->b, dims->dims[dims->n - 1]);
  for (int k = dims->n - 2; k >= 0; k--)
    r = ex_select(&l->b, ex_scalar(&l->b, S_EQ, i[0], ex_int(&l->b, k), NULL), ex_dim(&l->b, dims->dims[k]), r);
  return r;
}

/* A saturating cast to a power of two: the next one up, at least 2^-127; negative: NaN. Adding all ones below the
 * exponent carries into it unless x is a power already. */
static Expr *power_above(Builder *b, Expr *x) {
  DType c = x->elem;
  Expr *least = ex_const(b, c, 0x1p-127),
       *normal = ex_min(b, ex_max(b, x, ex_const(b, c, 0x1p-126)), ex_const(b, c, 0x1p127));
  Expr *up = ex_add(b, ex_bits(b, DT_U32, normal), ex_const_int(b, DT_U32, 0x7fffff));
  up = ex_bits(b, c, ex_scalar(b, S_BITAND, up, ex_const_int(b, DT_U32, 0xff800000), NULL));
  Expr *small = ex_select(b, ex_scalar(b, S_GE, x, ex_const(b, c, 0), NULL), least, ex_const(b, c, NAN));
  return ex_select(b, ex_scalar(b, S_GT, x, least, NULL), up, small);
}

/* To a narrow float: rounds to it, then goes on in the compute type. To bool: x != 0. Float to integer: towards
 * zero. Sub-byte integers wrap to their width. */
Expr *read_cast(Lower *l, const Node *n, Expr **i) {
  Builder *b = &l->b;
  DType to = out_type(l, n)->dtype, c = dtype_compute(to);
  Expr *x = lower_read(l, n->in[0], i);
  if (to == DT_BOOL) return x->elem == DT_BOOL ? x : ex_scalar(b, S_NE, x, ex_const(b, x->elem, 0), NULL);
  if (c != to && dtype_is_float(to)) {
    x = ex_cast(b, c, x);
    double top = node_int(n, "saturate", 1) ? narrow_limit(to) : 0;
    if (top > 0) x = ex_min(b, ex_const(b, c, top), ex_max(b, ex_const(b, c, -top), x));
    if (to == DT_F8E8M0 && node_int(n, "saturate", 1)) x = power_above(b, x);
    return ex_cast(b, c, ex_cast(b, to, x));
  }
  x = ex_cast(b, c, x);
  if (c == to) return x;
  int shift = 8 - dtype_info[to].bits;                          // i4, u4, i2, u2: keep the low bits
  if (dtype_info[to].cls == CLASS_UINT) return ex_scalar(b, S_BITAND, x, ex_const_int(b, c, 255 >> shift), NULL);
  Expr *half = ex_const_int(b, c, 1 << (dtype_info[to].bits - 1));
  Expr *low = ex_scalar(b, S_BITAND, x, ex_const_int(b, c, 255 >> shift), NULL);
  return ex_sub(b, ex_scalar(b, S_BITXOR, low, half, NULL), half);
}

Expr *read_bitcast(Lower *l, const Node *n, Expr **i) {
  Expr *x = lower_read(l, n->in[0], i);
  DType from = in_type(l, n, 0)->dtype, to = out_type(l, n)->dtype;
  if (dtype_compute(from) != from) x = ex_cast(&l->b, from, x);
  x = ex_bits(&l->b, to, x);
  return dtype_compute(to) != to ? ex_cast(&l->b, dtype_compute(to), x) : x;
}

Expr *read_copy(Lower *l, const Node *n, Expr **i) { return lower_read(l, n->in[0], i); }
