/* ex_scalar and its kin: builds one operation, simplified.
 *
 * Order: make the element types and lanes agree; fold constants; ramps; lane-uniform vectors become a splat
 * of the scalar operation; then the rules of the element type. Floats get only rules that hold for NaN,
 * infinities and signed zeros. Decisions on integers (compare, min, max, select) use the bounds that every
 * expression carries and, for indices, the bounds of the difference. U64 does not fit those bounds: no rules. */
#include "ir/loop_rules.h"
#include <math.h>

static bool is_const(const Expr *e) { return e->kind == EX_CONST; }
static bool is_uint(DType t) { return dtype_info[t].cls == CLASS_UINT; }

static Expr *fold(Builder *b, ScalarOp op, DType elem, Expr *x, Expr *y, Expr *z) {
  bool where = op == S_WHERE;
  DType in = where ? y->elem : x->elem;
  if (where) return x->i ? y : z;
  if (dtype_is_float(in)) {
    double v = scalar_eval_float(op, x->f, y ? y->f : 0, z ? z->f : 0);
    return elem == DT_BOOL ? expr_int(b, DT_BOOL, v != 0) : expr_float(b, elem, v);
  }
  int64_t p = x->i, q = y ? y->i : 0, r = z ? z->i : 0;
  int64_t v = is_uint(in) ? (int64_t)scalar_eval_uint(op, (uint64_t)p, (uint64_t)q, (uint64_t)r)
                          : scalar_eval_int(op, p, q, r);
  return expr_int(b, elem, v);
}

/* !(x op y) as a comparison; of all else S_ADD, which is none. */
static const ScalarOp inverse[SCALAR_COUNT] = {
  [S_EQ] = S_NE, [S_NE] = S_EQ, [S_LT] = S_GE, [S_GE] = S_LT, [S_GT] = S_LE, [S_LE] = S_GT,
};

/* 1, 0, or -1: not known */
static int compare_ranges(ScalarOp op, int64_t lo, int64_t hi) {  /* of x - y */
  switch (op) {
  case S_LT: return hi < 0 ? 1 : lo >= 0 ? 0 : -1;
  case S_LE: return hi <= 0 ? 1 : lo > 0 ? 0 : -1;
  case S_GT: return lo > 0 ? 1 : hi <= 0 ? 0 : -1;
  case S_GE: return lo >= 0 ? 1 : hi < 0 ? 0 : -1;
  case S_EQ: return lo == 0 && hi == 0 ? 1 : lo > 0 || hi < 0 ? 0 : -1;
  case S_NE: return lo == 0 && hi == 0 ? 0 : lo > 0 || hi < 0 ? 1 : -1;
  default: return -1;
  }
}

static Range difference(Expr *x, Expr *y) {
  if (x->elem == DT_I64 && x->lanes == 1) return index_difference(x, y);
  Range negative = range_mul((Range){y->lo, y->hi}, (Range){-1, -1});
  return range_add((Range){x->lo, x->hi}, negative);
}

static Expr *bool_rule(Builder *b, ScalarOp op, Expr *x, Expr *y) {
  if (op == S_NOT) {
    if (x->kind != EX_SCALAR) return NULL;
    if (x->op == S_NOT) return x->arg[0];
    ScalarOp inv = inverse[x->op];
    bool ordered = !dtype_is_float(x->arg[0]->elem) || x->op == S_EQ || x->op == S_NE;  // !(NaN < 1) is not NaN >= 1
    return inv != S_ADD && ordered ? ex_scalar(b, inv, x->arg[0], x->arg[1], NULL) : NULL;
  }
  if (is_const(x)) { Expr *t = x; x = y; y = t; }
  if (is_const(y)) {
    if (op == S_AND) return y->i ? x : y;
    if (op == S_OR) return y->i ? y : x;
    if (op == S_XOR) return y->i ? ex_scalar(b, S_NOT, x, NULL, NULL) : x;
  }
  if ((op == S_AND || op == S_OR) && expr_eq(x, y)) return x;
  return NULL;
}

static Expr *float_rule(ScalarOp op, Expr *x, Expr *y) {
  if (!y || !is_const(y)) {
    if (op == S_MUL && is_const(x) && x->f == 1) return y;
    return NULL;
  }
  if ((op == S_MUL || op == S_DIV || op == S_POW) && y->f == 1) return x;
  if (op == S_SUB && y->f == 0 && !signbit(y->f)) return x;     // x + 0 would turn -0 into 0
  if (op == S_ADD && y->f == 0 && signbit(y->f)) return x;
  return NULL;
}

