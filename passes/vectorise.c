/* Turns loops marked FOR_VECTOR into vector code, as Halide does: the index becomes ramp(i, 1, lanes) and the
 * body is built again; whatever depends on the index comes out as a vector, the rest stays scalar.
 *
 * The mark promises that iterations are independent, except that they may combine values into registers
 * declared before the loop, in the form r = op(r, x) (add, mul, max, min) or r = fma(x, y, r). Such a register
 * gets a vector of partial results, combined after the loop. Short bodies that do little else get several of
 * them, so that one addition need not wait for the last.
 *
 * A loop of constant length n ends with halved vectors, each at most once, then one scalar; a long body or a
 * symbolic length with a scalar loop.
 *
 * Guards. A select whose condition depends on the index may keep a load from leaving its buffer (padding). Such
 * conditions hold on an interval of indices; that interval becomes a loop of its own, in which they fold away,
 * between two scalar loops for the borders.
 *
 * Refused, the loop then runs one by one: an if, an inner loop's bounds or a call that depends on the index;
 * a store that is not to consecutive elements; a guard that cannot be split off; integer division that stays a
 * division of vectors; loads that are all gathers. */
#include "base/intern.h"
#include "passes/loops.h"
#include <math.h>

typedef struct Mapped { const Var *from; Expr *to; } Mapped;

/* A register declared outside the loop that the body combines values into. */
typedef struct Partial { Var *r; ScalarOp op; } Partial;

typedef struct Vectorise {
  Builder b;
  const Stmt *loop;
  int lanes;                          /* of the whole loop; tails use fewer */
  int width;                          /* lanes being built now */
  VEC(const Var *) varying;           /* depend on the index */
  VEC(Partial) partials;
  VEC(Mapped) map;
  VEC(Expr *) guards;                 /* conditions that keep loads in bounds and depend on the index */
  bool stores;
  int weight;                         /* nodes in the body, for the choice of accumulators and tails */
  bool has_loops;
  bool at_once;                       /* partials are combined into their scalar right away */
  int consecutive, gathers, maths;    /* loads and expensive functions seen while building */
  bool refused;
} Vectorise;

/* ---- what depends on the index ---- */

static bool is_varying_var(const Vectorise *v, const Var *x) {
  if (x == v->loop->var) return true;
  for (int i = 0; i < v->varying.len; i++)
    if (v->varying.at[i] == x) return true;
  return false;
}

static bool is_varying(const Vectorise *v, const Expr *e) {
  if (e->kind == EX_VAR) return is_varying_var(v, e->var);
  for (int i = 0; i < 3 && e->arg[i]; i++)
    if (is_varying(v, e->arg[i])) return true;
  return false;
}

static bool find_varying(Vectorise *v, const Block *s) {        /* true: found another */
  bool found = false;
  for (int i = 0; i < s->stmts.len; i++) {
    const Stmt *t = s->stmts.at[i];
    if ((t->kind == ST_LET || t->kind == ST_SET) && !is_varying_var(v, t->var) && is_varying(v, t->value)) {
      *vec_push(v->b.arena, &v->varying) = t->var;
      found = true;
    }
    if (t->body) found |= find_varying(v, t->body);
    if (t->other) found |= find_varying(v, t->other);
  }
  return found;
}

/* ---- legality, on the loop as it is ---- */

static int count_uses(const Expr *e, const Var *x) {
  int n = e->kind == EX_VAR && e->var == x;
  for (int i = 0; i < 3 && e->arg[i]; i++) n += count_uses(e->arg[i], x);
  return n;
}

static int count_uses_in(const Block *s, const Var *x) {
  int n = 0;
  for (int i = 0; i < s->stmts.len; i++) {
    const Stmt *t = s->stmts.at[i];
    Expr *e[5] = {t->lo, t->hi, t->cond, t->index, t->value};
    for (int j = 0; j < 5; j++) n += e[j] ? count_uses(e[j], x) : 0;
    for (int j = 0; j < t->nargs; j++) n += count_uses(t->args[j], x);
    if (t->body) n += count_uses_in(t->body, x);
    if (t->other) n += count_uses_in(t->other, x);
  }
  return n;
}

static bool declares(const Block *s, const Var *x) {
  for (int i = 0; i < s->stmts.len; i++) {
    const Stmt *t = s->stmts.at[i];
    if (t->kind == ST_LET && t->var == x) return true;
    if ((t->body && declares(t->body, x)) || (t->other && declares(t->other, x))) return true;
  }
  return false;
}

