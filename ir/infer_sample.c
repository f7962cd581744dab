/* Inference of resize, grid_sample, and their gradients. */
#include "ir/infer.h"
#include <math.h>
#include <string.h>

/* The attributes of a resize from shape a to shape y. */
static bool check_resize(Infer *x, const Type *a, const Type *y) {
  const Attr *scales = node_attr(x->n, "scales");
  int64_t flag;
  if (!infer_choice(x, "mode", "nearest linear cubic") ||
      !infer_choice(x, "coord", "half_pixel half_pixel_symmetric pytorch_half_pixel align_corners asymmetric "
                                "tf_half_pixel_for_nn tf_crop_and_resize") ||
      !infer_choice(x, "nearest", "round_prefer_floor round_prefer_ceil floor ceil simple") ||
      !infer_int(x, "exclude_outside", 0, 1, &flag) || !infer_int(x, "antialias", 0, 1, &flag)) return false;
  if (y->rank != a->rank)
    return infer_fail(x, "shape has %d entries, the input has rank %d", x->out[0].rank, x->in[0]->rank);
  if (scales->n != a->rank) return infer_fail(x, "scales has %d entries, the input has rank %d", scales->n, a->rank);
  for (int i = 0; i < a->rank; i++) {
    if (!(scales->floats[i] >= 0) || isinf(scales->floats[i])) {          // 0: shape / input size
      return infer_fail(x, "scales[%d] is %g, must be positive and finite", i, scales->floats[i]);
    }
    if (dim_is(a->dims[i], 0) && dim_lo(y->dims[i]) > 0)
      return infer_fail(x, "axis %d is empty and cannot be resized to %s", i, dim_text(y->dims[i]));
  }
  if (strcmp(node_str(x->n, "coord", ""), "tf_crop_and_resize")) return true;
  if (!x->in[1]) return infer_fail(x, "tf_crop_and_resize needs the region of interest (input 1)");
  return infer_float_input(x, 1) && infer_input_shape(x, 1, 1, (Dim[]){DIM(2 * a->rank)},
                                                      "region of interest (begins, ends)");
}

bool infer_resize(Infer *x) {
  Type *y = &x->out[0];
  if (!infer_numeric_input(x, 0) || !infer_shape(x, "shape", y)) return false;
  y->dtype = x->in[0]->dtype;
  return check_resize(x, x->in[0], y);
}

bool infer_resize_grad(Infer *x) {
  Type *dx = &x->out[0];
  if (!infer_float_input(x, 0) || !infer_shape(x, "shape", dx)) return false;
  dx->dtype = x->in[0]->dtype;
  return check_resize(x, dx, x->in[0]);
}

/* Attributes and grid for an input a [N, C, spatial…]; y: what sampling gives. */
static bool check_sample(Infer *x, const Type *a, const Type *grid, Type *y) {
  int64_t flag;
  if (!infer_choice(x, "mode", "linear nearest cubic") || !infer_choice(x, "padding", "zeros border reflection") ||
      !infer_int(x, "align_corners", 0, 1, &flag)) return false;
  if (a->rank < 3) return infer_fail(x, "input must have rank 3 or more [N, C, spatial…], has %d", a->rank);
  int spatial = a->rank - 2;
  if (grid->rank != a->rank) return infer_fail(x, "grid has rank %d, input has rank %d", grid->rank, a->rank);
  if (!dim_always_eq(grid->dims[0], a->dims[0])) {
    return infer_fail(x, "grid has batch %s, input has %s", dim_text(grid->dims[0]), dim_text(a->dims[0]));
  }
  if (!dim_is(grid->dims[grid->rank - 1], spatial)) {
    return infer_fail(x, "the last axis of grid must hold %d coordinates, has %s", spatial,
                      dim_text(grid->dims[grid->rank - 1]));
  }
  *y = *a;
  for (int i = 0; i < spatial; i++) {
    if (dim_hi(a->dims[2 + i]) < 1) return infer_fail(x, "spatial axis %d is empty, there is nothing to sample", i);
    y->dims[2 + i] = grid->dims[1 + i];
  }
  return true;
}

bool infer_grid_sample(Infer *x) {
  return infer_numeric_input(x, 0) && infer_float_input(x, 1) && check_sample(x, x->in[0], x->in[1], &x->out[0]);
}

bool infer_grid_sample_grad(Infer *x) {
  Type *dx = &x->out[0], y;
  if (!infer_float_input(x, 0) || !infer_float_input(x, 1) || !infer_shape(x, "shape", dx)) return false;
  dx->dtype = x->in[0]->dtype;
  return check_sample(x, dx, x->in[1], &y) && infer_input_shape(x, 0, y.rank, y.dims, "gradient of what was sampled");
}

bool infer_grid_sample_grad_grid(Infer *x) {
  Type y;
  x->out[0] = *x->in[1];
  return infer_float_input(x, 0) && infer_float_input(x, 1) && infer_float_input(x, 2) &&
         check_sample(x, x->in[0], x->in[1], &y) &&
         infer_input_shape(x, 2, y.rank, y.dims, "gradient of what was sampled");
}
