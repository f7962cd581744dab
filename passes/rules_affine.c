/* Rules that fold a constant per output channel: a scale into the weights of a matmul, a shift into the bias of a
 * convolution; and convolutions of the same input that are added up. See rules.def.
 *
 *   conv, conv_transpose   y [N, M, …]                channel axis 1; shifts
 *   matmul                 y […, N]    w [… , K, N]   channel axis: the last; scales, as it has no bias
 *
 * A batch norm's scale stays in a convolution's epilogue, where it is one multiply-add with the shift: rounded into
 * the weights it is an error that is the same at every pixel and does not average out (ppocr rec: 2.2e-4 against 3e-5).
 * Only for f32 and f64: in narrower types the product of two rounded numbers would be rounded once more. Weights
 * and the result must have one user each. */
#include "passes/rules.h"
#include <string.h>

typedef struct Affine {
  Op op;
  ValueId x, w, b;                     /* b: 0 when absent */
  int64_t channels;
  int axis;                            /* channel axis of the output */
  const Attr *attr;
  int nattr;
} Affine;

static bool match_affine(const Rules *r, ValueId v, bool scales, Affine *a) {
  const Node *n = NULL;
  static const Op ops[] = {OP_CONV, OP_CONV_TRANSPOSE, OP_MATMUL};
  for (int i = 0; i < 3 && !n; i++) n = match_def(r, v, ops[i]);
  if (!n || !match_once(r, v)) return false;
  const Type *y = match_type(r, v);
  if (y->dtype != DT_F32 && y->dtype != DT_F64) return false;
  *a = (Affine){n->op, n->in[0], n->in[1], n->nin > 2 ? n->in[2] : 0, 0, n->op == OP_MATMUL ? y->rank - 1 : 1, n->attr,
                n->nattr};
  if (!dim_is_const(y->dims[a->axis])) return false;
  a->channels = y->dims[a->axis].k;
  if (scales != (n->op == OP_MATMUL)) return false;
  if (scales && (!match_constant(r, a->w) || !match_once(r, a->w))) return false;
  return !a->b || match_constant(r, a->b);
}

/* A constant with one number per channel, or one for all: gives them. */
static bool match_per_channel(const Rules *r, ValueId c, const Affine *a, int rank, double **out) {
  double one;
  const Tensor *t = match_constant(r, c);
  bool splat = match_splat(r, c, &one);
  if (!splat && !t) return false;
  const Type *type = match_type(r, c);
  for (int d = 0; !splat && d < type->rank; d++) {
    bool channel = rank - type->rank + d == a->axis && dim_is(type->dims[d], a->channels);
    if (!channel && !dim_is(type->dims[d], 1)) return false;
  }
  double *v = NEW_N(&r->c->tmp, double, a->channels);
  for (int64_t i = 0; i < a->channels; i++) v[i] = splat ? one : tensor_get(t, tensor_count(t) == 1 ? 0 : i);
  *out = v;
  return true;
}

static ValueId scaled_weights(Rules *r, const Affine *a, const double *scale) {
  const Tensor *w = match_constant(r, a->w);
  Tensor *t = tensor_new(&r->m->perm, w->dtype, w->rank, w->dims);
  for (int64_t i = 0, n = tensor_count(w); i < n; i++) tensor_set(t, i, tensor_get(w, i) * scale[i % a->channels]);
  return graph_add_constant(r->m, value_of(r->m, a->w)->name, t);
}

static ValueId new_bias(Rules *r, const Affine *a, const double *shift) {
  if (!shift) return 0;
  const Tensor *b = match_constant(r, a->b);
  Tensor *t = tensor_new(&r->m->perm, match_type(r, a->w)->dtype, 1, &a->channels);
  for (int64_t i = 0; i < a->channels; i++)
    tensor_set(t, i, (b ? tensor_get(b, i) : 0) + shift[i]);
  return graph_add_constant(r->m, a->b ? value_of(r->m, a->b)->name : NULL, t);
}

static bool rebuild(Rules *r, const Affine *a, const double *scale, const double *shift) {
  if (!rule_go(r)) return false;
  ValueId in[3] = {a->x, scale ? scaled_weights(r, a, scale) : a->w, new_bias(r, a, shift)};
  return rule_replace(r, rule_op(r, a->op, in, in[2] ? 3 : 2, a->attr, a->nattr));
}