static bool is_var(const Expr *e, const Var *x) { return e->kind == EX_VAR && e->var == x; }

/* r = op(r, x): gives op and x. fma(x, y, r) combines with add; `value` is then the fma itself. */
static bool combination(const Stmt *s, ScalarOp *op, Expr **value) {
  Expr *e = s->value;
  const Var *r = s->var;
  if (count_uses(e, r) != 1) return false;
  if (e->kind == EX_FMA) { *op = S_ADD; *value = e; return is_var(e->arg[2], r); }
  if (e->kind != EX_SCALAR || (e->op != S_ADD && e->op != S_MUL && e->op != S_MAX && e->op != S_MIN)) return false;
  *op = e->op;
  *value = is_var(e->arg[0], r) ? e->arg[1] : e->arg[0];
  return is_var(e->arg[0], r) || is_var(e->arg[1], r);
}

static bool contains(const Expr *in, const Expr *e) {
  if (expr_eq(in, e)) return true;
  for (int i = 0; i < 3 && in->arg[i]; i++)
    if (contains(in->arg[i], e)) return true;
  return false;
}

static bool in_bounds(Vectorise *v, const Expr *load) {
  int64_t yes;
  Expr *i = load->arg[0];
  Kernel *k = v->b.kernel;
  int dims = k->dims.len;
  bool ok = i->lo >= 0 && ex_is_int(ex_lt(&v->b, i, ex_dim(&v->b, load->buf->size)), &yes) && yes;
  k->dims.len = k->dim_vars.len = dims;                         // the question must not add a parameter
  return ok;
}

/* May e be computed whether or not `cond` holds? `cond` itself always is. */
static bool speculative(Vectorise *v, const Expr *cond, const Expr *e) {
  if (e->kind == EX_LOAD && !contains(cond, e) && !in_bounds(v, e)) return false;
  for (int i = 0; i < 3 && e->arg[i]; i++)
    if (!speculative(v, cond, e->arg[i])) return false;
  return true;
}

static void add_guards(Vectorise *v, Expr *cond) {               /* a and b and …, those that depend on the index */
  if (cond->kind == EX_SCALAR && cond->op == S_AND) {
    add_guards(v, cond->arg[0]);
    add_guards(v, cond->arg[1]);
  } else if (is_varying(v, cond)) {
    *vec_push(v->b.arena, &v->guards) = cond;
  }
}

static bool expr_legal(Vectorise *v, const Expr *e) {
  v->weight++;
  if (e->lanes > 1) return false;                               // already vector code
  if (e->kind == EX_SCALAR && e->op == S_WHERE && is_varying(v, e->arg[0]) &&
      !(speculative(v, e->arg[0], e->arg[1]) && speculative(v, e->arg[0], e->arg[2])))
    add_guards(v, e->arg[0]);
  for (int i = 0; i < 3 && e->arg[i]; i++)
    if (!expr_legal(v, e->arg[i])) return false;
  return true;
}

static bool set_legal(Vectorise *v, const Stmt *s) {
  ScalarOp op;
  Expr *value;
  if (declares(v->loop->body, s->var)) return true;
  if (!combination(s, &op, &value)) return false;
  for (int i = 0; i < v->partials.len; i++)
    if (v->partials.at[i].r == s->var) return v->partials.at[i].op == op;
  *vec_push(v->b.arena, &v->partials) = (Partial){s->var, op};
  return true;
}

static bool block_legal(Vectorise *v, const Block *s) {
  for (int i = 0; i < s->stmts.len; i++) {
    const Stmt *t = s->stmts.at[i];
    switch (t->kind) {
    case ST_BLOCK: case ST_NOTE: break;
    case ST_CALL: case ST_PREFETCH: return false;
    case ST_FOR:
      v->has_loops = true;
      if (is_varying(v, t->lo) || is_varying(v, t->hi) || !expr_legal(v, t->lo) || !expr_legal(v, t->hi)) return false;
      break;
    case ST_IF: if (is_varying(v, t->cond) || !expr_legal(v, t->cond)) return false; break;
    case ST_LET: if (!expr_legal(v, t->value)) return false; break;
    case ST_SET: if (!expr_legal(v, t->value) || !set_legal(v, t)) return false; break;
    case ST_STORE:
      if (!expr_legal(v, t->value) || !expr_legal(v, t->index) || !is_varying(v, t->index)) return false;
      v->stores = true;
      break;
    case STMT_COUNT: return false;
    }
    if (t->body && !block_legal(v, t->body)) return false;
    if (t->other && !block_legal(v, t->other)) return false;
  }
  return true;
}

