/* Are two kernels the same tree? What the text states is compared, node by node; bounds, lengths and indices that the
 * builders derive are not. Variables are the same when they were declared at the same place, buffers when they have the
 * same position. For proving that text reads back as what was printed: the text itself would not show a lost digit. */
#include "ir/loop.h"

typedef struct VarPair { const Var *x, *y; } VarPair;

typedef struct Same {
  const Kernel *x, *y;
  Arena tmp;
  VEC(VarPair) vars;
  const char *differs;                                         /* NULL: nothing so far */
} Same;

static bool no(Same *s, const char *what) {
  if (!s->differs) s->differs = what;
  return false;
}

static bool same_var(Same *s, const Var *x, const Var *y) {
  for (int i = s->vars.len - 1; i >= 0; i--)
    if (s->vars.at[i].x == x) return s->vars.at[i].y == y || no(s, "a variable");
  return no(s, "a variable nobody declared");
}

static bool declare(Same *s, const Var *x, const Var *y) {
  *vec_push(&s->tmp, &s->vars) = (VarPair){x, y};
  return (!strcmp(x->name, y->name) && x->elem == y->elem && x->lanes == y->lanes && x->mutable == y->mutable) ||
         no(s, "a declaration");
}

static bool same_buf(Same *s, const Buf *x, const Buf *y) {
  for (int i = 0; i < s->x->bufs.len; i++)
    if (s->x->bufs.at[i] == x) return s->y->bufs.at[i] == y || no(s, "a buffer");
  return no(s, "a buffer nobody declared");
}

static bool same_expr(Same *s, const Expr *x, const Expr *y) {
  if (!x || !y) return x == y || no(s, "an expression that is missing");
  if (x->kind != y->kind || x->elem != y->elem || x->lanes != y->lanes)
    return no(s, "the kind or type of an expression");
  bool has_op = x->kind == EX_SCALAR || x->kind == EX_REDUCE, is_float = dtype_is_float(x->elem);
  if (has_op && x->op != y->op) return no(s, "a function");
  if (x->kind == EX_PART && x->i != y->i) return no(s, "which part of a vector");
  if (x->kind == EX_CAST && x->i != y->i) return no(s, "the type of a cast");
  if (x->kind == EX_CONST && !is_float && x->i != y->i) return no(s, "a literal");
  if (x->kind == EX_CONST && is_float && memcmp(&x->f, &y->f, sizeof x->f) && !(x->f != x->f && y->f != y->f))
    return no(s, "a literal");
  if (x->kind == EX_VAR && !same_var(s, x->var, y->var)) return false;
  if (x->kind == EX_LOAD && !same_buf(s, x->buf, y->buf)) return false;
  for (int i = 0; i < 3; i++)
    if (!same_expr(s, x->arg[i], y->arg[i])) return false;
  return true;
}

static bool same_block(Same *s, const Block *x, const Block *y);

static bool same_call(Same *s, const Stmt *x, const Stmt *y) {
  if (strcmp(x->text, y->text) || x->nbufs != y->nbufs || x->nargs != y->nargs) return no(s, "a call");
  for (int i = 0; i < x->nbufs; i++)
    if (!same_buf(s, x->bufs[i], y->bufs[i])) return false;
  for (int i = 0; i < x->nargs; i++)
    if (!same_expr(s, x->args[i], y->args[i])) return false;
  return true;
}

static bool same_stmt(Same *s, const Stmt *x, const Stmt *y) {
  if (x->kind != y->kind) return no(s, "the kind of a statement");
  switch (x->kind) {
  case ST_BLOCK:
    if (x->mode != y->mode) return no(s, "how a block runs");
    return same_block(s, x->body, y->body);
  case ST_FOR:
    if (!same_expr(s, x->lo, y->lo) || !same_expr(s, x->hi, y->hi)) return false;
    if (x->step != y->step || x->mode != y->mode) return no(s, "how a loop runs");
    return declare(s, x->var, y->var) && same_block(s, x->body, y->body);
  case ST_IF:
    return same_expr(s, x->cond, y->cond) && same_block(s, x->body, y->body) && same_block(s, x->other, y->other);
  case ST_LET: return same_expr(s, x->value, y->value) && declare(s, x->var, y->var);
  case ST_SET: return same_var(s, x->var, y->var) && same_expr(s, x->value, y->value);
  case ST_STORE:
    return same_buf(s, x->buf, y->buf) && same_expr(s, x->index, y->index) && same_expr(s, x->value, y->value);
  case ST_PREFETCH: return same_buf(s, x->buf, y->buf) && same_expr(s, x->index, y->index);
  case ST_CALL: return same_call(s, x, y);
  case ST_NOTE: return !strcmp(x->text, y->text) || no(s, "a note");
  case STMT_COUNT: break;
  }
  BUG("loop same: statement kind");
}

static bool same_block(Same *s, const Block *x, const Block *y) {
  if (!x || !y) return x == y || no(s, "a block that is missing");
  if (x->stmts.len != y->stmts.len) return no(s, "the number of statements");
  for (int i = 0; i < x->stmts.len; i++)
    if (!same_stmt(s, x->stmts.at[i], y->stmts.at[i])) return false;
  return true;
}

static bool same_head(Same *s) {
  const Kernel *x = s->x, *y = s->y;
  if (strcmp(x->name, y->name) || strcmp(x->note ? x->note : "", y->note ? y->note : ""))
    return no(s, "the name or the note");
  if (strcmp(x->choice ? x->choice : "", y->choice ? y->choice : "") || x->cycles != y->cycles)
    return no(s, "what was chosen");
  if (x->group != y->group || x->root != y->root || x->target_lanes != y->target_lanes || !dim_eq(x->flops, y->flops) ||
      x->parts != y->parts)
    return no(s, "the head");
  if (x->bufs.len != y->bufs.len || x->dims.len != y->dims.len) return no(s, "the number of parameters");
  for (int i = 0; i < x->bufs.len; i++) {
    const Buf *a = x->bufs.at[i], *b = y->bufs.at[i];
    if (strcmp(a->name, b->name) || a->dtype != b->dtype || a->role != b->role || !dim_eq(a->size, b->size) ||
        a->value != b->value || a->is_constant != b->is_constant || a->private_to != b->private_to)
      return no(s, "a parameter");
  }
  for (int i = 0; i < x->dims.len; i++) {
    const Var *a = x->dim_vars.at[i], *b = y->dim_vars.at[i];
    if (x->dims.at[i] != y->dims.at[i] || a->lo != b->lo || a->hi != b->hi) return no(s, "a size");
    declare(s, a, b);
  }
  return true;
}

const char *kernel_difference(const Kernel *x, const Kernel *y) {
  Same s = {.x = x, .y = y};
  if (same_head(&s)) same_block(&s, x->body, y->body);
  arena_free(&s.tmp);
  return s.differs;
}
