/* The scalar functions of scalar.def in C: an operator, a function of runtime/vecmath.tmpl (f32 on SIMD
 * targets) or, where asked for, of SLEEF, a libm function, or a small helper of the row's body. What has no vector
 * form works lane by lane on the scalar function. */
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

/* The larger of a and b, or the smaller, by the one instruction that machines have for it; a where a is NaN; b is none.
 * Comparing and selecting, which is all that C has, would be three. */
static const char *bound_helper(CPrinter *p, ScalarOp op, int lanes) {
  bool max = op == S_MAX;
  const char *name = intern(arena_printf(p->arena, "%s_%s", max ? "atleast" : "atmost", c_suffix(DT_F32, lanes)));
  const char *v = c_storage_vector(p, DT_F32, lanes), *m = c_storage_vector(p, DT_I32, lanes);
  const char *word = max ? "max" : "min";
  const char *class = lanes == 16 ? "v" : "x";
  Text t = {0};
  text_put(&t, "INLINE %s %s(%s a, %s b) {\n");
  if (lanes >= 4)
    text_printf(&t, "#if defined(%s)\n  __asm__(\"v%sps %%%%1, %%%%2, %%%%0\" : \"=%s\"(a) : \"%s\"(a), \"%s\"(b));\n"
                    "  return a;\n",
                lanes == 16 ? "__AVX512F__" : "__AVX__", word, class, class, class);
  if (lanes == 4) {
    text_printf(&t, "#elif defined(__SSE__)\n  __asm__(\"%sps %%%%1, %%%%0\" : \"+x\"(b) : \"x\"(a));\n  return b;\n",
                word);
    text_printf(&t, "#elif defined(__aarch64__)\n"
                    "  __asm__(\"f%s %%%%0.4s, %%%%1.4s, %%%%2.4s\" : \"=w\"(a) : \"w\"(a), \"w\"(b));\n"
                    "  return a;\n", word);
  }
  if (lanes >= 4) text_put(&t, "#else\n");
  text_printf(&t, "  %%s m = b %s a;\n  return (%%s)((m & (%%s)b) | (~m & (%%s)a));\n%s}\n", max ? ">" : "<",
              lanes >= 4 ? "#endif\n" : "");
  const char *form = arena_strdup(p->arena, t.at);
  text_free(&t);
  return c_helper(p, name, form, v, name, v, v, m, v, m, m);
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
    return c_helper(p, name,
                    op == S_ISNAN ? "INLINE %s %s(%s a) { return a != a; }\n"
                                  : "INLINE %s %s(%s a) { return (a - a != a - a) & (a == a); }\n",
                    m, name, v);
  }
  if (op == S_ABS && dtype_is_float(t)) {                      // clears the sign bit
    const char *m = c_storage_vector(p, mask, lanes);
    return c_helper(p, name, "INLINE %s %s(%s a) { return (%s)((%s)a & %s); }\n", v, name, v, v, m,
                    t == DT_F64 ? "INT64_MAX" : "INT32_MAX");
  }
  if (t == DT_F32 && op == S_RELU)
    return c_helper(p, name, "INLINE %s %s(%s a) { return %s(a, (%s){0}); }\n", v, name, v,
                    bound_helper(p, S_MAX, lanes), v);
  if (t == DT_F32 && (op == S_MIN || op == S_MAX))
    return c_helper(p, name, "INLINE %s %s(%s a, %s b) { return %s(a != a, a, %s(b, a)); }\n", v, name, v, v,
                    c_select(p, t, lanes), bound_helper(p, op, lanes));
  const char *s = dtype_is_float(t) ? body[op] : dtype_is_signed(t) || op == S_MIN || op == S_MAX ? body_int[op] : NULL;
  if (!s) return NULL;
  const char *select = c_select(p, t, lanes);
  const char *args = scalar_info[op].arity == 2 ? arena_printf(p->arena, "%s a, %s b", v, v)
      : arena_printf(p->arena, "%s a", v);
  const char *cmp = strstr(s, "zero") ? arena_printf(p->arena, "a < 0, (%s){0}, a", v) : s;
  return c_helper(p, name, "INLINE %s %s(%s) { return %s(%s); }\n", v, name, args, select, cmp);
}

/* Exact and cheap: not worth a call into vecmath. */
static bool own_helper(ScalarOp op) {
  return op == S_MIN || op == S_MAX || op == S_RELU || op == S_ABS || op == S_ISNAN || op == S_ISINF;
}

/* What SLEEF has within 1 ULP, by the names of libm. The rest stays inline: sigmoid, gelu and other compositions, and
 * what is exact anyway. */
