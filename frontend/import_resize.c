/* Resize and Upsample -> resize with shape and scale of every axis; GridSample -> grid_sample; AffineGrid by arithmetic.
 *
 * Output sizes from scales are floor(size * scale) in f32, as ONNX computes them; of a symbolic size through the
 * fraction p/q that the scale stands for. Scales from sizes are size / input, or one common scale where the
 * aspect ratio is to be kept. */
#include "frontend/calc.h"
#include <math.h>

typedef struct Resize {
  int rank;
  Dim shape[MAX_RANK];
  double scale[MAX_RANK];                  /* 0: shape / input size, which only running tells */
  const char *mode, *coord, *nearest;
  double cubic_a, extrapolation;
  bool exclude_outside, antialias;
  ValueId roi;
} Resize;

/* floor(in * scale) */
static bool scaled_size(Import *x, Dim in, double scale, Dim *out) {
  if (!(scale > 0) || scale > 1e6) return imp_fail(x, "shape", "scale %g is not a positive number", scale);
  if (dim_is_const(in)) {
    *out = DIM((int64_t)floorf((float)in.k * (float)scale));
    return true;
  }
  for (int64_t q = 1; q <= 1024; q++) {
    double p = nearbyint(scale * (double)q);
    if (fabs(p - scale * (double)q) > 1e-6 * (double)q || p < 1) continue;
    *out = dim_floordiv(dim_mul(in, DIM((int64_t)p)), DIM(q));
    return true;
  }
  return imp_fail(x, "unsupported", "scale %g of the free dim %s is no simple fraction", scale, dim_text(in));
}

static ValueId resize_node(Import *x, ValueId v, const Resize *r) {
  Attr a[] = {
    attr_dims(x->m, "shape", r->shape, r->rank), attr_floats(x->m, "scales", r->scale, r->rank),
    attr_str("mode", r->mode), attr_str("coord", r->coord), attr_str("nearest", r->nearest),
    attr_float("cubic_a", r->cubic_a), attr_int("exclude_outside", r->exclude_outside),
    attr_float("extrapolation", r->extrapolation), attr_int("antialias", r->antialias) };
  return calc_op(x, OP_RESIZE, (ValueId[]){ v, r->roi }, r->roi ? 2 : 1, a, 9);
}

/* The operators before Resize-11: positions o / scale, cut off; when shrinking, rounded up (as ONNX Runtime does). */
static bool old_resize(Import *x, const double *scale, int n) {
  Resize r = { .rank = imp_rank(x, 0), .coord = "asymmetric", .nearest = "floor", .cubic_a = -0.75 };
  const char *mode = imp_str(x, "mode", "nearest");
  r.mode = !strcmp(mode, "nearest") ? "nearest" : "linear";
  if (strcmp(mode, "nearest") && strcmp(mode, "linear") && strcmp(mode, "bilinear"))
    return imp_fail(x, "unsupported", "mode '%s' is not nearest or linear", mode);
  if (n != r.rank) return imp_fail(x, "shape", "%d scales for an input of rank %d", n, r.rank);
  ValueId v = x->in[0];
  bool nearest = !strcmp(r.mode, "nearest");
  for (int shrink = 1; shrink >= 0; shrink--) {          /* nearest is separable: the shrinking axes on their own */
    bool any = false;
    for (int i = 0; i < r.rank; i++) {
      bool now = nearest ? (scale[i] < 1) == shrink : !shrink;
      r.scale[i] = now ? scale[i] : 1;
      r.shape[i] = calc_dim(x, v, i);
      if (now && scale[i] != 1 && !scaled_size(x, r.shape[i], scale[i], &r.shape[i])) return false;
      any |= now && scale[i] != 1;
    }
    r.nearest = shrink ? "ceil" : "floor";
    if (any) v = resize_node(x, v, &r);
  }
  return calc_set(x, 0, v);
}

bool import_upsample_1(Import *x) {
  if (!calc_needs(x, 1)) return false;
  double scale[4] = { 1, 1, imp_float(x, "height_scale", 1), imp_float(x, "width_scale", 1) };
  return old_resize(x, scale, 4);
}

