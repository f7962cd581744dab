/* Gradients of views: what an output element shows is where its gradient goes. Views that show elements once have a
 * view as gradient; those that repeat elements sum (expand, by grad_add_to) or scatter (passes/grad_index.c). */
#include "passes/grad_index.h"
#include <string.h>

bool grad_copy(GradNode *r) {
  grad_add_to(r, 0, r->dy[0]);
  return true;
}

bool grad_cast(GradNode *r) { return grad_copy(r); }             // grad_add_to casts back
bool grad_expand(GradNode *r) { return grad_copy(r); }           // and sums over what was repeated

bool grad_reshape(GradNode *r) {
  grad_add_to(r, 0, build_reshape_like(r->g, r->dy[0], build_type(r->g, r->in[0])));
  return true;
}

bool grad_transpose(GradNode *r) {
  const Attr *perm = node_dims(r->node, "perm");
  int back[MAX_RANK];
  for (int k = 0; k < perm->n; k++) back[perm->dims[k].k] = k;
  grad_add_to(r, 0, build_transpose(r->g, r->dy[0], back, perm->n));
  return true;
}

/* ---- slice ---- */

/* x with its axis read backwards. */
static ValueId reversed(Graph *g, ValueId v, int axis) {
  Type t = *build_type(g, v);
  Dim starts[MAX_RANK], steps[MAX_RANK];
  for (int k = 0; k < t.rank; k++) starts[k] = DIM(0), steps[k] = DIM(1);
  starts[axis] = dim_sub(t.dims[axis], DIM(1));
  steps[axis] = DIM(-1);
  Module *m = g->module;
  Attr a[] = {attr_dims(m, "starts", starts, t.rank), attr_dims(m, "steps", steps, t.rank),
              attr_dims(m, "shape", t.dims, t.rank)};
  return build_op(g, OP_SLICE, &v, 1, a, 3);
}

/* v with step - 1 zeros after each element of the axis: [A, n, B] -> [A, n, 1, B] -> pad -> [A, n * step, B] */
static ValueId spaced(Graph *g, ValueId v, int axis, int64_t step) {
  Type t = *build_type(g, v);
  Dim lines[4] = {DIM(1), t.dims[axis], DIM(1), DIM(1)};
  for (int k = 0; k < axis; k++) lines[0] = dim_mul(lines[0], t.dims[k]);
  for (int k = axis + 1; k < t.rank; k++) lines[3] = dim_mul(lines[3], t.dims[k]);
  static const Dim none[4];
  Dim after[4] = {DIM(0), DIM(0), DIM(step - 1), DIM(0)};
  v = build_pad(g, build_reshape(g, v, lines, 4), none, after, 0);
  t.dims[axis] = dim_mul(t.dims[axis], DIM(step));
  return build_reshape_like(g, v, &t);
}

/* The inverse: zeros where nothing was read. */
bool grad_slice(GradNode *r) {
  Type x = *build_type(r->g, r->in[0]);
  const Attr *starts = node_dims(r->node, "starts"), *steps = node_dims(r->node, "steps");
  ValueId dx = r->dy[0];
  Dim before[MAX_RANK], after[MAX_RANK];
  for (int k = 0; k < x.rank; k++) {
    if (!dim_is_const(steps->dims[k])) return grad_fail(r, "its step along axis %d is not a constant", k);
    int64_t step = steps->dims[k].k;
    Dim size = build_dim(r->g, dx, k);
    before[k] = starts->dims[k];
    if (step < 0) {
      if (!dim_is(size, 1)) dx = reversed(r->g, dx, k);
      before[k] = dim_add(before[k], dim_mul(dim_sub(size, DIM(1)), DIM(step)));
      step = -step;
    }
    if (dim_is(size, 1)) step = 1;
    if (step > 1) dx = spaced(r->g, dx, k, step);
    after[k] = dim_sub(dim_sub(x.dims[k], before[k]), dim_mul(size, DIM(step)));   // negative crops the last zeros
  }
  grad_add_to(r, 0, build_pad(r->g, dx, before, after, 0));
  return true;
}

/* ---- pad ---- */

/* Padding with a constant is undone by padding with the negative amounts; its value gets what does not come from x. */
static void pad_constant(GradNode *r, const Dim *before, const Dim *after) {
  Graph *g = r->g;
  Type x = *build_type(g, r->in[0]);
  Dim crop[2][MAX_RANK];
  for (int k = 0; k < x.rank; k++) crop[0][k] = dim_sub(DIM(0), before[k]), crop[1][k] = dim_sub(DIM(0), after[k]);
  if (grad_wants(r, 0)) grad_add_to(r, 0, build_pad(g, r->dy[0], crop[0], crop[1], 0));
  if (!grad_wants(r, 1)) return;
  ValueId outside = build_pad(g, build_zeros_like(g, r->in[0]), before, after, build_scalar(g, x.dtype, 1));
  grad_add_to(r, 1, build_reduce_all(g, OP_REDUCE_SUM, build_mul(g, r->dy[0], outside)));
}

/* The other modes repeat elements: along each axis they gather at the padded positions 0, 1 … n-1. */
static ValueId pad_axis(GradNode *r, ValueId dx, int axis, Dim n, Dim before, Dim after) {
  Graph *g = r->g;
  ValueId at = build_iota(g, DT_I64, &n, 1, 0);
  Attr a[] = {attr_dims(g->module, "before", &before, 1), attr_dims(g->module, "after", &after, 1),
              attr_str("mode", node_str(r->node, "mode", ""))};
  return grad_of_gather(g, dx, axis, build_op(g, OP_PAD, &at, 1, a, 3), n);
}

bool grad_pad(GradNode *r) {
  const Dim *before = node_dims(r->node, "before")->dims, *after = node_dims(r->node, "after")->dims;
  if (!strcmp(node_str(r->node, "mode", ""), "constant")) {
    pad_constant(r, before, after);
    return true;
  }
  Type x = *build_type(r->g, r->in[0]);
  ValueId dx = r->dy[0];
  for (int k = 0; k < x.rank; k++)
    if (!dim_is(before[k], 0) || !dim_is(after[k], 0)) dx = pad_axis(r, dx, k, x.dims[k], before[k], after[k]);
  grad_add_to(r, 0, dx);
  return true;
}

bool grad_concat(GradNode *r) {
  int axis = (int)node_int(r->node, "axis", 0);
  Dim at = DIM(0);
  for (int k = 0; k < r->nin; k++) {
    Dim size = build_dim(r->g, r->in[k], axis);
    if (grad_wants(r, k)) grad_add_to(r, k, build_slice(r->g, r->dy[0], axis, at, size));
    at = dim_add(at, size);
  }
  return true;
}
