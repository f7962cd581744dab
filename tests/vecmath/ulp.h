/* Errors in units of the last place, for the programs that measure runtime/vecmath.tmpl. */
#ifndef TESTS_VECMATH_ULP_H
#define TESTS_VECMATH_ULP_H
#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* Distance in units of the last place of the float nearest to `size`.  A NaN must meet a NaN;
 * an infinity counts as the number that would follow the largest float. */
static inline double ulp_error_at(float got, double want, double size) {
  if (isnan(want) || isnan(got))
    return isnan(want) && isnan(got) ? 0 : INFINITY;
  float nearest = (float)want;
  if (isinf(nearest) && isinf(got))
    return nearest == got ? 0 : INFINITY;
  if (isinf(want))
    return INFINITY;
  uint64_t bits;
  double value = isinf(got) ? copysign(0x1p128, (double)got) : (double)got;
  memcpy(&bits, &size, sizeof bits);
  int exponent = (int)(bits >> 52 & 0x7ff) - 1023; // by hand: this line runs four billion times in a sweep
  exponent = exponent < -126 ? -126 : exponent > 127 ? 127 : exponent;
  bits = (uint64_t)(1023 + 23 - exponent) << 52;
  double per_ulp;
  memcpy(&per_ulp, &bits, sizeof per_ulp);
  return fabs(value - want) * per_ulp;
}

static inline double ulp_error(float got, double want) { return ulp_error_at(got, want, want); }
#endif