/* Partial results must not be seen inside the loop: every use is the one in its own combination. */
static int count_sets(const Block *s, const Var *r) {
  int n = 0;
  for (int i = 0; i < s->stmts.len; i++) {
    const Stmt *t = s->stmts.at[i];
    n += t->kind == ST_SET && t->var == r;
    if (t->body) n += count_sets(t->body, r);
    if (t->other) n += count_sets(t->other, r);
  }
  return n;
}

static bool partials_private(const Vectorise *v) {
  for (int i = 0; i < v->partials.len; i++) {
    const Var *r = v->partials.at[i].r;
    if (count_uses_in(v->loop->body, r) != count_sets(v->loop->body, r)) return false;
  }
  return true;
}

/* ---- lanes ---- */

static void widest(const Vectorise *v, const Expr *e, int *bytes) {
  /* I64 that only computes indices does not count: it is in a load's or store's index, or invariant */
  if (e->kind == EX_LOAD) {
    if (is_varying(v, e) && dtype_bytes(e->elem) > *bytes) *bytes = dtype_bytes(e->elem);
    return;
  }
  if (is_varying(v, e) && e->elem != DT_BOOL && dtype_bytes(e->elem) > *bytes) *bytes = dtype_bytes(e->elem);
  for (int i = 0; i < 3 && e->arg[i]; i++) widest(v, e->arg[i], bytes);
}

static void widest_in(const Vectorise *v, const Block *s, int *bytes) {
  for (int i = 0; i < s->stmts.len; i++) {
    const Stmt *t = s->stmts.at[i];
    bool index_let = t->kind == ST_LET && !t->var->mutable && t->var->elem == DT_I64;   // counts where it is used
    if (t->value && !index_let) widest(v, t->value, bytes);
    if (t->kind == ST_STORE && dtype_bytes(t->buf->dtype) > *bytes) *bytes = dtype_bytes(t->buf->dtype);
    if (t->body) widest_in(v, t->body, bytes);
    if (t->other) widest_in(v, t->other, bytes);
  }
}

/* ---- building ---- */

static void remember(Vectorise *v, const Var *from, Expr *to) { *vec_push(v->b.arena, &v->map) = (Mapped){from, to}; }

static Expr *mapped(const Vectorise *v, const Var *x) {
  for (int i = v->map.len - 1; i >= 0; i--)
    if (v->map.at[i].from == x) return v->map.at[i].to;
  return NULL;
}

static Expr *substitute(Builder *b, Expr *e, void *ctx) {
  (void)b;
  Vectorise *v = ctx;
  if (e->kind == EX_VAR) {
    Expr *to = mapped(v, e->var);
    return to ? to : e;
  }
  if (e->lanes > 1 && e->kind == EX_LOAD) {
    bool consecutive = e->arg[0]->kind == EX_RAMP && e->arg[0]->arg[1]->i == 1;
    if (consecutive) v->consecutive++;
    else v->gathers++;
  }
  if (e->lanes > 1 && e->kind == EX_SCALAR && dtype_is_float(e->elem) && scalar_info[e->op].libm) v->maths++;
  if (e->lanes > 1 && e->kind == EX_SCALAR && !dtype_is_float(e->elem) &&
      (e->op == S_DIV || e->op == S_FMOD || e->op == S_MOD))
    v->refused = true;
  return e;
}

static Expr *build(Vectorise *v, Expr *e) { return expr_map(&v->b, e, substitute, v); }

static void build_block(Vectorise *v, const Block *s);

static bool is_partial(const Vectorise *v, const Var *r) {
  for (int i = 0; i < v->partials.len; i++)
    if (v->partials.at[i].r == r) return true;
  return false;
}

/* r = op(r, x) -> r = op(r, reduce(x)): no vector of partial results for a vector that comes but once */
static void set_at_once(Vectorise *v, const Stmt *s) {
  Builder *b = &v->b;
  ScalarOp op = S_ADD;
  Expr *x = NULL;
  combination(s, &op, &x);
  x = x->kind == EX_FMA && s->value == x ? ex_mul(b, build(v, x->arg[0]), build(v, x->arg[1])) : build(v, x);
  st_set(b, s->var, ex_scalar(b, op, ex_var(b, s->var), ex_reduce(b, op, ex_splat(b, x, v->width)), NULL));
}

