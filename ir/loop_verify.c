/* Checks that a kernel obeys ir/loop.h: every pass leaves such a kernel. The rules, by node:
 *   types     arguments agree in element type; comparisons give bool; indices and loop bounds are i64
 *   lanes     arguments agree in lanes, but for a select's condition, which may be scalar; conditions of if,
 *             bounds of loops and arguments of calls are scalar
 *   scopes    a variable is used below its declaration, inside its block; only mutable ones are set
 *   buffers   are the kernel's; nothing is stored to an input
 * A broken rule is our bug: kind "internal", with the statement it is in. */
#include "ir/loop_rules.h"

typedef struct Verify {
  const Kernel *k;
  Diags *d;
  Arena tmp;
  const Stmt *at;
  VEC(const Var *) scope;              /* visible, innermost last */
  bool ok;
} Verify;

static void wrong(Verify *v, const char *what) {
  if (v->ok)
    diag_error(v->d, "internal", NULL, "kernel %s: %s\n  in  %s", v->k->name, what, v->at ? stmt_line(&v->tmp, v->at)
               : "its parameters");
  v->ok = false;
}

static void check(Verify *v, bool good, const char *what) {
  if (!good) wrong(v, what);
}

static bool visible(const Verify *v, const Var *x) {
  for (int i = v->scope.len - 1; i >= 0; i--)
    if (v->scope.at[i] == x) return true;
  return false;
}

static bool has_buf(const Verify *v, const Buf *b) {
  for (int i = 0; i < v->k->bufs.len; i++)
    if (v->k->bufs.at[i] == b) return b->index == i;
  return false;
}

static void check_scalar(Verify *v, const Expr *e) {
  const ScalarInfo *s = &scalar_info[e->op];
  int first = e->op == S_WHERE;
  for (int i = 0; i < 3; i++) check(v, !e->arg[i] == (i >= s->arity), "a function with the wrong number of arguments");
  if (!v->ok) return;
  if (first) {
    check(v, e->arg[0]->elem == DT_BOOL, "a select whose condition is not bool");
    check(v, e->arg[0]->lanes == 1 || e->arg[0]->lanes == e->lanes, "a select's condition has other lanes");
  }
  for (int i = first; i < s->arity; i++) {
    check(v, e->arg[i]->elem == e->arg[first]->elem, "arguments of different types");
    check(v, e->arg[i]->lanes == e->lanes, "arguments of different lanes");
  }
  DType in = e->arg[first]->elem;
  check(v, e->elem == (s->gives_bool ? DT_BOOL : in), "a result of the wrong type");
  check(v, scalar_takes(s->domain, in), arena_printf(&v->tmp, "'%s' does not take %s", s->text, dtype_info[in].text));
}

static void check_load(Verify *v, const Buf *b, const Expr *index) {
  check(v, has_buf(v, b), "a buffer that is not the kernel's");
  check(v, index->elem == DT_I64, "an index that is not i64");
}

static void check_expr(Verify *v, const Expr *e) {
  for (int i = 0; i < 3 && e->arg[i]; i++) check_expr(v, e->arg[i]);
  if (!v->ok) return;
  check(v, e->lanes >= 1 && dtype_compute(e->elem) == e->elem, "a value of a storage type, or of no lanes");
  const Expr *x = e->arg[0];
  switch (e->kind) {
  case EX_CONST: check(v, e->lanes == 1, "a constant vector that is not a splat"); break;
  case EX_VAR:
    check(v, visible(v, e->var), arena_printf(&v->tmp, "'%s' is used where it is not visible", e->var->name));
    check(v, e->elem == e->var->elem && e->lanes == e->var->lanes, "a variable used as another type");
    break;
  case EX_LOAD:
    check_load(v, e->buf, x);
    check(v, e->lanes == x->lanes && e->elem == dtype_compute(e->buf->dtype), "a load of another type");
    break;
  case EX_SCALAR: check_scalar(v, e); break;
  case EX_FMA:
    check(v, dtype_is_float(e->elem), "an fma of integers");
    for (int i = 0; i < 3; i++)
      check(v, e->arg[i] && e->arg[i]->elem == e->elem && e->arg[i]->lanes == e->lanes, "an fma of mixed types");
    break;
  case EX_CAST: check(v, e->lanes == x->lanes && dtype_compute((DType)e->i) == e->elem,
                      "a cast to another type"); break;
  case EX_BITS: check(v, e->lanes == x->lanes && dtype_bytes(e->elem) == dtype_bytes(x->elem),
                      "bits of another size"); break;
  case EX_SPLAT: check(v, x->lanes == 1 && x->elem == e->elem, "a splat of a vector"); break;
  case EX_RAMP:
    check(v, x->lanes == 1 && e->lanes > 1 && x->elem == e->elem && dtype_is_int(e->elem), "not a ramp of integers");
    check(v, e->arg[1] && e->arg[1]->kind == EX_CONST && e->arg[1]->i != 0, "a ramp whose stride is not a constant");
    break;
  case EX_REDUCE: check(v, e->lanes == 1 && x->lanes > 1 && x->elem == e->elem, "not a reduction of a vector"); break;
  case EX_PART: check(v, e->i >= 0 && (e->i + 1) * e->lanes <= x->lanes && x->lanes > e->lanes && x->elem == e->elem,
                      "not a part of a vector"); break;
  case EXPR_COUNT: wrong(v, "no such expression"); break;
  }
}

