/* Element types and the compiler's own tensors. See dtype.h.
 *
 * Every narrow float is described by a row of `layouts`: mantissa bits, the exponent of its smallest normal
 * number, and its largest finite code. With E the exponent of v held at or above that minimum and
 * q = round(|v| / 2^(E - mantissa)), the code is ((E - emin) << mantissa) + q: subnormals (q below one
 * implicit bit) and a carry out of rounding both come out right without a case of their own.
 *
 * Saturation follows the tables of the ONNX Cast operator (opset 24): the 8- and 4-bit floats clamp to their
 * largest value, f16 and bf16 never do. f8e8m0 has no sign and no mantissa; the two rules ONNX calls common
 * are the ones here: saturating rounds up, not saturating rounds to nearest and gives NaN out of range. */
#include "ir/dtype.h"
#include <math.h>
#include <string.h>

const DTypeInfo dtype_info[DT_COUNT] = {
  [DT_NONE] = {"none", 0, 0, 0, CLASS_NONE, DT_NONE, ""},
#define DTYPE(E, text, onnx, bits, bytes, cls, compute, c) [DT_##E] = {text, onnx, bits, bytes, cls, DT_##compute, c},
#include "ir/dtypes.def"
#undef DTYPE
};

DType dtype_from_onnx(int code) {
  for (int t = 1; t < DT_COUNT; t++)
    if (dtype_info[t].onnx == code) return (DType)t;
  return DT_NONE;
}

int dtype_elem(DType t) {
  static const int class_code[] = {[CLASS_INT] = 0x10, [CLASS_UINT] = 0x20, [CLASS_BOOL] = 0x20, [CLASS_FLOAT] = 0x30,
                                   [CLASS_COMPLEX] = 0};
  if (t == DT_BF16) return 0x42;
  if (t == DT_F8E8M0) return 0x21;                    // no sign: sorts as its code
  DClass c = dtype_info[t].cls;
  return t == DT_F4E2M1 || !class_code[c] ? 0 : class_code[c] | dtype_bytes(t);
}

DType dtype_from_text(const char *s) {
  for (int t = 1; t < DT_COUNT; t++)
    if (!strcmp(dtype_info[t].text, s)) return (DType)t;
  return DT_NONE;
}

/* ---- narrow floats ---- */

/* inf, nan: their codes, without the sign; NONE when the type has no such value. */
enum { NONE = -1 };
typedef struct Layout { int mantissa, emin, sign; int max, inf, nan; bool unsigned_zero, saturates; } Layout;

static const Layout layouts[DT_COUNT] = {
  [DT_F16]        = {10,  -14, 0x8000, 0x7bff, 0x7c00, 0x7e00, false, false},
  [DT_BF16]       = { 7, -126, 0x8000, 0x7f7f, 0x7f80, 0x7fc0, false, false},
  [DT_F8E4M3FN]   = { 3,   -6, 0x80,   0x7e,   NONE,   0x7f,   false, true},
  [DT_F8E4M3FNUZ] = { 3,   -7, 0x80,   0x7f,   NONE,   0x80,   true,  true},   // the code of -0 is NaN
  [DT_F8E5M2]     = { 2,  -14, 0x80,   0x7b,   0x7c,   0x7e,   false, true},
  [DT_F8E5M2FNUZ] = { 2,  -15, 0x80,   0x7f,   NONE,   0x80,   true,  true},
  [DT_F4E2M1]     = { 1,    0, 0x8,    0x7,    NONE,   NONE,   false, true},
};

static uint32_t e8m0_from(double v, bool saturate) {
  if (v != v) return 0xff;
  if (!(v > 0)) return saturate && v == 0 ? 0 : 0xff;
  if (v > 0x1p127 && !saturate && (isinf(v) || v >= 0x1.8p127)) return 0xff;
  if (isinf(v)) return 0xfe;
  int e;
  double half = frexp(v, &e);                       // v = half * 2^e, half in [0.5, 1)
  int exp = saturate ? (half > 0.5 ? e : e - 1) : (half >= 0.75 ? e : e - 1);
  if (exp > 127) return 0xfe;
  if (exp < -127) return saturate ? 0 : 0xff;
  return (uint32_t)(exp + 127);
}

static uint32_t narrow_from_double(DType t, double v, bool saturate) {
  if (t == DT_F8E8M0) return e8m0_from(v, saturate);
  const Layout *l = &layouts[t];
  uint32_t sign = signbit(v) ? (uint32_t)l->sign : 0;
  if (v != v) return l->nan == NONE ? sign : l->unsigned_zero ? (uint32_t)l->nan : sign | (uint32_t)l->nan;
  bool clamp = saturate && l->saturates;
  int64_t code = INT64_MAX;
  if (!isinf(v)) {
    int e;
    frexp(v, &e);                                   // |v| = [0.5, 1) * 2^e
    if (--e < l->emin || v == 0) e = l->emin;
    if (e < 1024)
      code = (int64_t)(((int64_t)(e - l->emin) << l->mantissa) + (int64_t)nearbyint(ldexp(fabs(v), l->mantissa - e)));
  }
  if (code > l->max) {
    if (clamp || (l->inf == NONE && l->nan == NONE)) code = l->max;
    else if (l->inf != NONE) code = l->inf;
    else return l->unsigned_zero ? (uint32_t)l->nan : sign | (uint32_t)l->nan;
  }
  if (!code && l->unsigned_zero) return 0;
  return sign | (uint32_t)code;
}

