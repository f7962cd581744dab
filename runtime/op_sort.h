/* Sorting for op_*.c: indices by a comparison, stable, without allocation. A merge sort from short runs up:
 * about n log2(n) comparisons whatever the data. A header, so that each op_*.c stays usable alone. */
#ifndef LT_OP_SORT_H
#define LT_OP_SORT_H
#include <stdint.h>

typedef int (*lt_before)(const void *ctx, int64_t i, int64_t j);    /* must i come before j? strict */

/* Sorts index [n] stably; tmp [n]. */
static inline void lt_sort(int64_t *index, int64_t *tmp, int64_t n, lt_before before, const void *ctx) {
  int64_t *from = index, *to = tmp, width, k;
  for (width = 1; width < n; width *= 2) {
    int64_t lo, *swap;
    for (lo = 0; lo < n; lo += 2 * width) {
      int64_t mid = lo + width < n ? lo + width : n, hi = lo + 2 * width < n ? lo + 2 * width : n, a = lo, b = mid;
      for (k = lo; k < hi; k++)
        to[k] = a < mid && (b >= hi || !before(ctx, from[b], from[a])) ? from[a++] : from[b++];
    }
    swap = from; from = to; to = swap;
  }
  if (from != index) for (k = 0; k < n; k++) index[k] = from[k];
}
#endif
