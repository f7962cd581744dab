/* parallel: the marks of loops -> kernels that several threads run together. Each call of such a kernel does the share
 * `part` of `parts`; all parts of it end before the next step begins.
 *
 * What a kernel does is cut into phases: a statement that touches what an earlier one writes belongs in a later phase.
 * Statements of a parallel block do not; where they have phases of their own, the first ones go together, then the
 * second ones, and so on. A phase is a kernel and a step. Scratch that leads from one to the next is a buffer that both
 * have. Phases that are too short to share stay together.
 *
 * Where iterations follow one another, as the time steps of recurrent layers do, the phases of one iteration are the
 * steps of a loop, of which its number is a parameter.
 *
 * Cuts never change the order of a sum, so the result has the bits of the serial call, whatever the number of parts. */
#include "passes/parallel.h"
#include "passes/passes.h"
#include <string.h>

enum { MAX_LEVELS = 16 };

typedef struct Placed { Stmt *s; Access access; int level; } Placed;

typedef struct Levels { Block *at[MAX_LEVELS]; int n; } Levels;

/* loop: a phase of its iterations, which follow one another; NULL: of the kernel. */
typedef struct Phase { Block *s; const Stmt *loop; bool shared; } Phase;
typedef struct Phases { Phase at[2 * MAX_LEVELS]; int n; } Phases;

typedef struct Split {
  Arena *a, *tmp;
  Kernel *k;
  Impure impure;
  double grain;                      /* cycles that are worth a part */
} Split;

/* ---- phases ---- */

/* One statement, or several that belong together, as one. */
static Stmt *as_one(Arena *a, Stmt *const *s, int n, ForMode mode) {
  if (n == 1) return s[0];
  Stmt *one = NEW(a, Stmt);
  *one = (Stmt){.kind = ST_BLOCK, .mode = mode, .body = NEW(a, Block)};
  for (int i = 0; i < n; i++) *vec_push(a, &one->body->stmts) = s[i];
  return one;
}

/* The end of what belongs to statement i: a register and all up to its last use. */
static int run_end(const Split *x, const Block *s, int i) {
  int end = i + 1;
  for (int j = i; j < end; j++) {
    const Stmt *t = s->stmts.at[j];
    if (t->kind != ST_LET || let_is_pure(&x->impure, t)) continue;
    for (int u = j + 1; u < s->stmts.len; u++) if (stmt_uses(s->stmts.at[u], t->var) && u >= end) end = u + 1;
  }
  return end;
}

static Levels levels_of(Split *x, Block *s);

/* The phases of one statement: those of its own that a parallel block has, side by side, or itself. */
static Levels levels_of_stmt(Split *x, Stmt *s) {
  Levels r = {.n = 1};
  if (s->kind == ST_BLOCK && s->mode & FOR_PARALLEL) {
    VEC(Stmt *) part[MAX_LEVELS] = {{0}};
    r.n = 0;
    for (int i = 0; i < s->body->stmts.len; i++) {
      Stmt *t = s->body->stmts.at[i];
      Levels inner = t->kind == ST_BLOCK && !t->mode ? levels_of(x, t->body) : levels_of_stmt(x, t);
      for (int l = 0; l < inner.n; l++)
        *vec_push(x->a, &part[l]) = as_one(x->a, inner.at[l]->stmts.at, inner.at[l]->stmts.len, FOR_SEQ);
      if (inner.n > r.n) r.n = inner.n;
    }
    for (int l = 0; l < r.n; l++) {
      r.at[l] = NEW(x->a, Block);
      *vec_push(x->a, &r.at[l]->stmts) = as_one(x->a, part[l].at, part[l].len, FOR_PARALLEL);
    }
    return r;
  }
  r.at[0] = NEW(x->a, Block);
  *vec_push(x->a, &r.at[0]->stmts) = s;
  return r;
}

/* Puts the pieces of one statement at the first levels where they may be; false: there are not enough. */
static bool place_pieces(Split *x, const Levels *of, Placed *piece, int *n) {
  int before = -1, known = *n;
  for (int l = 0; l < of->n; l++) {
    Stmt *s = as_one(x->a, of->at[l]->stmts.at, of->at[l]->stmts.len, FOR_SEQ);
    Placed p = {s, stmt_access(s), before + 1};
    for (int i = 0; i < known; i++)
      if (access_conflict(piece[i].access, p.access) && piece[i].level >= p.level) p.level = piece[i].level + 1;
    if (p.level >= MAX_LEVELS) return false;
    before = p.level;
    piece[(*n)++] = p;
  }
  return true;
}

