/* Builders of the loop IR: leaves, memory, vectors, statements and kernels. The rules behind arithmetic are in
 * loop_fold.c and loop_index.c.
 *
 * The builder's stack holds the blocks that loop_end and if_end return to. A loop of one trip pushes the block
 * it is already in; a loop of none builds into a block nobody keeps. */
#include "ir/loop_rules.h"
#include "base/intern.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- nodes ---- */

Expr *expr_new(Builder *b, ExprKind kind, DType elem, int lanes) {
  Expr *e = NEW(b->arena, Expr);
  Range r = type_range(elem);
  e->kind = kind;
  e->elem = elem;
  e->lanes = lanes;
  e->lo = r.lo;
  e->hi = r.hi;
  return e;
}

Expr *expr_int(Builder *b, DType t, int64_t v) {
  Expr *e = expr_new(b, EX_CONST, t, 1);
  e->i = e->lo = e->hi = int_wrap(t, v);
  return e;
}

Expr *expr_float(Builder *b, DType t, double v) {
  Expr *e = expr_new(b, EX_CONST, t, 1);
  e->f = t == DT_F32 ? (double)(float)v : v;
  return e;
}

Expr *expr_scalar(Builder *b, ScalarOp op, DType elem, int lanes, Expr *x, Expr *y, Expr *z) {
  Expr *e = expr_new(b, EX_SCALAR, elem, lanes);
  e->op = op;
  e->arg[0] = x;
  e->arg[1] = y;
  e->arg[2] = z;
  Range r = range_of_scalar(op, elem, x, y, z);
  e->lo = r.lo;
  e->hi = r.hi;
  return e;
}

/* ---- expressions ---- */

Expr *ex_int(Builder *b, int64_t v) { return expr_int(b, DT_I64, v); }

Expr *ex_const(Builder *b, DType t, double v) {
  DType elem = dtype_compute(t);
  if (!dtype_is_float(elem))
    return expr_int(b, elem, elem == DT_U64 && v >= 9.2e18 ? (int64_t)(uint64_t)v : (int64_t)v);
  return ex_cast(b, t, expr_float(b, elem, v));
}

Expr *ex_const_int(Builder *b, DType t, int64_t v) {
  if (dtype_is_float(t)) return ex_const(b, t, (double)v);
  return expr_int(b, dtype_compute(t), int_wrap(t, v));
}

Expr *ex_var(Builder *b, Var *v) {
  Expr *e = expr_new(b, EX_VAR, v->elem, v->lanes);
  e->var = v;
  e->lo = v->lo;
  e->hi = v->hi;
  return e;
}

static Var *var_new(Builder *b, const char *name, DType elem, int lanes) {
  Var *v = NEW(b->arena, Var);
  Range r = type_range(elem);
  *v = (Var){.name = intern(name), .wish = intern(name), .elem = elem, .lanes = lanes, .lo = r.lo, .hi = r.hi};
  return v;
}

static Var *dim_var(Builder *b, const char *symbol) {
  Kernel *k = b->kernel;
  for (int i = 0; i < k->dims.len; i++)
    if (!strcmp(k->dims.at[i], symbol)) return k->dim_vars.at[i];
  Var *v = var_new(b, symbol, DT_I64, 1);
  const Symbol *s = symbol_find(symbol);
  if (s) { v->lo = s->lo; v->hi = s->hi; }
  *vec_push(b->arena, &k->dims) = intern(symbol);
  *vec_push(b->arena, &k->dim_vars) = v;
  return v;
}

static void *make_dim(void *ctx, DimKind kind, int64_t constant, const char *symbol, void *x, void *y) {
  Builder *b = ctx;
  switch (kind) {
  case DIM_CONST: return ex_int(b, constant);
  case DIM_SYMBOL: return ex_var(b, dim_var(b, symbol));
  case DIM_ADD: return ex_add(b, x, y);
  case DIM_MUL: return ex_mul(b, x, y);
  case DIM_MOD: return ex_scalar(b, S_MOD, x, y, NULL);
  case DIM_MIN: return ex_min(b, x, y);
  case DIM_MAX: return ex_max(b, x, y);
  case DIM_FLOORDIV:
    if (((Expr *)x)->lo >= 0) return ex_div(b, x, y);
    return ex_div(b, ex_sub(b, x, ex_scalar(b, S_MOD, x, y, NULL)), y);   // exact, so rounding does not matter
  }
  BUG("loop builder: dim kind %d", (int)kind);
}

