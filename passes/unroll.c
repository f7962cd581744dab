/* Loops marked FOR_UNROLL -> their body once per index, which then folds; without constant bounds, or when that
 * would be long, FOR_SEQ. The budget keeps a kernel within the instruction cache: repeated work gains nothing
 * from more copies than hide its latency. */
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

static void visit(Builder *b, Block *s) {
  Block old = *s;
  *s = (Block){0};
  for (int i = 0; i < old.stmts.len; i++) {
    Stmt *t = old.stmts.at[i];
    if (t->body) visit(b, t->body);
    if (t->other) visit(b, t->other);
    int64_t lo, hi;
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
