/* Importers of operators that pad, crop, count, or move blocks between axes. */
#include <math.h>
#include <string.h>
#include "frontend/import.h"

/* ---- padding ---- */
/* pads: begins of all axes, then ends: attribute `paddings` (opset 1), `pads` (2-10), or input 1 (11 on), where
 * from 18 on input 3 names the axes they are for. */
bool import_pad(Import *x) {
  Type t = *imp_type(x, 0);
  const Dim *pads = NULL, *axes = NULL;
  const int64_t *ints;
  int n, naxes = t.rank, place[MAX_RANK];
  Dim before[MAX_RANK], after[MAX_RANK], buf[2 * MAX_RANK];
  bool inputs = x->opset >= 11;
  if (inputs) {
    if (!imp_dims(x, 1, &pads, &n) || (imp_present(x, 3) && !imp_dims(x, 3, &axes, &naxes))) return false;
  } else {
    n = imp_ints(x, x->opset < 2 ? "paddings" : "pads", &ints);
    for (int k = 0; k < n && k < 2 * MAX_RANK; k++) buf[k] = DIM(ints[k]);
    pads = buf;
  }
  if (n != 2 * naxes) return imp_fail(x, "shape", "has %d pads for %d axes", n, naxes);
  for (int k = 0; k < t.rank; k++) before[k] = after[k] = DIM(0), place[k] = k;
  for (int k = 0; k < naxes && axes; k++) {
    if (k >= MAX_RANK || !dim_is_const(axes[k])) return imp_fail(x, "shape", "the axes are not known numbers");
    place[k] = imp_axis(x, axes[k].k, t.rank);
    if (place[k] < 0) return false;
  }
  for (int k = 0; k < naxes; k++) before[place[k]] = pads[k], after[place[k]] = pads[naxes + k];
  ValueId in[2] = {x->in[0], 0};
  if (inputs && imp_present(x, 2)) in[1] = imp_reshape(x, x->in[2], NULL, 0);
  else if (imp_has(x, "value") && t.dtype != DT_STRING) in[1] = imp_scalar(x, t.dtype, imp_float(x, "value", 0));
  const char *mode = imp_str(x, "mode", "constant");
  Attr attr[] = {attr_dims(x->m, "before", before, t.rank), attr_dims(x->m, "after", after, t.rank),
                 attr_str("mode", mode)};
  imp_set(x, 0, imp_op(x, OP_PAD, in, in[1] && !strcmp(mode, "constant") ? 2 : 1, attr, 3));
  return true;
}

/* Each axis cut or padded with zeros around its middle; the odd element goes to the end. */
bool import_center_crop_pad(Import *x) {
  Type t = *imp_type(x, 0);
  const Dim *want;
  const int64_t *axes;
  int n, naxes = imp_ints(x, "axes", &axes);
  if (!imp_dims(x, 1, &want, &n)) return false;
  if (n != (imp_has(x, "axes") ? naxes : t.rank))
    return imp_fail(x, "shape", "has %d sizes for %d axes", n, imp_has(x, "axes") ? naxes : t.rank);
  Dim before[MAX_RANK], after[MAX_RANK], zero = DIM(0);
  for (int k = 0; k < t.rank; k++) before[k] = after[k] = zero;
  for (int k = 0; k < n; k++) {
    int axis = imp_axis(x, imp_has(x, "axes") ? axes[k] : k, t.rank);
    if (axis < 0) return false;
    Dim more = dim_sub(want[k], t.dims[axis]), less = dim_sub(zero, more);
    before[axis] = dim_sub(dim_floordiv(dim_max(more, zero), DIM(2)), dim_floordiv(dim_max(less, zero), DIM(2)));
    after[axis] = dim_sub(more, before[axis]);
  }
  Attr attr[] = {attr_dims(x->m, "before", before, t.rank), attr_dims(x->m, "after", after, t.rank),
                 attr_str("mode", "constant")};
  imp_set(x, 0, imp_op(x, OP_PAD, x->in, 1, attr, 3));
  return true;
}

/* ---- counting ---- */
/* A scalar input as a number; false when it is none */
static bool number(Import *x, int k, double *v) {
  const Tensor *t = imp_constant(x, k);
  if (!t || tensor_count(t) != 1) return false;
  *v = tensor_get(t, 0);
  return true;
}

static ValueId iota(Import *x, DType t, Dim n) {
  Attr attr[] = {attr_dtype("dtype", t), attr_dims(x->m, "shape", &n, 1), attr_int("axis", 0)};
  return imp_op(x, OP_IOTA, NULL, 0, attr, 3);
}