Expr *ex_dim(Builder *b, Dim d) {
  if (dim_is_const(d)) return ex_int(b, d.k);
  return dim_fold(d, make_dim, b);
}

Expr *ex_load(Builder *b, Buf *buf, Expr *index) {
  if (index->kind == EX_SPLAT) return ex_splat(b, ex_load(b, buf, index->arg[0]), index->lanes);
  if (index->elem != DT_I64) index = ex_cast(b, DT_I64, index);
  Expr *e = expr_new(b, EX_LOAD, dtype_compute(buf->dtype), index->lanes);
  Range r = type_range(buf->dtype);
  if (dtype_is_int(buf->dtype)) { e->lo = r.lo; e->hi = r.hi; }
  e->arg[0] = index;
  e->buf = buf;
  return e;
}

Expr *ex_splat(Builder *b, Expr *x, int lanes) {
  if (x->lanes == lanes) return x;
  if (x->lanes != 1) BUG("loop builder: splat of %d lanes", x->lanes);
  Expr *e = expr_new(b, EX_SPLAT, x->elem, lanes);
  e->arg[0] = x;
  e->lo = x->lo;
  e->hi = x->hi;
  return e;
}

Expr *ex_ramp(Builder *b, Expr *base, int64_t stride, int lanes) {
  if (lanes == 1) return base;
  if (base->lanes != 1) BUG("loop builder: ramp from %d lanes", base->lanes);
  if (stride == 0) return ex_splat(b, base, lanes);
  Expr *e = expr_new(b, EX_RAMP, base->elem, lanes);
  e->arg[0] = base;
  e->arg[1] = expr_int(b, base->elem, stride);
  int64_t span = stride * (lanes - 1);
  Range r = range_add((Range){base->lo, base->hi}, (Range){span < 0 ? span : 0, span > 0 ? span : 0});
  e->lo = r.lo;
  e->hi = r.hi;
  return e;
}

Expr *ex_reduce(Builder *b, ScalarOp op, Expr *x) {
  if (x->lanes == 1) return x;
  if (x->kind == EX_SPLAT && (op == S_MIN || op == S_MAX)) return x->arg[0];
  Expr *e = expr_new(b, EX_REDUCE, x->elem, 1);
  e->op = op;
  e->arg[0] = x;
  return e;
}

Expr *ex_part(Builder *b, Expr *x, int i, int lanes) {
  if (x->lanes == lanes) return x;
  if (x->kind == EX_SPLAT) return ex_splat(b, x->arg[0], lanes);
  Expr *e = expr_new(b, EX_PART, x->elem, lanes);
  e->i = i;
  e->arg[0] = x;
  return e;
}

bool ex_is_int(const Expr *e, int64_t *v) {
  if (e->kind != EX_CONST || dtype_is_float(e->elem)) return false;
  if (v) *v = e->i;
  return true;
}

/* ---- statements ---- */

static Block *block_new(Builder *b) { return NEW(b->arena, Block); }

static Stmt *stmt_add(Builder *b, StmtKind kind) {
  Stmt *s = NEW(b->arena, Stmt);
  s->kind = kind;
  *vec_push(b->arena, &b->at->stmts) = s;
  return s;
}

static void push(Builder *b, Block *to) {
  *vec_push(b->arena, &b->stack) = b->at;
  b->at = to;
}

static Block *pop(Builder *b) {
  if (!b->stack.len) BUG("loop builder: end without a beginning");
  Block *was = b->at;
  b->at = b->stack.at[--b->stack.len];
  return was;
}

static Stmt *last(Block *s) { return s->stmts.len ? s->stmts.at[s->stmts.len - 1] : NULL; }

void var_loop_range(Var *v) {
  const Expr *lo = v->loop->lo, *hi = v->loop->hi;
  int64_t step = v->loop->step;
  v->lo = lo->lo;
  v->hi = hi->hi == INT64_MAX ? INT64_MAX : hi->hi - 1;
  if (lo->kind == EX_CONST && hi->kind == EX_CONST && hi->i > lo->i) v->hi = lo->i + (hi->i - 1 - lo->i) / step * step;
}

