/* Arithmetic of dims, always into the normal form; see dim.h.
 *
 * Normal forms, for d a positive constant (algebra of floor division on all integers):
 *   (d*q + r) floordiv d        ->  q + r floordiv d       coefficients of r in [0, d)
 *   (d*q + r) mod d             ->  r mod d
 *   (g*x + k) floordiv (g*d)    ->  (x + k floordiv g) floordiv d
 *   (x floordiv c + k) floordiv d -> (x + k*c) floordiv (c*d)
 *   r floordiv d, r mod d       ->  constant, r            when the bounds of r allow
 *   min, max                    ->  flat, without operands that the bounds of differences exclude
 * What they are made of: dim_table.c. Bounds: dim_bounds.c. Text: dim_text.c. */
#include "ir/dim_poly.h"
#include "base/vec.h"
#include <stdlib.h>

bool dim_overflow;

/* ---- integers; an overflow is remembered ---- */

static int64_t add(int64_t a, int64_t b) {
  int64_t r;
  if (__builtin_add_overflow(a, b, &r)) { dim_overflow = true; return a < 0 ? INT64_MIN : INT64_MAX; }
  return r;
}

static int64_t mul(int64_t a, int64_t b) {
  int64_t r;
  if (__builtin_mul_overflow(a, b, &r)) { dim_overflow = true; return (a < 0) != (b < 0) ? INT64_MIN : INT64_MAX; }
  return r;
}

static int64_t gcd(int64_t a, int64_t b) {
  if (a == INT64_MIN || b == INT64_MIN) return 1;
  for (a = llabs(a), b = llabs(b); b;) { int64_t t = a % b; a = b; b = t; }
  return a;
}

/* ---- sums and products ---- */

typedef VEC(Term) Terms;

static int term_compare(const void *p, const void *q) {
  return mono_compare(((const Term *)p)->mono, ((const Term *)q)->mono);
}

/* The polynomial of unsorted terms, equal monomials not yet combined. */
static const Poly *poly_of(Terms *t) {
  if (t->len > 1) qsort(t->at, (size_t)t->len, sizeof *t->at, term_compare);
  int n = 0;
  for (int i = 0; i < t->len; i++) {
    if (n && t->at[n - 1].mono == t->at[i].mono) t->at[n - 1].coef = add(t->at[n - 1].coef, t->at[i].coef);
    else t->at[n++] = t->at[i];
    if (!t->at[n - 1].coef) n--;
  }
  return poly_make(t->at, n);
}

/* a + f * b */
static Dim add_scaled(Dim a, Dim b, int64_t f) {
  int64_t k = add(a.k, mul(f, b.k));
  if (!b.poly || !f) return (Dim){k, a.poly};
  if (!a.poly && f == 1) return (Dim){k, b.poly};
  Arena tmp = {0};
  Terms t = {0};
  for (int i = 0; a.poly && i < a.poly->n; i++) *vec_push(&tmp, &t) = a.poly->at[i];
  for (int i = 0; i < b.poly->n; i++) *vec_push(&tmp, &t) = (Term){mul(f, b.poly->at[i].coef), b.poly->at[i].mono};
  const Poly *p = poly_of(&t);
  arena_free(&tmp);
  return (Dim){k, p};
}

Dim dim_add(Dim a, Dim b) { return add_scaled(a, b, 1); }
Dim dim_sub(Dim a, Dim b) { return add_scaled(a, b, -1); }

static const Mono *mono_mul(const Mono *a, const Mono *b) {    // merge of two sorted products
  const Atom *at[64];
  int n = 0, i = 0, j = 0;
  if (a->n + b->n > 64) { dim_overflow = true; return a; }
  while (i < a->n || j < b->n)
    at[n++] = j == b->n || (i < a->n && atom_compare(a->at[i], b->at[j]) <= 0) ? a->at[i++] : b->at[j++];
  return mono_make(at, n);
}

Dim dim_mul(Dim a, Dim b) {
  if (!b.poly) return b.k == 1 ? a : add_scaled(DIM(0), a, b.k);
  if (!a.poly) return a.k == 1 ? b : add_scaled(DIM(0), b, a.k);
  if (a.poly->n * b.poly->n > MAX_TERMS) { dim_overflow = true; return DIM(INT64_MAX); }
  Arena tmp = {0};
  Terms t = {0};
  for (int i = 0; i < a.poly->n; i++) {
    const Term *x = &a.poly->at[i];
    if (b.k) *vec_push(&tmp, &t) = (Term){mul(x->coef, b.k), x->mono};
    for (int j = 0; j < b.poly->n; j++) {
      const Term *y = &b.poly->at[j];
      *vec_push(&tmp, &t) = (Term){mul(x->coef, y->coef), mono_mul(x->mono, y->mono)};
    }
  }
  for (int j = 0; a.k && j < b.poly->n; j++)
    *vec_push(&tmp, &t) = (Term){mul(b.poly->at[j].coef, a.k), b.poly->at[j].mono};
  const Poly *p = poly_of(&t);
  arena_free(&tmp);
  return (Dim){mul(a.k, b.k), p};
}

