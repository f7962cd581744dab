/* The algebra of indices: bounds, linear forms, division.
 *
 * An I64 expression is read as a linear form  k + sum(c * atom)  with constant c; equal atoms are collected.
 * Sums are rebuilt from that form only when something cancels, so that an index keeps the shape its lowering
 * gave it. Division by a constant d splits the form into  d * q + r :
 *     (d*q + r) / d -> q          (d*q + r) % d -> r          when 0 <= r < d
 *     (d*q + r) / d -> q + r/d    (d*q + r) % d -> r % d      when 0 <= r
 *     (g*q + r) / d -> q / (d/g)  (g*q + r) % d -> (q % (d/g)) * g + r   when g divides d and 0 <= r < g
 * all for numerators that are known to be non-negative, where C's division rounds down.
 * Indices never overflow: a program whose sizes do not fit 63 bits is refused long before. */
#include "ir/loop_rules.h"

/* ---- ranges ---- */

static const Range ANY = {INT64_MIN, INT64_MAX};

static int64_t add_bound(int64_t a, int64_t b, int64_t infinity) {
  int64_t r;
  if (a == infinity || b == infinity) return infinity;
  if (__builtin_add_overflow(a, b, &r)) return infinity;
  return r;
}

Range range_add(Range x, Range y) {
  return (Range){add_bound(x.lo, y.lo, INT64_MIN), add_bound(x.hi, y.hi, INT64_MAX)};
}

static Range range_neg(Range x) {
  return (Range){x.hi == INT64_MAX ? INT64_MIN : -x.hi, x.lo == INT64_MIN ? INT64_MAX : -x.lo};
}

static bool is_infinite(int64_t v) { return v == INT64_MIN || v == INT64_MAX; }

static int64_t mul_bound(int64_t a, int64_t b) {
  int64_t r;
  if (a == 0 || b == 0) return 0;
  if (is_infinite(a) || is_infinite(b) || __builtin_mul_overflow(a, b, &r))
    return (a < 0) == (b < 0) ? INT64_MAX : INT64_MIN;
  return r;
}

Range range_mul(Range x, Range y) {
  int64_t p[4] = {mul_bound(x.lo, y.lo), mul_bound(x.lo, y.hi), mul_bound(x.hi, y.lo), mul_bound(x.hi, y.hi)};
  Range r = {p[0], p[0]};
  for (int i = 1; i < 4; i++) {
    if (p[i] < r.lo) r.lo = p[i];
    if (p[i] > r.hi) r.hi = p[i];
  }
  return r;
}

Range type_range(DType t) {
  switch (dtype_info[t].cls) {
  case CLASS_BOOL: return (Range){0, 1};
  case CLASS_INT:
    if (dtype_info[t].bits < 64) {
      int64_t h = (int64_t)1 << (dtype_info[t].bits - 1);
      return (Range){-h, h - 1};
    }
    return ANY;
  case CLASS_UINT:
    if (dtype_info[t].bits < 64) return (Range){0, ((int64_t)1 << dtype_info[t].bits) - 1};
    return ANY;
  case CLASS_NONE: case CLASS_FLOAT: case CLASS_STRING: case CLASS_COMPLEX: return ANY;
  }
  return ANY;
}

int64_t int_wrap(DType t, int64_t v) {
  int bits = dtype_info[t].bits;
  if (dtype_info[t].cls == CLASS_BOOL) return v != 0;
  if (bits >= 64) return v;
  uint64_t mask = ((uint64_t)1 << bits) - 1, u = (uint64_t)v & mask;
  if (dtype_info[t].cls == CLASS_INT && (u >> (bits - 1))) u |= ~mask;
  return (int64_t)u;
}