/* The statement behind those of the block's pure variables that it needs. */
static Block *with_lets(Split *x, const Block *s, Stmt *body) {
  VEC(Stmt *) back = {0};
  Block *made = NEW(x->a, Block);
  *vec_push(x->tmp, &back) = body;
  for (int i = s->stmts.len - 1; i >= 0; i--) {
    Stmt *t = s->stmts.at[i];
    bool used = false;
    for (int k = 0; k < back.len && let_is_pure(&x->impure, t); k++) used |= stmt_uses(back.at[k], t->var);
    if (used) *vec_push(x->tmp, &back) = t;
  }
  while (back.len) *vec_push(x->a, &made->stmts) = back.at[--back.len];
  return made;
}

/* A block in phases: in each the variables that anyone can compute, then statements that may run at the same time. */
static Levels levels_of(Split *x, Block *s) {
  Levels r = {0};
  Placed *piece = NEW_N(x->tmp, Placed, s->stmts.len * MAX_LEVELS + 1);
  int n = 0;
  for (int i = 0, end; i < s->stmts.len; i = end) {
    end = run_end(x, s, i);
    if (end == i + 1 && let_is_pure(&x->impure, s->stmts.at[i])) continue;
    VEC(Stmt *) run = {0};
    for (int j = i; j < end; j++)
      if (!let_is_pure(&x->impure, s->stmts.at[j])) *vec_push(x->a, &run) = s->stmts.at[j];
    Levels of = levels_of_stmt(x, as_one(x->a, run.at, run.len, FOR_SEQ));
    if (place_pieces(x, &of, piece, &n)) continue;
    r.n = 1;                                                    // too many: as it was
    r.at[0] = s;
    return r;
  }
  for (int i = 0; i < n; i++) if (piece[i].level >= r.n) r.n = piece[i].level + 1;
  for (int l = 0; l < r.n; l++) {
    VEC(Stmt *) side = {0};
    for (int i = 0; i < n; i++) if (piece[i].level == l) *vec_push(x->a, &side) = piece[i].s;
    r.at[l] = with_lets(x, s, as_one(x->a, side.at, side.len, FOR_PARALLEL));
  }
  return r;
}

static bool worth_sharing(const Split *x, Block *s) {
  return block_cost(s) >= 2 * x->grain && shares_plan(x->tmp, x->a, x->k, &x->impure, s) != NULL;
}

static bool block_has(const Block *s, const Stmt *t) {
  for (int i = 0; i < s->stmts.len; i++) if (s->stmts.at[i] == t) return true;
  return false;
}

/* Neighbours that are not worth sharing become one. False: there is no place for it. */
static bool add_phase(Split *x, Phases *to, Block *s, const Stmt *loop) {
  bool shared = worth_sharing(x, s);
  Phase *before = to->n ? &to->at[to->n - 1] : NULL;
  if (before && !shared && !before->shared && before->loop == loop) {
    for (int i = 0; i < s->stmts.len; i++)                       // a variable of both: once
      if (!block_has(before->s, s->stmts.at[i])) *vec_push(x->a, &before->s->stmts) = s->stmts.at[i];
    return true;
  }
  if (to->n == 2 * MAX_LEVELS) return false;
  to->at[to->n++] = (Phase){s, loop, shared};
  return true;
}

/* How often a loop from 0 on runs, in symbols of the kernel; false: no dim says that. */
static bool iterations_of(const Split *x, const Stmt *loop, Dim *trips) {
  int64_t lo;
  if (!ex_is_int(loop->lo, &lo) || lo) return false;
  if (ex_is_int(loop->hi, &trips->k)) {
    *trips = dim_ceildiv(DIM(trips->k), DIM(loop->step));
    return true;
  }
  for (int i = 0; loop->hi->kind == EX_VAR && i < x->k->dims.len; i++)
    if (loop->hi->var == x->k->dim_vars.at[i]) {
      const Symbol *s = symbol_find(x->k->dims.at[i]);
      *trips = dim_ceildiv(dim_symbol(s->name, s->lo, s->hi), DIM(loop->step));
      return true;
    }
  return false;
}

