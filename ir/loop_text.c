/* Loop IR as text. kernel_parse reads what kernel_print writes and gives the same tree: no rule is applied
 * while reading, so that a test can hold any shape.
 *
 *   kernel k_add lanes 8 group 3 root 12 flops 2*N (
 *     in x: f32[16*N] @4
 *     out y: f32[16*N] @7
 *   ) dims N in 1..32 {
 *     vec i in 0..16*N {
 *       let a = x[i]
 *       y[i] = a + 1.0
 *     }
 *   }
 *
 * Loops: for, par, vec, unroll. `var` declares a mutable register. Literals: 3 is i64, 1.0 is f32, others say
 * their type (3:u8, 1.0:f64). Lanes come from ramp(base, stride, lanes) and splat(x, lanes). The infix
 * operators are + - * / % and comparisons; every other function of scalar.def is written by its name. */
#include "ir/loop_text.h"
#include <math.h>
#include <stdlib.h>

const LoopInfix loop_infix[LOOP_INFIX] = {                       // longer operators before their beginnings
  {S_MUL, "*", 3}, {S_DIV, "/", 3}, {S_FMOD, "%", 3}, {S_ADD, "+", 2}, {S_SUB, "-", 2},
  {S_LE, "<=", 1}, {S_GE, ">=", 1}, {S_LT, "<", 1}, {S_GT, ">", 1}, {S_EQ, "==", 1}, {S_NE, "!=", 1},
};
const char *const loop_role[LOOP_ROLES] = {"in", "out", "inout", "scratch", "local"};
const LoopReduce loop_reduce[LOOP_REDUCES] = {
  {S_ADD, "reduce_add"}, {S_MUL, "reduce_mul"}, {S_MAX, "reduce_max"}, {S_MIN, "reduce_min"},
};
static const char *const modes[] = {[FOR_SEQ] = "for", [FOR_VECTOR] = "vec", [FOR_UNROLL] = "unroll",
                                    [FOR_PARALLEL] = "par",
                                    [FOR_PARALLEL_VECTOR] = "par vec"};

/* ---- printing ---- */

static int infix_of(const Expr *e) {
  for (int i = 0; e->kind == EX_SCALAR && i < LOOP_INFIX; i++)
    if (loop_infix[i].op == e->op) return i;
  return -1;
}

static void print_float(Text *t, double v, bool is_double) {
  char s[40];
  if (v != v) { text_put(t, "nan"); return; }
  if (isinf(v)) { text_put(t, v < 0 ? "-inf" : "inf"); return; }
  for (int digits = is_double ? 15 : 6; digits <= 17; digits++) {   // the shortest that reads back
    snprintf(s, sizeof s, "%.*g", digits, v);
    double back = strtod(s, NULL);
    if (is_double ? back == v : (float)back == (float)v) break;
  }
  text_put(t, s);
  if (!strpbrk(s, ".e")) text_put(t, ".0");
}

static void print_const(Text *t, const Expr *e) {
  if (dtype_is_float(e->elem)) {
    print_float(t, e->f, e->elem == DT_F64);
    if (e->elem != DT_F32) text_printf(t, ":%s", dtype_info[e->elem].text);
  } else if (e->elem == DT_BOOL) {
    text_put(t, e->i ? "true" : "false");
  } else {
    text_printf(t, "%lld", (long long)e->i);
    if (e->elem != DT_I64) text_printf(t, ":%s", dtype_info[e->elem].text);
  }
}

static void print_expr(Text *t, const Expr *e, int rank);

static void print_args(Text *t, const char *fn, const Expr *e) {
  text_printf(t, "%s(", fn);
  for (int i = 0; i < 3 && e->arg[i]; i++) {
    if (i) text_put(t, ", ");
    print_expr(t, e->arg[i], 0);
  }
}

static void print_scalar(Text *t, const Expr *e, int rank) {
  int k = infix_of(e);
  if (k < 0) {
    print_args(t, scalar_info[e->op].text, e);
    text_put(t, ")");
    return;
  }
  bool parens = loop_infix[k].rank < rank;
  if (parens) text_put(t, "(");
  print_expr(t, e->arg[0], loop_infix[k].rank + (loop_infix[k].rank == 1));
  text_printf(t, " %s ", loop_infix[k].text);
  print_expr(t, e->arg[1], loop_infix[k].rank + 1);
  if (parens) text_put(t, ")");
}

static void print_expr(Text *t, const Expr *e, int rank) {
  switch (e->kind) {
  case EX_CONST: print_const(t, e); return;
  case EX_VAR: text_put(t, e->var->name); return;
  case EX_LOAD:
    text_printf(t, "%s[", e->buf->name);
    print_expr(t, e->arg[0], 0);
    text_put(t, "]");
    return;
  case EX_SCALAR: print_scalar(t, e, rank); return;
  case EX_FMA: print_args(t, "fma", e); break;
  case EX_CAST: print_args(t, "cast", e); text_printf(t, ", %s", dtype_info[e->i].text); break;
  case EX_BITS: print_args(t, "bits", e); text_printf(t, ", %s", dtype_info[e->elem].text); break;
  case EX_SPLAT: case EX_RAMP:
    print_args(t, e->kind == EX_RAMP ? "ramp" : "splat", e);
    text_printf(t, ", %d", e->lanes);
    break;
  case EX_PART: print_args(t, "part", e); text_printf(t, ", %lld, %d", (long long)e->i, e->lanes); break;
  case EX_REDUCE:
    for (int i = 0; i < LOOP_REDUCES; i++)
      if (loop_reduce[i].op == e->op) print_args(t, loop_reduce[i].text, e);
    break;
  case EXPR_COUNT: BUG("loop text: expression kind");
  }
  text_put(t, ")");
}

