/* lt_nonzero: see lt_ops.h. The key of 0 is 0 in every type but u64, where it is the lowest. */
#include "lt_ops.h"

void lt_nonzero(const void *x, int64_t *y, int64_t *count, int64_t elem, int64_t n) {
  int64_t i, found = 0, zero = elem == LT_U64 ? INT64_MIN : 0;
  for (i = 0; i < n; i++)
    if (lt_sort_key(x, i, elem) != zero) y[found++] = i;
  *count = found;
}
