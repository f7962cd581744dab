/* Reads what ir/loop_text.c writes. A recursive descent over the text itself; the first error is reported with
 * line and column and ends the parse. Nothing is simplified: nodes are made as written. */
#include "base/intern.h"
#include "ir/loop_text.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>

typedef struct Parse {
  Builder b;
  const char *at, *start;
  Diags *d;
  bool failed;
  VEC(Var *) scope;                     /* visible, innermost last */
} Parse;

static bool fail(Parse *p, const char *what) {
  if (p->failed) return false;
  int line = 1, column = 1;
  for (const char *s = p->start; s < p->at; s++) {
    column = *s == '\n' ? 1 : column + 1;
    line += *s == '\n';
  }
  char where[40];
  snprintf(where, sizeof where, "%d:%d", line, column);
  diag_error(p->d, "parse", where, "%s", what);
  p->failed = true;
  return false;
}

/* ---- tokens ---- */

static void skip(Parse *p) {
  while (isspace((unsigned char)*p->at)) p->at++;
}

static bool accept(Parse *p, const char *s) {
  skip(p);
  size_t n = strlen(s);
  if (p->failed || strncmp(p->at, s, n) != 0) return false;
  if (char_is_word(s[n - 1]) && char_is_word(p->at[n])) return false;
  p->at += n;
  return true;
}

static bool expect(Parse *p, const char *s) {
  if (accept(p, s)) return true;
  return fail(p, arena_printf(p->b.arena, "expected '%s'", s));
}

static const char *word(Parse *p) {
  skip(p);
  const char *s = p->at;
  while (char_is_word(*p->at)) p->at++;
  if (s == p->at) { fail(p, "expected a name"); return ""; }
  return intern_n(s, (size_t)(p->at - s));
}

static int64_t integer(Parse *p) {
  skip(p);
  char *end;
  int64_t v = (int64_t)strtoll(p->at, &end, 10);
  if (end == p->at) fail(p, "expected an integer");
  p->at = end;
  return v;
}

static const char *string(Parse *p) {
  Text t = {0};
  if (!expect(p, "\"")) return "";
  text_put(&t, "");
  for (; *p->at && *p->at != '"'; p->at++) {
    if (*p->at == '\\' && p->at[1]) {
      p->at++;
      text_bytes(&t, *p->at == 'n' ? "\n" : p->at, 1);
    } else {
      text_bytes(&t, p->at, 1);
    }
  }
  const char *s = intern(t.at);
  text_free(&t);
  if (*p->at == '"') p->at++;
  else fail(p, "a string without an end");
  return s;
}

static Dim dim(Parse *p) {
  Dim d = DIM(0);
  skip(p);
  if (!dim_parse(&p->at, &d)) fail(p, "expected a dim");
  return d;
}

static DType dtype(Parse *p) {
  DType t = dtype_from_text(word(p));
  if (t == DT_NONE) fail(p, "not an element type");
  return t;
}

/* ---- expressions ---- */

static Expr *expr(Parse *p, int rank);

static Var *find_var(Parse *p, const char *name) {
  for (int i = p->scope.len - 1; i >= 0; i--)
    if (p->scope.at[i]->name == name) return p->scope.at[i];
  return NULL;
}

static Buf *find_buf(Parse *p, const char *name) {
  const Kernel *k = p->b.kernel;
  for (int i = 0; i < k->bufs.len; i++)
    if (k->bufs.at[i]->name == name) return k->bufs.at[i];
  fail(p, arena_printf(p->b.arena, "no buffer or variable is called '%s'", name));
  return NULL;
}

static Expr *zero(Parse *p) { return expr_int(&p->b, DT_I64, 0); }

static Expr *literal(Parse *p) {
  const char *s = p->at, *e = s;
  if (*e == '-') e++;
  bool special = isalpha((unsigned char)*e), is_float = special;
  if (special) {
    while (isalpha((unsigned char)*e)) e++;
  } else {
    while (isdigit((unsigned char)*e) || *e == 'e' || (*e == '.' && e[1] != '.') || (*e == '-' && e[-1] == 'e') ||
           (*e == '+' && e[-1] == 'e')) {
      is_float |= *e == '.' || *e == 'e';
      e++;
    }
  }
  double f = is_float ? strtod(s, NULL) : 0;
  int64_t i = is_float ? 0 : (int64_t)strtoll(s, NULL, 10);
  p->at = e;
  DType t = is_float ? DT_F32 : DT_I64;
  if (*p->at == ':') {
    p->at++;
    t = dtype(p);
  }
  if (dtype_is_float(t) != is_float) fail(p, "a literal of another type");
  return is_float ? expr_float(&p->b, t, f) : expr_int(&p->b, t, i);
}

