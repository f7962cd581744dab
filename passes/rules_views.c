/* Rules on ops that only move elements. See rules.def for what each does. */
#include "passes/rules.h"
#include <string.h>

/* ---- ops that change nothing ---- */

static bool is_whole_slice(const Node *n) {
  const Attr *starts = node_dims(n, "starts"), *steps = node_dims(n, "steps");
  for (int i = 0; i < starts->n; i++)
    if (!dim_is(starts->dims[i], 0) || !dim_is(steps->dims[i], 1)) return false;
  return true;
}

static bool is_identity_perm(const Node *n) {
  const Attr *perm = node_dims(n, "perm");
  for (int i = 0; i < perm->n; i++)
    if (!dim_is(perm->dims[i], i)) return false;
  return true;
}

static bool changes_nothing(const Node *n) {         // given that the type stays
  switch (n->op) {
    case OP_COPY: case OP_RESHAPE: case OP_EXPAND: case OP_CAST: case OP_BITCAST: case OP_PAD: return true;
    case OP_SLICE: return is_whole_slice(n);
    case OP_TRANSPOSE: return is_identity_perm(n);
    case OP_CONCAT: return n->nin == 1;
    default: return false;
  }
}

static bool pads_nothing(const Node *n) {
  const Attr *before = node_dims(n, "before"), *after = node_dims(n, "after");
  for (int i = 0; i < before->n; i++)
    if (!dim_is(before->dims[i], 0) || !dim_is(after->dims[i], 0)) return false;
  return true;
}

bool rule_identity(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  if (n->nin < 1 || !changes_nothing(n) || !match_same_type(r, n->in[0], n->out[0])) return false;
  if (n->op == OP_PAD && !pads_nothing(n)) return false;
  ValueId x = n->in[0];
  if (!rule_may_replace(r, x)) return false;         // an output that is an input or another output needs its copy
  return rule_go(r) && rule_replace(r, x);
}

/* ---- two of a kind ---- */

bool rule_reshape_reshape(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id), *inner = match_def(r, n->in[0], OP_RESHAPE);
  if (!inner) return false;
  ValueId x = inner->in[0];
  const Type to = *match_type(r, n->out[0]);
  return rule_go(r) && rule_replace(r, rule_reshape(r, x, &to));
}

bool rule_transpose_transpose(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id), *inner = match_def(r, n->in[0], OP_TRANSPOSE);
  if (!inner) return false;
  const Attr *p = node_dims(inner, "perm"), *q = node_dims(n, "perm");
  Dim perm[MAX_RANK];
  int rank = q->n;
  for (int i = 0; i < rank; i++) perm[i] = p->dims[q->dims[i].k];
  ValueId x = inner->in[0];
  if (!rule_go(r)) return false;
  Attr a = attr_dims(r->m, "perm", perm, rank);
  return rule_replace(r, rule_op(r, OP_TRANSPOSE, &x, 1, &a, 1));
}

/* Does it swap the last two axes and nothing else? */
static bool is_swap(const Node *n) {
  const Attr *perm = node_dims(n, "perm");
  for (int i = 0; i < perm->n; i++)
    if (!dim_is(perm->dims[i], i < perm->n - 2 ? i : 2 * perm->n - 3 - i)) return false;
  return perm->n >= 2;
}

static ValueId swapped(Rules *r, ValueId v) {
  int rank = match_type(r, v)->rank;
  Dim perm[MAX_RANK];
  for (int i = 0; i < rank; i++) perm[i] = DIM(i < rank - 2 ? i : 2 * rank - 3 - i);
  Attr swap = attr_dims(r->m, "perm", perm, rank);
  return rule_op(r, OP_TRANSPOSE, &v, 1, &swap, 1);
}

