/* A phase of a kernel -> the share of one part.
 *
 * Work is counted in units, along the order in which the phase runs serially; a part's share is an interval of them:
 *
 *   loop     for i in lo..hi            w units for each iteration, which belongs to whom its middle falls to:
 *            for i in lo + round(from / w) .. lo + round(to / w)
 *   nest     for i in lo..hi            where iterations are few and large: those which the share touches, and in each
 *              for j in lo..hi          of them what is left of the share:
 *            for i in lo + from / W .. lo + ceil(to / W)
 *              from2 = from - i * W, to2 = to - i * W
 *              for j in lo + max(from2, 0) .. lo + min(to2, trips)
 *   whole    a statement that is not parallel: all its units for one part
 *
 * Statements side by side have their units one after the other. So panels and pixels, or rows and columns, are shared
 * out in two dimensions without a division in the inner loops, and no sum changes its order. */
#include "passes/parallel.h"

/* An iteration of more than a 128th of the phase is cut further where that can be, a loop of less than that is not cut:
 * weights are counted in 4096ths, to which its iterations might come out as nothing. */
enum { FINE = 128, SCALE = 4096 };

typedef struct Share {
  Block *in;                         /* the block that has it */
  Stmt *s;
  enum { LOOP, NEST, WHOLE } kind;
  double cost;                       /* of an iteration, or of all */
  int64_t weight;                    /* the same in units */
  Expr *trips, *units;               /* units: of all iterations */
  struct Share *child;               /* of a nest */
  int children;
} Share;

typedef VEC(Share) ShareList;

struct Shares {
  Builder b;
  Arena *tmp;
  const Impure *impure;
  Block *s;
  double cost;                       /* of the phase */
  ShareList at;
  VEC(const Var *) visible;          /* before the first statement */
};

/* ---- what a statement touches ---- */

bool stmt_uses(const Stmt *s, const Var *v) {
  const Expr *e[5] = {s->lo, s->hi, s->cond, s->index, s->value};
  for (int i = 0; i < 5; i++) if (e[i] && expr_uses(e[i], v)) return true;
  for (int i = 0; i < s->nargs; i++) if (expr_uses(s->args[i], v)) return true;
  if (s->kind == ST_SET && s->var == v) return true;
  const Block *in[2] = {s->body, s->other};
  for (int k = 0; k < 2; k++)
    for (int i = 0; in[k] && i < in[k]->stmts.len; i++) if (stmt_uses(in[k]->stmts.at[i], v)) return true;
  return false;
}

void access_add(Access *to, Access a) {
  to->reads |= a.reads;
  to->writes |= a.writes;
  to->reads_value |= a.reads_value;
  to->writes_value |= a.writes_value;
}

bool access_conflict(Access x, Access y) {
  if (x.writes & (y.reads | y.writes) || x.reads & y.writes) return true;
  return (x.writes_value && y.reads_value) || (x.reads_value && y.writes_value);
}

static void add_read(Access *to, const Buf *b) {
  to->reads |= (uint64_t)1 << b->index;
  to->reads_value |= b->value && !b->is_constant;
}

static void add_write(Access *to, const Buf *b) {
  to->writes |= (uint64_t)1 << b->index;
  to->writes_value |= b->value != 0;
}

static void add_reads(Access *to, const Expr *e) {
  if (!e) return;
  if (e->kind == EX_LOAD) add_read(to, e->buf);
  for (int i = 0; i < 3 && e->arg[i]; i++) add_reads(to, e->arg[i]);
}

Access stmt_access(const Stmt *s) {
  Access a = {0};
  const Expr *e[5] = {s->lo, s->hi, s->cond, s->index, s->value};
  for (int i = 0; i < 5; i++) add_reads(&a, e[i]);
  if (s->kind == ST_STORE) add_write(&a, s->buf);
  if (s->kind == ST_PREFETCH) add_read(&a, s->buf);
  for (int i = 0; i < s->nbufs; i++) {                          // a call: anything
    add_read(&a, s->bufs[i]);
    if (s->bufs[i]->role != BUF_IN) add_write(&a, s->bufs[i]);
  }
  const Block *in[2] = {s->body, s->other};
  for (int k = 0; k < 2; k++)
    for (int i = 0; in[k] && i < in[k]->stmts.len; i++) access_add(&a, stmt_access(in[k]->stmts.at[i]));
  return a;
}