/* ---- division ---- */

static bool mono_divide(const Mono *a, const Mono *b, const Mono **q) {   // *q NULL: the quotient is 1
  const Atom *at[64];
  int n = 0, j = 0;
  for (int i = 0; i < a->n; i++) {
    if (j < b->n && a->at[i] == b->at[j]) j++;
    else at[n++] = a->at[i];
  }
  if (j < b->n) return false;
  *q = n ? mono_make(at, n) : NULL;
  return true;
}

static Dim term_dim(int64_t coef, const Mono *m) {
  Term t = {coef, m};
  return m ? (Dim){0, poly_make(&t, coef != 0)} : DIM(coef);
}

/* a = b * q + r, taking into q what the leading term of b divides. For a constant b: coefficients of r in
 * [0, b). For others the split is by polynomial long division; r is what is left. */
static void split(Dim a, Dim b, Dim *q, Dim *r) {
  *q = *r = DIM(0);
  if (!b.poly) {
    *q = DIM(floor_div(a.k, b.k));
    *r = DIM(floor_mod(a.k, b.k));
    for (int i = 0; a.poly && i < a.poly->n; i++) {
      const Term *t = &a.poly->at[i];
      *q = dim_add(*q, term_dim(floor_div(t->coef, b.k), t->mono));
      *r = dim_add(*r, term_dim(floor_mod(t->coef, b.k), t->mono));
    }
    return;
  }
  const Term *lead = &b.poly->at[0];
  for (int steps = 0; a.poly && steps < MAX_TERMS; steps++) {
    Term t = a.poly->at[0];
    const Mono *m;
    if (mono_divide(t.mono, lead->mono, &m) && t.coef % lead->coef == 0) {
      Dim part = term_dim(t.coef / lead->coef, m);
      *q = dim_add(*q, part);
      a = dim_sub(a, dim_mul(part, b));
    } else {
      Dim part = term_dim(t.coef, t.mono);
      *r = dim_add(*r, part);
      a = dim_sub(a, part);
    }
  }
  *r = dim_add(*r, a);
}

bool dim_divisible(Dim a, Dim b, Dim *quotient) {
  if (dim_is(b, 0)) return false;
  Dim q, r;
  split(a, b, &q, &r);
  if (!dim_is(r, 0)) return false;
  if (quotient) *quotient = q;
  return true;
}

static int64_t content(const Poly *p) {                         // greatest common divisor of the coefficients
  int64_t g = 0;
  for (int i = 0; i < p->n && g != 1; i++) g = gcd(g, p->at[i].coef);
  return g;
}

static Dim div_exact(Dim a, int64_t g) {                        // floor of the constant, exact elsewhere
  Dim q, r;
  split(a, DIM(g), &q, &r);
  return q;
}

/* If r = (x floordiv c) + k with c constant: true. */
static bool is_nested(Dim r, const Atom **a) {
  if (!r.poly || r.poly->n != 1 || r.poly->at[0].coef != 1 || r.poly->at[0].mono->n != 1) return false;
  *a = r.poly->at[0].mono->at[0];
  return (*a)->kind == DIM_FLOORDIV && dim_is_const((*a)->y) && (*a)->y.k > 0;
}

/* Is 0 <= r < b for all values? */
static bool in_range(Dim r, Dim b) { return dim_lo(r) >= 0 && dim_known_le(dim_add(r, DIM(1)), b); }

