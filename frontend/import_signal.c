/* DFT and STFT as matrix products with constant cosines and sines, window functions, MelWeightMatrix.
 *
 * A transform of length N = A * B above a limit is split (Cooley and Tukey 1965): with n = B a + b, k = c + A d
 *   X[c + A d] = sum_b w_N^(b c) w_B^(b d) sum_a x[B a + b] w_A^(a c),   w_M = e^(-2 pi i / M)
 * so that the matrices stay small: two products and a multiplication with w_N^(b c) between them. */
#include "frontend/calc.h"
#include <math.h>

static const double TAU = 6.283185307179586476925;

typedef struct Complex { ValueId re, im; } Complex;         /* im 0: real */

enum { DFT_MATRIX_MAX = 512, DFT_LENGTH_MAX = 1 << 20 };

/* cos or sin of 2 pi r c / n for r in [0, rows), c in [0, columns). [rows, columns] */
static ValueId turns(Import *x, DType t, int64_t rows, int64_t columns, int64_t n, double (*f)(double)) {
  Tensor *m = tensor_new(&x->m->perm, t, 2, (int64_t[]){ rows, columns });
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++) tensor_set(m, r * columns + c, f(TAU * (double)(r * c % n) / (double)n));
  return calc_tensor(x, m);
}

static ValueId plus(Import *x, ValueId a, ValueId b) { return a && b ? calc_add(x, a, b) : a ? a : b; }
static ValueId minus(Import *x, ValueId a, ValueId b) {
  return !b ? a : a ? calc_sub(x, a, b) : calc_op1(x, OP_NEG, b);
}

/* v * (cos - i sign sin); `product` is matmul or elementwise */
static Complex rotate(Import *x, Complex v, ValueId cosine, ValueId sine, int sign, Op product) {
  ValueId rc = calc_op2(x, product, v.re, cosine), rs = calc_op2(x, product, v.re, sine), ic = 0, is = 0;
  if (v.im) ic = calc_op2(x, product, v.im, cosine), is = calc_op2(x, product, v.im, sine);
  return sign > 0 ? (Complex){ plus(x, rc, is), minus(x, ic, rs) } : (Complex){ minus(x, rc, is), plus(x, ic, rs) };
}

static Complex swap_last(Import *x, Complex v) {
  return (Complex){ calc_swap_last(x, v.re), v.im ? calc_swap_last(x, v.im) : 0 };
}

static Complex reshape_last(Import *x, Complex v, int drop, int64_t a, int64_t b) {
  Dim shape[MAX_RANK];
  int n = calc_rank(x, v.re) - drop;
  if (!v.re || n < 0) return (Complex){ 0, 0 };
  for (int i = 0; i < n; i++) shape[i] = calc_dim(x, v.re, i);
  shape[n++] = DIM(a);
  if (b) shape[n++] = DIM(b);
  return (Complex){ calc_reshape(x, v.re, shape, n), v.im ? calc_reshape(x, v.im, shape, n) : 0 };
}

/* Transform of the last axis, first `keep` results. sign 1: forward, -1: inverse without 1/N. */
static Complex dft_last(Import *x, Complex v, int64_t n, int64_t keep, int sign) {
  DType t = calc_dtype(x, v.re);
  int64_t a = 0;
  if (!v.re) return v;
  for (int64_t d = 2; n > DFT_MATRIX_MAX && d * d <= n; d++)
    if (n % d == 0) a = d;                                  /* the divisor nearest to the root */
  if (!a || calc_rank(x, v.re) >= MAX_RANK)
    return rotate(x, v, turns(x, t, n, keep, n, cos), turns(x, t, n, keep, n, sin), sign, OP_MATMUL);
  int64_t b = n / a;
  v = swap_last(x, reshape_last(x, v, 1, a, b));            /* [b, a] */
  v = dft_last(x, v, a, a, sign);                           /* [b, c] */
  v = rotate(x, v, turns(x, t, b, a, n, cos), turns(x, t, b, a, n, sin), sign, OP_MUL);
  v = dft_last(x, swap_last(x, v), b, b, sign);             /* [c, d] */
  v = reshape_last(x, swap_last(x, v), 2, n, 0);
  if (keep < n) {
    v.re = calc_slice1(x, v.re, -1, DIM(0), DIM(keep));
    if (v.im) v.im = calc_slice1(x, v.im, -1, DIM(0), DIM(keep));
  }
  return v;
}

