/* A kernel as one that makes rows, read off its loops.
 *
 * Storage says how long a row of a buffer is. Indices are linear forms: a loop whose index moves every store by one
 * row is a loop over rows, and what it moves a load by says which rows of an operand that needs. So no generator knows
 * of strips, and whatever has no such loops (Winograd's blocks of tiles, pixels of all rows in one loop) is left alone.
 *
 * Cutting narrows these loops to the rows of a strip, and puts row r of a window of n rows where row r % n was. */
#include "passes/strips.h"

typedef struct RowAccess {
  Buf *buf;
  Expr *row;                         /* of a buffer that has rows; NULL: it may reach into another than it begins in */
  bool store;
  Stmt **loop;                       /* around it, outermost first */
  int loops;
  Stmt *s;
} RowAccess;

typedef struct Named { const Var *v; Expr *value; } Named;

typedef struct Walk {
  Builder b;                         /* for expressions only */
  const RowShape *shape;
  const int *buffer;                 /* by parameter */
  VEC(Stmt *) loops;
  VEC(Named) lets;
  VEC(RowAccess) at;
  bool ok;
} Walk;

RowShape row_shape(const Program *p, int buffer) {
  const Buffer *b = &p->buffers.at[buffer];
  if (!b->value || !dim_is_const(b->elems)) return (RowShape){0};
  const Value *v = value_of(p->m, b->value);
  int64_t stride = 0, count = 0;
  for (int k = 0; k < v->type.rank; k++) {
    if (dim_is(v->type.dims[k], 1)) continue;
    if (!dim_is_const(v->type.dims[k]) || !dim_is_const(v->at.stride[k])) return (RowShape){0};
    if (v->at.stride[k].k > stride) { stride = v->at.stride[k].k; count = v->type.dims[k].k; }
  }
  return stride * count == b->elems.k && count > 1 ? (RowShape){stride, count} : (RowShape){0};
}

/* ---- what a kernel touches ---- */

static bool is_memory(const Buf *b) { return b->role != BUF_LOCAL && b->role != BUF_SCRATCH; }

static Expr *expand(Builder *b, Expr *e, void *ctx) {
  const Walk *w = ctx;
  (void)b;
  if (e->kind != EX_VAR) return e;
  for (int i = w->lets.len - 1; i >= 0; i--) if (w->lets.at[i].v == e->var) return w->lets.at[i].value;
  return e;
}

static void add_access(Walk *w, Stmt *s, Buf *buf, Expr *index, bool store) {
  if (!is_memory(buf)) return;
  Expr *row, *rest;
  int64_t stride = w->shape[w->buffer[buf->index]].stride;
  bool within = stride && index_rows(&w->b, index, stride, &row, &rest);
  RowAccess *a = vec_push(w->b.arena, &w->at);
  *a = (RowAccess){.buf = buf, .store = store, .loops = w->loops.len, .s = s};
  if (within) a->row = expr_map(&w->b, row, expand, w);
  a->loop = arena_dup(w->b.arena, w->loops.at ? w->loops.at : &s, sizeof(Stmt *) * (size_t)(w->loops.len + 1));
}

static void visit_expr(Walk *w, Stmt *s, Expr *e) {
  if (!e) return;
  if (e->kind == EX_LOAD) add_access(w, s, e->buf, e->arg[0], false);
  for (int i = 0; i < 3 && e->arg[i]; i++) visit_expr(w, s, e->arg[i]);
}

static void visit(Walk *w, const Block *block) {
  int lets = w->lets.len;
  for (int i = 0; i < block->stmts.len; i++) {
    Stmt *s = block->stmts.at[i];
    Expr *e[5] = {s->lo, s->hi, s->cond, s->index, s->value};
    for (int k = 0; k < 5; k++) visit_expr(w, s, e[k]);
    w->ok &= s->kind != ST_CALL;
    if (s->kind == ST_STORE) add_access(w, s, s->buf, s->index, true);
    if (s->kind == ST_LET && !s->var->mutable && s->var->elem == DT_I64)
      *vec_push(w->b.arena, &w->lets) = (Named){s->var, expr_map(&w->b, s->value, expand, w)};
    if (s->kind == ST_FOR) *vec_push(w->b.arena, &w->loops) = s;
    if (s->body) visit(w, s->body);
    if (s->other) visit(w, s->other);
    if (s->kind == ST_FOR) w->loops.len--;
  }
  w->lets.len = lets;
}

/* ---- rows that it makes ---- */

static bool add_loop(RowKernel *r, Arena *a, Stmt *loop, int64_t first, int64_t last) {
  for (int i = 0; i < r->loops.len; i++) {
    RowLoop *x = &r->loops.at[i];
    if (x->s != loop) continue;
    if (first < x->offset) x->offset = first;
    if (last > x->last) x->last = last;
    return true;
  }
  *vec_push(a, &r->loops) = (RowLoop){loop, first, last};
  return loop->mode & FOR_PARALLEL;
}