bool import_upsample_7(Import *x) {
  if (!calc_needs(x, 1)) return false;
  const double *scale;
  int n = imp_floats(x, "scales", &scale);
  return old_resize(x, scale, n);
}

bool import_resize_10(Import *x) {                       /* and Upsample-9 */
  if (!calc_needs(x, 2)) return false;
  double scale[MAX_RANK];
  int n;
  return calc_const_floats(x, 1, scale, MAX_RANK, &n) && old_resize(x, scale, n);
}

static bool is_given(Import *x, int k) { return imp_present(x, k) && !dim_is(type_count(imp_type(x, k)), 0); }

/* Sizes with the aspect ratio kept: the smallest or largest of size / input scales all of them. */
static bool keep_aspect(Import *x, Resize *r, const int *axes, int n, bool larger) {
  double scale = 0;
  for (int i = 0; i < n; i++) {
    Dim in = calc_dim(x, x->in[0], axes[i]);
    if (!dim_is_const(in) || !dim_is_const(r->shape[axes[i]]) || in.k < 1)
      return imp_fail(x, "unsupported", "keep_aspect_ratio_policy needs a known input size on axis %d", axes[i]);
    double s = (double)r->shape[axes[i]].k / (double)in.k;
    if (!i || (larger ? s > scale : s < scale)) scale = s;
  }
  for (int i = 0; i < n; i++) {
    r->scale[axes[i]] = scale;
    r->shape[axes[i]] = DIM((int64_t)floor(scale * (double)calc_dim(x, x->in[0], axes[i]).k + 0.5));
  }
  return true;
}

static bool resize_sizes(Import *x, Resize *r, const int *axes, int n) {
  double scale[MAX_RANK];
  const Dim *size;
  int have;
  if (is_given(x, 2)) {
    if (!calc_const_floats(x, 2, scale, MAX_RANK, &have)) return false;
    if (have != n) return imp_fail(x, "shape", "%d scales for %d axes", have, n);
    for (int i = 0; i < n; i++) {
      r->scale[axes[i]] = scale[i];
      if (!scaled_size(x, r->shape[axes[i]], scale[i], &r->shape[axes[i]])) return false;
    }
    return true;
  }
  if (!is_given(x, 3)) return imp_fail(x, "shape", "neither scales nor sizes are given");
  if (!imp_dims(x, 3, &size, &have)) return false;
  if (have != n) return imp_fail(x, "shape", "%d sizes for %d axes", have, n);
  for (int i = 0; i < n; i++) {
    Dim in = r->shape[axes[i]], out = size[i];
    r->shape[axes[i]] = out;
    r->scale[axes[i]] = dim_eq(in, out) ? 1 : 0;
    if (dim_is_const(in) && dim_is_const(out) && in.k > 0) r->scale[axes[i]] = (double)out.k / (double)in.k;
  }
  const char *policy = imp_str(x, "keep_aspect_ratio_policy", "stretch");
  if (!strcmp(policy, "stretch")) return true;
  return keep_aspect(x, r, axes, n, !strcmp(policy, "not_smaller"));
}

/* The region of interest for every axis: begins, then ends; 0 to 1 where `axes` says nothing. */
static ValueId full_roi(Import *x, const int *axes, int n, int rank) {
  ValueId part[2 * MAX_RANK], roi = x->in[1];
  if (n == rank) {
    bool in_order = true;
    for (int i = 0; i < n; i++) in_order &= axes[i] == i;
    if (in_order) return roi;
  }
  for (int i = 0; i < 2 * rank; i++) part[i] = calc_floats(x, imp_dtype(x, 1), (double[]){ i < rank ? 0 : 1 }, 1);
  for (int i = 0; i < 2 * n; i++) part[axes[i % n] + (i < n ? 0 : rank)] = calc_slice1(x, roi, 0, DIM(i), DIM(1));
  return calc_concat(x, 0, part, 2 * rank);
}