/* [re, im] side by side in a new last axis; an absent imaginary part is zero. */
static ValueId joined(Import *x, Complex v) {
  if (!v.re) return 0;
  if (!v.im) v.im = calc_mulc(x, v.re, 0);
  return calc_concat2(x, -1, calc_unsqueeze(x, v.re, -1), calc_unsqueeze(x, v.im, -1));
}

/* The parts of [..., 1 or 2] with `axis` moved to the end. */
static Complex split_parts(Import *x, ValueId v, int axis) {
  int perm[MAX_RANK], r = calc_rank(x, v) - 1, n = 0;
  Complex c = { 0, 0 };
  for (int i = 0; i < r; i++)
    if (i != axis) perm[n++] = i;
  perm[n] = axis;
  c.re = calc_transpose(x, calc_squeeze(x, calc_slice1(x, v, -1, DIM(0), DIM(1)), -1), perm, r);
  if (dim_is(calc_dim(x, v, -1), 2))
    c.im = calc_transpose(x, calc_squeeze(x, calc_slice1(x, v, -1, DIM(1), DIM(1)), -1), perm, r);
  return c;
}

/* Cut or padded with zeros at the end of the last axis. */
static ValueId fit_last(Import *x, ValueId v, int64_t n) {
  Dim have = calc_dim(x, v, -1);
  if (!v || dim_is(have, n)) return v;
  if (dim_is_const(have) && have.k > n) return calc_slice1(x, v, -1, DIM(0), DIM(n));
  return calc_pad_axis(x, v, -1, DIM(0), dim_sub(DIM(n), have), 0);
}

/* Half a spectrum [..., n/2+1] made whole by X[n-k] = conj X[k]. */
static Complex whole_spectrum(Import *x, Complex v, int64_t n) {
  int64_t half = n / 2 + 1, rest = n - half;
  v.re = fit_last(x, v.re, half);
  v.im = v.im ? fit_last(x, v.im, half) : 0;
  if (rest < 1) return v;
  int64_t *order = NEW_N(&x->m->perm, int64_t, rest);
  for (int64_t k = 0; k < rest; k++) order[k] = rest - k;
  ValueId mirror = imp_constant_ints(x, DT_I64, order, (int)rest);
  v.re = calc_concat2(x, -1, v.re, calc_gather(x, v.re, -1, mirror));
  if (v.im) v.im = calc_concat2(x, -1, v.im, calc_op1(x, OP_NEG, calc_gather(x, v.im, -1, mirror)));
  return v;
}

/* Length N of the transform: dft_length when given, else from the input. */
static bool dft_length(Import *x, Dim have, bool half, int64_t *n) {
  if (imp_present(x, 1)) {
    const int64_t *v;
    int count;
    if (!imp_const_ints(x, 1, &v, &count)) return false;
    if (count != 1) return imp_fail(x, "shape", "dft_length should be one number");
    *n = v[0];
  } else {
    if (!dim_is_const(have))
      return imp_fail(x, "unsupported", "a DFT over the free dim %s; its length must be known", dim_text(have));
    *n = half ? 2 * (have.k - 1) : have.k;
  }
  if (*n >= 1 && *n <= DFT_LENGTH_MAX) return true;
  return imp_fail(x, "shape", "a DFT of length %lld; 1 to %d is supported", (long long)*n, DFT_LENGTH_MAX);
}