static Expr *int_rule(Builder *b, ScalarOp op, Expr *x, Expr *y) {
  if (x->elem == DT_U64) return NULL;
  bool index = x->elem == DT_I64;
  if (scalar_info[op].gives_bool && scalar_info[op].arity == 2) {
    Range d = difference(x, y);
    int known = compare_ranges(op, d.lo, d.hi);
    return known < 0 ? NULL : expr_int(b, DT_BOOL, known);
  }
  switch (op) {
  case S_ADD: return index ? index_add(b, x, y, 1) : is_const(y) && y->i == 0 ? x : is_const(x) && x->i == 0 ? y : NULL;
  case S_SUB: return index ? index_add(b, x, y, -1) : is_const(y) && y->i == 0 ? x : NULL;
  case S_MUL:
    if (index) return index_mul(b, x, y);
    return is_const(y) && y->i == 1 ? x : is_const(x) && x->i == 1 ? y : NULL;
  case S_DIV: return index ? index_div(b, x, y) : is_const(y) && y->i == 1 ? x : NULL;
  case S_FMOD: return index ? index_rem(b, x, y) : NULL;
  case S_MOD: return index && x->lo >= 0 && y->lo >= 1 ? ex_rem(b, x, y) : NULL;
  case S_MIN: case S_MAX: {
    Range d = difference(x, y);
    if (d.hi <= 0) return op == S_MIN ? x : y;
    if (d.lo >= 0) return op == S_MIN ? y : x;
    if (is_const(y) && x->kind == EX_SCALAR && x->op == op && is_const(x->arg[1]))
      return ex_scalar(b, op, x->arg[0], ex_scalar(b, op, x->arg[1], y, NULL), NULL);
    return is_const(x) ? expr_scalar(b, op, x->elem, 1, y, x, NULL) : NULL;
  }
  case S_ABS: return x->lo >= 0 ? x : NULL;
  case S_RELU: return x->lo >= 0 ? x : NULL;
  case S_NEG: return x->kind == EX_SCALAR && x->op == S_NEG ? x->arg[0] : NULL;
  default: return NULL;
  }
}

static Expr *where_rule(Builder *b, Expr *c, Expr *x, Expr *y) {
  if (is_const(c)) return c->i ? x : y;
  if (expr_eq(x, y)) return x;
  if (x->elem == DT_BOOL && is_const(x) && is_const(y)) return x->i ? c : ex_scalar(b, S_NOT, c, NULL, NULL);
  if (c->kind == EX_SCALAR && c->op == S_NOT) return ex_select(b, c->arg[0], y, x);
  return NULL;
}

/* ---- vectors ---- */

static Expr *uniform(Expr *e) { return e->lanes == 1 ? e : e->kind == EX_SPLAT ? e->arg[0] : NULL; }

static Expr *vector_where(Builder *b, int lanes, Expr *c, Expr *x, Expr *y) {
  x = ex_splat(b, x, lanes);
  y = ex_splat(b, y, lanes);
  if (uniform(c)) c = uniform(c);                               // stays lazy
  if (c->lanes > 1 && c->lo == c->hi) return c->lo ? x : y;
  if (is_const(c)) return c->i ? x : y;
  if (expr_eq(x, y)) return x;
  if (c->kind == EX_SCALAR && c->op == S_NOT) return ex_select(b, c->arg[0], y, x);
  return expr_scalar(b, S_WHERE, x->elem, lanes, c, x, y);
}