static const char *sleef(CPrinter *p, ScalarOp op, int lanes) {
  static const bool has[SCALAR_COUNT] = {
    [S_EXP] = true, [S_EXPM1] = true, [S_LOG] = true, [S_LOG1P] = true, [S_POW] = true, [S_ERF] = true, [S_TANH] = true,
    [S_SIN] = true, [S_COS] = true, [S_TAN] = true, [S_ASIN] = true, [S_ACOS] = true, [S_ATAN] = true, [S_ATAN2] = true,
    [S_SINH] = true, [S_COSH] = true, [S_ASINH] = true, [S_ACOSH] = true, [S_ATANH] = true,
  };
  if (!p->sleef || !has[op] || (lanes != 1 && lanes != 4 && lanes != 8 && lanes != 16)) return NULL;
  p->includes_sleef = true;
  const char *width = lanes == 1 ? "" : arena_printf(p->arena, "%d", lanes);
  return arena_printf(p->arena, "Sleef_%sf%s_u10", scalar_info[op].libm, width);
}

const char *c_math(CPrinter *p, ScalarOp op, DType t, int lanes) {
  const ScalarInfo *info = &scalar_info[op];
  if (lanes > 1 && vector_helper(p, op, t, lanes)) return vector_helper(p, op, t, lanes);
  const char *scalar = t == DT_F32 ? sleef(p, op, lanes) : NULL;
  if (scalar) return scalar;
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

/* An index times -1 or another negative constant: x with by > 0. Linear forms of ir/loop_index.c have such terms. */
static bool negative_term(const Expr *e, Expr *by) {
  return e->elem == DT_I64 && e->lanes == 1 && e->kind == EX_SCALAR && e->op == S_MUL && negative(e->arg[1], by);
}

/* i * -4 + j prints as j - i * 4 */
static bool difference(const Expr *e, Expr *to, Expr *term, Expr *by) {
  for (int k = 1; k >= 0; k--) {
    if (!negative_term(e->arg[k], by)) continue;
    *term = *e->arg[k];
    term->arg[1] = by;
    *to = *e;
    to->op = S_SUB;
    to->arg[0] = e->arg[!k];
    to->arg[1] = by->i == 1 ? term->arg[0] : term;
    return true;
  }
  return false;
}

static C sum(CPrinter *p, const Expr *e) {
  Expr minus, flipped = *e, term;
  if (e->op == S_ADD && difference(e, &flipped, &term, &minus)) return infix(p, &flipped, "-", P_ADD, false);
  if (e->op == S_ADD && e->arg[1]->elem != DT_BOOL && negative(e->arg[1], &minus)) {
    flipped.op = S_SUB;
    flipped.arg[1] = &minus;
    return infix(p, &flipped, "-", P_ADD, false);
  }
  return infix(p, e, e->op == S_ADD ? "+" : "-", P_ADD, e->op == S_ADD);
}

/* max(x, 6): the second is no NaN. */
static bool is_bound(const Expr *e) {
  if ((e->op != S_MIN && e->op != S_MAX) || e->lanes == 1 || e->arg[0]->elem != DT_F32) return false;
  const Expr *s = c_unsplat(e->arg[1]);
  return s && s->kind == EX_CONST && s->f == s->f;
}

static C call(CPrinter *p, const Expr *e) {
  const char *f = is_bound(e) ? bound_helper(p, e->op, e->lanes) : c_math(p, e->op, e->arg[0]->elem, e->lanes);
  const char *x = c_expr(p, e->arg[0]).s;
  if (scalar_info[e->op].arity == 1) return (C){arena_printf(p->arena, "%s(%s)", f, x), P_POSTFIX};
  return (C){arena_printf(p->arena, "%s(%s, %s)", f, x, c_expr(p, e->arg[1]).s), P_POSTFIX};
}

static C where(CPrinter *p, const Expr *e) {
  const Expr *c = e->arg[0], *x = e->arg[1], *y = e->arg[2];
  if (c->lanes == 1)
    return (C){arena_printf(p->arena, "%s ? %s : %s", c_at(p, c, P_OROR), c_at(p, x, P_COND + 1), c_at(p, y, P_COND)),
               P_COND};
  const char *mask = c_mask(p, c, c_bits(e->elem), 0);
  return (C){arena_printf(p->arena, "%s(%s, %s, %s)", c_select(p, e->elem, e->lanes), mask, c_expr(p, x).s,
                          c_expr(p, y).s), P_POSTFIX};
}

static C product(CPrinter *p, const Expr *e) {
  Expr by;
  if (!negative_term(e, &by) || by.i != 1) return infix(p, e, "*", P_MUL, true);
  const Expr *x = e->arg[0];
  return (C){arena_printf(p->arena, "-%s",
                          c_at(p, x, x->kind == EX_CONST || x->kind == EX_SCALAR ? P_POSTFIX : P_UNARY)),
             P_UNARY};
}
static C equality(CPrinter *p, const Expr *e) { return infix(p, e, scalar_info[e->op].c_operator, P_EQ, false); }
static C bit_and(CPrinter *p, const Expr *e) { return infix(p, e, "&", P_AND, true); }
static C bit_or(CPrinter *p, const Expr *e) { return infix(p, e, "|", P_OR, true); }
static C bit_xor(CPrinter *p, const Expr *e) { return infix(p, e, "^", P_XOR, true); }

/* Of integers: only where the divisor is known not to be 0. */
static C quotient(CPrinter *p, const Expr *e) {
  bool is_int = dtype_is_int(e->arg[0]->elem);
  if (is_int ? e->arg[1]->lo <= 0 : e->op == S_FMOD) return call(p, e);
  return infix(p, e, e->op == S_DIV ? "/" : "%", P_MUL, false);
}

static C reciprocal(CPrinter *p, const Expr *e) {
  const Expr *x = e->arg[0];
  if (dtype_is_int(x->elem)) return call(p, e);
  return (C){arena_printf(p->arena, "%s / %s", x->elem == DT_F64 ? "1.0" : "1.0f", c_at(p, x, P_UNARY)), P_MUL};
}

static C negation(CPrinter *p, const Expr *e) {
  const Expr *x = e->arg[0];
  // not --x
  int prec = x->kind == EX_CONST ? P_POSTFIX : x->kind == EX_SCALAR && x->op == S_NEG ? P_UNARY + 1 : P_UNARY;
  return narrowed(p, e, (C){arena_printf(p->arena, "-%s", c_at(p, x, prec)), P_UNARY});
}

static C order(CPrinter *p, const Expr *e) {
  const char *x = c_at(p, e->arg[0], P_SHIFT), *y = c_at(p, e->arg[1], P_SHIFT);
  return (C){arena_printf(p->arena, "%s %s %s", x, scalar_info[e->op].c_operator, y), P_REL};
}

static bool is_or(const Expr *e) { return e->kind == EX_SCALAR && e->op == S_OR; }

/* Of bools; masks take the path of calls. */
static C logic(CPrinter *p, const Expr *e) {
  if (e->lanes > 1) return call(p, e);
  if (e->op == S_AND) return infix(p, e, "&&", P_ANDAND, true);
  if (e->op == S_XOR) return infix(p, e, "!=", P_EQ, false);
  // gcc asks for parentheses around && in ||
  const char *x = c_at(p, e->arg[0], is_or(e->arg[0]) ? P_OROR : P_ANDAND + 1);
  const char *y = c_at(p, e->arg[1], is_or(e->arg[1]) ? P_OROR : P_ANDAND + 1);
  return (C){arena_printf(p->arena, "%s || %s", x, y), P_OROR};
}

static C not(CPrinter *p, const Expr *e) {
  return (C){arena_printf(p->arena, "!%s", c_at(p, e->arg[0], P_UNARY)), P_UNARY};
}

static C bit_not(CPrinter *p, const Expr *e) {
  return narrowed(p, e, (C){arena_printf(p->arena, "~%s", c_at(p, e->arg[0], P_UNARY)), P_UNARY});
}

/* An operator where the distance is known to be less than the width, which C demands. */
static C shift(CPrinter *p, const Expr *e) {
  const Expr *y = e->arg[1], *s = c_unsplat(y) ? c_unsplat(y) : y;
  if (s->kind != EX_CONST || s->i < 0 || s->i >= c_bits(e->elem)) return call(p, e);
  return infix(p, e, scalar_info[e->op].c_operator, P_SHIFT, false);
}

C c_scalar(CPrinter *p, const Expr *e) {
  static C (*const form[SCALAR_COUNT])(CPrinter *p, const Expr *e) = {             // only what is not a plain call
    [S_ADD] = sum, [S_SUB] = sum, [S_MUL] = product, [S_DIV] = quotient, [S_FMOD] = quotient,
    [S_NEG] = negation, [S_RECIP] = reciprocal, [S_WHERE] = where,
    [S_EQ] = equality, [S_NE] = equality, [S_LT] = order, [S_LE] = order, [S_GT] = order, [S_GE] = order,
    [S_AND] = logic, [S_OR] = logic, [S_XOR] = logic, [S_NOT] = not,
    [S_BITAND] = bit_and, [S_BITOR] = bit_or, [S_BITXOR] = bit_xor, [S_BITNOT] = bit_not, [S_SHL] = shift,
    [S_SHR] = shift,
  };
  return form[e->op] ? form[e->op](p, e) : call(p, e);
}