uint32_t narrow_from_float(DType t, float v, bool saturate) { return narrow_from_double(t, (double)v, saturate); }

static float float_of_bits(uint32_t u) {
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}

float narrow_to_float(DType t, uint32_t bits) {
  if (t == DT_BF16) return float_of_bits(bits << 16);
  if (t == DT_F8E8M0) return bits == 0xff ? (float)NAN : ldexpf(1.0f, (int)bits - 127);
  const Layout *l = &layouts[t];
  if (l->unsigned_zero && bits == (uint32_t)l->nan) return (float)NAN;
  uint32_t sign = bits & (uint32_t)l->sign, code = bits & ((uint32_t)l->sign - 1);
  float r;
  if (l->inf != NONE && code >= (uint32_t)l->inf) r = code == (uint32_t)l->inf ? (float)INFINITY : (float)NAN;
  else if (l->inf == NONE && l->nan != NONE && code == (uint32_t)l->nan) r = (float)NAN;
  else {
    uint32_t exp = code >> l->mantissa, q = code & ((1u << l->mantissa) - 1);
    if (exp) {                                      // normal in every narrow type: normal in f32
      r = float_of_bits(((uint32_t)((int)exp - 1 + l->emin + 127) << 23) | (q << (23 - l->mantissa)));
    } else {
      r = (float)q * float_of_bits((uint32_t)(l->emin - l->mantissa + 127) << 23);
    }
  }
  return sign ? -r : r;
}

double narrow_limit(DType t) { return layouts[t].saturates ? (double)narrow_to_float(t, (uint32_t)layouts[t].max) : 0; }

/* ---- tensors ---- */

int64_t tensor_count(const Tensor *t) {
  int64_t n = 1;
  for (int i = 0; i < t->rank; i++)
    if (__builtin_mul_overflow(n, t->dims[i], &n)) return INT64_MAX;
  return n < 0 ? 0 : n;
}

size_t tensor_bytes(const Tensor *t) {
  size_t n;
  return __builtin_mul_overflow((size_t)tensor_count(t), (size_t)dtype_bytes(t->dtype), &n) ? SIZE_MAX : n;
}

bool tensor_same(const Tensor *a, const Tensor *b) {
  if (a == b) return true;
  if (a->dtype != b->dtype || a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++)
    if (a->dims[i] != b->dims[i]) return false;
  if (a->data == b->data) return true;
  if (!a->data || !b->data) return false;
  if (a->dtype != DT_STRING) return !memcmp(a->data, b->data, tensor_bytes(a));
  for (int64_t i = 0, n = tensor_count(a); i < n; i++)
    if (strcmp(((const char *const *)a->data)[i], ((const char *const *)b->data)[i])) return false;
  return true;
}

Tensor *tensor_new(Arena *a, DType dtype, int rank, const int64_t *dims) {
  Tensor *t = NEW(a, Tensor);
  t->dtype = dtype;
  t->rank = rank;
  for (int i = 0; i < rank; i++) t->dims[i] = dims[i];
  t->data = arena_alloc(a, tensor_bytes(t));
  return t;
}

Tensor *tensor_scalar(Arena *a, DType dtype, double v) {
  Tensor *t = tensor_new(a, dtype, 0, NULL);
  tensor_set(t, 0, v);
  return t;
}

/* Low `bits` of v, sign-extended: how 2- and 4-bit integers keep the low bits of a larger one. */
static int64_t sign_extend(int64_t v, int bits) {
  uint64_t top = (uint64_t)1 << (bits - 1), low = (uint64_t)v & (2 * top - 1);
  return (int64_t)((low ^ top) - top);
}

double tensor_get(const Tensor *t, int64_t i) {
  switch (t->dtype) {
    case DT_F32: return (double)((const float *)t->data)[i];
    case DT_F64: return ((const double *)t->data)[i];
    case DT_F16: case DT_BF16: return (double)narrow_to_float(t->dtype, ((const uint16_t *)t->data)[i]);
    case DT_F8E4M3FN: case DT_F8E4M3FNUZ: case DT_F8E5M2: case DT_F8E5M2FNUZ: case DT_F8E8M0: case DT_F4E2M1:
      return (double)narrow_to_float(t->dtype, ((const uint8_t *)t->data)[i]);
    case DT_U64: return (double)((const uint64_t *)t->data)[i];
    case DT_C64: return (double)((const float *)t->data)[2 * i];            // real part
    case DT_C128: return ((const double *)t->data)[2 * i];
    case DT_STRING: case DT_NONE: case DT_COUNT: return 0;
    case DT_I8: case DT_I16: case DT_I32: case DT_I64: case DT_I4: case DT_I2: case DT_U8: case DT_U16:
    case DT_U32: case DT_U4: case DT_U2: case DT_BOOL: break;
  }
  return (double)tensor_get_int(t, i);
}

