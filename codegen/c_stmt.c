/* Statements, and the breaking of long lines. */
#include "codegen/c.h"
#include <stdarg.h>

enum { WIDTH = 110 };

/* Where to break a line that is too long: the last space at the shallowest nesting within the limit, in its
 * second half. */
static size_t break_at(const char *s, size_t from, size_t limit) {
  int depth = 0, best_depth = 1000;
  size_t best = 0;
  for (size_t i = 0; s[i] && i < limit; i++) {
    if (s[i] == '(' || s[i] == '[' || s[i] == '{') depth++;
    if (s[i] == ')' || s[i] == ']' || s[i] == '}') depth--;
    bool after = s[i] == ' ' && i && strchr(",;+-*/%&|<>?:", s[i - 1]);   // a comma or an operator
    if (after && i > from + (limit - from) / 3 && depth <= best_depth) { best = i; best_depth = depth; }
  }
  return best;
}

void c_line(CPrinter *p, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  char *line = arena_vprintf(p->arena, fmt, ap);
  va_end(ap);
  int indent = p->indent * 2;
  const char *s = line;
  for (;;) {
    size_t room = (size_t)(WIDTH - (indent < 60 ? indent : 60));
    size_t cut = strlen(s) > room ? break_at(s, 0, room) : 0;
    text_printf(p->out, "%*s", indent, "");
    if (!cut) break;
    text_printf(p->out, "%.*s\n", (int)cut, s);
    s += cut + 1;
    if (s == line + cut + 1) indent += 4;
  }
  text_printf(p->out, "%s\n", s);
}

/* ---- let and set ---- */

static bool is_zero_vector(const Expr *e) {
  const Expr *s = c_unsplat(e);
  return e->lanes > 1 && s && s->kind == EX_CONST && (dtype_is_float(s->elem) ? s->f == 0 && 1 / s->f > 0 : s->i == 0);
}

static const char *init_text(CPrinter *p, const Stmt *s) {
  if (is_zero_vector(s->value)) return arena_printf(p->arena, "%s = {0}", c_var(p, s->var));
  if (s->value->elem == DT_BOOL && s->value->lanes > 1)
    return arena_printf(p->arena, "%s = %s", c_var(p, s->var), c_mask(p, s->value, 32, 0));
  return arena_printf(p->arena, "%s = %s", c_var(p, s->var), c_expr(p, s->value).s);
}

static bool printed(CPrinter *p, const Stmt *s) {
  return s->kind == ST_LET && c_reads(p, s->var) > 0 && !c_in_place(p, s->var);
}

/* A weight, constant or packed, that several multiply-adds share must be loaded once: without the barrier gcc folds the
 * load into each of them as a memory operand, and clang spills. */
static bool wants_keep(CPrinter *p, const Stmt *s) {
  return p->target->barrier && s->value->kind == EX_LOAD && s->value->lanes > 1 &&
         (s->var->name[0] == 'w' || s->var->name[0] == 'x') && c_reads(p, s->var) > 1;
}

static bool is_plain(const Expr *e) { return e->kind == EX_CONST || e->kind == EX_VAR || c_unsplat(e); }

/* Registers of one type that start alike share a line: f32x16 a0 = {0}, a1 = {0}; */
static int let_run(CPrinter *p, const Block *b, int i) {
  const Stmt *s = b->stmts.at[i];
  Text t = {0};
  text_printf(&t, "%s %s", c_type(p, s->var->elem, s->var->lanes), init_text(p, s));
  int next = i + 1;
  for (; s->var->mutable && is_plain(s->value) && next < b->stmts.len; next++) {
    const Stmt *n = b->stmts.at[next];
    if (n->kind != ST_LET || !n->var->mutable || n->var->elem != s->var->elem || n->var->lanes != s->var->lanes) break;
    if (!is_plain(n->value)) break;
    if (!printed(p, n)) continue;
    text_printf(&t, ", %s", init_text(p, n));
  }
  text_put(&t, ";");
  if (wants_keep(p, s)) { p->keep = true; text_printf(&t, " LT_KEEP(%s);", c_var(p, s->var)); }
  c_line(p, "%s", t.at);
  text_free(&t);
  return next;
}