/* The loop around it that goes from row to row; NULL: none, or several. */
static Stmt *row_loop_of(const RowAccess *a, bool *several) {
  Stmt *found = NULL;
  int64_t c, lo, hi;
  for (int i = 0; i < a->loops; i++) {
    if (!index_split(a->row, a->loop[i]->var, &c, &lo, &hi)) *several = true;
    if (c == 0) continue;
    *several |= found || c != 1;
    found = a->loop[i];
  }
  return *several ? NULL : found;
}

static bool add_store(RowKernel *r, Arena *a, const RowAccess *x) {
  bool several = false;
  Stmt *loop = x->row ? row_loop_of(x, &several) : NULL;
  int64_t c, first, last;
  if (!x->row || several || !index_split(x->row, loop ? loop->var : NULL, &c, &first, &last)) return false;
  if (loop) return add_loop(r, a, loop, first, last);
  if (first != last) return false;
  Stmt *top = x->loops ? x->loop[0] : x->s;
  for (int i = 0; i < r->guards.len; i++) if (r->guards.at[i].s == top) return r->guards.at[i].row == first;
  *vec_push(a, &r->guards) = (RowGuard){top, first};
  return true;
}

static const RowLoop *loop_around(const RowKernel *r, const RowAccess *x) {
  for (int i = 0; i < x->loops; i++)
    for (int k = 0; k < r->loops.len; k++) if (r->loops.at[k].s == x->loop[i]) return &r->loops.at[k];
  return NULL;
}

static void add_read(RowKernel *r, Arena *a, RowRead read) {
  for (int i = 0; i < r->reads.len; i++) {
    RowRead *x = &r->reads.at[i];
    if (x->buffer != read.buffer) continue;
    if (x->scale != read.scale) x->scale = 0;
    if (read.lo < x->lo) x->lo = read.lo;
    if (read.hi > x->hi) x->hi = read.hi;
    return;
  }
  *vec_push(a, &r->reads) = read;
}

static RowRead read_of(const RowKernel *r, const RowAccess *x, int buffer) {
  RowRead any = {.buffer = buffer};
  const RowLoop *loop = loop_around(r, x);
  int64_t scale, lo, hi;
  if (!x->row || !loop || !index_split(x->row, loop->s->var, &scale, &lo, &hi) || scale <= 0) return any;
  int64_t back = scale * loop->offset;
  return (RowRead){buffer, scale, lo - back, hi - back - scale * (loop->s->step - 1)};
}

/* Scratch that all rows share would be made again in every strip. */
static bool is_row_kernel(const Kernel *k) {
  for (int i = 0; i < k->bufs.len; i++) {
    const Buf *b = k->bufs.at[i];
    if (b->role == BUF_INOUT || (b->role == BUF_SCRATCH && !b->private_to)) return false;
  }
  for (int i = 0; i < k->dims.len; i++) if (symbol_is_of_strips(k->dims.at[i])) return false;
  return true;
}

static bool add_stores(RowKernel *r, Arena *a, const Walk *w, const Program *p) {
  for (int i = 0; i < w->at.len; i++) {
    const RowAccess *x = &w->at.at[i];
    if (!x->store) continue;
    int b = r->step->buffer[x->buf->index];
    Home home = p->buffers.at[b].home;
    if (r->out >= 0 && r->out != b) return false;
    r->out = b;
    if ((home != HOME_ARENA && home != HOME_OUTPUT) || !add_store(r, a, x)) return false;
  }
  for (int i = 0; i < r->loops.len; i++) {
    const RowLoop *l = &r->loops.at[i];
    if (l->last - l->offset >= l->s->step) return false;
    for (int k = 0; k < r->guards.len; k++) if (r->guards.at[k].s == l->s) return false;
  }
  return r->out >= 0;
}

RowKernel row_kernel(Arena *a, const Program *p, const RowShape *shape, Step *s) {
  RowKernel r = {.step = s, .out = -1};
  if (s->kind != STEP_KERNEL || !is_row_kernel(s->kernel)) return r;
  Walk w = {.b = {.arena = a, .kernel = s->kernel, .at = NEW(a, Block)}, .shape = shape, .buffer = s->buffer,
            .ok = true};
  visit(&w, s->kernel->body);
  if (!w.ok || !add_stores(&r, a, &w, p)) return r;
  for (int i = 0; i < w.at.len; i++) {
    const RowAccess *x = &w.at.at[i];
    if (x->store) continue;
    int b = s->buffer[x->buf->index];
    if (b == r.out) return r;
    if (p->buffers.at[b].home != HOME_WEIGHT) add_read(&r, a, read_of(&r, x, b));
  }
  r.ok = true;
  return r;
}

/* ---- the cut ---- */

typedef struct RowCut {
  const RowShape *shape;
  const Span *span;
  const int *buffer;                 /* by parameter */
  int64_t rows;
} RowCut;

