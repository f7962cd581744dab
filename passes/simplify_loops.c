/* Makes a kernel shorter to read, and says once what it says often.
 *
 *   dead code     variables nobody reads, and loops and ifs left empty by that
 *   indices       an index expression of two operations or more that occurs three times or more becomes a let,
 *                 declared in the block where its last variable is (so it also leaves the loops it does not
 *                 depend on). Larger expressions first; what they contain then counts as often as it still occurs.
 *
 * Indices are pure I64 arithmetic on variables that are not mutable: computing one early is always right, but for
 * a division by what may be zero where the loop would not run; those stay. Runs last: later passes would not see
 * through the lets. */
#include "passes/loops.h"
#include <stdlib.h>

enum { MIN_USES = 3, MIN_OPERATIONS = 2 };

/* ---- dead code ---- */

typedef struct Reads { const Var *v; int n; } Reads;
typedef struct Uses { Arena *arena; Reads *at; int len, size; } Uses;   /* hash table by variable */

static Reads *reads_of(Uses *u, const Var *v) {
  unsigned h = (unsigned)(((uintptr_t)v >> 4) * 2654435761u) & (unsigned)(u->size - 1);
  while (u->at[h].v && u->at[h].v != v) h = (h + 1) & (unsigned)(u->size - 1);
  u->at[h].v = v;
  return &u->at[h];
}

static int count_vars(const Block *s) {
  int n = 0;
  for (int i = 0; i < s->stmts.len; i++) {
    const Stmt *t = s->stmts.at[i];
    n += t->var != NULL;
    if (t->body) n += count_vars(t->body);
    if (t->other) n += count_vars(t->other);
  }
  return n;
}

static void read_expr(Uses *u, const Expr *e) {
  if (!e) return;
  if (e->kind == EX_VAR) reads_of(u, e->var)->n++;
  for (int i = 0; i < 3 && e->arg[i]; i++) read_expr(u, e->arg[i]);
}

static void read_block(Uses *u, const Block *s) {
  for (int i = 0; i < s->stmts.len; i++) {
    const Stmt *t = s->stmts.at[i];
    read_expr(u, t->lo);
    read_expr(u, t->hi);
    read_expr(u, t->cond);
    read_expr(u, t->index);
    /* r = f(r) alone does not make r worth anything */
    if (t->kind == ST_SET) {
      int before = reads_of(u, t->var)->n;
      read_expr(u, t->value);
      reads_of(u, t->var)->n = before;
    } else {
      read_expr(u, t->value);
    }
    for (int k = 0; k < t->nargs; k++) read_expr(u, t->args[k]);
    if (t->body) read_block(u, t->body);
    if (t->other) read_block(u, t->other);
  }
}

static bool is_dead(Uses *u, const Stmt *s) {
  if (s->kind == ST_LET || s->kind == ST_SET) return reads_of(u, s->var)->n == 0;
  if (s->kind == ST_FOR || s->kind == ST_BLOCK) return !s->body->stmts.len;
  return s->kind == ST_IF && !s->body->stmts.len && (!s->other || !s->other->stmts.len);
}

static bool sweep(Uses *u, Block *s) {                          /* true: something went */
  bool gone = false;
  int kept = 0;
  for (int i = 0; i < s->stmts.len; i++) {
    Stmt *t = s->stmts.at[i];
    if (t->body) gone |= sweep(u, t->body);
    if (t->other) gone |= sweep(u, t->other);
    if (is_dead(u, t)) gone = true;
    else s->stmts.at[kept++] = t;
  }
  s->stmts.len = kept;
  return gone;
}

static void remove_dead(Kernel *k) {
  for (bool more = true; more;) {
    Arena tmp = {0};
    Uses u = {.arena = &tmp, .size = 64};
    while (u.size < 2 * (count_vars(k->body) + k->dim_vars.len) + 2) u.size *= 2;
    u.at = NEW_N(&tmp, Reads, u.size);
    read_block(&u, k->body);
    more = sweep(&u, k->body);
    arena_free(&tmp);
  }
}

/* ---- repeated indices ---- */

/* A distinct index expression. `home`: the block its last variable is declared in, and how deep that is. */
typedef struct Shared {
  Expr *e;
  unsigned hash;
  int count, operations;
  Block *home;
  Expr *by;                            /* the variable that holds it; NULL: none */
} Shared;

typedef struct Declared { const Var *v; Block *block; int depth; } Declared;

typedef struct Indices {
  Arena tmp;
  Builder b;
  VEC(Shared) shared;
  int *table, table_size;              /* by hash: index into shared + 1 */
  VEC(Declared) declared;              /* visible now */
} Indices;

static unsigned mix(unsigned h, uint64_t v) { return (h ^ (unsigned)(v ^ (v >> 32))) * 16777619u; }