static void indent(Text *t, int depth) {
  for (int i = 0; i < depth; i++) text_put(t, "  ");
}

static void print_string(Text *t, const char *s) {
  text_put(t, "\"");
  for (; *s; s++) {
    if (*s == '\n') text_put(t, "\\n");
    else {
      if (*s == '"' || *s == '\\') text_put(t, "\\");
      text_bytes(t, s, 1);
    }
  }
  text_put(t, "\"");
}

static void print_block(Text *t, const Block *s, int depth);

static void print_call(Text *t, const Stmt *s) {
  text_printf(t, "call %s(", s->text);
  for (int i = 0; i < s->nbufs; i++) text_printf(t, "%s%s", i ? ", " : "", s->bufs[i]->name);
  for (int i = 0; i < s->nargs; i++) {
    text_put(t, i ? ", " : "; ");
    print_expr(t, s->args[i], 0);
  }
  text_put(t, ")");
}

static void print_stmt(Text *t, const Stmt *s, int depth) {
  indent(t, depth);
  switch (s->kind) {
  case ST_BLOCK:
    text_put(t, s->mode == FOR_PARALLEL ? "par {\n" : "{\n");
    print_block(t, s->body, depth + 1);
    indent(t, depth);
    text_put(t, "}");
    break;
  case ST_FOR:
    text_printf(t, "%s %s in ", modes[s->mode], s->var->name);
    print_expr(t, s->lo, 2);
    text_put(t, "..");
    print_expr(t, s->hi, 2);
    if (s->step != 1) text_printf(t, " step %lld", (long long)s->step);
    text_put(t, " {\n");
    print_block(t, s->body, depth + 1);
    indent(t, depth);
    text_put(t, "}");
    break;
  case ST_IF:
    text_put(t, "if ");
    print_expr(t, s->cond, 0);
    text_put(t, " {\n");
    print_block(t, s->body, depth + 1);
    indent(t, depth);
    if (s->other) {
      text_put(t, "} else {\n");
      print_block(t, s->other, depth + 1);
      indent(t, depth);
    }
    text_put(t, "}");
    break;
  case ST_LET: case ST_SET:
    text_printf(t, "%s%s = ", s->kind == ST_SET ? "" : s->var->mutable ? "var " : "let ", s->var->name);
    print_expr(t, s->value, 0);
    break;
  case ST_STORE:
    text_printf(t, "%s[", s->buf->name);
    print_expr(t, s->index, 0);
    text_put(t, "] = ");
    print_expr(t, s->value, 0);
    break;
  case ST_PREFETCH:
    text_printf(t, "prefetch %s[", s->buf->name);
    print_expr(t, s->index, 0);
    text_put(t, "]");
    break;
  case ST_CALL: print_call(t, s); break;
  case ST_NOTE:
    text_put(t, "note ");
    print_string(t, s->text);
    break;
  case STMT_COUNT: BUG("loop text: statement kind");
  }
  text_put(t, "\n");
}

static void print_block(Text *t, const Block *s, int depth) {
  for (int i = 0; i < s->stmts.len; i++) print_stmt(t, s->stmts.at[i], depth);
}

void kernel_print(Text *t, const Kernel *k) {
  text_printf(t, "kernel %s lanes %d group %d root %u flops ", k->name, k->target_lanes, k->group, k->root);
  dim_print(t, k->flops);
  if (k->parts) text_printf(t, " parts %d", k->parts);
  text_put(t, " (\n");
  for (int i = 0; i < k->bufs.len; i++) {
    const Buf *b = k->bufs.at[i];
    text_printf(t, "  %s %s: %s[", loop_role[b->role], b->name, dtype_info[b->dtype].text);
    dim_print(t, b->size);
    text_put(t, "]");
    if (b->value) text_printf(t, " @%u", b->value);
    if (b->is_constant) text_put(t, " const");
    if (b->private_to) text_printf(t, " private %d", b->private_to);
    text_put(t, "\n");
  }
  text_put(t, ")");
  for (int i = 0; i < k->dims.len; i++) {
    const Var *v = k->dim_vars.at[i];
    text_printf(t, "%s %s in %lld..%lld", i ? "," : " dims", k->dims.at[i], (long long)v->lo, (long long)v->hi);
  }
  text_put(t, " {\n");
  if (k->note) {
    text_put(t, "  about ");
    print_string(t, k->note);
    text_put(t, "\n");
  }
  if (k->choice) {
    text_put(t, "  chose ");
    print_string(t, k->choice);
    text_printf(t, " %lld\n", (long long)k->cycles);
  }
  print_block(t, k->body, 1);
  text_put(t, "}\n");
}

const char *stmt_line(Arena *a, const Stmt *s) {
  Text t = {0};
  print_stmt(&t, s, 0);
  t.at[strcspn(t.at, "\n")] = 0;
  const char *line = arena_strdup(a, t.at);
  text_free(&t);
  return line;
}