static int lanes(Parse *p) {
  int64_t n = integer(p);
  if (n < 2 || n > 256) fail(p, "lanes must be 2..256");
  return (int)n;
}

static int arguments(Parse *p, Expr **a, int max) {              /* behind '(' up to ')' or a closing item */
  int n = 0;
  do a[n] = expr(p, 0);
  while (!p->failed && ++n < max && accept(p, ","));
  return n;
}

static Expr *one_argument(Parse *p) {
  expect(p, "(");
  return expr(p, 0);
}

static Expr *with_type(Parse *p, bool cast) {
  Expr *x = one_argument(p);
  expect(p, ",");
  DType t = dtype(p);
  expect(p, ")");
  Expr *e = expr_new(&p->b, cast ? EX_CAST : EX_BITS, cast ? dtype_compute(t) : t, x->lanes);
  e->arg[0] = x;
  if (cast) expr_cast_range(e, t);
  return e;
}

static Expr *splat(Parse *p) {
  Expr *x = one_argument(p);
  expect(p, ",");
  int n = lanes(p);
  expect(p, ")");
  return p->failed || x->lanes != 1 ? (fail(p, "splat of a vector"), x) : ex_splat(&p->b, x, n);
}

static Expr *ramp(Parse *p) {
  Expr *x = one_argument(p);
  expect(p, ",");
  int64_t stride = integer(p);
  expect(p, ",");
  int n = lanes(p);
  expect(p, ")");
  if (p->failed || x->lanes != 1 || stride == 0 || x->elem != DT_I64) { fail(p, "not a ramp"); return x; }
  return ex_ramp(&p->b, x, stride, n);
}

/* part(x, i, lanes); a single lane is a scalar */
static Expr *part(Parse *p) {
  Expr *x = one_argument(p);
  expect(p, ",");
  int64_t i = integer(p);
  expect(p, ",");
  int64_t n = integer(p);
  expect(p, ")");
  if (p->failed || i < 0 || n < 1 || n >= x->lanes || (i + 1) * n > x->lanes) {
    fail(p, "not a part of a vector");
    return x;
  }
  return ex_part(&p->b, x, (int)i, (int)n);
}

static Expr *fma_of(Parse *p) {
  Expr *a[3];
  expect(p, "(");
  if (arguments(p, a, 3) < 3) { fail(p, "fma takes three arguments"); return zero(p); }
  expect(p, ")");
  Expr *e = expr_new(&p->b, EX_FMA, a[2]->elem, a[2]->lanes);
  memcpy(e->arg, a, sizeof a);
  return e;
}

static Expr *scalar_of(Parse *p, ScalarOp op, Expr **a, int n) {
  int want = scalar_info[op].arity;
  if (n != want) {
    fail(p, arena_printf(p->b.arena, "'%s' takes %d arguments", scalar_info[op].text, want));
    return zero(p);
  }
  Expr *last = a[n - 1];
  return expr_scalar(&p->b, op, scalar_info[op].gives_bool ? DT_BOOL : last->elem, last->lanes, a[0], n > 1 ? a[1]
                     : NULL, n > 2 ? a[2] : NULL);
}

static Expr *function(Parse *p, const char *name) {
  if (!strcmp(name, "fma")) return fma_of(p);
  if (!strcmp(name, "cast")) return with_type(p, true);
  if (!strcmp(name, "bits")) return with_type(p, false);
  if (!strcmp(name, "splat")) return splat(p);
  if (!strcmp(name, "ramp")) return ramp(p);
  if (!strcmp(name, "part")) return part(p);
  for (int i = 0; i < LOOP_REDUCES; i++)
    if (!strcmp(name, loop_reduce[i].text)) {
      Expr *x = one_argument(p), *e = expr_new(&p->b, EX_REDUCE, x->elem, 1);
      expect(p, ")");
      e->op = loop_reduce[i].op;
      e->arg[0] = x;
      return e;
    }
  for (int op = 0; op < SCALAR_COUNT; op++)
    if (!strcmp(name, scalar_info[op].text)) {
      Expr *a[3];
      expect(p, "(");
      int n = arguments(p, a, 3);
      expect(p, ")");
      return scalar_of(p, (ScalarOp)op, a, n);
    }
  fail(p, arena_printf(p->b.arena, "no function is called '%s'", name));
  return zero(p);
}

