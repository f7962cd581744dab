/* Inference of matrix products, convolutions and pools. Spatial sizes follow ONNX:
 *   window     e = (k - 1) * dilation + 1
 *   conv       floor((d + pads - e) / stride) + 1
 *   pool, ceil ceil((d + pads - e) / stride) + 1, but at most ceil((d + pad_begin) / stride): the last window must
 *              start inside the input or the padding before it
 *   transposed stride * (d - 1) + output_padding + e - pads */
#include "ir/infer.h"
#include <string.h>

typedef struct { int n; int64_t stride[MAX_RANK], dilation[MAX_RANK], pad[2 * MAX_RANK]; } Window;

static bool read_window(Infer *x, int rank, Window *w) {
  if (rank < 3) return infer_fail(x, "input must have rank 3 or more [N, C, spatial…], has %d", rank);
  w->n = rank - 2;
  return infer_ints(x, "strides", w->n, 1, ATTR_BOUND, w->stride) &&
         infer_ints(x, "dilations", w->n, 1, ATTR_BOUND, w->dilation) &&
         infer_ints(x, "pads", 2 * w->n, 0, ATTR_BOUND, w->pad);
}

static Dim window_extent(const Window *w, int i, Dim k) {
  return dim_add(dim_mul(dim_sub(k, DIM(1)), DIM(w->dilation[i])), DIM(1));
}

/* Number of windows along spatial axis i of input size d. */
static bool window_count(Infer *x, const Window *w, int i, Dim d, Dim k, bool ceil, Dim *out) {
  Dim begin = dim_add(d, DIM(w->pad[i])), padded = dim_add(begin, DIM(w->pad[w->n + i]));
  Dim e = window_extent(w, i, k), room = dim_sub(padded, e), stride = DIM(w->stride[i]);
  if (dim_hi(k) < 1) return infer_fail(x, "kernel size on spatial axis %d is %s, must be at least 1", i, dim_text(k));
  if (dim_hi(room) < 0) {
    return infer_fail(x, "the kernel spans %s on spatial axis %d, the padded input only %s", dim_text(e), i,
                      dim_text(padded));
  }
  Dim reach = dim_add(room, stride);                 // the last window starts before ceil(reach / stride) strides
  if (!ceil) *out = dim_floordiv(reach, stride);
  else if (dim_known_le(reach, begin)) *out = dim_ceildiv(reach, stride);
  else if (dim_known_le(begin, reach)) *out = dim_ceildiv(begin, stride);
  else *out = dim_ceildiv(dim_min(reach, begin), stride);
  return true;
}

bool infer_matmul(Infer *x) {
  const Type *a = x->in[0], *b = x->in[1];
  Type *y = &x->out[0];
  if (!infer_numeric_input(x, 0) || !infer_same_dtype(x, 1)) return false;
  for (int k = 0; k < 2; k++) {
    if (x->in[k]->rank < 2)
      return infer_fail(x, "'%s' must have rank 2 or more, has %d", infer_name(x, k), x->in[k]->rank);
  }
  Dim inner_a = a->dims[a->rank - 1], inner_b = b->dims[b->rank - 2];
  if (!dim_always_eq(inner_a, inner_b)) {
    infer_hint_dims(x, inner_a, inner_b);
    return infer_fail(x, "'%s' has %s columns, '%s' has %s rows", infer_name(x, 0), dim_text(inner_a),
                      infer_name(x, 1), dim_text(inner_b));
  }
  Type batch_a = *a, batch_b = *b;
  batch_a.rank -= 2;
  batch_b.rank -= 2;
  if (!type_broadcast(x, &batch_a, &batch_b, y)) return false;
  y->dtype = a->dtype;
  y->dims[y->rank++] = a->dims[a->rank - 2];
  y->dims[y->rank++] = b->dims[b->rank - 1];
  return true;
}

/* x, w and the bias agree in type and rank; `outputs` is the number of channels the bias must have. */
static bool check_filter(Infer *x, int64_t *group) {
  const Type *a = x->in[0], *w = x->in[1];
  if (!infer_numeric_input(x, 0) || !infer_same_dtype(x, 1) || !infer_same_dtype(x, 2)) return false;
  if (w->rank != a->rank) return infer_fail(x, "weight has rank %d, input has rank %d", w->rank, a->rank);
  return infer_int(x, "group", 1, ATTR_BOUND, group);
}