static Range range_of_div(Range x, Range d) {
  if (d.lo < 1) return ANY;
  int64_t at_lo = x.lo >= 0 ? d.hi : d.lo, at_hi = x.hi >= 0 ? d.lo : d.hi;
  return (Range){x.lo == INT64_MIN ? INT64_MIN : x.lo / at_lo, x.hi == INT64_MAX ? INT64_MAX : x.hi / at_hi};
}

static Range range_of_rem(Range x, Range d) {
  if (d.lo < 1) return ANY;
  int64_t top = d.hi == INT64_MAX ? INT64_MAX : d.hi - 1;
  Range r = {x.lo >= 0 ? 0 : -top, x.hi <= 0 ? 0 : top};
  if (x.lo >= 0 && x.hi < r.hi) r.hi = x.hi;
  return r;
}

Range range_of_scalar(ScalarOp op, DType elem, const Expr *x, const Expr *y, const Expr *z) {
  Range all = type_range(elem), r = all;
  if (!dtype_is_int(elem) || elem == DT_U64) return all;
  Range a = x ? (Range){x->lo, x->hi} : ANY, c = y ? (Range){y->lo, y->hi} : ANY;
  switch (op) {
  case S_ADD: r = range_add(a, c); break;
  case S_SUB: r = range_add(a, range_neg(c)); break;
  case S_MUL: r = range_mul(a, c); break;
  case S_DIV: r = range_of_div(a, c); break;
  case S_FMOD: r = range_of_rem(a, c); break;
  case S_MOD: if (c.lo >= 1 && c.hi != INT64_MAX) r = (Range){0, c.hi - 1}; break;
  case S_MIN: r = (Range){int64_min(a.lo, c.lo), int64_min(a.hi, c.hi)}; break;
  case S_MAX: r = (Range){int64_max(a.lo, c.lo), int64_max(a.hi, c.hi)}; break;
  case S_NEG: r = range_neg(a); break;
  case S_ABS:
    if (a.lo != INT64_MIN) r = (Range){a.lo >= 0 ? a.lo : a.hi <= 0 ? -a.hi : 0, int64_max(-a.lo, a.hi)};
    break;
  case S_RELU: r = (Range){int64_max(a.lo, 0), int64_max(a.hi, 0)}; break;
  case S_WHERE: r = (Range){int64_min(y->lo, z->lo), int64_max(y->hi, z->hi)}; break;
  default: break;
  }
  if (r.lo < all.lo || r.hi > all.hi) return all;               // it may wrap
  return r;
}

/* ---- linear forms ---- */

enum { MAX_TERMS = 24 };
typedef struct Term { int64_t c; Expr *e; } Term;
typedef struct Linear { int64_t k; int n; bool full; /* too long or too large: of no use */ Term t[MAX_TERMS]; } Linear;

static void linear_term(Linear *l, Expr *e, int64_t c) {
  for (int i = 0; i < l->n; i++)
    if (expr_eq(l->t[i].e, e)) {
      l->full |= __builtin_add_overflow(l->t[i].c, c, &l->t[i].c);
      if (!l->t[i].c) {                                         // cancelled: keep the order of the others
        memmove(&l->t[i], &l->t[i + 1], sizeof(Term) * (size_t)(l->n - i - 1));
        l->n--;
      }
      return;
    }
  if (l->n == MAX_TERMS) { l->full = true; return; }
  l->t[l->n++] = (Term){c, e};
}

static void linear_add(Linear *l, Expr *e, int64_t c) {
  int64_t m;
  if (e->kind == EX_CONST) {
    l->full |= __builtin_mul_overflow(c, e->i, &m) || __builtin_add_overflow(l->k, m, &l->k) || l->k == INT64_MIN;
    return;
  }
  if (e->kind == EX_SCALAR) {
    Expr *x = e->arg[0], *y = e->arg[1];
    if (e->op == S_ADD || e->op == S_SUB) {
      linear_add(l, x, c);
      linear_add(l, y, e->op == S_ADD ? c : -c);
      return;
    }
    if (e->op == S_NEG) { linear_add(l, x, -c); return; }
    if (e->op == S_MUL && y->kind == EX_CONST && !__builtin_mul_overflow(c, y->i, &m)) { linear_add(l, x, m); return; }
  }
  linear_term(l, e, c);
}

