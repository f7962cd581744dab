/* ONNX convolutions -> conv, conv_transpose. Guarantees of the canonical nodes: strides, pads, dilations are
 * complete, auto_pad is gone, pads are begins then ends, weights fit the input's channels.
 * Integer convolutions run in i32 on values with the zero point taken off, so padding is exact. */
#include "frontend/window.h"

/* ---- windows */

bool window_list(Import *x, const char *name, int n, int64_t dflt, Dim *to) {
  const int64_t *v;
  int have = imp_ints(x, name, &v);
  if (have && have != n)
    return imp_fail(x, "shape", "attribute '%s' has %d numbers, the input has %d spatial axes", name, have, n);
  for (int i = 0; i < n; i++) {
    if (have && (v[i] > INT32_MAX || v[i] < -INT32_MAX))
      return imp_fail(x, "shape", "attribute '%s' has %lld in it", name, (long long)v[i]);
    to[i] = DIM(have ? v[i] : dflt);
  }
  return true;
}

Dim window_extent(const Window *w, int i) {
  return dim_add(dim_mul(dim_sub(w->kernel[i], DIM(1)), w->dilation[i]), DIM(1));
}

/* SAME: as many outputs as strides fit into the input, the padding needed for that split in halves. */
static void window_same(Import *x, int input, Window *w, bool upper) {
  for (int i = 0; i < w->n; i++) {
    Dim in = imp_type(x, input)->dims[i + 2], out = dim_ceildiv(in, w->stride[i]);
    Dim need = dim_add(dim_mul(dim_sub(out, DIM(1)), w->stride[i]), window_extent(w, i));
    Dim total = dim_max(DIM(0), dim_sub(need, in)), half = dim_floordiv(total, DIM(2));
    w->pad[i] = upper ? half : dim_sub(total, half);
    w->pad[i + w->n] = dim_sub(total, w->pad[i]);
  }
}

bool window_read(Import *x, int input, const Dim *kernel, Window *w) {
  int rank = imp_rank(x, input);
  if (rank < 3 || rank - 2 > MAX_RANK / 2)
    return imp_fail(x, "shape", "input has rank %d; [N, C, …] with 1 to %d spatial axes is needed", rank, MAX_RANK / 2);
  w->n = rank - 2;
  const int64_t *k;
  int nk = imp_ints(x, "kernel_shape", &k);
  if (nk && nk != w->n)
    return imp_fail(x, "shape", "kernel_shape has %d numbers, the input has %d spatial axes", nk, w->n);
  if (!nk && !kernel) return imp_fail(x, "shape", "attribute 'kernel_shape' is missing");
  for (int i = 0; i < w->n; i++) {
    w->kernel[i] = kernel ? kernel[i] : DIM(k[i]);
    if (nk && kernel && dim_is_const(kernel[i]) && kernel[i].k != k[i])
      return imp_fail(x, "shape", "kernel_shape says %lld on spatial axis %d, the weight has %lld", (long long)k[i], i,
                      (long long)kernel[i].k);
    if (dim_hi(w->kernel[i]) < 1) return imp_fail(x, "shape", "the window is empty on spatial axis %d", i);
  }
  if (!window_list(x, "strides", w->n, 1, w->stride) || !window_list(x, "dilations", w->n, 1, w->dilation))
    return false;
  for (int i = 0; i < w->n; i++)
    if (w->stride[i].k < 1 || w->dilation[i].k < 1)
      return imp_fail(x, "shape", "strides and dilations must be positive");
  const char *mode = imp_str(x, "auto_pad", "NOTSET");
  bool upper = !strcmp(mode, "SAME_UPPER");
  if (upper || !strcmp(mode, "SAME_LOWER")) window_same(x, input, w, upper);
  else if (!strcmp(mode, "VALID")) for (int i = 0; i < 2 * w->n; i++) w->pad[i] = DIM(0);
  else if (!strcmp(mode, "NOTSET") || !*mode) return window_list(x, "pads", 2 * w->n, 0, w->pad);
  else return imp_fail(x, "unsupported", "auto_pad '%s' is not one of NOTSET, SAME_UPPER, SAME_LOWER, VALID", mode);
  return true;
}