Expr *loop_begin(Builder *b, const char *name, Expr *lo, Expr *hi, int64_t step, ForMode mode) {
  if (step < 1) BUG("loop builder: step %lld", (long long)step);
  Expr *span = ex_sub(b, hi, lo);
  if (span->lo >= 1 && span->hi <= step) { push(b, b->at); return lo; }
  if (span->hi <= 0) { push(b, block_new(b)); return lo; }
  Stmt *f = stmt_add(b, ST_FOR);
  Var *v = var_new(b, name, DT_I64, 1);
  f->var = v;
  f->lo = lo;
  f->hi = hi;
  f->step = step;
  f->mode = mode;
  f->body = block_new(b);
  v->loop = f;
  var_loop_range(v);
  push(b, f->body);
  return ex_var(b, v);
}

Expr *loop_turn(Builder *b, const char *name, Expr *i, Expr *n, Expr *backwards) {
  return backwards ? let(b, name, ex_select(b, backwards, ex_sub(b, ex_sub(b, n, ex_int(b, 1)), i), i)) : i;
}

Expr *loop_turned(const Stmt *loop) {
  const Stmt *first = loop->kind == ST_FOR && loop->body->stmts.len ? loop->body->stmts.at[0] : NULL;
  const Expr *e = first && first->kind == ST_LET ? first->value : NULL;
  if (!e || e->kind != EX_SCALAR || e->op != S_WHERE || e->arg[2]->kind != EX_VAR || e->arg[2]->var != loop->var)
    return NULL;
  return expr_uses(e->arg[1], loop->var) ? e->arg[0] : NULL;
}

void loop_end(Builder *b) {
  Block *body = pop(b);
  Stmt *f = last(b->at);
  if (f && f->kind == ST_FOR && f->body == body && !body->stmts.len) b->at->stmts.len--;
}

int loop_parallel_depth(const Builder *b) {
  int depth = 0;
  for (int i = 0; i < b->stack.len; i++) {
    const Block *inner = i + 1 < b->stack.len ? b->stack.at[i + 1] : b->at;
    const Stmt *s = last(b->stack.at[i]);
    depth += s && s->kind == ST_FOR && s->body == inner && s->mode & FOR_PARALLEL;
  }
  return depth;
}

void par_begin(Builder *b) {
  Stmt *s = stmt_add(b, ST_BLOCK);
  s->mode = FOR_PARALLEL;
  s->body = block_new(b);
  push(b, s->body);
  push(b, block_new(b));
}

/* What the item at work has become: one statement, or a block of several. */
static void par_item(Builder *b) {
  Block *item = pop(b);
  if (item->stmts.len == 1 && item->stmts.at[0]->kind != ST_LET) {
    *vec_push(b->arena, &b->at->stmts) = item->stmts.at[0];
  } else if (item->stmts.len) {
    stmt_add(b, ST_BLOCK)->body = item;
  }
}

void par_next(Builder *b) {
  par_item(b);
  push(b, block_new(b));
}

void par_end(Builder *b) {
  par_item(b);
  Block *items = pop(b);
  if (items->stmts.len > 1) return;
  b->at->stmts.len--;                                           // one statement, or none: no block
  const Stmt *only = last(items);
  if (!only) return;
  if (only->kind != ST_BLOCK || only->mode) { *vec_push(b->arena, &b->at->stmts) = items->stmts.at[0]; return; }
  for (int i = 0; i < only->body->stmts.len; i++) *vec_push(b->arena, &b->at->stmts) = only->body->stmts.at[i];
}

void if_begin(Builder *b, Expr *cond) {
  if (cond->elem != DT_BOOL || cond->lanes != 1) BUG("loop builder: the condition of an if is not one bool");
  Stmt *s = stmt_add(b, ST_IF);
  s->cond = cond;
  s->body = block_new(b);
  push(b, s->body);
}

void if_else(Builder *b) {
  pop(b);
  Stmt *s = last(b->at);
  if (!s || s->kind != ST_IF || s->other) BUG("loop builder: else without an if");
  s->other = block_new(b);
  push(b, s->other);
}

void if_end(Builder *b) {
  pop(b);
  Stmt *s = last(b->at);
  if (!s || s->kind != ST_IF) BUG("loop builder: end of an if without an if");
  if (s->other && !s->other->stmts.len) s->other = NULL;
  if (s->cond->kind == EX_CONST) {                              // decided: the arm taken replaces it
    Block *arm = s->cond->i ? s->body : s->other;
    b->at->stmts.len--;
    for (int i = 0; arm && i < arm->stmts.len; i++) *vec_push(b->arena, &b->at->stmts) = arm->stmts.at[i];
  } else if (!s->body->stmts.len) {
    if (!s->other) { b->at->stmts.len--; return; }
    s->cond = ex_scalar(b, S_NOT, s->cond, NULL, NULL);
    s->body = s->other;
    s->other = NULL;
  }
}

