/* Walking and rebuilding the loop IR. A rebuilt tree goes through the builders again, so a substituted
 * constant folds everything above it. Variables declared inside a rebuilt block get fresh copies; a loop or
 * let that dissolved is replaced by what it became. */
#include "ir/loop_rules.h"

typedef struct Rebuild {
  Builder *b;
  ExprMap f;
  void *ctx;
  VEC(struct { const Var *from; Expr *to; }) vars;
} Rebuild;

static Expr *rebuilt(Builder *b, Expr *e, Expr **a) {
  switch (e->kind) {
  case EX_CONST: case EX_VAR: return e;
  case EX_LOAD: return ex_load(b, e->buf, a[0]);
  case EX_SCALAR: return ex_scalar(b, e->op, a[0], a[1], a[2]);
  case EX_FMA: return ex_fma(b, a[0], a[1], a[2]);
  case EX_CAST: return ex_cast(b, (DType)e->i, a[0]);
  case EX_BITS: return ex_bits(b, e->elem, a[0]);
  case EX_SPLAT: return ex_splat(b, a[0], e->lanes);
  case EX_RAMP: return ex_ramp(b, a[0], e->arg[1]->i, e->lanes);
  case EX_REDUCE: return ex_reduce(b, e->op, a[0]);
  case EX_PART: return ex_part(b, a[0], (int)e->i, e->lanes);
  case EXPR_COUNT: break;
  }
  BUG("loop IR: expression kind %d", (int)e->kind);
}

static Expr *map(Rebuild *r, Expr *e) {
  if (e->kind == EX_VAR)
    for (int i = r->vars.len - 1; i >= 0; i--)
      if (r->vars.at[i].from == e->var) return r->vars.at[i].to;
  Expr *a[3] = {0};
  bool changed = false;
  for (int i = 0; i < 3 && e->arg[i]; i++) {
    a[i] = map(r, e->arg[i]);
    changed |= a[i] != e->arg[i];
  }
  Expr *n = changed ? rebuilt(r->b, e, a) : e;
  Expr *m = r->f ? r->f(r->b, n, r->ctx) : n;
  return m ? m : n;
}

Expr *expr_map(Builder *b, Expr *e, ExprMap f, void *ctx) {
  Rebuild r = {.b = b, .f = f, .ctx = ctx};
  return map(&r, e);
}

typedef struct Subst { const Var *v; Expr *by; } Subst;

static Expr *subst(Builder *b, Expr *e, void *ctx) {
  (void)b;
  const Subst *s = ctx;
  return e->kind == EX_VAR && e->var == s->v ? s->by : e;
}

Expr *expr_subst(Builder *b, Expr *e, const Var *v, Expr *by) {
  Subst s = {v, by};
  return expr_map(b, e, subst, &s);
}

static void remember(Rebuild *r, const Var *from, Expr *to) {
  vec_push(r->b->arena, &r->vars);
  r->vars.at[r->vars.len - 1].from = from;
  r->vars.at[r->vars.len - 1].to = to;
}

static Var *target_of(Rebuild *r, Var *v) {
  for (int i = r->vars.len - 1; i >= 0; i--)
    if (r->vars.at[i].from == v) return r->vars.at[i].to->var;
  return v;
}

static void map_stmts(Rebuild *r, const Block *s);

static void map_stmt(Rebuild *r, const Stmt *s) {
  Builder *b = r->b;
  switch (s->kind) {
  case ST_BLOCK:
    if (s->mode != FOR_PARALLEL) { map_stmts(r, s->body); return; }
    par_begin(b);
    for (int i = 0; i < s->body->stmts.len; i++) {
      if (i) par_next(b);
      map_stmt(r, s->body->stmts.at[i]);
    }
    par_end(b);
    return;
  case ST_FOR:
    remember(r, s->var, loop_begin(b, var_wish(s->var), map(r, s->lo), map(r, s->hi), s->step, s->mode));
    map_stmts(r, s->body);
    loop_end(b);
    return;
  case ST_IF:
    if_begin(b, map(r, s->cond));
    map_stmts(r, s->body);
    if (s->other) { if_else(b); map_stmts(r, s->other); }
    if_end(b);
    return;
  case ST_LET: {
    Expr *v = map(r, s->value);
    remember(r, s->var, s->var->mutable ? ex_var(b, reg(b, var_wish(s->var), v)) : let_within(b, var_wish(s->var), v, s->var->lo, s->var->hi));
    return;
  }
  case ST_SET: st_set(b, target_of(r, s->var), map(r, s->value)); return;
  case ST_STORE: st_store(b, s->buf, map(r, s->index), map(r, s->value)); return;
  case ST_PREFETCH: st_prefetch(b, s->buf, map(r, s->index)); return;
  case ST_CALL: {
    Expr **args = NEW_N(b->arena, Expr *, s->nargs);
    for (int i = 0; i < s->nargs; i++) args[i] = map(r, s->args[i]);
    st_call(b, s->text, s->bufs, s->nbufs, args, s->nargs);
    return;
  }
  case ST_NOTE: st_note(b, "%s", s->text); return;
  case STMT_COUNT: break;
  }
  BUG("loop IR: statement kind %d", (int)s->kind);
}

static void map_stmts(Rebuild *r, const Block *s) {
  for (int i = 0; i < s->stmts.len; i++) map_stmt(r, s->stmts.at[i]);
}

Block *block_map(Builder *b, const Block *s, ExprMap f, void *ctx) {
  Rebuild r = {.b = b, .f = f, .ctx = ctx};
  Block *outer = b->at, *made = NEW(b->arena, Block);
  b->at = made;
  map_stmts(&r, s);
  b->at = outer;
  return made;
}

bool expr_uses(const Expr *e, const Var *v) {
  if (e->kind == EX_VAR) return e->var == v;
  for (int i = 0; i < 3 && e->arg[i]; i++)
    if (expr_uses(e->arg[i], v)) return true;
  return false;
}

bool expr_eq(const Expr *x, const Expr *y) {
  if (x == y) return true;
  if (x->kind != y->kind || x->elem != y->elem || x->lanes != y->lanes || x->var != y->var || x->buf != y->buf)
    return false;
  if ((x->kind == EX_SCALAR || x->kind == EX_REDUCE) && x->op != y->op) return false;
  if (x->kind == EX_CONST && dtype_is_float(x->elem)) return memcmp(&x->f, &y->f, sizeof x->f) == 0;
  if ((x->kind == EX_CONST || x->kind == EX_CAST || x->kind == EX_PART) && x->i != y->i) return false;
  for (int i = 0; i < 3; i++) {
    if (!x->arg[i] != !y->arg[i]) return false;
    if (x->arg[i] && !expr_eq(x->arg[i], y->arg[i])) return false;
  }
  return true;
}