int window_attrs(Import *x, const Window *w, Attr *a, bool kernel) {
  a[0] = attr_dims(x->m, "strides", w->stride, w->n);
  a[1] = attr_dims(x->m, "pads", w->pad, 2 * w->n);
  a[2] = attr_dims(x->m, "dilations", w->dilation, w->n);
  if (kernel) a[3] = attr_dims(x->m, "kernel", w->kernel, w->n);
  return kernel ? 4 : 3;
}

ValueId window_pad(Import *x, ValueId in, Window *w, double fill, bool *padded) {
  *padded = false;
  for (int i = 0; i < 2 * w->n; i++) *padded |= !dim_is_const(w->pad[i]) || w->pad[i].k < 0;
  if (!*padded) return in;
  for (int i = 0; i < w->n; i++) in = calc_pad_axis(x, in, i + 2, w->pad[i], w->pad[i + w->n], fill);
  for (int i = 0; i < 2 * w->n; i++) w->pad[i] = DIM(0);
  return in;
}

/* ---- Conv */

ValueId window_conv(Import *x, ValueId in, ValueId w, ValueId bias, Window *win) {
  if (!in || !w) return 0;
  int64_t group = imp_int(x, "group", 1);
  Dim c = calc_dim(x, in, 1), per = calc_dim(x, w, 1), m = calc_dim(x, w, 0);
  if (group < 1 || (dim_is_const(m) && m.k % group)) {
    imp_fail(x, "shape", "%s output channels do not divide into %lld groups", dim_text(m), (long long)group);
    return 0;
  }
  if (dim_is_const(c) && dim_is_const(per) && c.k != per.k * group) {
    imp_fail(x, "shape", "weight takes %lld channel%s per group, input has %lld (group=%lld)\n"
             "hint: the weight fits group=%lld; was 'group' lost in export?", (long long)per.k, per.k == 1 ? "" : "s",
             (long long)c.k, (long long)group, (long long)(per.k ? c.k / per.k : 1));
    return 0;
  }
  bool padded;
  in = window_pad(x, in, win, 0, &padded);
  Attr a[8];
  int n = window_attrs(x, win, a, false);
  a[n++] = attr_int("group", group);
  return calc_op(x, OP_CONV, (ValueId[]){ in, w, bias }, bias ? 3 : 2, a, n);
}

static bool weight_window(Import *x, int input, int weight, Window *w) {
  if (imp_rank(x, weight) != imp_rank(x, input))
    return imp_fail(x, "shape", "weight has rank %d, input has rank %d", imp_rank(x, weight), imp_rank(x, input));
  return window_read(x, input, imp_type(x, weight)->dims + 2, w);
}

bool import_conv(Import *x) {
  if (!calc_needs(x, 2)) return false;
  Window w;
  if (!weight_window(x, 0, 1, &w)) return false;
  return calc_set(x, 0, window_conv(x, x->in[0], x->in[1], imp_present(x, 2) ? x->in[2] : 0, &w));
}

/* ---- ConvTranspose */

/* Pads from the wanted output size; what cannot be cut off (total < 0) becomes output_padding. */
static void transpose_pads(Window *w, Dim *adj, const Dim *in, const Dim *want, bool upper) {
  for (int i = 0; i < w->n; i++) {
    Dim full = dim_add(dim_add(dim_mul(w->stride[i], dim_sub(in[i], DIM(1))), adj[i]), window_extent(w, i));
    Dim total = dim_sub(full, want[i]), cut = dim_max(DIM(0), total), half = dim_floordiv(cut, DIM(2));
    adj[i] = dim_add(adj[i], dim_sub(cut, total));
    w->pad[i] = upper ? half : dim_sub(cut, half);
    w->pad[i + w->n] = dim_sub(cut, w->pad[i]);
  }
}

