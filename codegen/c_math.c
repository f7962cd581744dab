/* The scalar functions of scalar.def in C: an operator, a function of runtime/vecmath.tmpl (f32 on SIMD
 * targets), a libm function, or a small helper of the row's body. What has no vector form works lane by
 * lane on the scalar function. */
#include "codegen/c.h"
#include "base/intern.h"

static const char *unsigned_of(int bits) {
  return bits <= 32 ? "uint32_t" : "uint64_t";                 // wide enough not to promote to int
}

static const char *fill(CPrinter *p, const char *body, DType t) {
  Text out = {0};
  for (const char *s = body; *s; s++) {
    if (*s != '@') { text_bytes(&out, s, 1); continue; }
    switch (*++s) {
    case 'm': text_put(&out, t == DT_F64 ? "" : "f"); break;
    case 'T': text_put(&out, c_storage(t)); break;
    case 'B': text_printf(&out, "%d", c_bits(t)); break;
    case 'U': text_put(&out, unsigned_of(c_bits(t))); break;
    }
  }
  const char *r = arena_strdup(p->arena, out.at);
  text_free(&out);
  return r;
}

static const char *scalar_helper(CPrinter *p, ScalarOp op, DType t) {
  const ScalarInfo *info = &scalar_info[op];
  const char *T = c_storage(t), *name = arena_printf(p->arena, "%s_%s", info->text, dtype_info[t].text);
  const char *body = dtype_is_float(t) ? info->body.flt : dtype_is_signed(t) ? info->body.sint : info->body.uint;
  if (!body) BUG("no C for %s of %s", info->text, dtype_info[t].text);
  const char *args = arena_printf(p->arena, info->arity == 2 ? "%s a, %s b" : "%s a", T, T);
  const char *form = strchr(body, ';') ? "INLINE %s %s(%s) {\n  %s\n}\n" : "INLINE %s %s(%s) { return %s; }\n";
  return c_helper(p, name, form, info->gives_bool ? "int" : T, name, args, fill(p, body, t));
}

/* Vector bodies, for floats and integers alike: m is the mask type. */
static const char *vector_helper(CPrinter *p, ScalarOp op, DType t, int lanes) {
  static const char *const body[SCALAR_COUNT] = {
    [S_MIN] = "(a < b) | (a != a), a, b", [S_MAX] = "(a > b) | (a != a), a, b", [S_RELU] = "a < 0, zero, a",
  };
  static const char *const body_int[SCALAR_COUNT] = {
    [S_MIN] = "a < b, a, b", [S_MAX] = "a > b, a, b", [S_RELU] = "a < 0, zero, a", [S_ABS] = "a < 0, -a, a",
  };
  const char *name = intern(arena_printf(p->arena, "%s_%s", scalar_info[op].text, c_suffix(t, lanes)));
  const char *v = c_storage_vector(p, t, lanes);
  DType mask = c_int_of(c_bits(t));
  if (op == S_ISNAN || op == S_ISINF) {
    const char *m = c_storage_vector(p, mask, lanes);
    return c_helper(p, name, op == S_ISNAN ? "INLINE %s %s(%s a) { return a != a; }\n" : "INLINE %s %s(%s a) { return (a - a != a - a) & (a == a); }\n",
                    m, name, v);
  }
  if (op == S_ABS && dtype_is_float(t)) {                      // clears the sign bit
    const char *m = c_storage_vector(p, mask, lanes);
    return c_helper(p, name, "INLINE %s %s(%s a) { return (%s)((%s)a & %s); }\n", v, name, v, v, m, t == DT_F64 ? "INT64_MAX" : "INT32_MAX");
  }
  const char *s = dtype_is_float(t) ? body[op] : dtype_is_signed(t) || op == S_MIN || op == S_MAX ? body_int[op] : NULL;
  if (!s) return NULL;
  const char *select = c_select(p, t, lanes);
  const char *args = scalar_info[op].arity == 2 ? arena_printf(p->arena, "%s a, %s b", v, v) : arena_printf(p->arena, "%s a", v);
  const char *cmp = strstr(s, "zero") ? arena_printf(p->arena, "a < 0, (%s){0}, a", v) : s;
  if (!dtype_is_signed(t)) {                                   // a comparison of unsigned lanes is signed: the mask fits as it is
    return c_helper(p, name, "INLINE %s %s(%s) { return %s(%s); }\n", v, name, args, select, cmp);
  }
  return c_helper(p, name, "INLINE %s %s(%s) { return %s(%s); }\n", v, name, args, select, cmp);
}