static void build_stmt(Vectorise *v, const Stmt *s) {
  Builder *b = &v->b;
  switch (s->kind) {
  case ST_BLOCK: build_block(v, s->body); return;
  case ST_NOTE: if (v->width == v->lanes) st_note(b, "%s", s->text); return;
  case ST_FOR:
    remember(v, s->var, loop_begin(b, var_wish(s->var), build(v, s->lo), build(v, s->hi), s->step,
                                   s->mode & ~FOR_VECTOR));
    build_block(v, s->body);
    loop_end(b);
    return;
  case ST_IF:
    if_begin(b, build(v, s->cond));
    build_block(v, s->body);
    if (s->other) { if_else(b); build_block(v, s->other); }
    if_end(b);
    return;
  case ST_LET: {
    Expr *x = build(v, s->value);
    if (!s->var->mutable) { remember(v, s->var, let(b, var_wish(s->var), x)); return; }
    if (is_varying_var(v, s->var)) x = ex_splat(b, x, v->width);
    remember(v, s->var, ex_var(b, reg(b, var_wish(s->var), x)));
    return;
  }
  case ST_SET: {
    if (v->at_once && is_partial(v, s->var)) { set_at_once(v, s); return; }
    Expr *to = mapped(v, s->var);
    st_set(b, to ? to->var : s->var, build(v, s->value));
    return;
  }
  case ST_STORE: {
    Expr *i = build(v, s->index);
    if (v->width > 1 && !(i->kind == EX_RAMP && i->arg[1]->i == 1)) { v->refused = true; return; }
    st_store(b, s->buf, i, build(v, s->value));
    return;
  }
  case ST_CALL: case ST_PREFETCH: case STMT_COUNT: break;
  }
  BUG("vectorise: statement kind %d", (int)s->kind);
}

static void build_block(Vectorise *v, const Block *s) {
  for (int i = 0; i < s->stmts.len && !v->refused; i++) build_stmt(v, s->stmts.at[i]);
}

/* ---- reductions ---- */

static Expr *identity(Builder *b, ScalarOp op, DType t) {
  bool flt = dtype_is_float(t);
  switch (op) {
  case S_MUL: return ex_const(b, t, 1);
  case S_MAX: case S_MIN: {
    if (flt) return ex_const(b, t, op == S_MAX ? -(double)INFINITY : (double)INFINITY);
    int bits = dtype_info[t].bits;
    bool sign = dtype_is_signed(t);
    uint64_t top = sign ? ((uint64_t)1 << (bits - 1)) - 1 : bits == 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
    return ex_const_int(b, t, (int64_t)(op == S_MIN ? top : sign ? ~top : 0));
  }
  default: return ex_const(b, t, 0);
  }
}

/* The body for lanes [i, i + width) with the partials mapped to `acc` (one row of a set of accumulators). */
static void body_at(Vectorise *v, Expr *i, int width, Var **acc) {
  int mark = v->map.len;
  v->width = width;
  remember(v, v->loop->var, ex_ramp(&v->b, i, 1, width));
  for (int p = 0; acc && p < v->partials.len; p++) remember(v, v->partials.at[p].r, ex_var(&v->b, acc[p]));
  build_block(v, v->loop->body);
  v->map.len = mark;
}

enum { MAX_SETS = 4 };

static void loop_over(Vectorise *v, Expr *lo, Expr *hi, int width, int sets, Var ***acc) {
  Expr *i = loop_begin(&v->b, var_wish(v->loop->var), lo, hi, (int64_t)width * sets, v->loop->mode & FOR_PARALLEL);
  for (int s = 0; s < sets; s++)
    body_at(v, ex_add(&v->b, i, ex_int(&v->b, (int64_t)s * width)), width, acc ? acc[s] : NULL);
  loop_end(&v->b);
}

static Var **accumulators(Vectorise *v, int width) {
  Var **acc = NEW_N(v->b.arena, Var *, v->partials.len);
  for (int p = 0; p < v->partials.len; p++) {
    const Var *r = v->partials.at[p].r;
    char name[80];
    snprintf(name, sizeof name, "%s_v", var_wish(r));
    acc[p] = reg(&v->b, name, ex_splat(&v->b, identity(&v->b, v->partials.at[p].op, r->elem), width));
  }
  return acc;
}

