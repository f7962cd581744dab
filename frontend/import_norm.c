/* ONNX normalisations. LayerNormalization and RMSNormalization are canonical; instance and group norm are layer
 * norms of a reshaped input; batch norm is a multiply and an add per channel whose factors fold when the
 * statistics are weights; the rest are reductions and arithmetic.
 *
 * Narrow floats are computed in f32 and rounded once at the end (ONNX's stash_type). */
#include "frontend/calc.h"

/* Axes 0 and 2… of [N, C, …]: the ones batch statistics run over. Spatial off: axis 0 only. */
static int batch_axes(int rank, bool spatial, int *axes) {
  int n = 0;
  for (int i = 0; i < rank; i++)
    if (i == 0 || (i >= 2 && spatial)) axes[n++] = i;
  return n;
}

static ValueId variance(Import *x, ValueId v, ValueId mean, const int *axes, int n) {
  ValueId d = calc_sub(x, v, mean);
  return calc_mean(x, calc_mul(x, d, d), axes, n, true);
}

static ValueId inverse_root(Import *x, ValueId v, double epsilon) {
  return calc_op1(x, OP_RECIP, calc_op1(x, OP_SQRT, calc_addc(x, v, epsilon)));
}

/* A per-channel vector [C] against [N, C, …]; with spatial off it is [C, …] and broadcasts as it is. */
static ValueId per_channel(Import *x, ValueId v, DType t, int rank, bool spatial) {
  v = calc_cast(x, v, t);
  return spatial ? calc_align(x, v, rank > 1 ? 1 : 0, rank) : v;
}

static ValueId running(Import *x, ValueId old, ValueId now, double momentum) {
  DType t = calc_dtype(x, old);
  now = calc_reshape(x, calc_cast(x, now, t), calc_type(x, old)->dims, calc_rank(x, old));
  return calc_add(x, calc_mulc(x, old, momentum), calc_mulc(x, now, 1 - momentum));
}

/* y = x * s + (B - mean * s), s = scale / sqrt(var + epsilon). In training mode mean and var are the batch's
 * (var: of the population) and the running ones come out too. Training is an attribute from version 14, before
 * that it shows in the number of outputs. */
bool import_batch_norm(Import *x) {
  if (!calc_needs(x, 5)) return false;
  int rank = imp_rank(x, 0), axes[MAX_RANK];
  bool spatial = imp_int(x, "spatial", 1) != 0 || rank < 3;
  bool training = x->opset >= 14 ? imp_int(x, "training_mode", 0) != 0 : x->nout > 1;
  double epsilon = imp_float(x, "epsilon", 1e-5), momentum = imp_float(x, "momentum", 0.9);
  ValueId v = calc_wide(x, x->in[0]);
  DType t = calc_dtype(x, v);
  ValueId scale = per_channel(x, x->in[1], t, rank, spatial), bias = per_channel(x, x->in[2], t, rank, spatial);
  ValueId mean = per_channel(x, x->in[3], t, rank, spatial), var = per_channel(x, x->in[4], t, rank, spatial);
  if (training) {
    int n = batch_axes(rank, spatial, axes);
    mean = calc_mean(x, v, axes, n, true);
    var = variance(x, v, mean, axes, n);
    calc_set(x, 1, x->nout > 1 ? running(x, x->in[3], mean, momentum) : 0);
    calc_set(x, 2, x->nout > 2 ? running(x, x->in[4], var, momentum) : 0);
    const Type *stat = imp_type(x, 3);
    calc_set(x, 3, x->nout > 3 ? calc_reshape(x, calc_cast(x, mean, stat->dtype), stat->dims, stat->rank) : 0);
    calc_set(x, 4, x->nout > 4 ? calc_reshape(x, calc_cast(x, var, stat->dtype), stat->dims, stat->rank) : 0);
  }
  ValueId s = calc_mul(x, scale, inverse_root(x, var, epsilon));
  ValueId shift = calc_sub(x, bias, calc_mul(x, mean, s));
  return calc_set(x, 0, calc_cast(x, calc_add(x, calc_mul(x, v, s), shift), imp_dtype(x, 0)));
}