static bool dft(Import *x, int64_t given_axis) {
  Type in = *imp_type(x, 0);
  bool inverse = imp_int(x, "inverse", 0) != 0, onesided = imp_int(x, "onesided", 0) != 0;
  int axis = imp_axis(x, given_axis, in.rank), perm[MAX_RANK];
  if (axis < 0) return false;
  if (in.rank < 2 || axis == in.rank - 1 || !(dim_is(in.dims[in.rank - 1], 1) || dim_is(in.dims[in.rank - 1], 2)))
    return imp_fail(x, "shape", "input %s; [..., N, 1 or 2] is needed, the axis before the last or earlier",
                    type_text(&in));
  int64_t n = 0;
  if (!dft_length(x, in.dims[axis], inverse && onesided, &n)) return false;
  Complex v = split_parts(x, calc_wide(x, x->in[0]), axis);
  if (inverse && onesided) v = whole_spectrum(x, v, n);
  v.re = fit_last(x, v.re, n);
  v.im = v.im ? fit_last(x, v.im, n) : 0;
  if (!v.re) return false;
  Complex y = dft_last(x, v, n, onesided && !inverse ? n / 2 + 1 : n, inverse ? -1 : 1);
  if (inverse) {
    y.re = calc_op2c(x, OP_DIV, y.re, (double)n);
    if (y.im) y.im = calc_op2c(x, OP_DIV, y.im, (double)n);
  }
  ValueId whole = inverse && onesided ? calc_unsqueeze(x, y.re, -1) : joined(x, y);
  for (int i = 0; i < in.rank; i++)                        /* the axis goes back to its place */
    perm[i] = i == in.rank - 1 ? i : i < axis ? i : i == axis ? in.rank - 2 : i - 1;
  return calc_set(x, 0, calc_cast(x, calc_transpose(x, whole, perm, in.rank), in.dtype));
}

bool import_dft_17(Import *x) { return calc_needs(x, 1) && dft(x, imp_int(x, "axis", 1)); }

bool import_dft_20(Import *x) {
  const int64_t *axis;
  int n;
  if (!calc_needs(x, 1)) return false;
  if (!imp_present(x, 2)) return dft(x, -2);
  if (!imp_const_ints(x, 2, &axis, &n)) return false;
  return n == 1 ? dft(x, axis[0]) : imp_fail(x, "shape", "axis should be one number");
}

static bool one_int(Import *x, int k, int64_t *v) {
  const int64_t *list;
  int n;
  if (!imp_const_ints(x, k, &list, &n)) return false;
  if (n != 1) return imp_fail(x, "shape", "input %d should be one number", k);
  *v = list[0];
  return true;
}

/* signal [B, L, 1 or 2], frame_step, window?, frame_length? -> [B, frames, bins, 2] */
bool import_stft(Import *x) {
  if (!calc_needs(x, 2)) return false;
  int64_t step, length = 0;
  Type in = *imp_type(x, 0);
  ValueId window = imp_present(x, 2) ? x->in[2] : 0, signal = calc_wide(x, x->in[0]);
  if (in.rank == 2) signal = calc_unsqueeze(x, signal, 2);
  else if (in.rank != 3) return imp_fail(x, "shape", "the signal %s should be [batch, length, 1 or 2]", type_text(&in));
  if (!one_int(x, 1, &step)) return false;
  if (imp_present(x, 3)) {
    if (!one_int(x, 3, &length)) return false;
  } else {
    Dim d = window ? imp_type(x, 2)->dims[0] : in.dims[1];
    if (!dim_is_const(d)) return imp_fail(x, "unsupported", "frame_length must be known");
    length = d.k;
  }
  if (step < 1 || length < 1 || length > DFT_LENGTH_MAX)
    return imp_fail(x, "shape", "frame_step %lld, frame_length %lld", (long long)step, (long long)length);
  Dim frames = dim_add(dim_floordiv(dim_sub(in.dims[1], DIM(length)), DIM(step)), DIM(1));
  ValueId start = calc_mulc(x, calc_unsqueeze(x, calc_range(x, DT_I64, frames), 1), (double)step);
  ValueId place = calc_add(x, start, calc_range(x, DT_I64, DIM(length)));       /* [frames, length] */
  Complex v = split_parts(x, calc_gather(x, signal, 1, place), 2);              /* [B, frames, length] */
  if (!v.re) return false;
  if (window) {
    window = calc_cast(x, window, calc_dtype(x, v.re));
    v.re = calc_mul(x, v.re, window);
    if (v.im) v.im = calc_mul(x, v.im, window);
  }
  int64_t bins = imp_int(x, "onesided", 1) ? length / 2 + 1 : length;
  return calc_set(x, 0, calc_cast(x, joined(x, dft_last(x, v, length, bins, 1)), in.dtype));
}