/* What the gradient of a layer with weights [out, in] comes to: x^T dy, transposed. dy^T x lies as the weights do. */
bool rule_transpose_matmul(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id), *product = match_def(r, n->in[0], OP_MATMUL);
  const Node *a = product ? match_def(r, product->in[0], OP_TRANSPOSE) : NULL;
  if (!a || !match_once(r, n->in[0]) || !is_swap(n) || !is_swap(a)) return false;
  ValueId b = product->in[1], x = a->in[0];
  if (!rule_go(r)) return false;
  return rule_replace(r, rule_op2(r, OP_MATMUL, swapped(r, b), x));
}

/* Attention over pixels is often written so, with channels before pixels; fuse_attention.c knows the other way
 * round. */
bool rule_matmul_shares(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id), *turned = match_def(r, n->in[1], OP_TRANSPOSE);
  const Node *softmax = turned ? match_def(r, turned->in[0], OP_SOFTMAX) : NULL;
  ValueId v = n->in[0];
  int rank = match_type(r, v)->rank;
  if (!softmax || !is_swap(turned) || !match_once(r, n->in[1]) || !match_once(r, turned->in[0])) return false;
  if (rank < 2 || node_int(softmax, "axis", -1) != match_type(r, turned->in[0])->rank - 1) return false;
  ValueId shares = turned->in[0];
  if (!rule_go(r)) return false;
  return rule_replace(r, swapped(r, rule_op2(r, OP_MATMUL, shares, swapped(r, v))));
}

bool rule_transpose_ones(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  const Attr *perm = node_dims(n, "perm");
  const Type *x = match_type(r, n->in[0]);
  int64_t last = -1;
  for (int i = 0; i < perm->n; i++) {                // the other axes stay in order
    int64_t axis = perm->dims[i].k;
    if (dim_is(x->dims[axis], 1)) continue;
    if (axis < last) return false;
    last = axis;
  }
  if (is_identity_perm(n)) return false;
  ValueId v = n->in[0];
  const Type to = *match_type(r, n->out[0]);
  return rule_go(r) && rule_replace(r, rule_reshape(r, v, &to));
}

bool rule_expand_expand(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id), *inner = match_def(r, n->in[0], OP_EXPAND);
  if (!inner) return false;
  ValueId x = inner->in[0];
  Attr shape = *node_dims(n, "shape");
  return rule_go(r) && rule_replace(r, rule_op(r, OP_EXPAND, &x, 1, &shape, 1));
}

bool rule_slice_slice(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id), *inner = match_def(r, n->in[0], OP_SLICE);
  if (!inner) return false;
  const Attr *s = node_dims(inner, "starts"), *k = node_dims(inner, "steps");
  const Attr *t = node_dims(n, "starts"), *l = node_dims(n, "steps");
  Dim starts[MAX_RANK], steps[MAX_RANK];
  int rank = s->n;
  for (int i = 0; i < rank; i++) {
    starts[i] = dim_add(s->dims[i], dim_mul(t->dims[i], k->dims[i]));
    steps[i] = dim_mul(k->dims[i], l->dims[i]);
  }
  ValueId x = inner->in[0];
  Attr shape = *node_dims(n, "shape");
  if (!rule_go(r)) return false;
  Attr a[] = {attr_dims(r->m, "starts", starts, rank), attr_dims(r->m, "steps", steps, rank), shape};
  return rule_replace(r, rule_op(r, OP_SLICE, &x, 1, a, 3));
}

bool rule_concat_concat(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  int64_t axis = node_int(n, "axis", 0);
  int total = 0;
  bool any = false;
  for (int i = 0; i < n->nin; i++) {
    const Node *d = match_def(r, n->in[i], OP_CONCAT);
    bool flat = d && node_int(d, "axis", 0) == axis && match_once(r, n->in[i]);
    total += flat ? d->nin : 1;
    any |= flat;
  }
  if (!any) return false;
  ValueId *in = NEW_N(&r->m->perm, ValueId, total);
  for (int i = 0, at = 0; i < n->nin; i++) {
    const Node *d = match_def(r, n->in[i], OP_CONCAT);
    if (!d || node_int(d, "axis", 0) != axis || !match_once(r, n->in[i])) { in[at++] = n->in[i]; continue; }
    for (int k = 0; k < d->nin; k++) in[at++] = d->in[k];
  }
  if (!rule_go(r)) return false;
  Attr a = attr_int("axis", axis);
  return rule_replace(r, rule_op(r, OP_CONCAT, in, total, &a, 1));
}

