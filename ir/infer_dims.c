/* Are two dims equal whatever the symbols are? And when they are not: what would make them equal.
 *
 * Sizes that must agree have to agree for every value of the symbols: emitted code checks nothing. Where they do
 * not, the message says which choice of a free dim helps. */
#include "ir/infer.h"
#include <string.h>

enum { SYMBOLS_TRIED = 4, POINTS_TRIED = 4096 };
typedef struct { int n; bool many; const char *name[SYMBOLS_TRIED]; int64_t value[SYMBOLS_TRIED]; } Point;

static void *collect_symbol(void *ctx, DimKind k, int64_t c, const char *symbol, void *a, void *b) {
  (void)c, (void)a, (void)b;
  Point *p = ctx;
  if (k != DIM_SYMBOL) return p;
  for (int i = 0; i < p->n; i++) if (!strcmp(p->name[i], symbol)) return p;
  if (p->n == SYMBOLS_TRIED) p->many = true; else p->name[p->n++] = symbol;
  return p;
}

static int64_t value_at(const char *symbol, void *ctx) {
  const Point *p = ctx;
  for (int i = 0; i < p->n; i++) if (!strcmp(p->name[i], symbol)) return p->value[i];
  return 0;
}

/* Canonical polynomials differ for some value of the symbols unless floordiv, mod, min or max hide an identity
 * (2 * (N floordiv 2) with N in {4, 6}) or the bounds do (N in 4..4). Small ranges are tried out. */
bool dim_always_eq(Dim a, Dim b) {
  if (dim_eq(a, b)) return true;
  if (dim_is_const(a) && dim_is_const(b)) return false;
  bool saved = dim_overflow;
  Dim d = dim_sub(a, b);
  int64_t lo = dim_lo(d), hi = dim_hi(d);
  dim_overflow = saved;
  if (lo > 0 || hi < 0) return false;
  if (lo == 0 && hi == 0) return true;
  Point p = {0};
  dim_fold(d, collect_symbol, &p);
  if (p.many) return false;
  int64_t points = 1;
  for (int i = 0; i < p.n; i++) {
    const Symbol *s = symbol_find(p.name[i]);
    if (!s || s->hi < s->lo || s->hi >= INT32_MAX || s->lo <= INT32_MIN) return false;
    points *= s->hi - s->lo + 1;
    if (points > POINTS_TRIED) return false;
  }
  bool same = true;
  dim_overflow = false;
  for (int64_t at = 0; at < points && same; at++) {
    int64_t rest = at;
    for (int i = 0; i < p.n; i++) {
      const Symbol *s = symbol_find(p.name[i]);
      int64_t span = s->hi - s->lo + 1;
      p.value[i] = s->lo + rest % span;
      rest /= span;
    }
    same = dim_eval(d, value_at, &p) == 0 && !dim_overflow;
  }
  dim_overflow = saved;
  return same;
}

/* ---- hints ---- */

enum { MULTIPLE_MAX = 64, VALUE_MAX = 2048, HINTED_ERRORS = 20 };

static bool equal_with(Dim d, const char *symbol, Dim by) {
  return dim_is(dim_subst(d, symbol, by), 0);
}

/* "N is a multiple of 32": the smallest factor that makes d vanish. */
static int64_t helpful_multiple(Dim d, const char *symbol) {
  const Symbol *s = symbol_find(symbol);
  if (!s) return 0;
  for (int64_t k = 2; k <= MULTIPLE_MAX && k <= s->hi; k++) {
    if (equal_with(d, symbol, dim_mul(DIM(k), dim_symbol(symbol, s->lo, s->hi)))) return k;
  }
  return 0;
}

/* The first run of values of the symbol for which d vanishes. */
static bool helpful_values(Dim d, const char *symbol, int64_t *lo, int64_t *hi) {
  const Symbol *s = symbol_find(symbol);
  if (!s) return false;
  int64_t from = s->lo > 0 ? s->lo : 0, to = s->hi < from + VALUE_MAX ? s->hi : from + VALUE_MAX;
  for (*lo = from; *lo <= to && !equal_with(d, symbol, DIM(*lo)); ++*lo) {}
  if (*lo > to) return false;
  for (*hi = *lo; *hi < to && equal_with(d, symbol, DIM(*hi + 1)); ++*hi) {}
  return true;
}

void infer_hint_dims(Infer *x, Dim a, Dim b) {
  if (!x || (dim_is_const(a) && dim_is_const(b))) return;
  bool saved = dim_overflow;
  Point p = {0};
  Dim d = dim_sub(a, b);
  dim_fold(d, collect_symbol, &p);
  int tried = x->m->diags->errors < HINTED_ERRORS ? p.n : 0;
  for (int i = 0; i < tried && !x->hint; i++) {
    const char *name = p.name[i];
    int64_t k = helpful_multiple(d, name), lo, hi;
    if (k)
      infer_hint(x, "they agree when %s is a multiple of %lld: fix it with --dim %s=VALUE", name, (long long)k, name);
    else if (!helpful_values(d, name, &lo, &hi)) continue;
    else if (lo == hi) infer_hint(x, "they agree with --dim %s=%lld", name, (long long)lo);
    else infer_hint(x, "they agree when %s is in %lld..%lld: --dim %s=VALUE", name, (long long)lo, (long long)hi, name);
  }
  if (p.n) infer_hint(x, "sizes must agree whatever the input is: fix %s with --dim %s=VALUE", p.name[0], p.name[0]);
  dim_overflow = saved;
}