/* The product or sum `id` as affine op c: c may stand on either side when `both`. */
static bool match_operands(Rules *r, NodeId id, bool both, bool scales, Affine *a, double **c) {
  const Node *n = node_of(r->m, id);
  for (int k = 0; k < (both ? 2 : 1); k++) {
    if (!match_same_type(r, n->in[k], n->out[0]) || !match_affine(r, n->in[k], scales, a)) continue;
    if (match_per_channel(r, n->in[1 - k], a, match_type(r, n->out[0])->rank, c)) return true;
  }
  return false;
}

bool rule_scale_weights(Rules *r, NodeId id) {
  Affine a;
  double *c;
  if (match_is_rounded(r, node_of(r->m, id)->out[0])) return false;
  return match_operands(r, id, true, true, &a, &c) && rebuild(r, &a, c, NULL);
}

bool rule_divide_weights(Rules *r, NodeId id) {
  Affine a;
  double *c;
  if (match_is_rounded(r, node_of(r->m, id)->out[0]) || !match_operands(r, id, false, true, &a, &c)) return false;
  for (int64_t i = 0; i < a.channels; i++) c[i] = 1 / c[i];
  return rebuild(r, &a, c, NULL);
}

bool rule_add_bias(Rules *r, NodeId id) {
  Affine a;
  double *c;
  return match_operands(r, id, true, false, &a, &c) && rebuild(r, &a, NULL, c);
}

bool rule_sub_bias(Rules *r, NodeId id) {
  Affine a;
  double *c;
  if (!match_operands(r, id, false, false, &a, &c)) return false;
  for (int64_t i = 0; i < a.channels; i++) c[i] = -c[i];
  return rebuild(r, &a, NULL, c);
}

/* i[…, 1] == [0, 1, … n-1], cast to the type of w [n, M]: row i of w, or zeros. */
bool rule_one_hot(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id), *cast = match_def(r, n->in[0], OP_CAST);
  const Node *eq = cast ? match_def(r, cast->in[0], OP_EQ) : NULL;
  const Tensor *w = match_constant(r, n->in[1]);
  if (!eq || !w || w->rank != 2) return false;
  int64_t rows = w->dims[0], columns = w->dims[1];
  for (int k = 0; k < 2; k++) {
    const Tensor *count = match_constant(r, eq->in[k]);
    const Type *i = match_type(r, eq->in[1 - k]);
    if (!count || !dtype_is_int(count->dtype) || tensor_count(count) != rows || count->rank < 1 ||
        count->dims[count->rank - 1] != rows)
      continue;
    if ((i->dtype != DT_I32 && i->dtype != DT_I64) || i->rank < 1 || !dim_is(i->dims[i->rank - 1], 1) ||
        i->rank != match_type(r, n->in[0])->rank)
      continue;
    bool counts = true;
    for (int64_t j = 0; j < rows; j++) counts &= tensor_get_int(count, j) == j;
    if (!counts) continue;
    ValueId index = eq->in[1 - k];
    Type flat = type_of(i->dtype, i->rank - 1, i->dims);
    if (!rule_go(r)) return false;
    Tensor *padded = tensor_new(&r->m->perm, w->dtype, 2, (int64_t[]){rows + 1, columns});
    memcpy(padded->data, w->data, tensor_bytes(w));
    ValueId zero = graph_scalar(r->m, flat.dtype, 0), end = graph_scalar(r->m, flat.dtype, (double)rows);
    index = rule_reshape(r, index, &flat);
    ValueId in_range = rule_op2(r, OP_AND, rule_op2(r, OP_GE, index, zero), rule_op2(r, OP_LT, index, end));
    ValueId pick[2] = {graph_add_constant(r->m, value_of(r->m, n->in[1])->name, padded),
                       rule_op(r, OP_WHERE, (ValueId[]){in_range, index, end}, 3, NULL, 0)};
    Attr axis = attr_int("axis", 0);
    return rule_replace(r, rule_op(r, OP_GATHER, pick, 2, &axis, 1));
  }
  return false;
}

/* ---- sums of convolutions ---- */