static Linear linear_of(Expr *e) {
  Linear l = {0};
  linear_add(&l, e, 1);
  return l;
}

static Expr *sum(Builder *b, Expr *x, Expr *y, bool minus) {
  return expr_scalar(b, minus ? S_SUB : S_ADD, DT_I64, 1, x, y, NULL);
}

static Expr *linear_build(Builder *b, const Linear *l) {
  Expr *e = NULL;
  for (int negative = 0; negative < 2; negative++)
    for (int i = 0; i < l->n; i++) {
      int64_t c = l->t[i].c;
      if ((c < 0) != (bool)negative) continue;
      int64_t m = negative && e ? -c : c;
      Expr *t = m == 1 ? l->t[i].e : expr_scalar(b, S_MUL, DT_I64, 1, l->t[i].e, expr_int(b, DT_I64, m), NULL);
      e = e ? sum(b, e, t, negative) : t;
    }
  if (!e) return expr_int(b, DT_I64, l->k);
  if (l->k) e = sum(b, e, expr_int(b, DT_I64, l->k < 0 ? -l->k : l->k), l->k < 0);
  return e;
}

static Range linear_range(const Linear *l) {
  Range r = {l->k, l->k};
  for (int i = 0; i < l->n; i++)
    r = range_add(r, range_mul((Range){l->t[i].c, l->t[i].c}, (Range){l->t[i].e->lo, l->t[i].e->hi}));
  return r;
}

static bool is_loop_var(const Expr *e) { return e->kind == EX_VAR && e->var->loop; }

/* Bounds of a form; a loop index whose bound is symbolic is replaced by that bound, so i < N is seen. */
static Range linear_range_symbolic(const Linear *l) {
  Range r = linear_range(l);
  Linear up = {.k = l->k}, down = {.k = l->k};
  bool symbolic = false;
  for (int i = 0; i < l->n; i++) {
    Expr *e = l->t[i].e;
    int64_t c = l->t[i].c;
    if (!is_loop_var(e)) { linear_term(&up, e, c); linear_term(&down, e, c); continue; }
    const Stmt *f = e->var->loop;
    symbolic |= f->hi->kind != EX_CONST || f->lo->kind != EX_CONST;
    Linear *top = c > 0 ? &up : &down, *bottom = c > 0 ? &down : &up;
    linear_add(top, f->hi, c);
    top->k -= c;
    linear_add(bottom, f->lo, c);
  }
  if (!symbolic || up.full || down.full) return r;
  Range u = linear_range(&up), d = linear_range(&down);
  return (Range){int64_max(r.lo, d.lo), int64_min(r.hi, u.hi)};
}

Range index_difference(Expr *x, Expr *y) {
  Linear l = linear_of(x);
  linear_add(&l, y, -1);
  if (l.full) return range_add((Range){x->lo, x->hi}, range_neg((Range){y->lo, y->hi}));
  return linear_range_symbolic(&l);
}

bool index_split(const Expr *index, const Var *v, int64_t *c, int64_t *lo, int64_t *hi) {
  Linear l = {0}, rest;
  linear_add(&l, (Expr *)index, 1);
  rest = (Linear){.k = l.k};
  *c = 0;
  for (int i = 0; i < l.n; i++) {
    const Expr *e = l.t[i].e;
    if (v && e->kind == EX_VAR && e->var == v) *c = l.t[i].c;
    else if (v && expr_uses(e, v)) return false;
    else rest.t[rest.n++] = l.t[i];
  }
  Range r = linear_range(&rest);
  *lo = r.lo;
  *hi = r.hi;
  return !l.full && !is_infinite(r.lo) && !is_infinite(r.hi);
}