Expr *let(Builder *b, const char *name, Expr *value) {
  const Expr *e = value->kind == EX_SPLAT ? value->arg[0] : value;
  if (e->kind == EX_CONST || (value->kind == EX_VAR && !value->var->mutable)) return value;
  if (value->kind == EX_RAMP)                                   // only the base is worth a name: the rest stays visible
    return ex_ramp(b, let(b, name, value->arg[0]), value->arg[1]->i, value->lanes);
  if (value->kind == EX_SPLAT && value->elem == DT_I64) return ex_splat(b, let(b, name, value->arg[0]), value->lanes);
  Stmt *s = stmt_add(b, ST_LET);
  Var *v = var_new(b, name, value->elem, value->lanes);
  v->lo = value->lo;
  v->hi = value->hi;
  s->var = v;
  s->value = value;
  return ex_var(b, v);
}

Expr *let_within(Builder *b, const char *name, Expr *value, int64_t lo, int64_t hi) {
  Expr *e = let(b, name, value);
  if (e->kind != EX_VAR || value->kind == EX_VAR) return e;
  e->var->lo = e->lo = int64_max(e->lo, lo);
  e->var->hi = e->hi = int64_min(e->hi, hi);
  return e;
}

Var *reg(Builder *b, const char *name, Expr *init) {
  Stmt *s = stmt_add(b, ST_LET);
  Var *v = var_new(b, name, init->elem, init->lanes);
  v->mutable = true;
  s->var = v;
  s->value = init;
  return v;
}

void st_set(Builder *b, Var *v, Expr *value) {
  if (!v->mutable) BUG("loop builder: set of '%s', which is not mutable", v->name);
  if (value->elem != v->elem) value = ex_cast(b, v->elem, value);
  if (value->kind == EX_VAR && value->var == v) return;
  Stmt *s = stmt_add(b, ST_SET);
  s->var = v;
  s->value = ex_splat(b, value, v->lanes);
}

void st_store(Builder *b, Buf *buf, Expr *index, Expr *value) {
  value = ex_cast(b, buf->dtype, value);
  if (value->kind == EX_CAST && dtype_is_float(buf->dtype) && value->arg[0]->elem == value->elem &&
      value->i == (int64_t)buf->dtype)
    value = value->arg[0];                                      // the store rounds
  if (index->elem != DT_I64) index = ex_cast(b, DT_I64, index);
  if (value->lanes == 1) value = ex_splat(b, value, index->lanes);
  if (value->lanes != index->lanes) BUG("loop builder: store of %d lanes at %d indices", value->lanes, index->lanes);
  Stmt *s = stmt_add(b, ST_STORE);
  s->buf = buf;
  s->index = index;
  s->value = value;
}

void st_prefetch(Builder *b, Buf *buf, Expr *index) {
  Stmt *s = stmt_add(b, ST_PREFETCH);
  s->buf = buf;
  s->index = index;
}

void st_note(Builder *b, const char *fmt, ...) {
  char text[512];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  stmt_add(b, ST_NOTE)->text = intern(text);
}

void st_call(Builder *b, const char *fn, Buf **bufs, int nbufs, Expr **args, int nargs) {
  Stmt *s = stmt_add(b, ST_CALL);
  s->text = intern(fn);
  s->bufs = arena_dup(b->arena, bufs, sizeof(Buf *) * (size_t)nbufs);
  s->nbufs = nbufs;
  s->args = arena_dup(b->arena, args, sizeof(Expr *) * (size_t)nargs);
  s->nargs = nargs;
}

/* ---- kernels ---- */

Kernel *kernel_new(Builder *b, Arena *a, const char *name) {
  Kernel *k = NEW(a, Kernel);
  k->name = intern(name);
  k->target_lanes = 1;
  *b = (Builder){.arena = a, .kernel = k};
  k->body = b->at = block_new(b);
  return k;
}

Buf *kernel_buf(Builder *b, const char *name, DType t, BufRole role, Dim size, ValueId value) {
  Kernel *k = b->kernel;
  Buf *f = NEW(b->arena, Buf);
  *f = (Buf){.name = intern(name), .dtype = t, .role = role, .size = size, .value = value, .is_named = !value,
             .index = k->bufs.len};
  *vec_push(b->arena, &k->bufs) = f;
  return f;
}