/* Layer norm of v over axes [axis, rank) without scale. */
static ValueId plain_norm(Import *x, ValueId v, int axis, double epsilon) {
  if (!v) return 0;
  Dim shape[MAX_RANK];
  int rank = calc_rank(x, v);
  for (int i = axis; i < rank; i++) shape[i - axis] = DIM(1);
  ValueId one = calc_fill(x, calc_dtype(x, v), 1, shape, rank - axis), y;
  Attr a[] = { attr_int("axis", axis), attr_float("epsilon", epsilon) };
  return imp_op_multi(x, OP_LAYER_NORM, (ValueId[]){ v, one }, 2, a, 2, &y, 1) ? y : 0;
}

static ValueId scale_shift(Import *x, ValueId v, ValueId scale, ValueId bias) {
  v = calc_mul(x, v, scale);
  return bias ? calc_add(x, v, bias) : v;
}

bool import_instance_norm(Import *x) {
  if (!calc_needs(x, 3)) return false;
  const Type *t = imp_type(x, 0);
  if (t->rank < 3) return imp_fail(x, "shape", "input has rank %d, 3 or more is needed", t->rank);
  Type in = *t;
  Dim flat[2] = { dim_mul(in.dims[0], in.dims[1]), calc_product(in.dims + 2, in.rank - 2) };
  ValueId v = calc_wide(x, x->in[0]);
  DType w = calc_dtype(x, v);
  v = plain_norm(x, calc_reshape(x, v, flat, 2), 1, imp_float(x, "epsilon", 1e-5));
  v = calc_reshape(x, v, in.dims, in.rank);
  v = scale_shift(x, v, per_channel(x, x->in[1], w, in.rank, true), per_channel(x, x->in[2], w, in.rank, true));
  return calc_set(x, 0, calc_cast(x, v, in.dtype));
}

/* Version 18 has scale and bias per group, version 21 per channel. */
static ValueId group_factor(Import *x, ValueId v, DType t, const Type *in, Dim group) {
  v = calc_cast(x, v, t);
  Dim c = in->dims[1], has = calc_dim(x, v, 0);
  if (v && dim_eq(has, group) && !dim_eq(has, c)) {
    Dim wide[2] = { group, dim_floordiv(c, group) };
    v = calc_reshape(x, calc_expand(x, calc_unsqueeze(x, v, 1), wide, 2), &c, 1);
  }
  return calc_align(x, v, 1, in->rank);
}

bool import_group_norm(Import *x) {
  if (!calc_needs(x, 3)) return false;
  Type in = *imp_type(x, 0);
  int64_t groups = imp_int(x, "num_groups", 0);
  Dim per;
  if (in.rank < 2 || groups < 1 || !dim_divisible(in.dims[1], DIM(groups), &per))
    return imp_fail(x, "shape", "num_groups=%lld does not divide the channels of input %s", (long long)groups,
                    type_text(&in));
  Dim rest = dim_mul(per, calc_product(in.dims + 2, in.rank - 2));
  ValueId v = calc_wide(x, x->in[0]);
  DType w = calc_dtype(x, v);
  v = plain_norm(x, calc_reshape(x, v, (Dim[]){ in.dims[0], DIM(groups), rest }, 3), 2, imp_float(x, "epsilon", 1e-5));
  v = calc_reshape(x, v, in.dims, in.rank);
  v = scale_shift(x, v, group_factor(x, x->in[1], w, &in, DIM(groups)), group_factor(x, x->in[2], w, &in, DIM(groups)));
  return calc_set(x, 0, calc_cast(x, v, in.dtype));
}

/* Does a factor that broadcasts against the whole input only span the normalised axes? Drops its leading ones. */
static bool norm_factor(Import *x, ValueId *v, DType t, int span) {
  *v = calc_cast(x, *v, t);
  while (calc_rank(x, *v) > span && dim_is(calc_dim(x, *v, 0), 1)) *v = calc_squeeze(x, *v, 0);
  return calc_rank(x, *v) <= span;
}