bool index_rows(Builder *b, Expr *index, int64_t stride, Expr **row, Expr **rest) {
  bool ramp = index->kind == EX_RAMP && index->arg[1]->kind == EX_CONST && index->arg[1]->i > 0;
  if (index->lanes > 1 && !ramp) return false;
  Linear all = linear_of(ramp ? index->arg[0] : index), rows = {0}, within = {0};
  if (all.full) return false;
  for (int i = 0; i < all.n; i++) {
    Term t = all.t[i];
    if (t.c % stride) within.t[within.n++] = t;
    else rows.t[rows.n++] = (Term){t.c / stride, t.e};
  }
  Range r = linear_range(&within);
  if (is_infinite(r.lo) || is_infinite(r.hi)) return false;
  rows.k = (all.k + r.lo) / stride - ((all.k + r.lo) % stride < 0);
  within.k = all.k - rows.k * stride;
  if (within.k + r.hi + (ramp ? index->arg[1]->i * (index->lanes - 1) : 0) >= stride) return false;
  *row = linear_build(b, &rows);
  *rest = linear_build(b, &within);
  if (ramp) *rest = ex_ramp(b, *rest, index->arg[1]->i, index->lanes);
  return true;
}

static int64_t gcd64(int64_t a, int64_t b) {
  if (a < 0) a = -a;
  if (b < 0) b = -b;
  while (b) { int64_t t = a % b; a = b; b = t; }
  return a;
}

static int64_t atom_multiple(const Expr *e) {
  if (is_loop_var(e)) return gcd64(e->var->loop->step, index_multiple(e->var->loop->lo));
  if (e->kind == EX_SCALAR && e->op == S_MUL) return index_multiple(e->arg[0]) * index_multiple(e->arg[1]);
  return 1;
}

int64_t index_multiple(const Expr *x) {
  Linear l = {0};
  linear_add(&l, (Expr *)x, 1);
  if (l.full) return 1;
  int64_t g = l.k;
  for (int i = 0; i < l.n; i++) g = gcd64(g, l.t[i].c * atom_multiple(l.t[i].e));
  return g < 0 ? -g : g;
}

/* ---- rules ---- */

static bool interact(const Linear *x, const Linear *y) {
  if (x->k && y->k) return true;
  for (int i = 0; i < x->n; i++)
    for (int j = 0; j < y->n; j++)
      if (expr_eq(x->t[i].e, y->t[j].e)) return true;
  return false;
}

/* z + c and z - c: gives z and the constant */
static bool ends_in_const(const Expr *e, Expr **z, int64_t *c) {
  if (e->kind != EX_SCALAR || (e->op != S_ADD && e->op != S_SUB) || e->arg[1]->kind != EX_CONST) return false;
  *z = e->arg[0];
  *c = e->op == S_ADD ? e->arg[1]->i : -e->arg[1]->i;
  return true;
}

/* Index k of l is z % d: is there a term that makes more of it?  (z / d % e) * d + z % d -> z % (d * e) */
static bool meets_quotient(Builder *b, Linear *l, int k) {
  Expr *z = l->t[k].e->arg[0], *d = l->t[k].e->arg[1], *q = ex_div(b, z, d);
  int64_t c = l->t[k].c, wanted;
  if (__builtin_mul_overflow(c, d->i, &wanted)) return false;
  for (int i = 0; i < l->n; i++) {
    Expr *e = l->t[i].e;
    bool whole = expr_eq(e, q),
         part = e->kind == EX_SCALAR && e->op == S_FMOD && e->arg[1]->kind == EX_CONST && expr_eq(e->arg[0], q);
    if (l->t[i].c != wanted || !(whole || part)) continue;
    Expr *rest = l->t[k].e;
    linear_add(l, e, -wanted);
    linear_add(l, rest, -c);
    linear_add(l, whole ? z : ex_rem(b, z, ex_mul(b, d, e->arg[1])), c);
    return true;
  }
  return false;
}