static Expr *vector_scalar(Builder *b, ScalarOp op, DType elem, int lanes, Expr **a) {
  int n = scalar_info[op].arity;
  bool all = true;
  for (int i = 0; i < n; i++) all &= uniform(a[i]) != NULL;
  if (all) {
    Expr *u[3] = {0};
    for (int i = 0; i < n; i++) u[i] = uniform(a[i]);
    return ex_splat(b, ex_scalar(b, op, u[0], u[1], u[2]), lanes);
  }
  if (op == S_WHERE) return vector_where(b, lanes, a[0], a[1], a[2]);
  for (int i = 0; i < n; i++) a[i] = ex_splat(b, a[i], lanes);
  DType in = a[0]->elem;
  if (in == DT_I64 && n == 2) {
    Expr *r = ramp_rule(b, op, a[0], a[1]);
    if (r) return r;
  }
  if (in == DT_BOOL) {
    Expr *u = uniform(a[0]), *v = n == 2 ? uniform(a[1]) : NULL;
    if (n == 2 && u && is_const(u)) v = u, u = NULL, a[0] = a[1];
    if (v && is_const(v) && op == S_AND) return v->i ? a[0] : ex_splat(b, v, lanes);
    if (v && is_const(v) && op == S_OR) return v->i ? ex_splat(b, v, lanes) : a[0];
    if (u && n == 2 && v) return NULL;
  }
  if (dtype_is_float(in) && n == 2) {
    Expr *u = uniform(a[0]), *v = uniform(a[1]);
    if (v && is_const(v) && float_rule(op, a[0], v)) return a[0];
    if (u && is_const(u) && op == S_MUL && u->f == 1) return a[1];
  }
  if (dtype_is_int(in) && in != DT_U64 && n == 2) {
    Range d = difference(a[0], a[1]);
    if (scalar_info[op].gives_bool) {
      int known = compare_ranges(op, d.lo, d.hi);
      if (known >= 0) return ex_splat(b, expr_int(b, DT_BOOL, known), lanes);
    }
    if (op == S_MIN || op == S_MAX) {
      if (d.hi <= 0) return op == S_MIN ? a[0] : a[1];
      if (d.lo >= 0) return op == S_MIN ? a[1] : a[0];
    }
  }
  return expr_scalar(b, op, elem, lanes, a[0], a[1], a[2]);
}

/* A constant takes the element type of what it is combined with. */
static Expr *retype(Builder *b, Expr *e, DType t) {
  if (e->elem == t) return e;
  Expr *u = uniform(e);
  if (u && is_const(u)) return ex_splat(b, ex_cast(b, t, u), e->lanes);
  return NULL;
}

static void agree(Builder *b, ScalarOp op, Expr **a, int from, int n) {
  for (int i = from; i < n; i++)
    if (!a[i]) BUG("loop builder: '%s' takes %d arguments", scalar_info[op].text, n);
  for (int i = from; i + 1 < n; i++)
    if (a[i]->elem != a[i + 1]->elem) {
      Expr *r = retype(b, a[i + 1], a[i]->elem), *l = retype(b, a[i], a[i + 1]->elem);
      if (r) a[i + 1] = r;
      else if (l) a[i] = l;
      else BUG("loop builder: '%s' of %s and %s", scalar_info[op].text, dtype_info[a[i]->elem].text,
               dtype_info[a[i + 1]->elem].text);
    }
}

Expr *ex_scalar(Builder *b, ScalarOp op, Expr *x, Expr *y, Expr *z) {
  int n = scalar_info[op].arity, lanes = 1;
  Expr *a[3] = {x, n > 1 ? y : NULL, n > 2 ? z : NULL};
  agree(b, op, a, op == S_WHERE ? 1 : 0, n);
  if (op == S_WHERE && (!a[0] || a[0]->elem != DT_BOOL)) BUG("loop builder: a select's condition is not a bool");
  bool all_const = true;
  for (int i = 0; i < n; i++) {
    if (a[i]->lanes > 1 && lanes > 1 && a[i]->lanes != lanes)
      BUG("loop builder: '%s' of %d and %d lanes", scalar_info[op].text, lanes, a[i]->lanes);
    if (a[i]->lanes > 1) lanes = a[i]->lanes;
    all_const &= is_const(a[i]);
  }
  DType elem = scalar_info[op].gives_bool ? DT_BOOL : a[n - 1]->elem;
  if (lanes > 1) return vector_scalar(b, op, elem, lanes, a);
  if (all_const) return fold(b, op, elem, a[0], a[1], a[2]);
  Expr *r = NULL;
  DType in = a[n - 1]->elem;
  if (op == S_WHERE) r = where_rule(b, a[0], a[1], a[2]);
  else if (in == DT_BOOL) r = bool_rule(b, op, a[0], a[1]);
  else if (dtype_is_float(in)) r = float_rule(op, a[0], a[1]);
  else r = int_rule(b, op, a[0], a[1]);
  return r ? r : expr_scalar(b, op, elem, 1, a[0], a[1], a[2]);
}