bool import_layer_norm(Import *x) {
  if (!calc_needs(x, 2)) return false;
  int rank = imp_rank(x, 0), axis = imp_axis(x, imp_int(x, "axis", -1), rank);
  if (axis < 0) return false;
  DType stash = dtype_from_onnx((int)imp_int(x, "stash_type", 1));
  double epsilon = imp_float(x, "epsilon", 1e-5);
  ValueId v = calc_wide(x, x->in[0]), scale = x->in[1], bias = imp_present(x, 2) ? x->in[2] : 0;
  DType w = calc_dtype(x, v);
  bool fits = norm_factor(x, &scale, w, rank - axis);
  if (bias) fits = norm_factor(x, &bias, w, rank - axis) && fits;
  ValueId in[3] = { v, scale, bias }, out[3] = { 0, 0, 0 };
  if (!fits) {                                            /* the factors vary over other axes too: apply them outside */
    Dim ones[MAX_RANK];
    for (int i = 0; i < rank - axis; i++) ones[i] = DIM(1);
    in[1] = calc_fill(x, w, 1, ones, rank - axis);
    in[2] = 0;
  }
  Attr a[] = { attr_int("axis", axis), attr_float("epsilon", epsilon) };
  if (!imp_op_multi(x, OP_LAYER_NORM, in, in[2] ? 3 : 2, a, 2, out, x->nout > 1 ? 3 : 1)) return false;
  if (!fits) out[0] = scale_shift(x, out[0], scale, bias);
  if (x->nout > 1) calc_set(x, 1, calc_cast(x, out[1], stash));
  if (x->nout > 2) calc_set(x, 2, calc_cast(x, out[2], stash));
  return calc_set(x, 0, calc_cast(x, out[0], imp_dtype(x, 0)));
}

/* The normalised input is rounded to scale's type before it is multiplied, as the specification has it. */
bool import_rms_norm(Import *x) {
  if (!calc_needs(x, 2)) return false;
  int rank = imp_rank(x, 0), axis = imp_axis(x, imp_int(x, "axis", -1), rank);
  if (axis < 0) return false;
  ValueId v = calc_wide(x, x->in[0]), scale = x->in[1];
  DType w = calc_dtype(x, v), to = imp_dtype(x, 1);
  Attr a[] = { attr_int("axis", axis), attr_float("epsilon", imp_float(x, "epsilon", 1e-5)) };
  bool fits = norm_factor(x, &scale, w, rank - axis);
  ValueId factor = scale;
  if (!fits) {
    Dim ones[MAX_RANK];
    for (int i = 0; i < rank - axis; i++) ones[i] = DIM(1);
    factor = calc_fill(x, w, 1, ones, rank - axis);
  }
  ValueId y = calc_op(x, OP_RMS_NORM, (ValueId[]){ v, factor }, 2, a, 2);
  return calc_set(x, 0, calc_cast(x, fits ? y : calc_mul(x, y, scale), to));
}

/* (x - mean) / (sqrt(mean(x^2) - mean^2) + 1e-9), the variance in its stable form. */
bool import_mvn(Import *x) {
  if (!calc_needs(x, 1)) return false;
  const int64_t *given;
  int axes[MAX_RANK], n = imp_ints(x, "axes", &given), rank = imp_rank(x, 0);
  if (n > MAX_RANK) return imp_fail(x, "shape", "%d axes for an input of rank %d", n, rank);
  for (int i = 0; i < n; i++)
    if ((axes[i] = imp_axis(x, given[i], rank)) < 0) return false;
  if (!n)
    for (int i = 0; i < rank; i++)
      if (i != 1) axes[n++] = i;
  for (int i = 1; i < n; i++)                             /* reductions want them sorted */
    for (int j = i; j > 0 && axes[j] < axes[j - 1]; j--) { int s = axes[j]; axes[j] = axes[j - 1]; axes[j - 1] = s; }
  ValueId v = calc_wide(x, x->in[0]), mean = calc_mean(x, v, axes, n, true);
  ValueId deviation = calc_addc(x, calc_op1(x, OP_SQRT, variance(x, v, mean, axes, n)), 1e-9);
  return calc_set(x, 0, calc_cast(x, calc_div(x, calc_sub(x, v, mean), deviation), imp_dtype(x, 0)));
}