/* A level that is a loop whose iterations follow one another and have phases that are worth sharing: adds these. */
static bool add_loop(Split *x, Phases *to, Block *level) {
  const Stmt *loop = level->stmts.at[level->stmts.len - 1];
  Dim trips;
  if (loop->kind != ST_FOR || loop->mode != FOR_SEQ || !iterations_of(x, loop, &trips)) return false;
  Levels inner = levels_of(x, loop->body);
  Phases more = *to;
  bool any = false;
  for (int l = 0; l < inner.n; l++) {
    Block *s = NEW(x->a, Block);
    for (int i = 0; i < level->stmts.len - 1; i++) *vec_push(x->a, &s->stmts) = level->stmts.at[i];
    for (int i = 0; i < inner.at[l]->stmts.len; i++) *vec_push(x->a, &s->stmts) = inner.at[l]->stmts.at[i];
    if (!add_phase(x, &more, s, loop)) return false;
    any |= more.at[more.n - 1].shared;
  }
  if (any) *to = more;
  return any;
}

/* The same for loops that stand beside each other: they follow one another if each can be shared alone. */
static bool add_loops(Split *x, Phases *to, Block *level) {
  const Stmt *last = level->stmts.at[level->stmts.len - 1];
  if (last->kind != ST_BLOCK || !(last->mode & FOR_PARALLEL)) return add_loop(x, to, level);
  Phases more = *to;
  for (int i = 0; i < last->body->stmts.len; i++) {
    Stmt *t = last->body->stmts.at[i];
    Block *one = NEW(x->a, Block);
    for (int k = 0; k < level->stmts.len - 1; k++) *vec_push(x->a, &one->stmts) = level->stmts.at[k];
    bool several = t->kind == ST_BLOCK && !t->mode;
    for (int k = 0; k < (several ? t->body->stmts.len : 1); k++)
      *vec_push(x->a, &one->stmts) = several ? t->body->stmts.at[k] : t;
    if (!add_loop(x, &more, one)) return false;
  }
  *to = more;
  return true;
}

static Phases phases_of(Split *x) {
  Levels all = levels_of(x, x->k->body);
  Phases r = {0};
  bool any = false;
  for (int l = 0; l < all.n; l++) {
    if (!add_loops(x, &r, all.at[l]) && !add_phase(x, &r, all.at[l], NULL)) return (Phases){0};
    any |= r.at[r.n - 1].shared || r.at[r.n - 1].loop;
  }
  if (!any) r.n = 0;
  return r;
}

/* ---- a kernel for a phase ---- */

/* to: by old index; from: old index by the new; number: in place of the loop's variable */
typedef struct Copy { Kernel *k; Buf **to; int *from; const Stmt *loop; Expr *number; } Copy;

static Expr *copy_expr(Builder *b, Expr *e, void *ctx) {
  const Copy *c = ctx;
  if (c->loop && e->kind == EX_VAR && e->var == c->loop->var) return c->number;
  return e->kind == EX_LOAD ? ex_load(b, c->to[e->buf->index], e->arg[0]) : e;
}

static void copy_bufs(const Copy *c, Block *s) {
  for (int i = 0; i < s->stmts.len; i++) {
    Stmt *t = s->stmts.at[i];
    if (t->buf) t->buf = c->to[t->buf->index];
    for (int k = 0; k < t->nbufs; k++) t->bufs[k] = c->to[t->bufs[k]->index];
    if (t->body) copy_bufs(c, t->body);
    if (t->other) copy_bufs(c, t->other);
  }
}

static bool block_uses(const Block *s, const Var *v) {
  for (int i = 0; i < s->stmts.len; i++) if (stmt_uses(s->stmts.at[i], v)) return true;
  return false;
}

static Access block_access(const Block *s) {
  Access all = {0};
  for (int i = 0; i < s->stmts.len; i++) access_add(&all, stmt_access(s->stmts.at[i]));
  return all;
}

/* What a buffer is to the phase that touches it so. */
static BufRole role_of(const Buf *b, Access here, Access elsewhere) {
  uint64_t bit = (uint64_t)1 << b->index;
  if (b->role == BUF_LOCAL || b->role == BUF_IN) return b->role;
  if (b->role == BUF_SCRATCH && (b->private_to || !((elsewhere.reads | elsewhere.writes) & bit))) return b->role;
  return !(here.writes & bit) ? BUF_IN : here.reads & bit || b->role == BUF_INOUT ? BUF_INOUT : BUF_OUT;
}