/* A window is a ring: row r stands where row r % rows would. */
static Expr *in_window(Builder *b, const RowCut *c, const Buf *buf, Expr *index) {
  Expr *row, *rest;
  const Span *s = is_memory(buf) ? &c->span[c->buffer[buf->index]] : NULL;
  if (!s || !s->window) return index;
  int64_t stride = c->shape[c->buffer[buf->index]].stride;
  if (!index_rows(b, index, stride, &row, &rest)) BUG("rows of %s", buf->name);
  return ex_add(b, ex_mul(b, ex_rem(b, row, ex_int(b, span_rows(s, c->rows))), ex_int(b, stride)), rest);
}

static Expr *load_in_window(Builder *b, Expr *e, void *ctx) {
  return e->kind == EX_LOAD ? ex_load(b, e->buf, in_window(b, ctx, e->buf, e->arg[0])) : e;
}

/* Rows of a window are near: nobody asks for them. */
static bool is_idle(const RowCut *c, const Stmt *s) {
  return s->kind == ST_PREFETCH && is_memory(s->buf) && c->span[c->buffer[s->buf->index]].window;
}

static void store_in_window(Builder *b, const RowCut *c, Block *s) {
  int kept = 0;
  for (int i = 0; i < s->stmts.len; i++) if (!is_idle(c, s->stmts.at[i])) s->stmts.at[kept++] = s->stmts.at[i];
  s->stmts.len = kept;
  for (int i = 0; i < s->stmts.len; i++) {
    Stmt *t = s->stmts.at[i];
    if (t->kind == ST_STORE) t->index = in_window(b, c, t->buf, t->index);
    if (t->body) store_in_window(b, c, t->body);
    if (t->other) store_in_window(b, c, t->other);
  }
}

static void guard(Builder *b, Stmt *s, Expr *from, Expr *to, int64_t row) {
  Expr *at = ex_int(b, row);
  Stmt *inner = arena_dup(b->arena, s, sizeof *s);
  *s = (Stmt){.kind = ST_IF, .cond = ex_scalar(b, S_AND, ex_scalar(b, S_LE, from, at, NULL), ex_lt(b, at, to), NULL),
              .body = NEW(b->arena, Block)};
  *vec_push(b->arena, &s->body->stmts) = inner;
}

static Expr *symbol(Builder *b, const char *name) { return ex_dim(b, dim_symbol(name, 0, MOST_IMAGE_ROWS)); }

/* Rows that the strip before has made are there, but in the first. */
static Expr *first_row(Builder *b, const Span *s) {
  Expr *top = symbol(b, TOP_SYMBOL), *base = ex_int(b, s->base);
  if (span_keeps(s)) base = ex_select(b, ex_lt(b, symbol(b, FIRST_SYMBOL), top), ex_int(b, s->end), base);
  return ex_add(b, ex_mul(b, top, ex_int(b, s->scale)), base);
}

void row_kernel_cut(RowKernel *r, Arena *a, const RowShape *shape, const Span *span, int64_t rows, int64_t count) {
  Kernel *k = r->step->kernel;
  Builder b = {.arena = a, .kernel = k, .at = NEW(a, Block)};
  Block *all = b.at;
  RowCut c = {shape, span, r->step->buffer, rows};
  const Span *out = &span[r->out];
  Expr *from = let(&b, "from", first_row(&b, out));
  Expr *bottom = ex_mul(&b, symbol(&b, BOTTOM_SYMBOL), ex_int(&b, out->scale));
  Expr *to = let(&b, "to", ex_add(&b, bottom, ex_int(&b, out->end)));
  for (int i = 0; i < r->loops.len; i++) {
    Stmt *s = r->loops.at[i].s;
    int64_t offset = r->loops.at[i].offset, end = out->scale * count + out->end - offset;
    Expr *lo = ex_sub(&b, from, ex_int(&b, offset)), *hi = ex_sub(&b, to, ex_int(&b, offset));
    s->lo = s->lo->hi <= out->base - offset ? lo : ex_max(&b, s->lo, lo);
    s->hi = s->hi->lo >= end ? hi : ex_min(&b, s->hi, hi);
  }
  for (int i = 0; i < r->guards.len; i++) guard(&b, r->guards.at[i].s, from, to, r->guards.at[i].row);
  for (int i = 0; i < k->body->stmts.len; i++) *vec_push(a, &all->stmts) = k->body->stmts.at[i];
  k->body = block_map(&b, all, load_in_window, &c);
  store_in_window(&b, &c, k->body);
  for (int i = 0; i < k->bufs.len; i++) {
    const Span *s = is_memory(k->bufs.at[i]) ? &span[r->step->buffer[i]] : NULL;
    if (s && s->window) k->bufs.at[i]->size = DIM(shape[r->step->buffer[i]].stride * span_rows(s, rows));
  }
  kernel_finish(k);
}