/* a0 - a1 cos(2 pi n / M) + a2 cos(4 pi n / M); M: the size when periodic, else size - 1. */
static bool cosine_window(Import *x, double a0, double a1, double a2) {
  const Dim *size;
  int n;
  DType t = dtype_from_onnx((int)imp_int(x, "output_datatype", 1));
  if (!calc_needs(x, 1) || !imp_dims(x, 0, &size, &n)) return false;
  if (n != 1 || t == DT_NONE) return imp_fail(x, "shape", "size should be one number, output_datatype an ONNX type");
  bool periodic = imp_int(x, "periodic", 1) != 0;
  DType wide = t == DT_F64 ? DT_F64 : DT_F32;
  if (dim_is_const(size[0]) && size[0].k >= 0 && size[0].k <= INT32_MAX) {     /* a constant, in double */
    Tensor *w = tensor_new(&x->m->perm, t, 1, (int64_t[]){ size[0].k });
    double m = (double)(periodic || size[0].k == 1 ? size[0].k : size[0].k - 1);
    for (int64_t i = 0; i < size[0].k; i++)
      tensor_set(w, i, a0 - a1 * cos(TAU * (double)i / m) + a2 * cos(2 * TAU * (double)i / m));
    return calc_set(x, 0, calc_tensor(x, w));
  }
  ValueId m = calc_dim_value(x, wide, periodic ? size[0] : dim_max(DIM(1), dim_sub(size[0], DIM(1))));
  ValueId turn = calc_div(x, calc_mulc(x, calc_range(x, wide, size[0]), TAU), m);
  ValueId w = calc_c2op(x, OP_SUB, a0, calc_mulc(x, calc_op1(x, OP_COS, turn), a1));
  if (a2 != 0) w = calc_add(x, w, calc_mulc(x, calc_op1(x, OP_COS, calc_mulc(x, turn, 2)), a2));
  return calc_set(x, 0, calc_cast(x, w, t));
}

bool import_hann_window(Import *x) { return cosine_window(x, 0.5, 0.5, 0); }
bool import_hamming_window(Import *x) { return cosine_window(x, 25.0 / 46, 21.0 / 46, 0); }
bool import_blackman_window(Import *x) { return cosine_window(x, 0.42, 0.5, 0.08); }

/* Triangles over the bins of a spectrum whose corners are evenly spaced on the mel scale, cut to whole bins. */
bool import_mel_weight_matrix(Import *x) {
  int64_t mels, length, rate;
  double low, high;
  DType t = dtype_from_onnx((int)imp_int(x, "output_datatype", 1));
  if (!one_int(x, 0, &mels) || !one_int(x, 1, &length) || !one_int(x, 2, &rate) || !imp_const_float(x, 3, &low) ||
      !imp_const_float(x, 4, &high)) return false;
  if (mels < 1 || mels > 1 << 16 || length < 1 || length > 1 << 24 || rate < 1 || t == DT_NONE)
    return imp_fail(x, "shape", "%lld mel bins of a DFT of length %lld at rate %lld", (long long)mels,
                    (long long)length, (long long)rate);
  int64_t bins = length / 2 + 1, *corner = NEW_N(&x->m->perm, int64_t, mels + 2);
  double from = 2595 * log10(1 + low / 700), to = 2595 * log10(1 + high / 700), step = (to - from) / (double)(mels + 2);
  for (int64_t k = 0; k < mels + 2; k++) {
    double hertz = 700 * (pow(10, ((double)k * step + from) / 2595) - 1);
    corner[k] = (int64_t)floor((double)(length + 1) * hertz / (double)rate);
  }
  Tensor *w = tensor_new(&x->m->perm, t, 2, (int64_t[]){ bins, mels });
  for (int64_t i = 0; i < mels; i++) {
    int64_t lower = corner[i], centre = corner[i + 1], upper = corner[i + 2];
    for (int64_t j = lower < 0 ? 0 : lower; j < bins && j <= (upper > centre ? upper : centre); j++) {
      double v = j == centre ? 1 : j < centre ? (double)(j - lower) / (double)(centre - lower)
                 : upper > centre ? (double)(upper - j) / (double)(upper - centre) : 0;
      tensor_set(w, j * mels + i, v);
    }
  }
  return calc_set(x, 0, calc_tensor(x, w));
}
