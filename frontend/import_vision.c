/* RoiAlign -> roi_align; DeformConv and Col2Im: sampling and folding by gathers, scatters and arithmetic.
 *
 * Linear interpolation at a position p: the elements floor(p) and floor(p) + 1 with weights 1 - f and f, in every
 * axis. The data is laid out with channels last, so that one gathered row is one position's channels. */
#include "frontend/window.h"

/* ---- RoiAlign */

/* X [N, C, H, W], rois [R, 4], batch [R] -> [R, C, PH, PW]. Regions are brought to elements of X here: scaled, moved
 * by half an element (version 16, half_pixel), or at least one element large (else). */
bool import_roi_align(Import *x) {
  if (!calc_needs(x, 3)) return false;
  if (imp_rank(x, 0) != 4 || imp_rank(x, 1) != 2) return imp_fail(x, "shape", "X must be [N, C, H, W] and rois [R, 4]");
  const char *mode = imp_str(x, "mode", "avg");
  bool half = x->opset >= 16 && strcmp(imp_str(x, "coordinate_transformation_mode", "half_pixel"), "output_half_pixel");
  bool max = !strcmp(mode, "max");
  if (!max && strcmp(mode, "avg")) return imp_fail(x, "unsupported", "mode '%s' is not avg or max", mode);
  ValueId rois = calc_mulc(x, calc_cast(x, x->in[1], DT_F32), imp_float(x, "spatial_scale", 1));
  if (half) rois = calc_addc(x, rois, -0.5);
  else {
    ValueId from = calc_slice1(x, rois, 1, DIM(0), DIM(2)), to = calc_slice1(x, rois, 1, DIM(2), DIM(2));
    rois = calc_concat2(x, 1, from, calc_op2(x, OP_MAX, to, calc_addc(x, from, 1)));
  }
  ValueId in[] = { calc_cast(x, x->in[0], DT_F32), rois, calc_cast(x, x->in[2], DT_I64) };
  Attr a[] = { attr_int("height", imp_int(x, "output_height", 1)), attr_int("width", imp_int(x, "output_width", 1)),
               attr_int("ratio", imp_int(x, "sampling_ratio", 0)), attr_int("max", max) };
  ValueId y = in[1] && in[2] ? calc_op(x, OP_ROI_ALIGN, in, 3, a, 4) : 0;
  return calc_set(x, 0, calc_cast(x, y, imp_dtype(x, 0)));
}

/* ---- DeformConv */

/* Position of every kernel element for every output on axis a, before the offset: [K, O] */
static ValueId kernel_positions(Import *x, DType t, const Window *w, int a, const Dim *out) {
  int64_t taps = 1, inner = 1;
  for (int i = 0; i < w->n; i++) taps *= w->kernel[i].k;
  for (int i = a + 1; i < w->n; i++) inner *= w->kernel[i].k;
  double *tap = NEW_N(&x->m->perm, double, taps);
  for (int64_t k = 0; k < taps; k++)
    tap[k] = (double)(k / inner % w->kernel[a].k * w->dilation[a].k - w->pad[a].k);
  Dim all = calc_product(out, w->n);
  ValueId o = calc_reshape(x, calc_iota(x, t, out, w->n, a), &all, 1);
  return calc_add(x, calc_unsqueeze(x, calc_floats(x, t, tap, (int)taps), 1), calc_mulc(x, o, (double)w->stride[a].k));
}