static Expr *primary(Parse *p) {
  skip(p);
  if (p->failed) return zero(p);
  if (accept(p, "(")) {
    Expr *e = expr(p, 0);
    expect(p, ")");
    return e;
  }
  if (isdigit((unsigned char)*p->at) || *p->at == '-') return literal(p);
  const char *begin = p->at, *name = word(p);
  skip(p);
  if (*p->at == '(') return function(p, name);
  if (*p->at == '[') {
    Buf *buf = find_buf(p, name);
    expect(p, "[");
    Expr *i = expr(p, 0);
    expect(p, "]");
    if (!buf || i->elem != DT_I64) { fail(p, "an index must be i64"); return zero(p); }
    Expr *e = expr_new(&p->b, EX_LOAD, dtype_compute(buf->dtype), i->lanes);
    e->arg[0] = i;
    e->buf = buf;
    Range r = type_range(buf->dtype);
    if (dtype_is_int(buf->dtype)) { e->lo = r.lo; e->hi = r.hi; }
    return e;
  }
  Var *v = find_var(p, name);
  if (v) return ex_var(&p->b, v);
  if (!strcmp(name, "true") || !strcmp(name, "false")) return expr_int(&p->b, DT_BOOL, name[0] == 't');
  if (!strcmp(name, "inf") || !strcmp(name, "nan")) { p->at = begin; return literal(p); }
  find_buf(p, name);
  return zero(p);
}

static Expr *expr(Parse *p, int rank) {
  Expr *x = primary(p);
  for (bool more = true; more && !p->failed;) {
    more = false;
    for (int i = 0; i < LOOP_INFIX; i++) {
      if (loop_infix[i].rank < rank || !accept(p, loop_infix[i].text)) continue;
      Expr *a[2] = {x, expr(p, loop_infix[i].rank + 1)};
      x = scalar_of(p, loop_infix[i].op, a, 2);
      more = true;
      break;
    }
  }
  return x;
}

/* ---- statements ---- */

static void block(Parse *p, Block *to);

static Stmt *add(Parse *p, StmtKind kind) {
  Stmt *s = NEW(p->b.arena, Stmt);
  s->kind = kind;
  *vec_push(p->b.arena, &p->b.at->stmts) = s;
  return s;
}

static Var *declare(Parse *p, const char *name, const Expr *value) {
  Var *v = NEW(p->b.arena, Var);
  *v = (Var){.name = name, .elem = value->elem, .lanes = value->lanes, .lo = value->lo, .hi = value->hi};
  *vec_push(p->b.arena, &p->scope) = v;
  return v;
}

static void loop(Parse *p, ForMode mode) {
  Stmt *s = add(p, ST_FOR);
  const char *name = word(p);
  expect(p, "in");
  s->lo = expr(p, 2);
  expect(p, "..");
  s->hi = expr(p, 2);
  s->step = accept(p, "step") ? integer(p) : 1;
  if (s->step < 1) { fail(p, "a step must be positive"); return; }
  s->mode = mode;
  int mark = p->scope.len;
  s->var = declare(p, name, s->lo);
  s->var->loop = s;
  var_loop_range(s->var);
  s->body = NEW(p->b.arena, Block);
  block(p, s->body);
  p->scope.len = mark;
}

static void if_of(Parse *p) {
  Stmt *s = add(p, ST_IF);
  s->cond = expr(p, 0);
  s->body = NEW(p->b.arena, Block);
  block(p, s->body);
  if (!accept(p, "else")) return;
  s->other = NEW(p->b.arena, Block);
  block(p, s->other);
}

static void let_of(Parse *p, bool is_mutable) {
  Stmt *s = add(p, ST_LET);
  const char *name = word(p);
  expect(p, "=");
  s->value = expr(p, 0);
  s->var = declare(p, name, s->value);
  s->var->mutable = is_mutable;
  if (is_mutable) {
    Range r = type_range(s->var->elem);
    s->var->lo = r.lo;
    s->var->hi = r.hi;
  }
}

static void call_of(Parse *p) {
  Stmt *s = add(p, ST_CALL);
  Buf *bufs[64];
  Expr *args[64];
  s->text = word(p);
  expect(p, "(");
  skip(p);
  while (!p->failed && s->nbufs < 64 && *p->at != ';' && *p->at != ')') {
    bufs[s->nbufs++] = find_buf(p, word(p));
    if (!accept(p, ",")) break;
  }
  if (accept(p, ";"))
    do args[s->nargs++] = expr(p, 0);
    while (!p->failed && s->nargs < 64 && accept(p, ","));
  expect(p, ")");
  s->bufs = arena_dup(p->b.arena, bufs, sizeof(Buf *) * (size_t)s->nbufs);
  s->args = arena_dup(p->b.arena, args, sizeof(Expr *) * (size_t)s->nargs);
}

static void assignment(Parse *p) {
  const char *name = word(p);
  if (accept(p, "[")) {
    Stmt *s = add(p, ST_STORE);
    s->buf = find_buf(p, name);
    s->index = expr(p, 0);
    expect(p, "]");
    expect(p, "=");
    s->value = expr(p, 0);
    return;
  }
  Var *v = find_var(p, name);
  if (!v) { fail(p, arena_printf(p->b.arena, "no variable is called '%s'", name)); return; }
  Stmt *s = add(p, ST_SET);
  s->var = v;
  expect(p, "=");
  s->value = expr(p, 0);
}