/* x / |x|_p over one axis; a row of zeros stays zeros. */
bool import_lp_norm(Import *x) {
  if (!calc_needs(x, 1)) return false;
  int axis = imp_axis(x, imp_int(x, "axis", -1), imp_rank(x, 0));
  int64_t p = imp_int(x, "p", 2);
  if (axis < 0) return false;
  if (p != 1 && p != 2) return imp_fail(x, "unsupported", "p = %lld; LpNormalization has 1 and 2", (long long)p);
  ValueId v = calc_wide(x, x->in[0]), power = p == 1 ? calc_op1(x, OP_ABS, v) : calc_mul(x, v, v);
  ValueId norm = calc_reduce(x, OP_REDUCE_SUM, power, axis);
  if (p == 2) norm = calc_op1(x, OP_SQRT, norm);
  norm = calc_where(x, calc_op2c(x, OP_EQ, norm, 0), imp_scalar(x, calc_dtype(x, v), 1), norm);
  return calc_set(x, 0, calc_cast(x, calc_div(x, v, norm), imp_dtype(x, 0)));
}

/* x / (bias + alpha / size * S)^beta, S the sum of squares over `size` neighbouring channels: floor((size-1)/2)
 * before, ceil((size-1)/2) after. alpha / size * S is alpha times an average that counts the padding. */
bool import_lrn(Import *x) {
  if (!calc_needs(x, 1)) return false;
  Type in = *imp_type(x, 0);
  int64_t size = imp_int(x, "size", 0);
  if (in.rank < 2 || size < 1) return imp_fail(x, "shape", "size=%lld on input %s", (long long)size, type_text(&in));
  ValueId v = calc_wide(x, x->in[0]);
  Dim flat[4] = { in.dims[0], DIM(1), in.dims[1], calc_product(in.dims + 2, in.rank - 2) };
  ValueId square = calc_reshape(x, calc_mul(x, v, v), flat, 4);
  int64_t ones[2] = { 1, 1 }, kernel[2] = { size, 1 }, pads[4] = { (size - 1) / 2, 0, size / 2, 0 };
  Attr a[] = {attr_ints(x->m, "kernel", kernel, 2),
              attr_ints(x->m, "strides", ones, 2),
              attr_ints(x->m, "pads", pads, 4),
              attr_ints(x->m, "dilations", ones, 2),
              attr_int("ceil", 0),
              attr_int("count_include_pad", 1)};
  ValueId mean = calc_reshape(x, calc_op(x, OP_AVG_POOL, &square, 1, a, 6), in.dims, in.rank);
  ValueId base = calc_addc(x, calc_mulc(x, mean, imp_float(x, "alpha", 1e-4)), imp_float(x, "bias", 1));
  ValueId y = calc_div(x, v, calc_op2c(x, OP_POW, base, imp_float(x, "beta", 0.75)));
  return calc_set(x, 0, calc_cast(x, y, in.dtype));
}

/* Before version 13 softmax worked on a matrix: axes before `axis` are rows, the rest is one row. */
static bool import_softmax_op(Import *x, Op op) {
  if (!calc_needs(x, 1)) return false;
  Type in = *imp_type(x, 0);
  bool flat = x->opset < 13;
  int axis = imp_axis(x, imp_int(x, "axis", flat ? 1 : -1), in.rank ? in.rank : 1);
  if (in.rank == 0 || axis < 0) return axis >= 0 && calc_set(x, 0, calc_fill(x, in.dtype, op == OP_SOFTMAX, NULL, 0));
  if (!flat || axis == in.rank - 1) return calc_set(x, 0, calc_softmax(x, op, x->in[0], axis));
  Dim shape[2] = { calc_product(in.dims, axis), calc_product(in.dims + axis, in.rank - axis) };
  ValueId y = calc_softmax(x, op, calc_reshape(x, x->in[0], shape, 2), 1);
  return calc_set(x, 0, calc_reshape(x, y, in.dims, in.rank));
}

bool import_softmax(Import *x) { return import_softmax_op(x, OP_SOFTMAX); }
bool import_log_softmax(Import *x) { return import_softmax_op(x, OP_LOG_SOFTMAX); }