bool import_conv_transpose(Import *x) {
  if (!calc_needs(x, 2)) return false;
  Window w;
  Dim adj[MAX_RANK], want[MAX_RANK];
  if (!weight_window(x, 0, 1, &w) || !window_list(x, "output_padding", w.n, 0, adj)) return false;
  const Dim *in = imp_type(x, 0)->dims + 2;
  const char *mode = imp_str(x, "auto_pad", "NOTSET");
  bool same = !strncmp(mode, "SAME_", 5), upper = !strcmp(mode, "SAME_UPPER");
  const int64_t *v;
  int n = imp_ints(x, "output_shape", &v);
  if (n == w.n + 2) v += 2, n -= 2;                      /* some exporters list N and C too */
  if (n && n != w.n) return imp_fail(x, "shape", "output_shape has %d numbers, the input has %d spatial axes", n, w.n);
  if (n || same) {
    for (int i = 0; i < w.n; i++) want[i] = n ? DIM(v[i]) : dim_mul(in[i], w.stride[i]);
    transpose_pads(&w, adj, in, want, upper);
  }
  int64_t group = imp_int(x, "group", 1);
  Dim c = imp_type(x, 0)->dims[1], wc = imp_type(x, 1)->dims[0];
  if (dim_is_const(c) && dim_is_const(wc) && (c.k != wc.k || group < 1 || c.k % group))
    return imp_fail(x, "shape", "input has %lld channels, the weight takes %lld (group=%lld)", (long long)c.k,
                    (long long)wc.k, (long long)group);
  Attr a[8];
  int na = window_attrs(x, &w, a, false);
  a[na++] = attr_dims(x->m, "output_padding", adj, w.n);
  a[na++] = attr_int("group", group);
  return calc_set(x, 0, imp_op(x, OP_CONV_TRANSPOSE, x->in, imp_present(x, 2) ? 3 : 2, a, na));
}

/* ---- integers */

/* Input k as i32 with its zero point taken off; a vector of zero points belongs to `axis`. */
static ValueId centred(Import *x, int k, int zp, int axis) {
  ValueId v = calc_cast(x, x->in[k], DT_I32);
  if (!imp_present(x, zp)) return v;
  return calc_sub(x, v, calc_align(x, calc_cast(x, x->in[zp], DT_I32), axis, imp_rank(x, k)));
}

bool import_conv_integer(Import *x) {
  if (!calc_needs(x, 2)) return false;
  Window w;
  if (!weight_window(x, 0, 1, &w)) return false;
  return calc_set(x, 0, window_conv(x, centred(x, 0, 2, 1), centred(x, 1, 3, 0), 0, &w));
}

/* Inputs: x, x_scale, x_zp, w, w_scale, w_zp, y_scale, y_zp, bias. Accumulator * (x_scale * w_scale / y_scale),
 * in that order in f32 as ONNX Runtime does it, rounded half to even. channels_last (com.microsoft): x, y are NHWC. */
bool import_qlinear_conv(Import *x) {
  if (!calc_needs(x, 8)) return false;
  Window w;
  int r = imp_rank(x, 0), to_first[MAX_RANK], to_last[MAX_RANK];
  bool last = imp_int(x, "channels_last", 0) != 0;
  for (int i = 0; i < r; i++) {
    to_first[i] = i == 0 ? 0 : i == 1 ? r - 1 : i - 1;
    to_last[i] = i == 0 ? 0 : i == r - 1 ? 1 : i + 1;
  }
  if (last && !(x->in[0] = calc_transpose(x, x->in[0], to_first, r))) return false;
  if (!weight_window(x, 0, 3, &w)) return false;
  ValueId acc = window_conv(x, centred(x, 0, 2, 1), centred(x, 3, 5, 0), imp_present(x, 8) ? x->in[8] : 0, &w);
  ValueId ratio = calc_div(x, calc_mul(x, x->in[1], x->in[4]), x->in[6]);
  ValueId real = calc_mul(x, calc_cast(x, acc, DT_F32), calc_align(x, ratio, 1, r));
  ValueId y = calc_saturate(x, real, x->in[7], imp_dtype(x, 7));
  return calc_set(x, 0, last ? calc_transpose(x, y, to_last, r) : y);
}