static unsigned hash_of(const Expr *e) {
  unsigned h = mix(2166136261u, (uint64_t)e->kind * 64 + (uint64_t)e->op);
  if (e->kind == EX_VAR) h = mix(h, (uintptr_t)e->var >> 4);
  if (e->kind == EX_CONST) h = mix(h, (uint64_t)e->i);
  for (int i = 0; i < 3 && e->arg[i]; i++) h = mix(h, hash_of(e->arg[i]));
  return h ^ (h >> 15);
}

/* Pure index arithmetic: gives the number of operations, -1 when it is not. */
static int operations(const Expr *e) {
  if (e->lanes != 1 || e->elem != DT_I64) return -1;
  if (e->kind == EX_CONST) return 0;
  if (e->kind == EX_VAR) return e->var->mutable ? -1 : 0;
  if (e->kind != EX_SCALAR || scalar_info[e->op].arity != 2) return -1;
  if ((e->op == S_DIV || e->op == S_FMOD || e->op == S_MOD) && e->arg[1]->kind != EX_CONST) return -1;
  int x = operations(e->arg[0]), y = operations(e->arg[1]);
  return x < 0 || y < 0 ? -1 : x + y + 1;
}

/* base + constant is as good as base */
static bool is_offset(const Expr *e) { return (e->op == S_ADD || e->op == S_SUB) && e->arg[1]->kind == EX_CONST; }

static Shared *find_shared(Indices *x, Expr *e, bool make) {
  unsigned hash = hash_of(e), h = hash & (unsigned)(x->table_size - 1);
  for (; x->table[h]; h = (h + 1) & (unsigned)(x->table_size - 1)) {
    Shared *s = &x->shared.at[x->table[h] - 1];
    if (s->hash == hash && expr_eq(s->e, e)) return s;
  }
  if (!make || x->shared.len * 2 >= x->table_size) return NULL;
  Shared *s = vec_push(&x->tmp, &x->shared);
  *s = (Shared){.e = e, .hash = hash};
  x->table[h] = x->shared.len;
  return s;
}

static void find_home(const Indices *x, const Expr *e, Block **home, int *depth) {
  if (e->kind == EX_VAR)
    for (int i = x->declared.len - 1; i >= 0; i--)
      if (x->declared.at[i].v == e->var) {
        if (x->declared.at[i].depth >= *depth) { *depth = x->declared.at[i].depth; *home = x->declared.at[i].block; }
        return;
      }
  for (int i = 0; i < 3 && e->arg[i]; i++) find_home(x, e->arg[i], home, depth);
}

static void count_expr(Indices *x, Expr *e, int weight) {
  if (!e) return;
  int n = operations(e);
  if (n >= MIN_OPERATIONS && !is_offset(e)) {
    Shared *s = find_shared(x, e, weight > 0);
    if (s) {
      if (!s->count) {
        int depth = -1;
        s->home = x->b.kernel->body;                            // of symbols alone
        find_home(x, e, &s->home, &depth);
      }
      s->operations = n;
      s->count += weight;
    }
  }
  for (int i = 0; i < 3 && e->arg[i]; i++) count_expr(x, e->arg[i], weight);
}

static void declare(Indices *x, const Var *v, Block *block, int depth) {
  *vec_push(&x->tmp, &x->declared) = (Declared){v, block, depth};
}

static void count_block(Indices *x, Block *s, int depth) {
  int mark = x->declared.len;
  for (int i = 0; i < s->stmts.len; i++) {
    Stmt *t = s->stmts.at[i];
    Expr *e[5] = {t->lo, t->hi, t->cond, t->index, t->value};
    for (int k = 0; k < 5; k++) count_expr(x, e[k], 1);
    for (int k = 0; k < t->nargs; k++) count_expr(x, t->args[k], 1);
    if (t->kind == ST_LET) declare(x, t->var, s, depth);
    int inner = x->declared.len;
    if (t->kind == ST_FOR) declare(x, t->var, t->body, depth + 1);
    if (t->body) count_block(x, t->body, depth + 1);
    if (t->other) count_block(x, t->other, depth + 1);
    x->declared.len = inner;
  }
  x->declared.len = mark;
}

static int by_size(const void *p, const void *q) {
  const Shared *a = *(Shared *const *)p, *b = *(Shared *const *)q;
  if (a->operations != b->operations) return b->operations - a->operations;
  return a < b ? -1 : a > b;
}

