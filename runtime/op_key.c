/* lt_sort_key: elements of every type as integers in the same order. See lt_ops.h.
 * Floats are sign and magnitude, so with the sign applied to the magnitude bits they sort as integers; the
 * exponent sits above the mantissa in every format. Unsigned 64-bit values are shifted into the signed range. */
#include "lt_ops.h"
#include <string.h>

static int64_t magnitude_key(uint64_t bits, uint64_t sign, uint64_t infinity) {
  uint64_t magnitude = bits & (sign - 1);
  if (magnitude > infinity) return INT64_MAX;
  return bits & sign ? -(int64_t)magnitude : (int64_t)magnitude;
}

int64_t lt_sort_key(const void *x, int64_t i, int64_t elem) {
  union { uint8_t b1; uint16_t b2; uint32_t b4; uint64_t b8; } u;
  uint64_t bits;
  const char *at = (const char *)x + i * (elem & 15);
  u.b8 = 0;
  memcpy(&u, at, (size_t)(elem & 15));
  bits = (elem & 15) == 1 ? u.b1 : (elem & 15) == 2 ? u.b2 : (elem & 15) == 4 ? u.b4 : u.b8;
  switch (elem) {
  case LT_I8:   return (int8_t)bits;
  case LT_I16:  return (int16_t)bits;
  case LT_I32:  return (int32_t)bits;
  case LT_I64:  return (int64_t)bits;
  case LT_U64:  return (int64_t)(bits ^ (UINT64_C(1) << 63));
  case LT_F8:   return magnitude_key(bits, 0x80, 0x7f);
  case LT_F16:  return magnitude_key(bits, 0x8000, 0x7c00);
  case LT_BF16: return magnitude_key(bits, 0x8000, 0x7f80);
  case LT_F32:  return magnitude_key(bits, UINT64_C(1) << 31, 0x7f800000);
  case LT_F64:  return magnitude_key(bits, UINT64_C(1) << 63, UINT64_C(0x7ff0000000000000));
  default:      return (int64_t)bits;                           /* the smaller unsigned types and bool */
  }
}