/* ---- sums of slices' gradients ---- */

/* A pad with zeros, used once, that crops nothing. */
static const Node *zero_pad(const Rules *r, ValueId v) {
  const Node *n = match_def(r, v, OP_PAD);
  double value = 0;
  if (!n || !match_once(r, v) || strcmp(node_str(n, "mode", ""), "constant")) return NULL;
  if (n->nin > 1 && n->in[1] && (!match_splat(r, n->in[1], &value) || value != 0)) return NULL;
  const Attr *before = node_dims(n, "before"), *after = node_dims(n, "after");
  for (int k = 0; k < before->n; k++)
    if (dim_lo(before->dims[k]) < 0 || dim_lo(after->dims[k]) < 0) return NULL;
  return n;
}

/* The axis along which y begins where x ends; they are padded alike along the others. -1: none. */
static int neighbours(const Rules *r, const Node *x, const Node *y) {
  const Type *t = match_type(r, x->in[0]);
  const Dim *bx = node_dims(x, "before")->dims, *by = node_dims(y, "before")->dims;
  const Dim *ax = node_dims(x, "after")->dims, *ay = node_dims(y, "after")->dims;
  int axis = -1;
  for (int k = 0; k < t->rank; k++) {
    if (dim_eq(bx[k], by[k]) && dim_eq(ax[k], ay[k])) continue;
    if (axis >= 0 || !dim_eq(by[k], dim_add(bx[k], t->dims[k]))) return -1;
    axis = k;
  }
  return axis;
}

typedef struct Pair { ValueId x, y; int axis; } Pair;          /* pads, x first */

static bool pair_match(const Rules *r, ValueId a, ValueId b, Pair *p) {
  const Node *x = zero_pad(r, a), *y = zero_pad(r, b);
  if (!x || !y || a == b) return false;
  *p = (Pair){a, b, neighbours(r, x, y)};
  if (p->axis < 0) *p = (Pair){b, a, neighbours(r, y, x)};
  return p->axis >= 0;
}

static ValueId pair_join(Rules *r, const Pair *p) {
  const Node *x = match_def(r, p->x, OP_PAD), *y = match_def(r, p->y, OP_PAD);
  Attr pad[3] = {*node_dims(x, "before"), *node_dims(x, "after"), attr_str("mode", "constant")},
      axis = attr_int("axis", p->axis);
  Dim after[MAX_RANK];
  for (int k = 0; k < pad[1].n; k++) after[k] = k == p->axis ? node_dims(y, "after")->dims[k] : pad[1].dims[k];
  pad[1] = attr_dims(r->m, "after", after, pad[1].n);
  ValueId both = rule_op(r, OP_CONCAT, (ValueId[]){x->in[0], y->in[0]}, 2, &axis, 1);
  return rule_op(r, OP_PAD, &both, 1, pad, 3);
}

/* Also (pad(x) + z) + pad(y): slices are not always used in their order. */
bool rule_add_pads(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  Pair p;
  if (pair_match(r, n->in[0], n->in[1], &p)) return rule_go(r) && rule_replace(r, pair_join(r, &p));
  for (int side = 0; side < 2; side++) {
    const Node *sum = match_def(r, n->in[side], OP_ADD);
    for (int q = 0; sum && match_once(r, n->in[side]) && q < 2; q++) {
      ValueId other = sum->in[1 - q];
      if (!pair_match(r, sum->in[q], n->in[1 - side], &p)) continue;
      return rule_go(r) && rule_replace(r, rule_op2(r, OP_ADD, pair_join(r, &p), other));
    }
  }
  return false;
}

