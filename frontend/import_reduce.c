/* Importers of reductions and scans. The ten Reduce operators are four canonical ones between elementwise parts:
 *   L1 = sum|x|   L2 = sqrt sum x^2   SumSquare = sum x^2   Mean = sum / n   LogSum = log sum   LogSumExp below */
#include <string.h>
#include "frontend/calc.h"

/* Axes: an attribute, or an input (ReduceSum from 13 on, the others from 18). None given: all, or with
 * noop_with_empty_axes none at all (the elementwise parts still happen). */
static bool axes_of(Import *x, int rank, int *axes, int *n) {
  const int64_t *attr;
  const Dim *input = NULL;
  int count = imp_ints(x, "axes", &attr);
  if (imp_present(x, 1) && !imp_dims(x, 1, &input, &count)) return false;
  *n = 0;
  if (!count) {
    if (!imp_int(x, "noop_with_empty_axes", 0))
      for (int k = 0; k < rank; k++) axes[(*n)++] = k;
    return true;
  }
  bool seen[MAX_RANK] = {false};
  for (int k = 0; k < count; k++) {
    if (input && !dim_is_const(input[k])) return imp_fail(x, "shape", "an axis depends on a free dim");
    int axis = imp_axis(x, input ? input[k].k : attr[k], rank);
    if (axis < 0) return false;
    if (seen[axis]) return imp_fail(x, "shape", "axis %d is listed twice", axis);
    seen[axis] = true;
    axes[(*n)++] = axis;
  }
  return true;
}

static ValueId square(Import *x, ValueId v) { return imp_op2(x, OP_MUL, v, v); }

/* log sum exp(x) = m + log sum exp(x - m) with the maximum m, or 0 where that is infinite */
static ValueId log_sum_exp(Import *x, ValueId v, const int *axes, int n, bool keepdims) {
  DType t = value_of(x->m, v)->type.dtype;
  ValueId zero = imp_scalar(x, t, 0), shift[2];
  for (int k = 0; k < 2; k++) {
    ValueId m = imp_reduce(x, OP_REDUCE_MAX, v, axes, n, k == 0 || keepdims);
    shift[k] = imp_op3(x, OP_WHERE, imp_op1(x, OP_ISINF, m), zero, m);
  }
  ValueId e = imp_op1(x, OP_EXP, imp_op2(x, OP_SUB, v, shift[0]));
  return imp_op2(x, OP_ADD, imp_op1(x, OP_LOG, imp_reduce(x, OP_REDUCE_SUM, e, axes, n, keepdims)), shift[1]);
}

bool import_reduce(Import *x) {
  const char *kind = x->op + strlen("Reduce");
  Type t = *imp_type(x, 0);
  int axes[MAX_RANK], n;
  bool keep = imp_int(x, "keepdims", 1) != 0;
  if (!calc_needs(x, 1)) return false;
  if (t.kind != KIND_TENSOR || t.rank < 0) return imp_fail(x, "type", "input 0 must be a tensor, is %s", type_text(&t));
  if (!axes_of(x, t.rank, axes, &n)) return false;
  ValueId v = x->in[0];
  bool roots = !strcmp(kind, "L2") || !strncmp(kind, "Log", 3);   // sqrt, log: integers go through floats
  DType wide = roots && !dtype_is_float(t.dtype) ? DT_F64 : t.dtype;
  v = imp_cast(x, v, wide);
  if (!strcmp(kind, "Max")) v = imp_reduce(x, OP_REDUCE_MAX, v, axes, n, keep);
  else if (!strcmp(kind, "Min")) v = imp_reduce(x, OP_REDUCE_MIN, v, axes, n, keep);
  else if (!strcmp(kind, "Prod")) v = imp_reduce(x, OP_REDUCE_PROD, v, axes, n, keep);
  else if (!strcmp(kind, "LogSumExp")) v = log_sum_exp(x, v, axes, n, keep);
  else {
    if (!strcmp(kind, "L1")) v = imp_op1(x, OP_ABS, v);
    if (!strcmp(kind, "L2") || !strcmp(kind, "SumSquare")) v = square(x, v);
    v = imp_reduce(x, OP_REDUCE_SUM, v, axes, n, keep);
    if (!strcmp(kind, "L2")) v = imp_op1(x, OP_SQRT, v);
    if (!strcmp(kind, "LogSum")) v = imp_op1(x, OP_LOG, v);
    if (!strcmp(kind, "Mean")) {
      Dim count = DIM(1);
      for (int k = 0; k < n; k++) count = dim_mul(count, t.dims[axes[k]]);
      v = imp_op2(x, OP_DIV, v, imp_cast(x, imp_dims_value(x, &count, -1), t.dtype));
    }
  }
  imp_set(x, 0, imp_cast(x, v, t.dtype));
  return true;
}

static bool arg_reduce(Import *x, Op op) {
  int axis = imp_axis(x, imp_int(x, "axis", 0), imp_rank(x, 0));
  if (axis < 0) return false;
  Attr attr[] = {attr_int("axis", axis), attr_int("keepdims", imp_int(x, "keepdims", 1) != 0),
                 attr_int("select_last", imp_int(x, "select_last_index", 0) != 0)};
  imp_set(x, 0, imp_op(x, op, x->in, 1, attr, 3));
  return true;
}

bool import_arg_max(Import *x) { return arg_reduce(x, OP_ARGMAX); }
bool import_arg_min(Import *x) { return arg_reduce(x, OP_ARGMIN); }

static bool cumulative(Import *x, Op op) {
  const int64_t *axis;
  int n;
  if (!imp_const_ints(x, 1, &axis, &n)) return false;
  if (n != 1) return imp_fail(x, "shape", "axis should be one number");
  int at = imp_axis(x, *axis, imp_rank(x, 0));
  if (at < 0) return false;
  Attr attr[] = {attr_int("axis", at), attr_int("exclusive", imp_int(x, "exclusive", 0) != 0),
                 attr_int("reverse", imp_int(x, "reverse", 0) != 0)};
  imp_set(x, 0, imp_op(x, op, x->in, 1, attr, 3));
  return true;
}

bool import_cum_sum(Import *x) { return cumulative(x, OP_CUMSUM); }
bool import_cum_prod(Import *x) { return cumulative(x, OP_CUMPROD); }