static void combine(Vectorise *v, Var **into, Var *const *from) {
  for (int p = 0; p < v->partials.len; p++)
    st_set(&v->b, into[p],
           ex_scalar(&v->b, v->partials.at[p].op, ex_var(&v->b, into[p]), ex_var(&v->b, from[p]), NULL));
}

static void combine_lanes(Vectorise *v, Var *const *acc) {
  for (int p = 0; p < v->partials.len; p++) {
    Var *r = v->partials.at[p].r;
    Expr *x = ex_reduce(&v->b, v->partials.at[p].op, ex_var(&v->b, acc[p]));
    st_set(&v->b, r, ex_scalar(&v->b, v->partials.at[p].op, ex_var(&v->b, r), x, NULL));
  }
}

/* Enough independent sums to fill the latency of one addition; none for bodies that are long anyway. */
static int accumulator_sets(const Vectorise *v) {
  if (!v->partials.len || v->has_loops) return 1;
  return v->weight <= 12 ? 4 : v->weight <= 24 ? 2 : 1;
}

static Expr *round_down(Vectorise *v, Expr *lo, Expr *span, int64_t unit) {
  Builder *b = &v->b;
  return ex_add(b, lo, ex_mul(b, ex_div(b, span, ex_int(b, unit)), ex_int(b, unit)));
}

/* The part of the loop in whole vectors of the target, which ends at `end`. */
static void main_part(Vectorise *v, Expr *lo, Expr *end, Expr *span) {
  Builder *b = &v->b;
  int64_t n;
  bool known = ex_is_int(span, &n);
  if (!v->partials.len) {
    loop_over(v, lo, end, v->lanes, 1, NULL);
    return;
  }
  int sets = accumulator_sets(v);
  while (known && sets > 1 && n / v->lanes < 2 * sets) sets /= 2;
  Var **acc[MAX_SETS];
  for (int s = 0; s < sets; s++) acc[s] = accumulators(v, v->lanes);
  Expr *at = lo;
  if (sets > 1) {
    at = round_down(v, lo, span, (int64_t)v->lanes * sets);
    if (!known) at = let(b, "most", at);
    loop_over(v, lo, at, v->lanes, sets, acc);
    for (int step = 1; step < sets; step *= 2)
      for (int s = 0; s + step < sets; s += 2 * step) combine(v, acc[s], acc[s + step]);
  }
  loop_over(v, at, end, v->lanes, 1, acc);
  combine_lanes(v, acc[0]);
}

static void tail_part(Vectorise *v, Expr *at, Expr *hi) {
  Builder *b = &v->b;
  int64_t rest;
  bool known = ex_is_int(ex_sub(b, hi, at), &rest), small = v->weight <= 120;
  for (int w = v->lanes / 2; known && small && w >= 2; w /= 2) {
    if (rest < w) continue;
    v->at_once = !v->has_loops;
    Var **acc = v->partials.len && !v->at_once ? accumulators(v, w) : NULL;
    body_at(v, at, w, acc);
    if (acc) combine_lanes(v, acc);
    v->at_once = false;
    at = ex_add(b, at, ex_int(b, w));
    rest -= w;
  }
  loop_over(v, at, hi, 1, 1, NULL);
}

/* ---- guards ---- */

static bool guards_hold(Vectorise *v, int64_t at) {
  Expr *i = ex_int(&v->b, at);
  for (int g = 0; g < v->guards.len; g++) {
    int64_t yes;
    if (!ex_is_int(expr_subst(&v->b, v->guards.at[g], v->loop->var, i), &yes) || !yes) return false;
  }
  return true;
}

/* Some index where all guards hold, or -1: the middle, then halves between. */
static int64_t guarded_index(Vectorise *v, int64_t lo, int64_t hi) {
  for (int64_t parts = 2; parts <= 16; parts *= 2)
    for (int64_t p = 1; p < parts; p += 2) {
      int64_t at = lo + (hi - lo) * p / parts;
      if (guards_hold(v, at)) return at;
    }
  return -1;
}

/* The largest interval [from, to) where all guards hold: they are linear in the index, so the set is an interval.
 * (A guard that is not makes the part in between be refused later.) */