static int64_t int_of_double(double v) {           // truncates; beyond int64: saturates, NaN: 0
  if (v != v) return 0;
  if (v >= 0x1p63) return INT64_MAX;
  if (v <= -0x1p63) return INT64_MIN;
  return (int64_t)v;
}

int64_t tensor_get_int(const Tensor *t, int64_t i) {
  switch (t->dtype) {
    case DT_I8: case DT_I4: case DT_I2: return ((const int8_t *)t->data)[i];
    case DT_I16: return ((const int16_t *)t->data)[i];
    case DT_I32: return ((const int32_t *)t->data)[i];
    case DT_I64: case DT_U64: return ((const int64_t *)t->data)[i];         // u64: the same bits
    case DT_U8: case DT_U4: case DT_U2: case DT_BOOL: return ((const uint8_t *)t->data)[i];
    case DT_U16: return ((const uint16_t *)t->data)[i];
    case DT_U32: return ((const uint32_t *)t->data)[i];
    case DT_F32: case DT_F64: case DT_F16: case DT_BF16: case DT_F8E4M3FN: case DT_F8E4M3FNUZ: case DT_F8E5M2:
    case DT_F8E5M2FNUZ: case DT_F8E8M0: case DT_F4E2M1: case DT_C64: case DT_C128:
      return int_of_double(tensor_get(t, i));
    case DT_STRING: case DT_NONE: case DT_COUNT: break;
  }
  return 0;
}

void tensor_set(Tensor *t, int64_t i, double v) {
  switch (t->dtype) {
    case DT_F32: ((float *)t->data)[i] = (float)v; return;
    case DT_F64: ((double *)t->data)[i] = v; return;
    case DT_F16: case DT_BF16: ((uint16_t *)t->data)[i] = (uint16_t)narrow_from_double(t->dtype, v, true); return;
    case DT_F8E4M3FN: case DT_F8E4M3FNUZ: case DT_F8E5M2: case DT_F8E5M2FNUZ: case DT_F8E8M0: case DT_F4E2M1:
      ((uint8_t *)t->data)[i] = (uint8_t)narrow_from_double(t->dtype, v, true);
      return;
    case DT_BOOL: ((uint8_t *)t->data)[i] = v != 0; return;
    case DT_U64:
      ((uint64_t *)t->data)[i] = v >= 0x1p64 ? UINT64_MAX : v >= 0x1p63 ? (uint64_t)v : (uint64_t)int_of_double(v);
      return;
    case DT_C64: ((float *)t->data)[2 * i] = (float)v; ((float *)t->data)[2 * i + 1] = 0; return;
    case DT_C128: ((double *)t->data)[2 * i] = v; ((double *)t->data)[2 * i + 1] = 0; return;
    case DT_STRING: case DT_NONE: case DT_COUNT: return;
    case DT_I8: case DT_I16: case DT_I32: case DT_I64: case DT_I4: case DT_I2: case DT_U8: case DT_U16:
    case DT_U32: case DT_U4: case DT_U2: break;
  }
  tensor_set_int(t, i, int_of_double(v));
}

void tensor_set_int(Tensor *t, int64_t i, int64_t v) {
  switch (t->dtype) {
    case DT_I8: ((int8_t *)t->data)[i] = (int8_t)v; return;
    case DT_I4: case DT_I2: ((int8_t *)t->data)[i] = (int8_t)sign_extend(v, dtype_info[t->dtype].bits); return;
    case DT_I16: ((int16_t *)t->data)[i] = (int16_t)v; return;
    case DT_I32: ((int32_t *)t->data)[i] = (int32_t)v; return;
    case DT_I64: case DT_U64: ((int64_t *)t->data)[i] = v; return;
    case DT_U8: ((uint8_t *)t->data)[i] = (uint8_t)v; return;
    case DT_U4: ((uint8_t *)t->data)[i] = v & 15; return;
    case DT_U2: ((uint8_t *)t->data)[i] = v & 3; return;
    case DT_BOOL: ((uint8_t *)t->data)[i] = v != 0; return;
    case DT_U16: ((uint16_t *)t->data)[i] = (uint16_t)v; return;
    case DT_U32: ((uint32_t *)t->data)[i] = (uint32_t)v; return;
    case DT_F32: ((float *)t->data)[i] = (float)v; return;                  // one rounding, not by way of double
    case DT_F64: case DT_F16: case DT_BF16: case DT_F8E4M3FN: case DT_F8E4M3FNUZ: case DT_F8E5M2:
    case DT_F8E5M2FNUZ: case DT_F8E8M0: case DT_F4E2M1: case DT_C64: case DT_C128: tensor_set(t, i, (double)v); return;
    case DT_STRING: case DT_NONE: case DT_COUNT: return;
  }
}