static bool is_impure(const Impure *x, const Expr *e) {
  if (e->kind == EX_VAR)
    for (int i = 0; i < x->vars.len; i++) if (x->vars.at[i] == e->var) return true;
  if (e->kind == EX_LOAD && !e->buf->is_constant) return true;
  for (int i = 0; i < 3 && e->arg[i]; i++) if (is_impure(x, e->arg[i])) return true;
  return false;
}

static void find_impure(Impure *x, Arena *a, const Block *s) {
  for (int i = 0; i < s->stmts.len; i++) {
    const Stmt *t = s->stmts.at[i];
    if (t->kind == ST_LET && (t->var->mutable || is_impure(x, t->value))) *vec_push(a, &x->vars) = t->var;
    if (t->body) find_impure(x, a, t->body);
    if (t->other) find_impure(x, a, t->other);
  }
}

Impure impure_of(Arena *a, const Kernel *k) {
  Impure x = {0};
  find_impure(&x, a, k->body);
  return x;
}

bool let_is_pure(const Impure *x, const Stmt *s) {
  if (s->kind != ST_LET) return false;
  for (int i = 0; i < x->vars.len; i++) if (x->vars.at[i] == s->var) return false;
  return true;
}

/* ---- planning ---- */

static bool is_visible(const Shares *x, const Expr *e) {
  if (e->kind == EX_LOAD) return false;
  if (e->kind == EX_VAR) {
    for (int i = 0; i < x->visible.len; i++) if (x->visible.at[i] == e->var) return true;
    return false;
  }
  for (int i = 0; i < 3 && e->arg[i]; i++) if (!is_visible(x, e->arg[i])) return false;
  return true;
}

static bool plan_block(Shares *x, Block *s, bool independent, ShareList *to);

static int leaves(const ShareList *list) {                      // 2: two or more
  int n = 0;
  for (int i = 0; i < list->len; i++) n += list->at[i].kind == WHOLE ? 1 : 2;
  return n;
}

static Share plan_loop(Shares *x, Block *in, Stmt *s) {
  Builder *b = &x->b;
  Share r = {.in = in, .s = s, .kind = LOOP, .cost = block_cost(s->body) + 1};
  r.trips = ex_div(b, ex_add(b, ex_sub(b, s->hi, s->lo), ex_int(b, s->step - 1)), ex_int(b, s->step));
  ShareList inner = {0};
  if (r.cost * FINE <= x->cost || !plan_block(x, s->body, false, &inner) || leaves(&inner) < 2) return r;
  r.kind = NEST;
  r.child = inner.at;
  r.children = inner.len;
  return r;
}

/* False: the statements depend on each other, or on what not every part can compute. */
static bool plan_block(Shares *x, Block *s, bool independent, ShareList *to) {
  for (int i = 0; i < s->stmts.len; i++) {
    Stmt *t = s->stmts.at[i];
    if (t->kind == ST_NOTE || let_is_pure(x->impure, t)) continue;
    if (t->kind == ST_LET || t->kind == ST_SET) return false;
    for (int j = 0; j < i && !independent; j++)
      if (access_conflict(stmt_access(s->stmts.at[j]), stmt_access(t))) return false;
    if (t->kind == ST_FOR && t->mode & FOR_PARALLEL && stmt_cost(t) * FINE > x->cost) {
      if (!is_visible(x, t->lo) || !is_visible(x, t->hi)) return false;
      *vec_push(x->tmp, to) = plan_loop(x, s, t);
      continue;
    }
    int before = to->len;
    if (t->kind == ST_BLOCK && plan_block(x, t->body, t->mode & FOR_PARALLEL, to)) continue;
    to->len = before;
    *vec_push(x->tmp, to) = (Share){.in = s, .s = t, .kind = WHOLE, .cost = stmt_cost(t)};
  }
  return true;
}

/* ---- units ---- */