static ValueId as_scalar(Import *x, int k) { return imp_reshape(x, x->in[k], NULL, 0); }

/* start + i * delta for i below ceil((limit - start) / delta) */
bool import_range(Import *x) {
  DType t = imp_dtype(x, 0);
  Dim count = DIM(0);
  double start, limit, delta;
  if (dtype_is_float(t)) {
    for (int k = 0; k < 3; k++) {
      double v;
      if (!imp_const_float(x, k, &v)) return false;
    }
    if (!number(x, 0, &start) || !number(x, 1, &limit) || !number(x, 2, &delta)) return false;
    double n = delta != 0 ? ceil((limit - start) / delta) : NAN;
    if (!(n < 1e12)) return imp_fail(x, "shape", "counts from %g to %g by %g", start, limit, delta);
    count = DIM(n > 0 ? (int64_t)n : 0);
  } else {
    const Dim *from, *to, *by;
    int n[3];
    if (!imp_dims(x, 0, &from, &n[0]) || !imp_dims(x, 1, &to, &n[1]) || !imp_dims(x, 2, &by, &n[2])) return false;
    if (n[0] != 1 || n[1] != 1 || n[2] != 1) return imp_fail(x, "shape", "start, limit and delta should be numbers");
    if (!dim_is_const(*by) || by->k == 0) return imp_fail(x, "shape", "delta is %s", dim_text(*by));
    count = by->k > 0 ? dim_ceildiv(dim_sub(*to, *from), DIM(by->k)) : dim_ceildiv(dim_sub(*from, *to), DIM(-by->k));
    count = dim_max(count, DIM(0));
  }
  imp_set(x, 0, imp_op2(x, OP_ADD, imp_op2(x, OP_MUL, iota(x, t, count), as_scalar(x, 2)), as_scalar(x, 0)));
  return true;
}

/* ---- blocks ---- */
static bool block_size(Import *x, Dim *block) {
  int64_t b = imp_int(x, "blocksize", 0);
  *block = DIM(b);
  if (imp_rank(x, 0) != 4) return imp_fail(x, "shape", "needs an input [N, C, H, W], has %d axes", imp_rank(x, 0));
  return (b > 0 && b < 1 << 15) || imp_fail(x, "shape", "blocksize is %lld", (long long)b);
}

/* [N, b, b, C, H, W] (DCR) or [N, C, b, b, H, W] (CRD) -> [N, C, H*b, W*b] */
bool import_depth_to_space(Import *x) {
  Dim b, c;
  if (!block_size(x, &b)) return false;
  Type t = *imp_type(x, 0);
  bool crd = !strcmp(imp_str(x, "mode", "DCR"), "CRD");
  if (!dim_divisible(t.dims[1], dim_mul(b, b), &c))
    return imp_fail(x, "shape", "%s channels are not a multiple of blocksize^2 = %s", dim_text(t.dims[1]),
                    dim_text(dim_mul(b, b)));
  Dim n = t.dims[0], h = t.dims[2], w = t.dims[3];
  ValueId v = imp_reshape(x, x->in[0], crd ? (Dim[]){n, c, b, b, h, w} : (Dim[]){n, b, b, c, h, w}, 6);
  v = imp_transpose(x, v, crd ? (int[]){0, 1, 4, 2, 5, 3} : (int[]){0, 3, 4, 1, 5, 2}, 6);
  imp_set(x, 0, imp_reshape(x, v, (Dim[]){n, c, dim_mul(h, b), dim_mul(w, b)}, 4));
  return true;
}

/* [N, C, H/b, b, W/b, b] -> [N, b, b, C, H/b, W/b] */
bool import_space_to_depth(Import *x) {
  Dim b, h, w;
  if (!block_size(x, &b)) return false;
  Type t = *imp_type(x, 0);
  if (!dim_divisible(t.dims[2], b, &h) || !dim_divisible(t.dims[3], b, &w))
    return imp_fail(x, "shape", "an image of %s x %s does not divide into blocks of %s", dim_text(t.dims[2]),
                    dim_text(t.dims[3]), dim_text(b));
  Dim n = t.dims[0], c = t.dims[1];
  ValueId v = imp_reshape(x, x->in[0], (Dim[]){n, c, h, b, w, b}, 6);
  bool crd = !strcmp(imp_str(x, "mode", "DCR"), "CRD");          // since 28: the channel outermost
  v = imp_transpose(x, v, crd ? (int[]){0, 1, 3, 5, 2, 4} : (int[]){0, 3, 5, 1, 2, 4}, 6);
  imp_set(x, 0, imp_reshape(x, v, (Dim[]){n, dim_mul(c, dim_mul(b, b)), h, w}, 4));
  return true;
}