bool infer_conv(Infer *x) {
  const Type *a = x->in[0], *w = x->in[1];
  Type *y = &x->out[0];
  Window win;
  int64_t group;
  if (!read_window(x, a->rank, &win) || !check_filter(x, &group)) return false;
  Dim channels = a->dims[1], per_group = w->dims[1], outputs = w->dims[0], q;
  if (!dim_always_eq(channels, dim_mul(per_group, DIM(group)))) {
    if (dim_is_const(channels) && dim_is_const(per_group) && per_group.k > 0 && channels.k % per_group.k == 0) {
      infer_hint(x, "the weight fits group=%lld; was 'group' lost in export?", (long long)(channels.k / per_group.k));
    }
    if (group == 1)
      return infer_fail(x, "weight takes %s channels, input has %s", dim_text(per_group), dim_text(channels));
    return infer_fail(x, "weight takes %s channels per group, input has %s for %lld groups", dim_text(per_group),
                      dim_text(channels), (long long)group);
  }
  if (!dim_divisible(outputs, DIM(group), &q)) {
    return infer_fail(x, "%s output channels cannot be divided into %lld groups", dim_text(outputs), (long long)group);
  }
  if (!infer_input_shape(x, 2, 1, &outputs, "bias")) return false;
  *y = *a;
  y->dims[1] = outputs;
  for (int i = 0; i < win.n; i++) {
    if (!window_count(x, &win, i, a->dims[2 + i], w->dims[2 + i], false, &y->dims[2 + i])) return false;
  }
  return true;
}

bool infer_conv_grad_weight(Infer *x) {
  const Type *a = x->in[0], *dy = x->in[1];
  Type *dw = &x->out[0];
  Window win;
  int64_t group;
  const Dim *kernel;
  Dim per_group, q;
  if (!infer_numeric_input(x, 0) || !infer_same_dtype(x, 1) || !read_window(x, a->rank, &win) ||
      !infer_int(x, "group", 1, ATTR_BOUND, &group) || !infer_dim_list(x, "kernel", win.n, &kernel)) return false;
  if (dy->rank != a->rank)
    return infer_fail(x, "'%s' has rank %d, the input has rank %d", infer_name(x, 1), dy->rank, a->rank);
  if (!dim_always_eq(a->dims[0], dy->dims[0])) {
    return infer_fail(x, "'%s' has batch %s, the input has %s", infer_name(x, 1), dim_text(dy->dims[0]),
                      dim_text(a->dims[0]));
  }
  if (!dim_divisible(a->dims[1], DIM(group), &per_group) || !dim_divisible(dy->dims[1], DIM(group), &q)) {
    return infer_fail(x, "%s and %s channels cannot be divided into %lld groups", dim_text(a->dims[1]),
                      dim_text(dy->dims[1]), (long long)group);
  }
  *dw = *a;
  dw->dims[0] = dy->dims[1];
  dw->dims[1] = per_group;
  for (int i = 0; i < win.n; i++) {
    Dim out;
    if (!window_count(x, &win, i, a->dims[2 + i], kernel[i], false, &out)) return false;
    if (!dim_always_eq(out, dy->dims[2 + i])) {
      return infer_fail(x, "the convolution gives %s on spatial axis %d, '%s' has %s", dim_text(out), i,
                        infer_name(x, 1), dim_text(dy->dims[2 + i]));
    }
    dw->dims[2 + i] = kernel[i];
  }
  return true;
}

