/* lt_unique: see lt_ops.h. Sorts the slice numbers stably, so that the first of each run of equal slices is its
 * first occurrence; runs become the distinct slices, and for the unsorted form are renumbered by that. */
#include "lt_ops.h"
#include "op_sort.h"

typedef struct slices { const void *x; int64_t elem, outer, n, inner; } slices;

static int slice_order(const slices *s, int64_t i, int64_t j) {
  int64_t o, p;
  for (o = 0; o < s->outer; o++)
    for (p = 0; p < s->inner; p++) {
      int64_t a = lt_sort_key(s->x, (o * s->n + i) * s->inner + p, s->elem);
      int64_t b = lt_sort_key(s->x, (o * s->n + j) * s->inner + p, s->elem);
      if (a != b) return a < b ? -1 : 1;
    }
  return 0;
}

static int slice_before(const void *ctx, int64_t i, int64_t j) { return slice_order((const slices *)ctx, i, j) < 0; }
static int index_before(const void *first, int64_t i, int64_t j) {
  return ((const int64_t *)first)[i] < ((const int64_t *)first)[j];
}

void lt_unique(const void *x, int64_t *first, int64_t *inverse, int64_t *counts, int64_t *count, int64_t *scratch,
               int64_t elem, int64_t outer, int64_t n, int64_t inner, int64_t sorted) {
  slices s;
  int64_t *order = scratch, *tmp = scratch + n, *place = scratch + 2 * n, i, k, found = 0;
  s.x = x; s.elem = elem; s.outer = outer; s.n = n; s.inner = inner;
  for (i = 0; i < n; i++) order[i] = i;
  lt_sort(order, tmp, n, slice_before, &s);
  for (i = 0; i < n; i++) {
    if (i == 0 || slice_order(&s, order[i - 1], order[i]) != 0) { first[found] = order[i]; counts[found++] = 0; }
    inverse[order[i]] = found - 1;
    counts[found - 1]++;
  }
  *count = found;
  if (sorted) return;
  for (k = 0; k < found; k++) order[k] = k;
  lt_sort(order, tmp, found, index_before, first);
  for (k = 0; k < found; k++) place[order[k]] = k;              /* sorted rank -> rank by first occurrence */
  for (i = 0; i < n; i++) inverse[i] = place[inverse[i]];
  for (k = 0; k < found; k++) { tmp[k] = first[order[k]]; place[k] = counts[order[k]]; }
  for (k = 0; k < found; k++) { first[k] = tmp[k]; counts[k] = place[k]; }
}