/* Exact and cheap: not worth a call into vecmath. */
static bool own_helper(ScalarOp op) {
  return op == S_MIN || op == S_MAX || op == S_RELU || op == S_ABS || op == S_ISNAN || op == S_ISINF;
}

const char *c_math(CPrinter *p, ScalarOp op, DType t, int lanes) {
  const ScalarInfo *info = &scalar_info[op];
  if (lanes > 1 && vector_helper(p, op, t, lanes)) return vector_helper(p, op, t, lanes);
  const char *scalar = NULL;
  if (t == DT_F32 && !p->plain && info->vecmath && !own_helper(op)) {
    if (lanes <= 16) return c_vecmath(p, info->vecmath, lanes);
    scalar = c_vecmath(p, info->vecmath, 1);
  } else if (dtype_is_float(t) && info->libm) {
    scalar = arena_printf(p->arena, "%s%s", info->libm, t == DT_F64 ? "" : "f");
  } else {
    scalar = scalar_helper(p, op, t);
  }
  return lanes == 1 ? scalar : c_lanewise(p, scalar, t, lanes, info->arity);
}

/* ---- operators ---- */

/* Integers below int promote: cut the result back. */
static C narrowed(CPrinter *p, const Expr *e, C c) {
  if (e->lanes > 1 || !dtype_is_int(e->elem) || c_bits(e->elem) >= 32) return c;
  return (C){arena_printf(p->arena, "(%s)%s", c_storage(e->elem), c_wrap(p, c, P_UNARY)), P_UNARY};
}

static C infix(CPrinter *p, const Expr *e, const char *op, int prec, bool commutes) {
  const Expr *a = e->arg[0], *b = e->arg[1];
  bool bitwise = (prec >= P_OR && prec <= P_AND) || prec == P_SHIFT, equal = prec == P_EQ;
  int left = equal ? P_SHIFT : bitwise && !(a->kind == EX_SCALAR && a->op == e->op) ? P_UNARY : prec;
  int right = equal ? P_SHIFT : bitwise && !(commutes && b->kind == EX_SCALAR && b->op == e->op) ? P_UNARY : prec + 1;
  bool both = c_unsplat(a) && c_unsplat(b);                    // keep one of them a vector
  const char *x = e->lanes > 1 && !both ? c_vector_operand(p, a, b, left) : c_at(p, a, left);
  const char *y = e->lanes > 1 && !both ? c_vector_operand(p, b, a, right) : c_at(p, b, right);
  return narrowed(p, e, (C){arena_printf(p->arena, "%s %s %s", x, op, y), prec});
}

/* a + -c prints as a - c */
static bool negative(const Expr *e, Expr *positive) {
  const Expr *s = c_unsplat(e) ? c_unsplat(e) : e;
  if (s->kind != EX_CONST) return false;
  bool flt = dtype_is_float(s->elem);
  if (flt ? !(s->f < 0) || s->f < -1e300 : s->i >= 0 || s->i == INT64_MIN || !dtype_is_signed(s->elem)) return false;
  *positive = *s;
  positive->f = -s->f;
  positive->i = -s->i;
  positive->lanes = e->lanes;
  return true;
}

static C sum(CPrinter *p, const Expr *e) {
  Expr minus, flipped = *e;
  if (e->op == S_ADD && e->arg[1]->elem != DT_BOOL && negative(e->arg[1], &minus)) {
    flipped.op = S_SUB;
    flipped.arg[1] = &minus;
    return infix(p, &flipped, "-", P_ADD, false);
  }
  return infix(p, e, e->op == S_ADD ? "+" : "-", P_ADD, e->op == S_ADD);
}

static C call(CPrinter *p, const Expr *e) {
  const char *f = c_math(p, e->op, e->arg[0]->elem, e->lanes);
  const char *x = c_expr(p, e->arg[0]).s;
  if (scalar_info[e->op].arity == 1) return (C){arena_printf(p->arena, "%s(%s)", f, x), P_POSTFIX};
  return (C){arena_printf(p->arena, "%s(%s, %s)", f, x, c_expr(p, e->arg[1]).s), P_POSTFIX};
}