/* (z / d) * d + z % d -> z, as an unflattened index that is flattened again. */
static bool join_quotients(Builder *b, Linear *l) {
  bool joined = false;
  for (int k = 0; k < l->n; k++) {
    Expr *e = l->t[k].e;
    if (e->kind != EX_SCALAR || e->op != S_FMOD || e->arg[1]->kind != EX_CONST || e->arg[1]->i < 1 ||
        e->arg[0]->lo < 0)
      continue;
    if (!meets_quotient(b, l, k)) continue;
    joined = true;
    k = -1;
  }
  return joined;
}

Expr *index_add(Builder *b, Expr *x, Expr *y, int64_t sign) {
  if (y->kind == EX_CONST && y->i == 0) return x;
  if (x->kind == EX_CONST && x->i == 0 && sign > 0) return y;
  Expr *z;
  int64_t c;
  if (sign > 0 && y->kind == EX_SCALAR && (y->op == S_ADD || y->op == S_SUB))   // x + (p + q) -> (x + p) + q
    return ex_scalar(b, y->op, ex_add(b, x, y->arg[0]), y->arg[1], NULL);
  if (y->kind != EX_CONST && x->kind != EX_CONST) {              // constants go last: x + (z + c) -> (x + z) + c
    if (ends_in_const(y, &z, &c))
      return ex_add(b, sign > 0 ? ex_add(b, x, z) : ex_sub(b, x, z), ex_int(b, sign > 0 ? c : -c));
    if (ends_in_const(x, &z, &c)) return ex_add(b, sign > 0 ? ex_add(b, z, y) : ex_sub(b, z, y), ex_int(b, c));
  } else if (y->kind == EX_CONST && ends_in_const(x, &z, &c)) {  // (z + c) + d -> z + (c + d)
    return ex_add(b, z, ex_int(b, c + sign * y->i));
  }
  Linear l = linear_of(x), r = linear_of(y);
  bool negative = y->kind == EX_CONST && sign * y->i < 0 && sign > 0;   // x + -2 is written x - 2
  if (!negative && !interact(&l, &r) && x->kind != EX_CONST) {
    bool minus_negative = y->kind == EX_CONST && sign < 0 && y->i < 0;
    if (!minus_negative) {
      linear_add(&l, y, sign);
      return !l.full && join_quotients(b, &l) && !l.full ? linear_build(b, &l) : NULL;
    }
  }
  linear_add(&l, y, sign);
  return l.full ? NULL : linear_build(b, &l);
}

Expr *index_mul(Builder *b, Expr *x, Expr *y) {
  if (x->kind == EX_CONST) { Expr *t = x; x = y; y = t; }
  if (y->kind != EX_CONST) return NULL;
  if (y->i == 0) return y;
  if (y->i == 1) return x;
  int64_t m;
  if (x->kind == EX_SCALAR && x->op == S_MUL && x->arg[1]->kind == EX_CONST &&
      !__builtin_mul_overflow(x->arg[1]->i, y->i, &m))
    return index_mul(b, x->arg[0], expr_int(b, DT_I64, m));
  Expr *z;
  int64_t c;
  if (ends_in_const(x, &z, &c) && !__builtin_mul_overflow(c, y->i, &m))         // (z + c) * d -> z * d + c * d
    return ex_add(b, index_mul(b, z, y), expr_int(b, DT_I64, m));
  return expr_scalar(b, S_MUL, DT_I64, 1, x, y, NULL);
}

/* x = d * q + r */
static void split(const Linear *x, int64_t d, Linear *q, Linear *r) {
  *q = (Linear){0};
  *r = (Linear){0};
  int64_t down = x->k / d - (x->k % d < 0);                     // keeps the constant part of r in [0, d)
  q->k = down;
  r->k = x->k - down * d;
  for (int i = 0; i < x->n; i++) {
    if (x->t[i].c % d == 0) q->t[q->n++] = (Term){x->t[i].c / d, x->t[i].e};
    else r->t[r->n++] = x->t[i];
  }
}