static Copy kernel_copy(Split *x, const Phase *phase, Dim number, const char *name, Access elsewhere) {
  const Kernel *k = x->k;
  Block *body = phase->s;
  Builder b;
  Copy c = {.k = kernel_new(&b, x->a, name), .to = NEW_N(x->a, Buf *, k->bufs.len),
            .from = NEW_N(x->a, int, k->bufs.len), .loop = phase->loop};
  Access here = block_access(body);
  Kernel head = *k;
  head.name = c.k->name;
  memset(&head.bufs, 0, sizeof head.bufs);
  memset(&head.dims, 0, sizeof head.dims);
  memset(&head.dim_vars, 0, sizeof head.dim_vars);
  *c.k = head;
  for (int i = 0; i < k->dims.len; i++) {
    if (!block_uses(body, k->dim_vars.at[i])) continue;
    *vec_push(x->a, &c.k->dims) = k->dims.at[i];
    *vec_push(x->a, &c.k->dim_vars) = k->dim_vars.at[i];
  }
  for (int i = 0; i < k->bufs.len; i++) {
    const Buf *old = k->bufs.at[i];
    if (!((here.reads | here.writes) >> old->index & 1)) continue;
    Buf *made = kernel_buf(&b, old->name, old->dtype, role_of(old, here, elsewhere), old->size, old->value);
    made->is_constant = old->is_constant;
    made->is_named = old->is_named;
    made->private_to = old->private_to;
    c.from[made->index] = old->index;                           // locals come last in both
    c.to[old->index] = made;
  }
  if (phase->loop) c.number = ex_mul(&b, ex_dim(&b, number), ex_int(&b, phase->loop->step));
  c.k->body = block_map(&b, body, copy_expr, &c);
  copy_bufs(&c, c.k->body);
  return c;
}

static const char *phase_name(Split *x, int phase, int n) {
  return phase == n - 1 ? x->k->name : arena_printf(x->a, "%s_%d", x->k->name, phase + 1);
}

/* ---- steps ---- */

static void share(Split *x, Kernel *k) {
  double cost = block_cost(k->body);
  Impure *impure = NEW(x->tmp, Impure);
  *impure = impure_of(x->tmp, k);                               // of another kernel, or another body
  Shares *plan = cost >= 2 * x->grain ? shares_plan(x->tmp, x->a, k, impure, k->body) : NULL;
  if (!plan) return;
  k->parts = cost / x->grain < MOST_PARTS ? (int)(cost / x->grain) : MOST_PARTS;
  shares_apply(plan);
  kernel_finish(k);
}

/* The phase that does most: the kernel's operations count as its own. */
static int main_phase(const Split *x, const Phases *phases) {
  int most = 0;
  double highest = -1;
  for (int i = 0; i < phases->n; i++) {
    Dim trips = DIM(1);
    if (phases->at[i].loop) iterations_of(x, phases->at[i].loop, &trips);
    double cost = block_cost(phases->at[i].s) * (double)dim_hi(trips);
    if (cost > highest) { highest = cost; most = i; }
  }
  return most;
}

/* The operations of one iteration of a loop that has them all. */
static void count_once(Kernel *k, Dim trips) {
  Dim each;
  if (dim_divisible(k->flops, trips, &each)) k->flops = each;
  if (dim_lo(trips) > 0) k->cycles /= dim_lo(trips);
}

/* What one iteration leaves in scratch, another may find: it is not a kernel's own, but for that of its parallel
 * loops. */
static void phase_step(Split *x, const Step *s, const Phases *phases, int at, Dim number, StepList *to, Program *p) {
  const Phase *phase = &phases->at[at];
  Access elsewhere = {0};
  for (int i = 0; i < phases->n; i++) if (i != at || phase->loop) access_add(&elsewhere, block_access(phases->at[i].s));
  Copy c = kernel_copy(x, phase, number, phase_name(x, at, phases->n), elsewhere);
  c.k->note = arena_printf(x->a, "phase %d of %d%s: %s", at + 1, phases->n, phase->loop ? ", of each step" : "",
                           x->k->note ? x->k->note : "");
  Dim trips;
  if (main_phase(x, phases) != at) c.k->flops = DIM(0), c.k->cycles = 0, c.k->choice = NULL;
  else if (phase->loop && iterations_of(x, phase->loop, &trips)) count_once(c.k, trips);
  Step *made = arena_dup(x->a, s, sizeof *s);
  made->kernel = c.k;
  if (at < phases->n - 1) made->in_place = -1;
  made->buffer = NEW_N(x->a, int, c.k->bufs.len + 1);
  made->elsewhere = NEW_N(x->a, bool, c.k->bufs.len + 1);
  for (int i = 0; i < c.k->bufs.len; i++) {
    if (c.k->bufs.at[i]->role == BUF_LOCAL) continue;
    made->buffer[i] = s->buffer[c.from[i]];
    made->elsewhere[i] = s->elsewhere[c.from[i]];
  }
  kernel_finish(c.k);
  share(x, c.k);
  *vec_push(x->a, to) = made;
  *vec_push(x->a, &p->kernels) = c.k;
}