static int64_t gcd(int64_t a, int64_t b) { return b ? gcd(b, a % b) : a; }

static int64_t weigh(Shares *x, Share *list, int n) {            // gives the greatest common divisor of the weights
  int64_t d = 0;
  for (int i = 0; i < n; i++) {
    Share *s = &list[i];
    s->weight = (int64_t)(s->cost * SCALE / x->cost + 0.5);
    if (s->weight < 1) s->weight = 1;
    d = gcd(s->kind == NEST ? weigh(x, s->child, s->children) : s->weight, d);
  }
  return d;
}

static Expr *count(Shares *x, Share *list, int n, int64_t unit) {
  Builder *b = &x->b;
  Expr *sum = ex_int(b, 0);
  for (int i = 0; i < n; i++) {
    Share *s = &list[i];
    s->weight /= unit;
    Expr *one = s->kind == NEST ? count(x, s->child, s->children, unit) : ex_int(b, s->weight);
    s->units = s->kind == WHOLE ? one : ex_mul(b, s->trips, one);
    sum = ex_add(b, sum, s->units);
  }
  return sum;
}

Shares *shares_plan(Arena *tmp, Arena *a, Kernel *k, const Impure *impure, Block *s) {
  Shares *x = NEW(tmp, Shares);
  *x = (Shares){.b = {.arena = a, .kernel = k, .at = NEW(tmp, Block)}, .tmp = tmp, .s = s, .impure = impure,
                .cost = block_cost(s) + 1};
  for (int i = 0; i < k->dim_vars.len; i++) *vec_push(tmp, &x->visible) = k->dim_vars.at[i];
  for (int i = 0; i < s->stmts.len; i++)
    if (let_is_pure(impure, s->stmts.at[i])) *vec_push(tmp, &x->visible) = s->stmts.at[i]->var;
  if (!plan_block(x, s, false, &x->at) || leaves(&x->at) < 2) return NULL;
  return x;
}

/* ---- cutting ---- */

static bool is_one(const Expr *e) {
  int64_t v;
  return ex_is_int(e, &v) && v == 1;
}

static Expr *ceil_div(Builder *b, Expr *e, Expr *by) {
  return ex_div(b, ex_add(b, e, ex_sub(b, by, ex_int(b, 1))), by);
}

/* How many iterations of w units have their middle before unit e. */
static Expr *middles(Builder *b, Expr *e, Expr *w) {
  return ex_div(b, ex_add(b, e, ex_div(b, ex_sub(b, w, ex_int(b, 1)), ex_int(b, 2))), w);
}

/* `exact`: the share lies within these units. */
static void cut(Shares *x, Share *list, int n, Expr *from, Expr *to, bool exact);

/* The iterations that belong to the share, or in a nest: that it touches; each has w units. */
static void cut_loop(Shares *x, Share *s, Expr *from, Expr *to, Expr *w, bool exact) {
  Builder *b = &x->b;
  Expr *zero = ex_int(b, 0), *step = ex_int(b, s->s->step);
  if (!exact) from = ex_max(b, from, zero);
  if (!exact && !is_one(w)) to = ex_max(b, to, zero);           // else a negative end is as good
  Expr *lo = s->kind == LOOP ? middles(b, from, w) : ex_div(b, from, w);
  Expr *hi = s->kind == LOOP ? middles(b, to, w) : ceil_div(b, to, w);
  if (!exact) hi = ex_min(b, hi, s->trips);
  Expr *start = s->s->lo;
  s->s->lo = ex_add(b, start, ex_mul(b, lo, step));
  s->s->hi = ex_add(b, start, ex_mul(b, hi, step));
}

static void put_first(Arena *a, Block *s, const Block *lets) {
  Block old = *s;
  *s = (Block){0};
  for (int i = 0; i < lets->stmts.len; i++) *vec_push(a, &s->stmts) = lets->stmts.at[i];
  for (int i = 0; i < old.stmts.len; i++) *vec_push(a, &s->stmts) = old.stmts.at[i];
}