static bool is_zero(const Linear *l) { return l->n == 0 && l->k == 0; }

/* g: the largest divisor of d such that r splits into g * q + r2 with 0 <= r2 < g; 0: none */
static int64_t common_step(const Linear *r, int64_t d, Linear *q, Linear *r2) {
  int64_t best = 0;
  for (int i = 0; i < r->n; i++) {
    int64_t g = gcd64(r->t[i].c * atom_multiple(r->t[i].e), d);
    if (g <= 1 || g <= best || g == d) continue;
    if (r->t[i].c % g) g = gcd64(r->t[i].c, d);
    if (g <= 1 || g <= best) continue;
    Linear tq, tr;
    split(r, g, &tq, &tr);
    Range in = linear_range(&tr);
    if (in.lo >= 0 && in.hi < g && linear_range(&tq).lo >= 0) { best = g; *q = tq; *r2 = tr; }
  }
  return best;
}

/* Division by an expression d: terms that are a product with d go to q. */
static bool split_symbolic(const Linear *x, Expr *d, Linear *q, Linear *r) {
  *q = (Linear){0};
  *r = (Linear){.k = x->k};
  for (int i = 0; i < x->n; i++) {
    Expr *e = x->t[i].e;
    bool product = e->kind == EX_SCALAR && e->op == S_MUL;
    if (expr_eq(e, d)) q->k += x->t[i].c;
    else if (product && expr_eq(e->arg[1], d)) linear_add(q, e->arg[0], x->t[i].c);
    else if (product && expr_eq(e->arg[0], d)) linear_add(q, e->arg[1], x->t[i].c);
    else r->t[r->n++] = x->t[i];
  }
  if (q->full || (q->n == 0 && q->k == 0 && !is_zero(r) && r->n == x->n && x->n != 1)) return false;
  if (linear_range(r).lo < 0) return false;
  Linear less = *r;
  linear_add(&less, d, -1);
  return !less.full && linear_range_symbolic(&less).hi < 0;
}

static Expr *divide_symbolic(Builder *b, Expr *x, Expr *d, bool remainder) {
  if (x->lo < 0 || d->lo < 1) return NULL;
  Linear l = linear_of(x), q, r;
  if (l.full || !split_symbolic(&l, d, &q, &r)) return NULL;
  return linear_build(b, remainder ? &r : &q);
}

Expr *index_div(Builder *b, Expr *x, Expr *y) {
  if (y->kind != EX_CONST) return divide_symbolic(b, x, y, false);
  int64_t d = y->i;
  if (d == 1) return x;
  if (d < 1) return NULL;
  Linear l = linear_of(x), q, r;
  if (l.full) return NULL;
  split(&l, d, &q, &r);
  if (is_zero(&r)) return linear_build(b, &q);
  if (x->lo < 0) return NULL;
  Range in = linear_range(&r);
  if (in.lo >= 0 && in.hi < d) return linear_build(b, &q);
  if (in.lo >= 0 && !is_zero(&q)) return ex_add(b, linear_build(b, &q), ex_div(b, linear_build(b, &r), y));
  if (is_zero(&q)) {
    Linear q2, r2;
    int64_t g = common_step(&r, d, &q2, &r2);
    if (g) return ex_div(b, linear_build(b, &q2), ex_int(b, d / g));
  }
  if (x->kind == EX_SCALAR && x->op == S_DIV && x->arg[1]->kind == EX_CONST && x->arg[1]->i > 0 && x->arg[0]->lo >= 0)
    return ex_div(b, x->arg[0], ex_int(b, d * x->arg[1]->i));
  return NULL;
}