bool infer_conv_transpose(Infer *x) {
  const Type *a = x->in[0], *w = x->in[1];
  Type *y = &x->out[0];
  Window win;
  int64_t group, extra[MAX_RANK];
  if (!read_window(x, a->rank, &win) || !check_filter(x, &group) ||
      !infer_ints(x, "output_padding", win.n, 0, ATTR_BOUND, extra)) return false;
  Dim q, outputs = dim_mul(w->dims[1], DIM(group));
  if (!dim_always_eq(a->dims[1], w->dims[0])) {
    return infer_fail(x, "weight takes %s channels, input has %s", dim_text(w->dims[0]), dim_text(a->dims[1]));
  }
  if (!dim_divisible(a->dims[1], DIM(group), &q)) {
    return infer_fail(x, "%s input channels cannot be divided into %lld groups", dim_text(a->dims[1]),
                      (long long)group);
  }
  if (!infer_input_shape(x, 2, 1, &outputs, "bias")) return false;
  *y = *a;
  y->dims[1] = outputs;
  for (int i = 0; i < win.n; i++) {
    Dim k = w->dims[2 + i];
    if (dim_hi(k) < 1) return infer_fail(x, "kernel size on spatial axis %d is %s, must be at least 1", i, dim_text(k));
    Dim grown = dim_mul(dim_sub(a->dims[2 + i], DIM(1)), DIM(win.stride[i]));
    Dim full = dim_add(dim_add(grown, window_extent(&win, i, k)), DIM(extra[i]));
    y->dims[2 + i] = dim_sub(full, DIM(win.pad[i] + win.pad[win.n + i]));
    if (dim_hi(y->dims[2 + i]) < 0) {
      return infer_fail(x, "pads take %lld from spatial axis %d of size %s",
                        (long long)(win.pad[i] + win.pad[win.n + i]), i, dim_text(full));
    }
  }
  return true;
}

/* The type of what pools `a` with the node's window. */
static bool pooled(Infer *x, const Type *a, Type *y) {
  Window win;
  const Dim *kernel;
  int64_t ceil;
  if (!read_window(x, a->rank, &win) || !infer_dim_list(x, "kernel", win.n, &kernel) ||
      !infer_int(x, "ceil", 0, 1, &ceil))
    return false;
  *y = *a;
  for (int i = 0; i < win.n; i++) {
    Dim e = window_extent(&win, i, kernel[i]);
    int64_t pad = win.pad[i] > win.pad[win.n + i] ? win.pad[i] : win.pad[win.n + i];
    if (pad > 0 && dim_hi(e) <= pad) {               // else some window would see padding only
      return infer_fail(x, "padding %lld on spatial axis %d is not smaller than the window (%s)", (long long)pad, i,
                        dim_text(e));
    }
    if (!window_count(x, &win, i, a->dims[2 + i], kernel[i], ceil, &y->dims[2 + i])) return false;
  }
  return true;
}

static bool infer_pool(Infer *x) { return infer_numeric_input(x, 0) && pooled(x, x->in[0], &x->out[0]); }

bool infer_max_pool(Infer *x) {
  int64_t order;
  if (x->n->nout > 2) return infer_fail(x, "max_pool has %d outputs, gives at most 2", x->n->nout);
  if (node_attr(x->n, "storage_order") && !infer_int(x, "storage_order", 0, 1, &order)) return false;
  if (!infer_pool(x)) return false;
  if (x->n->nout == 2) {
    x->out[1] = x->out[0];
    x->out[1].dtype = DT_I64;
  }
  return true;
}

bool infer_avg_pool(Infer *x) {
  int64_t flag;
  return infer_float_input(x, 0) && infer_int(x, "count_include_pad", 0, 1, &flag) && infer_pool(x);
}

bool infer_lp_pool(Infer *x) {
  int64_t p;
  return infer_float_input(x, 0) && infer_int(x, "p", 1, ATTR_BOUND, &p) && infer_pool(x);
}

/* Is input k what pools `a` with the node's window? */
static bool pooled_input(Infer *x, const Type *a, int k) {
  Type y;
  return pooled(x, a, &y) && infer_input_shape(x, k, y.rank, y.dims, "pooled");
}

bool infer_max_pool_grad(Infer *x) {
  const Type *a = x->in[0];
  if (!infer_float_input(x, 0) || !infer_same_dtype(x, 1) || !infer_same_dtype(x, 2) || !pooled_input(x, a, 1) ||
      !pooled_input(x, a, 2)) return false;
  x->out[0] = *a;
  return true;
}

bool infer_avg_pool_grad(Infer *x) {
  Type *dx = &x->out[0];
  if (!infer_float_input(x, 0) || !infer_shape(x, "shape", dx) || !infer_choice(x, "count", "inside padded one") ||
      !pooled_input(x, dx, 0)) return false;
  dx->dtype = x->in[0]->dtype;
  return true;
}
