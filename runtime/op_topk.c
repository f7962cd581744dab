/* lt_topk: see lt_ops.h. Up to SMALL results are kept sorted while the line is read (n * k steps at worst, about
 * n when the data are in no order); more sort the whole line. Both give the same, ties included. */
#include "lt_ops.h"
#include "op_sort.h"
#include <string.h>

enum { SMALL = 64 };

/* Keys in the order "best first": smaller is better. */
static int key_before(const void *keys, int64_t i, int64_t j) {
  return ((const int64_t *)keys)[i] < ((const int64_t *)keys)[j];
}

void lt_topk(const void *x, void *values, int64_t *indices, int64_t *scratch, int64_t elem, int64_t outer,
             int64_t n, int64_t inner, int64_t k, int64_t largest) {
  int64_t o, p, j, m, at, *keys = scratch, *best, keep;
  size_t bytes = (size_t)(elem & 15);
  for (o = 0; o < outer; o++)
    for (p = 0; p < inner; p++) {
      for (j = 0; j < n; j++) {
        int64_t key = lt_sort_key(x, (o * n + j) * inner + p, elem);
        keys[j] = largest ? ~key : key;                         /* ~ turns the order round without overflow */
      }
      if (k <= SMALL) {
        int64_t kept[SMALL + 1];
        best = kept;
        keep = 0;
        for (j = 0; j < n && k; j++) {
          if (keep == k && keys[j] >= keys[best[keep - 1]]) continue;
          m = keep < k ? keep++ : keep - 1;                     /* its place: before the first that is worse */
          for (; m > 0 && keys[j] < keys[best[m - 1]]; m--) best[m] = best[m - 1];
          best[m] = j;
        }
        for (j = 0; j < k; j++) scratch[n + j] = kept[j];
      } else {
        int64_t *tmp = scratch + n;
        for (j = 0; j < n; j++) tmp[j] = j;
        lt_sort(tmp, tmp + n, n, key_before, keys);
      }
      best = scratch + n;
      for (j = 0; j < k; j++) {
        at = (o * k + j) * inner + p;
        indices[at] = best[j];
        memcpy((char *)values + (size_t)at * bytes,
               (const char *)x + (size_t)((o * n + best[j]) * inner + p) * bytes, bytes);
      }
    }
}
