/* ONNX matrix products -> transpose, matmul, arithmetic. The canonical matmul has ranks from 2 on; numpy's
 * vectors get an axis of size 1 that is dropped afterwards. */
#include "frontend/calc.h"

/* matmul with numpy's rules for vectors */
static ValueId matmul_any(Import *x, ValueId a, ValueId b) {
  int ra = calc_rank(x, a), rb = calc_rank(x, b);
  if (!a || !b) return 0;
  if (!ra || !rb) { imp_fail(x, "shape", "a matrix product of a scalar"); return 0; }
  if (ra == 1) a = calc_unsqueeze(x, a, 0);
  if (rb == 1) b = calc_unsqueeze(x, b, 1);
  ValueId y = calc_matmul(x, a, b);
  if (rb == 1) y = calc_squeeze(x, y, -1);
  if (ra == 1) y = calc_squeeze(x, y, rb == 1 ? -1 : -2);
  return y;
}

bool import_matmul(Import *x) { return calc_needs(x, 2) && calc_set(x, 0, matmul_any(x, x->in[0], x->in[1])); }

/* alpha * A' * B' + beta * C. C broadcasts (before version 7: when attribute 'broadcast' says so). */
bool import_gemm(Import *x) {
  if (!calc_needs(x, 2)) return false;
  if (imp_rank(x, 0) != 2 || imp_rank(x, 1) != 2)
    return imp_fail(x, "shape", "A has rank %d and B rank %d, both must be matrices", imp_rank(x, 0), imp_rank(x, 1));
  ValueId a = imp_int(x, "transA", 0) ? calc_swap_last(x, x->in[0]) : x->in[0];
  ValueId b = imp_int(x, "transB", 0) ? calc_swap_last(x, x->in[1]) : x->in[1];
  ValueId y = calc_mulc(x, calc_matmul(x, a, b), imp_float(x, "alpha", 1));
  double beta = imp_float(x, "beta", 1);
  if (imp_present(x, 2) && beta != 0) y = calc_add(x, y, calc_mulc(x, x->in[2], beta));
  return calc_set(x, 0, y);
}

/* i32 with the zero point off. A zero point of A may be one per row, of B one per column. */
static ValueId centred(Import *x, int k, int zp, bool rows) {
  ValueId v = calc_cast(x, x->in[k], DT_I32);
  if (!imp_present(x, zp)) return v;
  ValueId z = calc_cast(x, x->in[zp], DT_I32);
  if (rows && calc_rank(x, z) == 1 && calc_rank(x, v) > 1) z = calc_unsqueeze(x, z, 1);
  return calc_sub(x, v, z);
}

bool import_matmul_integer(Import *x) {
  if (!calc_needs(x, 2)) return false;
  return calc_set(x, 0, matmul_any(x, centred(x, 0, 2, true), centred(x, 1, 3, false)));
}

/* A scale of A per row becomes a column; a scale of B per column broadcasts as it is. */
static ValueId row_scale(Import *x, ValueId s, int rank) {
  return calc_rank(x, s) == 1 && rank > 1 && !dim_is(calc_dim(x, s, 0), 1) ? calc_unsqueeze(x, s, 1) : s;
}

/* Inputs: a, a_scale, a_zp, b, b_scale, b_zp, y_scale, y_zp. From version 21 scales may be f16 or bf16. */
bool import_qlinear_matmul(Import *x) {
  if (!calc_needs(x, 8)) return false;
  ValueId acc = matmul_any(x, centred(x, 0, 2, true), centred(x, 3, 5, false));
  ValueId sa = row_scale(x, calc_wide(x, x->in[1]), imp_rank(x, 0)), sb = calc_wide(x, x->in[4]);
  ValueId ratio = calc_div(x, calc_mul(x, sa, sb), row_scale(x, calc_wide(x, x->in[6]), imp_rank(x, 0)));
  ValueId zp = row_scale(x, x->in[7], imp_rank(x, 0));
  return calc_set(x, 0, calc_saturate(x, calc_mul(x, calc_cast(x, acc, DT_F32), ratio), zp, imp_dtype(x, 7)));
}