static bool is_var(const Expr *e, const Var *v) { return e->kind == EX_VAR && e->var == v; }

static void set(CPrinter *p, const Stmt *s) {
  if (!c_reads(p, s->var)) return;
  const Expr *e = s->value;
  const char *v = c_var(p, s->var);
  if (e->elem == DT_BOOL && e->lanes > 1) { c_line(p, "%s = %s;", v, c_mask(p, e, 32, 0)); return; }
  if (e->kind == EX_FMA && is_var(e->arg[2], s->var)) {
    Expr product = *e;
    product.kind = EX_SCALAR;
    product.op = S_MUL;
    c_line(p, "%s += %s;", v, c_expr(p, &product).s);
    return;
  }
  static const ScalarOp op[] = {S_ADD, S_SUB, S_MUL};
  for (int i = 0; i < 3 && e->kind == EX_SCALAR; i++)
    if (e->op == op[i] && is_var(e->arg[0], s->var) && e->elem != DT_BOOL) {
      const Expr *x = e->lanes > 1 && c_unsplat(e->arg[1]) ? c_unsplat(e->arg[1]) : e->arg[1];
      Expr one = *x;
      if (x != e->arg[1]) one.lanes = 1;
      c_line(p, "%s %s= %s;", v, scalar_info[op[i]].c_operator, c_expr(p, &one).s);
      return;
    }
  c_line(p, "%s = %s;", v, c_expr(p, e).s);
}

/* ---- store ---- */

static const char *stored_value(CPrinter *p, const Stmt *s) {
  DType t = s->buf->dtype;
  const Expr *v = s->value;
  bool narrow = dtype_is_float(t) && t != DT_F32 && t != DT_F64;
  if (narrow && v->elem == DT_F32) return arena_printf(p->arena, "%s(%s)", c_narrow(p, t, v->lanes), c_expr(p, v).s);
  if (t == DT_BOOL && v->lanes > 1)
    return arena_printf(p->arena, "(%s)(%s & 1)", c_type(p, DT_U8, v->lanes), c_mask(p, v, 8, P_UNARY));
  if (t == DT_BOOL && v->kind != EX_CONST) return arena_printf(p->arena, "(uint8_t)%s", c_at(p, v, P_UNARY));
  return c_expr(p, v).s;
}

static void store(CPrinter *p, const Stmt *s) {
  const Expr *i = s->index;
  int lanes = s->value->lanes > i->lanes ? s->value->lanes : i->lanes;
  const char *buf = c_buf(p, s->buf), *v = stored_value(p, s);
  if (lanes == 1) { c_line(p, "%s[%s] = %s;", buf, c_expr(p, i).s, v); return; }
  int64_t stride, zero;
  if (i->kind == EX_RAMP && ex_is_int(i->arg[1], &stride)) {
    bool at_zero = ex_is_int(i->arg[0], &zero) && zero == 0;
    const char *at = at_zero ? buf : arena_printf(p->arena, "%s + %s", buf, c_at(p, i->arg[0], P_ADD));
    if (stride == 1) c_line(p, "%s(%s, %s);", c_store(p, s->buf->dtype, lanes), at, v);
    else c_line(p, "%s(%s, %lld, %s);", c_store_stride(p, s->buf->dtype, lanes), at, (long long)stride, v);
    return;
  }
  c_line(p, "%s(%s, %s, %s);", c_scatter(p, s->buf->dtype, lanes), buf, c_expr(p, i).s, v);
}

/* ---- control ---- */

static bool is_empty(CPrinter *p, const Block *b);