/* Columns of the convolution, sampled where offset says: [N, og, K, O, C/og] */
static ValueId deformed_columns(Import *x, const Window *w, const Dim *out, int64_t og, ValueId mask) {
  Type in = *imp_type(x, 0);
  ValueId v = calc_wide(x, x->in[0]);
  DType t = calc_dtype(x, v);
  int64_t taps = 1;
  for (int i = 0; i < w->n; i++) taps *= w->kernel[i].k;
  Dim n = in.dims[0], pixels = calc_product(in.dims + 2, w->n), outputs = calc_product(out, w->n);
  Dim per = dim_floordiv(in.dims[1], DIM(og)), split[] = { n, DIM(og), per, pixels };
  Dim rows[] = { calc_product((Dim[]){ n, DIM(og), pixels }, 3), per };
  ValueId data = calc_reshape(x, calc_transpose(x, calc_reshape(x, v, split, 4), (int[]){ 0, 1, 3, 2 }, 4), rows, 2);
  Dim offsets[] = { n, DIM(og), DIM(taps), DIM(w->n), outputs };
  ValueId offset = calc_reshape(x, calc_cast(x, x->in[2], t), offsets, 5);
  ValueId low[MAX_RANK], f[MAX_RANK];
  for (int a = 0; a < w->n; a++) {                        /* position, its floor and fraction: [N, og, K, O] */
    ValueId p = calc_squeeze(x, calc_slice1(x, offset, 3, DIM(a), DIM(1)), 3);
    p = calc_add(x, p, kernel_positions(x, t, w, a, out));
    low[a] = calc_op1(x, OP_FLOOR, p);
    f[a] = calc_sub(x, p, low[a]);
  }
  Dim blocks = dim_mul(n, DIM(og));
  ValueId base = calc_reshape(x, calc_mul(x, calc_range(x, DT_I64, blocks), calc_dim_value(x, DT_I64, pixels)),
                              (Dim[]){ n, DIM(og), DIM(1), DIM(1) }, 4), sum = 0, zero = imp_scalar(x, t, 0);
  for (int corner = 0; corner < 1 << w->n; corner++) {
    ValueId at = 0, weight = 0, seen = 0;
    for (int a = 0; a < w->n; a++) {
      bool high = corner >> a & 1;
      ValueId p = calc_addc(x, low[a], high), end = calc_dim_value(x, t, dim_sub(in.dims[a + 2], DIM(1)));
      ValueId ok = calc_op2(x, OP_AND, calc_op2c(x, OP_GE, p, 0), calc_op2(x, OP_LE, p, end));
      ValueId i = calc_cast(x, calc_op2(x, OP_MIN, calc_op2c(x, OP_MAX, p, 0), end), DT_I64);
      ValueId k = high ? f[a] : calc_c2op(x, OP_SUB, 1, f[a]);
      at = a ? calc_add(x, calc_mul(x, at, calc_dim_value(x, DT_I64, in.dims[a + 2])), i) : i;
      weight = a ? calc_mul(x, weight, k) : k;
      seen = a ? calc_op2(x, OP_AND, seen, ok) : ok;
    }
    weight = calc_where(x, seen, weight, zero);
    if (mask) weight = calc_mul(x, weight, mask);
    ValueId part = calc_mul(x, calc_gather(x, data, 0, calc_add(x, base, at)), calc_unsqueeze(x, weight, 4));
    sum = corner ? calc_add(x, sum, part) : part;
  }
  return sum;
}

bool import_deform_conv(Import *x) {
  if (!calc_needs(x, 3)) return false;
  Window w;
  if (imp_rank(x, 1) != imp_rank(x, 0))
    return imp_fail(x, "shape", "weight has rank %d, input has rank %d", imp_rank(x, 1), imp_rank(x, 0));
  if (!window_read(x, 0, imp_type(x, 1)->dims + 2, &w)) return false;
  Type in = *imp_type(x, 0), weight = *imp_type(x, 1), offset = *imp_type(x, 2);
  int64_t og = imp_int(x, "offset_group", 1), group = imp_int(x, "group", 1), taps = 1;
  Dim ignored, m, c;
  if (og < 1 || group < 1 || offset.rank != in.rank || !dim_divisible(in.dims[1], DIM(og), &ignored) ||
      !dim_divisible(in.dims[1], DIM(group), &c) || !dim_divisible(weight.dims[0], DIM(group), &m))
    return imp_fail(x, "shape", "group=%lld, offset_group=%lld do not fit input %s", (long long)group,
                    (long long)og, type_text(&in));
  for (int i = 0; i < w.n; i++) {
    if (!dim_is_const(w.kernel[i]) || !dim_is_const(w.pad[i]))
      return imp_fail(x, "unsupported", "the kernel's size must be known");
    taps *= w.kernel[i].k;
  }
  const Dim *out = offset.dims + 2;
  Dim n = in.dims[0], outputs = calc_product(out, w.n), shape[MAX_RANK] = { n, weight.dims[0] };
  for (int i = 0; i < w.n; i++) shape[i + 2] = out[i];
  ValueId mask = 0;
  if (imp_present(x, 4)) mask = calc_reshape(x, calc_wide(x, x->in[4]), (Dim[]){ n, DIM(og), DIM(taps), outputs }, 4);
  ValueId columns = calc_transpose(x, deformed_columns(x, &w, out, og, mask), (int[]){ 0, 1, 4, 2, 3 }, 5);
  Dim inner = dim_mul(c, DIM(taps));
  columns = calc_reshape(x, columns, (Dim[]){ n, DIM(group), inner, outputs }, 4);
  ValueId f = calc_reshape(x, calc_wide(x, x->in[1]), (Dim[]){ DIM(group), m, inner }, 3);
  ValueId y = calc_reshape(x, calc_matmul(x, f, columns), shape, in.rank);   /* [g, M/g, CK] x [N, g, CK, O] */
  if (imp_present(x, 3)) y = calc_add(x, y, calc_align(x, calc_wide(x, x->in[3]), 1, in.rank));
  return calc_set(x, 0, calc_cast(x, y, in.dtype));
}