/* A convolution that only this sum reads, with constant weights and bias. */
static const Node *match_branch(const Rules *r, ValueId v) {
  const Node *n = match_def(r, v, OP_CONV);
  if (!n || !match_once(r, v) || !match_constant(r, n->in[1])) return NULL;
  if (n->nin > 2 && n->in[2] && !match_constant(r, n->in[2])) return NULL;
  DType t = match_type(r, v)->dtype;
  return t == DT_F32 || t == DT_F64 ? n : NULL;
}

/* Is every tap of `in` one of n's, at the same element of x? first[i]: n's tap where in's first is. */
static bool lies_within(const Rules *r, const Node *in, const Node *n, int64_t *first) {
  const Tensor *w = match_constant(r, n->in[1]), *v = match_constant(r, in->in[1]);
  if (n->in[0] != in->in[0] || w->dims[0] != v->dims[0] || w->dims[1] != v->dims[1] ||
      !attr_eq(node_dims(n, "strides"), node_dims(in, "strides")))
    return false;
  const Dim *pads = node_dims(n, "pads")->dims, *pads_in = node_dims(in, "pads")->dims;
  const Dim *step = node_dims(n, "dilations")->dims, *step_in = node_dims(in, "dilations")->dims;
  for (int i = 0; i < w->rank - 2; i++) {
    Dim before = dim_sub(pads[i], pads_in[i]);
    if (!dim_is_const(before) || !dim_is_const(step[i]) || (v->dims[i + 2] > 1 && !dim_eq(step[i], step_in[i])))
      return false;
    first[i] = before.k / step[i].k;
    if (before.k < 0 || before.k % step[i].k || first[i] + v->dims[i + 2] > w->dims[i + 2]) return false;
  }
  return true;
}

static ValueId summed_weights(Rules *r, ValueId w, ValueId v, const int64_t *first) {
  const Tensor *a = match_constant(r, w), *b = match_constant(r, v);
  Tensor *t = tensor_new(&r->m->perm, a->dtype, a->rank, a->dims);
  memcpy(t->data, a->data, tensor_bytes(a));
  for (int64_t k = 0, n = tensor_count(b); k < n; k++) {
    int64_t at = 0, step = 1, rest = k;
    for (int d = a->rank - 1; d >= 0; step *= a->dims[d], rest /= b->dims[d], d--)
      at += (rest % b->dims[d] + (d >= 2 ? first[d - 2] : 0)) * step;
    tensor_set(t, at, tensor_get(t, at) + tensor_get(b, k));
  }
  return graph_add_constant(r->m, value_of(r->m, w)->name, t);
}

/* n + in, of which `in` lies within n, as one convolution. */
static ValueId summed(Rules *r, const Node *n, const Node *in, const int64_t *first) {
  ValueId b = n->nin > 2 ? n->in[2] : 0, c = in->nin > 2 ? in->in[2] : 0;
  ValueId args[3] = {n->in[0], summed_weights(r, n->in[1], in->in[1], first), b ? b : c};
  if (b && c) args[2] = summed_weights(r, b, c, NULL);
  return rule_op(r, OP_CONV, args, args[2] ? 3 : 2, n->attr, n->nattr);
}

/* Branches of a block that training keeps apart: 3x3 + 1x1, or several alike. */
bool rule_merge_convs(Rules *r, NodeId id) {
  const Node *n = node_of(r->m, id);
  for (int k = 0; k < 2; k++) {
    const Node *a = match_branch(r, n->in[k]), *b = match_branch(r, n->in[1 - k]);
    const Node *sum = match_once(r, n->in[1 - k]) ? match_def(r, n->in[1 - k], OP_ADD) : NULL;
    for (int q = 0; a && q < (b ? 1 : sum ? 2 : 0); q++) {
      const Node *c = b ? b : match_branch(r, sum->in[q]);
      int64_t first[MAX_RANK];
      ValueId other = b ? 0 : sum->in[1 - q];
      if (!c || !match_same_type(r, a->out[0], n->out[0]) || !match_same_type(r, c->out[0], n->out[0])) continue;
      bool within = lies_within(r, c, a, first);
      if (!within && !lies_within(r, a, c, first)) continue;
      if (!rule_go(r)) return false;
      ValueId y = within ? summed(r, a, c, first) : summed(r, c, a, first);
      return rule_replace(r, other ? rule_op2(r, OP_ADD, other, y) : y);
    }
  }
  return false;
}