/* Prints nothing: lets and sets that nobody reads, lets printed in place, and what holds only those. */
static bool is_nothing(CPrinter *p, const Stmt *s) {
  switch (s->kind) {
  case ST_LET: return !printed(p, s);
  case ST_SET: return c_reads(p, s->var) == 0;
  case ST_FOR: case ST_BLOCK: return is_empty(p, s->body);
  case ST_IF: return is_empty(p, s->body) && is_empty(p, s->other);
  case ST_STORE: case ST_PREFETCH: case ST_CALL: case ST_NOTE: case STMT_COUNT: break;
  }
  return false;
}

static bool is_empty(CPrinter *p, const Block *b) {
  for (int i = 0; b && i < b->stmts.len; i++)
    if (b->stmts.at[i]->kind != ST_NOTE && !is_nothing(p, b->stmts.at[i])) return false;
  return true;
}

/* One statement needs no braces; an if always has them, so that no else dangles. */
static bool is_single(CPrinter *p, const Block *b) {
  int n = 0;
  const Stmt *only = NULL;
  for (int i = 0; i < b->stmts.len; i++) {
    if (is_nothing(p, b->stmts.at[i])) continue;
    n++;
    only = b->stmts.at[i];
  }
  return n == 1 && (only->kind == ST_STORE || only->kind == ST_SET || only->kind == ST_FOR || only->kind == ST_CALL);
}

static void body(CPrinter *p, const char *head, const Block *b, const char *tail) {
  bool braces = !is_single(p, b) || tail;
  c_line(p, "%s%s", head, braces ? " {" : "");
  p->indent++;
  c_block(p, b);
  p->indent--;
  if (braces) c_line(p, "%s", tail ? tail : "}");
}

static void loop(CPrinter *p, const Stmt *s) {
  if (is_empty(p, s->body)) return;
  const char *v = c_var(p, s->var);
  const char *step = s->step == 1 ? arena_printf(p->arena, "%s++", v)
                                  : arena_printf(p->arena, "%s += %lld", v, (long long)s->step);
  body(p, arena_printf(p->arena, "for (int64_t %s = %s; %s < %s; %s)", v, c_expr(p, s->lo).s, v,
                       c_at(p, s->hi, P_SHIFT), step), s->body, NULL);
}

static void call(CPrinter *p, const Stmt *s) {
  Text t = {0};
  const char *name = s->text;
  bool fresh = true;
  for (int i = 0; i < p->calls.len; i++) fresh &= p->calls.at[i] != name;
  if (fresh) *vec_push(p->arena, &p->calls) = name;
  text_printf(&t, "%s(", name);
  for (int i = 0; i < s->nbufs; i++) text_printf(&t, "%s%s", i ? ", " : "", c_buf(p, s->bufs[i]));
  for (int i = 0; i < s->nargs; i++) text_printf(&t, "%s%s", i || s->nbufs ? ", " : "", c_expr(p, s->args[i]).s);
  text_put(&t, ");");
  c_line(p, "%s", t.at);
  text_free(&t);
}

void c_block(CPrinter *p, const Block *b) {
  for (int i = 0; b && i < b->stmts.len; i++) {
    const Stmt *s = b->stmts.at[i];
    switch (s->kind) {
    case ST_BLOCK: c_block(p, s->body); break;
    case ST_FOR:   loop(p, s); break;
    case ST_IF:
      if (is_empty(p, s->body) && is_empty(p, s->other)) break;
      body(p, arena_printf(p->arena, "if (%s)", c_expr(p, s->cond).s), s->body, s->other ? "} else {" : "}");
      if (s->other) { p->indent++; c_block(p, s->other); p->indent--; c_line(p, "}"); }
      break;
    case ST_LET:   if (printed(p, s)) i = let_run(p, b, i) - 1; break;
    case ST_SET:   set(p, s); break;
    case ST_STORE: store(p, s); break;
    case ST_PREFETCH:
      p->prefetch = true;
      c_line(p, "LT_PREFETCH(%s + %s);", c_buf(p, s->buf), c_at(p, s->index, P_ADD));
      break;
    case ST_CALL:  call(p, s); break;
    case ST_NOTE:  c_line(p, "// %s", s->text); break;
    case STMT_COUNT: BUG("unknown statement");
    }
  }
}
