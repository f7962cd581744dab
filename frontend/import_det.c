/* Det by elimination with row pivots, one step per row: M steps of about a dozen nodes. Batches of any size.
 *
 * A step takes the row p whose first element is largest, multiplies the result by that element (negated when
 * p is not the first row: the swap), puts the first row in its place and clears the first column below. */
#include "frontend/calc.h"

enum { DET_MAX = 64 };

/* One step on a [B, r, r]: *a becomes [B, r-1, r-1], *det [B] takes the pivot. */
static void det_step(Import *x, ValueId *a, ValueId *det, int64_t r) {
  DType t = calc_dtype(x, *a);
  Dim b = calc_dim(x, *a, 0), less = DIM(r - 1);
  ValueId column = calc_squeeze(x, calc_slice1(x, *a, 2, DIM(0), DIM(1)), 2);             /* [B, r] */
  Attr arg[] = { attr_int("axis", 1), attr_int("keepdims", 1), attr_int("select_last", 0) };
  ValueId size = calc_op1(x, OP_ABS, column), p = calc_op(x, OP_ARGMAX, &size, 1, arg, 3);  /* [B, 1] */
  ValueId is_pivot = calc_unsqueeze(x, calc_op2(x, OP_EQ, calc_range(x, DT_I64, DIM(r)), p), 2);      /* [B, r, 1] */
  ValueId zero = imp_scalar(x, t, 0), row = calc_reduce(x, OP_REDUCE_SUM, calc_where(x, is_pivot, *a, zero), 1);
  ValueId pivot = calc_slice1(x, row, 2, DIM(0), DIM(1));                                 /* [B, 1, 1] */
  ValueId first = calc_reshape(x, calc_op2c(x, OP_EQ, p, 0), &b, 1), flat = calc_reshape(x, pivot, &b, 1);
  *det = calc_mul(x, *det, calc_where(x, first, flat, calc_op1(x, OP_NEG, flat)));
  ValueId rest = calc_where(x, is_pivot, calc_slice1(x, *a, 1, DIM(0), DIM(1)), *a);
  rest = calc_slice1(x, rest, 1, DIM(1), less);
  ValueId safe = calc_where(x, calc_op2c(x, OP_EQ, pivot, 0), imp_scalar(x, t, 1), pivot);
  ValueId factor = calc_div(x, calc_slice1(x, rest, 2, DIM(0), DIM(1)), safe);            /* [B, r-1, 1] */
  *a = calc_sub(x, calc_slice1(x, rest, 2, DIM(1), less), calc_mul(x, factor, calc_slice1(x, row, 2, DIM(1), less)));
}

bool import_det(Import *x) {
  if (!calc_needs(x, 1)) return false;
  Type in = *imp_type(x, 0);
  if (in.rank < 2 || !dim_eq(in.dims[in.rank - 1], in.dims[in.rank - 2]) || !dim_is_const(in.dims[in.rank - 1]))
    return imp_fail(x, "shape", "input %s; square matrices of known size are needed", type_text(&in));
  int64_t m = in.dims[in.rank - 1].k;
  if (m > DET_MAX)
    return imp_fail(x, "unsupported", "the determinant of a %lldx%lld matrix; up to %d rows are supported",
                    (long long)m, (long long)m, DET_MAX);
  Dim batch = calc_product(in.dims, in.rank - 2), shape[] = { batch, DIM(m), DIM(m) };
  ValueId a = calc_reshape(x, calc_wide(x, x->in[0]), shape, 3), det = calc_fill(x, calc_dtype(x, a), 1, &batch, 1);
  for (int64_t r = m; r > 1; r--) det_step(x, &a, &det, r);
  if (m > 0) det = calc_mul(x, det, calc_reshape(x, a, &batch, 1));
  return calc_set(x, 0, calc_cast(x, calc_reshape(x, det, in.dims, in.rank - 2), in.dtype));
}