/* ---- others ---- */

bool rule_gather_slice(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  const Tensor *idx = match_constant(r, n->in[1]);
  int axis = (int)node_int(n, "axis", 0);
  const Type *x = match_type(r, n->in[0]);
  if (!idx || idx->rank > 1 || !dim_is_const(x->dims[axis])) return false;
  int64_t count = tensor_count(idx), size = x->dims[axis].k;
  if (count < 1) return false;
  int64_t first = tensor_get_int(idx, 0), step = 1;
  if (first < 0) first += size;
  for (int64_t i = 0; i < count; i++) {
    int64_t v = tensor_get_int(idx, i);
    if (v < 0) v += size;
    if (v < 0 || v >= size) return false;            // out of range: stays, and is reported when it runs
    if (i == 1) step = v - first;
    if (v != first + i * step) return false;
  }
  if (step == 0) return false;
  Dim starts[MAX_RANK], steps[MAX_RANK], shape[MAX_RANK];
  int rank = x->rank;
  for (int i = 0; i < rank; i++) {
    starts[i] = DIM(i == axis ? first : 0);
    steps[i] = DIM(i == axis ? step : 1);
    shape[i] = i == axis ? DIM(count) : x->dims[i];
  }
  ValueId v = n->in[0];
  const Type to = *match_type(r, n->out[0]);
  if (!rule_go(r)) return false;
  Attr a[] = {attr_dims(r->m, "starts", starts, rank), attr_dims(r->m, "steps", steps, rank),
              attr_dims(r->m, "shape", shape, rank)};
  v = rule_op(r, OP_SLICE, &v, 1, a, 3);
  return rule_replace(r, to.rank == rank ? v : rule_reshape(r, v, &to));
}

/* Can every value of `from` be told apart in `to`? Then casting there and on loses nothing. */
static bool is_wider(DType from, DType to) {
  const DTypeInfo *a = &dtype_info[from], *b = &dtype_info[to];
  if (a->cls == CLASS_BOOL) return b->cls == CLASS_FLOAT || b->cls == CLASS_INT || b->cls == CLASS_UINT;
  if (a->cls == CLASS_FLOAT && b->cls == CLASS_FLOAT) return to == DT_F64 || (to == DT_F32 && from != DT_F64);
  if (a->cls == CLASS_INT && b->cls == CLASS_INT) return b->bits >= a->bits;
  if (a->cls == CLASS_UINT && b->cls == CLASS_UINT) return b->bits >= a->bits;
  return a->cls == CLASS_UINT && b->cls == CLASS_INT && b->bits > a->bits;
}

bool rule_cast_cast(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id), *inner = match_def(r, n->in[0], OP_CAST);
  if (!inner) return false;
  ValueId x = inner->in[0];
  if (!is_wider(match_type(r, x)->dtype, match_type(r, n->in[0])->dtype)) return false;
  const Attr *attr = n->attr;
  int nattr = n->nattr;
  return rule_go(r) && rule_replace(r, rule_op(r, OP_CAST, &x, 1, attr, nattr));
}

/* The shape that broadcasting n's inputs gives, with input k replaced by `with`. */
static bool broadcasts_to_same(const Rules *r, const Node *n, int k, ValueId with) {
  const Type *out = match_type(r, n->out[0]);
  int rank = 0;
  for (int i = 0; i < n->nin; i++) {
    const Type *t = match_type(r, i == k ? with : n->in[i]);
    if (t->rank > rank) rank = t->rank;
  }
  if (rank != out->rank) return false;
  for (int d = 0; d < rank; d++) {
    bool found = dim_is(out->dims[d], 1);
    for (int i = 0; i < n->nin && !found; i++) {
      const Type *t = match_type(r, i == k ? with : n->in[i]);
      int at = d - (rank - t->rank);
      found = at >= 0 && dim_eq(t->dims[at], out->dims[d]);
    }
    if (!found) return false;
  }
  return true;
}

