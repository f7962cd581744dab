/* Loops marked FOR_UNROLL -> their body once per index, which then folds; without constant bounds, or when that
 * would be long, FOR_SEQ. The budget keeps a kernel within the instruction cache: repeated work gains nothing
 * from more copies than hide its latency.
 *
 * An innermost loop that takes its index apart by a small constant, as those over shuffled channels and over pixels
 * between blocks, runs that many at a time: quotient and remainder fold away. One of few, short iterations that
 * wait for nothing is copied out, too: compilers keep it. */
#include "passes/loops.h"

enum { MAX_TRIPS = 64, MAX_STATEMENTS = 1024 };

static int statements(const Block *s) {
  int n = 0;
  for (int i = 0; s && i < s->stmts.len; i++)
    n += 1 + statements(s->stmts.at[i]->body) + statements(s->stmts.at[i]->other);
  return n;
}

typedef struct Index { const Var *var; Expr *by; } Index;

static Expr *replace_index(Builder *b, Expr *e, void *ctx) {
  (void)b;
  const Index *x = ctx;
  return e->kind == EX_VAR && e->var == x->var ? x->by : e;
}

static bool affordable(const Stmt *s, int64_t *lo, int64_t *hi) {
  if (!ex_is_int(s->lo, lo) || !ex_is_int(s->hi, hi)) return false;
  int64_t trips = (*hi - *lo + s->step - 1) / s->step;
  return trips <= MAX_TRIPS && trips * statements(s->body) <= MAX_STATEMENTS;
}

static bool is_innermost(const Stmt *loop) {
  for (int i = 0; i < loop->body->stmts.len; i++) if (loop->body->stmts.at[i]->body) return false;
  return true;
}

/* Does it do less than what a loop takes to begin and end? Sums stay loops: their terms wait for each other. */
static bool is_short(const Stmt *s) {
  enum { FEW_TRIPS = 4, FEW_STATEMENTS = 2 };
  int64_t lo, hi;
  return ex_is_int(s->lo, &lo) && ex_is_int(s->hi, &hi) && s->mode == FOR_PARALLEL && s->step == 1 &&
         hi - lo <= FEW_TRIPS && is_innermost(s) && s->body->stmts.len <= FEW_STATEMENTS;
}

typedef struct Divisor { const Var *var; int64_t by; } Divisor;

static Expr *note_divisor(Builder *b, Expr *e, void *ctx) {
  (void)b;
  Divisor *d = ctx;
  bool divides = e->kind == EX_SCALAR && (e->op == S_DIV || e->op == S_FMOD) && e->arg[0]->kind == EX_VAR &&
      e->arg[0]->var == d->var && e->arg[1]->kind == EX_CONST;
  if (divides && (!d->by || e->arg[1]->i < d->by)) d->by = e->arg[1]->i;
  return e;
}

/* The loop with `by` copies of its body, for index * by, index * by + 1, … */
static void run_several(Builder *b, Stmt *t) {
  enum { MOST = 8 };
  int64_t lo, hi;
  if (!ex_is_int(t->lo, &lo) || !ex_is_int(t->hi, &hi) || lo || t->step != 1) return;
  if (!is_innermost(t)) return;
  Divisor d = {t->var, 0};
  block_map(b, t->body, note_divisor, &d);
  if (d.by < 2 || d.by > MOST || hi % d.by) return;
  Block *all = NEW(b->arena, Block);
  // another variable: what folds to it is not replaced again
  t->var = arena_dup(b->arena, t->var, sizeof *t->var);
  t->var->hi = hi / d.by - 1;
  for (int64_t k = 0; k < d.by; k++) {
    Index x = {d.var, ex_add(b, ex_mul(b, ex_var(b, t->var), ex_int(b, d.by)), ex_int(b, k))};
    Block *copy = block_map(b, t->body, replace_index, &x);
    for (int j = 0; j < copy->stmts.len; j++) *vec_push(b->arena, &all->stmts) = copy->stmts.at[j];
  }
  t->body = all;
  t->hi = ex_int(b, hi / d.by);
}

static void visit(Builder *b, Block *s) {
  Block old = *s;
  *s = (Block){0};
  for (int i = 0; i < old.stmts.len; i++) {
    Stmt *t = old.stmts.at[i];
    if (t->body) visit(b, t->body);
    if (t->other) visit(b, t->other);
    int64_t lo, hi;
    if (t->kind == ST_FOR && is_short(t)) t->mode = FOR_UNROLL;
    if (t->kind == ST_FOR && t->mode != FOR_UNROLL) run_several(b, t);
    if (t->kind != ST_FOR || t->mode != FOR_UNROLL) { *vec_push(b->arena, &s->stmts) = t; continue; }
    if (!affordable(t, &lo, &hi)) {
      t->mode = FOR_SEQ;
      *vec_push(b->arena, &s->stmts) = t;
      continue;
    }
    for (int64_t at = lo; at < hi; at += t->step) {
      Index x = {t->var, ex_int(b, at)};
      Block *copy = block_map(b, t->body, replace_index, &x);
      for (int j = 0; j < copy->stmts.len; j++) *vec_push(b->arena, &s->stmts) = copy->stmts.at[j];
    }
  }
}

void kernel_unroll(Arena *a, Kernel *k) {
  Builder b = {.arena = a, .kernel = k};
  visit(&b, k->body);
  kernel_finish(k);
}