static void check_scalar_value(Verify *v, const Expr *e, DType t, const char *what) {
  if (!e) { wrong(v, what); return; }
  check_expr(v, e);
  check(v, e->lanes == 1 && (t == DT_NONE || e->elem == t), what);
}

static void check_block(Verify *v, const Block *s);

static void check_set(Verify *v, const Stmt *s) {
  check_expr(v, s->value);
  check(v, s->value->elem == s->var->elem && s->value->lanes == s->var->lanes,
        "a value of another type than its variable");
  if (s->kind == ST_LET) {
    check(v, !visible(v, s->var), "a variable declared twice");
    *vec_push(&v->tmp, &v->scope) = s->var;
    return;
  }
  check(v, s->var->mutable, "a set of a variable that is not mutable");
  check(v, visible(v, s->var), "a set of a variable that is not visible");
}

static void check_stmt(Verify *v, const Stmt *s) {
  v->at = s;
  switch (s->kind) {
  case ST_BLOCK:
    check(v, s->mode == FOR_SEQ || s->mode == FOR_PARALLEL, "a block that is neither in order nor parallel");
    for (int i = 0; s->mode && i < s->body->stmts.len; i++)
      check(v, s->body->stmts.at[i]->kind != ST_LET,
            "a parallel block that declares a variable for all its statements");
    break;
  case ST_FOR:
    check_scalar_value(v, s->lo, DT_I64, "a loop bound that is not one i64");
    check_scalar_value(v, s->hi, DT_I64, "a loop bound that is not one i64");
    check(v, s->step >= 1 && s->body && s->var && s->var->loop == s && !s->var->mutable,
          "a loop without step, body or index");
    check(v, !visible(v, s->var), "a variable declared twice");
    break;
  case ST_IF: check_scalar_value(v, s->cond, DT_BOOL, "a condition that is not one bool"); break;
  case ST_LET: case ST_SET: check_set(v, s); break;
  case ST_STORE:
    check_load(v, s->buf, s->index);
    check_expr(v, s->index);
    check_expr(v, s->value);
    if (!v->ok) break;
    check(v, s->buf->role != BUF_IN, "a store to an input");
    check(v, s->value->elem == dtype_compute(s->buf->dtype) && s->value->lanes == s->index->lanes,
          "a store of another type");
    break;
  case ST_PREFETCH:
    check(v, has_buf(v, s->buf), "a buffer that is not the kernel's");
    check_scalar_value(v, s->index, DT_I64, "a prefetch at an index that is not one i64");
    break;
  case ST_CALL:
    for (int i = 0; i < s->nbufs; i++) check(v, has_buf(v, s->bufs[i]), "a buffer that is not the kernel's");
    for (int i = 0; i < s->nargs; i++) check_scalar_value(v, s->args[i], DT_NONE, "an argument that is a vector");
    break;
  case ST_NOTE: break;
  case STMT_COUNT: wrong(v, "no such statement"); break;
  }
  int mark = v->scope.len;
  if (s->kind == ST_FOR) *vec_push(&v->tmp, &v->scope) = s->var;
  if (v->ok && s->body) check_block(v, s->body);
  if (v->ok && s->other) check_block(v, s->other);
  v->scope.len = mark;
}

static void check_block(Verify *v, const Block *s) {
  int mark = v->scope.len;
  for (int i = 0; v->ok && i < s->stmts.len; i++) check_stmt(v, s->stmts.at[i]);
  v->scope.len = mark;
}

bool kernel_verify(const Kernel *k, Diags *d) {
  Verify v = {.k = k, .d = d, .ok = true};
  check(&v, k->dims.len == k->dim_vars.len, "dims without variables");
  for (int i = 0; i < k->dim_vars.len; i++) *vec_push(&v.tmp, &v.scope) = k->dim_vars.at[i];
  for (int i = 0; i < k->bufs.len; i++) {
    const Buf *b = k->bufs.at[i];
    check(&v, b->index == i, "buffers that are not numbered in order");
    if (b->role == BUF_LOCAL)
      check(&v, dim_is_const(b->size) && b->size.k * dtype_bytes(b->dtype) <= 8192,
            "a local array of more than 8 KiB, or of unknown size");
  }
  check_block(&v, k->body);
  arena_free(&v.tmp);
  return v.ok;
}