/* ---- names ---- */

typedef struct Stem { const char *name; int next; } Stem;        /* a name wished for more than once */
typedef struct Names { Arena arena; VEC(const char *) used; VEC(Stem) stems; } Names;

static const char *const c_keywords[] = {
  "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern", "float",
  "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed", "sizeof",
  "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while", "bool", "main",
};

static const char *identifier(const char *s) {
  char text[64];
  int n = 0;
  if (!isalpha((unsigned char)*s)) text[n++] = 'v';
  for (; *s && n < 60; s++) text[n++] = isalnum((unsigned char)*s) ? *s : '_';
  text[n] = 0;
  for (size_t i = 0; i < sizeof c_keywords / sizeof *c_keywords; i++)
    if (!strcmp(text, c_keywords[i])) strcat(text, "_");
  return intern(text);
}

static bool taken(const Names *n, const char *name) {
  for (int i = n->used.len - 1; i >= 0; i--)
    if (n->used.at[i] == name) return true;
  return false;
}

static Stem *stem_of(Names *n, const char *name) {
  for (int i = 0; i < n->stems.len; i++)
    if (n->stems.at[i].name == name) return &n->stems.at[i];
  Stem *s = vec_push(&n->arena, &n->stems);
  *s = (Stem){name, 2};
  return s;
}

/* acc, acc2, acc3 …; a name that ends in a digit goes on as x1_2 */
static const char *claim(Names *n, const char *wish) {
  const char *name = identifier(wish);
  if (taken(n, name)) {
    Stem *s = stem_of(n, name);
    bool digit = isdigit((unsigned char)name[strlen(name) - 1]);
    char text[80];
    do snprintf(text, sizeof text, "%s%s%d", s->name, digit ? "_" : "", s->next++);
    while (taken(n, intern(text)));
    name = intern(text);
  }
  *vec_push(&n->arena, &n->used) = name;
  return name;
}

static const char *wish_of(Var *v) { return v->wish = var_wish(v); }   // acc2 was once acc: numbers are given anew

static void name_block(Names *n, Block *s);

static void name_stmts(Names *n, Block *s) {
  for (int i = 0; i < s->stmts.len; i++) {
    Stmt *t = s->stmts.at[i];
    if (t->kind == ST_LET) t->var->name = claim(n, wish_of(t->var));
    int inner = n->used.len;
    if (t->kind == ST_FOR) t->var->name = claim(n, wish_of(t->var));
    if (t->kind == ST_BLOCK) { name_stmts(n, t->body); continue; }      // no scope in C: printed without braces
    name_block(n, t->body);
    name_block(n, t->other);
    n->used.len = inner;
  }
}

static void name_block(Names *n, Block *s) {
  if (!s) return;
  int visible = n->used.len, stems = n->stems.len;
  int *next = NEW_N(&n->arena, int, stems + 1);
  for (int i = 0; i < stems; i++) next[i] = n->stems.at[i].next;
  name_stmts(n, s);
  n->used.len = visible;
  n->stems.len = stems;
  for (int i = 0; i < stems; i++) n->stems.at[i].next = next[i];
}

void kernel_finish(Kernel *k) {
  Names n = {0};
  int index = 0;
  for (int local = 0; local < 2; local++)                       // parameters in order, then locals
    for (int i = 0; i < k->bufs.len; i++) {
      if ((k->bufs.at[i]->role == BUF_LOCAL) == local) k->bufs.at[i]->index = index++;
    }
  for (int i = 0; i < k->bufs.len; i++)                          // insertion sort: kernels have few buffers
    for (int j = i; j > 0 && k->bufs.at[j - 1]->index > k->bufs.at[j]->index; j--) {
      Buf *t = k->bufs.at[j];
      k->bufs.at[j] = k->bufs.at[j - 1];
      k->bufs.at[j - 1] = t;
    }
  for (int i = 0; i < k->dims.len; i++) k->dim_vars.at[i]->name = claim(&n, k->dims.at[i]);
  for (int i = 0; i < k->bufs.len; i++) k->bufs.at[i]->name = claim(&n, k->bufs.at[i]->name);
  name_block(&n, k->body);
  arena_free(&n.arena);
}