/* The steps of all phases; those of one loop, which follow one another, are in it. */
static void phase_steps(Split *x, const Step *s, const Phases *phases, StepList *to, Program *p) {
  for (int at = 0; at < phases->n;) {
    const Stmt *loop = phases->at[at].loop;
    if (!loop) { phase_step(x, s, phases, at++, DIM(0), to, p); continue; }
    Step *made = step_new(x->a, STEP_LOOP);
    iterations_of(x, loop, &made->trips);
    Dim number = dim_fresh_symbol("step", 0, int64_max(dim_hi(made->trips) - 1, 0));
    made->symbol = dim_text(number);
    for (; at < phases->n && phases->at[at].loop == loop; at++) phase_step(x, s, phases, at, number, &made->then, p);
    *vec_push(x->a, to) = made;
  }
}

/* May its variables be shared out at all? The masks hold 64 parameters; a local lives in one call, so it must not lead
 * from one phase to the next: those of one iteration do not. */
static bool can_split(const Kernel *k) {
  if (k->bufs.len > 64) return false;
  for (int i = 0; i < k->bufs.len; i++)
    if (k->bufs.at[i]->role == BUF_LOCAL && !k->bufs.at[i]->private_to) return false;
  for (int i = 0; i < k->dims.len; i++) if (symbol_is_of_parts(k->dims.at[i])) return false;
  return true;
}

static void visit(PassContext *c, StepList *steps) {
  Program *p = c->program;
  StepList old = *steps;
  memset(steps, 0, sizeof *steps);
  for (int i = 0; i < old.len; i++) {
    Step *s = old.at[i];
    if (s->kind == STEP_STRIPS) {                               // each part does whole rows of all its kernels
      for (int k = 0; k < s->then.len; k++) *vec_push(c->arena, &p->kernels) = s->then.at[k]->kernel;
      *vec_push(c->arena, steps) = s;
      continue;
    }
    visit(c, &s->then);
    visit(c, &s->other);
    Split x = {.a = c->arena, .tmp = &c->tmp, .k = s->kernel, .grain = c->options->part_cycles};
    if (s->kernel) x.impure = impure_of(x.tmp, s->kernel);
    Phases phases = s->kind == STEP_KERNEL && can_split(s->kernel) ? phases_of(&x) : (Phases){0};
    if (phases.n > 1 || (phases.n && phases.at[0].loop)) {
      phase_steps(&x, s, &phases, steps, p);
      continue;
    }
    if (phases.n) {
      s->kernel->body = phases.at[0].s;
      share(&x, s->kernel);
    }
    *vec_push(c->arena, steps) = s;
    if (s->kernel) *vec_push(c->arena, &p->kernels) = s->kernel;
  }
}

static void place_private_of(Program *p, const Step *s, Dim *at) {
  for (int k = 0; k < s->kernel->bufs.len; k++) {
    const Buf *b = s->kernel->bufs.at[k];
    Buffer *x = b->role == BUF_LOCAL ? NULL : &p->buffers.at[s->buffer[b->index]];
    if (!x || !(b->private_to || x->is_window)) continue;
    if (!x->is_private) x->part_offset = *at;
    x->is_private = true;
    Dim bytes = dim_mul(dim_ceildiv(dim_mul(x->elems, DIM(dtype_bytes(x->dtype))), DIM(64)), DIM(64));
    *at = dim_max(*at, dim_add(x->part_offset, bytes));
  }
}

/* Memory of a part beside the first: of the step that has most to give to each, scratch and windows. */
static void place_private(Program *p, const StepList *steps) {
  for (int i = 0; i < steps->len; i++) {
    const Step *s = steps->at[i];
    Dim at = DIM(0);
    if (s->kind == STEP_STRIPS) {
      for (int k = 0; s->parts && k < s->then.len; k++) place_private_of(p, s->then.at[k], &at);
    } else {
      place_private(p, &s->then);
      place_private(p, &s->other);
      if (s->kernel && s->kernel->parts) place_private_of(p, s, &at);
    }
    p->part_bytes = dim_max(p->part_bytes, at);
  }
}

bool pass_parallel(PassContext *c) {
  if (c->options->part_cycles <= 0) return true;
  c->program->kernels.len = 0;
  visit(c, &c->program->steps);
  c->program->part_bytes = DIM(0);
  place_private(c->program, &c->program->steps);
  return true;
}