static void cut_nest(Shares *x, Share *s, Expr *from, Expr *to, bool exact) {
  Builder *b = &x->b;
  Stmt *loop = s->s;
  Expr *each = ex_int(b, 0), *start = loop->lo;
  for (int i = 0; i < s->children; i++) each = ex_add(b, each, s->child[i].units);
  cut_loop(x, s, from, to, each, exact);
  Block lets = {0}, *keep = b->at;
  b->at = &lets;
  Expr *number = ex_div(b, ex_sub(b, ex_var(b, loop->var), start), ex_int(b, loop->step)),
       *before = ex_mul(b, number, each);
  Expr *inner_from = let(b, "from", ex_sub(b, from, before)), *inner_to = let(b, "to", ex_sub(b, to, before));
  b->at = keep;
  cut(x, s->child, s->children, inner_from, inner_to, false);
  put_first(b->arena, loop->body, &lets);
}

static void guard(Shares *x, Share *s, Expr *from, Expr *to, Expr *first) {
  Builder *b = &x->b;
  Stmt *made = NEW(b->arena, Stmt);
  Expr *middle = ex_add(b, first, ex_int(b, s->weight / 2));
  Expr *begun = ex_scalar(b, S_LE, from, middle, NULL), *open = ex_lt(b, middle, to);
  *made = (Stmt){.kind = ST_IF, .cond = ex_scalar(b, S_AND, begun, open, NULL), .body = NEW(b->arena, Block)};
  *vec_push(b->arena, &made->body->stmts) = s->s;
  for (int i = 0; i < s->in->stmts.len; i++) if (s->in->stmts.at[i] == s->s) s->in->stmts.at[i] = made;
}

static void cut(Shares *x, Share *list, int n, Expr *from, Expr *to, bool exact) {
  Builder *b = &x->b;
  Expr *first = ex_int(b, 0);
  for (int i = 0; i < n; i++) {
    Share *s = &list[i];
    Expr *lo = ex_sub(b, from, first), *hi = ex_sub(b, to, first);
    if (s->kind == WHOLE) guard(x, s, from, to, first);
    else if (s->kind == LOOP) cut_loop(x, s, lo, hi, ex_int(b, s->weight), exact && n == 1);
    else cut_nest(x, s, lo, hi, exact && n == 1);
    first = ex_add(b, first, s->units);
  }
}

/* Where the loops of a phase are turned, the last part has what the first has otherwise, so that a part meets the same
 * weights in every time step, in its own cache. */
static Expr *turned_by(const Shares *x) {
  for (int i = 0; i < x->at.len; i++) {
    Expr *backwards = loop_turned(x->at.at[i].s);
    if (backwards && is_visible(x, backwards)) return backwards;
  }
  return NULL;
}

void shares_apply(Shares *x) {
  Builder *b = &x->b;
  Arena *a = b->arena;
  Block lets = {0};
  b->at = &lets;
  int64_t unit = weigh(x, x->at.at, x->at.len);
  Expr *all = count(x, x->at.at, x->at.len, unit);
  Expr *part = ex_dim(b, dim_symbol(PART_SYMBOL, 0, MOST_PARTS - 1)),
       *parts = ex_dim(b, dim_symbol(PARTS_SYMBOL, 1, MOST_PARTS));
  part = loop_turn(b, "share", part, parts, turned_by(x));
  Expr *from = let(b, "from", ex_div(b, ex_mul(b, all, part), parts));
  Expr *to = let(b, "to", ex_div(b, ex_mul(b, all, ex_add(b, part, ex_int(b, 1))), parts));
  cut(x, x->at.at, x->at.len, from, to, true);
  int pure = 0;                                                  // the trips may need them
  while (pure < x->s->stmts.len && let_is_pure(x->impure, x->s->stmts.at[pure])) pure++;
  Block old = *x->s;
  *x->s = (Block){0};
  for (int i = 0; i < pure; i++) *vec_push(a, &x->s->stmts) = old.stmts.at[i];
  for (int i = 0; i < lets.stmts.len; i++) *vec_push(a, &x->s->stmts) = lets.stmts.at[i];
  for (int i = pure; i < old.stmts.len; i++) *vec_push(a, &x->s->stmts) = old.stmts.at[i];
}
