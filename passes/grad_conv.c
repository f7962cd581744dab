/* Gradients of convolutions. With y = conv(x, w):
 *   dx = conv_transpose(dy, w)        as long as x with the output padding that makes it so
 *   dw = conv_grad_weight(x, dy)      an op of its own: a convolution over images instead of channels
 *   db = sum of dy over images and pixels
 * All three are bilinear, and each is a gradient of the others:
 *   y = conv_transpose(x, w):       dx = conv(dy, w)            dw = conv_grad_weight(dy, x)
 *   dw = conv_grad_weight(x, dy):   dx = conv_transpose(dy, G)  d(dy) = conv(x, G)       for dw's gradient G */
#include "passes/grad.h"

static Attr copy_attr(const GradNode *r, const char *name) {
  const Attr *a = node_dims(r->node, name);
  return attr_dims(r->grad->m, name, a->dims, a->n);
}

static ValueId conv(GradNode *r, ValueId x, ValueId w) {
  Attr a[] = {copy_attr(r, "strides"), copy_attr(r, "pads"), copy_attr(r, "dilations"),
              attr_int("group", node_int(r->node, "group", 1))};
  return x && w ? build_op(r->g, OP_CONV, (ValueId[]){x, w}, 2, a, 4) : 0;
}

static ValueId weight_gradient(GradNode *r, ValueId x, ValueId dy, const Type *w) {
  Attr a[] = {attr_dims(r->grad->m, "kernel", w->dims + 2, w->rank - 2), copy_attr(r, "strides"), copy_attr(r, "pads"),
              copy_attr(r, "dilations"), attr_int("group", node_int(r->node, "group", 1))};
  return x && dy ? build_op(r->g, OP_CONV_GRAD_WEIGHT, (ValueId[]){x, dy}, 2, a, 5) : 0;
}

/* The transpose of conv, shaped as x. Pixels at x's end that no window reached get zeros: by output padding, or by a
 * pad where their number depends on a free dim. */
static ValueId conv_back(GradNode *r, ValueId dy, ValueId w, const Type *x) {
  Module *m = r->grad->m;
  const Attr *strides = node_dims(r->node, "strides"), *pads = node_dims(r->node, "pads"),
      *dil = node_dims(r->node, "dilations");
  Type tx = *x;
  if (!dy || !w) return 0;
  Dim extra[MAX_RANK], before[MAX_RANK], after[MAX_RANK];
  for (int k = 0; k < tx.rank; k++) before[k] = after[k] = DIM(0);
  for (int s = 0; s < tx.rank - 2; s++) {
    Dim out = build_dim(r->g, dy, 2 + s), kernel = build_dim(r->g, w, 2 + s);
    Dim window = dim_add(dim_mul(dim_sub(kernel, DIM(1)), dil->dims[s]), DIM(1));
    Dim full = dim_add(dim_mul(dim_sub(out, DIM(1)), strides->dims[s]), window);
    extra[s] = dim_sub(dim_add(tx.dims[2 + s], dim_add(pads->dims[s], pads->dims[s + tx.rank - 2])), full);
    if (dim_is_const(extra[s])) continue;
    after[2 + s] = extra[s];
    extra[s] = DIM(0);
  }
  Attr a[] = {copy_attr(r, "strides"), copy_attr(r, "pads"), copy_attr(r, "dilations"),
              attr_dims(m, "output_padding", extra, tx.rank - 2), attr_int("group", node_int(r->node, "group", 1))};
  return build_pad(r->g, build_op(r->g, OP_CONV_TRANSPOSE, (ValueId[]){dy, w}, 2, a, 5), before, after, 0);
}

static void bias_gradient(GradNode *r) {
  if (!grad_wants(r, 2)) return;
  int axes[MAX_RANK], n = 0, rank = build_rank(r->g, r->dy[0]);
  for (int k = 0; k < rank; k++) if (k != 1) axes[n++] = k;
  grad_add_to(r, 2, build_reduce(r->g, OP_REDUCE_SUM, r->dy[0], axes, n, false));
}

bool grad_conv(GradNode *r) {
  Type x = *build_type(r->g, r->in[0]), w = *build_type(r->g, r->in[1]);
  if (grad_wants(r, 0)) grad_add_to(r, 0, conv_back(r, r->dy[0], r->in[1], &x));
  if (grad_wants(r, 1)) grad_add_to(r, 1, weight_gradient(r, r->in[0], r->dy[0], &w));
  bias_gradient(r);
  return true;
}

/* Output padding of a stride or more is beyond what any input reaches: cut off, or conv would find windows there. */
static ValueId reached(GradNode *r) {
  const Attr *strides = node_dims(r->node, "strides"), *extra = node_dims(r->node, "output_padding");
  ValueId dy = r->dy[0];
  for (int s = 0; s < strides->n; s++) {
    int64_t cut = extra->dims[s].k / strides->dims[s].k * strides->dims[s].k;
    if (cut) dy = build_slice(r->g, dy, 2 + s, DIM(0), dim_sub(build_dim(r->g, dy, 2 + s), DIM(cut)));
  }
  return dy;
}

bool grad_conv_transpose(GradNode *r) {
  Type w = *build_type(r->g, r->in[1]);
  ValueId dy = reached(r);
  if (grad_wants(r, 0)) grad_add_to(r, 0, conv(r, dy, r->in[1]));
  if (grad_wants(r, 1)) grad_add_to(r, 1, weight_gradient(r, dy, r->in[0], &w));
  bias_gradient(r);
  return true;
}

bool grad_conv_grad_weight(GradNode *r) {
  Type x = *build_type(r->g, r->in[0]);
  if (grad_wants(r, 0)) grad_add_to(r, 0, conv_back(r, r->in[1], r->dy[0], &x));
  if (grad_wants(r, 1)) grad_add_to(r, 1, conv(r, r->in[0], r->dy[0]));
  return true;
}
