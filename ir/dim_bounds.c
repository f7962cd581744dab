/* Bounds of dims by interval arithmetic, and what follows from them. INT64_MIN and INT64_MAX stand for no bound. */
#include "ir/dim_poly.h"

typedef struct Interval { int64_t lo, hi; } Interval;

static Interval dim_interval(Dim a);

static Interval interval_mul(Interval a, Interval b) {
  int64_t p = sat_mul(a.lo, b.lo), q = sat_mul(a.lo, b.hi), r = sat_mul(a.hi, b.lo), s = sat_mul(a.hi, b.hi);
  return (Interval){int64_min(int64_min(p, q), int64_min(r, s)), int64_max(int64_max(p, q), int64_max(r, s))};
}

/* floor(a / b): infinite ends stay infinite. */
static int64_t end_div(int64_t a, int64_t b) { return a == INT64_MAX || a == INT64_MIN ? a : floor_div(a, b); }

static Interval atom_interval(const Atom *a) {
  if (a->kind == DIM_SYMBOL) return (Interval){symbol_at(a->symbol)->lo, symbol_at(a->symbol)->hi};
  Interval x = dim_interval(a->x), y = dim_interval(a->y);
  int64_t y0 = int64_max(y.lo, 1), y1 = int64_max(y.hi, y0);             // divisors are positive by contract
  switch (a->kind) {
    case DIM_FLOORDIV:
      return (Interval){int64_min(end_div(x.lo, y0), end_div(x.lo, y1)),
                        int64_max(end_div(x.hi, y0), end_div(x.hi, y1))};
    case DIM_MOD:
      return (Interval){0, x.lo >= 0 ? int64_min(x.hi, y1 - 1) : y1 - 1};
    case DIM_MIN: return (Interval){int64_min(x.lo, y.lo), int64_min(x.hi, y.hi)};
    case DIM_MAX: return (Interval){int64_max(x.lo, y.lo), int64_max(x.hi, y.hi)};
    case DIM_CONST: case DIM_SYMBOL: case DIM_ADD: case DIM_MUL: break;
  }
  return (Interval){INT64_MIN, INT64_MAX};
}

static Interval dim_interval(Dim d) {
  if (!d.poly) return (Interval){d.k, d.k};
  Poly *p = (Poly *)d.poly;                                      // a cache; the content never changes
  if (p->age != dim_bounds_age) {
    Interval sum = {0, 0};
    for (int i = 0; i < p->n; i++) {
      Interval t = {1, 1};
      for (int j = 0; j < p->at[i].mono->n; j++) t = interval_mul(t, atom_interval(p->at[i].mono->at[j]));
      t = interval_mul(t, (Interval){p->at[i].coef, p->at[i].coef});
      sum.lo = sat_add(sum.lo, t.lo);
      sum.hi = sat_add(sum.hi, t.hi);
    }
    p->lo = sum.lo;
    p->hi = sum.hi;
    p->age = dim_bounds_age;
  }
  return (Interval){p->lo == INT64_MIN ? p->lo : sat_add(p->lo, d.k), p->hi == INT64_MAX ? p->hi : sat_add(p->hi, d.k)};
}

int64_t dim_lo(Dim a) { return dim_interval(a).lo; }
int64_t dim_hi(Dim a) { return dim_interval(a).hi; }

bool dim_known_le(Dim a, Dim b) {
  if (!a.poly && !b.poly) return a.k <= b.k;
  bool saved = dim_overflow;                                     // a question may not raise the flag
  Dim d = dim_sub(b, a);
  bool ok = dim_overflow == saved;
  dim_overflow = saved;
  return (ok && dim_lo(d) >= 0) || dim_hi(a) <= dim_lo(b);
}