Dim dim_floordiv(Dim a, Dim b) {
  if (dim_is(b, 1)) return a;
  if (!b.poly && (!a.poly || b.k == 0)) return DIM(floor_div(a.k, b.k));
  if (!b.poly && b.k < 0) return dim_floordiv(dim_mul(a, DIM(-1)), DIM(mul(b.k, -1)));
  Dim q, r;
  split(a, b, &q, &r);
  if (in_range(r, b)) return q;
  if (b.poly && in_range(dim_add(r, b), b)) return dim_sub(q, DIM(1));
  if (b.poly) return dim_add(q, atom_dim(atom_make(DIM_FLOORDIV, 0, r, b)));
  int64_t lo = dim_lo(r), hi = dim_hi(r);
  if (lo != INT64_MIN && hi != INT64_MAX && floor_div(lo, b.k) == floor_div(hi, b.k))
    return dim_add(q, DIM(floor_div(lo, b.k)));
  int64_t g = gcd(content(r.poly), b.k);
  if (g > 1) return dim_add(q, dim_floordiv(div_exact(r, g), DIM(b.k / g)));
  const Atom *n;
  if (is_nested(r, &n) && sat_mul(n->y.k, b.k) < INT32_MAX)
    return dim_add(q, dim_floordiv(dim_add(n->x, DIM(mul(r.k, n->y.k))), DIM(n->y.k * b.k)));
  return dim_add(q, atom_dim(atom_make(DIM_FLOORDIV, 0, r, b)));
}

Dim dim_ceildiv(Dim a, Dim b) { return dim_floordiv(dim_add(a, dim_sub(b, DIM(1))), b); }

Dim dim_mod(Dim a, Dim b) {
  if (dim_is(b, 1)) return DIM(0);
  if (!b.poly && (!a.poly || b.k == 0)) return DIM(floor_mod(a.k, b.k));
  if (!b.poly && b.k < 0) return dim_mul(dim_mod(dim_mul(a, DIM(-1)), DIM(mul(b.k, -1))), DIM(-1));
  Dim q, r;
  split(a, b, &q, &r);
  if (in_range(r, b)) return r;
  if (b.poly && in_range(dim_add(r, b), b)) return dim_add(r, b);
  if (b.poly) return atom_dim(atom_make(DIM_MOD, 0, r, b));
  int64_t lo = dim_lo(r), hi = dim_hi(r);
  if (lo != INT64_MIN && hi != INT64_MAX && floor_div(lo, b.k) == floor_div(hi, b.k))
    return dim_sub(r, DIM(mul(b.k, floor_div(lo, b.k))));
  int64_t g = gcd(content(r.poly), b.k);
  if (g > 1) return dim_add(dim_mul(DIM(g), dim_mod(div_exact(r, g), DIM(b.k / g))), DIM(floor_mod(r.k, g)));
  return atom_dim(atom_make(DIM_MOD, 0, r, b));
}

/* min and max are kept flat: a set of operands without min (max) inside, none of which the bounds exclude, in
 * structural order. max(max(a, b) + c, d) is max(a + c, b + c, d), so that memory plans, which are sums and
 * maxima of hundreds of sizes, stay as small as what can really be the largest. */
enum { MAX_OPERANDS = 16, MAX_LOOKED_AT = 256 };                // beyond: kept as it was built
typedef struct Operands { Dim at[MAX_OPERANDS]; int n, looked_at; bool full; } Operands;

static void add_operand(DimKind kind, Operands *o, Dim d) {
  if (++o->looked_at > MAX_LOOKED_AT) { o->full = true; return; }
  for (int i = 0; i < o->n; i++) {
    bool less = dim_known_le(d, o->at[i]), more = dim_known_le(o->at[i], d);
    if (kind == DIM_MIN ? more : less) return;                    // o->at[i] stands for d
    if (kind == DIM_MIN ? less : more) o->at[i--] = o->at[--o->n];
  }
  if (o->n == MAX_OPERANDS) o->full = true;
  else o->at[o->n++] = d;
}

static void flatten(DimKind kind, Operands *o, Dim d) {
  for (int i = 0; d.poly && i < d.poly->n && !o->full; i++) {
    const Term *t = &d.poly->at[i];
    if (t->coef != 1 || t->mono->n != 1 || t->mono->at[0]->kind != kind) continue;
    Dim rest = dim_sub(d, atom_dim(t->mono->at[0]));
    flatten(kind, o, dim_add(rest, t->mono->at[0]->x));
    flatten(kind, o, dim_add(rest, t->mono->at[0]->y));
    return;
  }
  add_operand(kind, o, d);
}

static int operand_compare(const void *p, const void *q) { return dim_compare(*(const Dim *)p, *(const Dim *)q); }