Expr *ex_fma(Builder *b, Expr *x, Expr *y, Expr *z) {
  int lanes = x->lanes > y->lanes ? x->lanes : y->lanes;
  if (z->lanes > lanes) lanes = z->lanes;
  if (!dtype_is_float(z->elem)) return ex_add(b, ex_mul(b, x, y), z);
  if (is_const(x) && x->f == 1) return ex_add(b, y, z);
  if (is_const(y) && y->f == 1) return ex_add(b, x, z);
  Expr *e = expr_new(b, EX_FMA, z->elem, lanes);
  e->arg[0] = ex_splat(b, x, lanes);
  e->arg[1] = ex_splat(b, y, lanes);
  e->arg[2] = ex_splat(b, z, lanes);
  if (x->elem != z->elem || y->elem != z->elem)
    BUG("loop builder: fma of %s, %s, %s", dtype_info[x->elem].text, dtype_info[y->elem].text,
        dtype_info[z->elem].text);
  return e;
}

/* ---- conversions ---- */

static bool is_narrow(DType t) { return dtype_compute(t) != t || dtype_info[t].bits < 8 * dtype_info[t].bytes; }

static Expr *cast_const(Builder *b, DType to, Expr *x) {
  DType elem = dtype_compute(to);
  double f = dtype_is_float(x->elem) ? x->f : x->elem == DT_U64 ? (double)(uint64_t)x->i : (double)x->i;
  if (elem == DT_BOOL) return expr_int(b, DT_BOOL, dtype_is_float(x->elem) ? x->f != 0 : x->i != 0);
  if (dtype_is_float(to)) {
    if (elem == to) return expr_float(b, elem, f);
    return expr_float(b, elem, narrow_to_float(to, narrow_from_float(to, (float)f, false)));
  }
  if (!dtype_is_float(x->elem)) return expr_int(b, elem, int_wrap(to, x->i));
  if (f != f || f < -9.3e18 || f > 9.2e18) return NULL;         // C leaves it open: the target decides
  return expr_int(b, elem, int_wrap(to, (int64_t)f));
}

void expr_cast_range(Expr *e, DType to) {
  const Expr *x = e->arg[0];
  Range all = type_range(to);
  e->i = (int64_t)to;
  e->lo = all.lo;
  e->hi = all.hi;
  bool integers = !dtype_is_float(x->elem) && x->elem != DT_U64 && to != DT_U64;
  if (integers && x->lo >= all.lo && x->hi <= all.hi) { e->lo = x->lo; e->hi = x->hi; }
}

Expr *ex_cast(Builder *b, DType to, Expr *x) {
  DType elem = dtype_compute(to);
  bool narrow = is_narrow(to);
  if (x->elem == elem && !narrow) return x;
  if (narrow && x->elem == elem && ((x->kind == EX_CAST && x->i == (int64_t)to) ||
                                    (x->kind == EX_LOAD && x->buf->dtype == to)))
    return x;                                                   // already rounded to it
  if (x->kind == EX_SPLAT) return ex_splat(b, ex_cast(b, to, x->arg[0]), x->lanes);
  if (is_const(x)) {
    Expr *c = cast_const(b, to, x);
    if (c) return c;
  }
  if (elem == DT_BOOL) return ex_scalar(b, S_NE, x, ex_splat(b, ex_const(b, x->elem, 0), x->lanes), NULL);
  if (x->elem == DT_BOOL && x->lanes > 1) return ex_select(b, x, ex_const(b, elem, 1), ex_const(b, elem, 0));
  Expr *e = expr_new(b, EX_CAST, elem, x->lanes);
  e->arg[0] = x;
  expr_cast_range(e, to);
  return e;
}

Expr *ex_bits(Builder *b, DType to, Expr *x) {
  if (x->elem == to) return x;
  if (x->kind == EX_SPLAT) return ex_splat(b, ex_bits(b, to, x->arg[0]), x->lanes);
  if (dtype_bytes(to) != dtype_bytes(x->elem))
    BUG("loop builder: bits of %s as %s", dtype_info[x->elem].text, dtype_info[to].text);
  Expr *e = expr_new(b, EX_BITS, to, x->lanes);
  e->arg[0] = x;
  return e;
}