/* Decides, larger ones first; what a chosen one contains occurs once where it occurred `count` times. */
static bool choose(Indices *x) {
  Shared **order = NEW_N(&x->tmp, Shared *, x->shared.len);
  bool any = false;
  for (int i = 0; i < x->shared.len; i++) order[i] = &x->shared.at[i];
  qsort(order, (size_t)x->shared.len, sizeof *order, by_size);
  for (int i = 0; i < x->shared.len; i++) {
    Shared *s = order[i];
    if (s->count < MIN_USES || !s->home) { s->home = NULL; continue; }
    for (int k = 0; k < 3 && s->e->arg[k]; k++) count_expr(x, s->e->arg[k], 1 - s->count);
    any = true;
  }
  return any;
}

static Expr *rewrite(Indices *x, Expr *e) {
  if (operations(e) >= MIN_OPERATIONS && !is_offset(e)) {
    Shared *s = find_shared(x, e, false);
    if (s && s->by) return s->by;
  }
  Expr *a[3] = {0};
  bool changed = false;
  for (int i = 0; i < 3 && e->arg[i]; i++) {
    a[i] = rewrite(x, e->arg[i]);
    changed |= a[i] != e->arg[i];
  }
  if (!changed) return e;
  Expr *n = arena_dup(x->b.arena, e, sizeof *e);                 // same shape: no rule is to apply
  memcpy(n->arg, a, sizeof a);
  return n;
}

static void rewrite_block(Indices *x, Block *s);

/* Declares what this statement, or one inside it, is the first to need and what belongs in this block. */
static void declare_needed(Indices *x, Block *s, Expr *e) {
  if (!e) return;
  for (int i = 0; i < 3 && e->arg[i]; i++) declare_needed(x, s, e->arg[i]);
  if (operations(e) < MIN_OPERATIONS || is_offset(e)) return;
  Shared *found = find_shared(x, e, false);
  if (!found || found->home != s || found->by) return;
  x->b.at = s;
  Expr *value = rewrite(x, found->e);
  Expr *by = let(&x->b, "at", value);
  find_shared(x, e, false)->by = by;
}

static bool is_let(const Stmt *t) { return t->kind == ST_LET && !t->var->mutable; }

static void declare_needed_in(Indices *x, Block *home, const Stmt *t, bool here) {
  Expr *e[5] = {t->lo, t->hi, t->cond, t->index, t->value};
  bool itself = here && is_let(t);                               // the let will be the name: only its parts need one
  for (int i = 0; itself && i < 3 && e[4]->arg[i]; i++) declare_needed(x, home, e[4]->arg[i]);
  for (int k = 0; k < 5 - itself; k++) declare_needed(x, home, e[k]);
  for (int k = 0; k < t->nargs; k++) declare_needed(x, home, t->args[k]);
  const Block *in[2] = {t->body, t->other};
  for (int k = 0; k < 2; k++)
    for (int i = 0; in[k] && i < in[k]->stmts.len; i++) declare_needed_in(x, home, in[k]->stmts.at[i], false);
}

static void rewrite_block(Indices *x, Block *s) {
  Block old = *s;
  *s = (Block){0};
  for (int i = 0; i < old.stmts.len; i++) {
    Stmt *t = old.stmts.at[i];
    declare_needed_in(x, s, t, true);
    Shared *named = is_let(t) && operations(t->value) >= MIN_OPERATIONS ? find_shared(x, t->value, false) : NULL;
    if (named && (named->by || named->home != s)) named = NULL;
    Expr **e[5] = {&t->lo, &t->hi, &t->cond, &t->index, &t->value};
    for (int k = 0; k < 5; k++)
      if (*e[k]) *e[k] = rewrite(x, *e[k]);
    for (int k = 0; k < t->nargs; k++) t->args[k] = rewrite(x, t->args[k]);
    if (named) named->by = ex_var(&x->b, t->var);
    if (t->body) rewrite_block(x, t->body);
    if (t->other) rewrite_block(x, t->other);
    *vec_push(x->b.arena, &s->stmts) = t;
  }
}

static int count_nodes(const Block *s) {                         // statements, roughly: sizes the table
  int n = 0;
  for (int i = 0; i < s->stmts.len; i++) {
    n += 8;
    if (s->stmts.at[i]->body) n += count_nodes(s->stmts.at[i]->body);
    if (s->stmts.at[i]->other) n += count_nodes(s->stmts.at[i]->other);
  }
  return n;
}

static void share_indices(Arena *a, Kernel *k) {
  Indices x = {.b = {.arena = a, .kernel = k}, .table_size = 256};
  while (x.table_size < 4 * count_nodes(k->body)) x.table_size *= 2;
  x.table = NEW_N(&x.tmp, int, x.table_size);
  count_block(&x, k->body, 0);
  if (choose(&x)) rewrite_block(&x, k->body);
  arena_free(&x.tmp);
}

void kernel_simplify(Arena *a, Kernel *k) {
  remove_dead(k);
  share_indices(a, k);
  kernel_finish(k);
}
