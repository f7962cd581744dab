/* ONNX pools -> max_pool, avg_pool, lp_pool; the global ones are reductions; MaxUnpool is a scatter. */
#include "frontend/window.h"
#include <math.h>

static ValueId pool_node(Import *x, Op op, ValueId v, const Window *w, bool ceil, Attr extra) {
  Attr a[8];
  int n = window_attrs(x, w, a, true);
  a[n++] = attr_int("ceil", ceil);
  a[n++] = extra;
  return calc_op(x, op, &v, 1, a, n);
}

bool import_max_pool(Import *x) {
  Window w;
  if (!calc_needs(x, 1) || !window_read(x, 0, NULL, &w)) return false;
  double lowest = -INFINITY, highest;
  bool padded;
  if (dtype_is_int(imp_dtype(x, 0))) dtype_range(imp_dtype(x, 0), &lowest, &highest);
  ValueId v = window_pad(x, x->in[0], &w, lowest, &padded), out[2] = { 0, 0 };
  if (padded && x->nout > 1)
    return imp_fail(x, "unsupported", "positions of the largest elements with padding that depends on a free dim");
  Attr a[8];
  int n = window_attrs(x, &w, a, true);
  a[n++] = attr_int("ceil", imp_int(x, "ceil_mode", 0) != 0);
  a[n++] = attr_int("storage_order", imp_int(x, "storage_order", 0));
  if (!v || !imp_op_multi(x, OP_MAX_POOL, &v, 1, a, n, out, x->nout > 1 ? 2 : 1)) return false;
  calc_set(x, 1, out[1]);
  return calc_set(x, 0, out[0]);
}

ValueId pool_average(Import *x, ValueId v, Window *w) {
  bool ceil = imp_int(x, "ceil_mode", 0) != 0, counts = imp_int(x, "count_include_pad", 0) != 0, padded;
  Attr all = attr_int("count_include_pad", counts);
  Window inner = *w;
  if (!v) return 0;
  Type t = *calc_type(x, v);
  v = window_pad(x, v, w, 0, &padded);
  ValueId y = pool_node(x, OP_AVG_POOL, v, w, ceil, all);
  if (!padded || counts) return y;
  t.dims[0] = t.dims[1] = DIM(1);                          /* how much of each window lies inside the input */
  ValueId ones = window_pad(x, calc_fill(x, t.dtype, 1, t.dims, t.rank), &inner, 0, &padded);
  return calc_div(x, y, pool_node(x, OP_AVG_POOL, ones, &inner, ceil, all));
}

bool import_average_pool(Import *x) {
  Window w;
  if (!calc_needs(x, 1) || !window_read(x, 0, NULL, &w)) return false;
  return calc_set(x, 0, pool_average(x, x->in[0], &w));
}

/* p is an integer from opset 2 on, a float before. */
static double pool_p(Import *x) { return x->opset < 2 ? imp_float(x, "p", 2) : (double)imp_int(x, "p", 2); }

bool import_lp_pool(Import *x) {
  if (!calc_needs(x, 1)) return false;
  Window w;
  if (!window_read(x, 0, NULL, &w)) return false;
  double p = pool_p(x);
  if (p != (double)(int64_t)p || p < 1)
    return imp_fail(x, "unsupported", "p = %g; only whole p from 1 on are supported", p);
  bool padded;
  ValueId v = window_pad(x, x->in[0], &w, 0, &padded);
  return calc_set(x, 0, pool_node(x, OP_LP_POOL, v, &w, imp_int(x, "ceil_mode", 0) != 0, attr_int("p", (int64_t)p)));
}

static int spatial_axes(Import *x, int *axes) {
  int n = 0;
  for (int i = 2; i < imp_rank(x, 0); i++) axes[n++] = i;
  return n;
}

bool import_global_average_pool(Import *x) {
  if (!calc_needs(x, 1)) return false;
  int axes[MAX_RANK], n = spatial_axes(x, axes);
  return calc_set(x, 0, n ? calc_mean(x, x->in[0], axes, n, true) : x->in[0]);
}

bool import_global_max_pool(Import *x) {
  if (!calc_needs(x, 1)) return false;
  int axes[MAX_RANK], n = spatial_axes(x, axes);
  return calc_set(x, 0, imp_reduce(x, OP_REDUCE_MAX, x->in[0], axes, n, true));
}

/* (sum |x|^p)^(1/p) */
bool import_global_lp_pool(Import *x) {
  if (!calc_needs(x, 1)) return false;
  int axes[MAX_RANK], n = spatial_axes(x, axes);
  double p = pool_p(x);
  ValueId v = calc_wide(x, x->in[0]);
  ValueId power = p == 2 ? calc_mul(x, v, v) : calc_op1(x, OP_ABS, v);
  if (p != 1 && p != 2) power = calc_op2c(x, OP_POW, power, p);
  ValueId sum = power ? imp_reduce(x, OP_REDUCE_SUM, power, axes, n, true) : 0;
  if (p == 2) sum = calc_op1(x, OP_SQRT, sum);
  else if (p != 1) sum = calc_op2c(x, OP_POW, sum, 1 / p);
  return calc_set(x, 0, calc_cast(x, sum, imp_dtype(x, 0)));
}

/* Indices are flat positions in the whole tensor that the pool had as input: its size follows from the window;
 * a larger output_shape only appends zeros. */
bool import_max_unpool(Import *x) {
  if (!calc_needs(x, 2)) return false;
  Window w;
  if (!window_read(x, 0, NULL, &w)) return false;
  const Type *t = imp_type(x, 0);
  Dim shape[MAX_RANK] = { t->dims[0], t->dims[1] };
  for (int i = 0; i < w.n; i++)
    shape[i + 2] = dim_sub(dim_add(dim_mul(dim_sub(t->dims[i + 2], DIM(1)), w.stride[i]), w.kernel[i]),
                           dim_add(w.pad[i], w.pad[i + w.n]));
  int rank = w.n + 2;
  Dim all = calc_product(shape, rank), count = type_count(t);
  ValueId zeros = calc_fill(x, t->dtype, 0, &all, 1);
  Attr a[] = { attr_int("axis", 0), attr_str("reduction", "none") };
  ValueId in[] = { zeros, calc_reshape(x, x->in[1], &count, 1), calc_reshape(x, x->in[0], &count, 1) };
  ValueId y = in[1] && in[2] ? calc_reshape(x, calc_op(x, OP_SCATTER_ELEMENTS, in, 3, a, 2), shape, rank) : 0;
  if (imp_present(x, 2)) {
    const Dim *want;
    int n;
    if (!imp_dims(x, 2, &want, &n)) return false;
    if (n != rank) return imp_fail(x, "shape", "output_shape has %d numbers, the input has rank %d", n, rank);
    for (int i = 0; i < n; i++) y = calc_pad_axis(x, y, i, DIM(0), dim_sub(want[i], shape[i]), 0);
  }
  return calc_set(x, 0, y);
}