static Dim min_max(DimKind kind, Dim a, Dim b) {
  bool min = kind == DIM_MIN;
  if (dim_known_le(a, b)) return min ? a : b;
  if (dim_known_le(b, a)) return min ? b : a;
  Operands o = {0};
  flatten(kind, &o, a);
  flatten(kind, &o, b);
  if (o.full) {                                                   // too many to compare: as they stand
    if (dim_compare(a, b) > 0) { Dim t = a; a = b; b = t; }
    return atom_dim(atom_make(kind, 0, a, b));
  }
  qsort(o.at, (size_t)o.n, sizeof o.at[0], operand_compare);
  Dim r = o.at[0];
  for (int i = 1; i < o.n; i++) r = atom_dim(atom_make(kind, 0, r, o.at[i]));
  return r;
}
Dim dim_min(Dim a, Dim b) { return min_max(DIM_MIN, a, b); }
Dim dim_max(Dim a, Dim b) { return min_max(DIM_MAX, a, b); }

/* ---- walks ---- */

static Dim atom_apply(DimKind k, Dim x, Dim y) {
  switch (k) {
    case DIM_ADD: return dim_add(x, y);
    case DIM_MUL: return dim_mul(x, y);
    case DIM_FLOORDIV: return dim_floordiv(x, y);
    case DIM_MOD: return dim_mod(x, y);
    case DIM_MIN: return dim_min(x, y);
    case DIM_MAX: return dim_max(x, y);
    case DIM_CONST: case DIM_SYMBOL: break;
  }
  return x;
}

Dim dim_subst(Dim a, const char *symbol, Dim by) {
  if (!a.poly) return a;
  Dim sum = DIM(a.k);
  for (int i = 0; i < a.poly->n; i++) {
    Dim t = DIM(a.poly->at[i].coef);
    for (int j = 0; j < a.poly->at[i].mono->n; j++) {
      const Atom *f = a.poly->at[i].mono->at[j];
      Dim x = f->kind == DIM_SYMBOL ? (!strcmp(symbol_at(f->symbol)->name, symbol) ? by : atom_dim(f))
                                    : atom_apply(f->kind, dim_subst(f->x, symbol, by), dim_subst(f->y, symbol, by));
      t = dim_mul(t, x);
    }
    sum = dim_add(sum, t);
  }
  return sum;
}

int64_t dim_eval(Dim a, int64_t (*value)(const char *symbol, void *ctx), void *ctx) {
  int64_t sum = a.k;
  for (int i = 0; a.poly && i < a.poly->n; i++) {
    int64_t t = a.poly->at[i].coef;
    for (int j = 0; j < a.poly->at[i].mono->n; j++) {
      const Atom *f = a.poly->at[i].mono->at[j];
      bool symbol = f->kind == DIM_SYMBOL;
      Dim x = symbol ? DIM(0) : DIM(dim_eval(f->x, value, ctx)), y = symbol ? DIM(0) : DIM(dim_eval(f->y, value, ctx));
      t = mul(t, symbol ? value(symbol_at(f->symbol)->name, ctx) : atom_apply(f->kind, x, y).k);
    }
    sum = add(sum, t);
  }
  return sum;
}

static int64_t likely_size(const char *symbol, void *ctx) {
  enum { LIKELY = 64 };
  (void)ctx;
  const Symbol *s = symbol_find(symbol);
  return int64_min(int64_max(LIKELY, s->lo), s->hi);
}

int64_t dim_likely(Dim a) { return dim_eval(a, likely_size, NULL); }

void *dim_fold(Dim a, void *(*make)(void *ctx, DimKind k, int64_t constant, const char *symbol, void *x, void *y),
               void *ctx) {
  void *sum = NULL;
  for (int i = 0; a.poly && i < a.poly->n; i++) {
    const Term *t = &a.poly->at[i];
    void *prod = t->coef == 1 ? NULL : make(ctx, DIM_CONST, t->coef, NULL, NULL, NULL);
    for (int j = 0; j < t->mono->n; j++) {
      const Atom *f = t->mono->at[j];
      void *x = f->kind == DIM_SYMBOL
        ? make(ctx, DIM_SYMBOL, 0, symbol_at(f->symbol)->name, NULL, NULL)
        : make(ctx, f->kind, 0, NULL, dim_fold(f->x, make, ctx), dim_fold(f->y, make, ctx));
      prod = prod ? make(ctx, DIM_MUL, 0, NULL, prod, x) : x;
    }
    sum = sum ? make(ctx, DIM_ADD, 0, NULL, sum, prod) : prod;
  }
  if (a.k || !sum) {
    void *k = make(ctx, DIM_CONST, a.k, NULL, NULL, NULL);
    sum = sum ? make(ctx, DIM_ADD, 0, NULL, sum, k) : k;
  }
  return sum;
}