bool import_resize_11(Import *x) {
  if (!calc_needs(x, 1)) return false;
  Type in = *imp_type(x, 0);
  Resize r = {.rank = in.rank,
              .mode = imp_str(x, "mode", "nearest"),
              .coord = imp_str(x, "coordinate_transformation_mode", "half_pixel"),
              .nearest = imp_str(x, "nearest_mode", "round_prefer_floor"),
              .cubic_a = imp_float(x, "cubic_coeff_a", -0.75),
              .extrapolation = imp_float(x, "extrapolation_value", 0),
              .exclude_outside = imp_int(x, "exclude_outside", 0) != 0,
              .antialias = imp_int(x, "antialias", 0) != 0};
  const int64_t *given;
  int axes[MAX_RANK], n = imp_ints(x, "axes", &given);
  if (n > in.rank) return imp_fail(x, "shape", "%d axes for an input of rank %d", n, in.rank);
  for (int i = 0; i < n; i++)
    if ((axes[i] = imp_axis(x, given[i], in.rank)) < 0) return false;
  if (!imp_has(x, "axes"))
    for (n = 0; n < in.rank; n++) axes[n] = n;
  for (int i = 0; i < in.rank; i++) r.shape[i] = in.dims[i], r.scale[i] = 1;
  if (!resize_sizes(x, &r, axes, n)) return false;
  if (!strcmp(r.coord, "tf_crop_and_resize")) {
    if (!is_given(x, 1)) return imp_fail(x, "shape", "tf_crop_and_resize needs the region of interest (input 1)");
    if (!(r.roi = full_roi(x, axes, n, in.rank))) return false;
  }
  return calc_set(x, 0, resize_node(x, x->in[0], &r));
}

bool import_grid_sample(Import *x) {
  if (!calc_needs(x, 2)) return false;
  const char *mode = imp_str(x, "mode", "linear");
  if (!strcmp(mode, "bilinear")) mode = "linear";
  if (!strcmp(mode, "bicubic")) mode = "cubic";
  Attr a[] = { attr_str("mode", mode), attr_str("padding", imp_str(x, "padding_mode", "zeros")),
               attr_int("align_corners", imp_int(x, "align_corners", 0) != 0) };
  return calc_set(x, 0, calc_op(x, OP_GRID_SAMPLE, x->in, 2, a, 3));
}

/* Positions of n points in [-1, 1]: ends on the borders, or half a step inside. [n] */
static ValueId unit_positions(Import *x, DType t, Dim n, bool ends) {
  ValueId i = calc_range(x, t, n), count = calc_dim_value(x, t, n);
  if (ends && dim_is(n, 1)) return calc_mulc(x, i, 0);
  if (ends) return calc_addc(x, calc_div(x, calc_mulc(x, i, 2), calc_addc(x, count, -1)), -1);
  return calc_addc(x, calc_div(x, calc_addc(x, calc_mulc(x, i, 2), 1), count), -1);
}

/* grid[n, p…] = theta[n] (x, y[, z], 1); x runs along the last spatial axis. theta [N, k, k+1], size [N, C, spatial…] */
bool import_affine_grid(Import *x) {
  if (!calc_needs(x, 2)) return false;
  const Dim *size;
  int n, k;
  if (!imp_dims(x, 1, &size, &n)) return false;
  if (n != 4 && n != 5)
    return imp_fail(x, "shape", "size has %d numbers; [N, C, H, W] or [N, C, D, H, W] is needed", n);
  k = n - 2;
  ValueId theta = calc_wide(x, x->in[0]), part[4];
  DType t = calc_dtype(x, theta);
  Dim point[4], base[] = { calc_product(size + 2, k), DIM(k + 1) }, shape[MAX_RANK] = { size[0] };
  for (int i = 0; i < k; i++) point[i] = shape[i + 1] = size[i + 2];
  point[k] = DIM(1);
  shape[k + 1] = DIM(k);
  bool ends = imp_int(x, "align_corners", 0) != 0;
  for (int i = 0; i < k; i++)
    part[k - 1 - i] = calc_expand(x, calc_align(x, unit_positions(x, t, size[i + 2], ends), i, k + 1), point, k + 1);
  part[k] = calc_fill(x, t, 1, point, k + 1);
  ValueId points = calc_reshape(x, calc_concat(x, k, part, k + 1), base, 2);
  ValueId grid = calc_matmul(x, points, calc_swap_last(x, theta));           /* [P, k+1] x [N, k+1, k] */
  return calc_set(x, 0, calc_cast(x, calc_reshape(x, grid, shape, k + 2), imp_dtype(x, 0)));
}