static C where(CPrinter *p, const Expr *e) {
  const Expr *c = e->arg[0], *x = e->arg[1], *y = e->arg[2];
  if (e->lanes == 1)
    return (C){arena_printf(p->arena, "%s ? %s : %s", c_at(p, c, P_OROR), c_at(p, x, P_COND + 1), c_at(p, y, P_COND)), P_COND};
  if (c->lanes == 1)
    return (C){arena_printf(p->arena, "%s ? %s : %s", c_at(p, c, P_OROR), c_at(p, x, P_COND + 1), c_at(p, y, P_COND)), P_COND};
  const char *mask = c_mask(p, c, c_bits(e->elem), 0);
  return (C){arena_printf(p->arena, "%s(%s, %s, %s)", c_select(p, e->elem, e->lanes), mask, c_expr(p, x).s, c_expr(p, y).s), P_POSTFIX};
}

static C index_div(CPrinter *p, const Expr *e) {
  if (e->arg[1]->lo > 0) return infix(p, e, e->op == S_DIV ? "/" : "%", P_MUL, false);
  return call(p, e);
}

C c_scalar(CPrinter *p, const Expr *e) {
  const Expr *x = e->arg[0], *y = e->arg[1];
  bool scalar = e->lanes == 1, is_int = dtype_is_int(x->elem);
  switch ((int)e->op) {                                        // only what is not a plain call
  case S_ADD: case S_SUB: return sum(p, e);
  case S_MUL: return infix(p, e, "*", P_MUL, true);
  case S_DIV: return is_int ? index_div(p, e) : infix(p, e, "/", P_MUL, false);
  case S_FMOD: return is_int ? index_div(p, e) : call(p, e);
  case S_NEG: return narrowed(p, e, (C){arena_printf(p->arena, "-%s", c_at(p, x, x->kind == EX_CONST ? P_POSTFIX : P_UNARY + (x->kind == EX_SCALAR && x->op == S_NEG))), P_UNARY});
  case S_RECIP:
    if (is_int) return call(p, e);
    return (C){arena_printf(p->arena, "%s / %s", x->elem == DT_F64 ? "1.0" : "1.0f", c_at(p, x, P_UNARY)), P_MUL};
  case S_EQ: case S_NE: return infix(p, e, scalar_info[e->op].c_operator, P_EQ, false);
  case S_LT: case S_LE: case S_GT: case S_GE: return (C){arena_printf(p->arena, "%s %s %s", c_at(p, x, P_SHIFT), scalar_info[e->op].c_operator, c_at(p, y, P_SHIFT)), P_REL};
  case S_AND: if (scalar) return infix(p, e, "&&", P_ANDAND, true); break;
  case S_OR:                                                   // gcc asks for parentheses around && inside ||
    if (scalar) return (C){arena_printf(p->arena, "%s || %s", c_at(p, x, x->kind == EX_SCALAR && x->op == S_OR ? P_OROR : P_ANDAND + 1),
                                        c_at(p, y, y->kind == EX_SCALAR && y->op == S_OR ? P_OROR : P_ANDAND + 1)), P_OROR};
    break;
  case S_XOR: if (scalar) return infix(p, e, "!=", P_EQ, false); break;
  case S_NOT: return (C){arena_printf(p->arena, "!%s", c_at(p, x, P_UNARY)), P_UNARY};
  case S_BITAND: return infix(p, e, "&", P_AND, true);
  case S_BITOR:  return infix(p, e, "|", P_OR, true);
  case S_BITXOR: return infix(p, e, "^", P_XOR, true);
  case S_BITNOT: return narrowed(p, e, (C){arena_printf(p->arena, "~%s", c_at(p, x, P_UNARY)), P_UNARY});
  case S_SHL: case S_SHR: {
    int64_t k;
    const Expr *s = c_unsplat(y) ? c_unsplat(y) : y;
    bool in_range = s->kind == EX_CONST && (k = s->i, k >= 0 && k < c_bits(e->elem));
    if (in_range) return infix(p, e, scalar_info[e->op].c_operator, P_SHIFT, false);
    return call(p, e);
  }
  case S_WHERE: return where(p, e);
  }
  return call(p, e);
}