bool rule_expand_operand(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  if (!op_is_scalar(n->op) || n->nin < 2) return false;
  for (int k = 0; k < n->nin; k++) {
    const Node *e = match_def(r, n->in[k], OP_EXPAND);
    if (!e || !broadcasts_to_same(r, n, k, e->in[0])) continue;
    ValueId in[3];
    int nin = n->nin;
    for (int i = 0; i < nin; i++) in[i] = i == k ? e->in[0] : n->in[i];
    Op op = n->op;
    return rule_go(r) && rule_replace(r, rule_op(r, op, in, nin, NULL, 0));
  }
  return false;
}

static bool is_reduce(const Node *n) {
  return n->op == OP_REDUCE_SUM || n->op == OP_REDUCE_PROD || n->op == OP_REDUCE_MAX || n->op == OP_REDUCE_MIN;
}

bool rule_reduce_keepdims(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  if (!is_reduce(n) || node_int(n, "keepdims", 0) != 0) return false;
  ValueId x = n->in[0];
  Op op = n->op;
  const Type to = *match_type(r, n->out[0]);
  Attr a[] = {*node_dims(n, "axes"), attr_int("keepdims", 1)};
  if (!a[0].n || !rule_go(r)) return false;
  return rule_replace(r, rule_reshape(r, rule_op(r, op, &x, 1, a, 2), &to));
}

bool rule_pad_conv(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id), *pad = match_def(r, n->in[0], OP_PAD);
  double c = 0;
  if (!pad || !match_once(r, n->in[0]) || strcmp(node_str(pad, "mode", "constant"), "constant")) return false;
  if (pad->nin > 1 && pad->in[1] && (!match_splat(r, pad->in[1], &c) || c != 0)) return false;
  const Attr *before = node_dims(pad, "before"), *after = node_dims(pad, "after"), *pads = node_dims(n, "pads");
  Dim sum[2 * MAX_RANK];
  int rank = before->n;
  for (int i = 0; i < rank; i++) {
    if (dim_lo(before->dims[i]) < 0 || dim_lo(after->dims[i]) < 0) return false;
    if (i < 2 && (!dim_is(before->dims[i], 0) || !dim_is(after->dims[i], 0))) return false;
    if (i < 2) continue;
    sum[i - 2] = dim_add(pads->dims[i - 2], before->dims[i]);
    sum[i - 2 + rank - 2] = dim_add(pads->dims[i - 2 + rank - 2], after->dims[i]);
  }
  ValueId in[3] = {pad->in[0], n->in[1], n->nin > 2 ? n->in[2] : 0};
  int nin = n->nin, nattr = n->nattr;
  if (!rule_go(r)) return false;
  Attr *a = arena_dup(&r->m->perm, node_of(r->m, id)->attr, (size_t)nattr * sizeof *a);
  for (int i = 0; i < nattr; i++)
    if (!strcmp(a[i].name, "pads")) a[i] = attr_dims(r->m, "pads", sum, 2 * (rank - 2));
  return rule_replace(r, rule_op(r, OP_CONV, in, nin, a, nattr));
}

bool rule_reduce_ones(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  if (!is_reduce(n)) return false;
  const Attr *axes = node_dims(n, "axes");
  const Type *x = match_type(r, n->in[0]);
  for (int i = 0; i < axes->n; i++)
    if (!dim_is(x->dims[axes->dims[i].k], 1)) return false;
  ValueId v = n->in[0];
  const Type to = *match_type(r, n->out[0]);
  if (to.dtype != x->dtype) return false;
  return rule_go(r) && rule_replace(r, rule_reshape(r, v, &to));
}