static void prefetch_of(Parse *p) {
  Stmt *s = add(p, ST_PREFETCH);
  s->buf = find_buf(p, word(p));
  expect(p, "[");
  s->index = expr(p, 0);
  expect(p, "]");
}

static void block_of(Parse *p, ForMode mode) {
  Stmt *s = add(p, ST_BLOCK);
  s->mode = mode;
  s->body = NEW(p->b.arena, Block);
  block(p, s->body);
}

static void parallel(Parse *p) {
  if (accept(p, "vec")) { loop(p, FOR_PARALLEL_VECTOR); return; }
  skip(p);
  if (*p->at == '{') block_of(p, FOR_PARALLEL);
  else loop(p, FOR_PARALLEL);
}

static bool statement(Parse *p) {
  static const struct { const char *text; ForMode mode; } loops[] = {
    {"for", FOR_SEQ}, {"vec", FOR_VECTOR}, {"unroll", FOR_UNROLL}};
  skip(p);
  if (p->failed || *p->at == '}') return false;
  if (!*p->at) return fail(p, "expected '}'");
  for (int i = 0; i < 3; i++)
    if (accept(p, loops[i].text)) { loop(p, loops[i].mode); return !p->failed; }
  if (accept(p, "par")) parallel(p);
  else if (accept(p, "if")) if_of(p);
  else if (accept(p, "let")) let_of(p, false);
  else if (accept(p, "var")) let_of(p, true);
  else if (accept(p, "prefetch")) prefetch_of(p);
  else if (accept(p, "call")) call_of(p);
  else if (accept(p, "note")) add(p, ST_NOTE)->text = string(p);
  else if (*p->at == '{') block_of(p, FOR_SEQ);
  else assignment(p);
  return !p->failed;
}

static void block(Parse *p, Block *to) {
  Block *outer = p->b.at;
  int mark = p->scope.len;
  p->b.at = to;
  expect(p, "{");
  while (statement(p)) continue;
  expect(p, "}");
  p->scope.len = mark;
  p->b.at = outer;
}

/* ---- kernels ---- */

static bool buffer(Parse *p, int index) {
  for (int role = 0; role < LOOP_ROLES; role++) {
    if (!accept(p, loop_role[role])) continue;
    const char *name = word(p);
    expect(p, ":");
    DType t = dtype(p);
    expect(p, "[");
    Dim size = dim(p);
    expect(p, "]");
    ValueId v = accept(p, "@") ? (ValueId)integer(p) : 0;
    Buf *b = kernel_buf(&p->b, name, t, (BufRole)role, size, v);
    b->index = index;
    b->is_constant = accept(p, "const");
    if (accept(p, "private")) b->private_to = (int)integer(p);
    return true;
  }
  return false;
}

static void dims(Parse *p) {
  if (!accept(p, "dims")) return;
  do {
    const char *name = word(p);
    expect(p, "in");
    int64_t lo = integer(p);
    expect(p, "..");
    int64_t hi = integer(p);
    if (p->failed) return;
    dim_symbol(name, lo, hi);
    Expr bounds = {.elem = DT_I64, .lanes = 1, .lo = lo, .hi = hi};
    Var *v = declare(p, name, &bounds);
    *vec_push(p->b.arena, &p->b.kernel->dims) = name;
    *vec_push(p->b.arena, &p->b.kernel->dim_vars) = v;
  } while (accept(p, ","));
}

Kernel *kernel_parse(Arena *a, const char **text, Diags *d) {
  Parse p = {.at = *text, .start = *text, .d = d};
  p.b.arena = a;
  expect(&p, "kernel");
  const char *name = word(&p);
  if (p.failed) return NULL;
  Kernel *k = kernel_new(&p.b, a, name);
  expect(&p, "lanes");
  k->target_lanes = (int)integer(&p);
  expect(&p, "group");
  k->group = (int)integer(&p);
  expect(&p, "root");
  k->root = (ValueId)integer(&p);
  expect(&p, "flops");
  k->flops = dim(&p);
  if (accept(&p, "parts")) k->parts = (int)integer(&p);
  expect(&p, "(");
  for (int i = 0; !p.failed && buffer(&p, i); i++) continue;
  expect(&p, ")");
  dims(&p);
  skip(&p);
  const char *body = p.at;
  if (expect(&p, "{") && accept(&p, "about")) k->note = string(&p);
  if (!p.failed && accept(&p, "chose")) {
    k->choice = string(&p);
    k->cycles = integer(&p);
  }
  if (k->note || k->choice) {
    while (statement(&p)) continue;
    expect(&p, "}");
  } else {
    p.at = p.failed ? p.at : body;
    block(&p, k->body);
  }
  *text = p.at;
  return p.failed ? NULL : k;
}