/* ---- Col2Im */

/* [N, C*K, L] -> [N, C, image…]: element (k, l) is added at a place that only depends on the sizes. The places are
 * a constant; those in the padding go to one extra element at the end, which is cut off. */
bool import_col2im(Import *x) {
  if (!calc_needs(x, 3)) return false;
  const int64_t *image, *block;
  int n, nb;
  if (!imp_const_ints(x, 1, &image, &n) || !imp_const_ints(x, 2, &block, &nb)) return false;
  Type in = *imp_type(x, 0);
  Dim stride[MAX_RANK], dilation[MAX_RANK], pad[2 * MAX_RANK];
  int64_t count[MAX_RANK], taps = 1, places = 1, pixels = 1;
  if (n != nb || n < 1 || n > MAX_RANK - 2 || in.rank != 3)
    return imp_fail(x, "shape", "image_shape has %d numbers, block_shape %d, the input rank %d", n, nb, in.rank);
  if (!window_list(x, "strides", n, 1, stride) || !window_list(x, "dilations", n, 1, dilation) ||
      !window_list(x, "pads", 2 * n, 0, pad)) return false;
  for (int i = 0; i < n; i++) {
    if (image[i] < 1 || image[i] > INT32_MAX || block[i] < 1 || block[i] > INT32_MAX)
      return imp_fail(x, "shape", "image %lld, block %lld on axis %d", (long long)image[i], (long long)block[i], i);
    int64_t room = image[i] + pad[i].k + pad[n + i].k - dilation[i].k * (block[i] - 1) - 1;
    if (block[i] < 1 || stride[i].k < 1 || room < 0)
      return imp_fail(x, "shape", "the block does not fit the image on axis %d", i);
    count[i] = room / stride[i].k + 1;
    taps *= block[i], places *= count[i], pixels *= image[i];
    if ((double)taps * (double)places > INT32_MAX || pixels > INT32_MAX)
      return imp_fail(x, "shape", "the image or its blocks are too large");
  }
  Dim channels;
  if (!dim_divisible(in.dims[1], DIM(taps), &channels) || !dim_is(in.dims[2], places))
    return imp_fail(x, "shape", "input %s does not fit %lld blocks of %lld elements", type_text(&in),
                    (long long)places, (long long)taps);
  Tensor *to = tensor_new(&x->m->perm, DT_I64, 1, (int64_t[]){ taps * places });
  for (int64_t k = 0; k < taps; k++)
    for (int64_t l = 0; l < places; l++) {
      int64_t at = 0, size = 1, kk = k, ll = l;
      for (int i = n - 1; i >= 0; i--) {
        int64_t p = ll % count[i] * stride[i].k + kk % block[i] * dilation[i].k - pad[i].k;
        at = at < 0 || p < 0 || p >= image[i] ? -1 : at + p * size;
        size *= image[i], kk /= block[i], ll /= count[i];
      }
      tensor_set_int(to, k * places + l, at < 0 ? pixels : at);
    }
  Dim flat[] = { in.dims[0], channels, DIM(taps * places) }, target[] = { in.dims[0], channels, DIM(pixels + 1) };
  Dim shape[MAX_RANK] = { in.dims[0], channels };
  for (int i = 0; i < n; i++) shape[i + 2] = DIM(image[i]);
  ValueId v[] = {calc_fill(x, in.dtype, 0, target, 3), calc_expand(x, calc_tensor(x, to), flat, 3),
                 calc_reshape(x, x->in[0], flat, 3)};
  Attr a[] = { attr_int("axis", 2), attr_str("reduction", "add") };
  ValueId y = v[1] && v[2] ? calc_op(x, OP_SCATTER_ELEMENTS, v, 3, a, 2) : 0;
  return calc_set(x, 0, calc_reshape(x, calc_slice1(x, y, 2, DIM(0), DIM(pixels)), shape, n + 2));
}