static bool guarded_interval(Vectorise *v, int64_t lo, int64_t hi, int64_t *from, int64_t *to) {
  int64_t mid = guarded_index(v, lo, hi), a = lo, b = mid;
  if (mid < lo) return false;
  while (a < b) {                                               // the first that holds is in [a, b]
    int64_t m = a + (b - a) / 2;
    if (guards_hold(v, m)) b = m;
    else a = m + 1;
  }
  *from = a;
  a = mid;
  b = hi - 1;
  while (a < b) {                                               // the last that holds is in [a, b]
    int64_t m = b - (b - a) / 2;
    if (guards_hold(v, m)) a = m;
    else b = m - 1;
  }
  *to = a + 1;
  return true;
}

static bool vectorise_loop(Arena *a, Kernel *k, Stmt *s, int lanes, Block *to);

static bool split_guards(Vectorise *v, Kernel *k, int lanes) {
  Builder *b = &v->b;
  Block *result = b->at, inner = {0};
  int64_t lo, hi, from, to;
  if (!ex_is_int(v->loop->lo, &lo) || !ex_is_int(v->loop->hi, &hi) || hi - lo < 4) return false;
  if (!guarded_interval(v, lo, hi, &from, &to) || to - from < 4) return false;
  b->at = &inner;
  remember(v, v->loop->var, loop_begin(b, var_wish(v->loop->var), ex_int(b, from), ex_int(b, to), 1, v->loop->mode));
  build_block(v, v->loop->body);
  loop_end(b);
  v->map.len = 0;
  if (inner.stmts.len != 1) return false;
  b->at = result;
  bool parallel = v->loop->mode & FOR_PARALLEL;
  if (parallel) par_begin(b);
  loop_over(v, v->loop->lo, ex_int(b, from), 1, 1, NULL);
  if (parallel) par_next(b);
  if (!vectorise_loop(b->arena, k, inner.stmts.at[0], lanes, b->at)) return false;
  if (parallel) par_next(b);
  loop_over(v, ex_int(b, to), v->loop->hi, 1, 1, NULL);
  if (parallel) par_end(b);
  return true;
}

/* ---- one loop, then all ---- */

static bool vectorise_loop(Arena *a, Kernel *k, Stmt *s, int lanes, Block *to) {
  Vectorise v = {.b = {.arena = a, .kernel = k, .at = to}, .loop = s};
  int bytes = 4;
  if (s->step != 1) return false;
  while (find_varying(&v, s->body)) continue;
  if (!block_legal(&v, s->body) || !partials_private(&v)) return false;
  if (!v.partials.len && !v.stores) return false;
  v.width = 1;
  if (v.guards.len) return split_guards(&v, k, lanes);
  widest_in(&v, s->body, &bytes);
  Expr *span = ex_sub(&v.b, s->hi, s->lo);
  v.lanes = bytes > 4 ? lanes / 2 : lanes;
  while (v.lanes > 1 && span->hi < v.lanes) v.lanes /= 2;
  if (v.lanes < 2) return false;
  Expr *whole = round_down(&v, s->lo, span, v.lanes);
  if (!ex_is_int(span, NULL)) whole = let(&v.b, "whole", whole);
  bool parallel = s->mode & FOR_PARALLEL;
  if (parallel) par_begin(&v.b);
  main_part(&v, s->lo, whole, span);
  if (v.refused || (v.gathers && !v.consecutive && !v.maths)) return false;
  if (parallel) par_next(&v.b);
  tail_part(&v, whole, s->hi);
  if (parallel) par_end(&v.b);
  return !v.refused;
}

static void visit(Arena *a, Kernel *k, Block *s, int lanes) {
  if (!s) return;
  Block old = *s;
  *s = (Block){0};
  for (int i = 0; i < old.stmts.len; i++) {
    Stmt *t = old.stmts.at[i];
    if (t->kind == ST_FOR && t->mode & FOR_VECTOR) {
      Block made = {0};
      if (lanes > 1 && vectorise_loop(a, k, t, lanes, &made)) {
        for (int j = 0; j < made.stmts.len; j++) *vec_push(a, &s->stmts) = made.stmts.at[j];
        continue;
      }
      t->mode &= FOR_PARALLEL;
    }
    visit(a, k, t->body, lanes);
    visit(a, k, t->other, lanes);
    *vec_push(a, &s->stmts) = t;
  }
}

void kernel_vectorise(Arena *a, Kernel *k, const Target *t) {
  visit(a, k, k->body, t->lanes);
  k->target_lanes = t->lanes;
  kernel_finish(k);
}
