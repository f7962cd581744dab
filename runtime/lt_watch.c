/* See lt_watch.h. A tensor's updates count as vanished below 1e-4 of the median tensor's, as exploded above the size of
 * the weights themselves (above ten times that at once). Ratios, not gradients, are what is seen from outside: under
 * adam the gradient's scale cancels, and an update that small means a gradient that is gone. */
#include "lt_watch.h"
#include "lt_file.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALLS = 3, LARGES = 2, SAID = 1000 };                  /* measurements in a row before a warning; after it */
static const double VANISHED = 1e-4, EXPLODED = 1.0, AT_ONCE = 10.0;
static const double TINY = 1e-2;                               /* below this size, weights may have begun at zero */

static int64_t count_of(const lt_state_tensor *t) {
  int64_t n = 1;
  int k;
  for (k = 0; k < t->rank; k++) n *= t->dims[k];
  return n;
}

static lt_tensor view(const lt_state_tensor *t, const void *state) {
  lt_tensor v;
  memset(&v, 0, sizeof v);
  snprintf(v.dtype, sizeof v.dtype, "%s", t->dtype);
  v.elem_bytes = t->elem_bytes;
  v.count = count_of(t);
  v.data = (char *)state + t->offset;
  return v;
}

static int is_watched(const lt_state_tensor *t) {
  return t->role == LT_PARAMETER && !t->frozen && lt_is_float(t->dtype) && count_of(t) > 0;
}

const char *lt_watch_broken(const lt_bundle *b, const void *state) {
  int k;
  int64_t i;
  for (k = 0; k < b->tensors; k++) {
    lt_tensor v = view(&b->tensor[k], state);
    if (!lt_is_float(v.dtype)) continue;
    if (!strcmp(v.dtype, "f32")) {                             /* nearly always; exponent all ones: infinite or NaN */
      const uint32_t *p = v.data;
      uint32_t bad = 0;
      for (i = 0; i < v.count; i++) bad |= (p[i] & 0x7F800000u) == 0x7F800000u;
      if (bad) return b->tensor[k].name;
      continue;
    }
    for (i = 0; i < v.count; i++) {
      double x = lt_get(&v, i);
      if (x - x != 0) return b->tensor[k].name;
    }
  }
  return NULL;
}

int lt_watch_open(lt_watch *w, const lt_bundle *b) {
  size_t n = (size_t)b->tensors + 1;
  w->bundle = b;
  w->before = malloc(n * LT_SAMPLE * sizeof *w->before);       /* untouched pages cost nothing */
  w->ratio = malloc(n * sizeof *w->ratio);
  w->small = calloc(n, sizeof *w->small);
  w->large = calloc(n, sizeof *w->large);
  return w->before && w->ratio && w->small && w->large ? 0 : -1;
}

void lt_watch_close(lt_watch *w) {
  free(w->before);
  free(w->ratio);
  free(w->small);
  free(w->large);
}

/* Element s of n samples of `count`: fractions of multiples of the golden ratio are spread evenly and hit every column
 * of a matrix. Equal distances do not: of [256, 784] they see four columns, pixels at the edge, always black. */
static int64_t place(int64_t s, int64_t n, int64_t count) {
  double x = (double)s * 0.6180339887498949;
  return n == count ? s : (int64_t)((x - floor(x)) * (double)count);
}
static int64_t samples(int64_t count) { return count < LT_SAMPLE ? count : LT_SAMPLE; }

void lt_watch_before(lt_watch *w, const void *state) {
  int k;
  int64_t s;
  for (k = 0; k < w->bundle->tensors; k++)
    if (is_watched(&w->bundle->tensor[k])) {
      lt_tensor v = view(&w->bundle->tensor[k], state);
      int64_t n = samples(v.count);
      for (s = 0; s < n; s++) w->before[(int64_t)k * LT_SAMPLE + s] = lt_get(&v, place(s, n, v.count));
    }
}

/* |update| / |weight|; *large: for how many large measurements it counts. */
static double measure(const lt_watch *w, int k, const void *state, int *large) {
  lt_tensor v = view(&w->bundle->tensor[k], state);
  int64_t n = samples(v.count), s;
  double size = 0, change = 0;
  for (s = 0; s < n; s++) {
    double a = w->before[(int64_t)k * LT_SAMPLE + s], d = lt_get(&v, place(s, n, v.count)) - a;
    size += a * a;
    change += d * d;
  }
  size = sqrt(size / (double)n);
  change = sqrt(change / (double)n) / (size > TINY ? size : TINY);
  *large = change > AT_ONCE && size > TINY ? LARGES : change > EXPLODED;
  return change;
}

static int by_value(const void *x, const void *y) {
  double a = *(const double *)x, b = *(const double *)y;
  return a < b ? -1 : a > b;
}

static double median(const lt_watch *w) {
  double *sorted = malloc(((size_t)w->bundle->tensors + 1) * sizeof *sorted), m = 0;
  int k, n = 0;
  for (k = 0; sorted && k < w->bundle->tensors; k++)
    if (w->ratio[k] >= 0) sorted[n++] = w->ratio[k];
  if (n) {
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    m = sorted[n / 2];
  }
  free(sorted);
  return m;
}

void lt_watch_after(lt_watch *w, const void *state, int64_t step, void (*warn)(const char *text)) {
  char text[400];
  double typical;
  int k;
  for (k = 0; k < w->bundle->tensors; k++) {
    int large = 0;
    w->ratio[k] = is_watched(&w->bundle->tensor[k]) ? measure(w, k, state, &large) : -1;
    if (w->large[k] < SAID) w->large[k] = large ? w->large[k] + large : 0;
  }
  typical = median(w);
  if (typical == 0) return;                                    /* nothing moves: the learning rate is 0 */
  for (k = 0; k < w->bundle->tensors; k++) {
    const char *name = w->bundle->tensor[k].name;
    double r = w->ratio[k];
    if (r < 0) continue;
    if (w->small[k] < SAID) w->small[k] = r < VANISHED * typical ? w->small[k] + 1 : 0;
    if (w->small[k] >= SMALLS && w->small[k] < SAID) {
      snprintf(text, sizeof text,
               "step %lld: the gradient of '%.100s' vanishes: a step changes it by %.1e of its size, "
               "a typical tensor by %.1e",
               (long long)step, name, r, typical);
      warn(text);
      w->small[k] = SAID;
    }
    if (w->large[k] >= LARGES && w->large[k] < SAID) {
      snprintf(text, sizeof text,
               "step %lld: the updates of '%.100s' explode: a step changes it by %.1e of its size; "
               "try a smaller --lr, or clipping",
               (long long)step, name, r);
      warn(text);
      w->large[k] = SAID;
    }
  }
}
