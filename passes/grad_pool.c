/* Gradients of pools, resize, grid_sample and roi_align: an op for the transpose of each, whose own gradient is the op
 * again. */
#include "passes/grad.h"
#include "base/intern.h"
#include <string.h>

enum { WINDOW_ATTRS = 5 };

/* The window attributes, which a pool and its gradient share; returns how many. */
static int window_attrs(const GradNode *r, Attr *a) {
  static const char *const names[] = {"kernel", "strides", "pads", "dilations"};
  for (int k = 0; k < 4; k++)
    a[k] = attr_dims(r->grad->m, names[k], node_dims(r->node, names[k])->dims, node_dims(r->node, names[k])->n);
  a[4] = attr_int("ceil", node_int(r->node, "ceil", 0));
  return WINDOW_ATTRS;
}

bool grad_max_pool(GradNode *r) {
  Attr a[WINDOW_ATTRS];
  if (!r->dy[0]) return true;                                   // only the indices are used
  grad_add_to(r, 0, build_op(r->g, OP_MAX_POOL_GRAD, (ValueId[]){r->in[0], r->out[0], r->dy[0]}, 3, a,
                             window_attrs(r, a)));
  return true;
}

/* Every window takes from where its largest element is. */
bool grad_max_pool_grad(GradNode *r) {
  Attr a[WINDOW_ATTRS];
  ValueId pooled[2];
  if (!grad_wants(r, 2)) return true;                           // flat in x and y, but for jumps
  if (!build_multi(r->g, OP_MAX_POOL, r->in, 1, a, window_attrs(r, a), pooled, 2)) return false;
  Dim all = type_count(build_type(r->g, r->dy[0]));
  grad_add_to(r, 2, build_gather(r->g, build_reshape(r->g, r->dy[0], &all, 1), 0, pooled[1]));
  return true;
}

/* The transpose of a pool that sums, with dy divided by what `count` says. */
static ValueId spread(GradNode *r, ValueId dy, const Type *x, const char *count) {
  Attr a[WINDOW_ATTRS + 2];
  int n = window_attrs(r, a);
  a[n++] = attr_dims(r->grad->m, "shape", x->dims, x->rank);
  a[n++] = attr_str("count", intern(count));
  return dy ? build_op(r->g, OP_AVG_POOL_GRAD, &dy, 1, a, n) : 0;
}

bool grad_avg_pool(GradNode *r) {
  Type x = *build_type(r->g, r->in[0]);
  grad_add_to(r, 0, spread(r, r->dy[0], &x, node_int(r->node, "count_include_pad", 0) ? "padded" : "inside"));
  return true;
}

bool grad_avg_pool_grad(GradNode *r) {
  Attr a[WINDOW_ATTRS + 1];
  const char *count = node_str(r->node, "count", "inside");
  int n = window_attrs(r, a);
  if (*count == 'o') return grad_fail(r, "the second derivative of lp_pool is not written yet");
  a[n++] = attr_int("count_include_pad", *count == 'p');
  grad_add_to(r, 0, build_op(r->g, OP_AVG_POOL, r->dy, 1, a, n));
  return true;
}

/* y = (sum |x|^p)^(1/p): dx = sign(x) |x|^(p-1) * sum over windows of dy y^(1-p); 0 where y is 0. */
bool grad_lp_pool(GradNode *r) {
  Graph *g = r->g;
  ValueId x = r->in[0], y = r->out[0], dy = r->dy[0];
  double p = (double)node_int(r->node, "p", 2);
  Type tx = *build_type(g, x);
  if (p != 1) {
    ValueId nothing = build_op2c(g, OP_EQ, y, 0), safe = build_where(g, nothing, build_scalar(g, tx.dtype, 1), y);
    dy = build_div(g, dy, p == 2 ? safe : build_op2c(g, OP_POW, safe, p - 1));
  }
  ValueId sum = spread(r, dy, &tx, "one"), slope = x;           // sign(x) |x|^(p-1)
  if (p != 2) {
    slope = build_op1(g, OP_SIGN, x);
    if (p != 1) slope = build_mul(g, slope, build_op2c(g, OP_POW, build_op1(g, OP_ABS, x), p - 1));
  }
  grad_add_to(r, 0, build_mul(g, slope, sum));
  return true;
}

/* ---- resize ---- */