Expr *index_rem(Builder *b, Expr *x, Expr *y) {
  if (y->kind != EX_CONST) return divide_symbolic(b, x, y, true);
  int64_t d = y->i;
  if (d == 1) return expr_int(b, DT_I64, 0);
  if (d < 1) return NULL;
  Linear l = linear_of(x), q, r;
  if (l.full) return NULL;
  split(&l, d, &q, &r);
  if (is_zero(&r)) return expr_int(b, DT_I64, 0);
  if (x->lo < 0) return NULL;
  Range in = linear_range(&r);
  if (in.lo >= 0 && in.hi < d) return linear_build(b, &r);
  if (in.lo >= 0 && !is_zero(&q)) return ex_rem(b, linear_build(b, &r), y);
  if (is_zero(&q)) {
    Linear q2, r2;
    int64_t g = common_step(&r, d, &q2, &r2);
    if (g)
      return ex_add(b, ex_mul(b, ex_rem(b, linear_build(b, &q2), ex_int(b, d / g)), ex_int(b, g)),
                    linear_build(b, &r2));
  }
  if (x->kind == EX_SCALAR && x->op == S_FMOD && x->arg[1]->kind == EX_CONST && x->arg[1]->i > 0 &&
      x->arg[1]->i % d == 0 && x->arg[0]->lo >= 0)              // (x % (d*k)) % d -> x % d
    return ex_rem(b, x->arg[0], y);
  return NULL;
}

/* ---- ramps ---- */

static bool is_splat(const Expr *e) { return e->kind == EX_SPLAT; }
static Expr *base_of(const Expr *e) { return e->arg[0]; }       // of a splat or a ramp
static int64_t stride_of(const Expr *e) { return e->kind == EX_RAMP ? e->arg[1]->i : 0; }

static Expr *ramp_divide(Builder *b, ScalarOp op, Expr *x, Expr *y) {
  Expr *base = base_of(x), *d = base_of(y);
  int64_t s = stride_of(x);
  if (!is_splat(y) || x->lo < 0 || d->lo < 1) return NULL;
  if (d->kind == EX_CONST && s % d->i == 0)                     // every lane has the base's remainder
    return op == S_DIV ? ex_ramp(b, ex_div(b, base, d), s / d->i, x->lanes) : ex_splat(b, ex_rem(b, base, d), x->lanes);
  if (s < 0) return NULL;
  /* The lanes stay between two multiples of d: base % d is at most d - m where m divides both. */
  int64_t span = s * (x->lanes - 1), m = gcd64(index_multiple(base), index_multiple(d));
  Expr *r = ex_rem(b, base, d);
  bool fits = m > span || (d->kind == EX_CONST && r->hi != INT64_MAX && r->hi + span < d->i);
  if (!fits) return NULL;
  return op == S_DIV ? ex_splat(b, ex_div(b, base, d), x->lanes) : ex_ramp(b, r, s, x->lanes);
}

Expr *ramp_rule(Builder *b, ScalarOp op, Expr *x, Expr *y) {
  int lanes = x->lanes;
  bool linear_x = x->kind == EX_RAMP || is_splat(x), linear_y = y->kind == EX_RAMP || is_splat(y);
  if (!linear_x || !linear_y) return NULL;
  if (op == S_ADD) return ex_ramp(b, ex_add(b, base_of(x), base_of(y)), stride_of(x) + stride_of(y), lanes);
  if (op == S_SUB) return ex_ramp(b, ex_sub(b, base_of(x), base_of(y)), stride_of(x) - stride_of(y), lanes);
  if (op == S_MUL) {
    if (is_splat(x)) { Expr *t = x; x = y; y = t; }
    if (is_splat(y) && base_of(y)->kind == EX_CONST)
      return ex_ramp(b, ex_mul(b, base_of(x), base_of(y)), stride_of(x) * base_of(y)->i, lanes);
  }
  if ((op == S_DIV || op == S_FMOD) && x->kind == EX_RAMP) return ramp_divide(b, op, x, y);
  return NULL;
}