static ValueId resized(GradNode *r, Op op, const Type *to) {
  static const char *const strs[] = {"mode", "coord", "nearest"}, *const floats[] = {"cubic_a", "extrapolation"},
                    *const ints[] = {"exclude_outside", "antialias"};
  Attr a[9];
  int n = 0;
  const Attr *scales = node_attr(r->node, "scales");
  for (int k = 0; k < 3; k++) a[n++] = attr_str(strs[k], node_str(r->node, strs[k], ""));
  for (int k = 0; k < 2; k++)
    a[n++] = attr_float(floats[k], k && op == OP_RESIZE ? 0 : node_float(r->node, floats[k], 0));
  for (int k = 0; k < 2; k++) a[n++] = attr_int(ints[k], node_int(r->node, ints[k], 0));
  a[n++] = attr_floats(r->grad->m, "scales", scales->floats, scales->n);
  a[n++] = attr_dims(r->grad->m, "shape", to->dims, to->rank);
  ValueId in[2] = {r->dy[0], r->nin > 1 ? r->in[1] : 0};
  return in[0] ? build_op(r->g, op, in, in[1] ? 2 : 1, a, n) : 0;
}

bool grad_resize(GradNode *r) {
  Type x = *build_type(r->g, r->in[0]);
  grad_add_to(r, 0, resized(r, OP_RESIZE_GRAD, &x));
  return true;
}

bool grad_resize_grad(GradNode *r) {
  Type y = *build_type(r->g, r->in[0]);
  grad_add_to(r, 0, resized(r, OP_RESIZE, &y));
  return true;
}

/* ---- grid_sample and roi_align ---- */

enum { SAMPLE_ATTRS = 3 };

static int sample_attrs(GradNode *r, Attr *a) {
  a[0] = attr_str("mode", node_str(r->node, "mode", ""));
  a[1] = attr_str("padding", node_str(r->node, "padding", ""));
  a[2] = attr_int("align_corners", node_int(r->node, "align_corners", 0));
  return SAMPLE_ATTRS;
}

/* What sampling x at the grid would change by when the grid's points move: flat, but for jumps, for the nearest
 * element. */
static ValueId moved(GradNode *r, ValueId x, ValueId dy) {
  Attr a[SAMPLE_ATTRS];
  int n = sample_attrs(r, a);
  if (!x || !dy || !strcmp(node_str(r->node, "mode", ""), "nearest")) return 0;
  return build_op(r->g, OP_GRID_SAMPLE_GRAD_GRID, (ValueId[]){x, r->in[1], dy}, 3, a, n);
}

bool grad_grid_sample(GradNode *r) {
  Attr a[SAMPLE_ATTRS + 1];
  Type x = *build_type(r->g, r->in[0]);
  int n = sample_attrs(r, a);
  a[n++] = attr_dims(r->grad->m, "shape", x.dims, x.rank);
  if (grad_wants(r, 0))
    grad_add_to(r, 0, build_op(r->g, OP_GRID_SAMPLE_GRAD, (ValueId[]){r->dy[0], r->in[1]}, 2, a, n));
  if (grad_wants(r, 1)) grad_add_to(r, 1, moved(r, r->in[0], r->dy[0]));
  return true;
}

/* dx is linear in what it spreads, and pairs with it as y pairs with x. */
bool grad_grid_sample_grad(GradNode *r) {
  Attr a[SAMPLE_ATTRS];
  int n = sample_attrs(r, a);
  if (grad_wants(r, 0)) grad_add_to(r, 0, build_op(r->g, OP_GRID_SAMPLE, (ValueId[]){r->dy[0], r->in[1]}, 2, a, n));
  if (grad_wants(r, 1)) grad_add_to(r, 1, moved(r, r->dy[0], r->in[0]));
  return true;
}

/* By the regions there is none, as in torchvision: see lt_roi_align_grad. */
bool grad_roi_align(GradNode *r) {
  Attr a[] = {attr_int("ratio", node_int(r->node, "ratio", 0)), attr_int("max", node_int(r->node, "max", 0))};
  if (!grad_wants(r, 0)) return true;
  grad_add_to(r, 0, build_op(r->g, OP_ROI_ALIGN_GRAD, (ValueId[]){r->in[0], r->in[1], r->in[2], r->dy[0]}, 4, a, 2));
  return true;
}

bool grad_roi_align_grad(GradNode *r) {
  Type y = *build_type(r->g, r->in[3]);
  if (!grad_wants(r, 3)) return true;                           // by x flat, but for jumps
  if (node_int(r->node, "max", 0))
    return grad_fail(r, "the second derivative of the largest of a region is not supported");
  Attr a[] = {attr_int("ratio", node_int(r->node, "ratio", 0)), attr_int("max", 0), attr_int("height", y.dims[2].k),
              attr_int("width", y.dims[3].k)};
  grad_add_to(r, 3, build_op(r->g, OP_ROI_ALIGN, (ValueId[]){r->dy[0], r->in[1], r->in[2]}, 3, a, 4));
  return true;
}
