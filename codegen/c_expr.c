/* Expressions. Each prints with the precedence of its outermost operator; parentheses only where C needs
 * them, or where gcc and clang would warn without (`a & b == c`). */
#include "codegen/c.h"
#include <math.h>
#include <stdlib.h>

const char *c_wrap(CPrinter *p, C c, int prec) {
  return c.prec < prec ? arena_printf(p->arena, "(%s)", c.s) : c.s;
}

const char *c_at(CPrinter *p, const Expr *e, int prec) { return c_wrap(p, c_expr(p, e), prec); }

/* ---- literals ---- */

/* The shortest decimal that reads back as the same value. */
static const char *float_text(Arena *a, double v, bool single) {
  char s[64];
  for (int digits = 1; digits <= (single ? 9 : 17); digits++) {
    snprintf(s, sizeof s, "%.*g", digits, v);
    if (single ? strtof(s, NULL) == (float)v : strtod(s, NULL) == v) break;
  }
  if (!strpbrk(s, ".e")) strcat(s, ".0");
  return arena_printf(a, single ? "%sf" : "%s", s);
}

const char *c_number(Arena *a, DType t, double f, int64_t i) {
  if (dtype_is_float(t)) {
    bool single = t != DT_F64;
    if (isnan(f)) return single ? "NAN" : "(double)NAN";
    if (single) f = (float)f;
    if (isinf(f)) return f > 0 ? (single ? "HUGE_VALF" : "HUGE_VAL") : (single ? "-HUGE_VALF" : "-HUGE_VAL");
    return float_text(a, f, single);
  }
  if (t == DT_BOOL) return i ? "1" : "0";
  if (t == DT_U64)
    return (uint64_t)i > INT32_MAX ? arena_printf(a, "UINT64_C(%llu)", (unsigned long long)i)
        : arena_printf(a, "%lluu", (unsigned long long)i);
  if (t == DT_U32) return arena_printf(a, "%uu", (unsigned)(uint32_t)i);
  if (i == INT64_MIN) return "INT64_MIN";
  if (i == INT32_MIN) return "INT32_MIN";
  if (i > INT32_MAX || i < INT32_MIN) return arena_printf(a, "INT64_C(%lld)", (long long)i);
  return arena_printf(a, "%lld", (long long)i);
}

static C number(CPrinter *p, const Expr *e) {
  const char *s = c_number(p->arena, e->elem, e->f, e->i);
  return (C){s, s[0] == '-' || s[0] == '(' || !strcmp(s, "INT32_MIN") ? P_UNARY : P_POSTFIX};
}

static bool is_zero(const Expr *e) {
  return e->kind == EX_CONST && (dtype_is_float(e->elem) ? e->f == 0 && !signbit(e->f) : e->i == 0);
}

static C splat(CPrinter *p, const Expr *scalar, DType t, int lanes) {
  if (is_zero(scalar)) return (C){arena_printf(p->arena, "(%s){0}", c_type(p, t, lanes)), P_POSTFIX};
  Expr one = *scalar;
  one.lanes = 1;
  return (C){arena_printf(p->arena, "%s(%s)", c_splat(p, t, lanes), c_expr(p, &one).s), P_POSTFIX};
}

const Expr *c_unsplat(const Expr *e) {
  if (e->kind == EX_SPLAT) return e->arg[0];
  if (e->kind == EX_CONST && e->lanes > 1) return e;
  return NULL;
}

/* GCC and clang widen a scalar operand beside a vector, so `2.0f * v` needs no splat. */
const char *c_vector_operand(CPrinter *p, const Expr *e, const Expr *other, int prec) {
  const Expr *scalar = c_unsplat(e);
  if (!scalar || e->lanes == 1 || c_unsplat(other)) return c_at(p, e, prec);
  Expr one = *scalar;
  one.lanes = 1;
  return c_at(p, &one, prec);
}

/* ---- memory ---- */

static const char *address(CPrinter *p, const Buf *b, const Expr *index) {
  int64_t k;
  if (ex_is_int(index, &k) && k == 0) return c_buf(p, b);
  return arena_printf(p->arena, "%s + %s", c_buf(p, b), c_at(p, index, P_ADD));
}

static bool is_narrow(DType t) { return dtype_is_float(t) && t != DT_F32 && t != DT_F64; }

/* Bits in memory -> the compute type (a vector bool stays what it is: c_mask handles it). */
static C widened(CPrinter *p, DType t, int lanes, C bits) {
  if (!is_narrow(t)) return bits;
  return (C){arena_printf(p->arena, "%s(%s)", c_widen(p, t, lanes), bits.s), P_POSTFIX};
}

/* An index vector that is base + k * stride, as a scalar base and a constant stride. */
static bool as_ramp(const Expr *i, const Expr **base, int64_t *stride) {
  if (i->kind == EX_RAMP && ex_is_int(i->arg[1], stride)) { *base = i->arg[0]; return true; }
  if (c_unsplat(i)) { *base = c_unsplat(i); *stride = 0; return true; }
  return false;
}

static C load(CPrinter *p, const Expr *e) {
  DType t = e->buf->dtype;
  const Expr *i = e->arg[0], *base;
  int64_t stride;
  bool widen = e->elem != t;                                   // the IR may also load the bits and cast
  C bits;
  if (e->lanes == 1) {
    bits = (C){arena_printf(p->arena, "%s[%s]", c_buf(p, e->buf), c_expr(p, i).s), P_POSTFIX};
  } else if (as_ramp(i, &base, &stride)) {
    Expr one = *base;
    one.lanes = 1;
    const char *at = address(p, e->buf, &one);
    bits.prec = P_POSTFIX;
    if (stride == 1) bits.s = arena_printf(p->arena, "%s(%s)", c_load(p, t, e->lanes), at);
    else bits.s = arena_printf(p->arena, "%s(%s, %lld)", c_load_stride(p, t, e->lanes), at, (long long)stride);
  } else {
    bits = (C){arena_printf(p->arena, "%s(%s, %s)", c_gather(p, t, e->lanes), c_buf(p, e->buf), c_expr(p, i).s),
               P_POSTFIX};
  }
  return widen ? widened(p, t, e->lanes, bits) : bits;
}

/* ---- conversions ---- */

/* Float to an integer below 32 bits goes by way of i32, so that -1 to u8 is 255: a direct conversion is
 * undefined for what does not fit, and compilers differ. Returns the expression with that first step taken. */
static const Expr *by_way_of_i32(CPrinter *p, DType to, const Expr *x) {
  if (!dtype_is_float(x->elem) || !dtype_is_int(to) || c_bits(to) >= 32) return x;
  Expr *e = NEW(p->arena, Expr);
  *e = (Expr){.kind = EX_CAST, .elem = DT_I32, .lanes = x->lanes, .i = DT_I32, .arg = {(Expr *)x}};
  return e;
}

/* Sub-byte integers: keep the low bits, then extend the sign. */
static C sub_byte(CPrinter *p, DType to, const Expr *x) {
  int bits = dtype_info[to].bits, lanes = x->lanes;
  DType byte = dtype_compute(to);
  const char *type = c_type(p, byte, lanes);
  const char *v = x->elem == byte ? c_at(p, x, P_UNARY)
                : lanes > 1 ? arena_printf(p->arena, "__builtin_convertvector(%s, %s)", c_expr(p, x).s, type)
                            : arena_printf(p->arena, "(%s)%s", type, c_at(p, x, P_UNARY));
  if (byte == DT_U8) {
    C c = {arena_printf(p->arena, "%s & %d", v, (1 << bits) - 1), P_AND};
    return lanes > 1 ? c : (C){arena_printf(p->arena, "(%s)(%s)", type, c.s), P_UNARY};
  }
  if (lanes > 1) return (C){arena_printf(p->arena, "(%s << %d) >> %d", v, 8 - bits, 8 - bits), P_SHIFT};
  return (C){arena_printf(p->arena, "(int8_t)((int8_t)(%s * %d) / %d)", v, 1 << (8 - bits), 1 << (8 - bits)), P_UNARY};
}

static C cast_vector(CPrinter *p, DType to, const Expr *x) {
  const char *type = c_type(p, to, x->lanes);
  if (x->elem == DT_BOOL) {
    int bits = c_bits(to);
    const char *m = c_mask(p, x, bits, P_UNARY);               // 0 or -1 -> 0 or 1
    if (to == c_int_of(bits)) return (C){arena_printf(p->arena, "-%s", m), P_UNARY};
    if (!dtype_is_float(to)) return (C){arena_printf(p->arena, "(%s)-%s", type, m), P_UNARY};
    return (C){arena_printf(p->arena, "__builtin_convertvector(-%s, %s)", m, type), P_POSTFIX};
  }
  if (dtype_is_int(to) && dtype_is_int(x->elem) && c_bits(to) == c_bits(x->elem))
    return (C){arena_printf(p->arena, "(%s)%s", type, c_at(p, x, P_UNARY)), P_UNARY};
  return (C){arena_printf(p->arena, "__builtin_convertvector(%s, %s)", c_expr(p, x).s, type), P_POSTFIX};
}

/* e->i is the type asked for. A narrow float is rounded to: its bits and back; the value stays f32. */
static C cast(CPrinter *p, const Expr *e) {
  const Expr *x = e->arg[0];
  DType to = (DType)e->i, from = x->elem;
  if (is_narrow(to)) {
    Expr wide = {.kind = EX_CAST, .elem = DT_F32, .lanes = e->lanes, .i = DT_F32, .arg = {e->arg[0]}};
    const char *v = from == DT_F32 ? c_expr(p, x).s : cast(p, &wide).s;
    return (C){arena_printf(p->arena, "%s(%s(%s))", c_widen(p, to, e->lanes), c_narrow(p, to, e->lanes), v), P_POSTFIX};
  }
  x = by_way_of_i32(p, to, x);
  from = x->elem;
  if (dtype_is_int(to) && dtype_info[to].bits < 8) return sub_byte(p, to, x);
  if (to == from) return c_expr(p, x);
  if (to == DT_BOOL && e->lanes == 1)
    return (C){arena_printf(p->arena, dtype_is_float(from) ? "%s != 0.0f" : "%s != 0", c_at(p, x, P_REL)), P_EQ};
  if (e->lanes > 1) return cast_vector(p, to, x);
  return (C){arena_printf(p->arena, "(%s)%s", c_type(p, to, 1), c_at(p, x, P_UNARY)), P_UNARY};
}

static C bits_cast(CPrinter *p, const Expr *e) {
  const Expr *x = e->arg[0];
  if (e->lanes > 1 && x->elem == DT_BOOL)                       // a bool's bits are its byte, 0 or 1
    return (C){arena_printf(p->arena, "(%s)(%s & 1)", c_type(p, e->elem, e->lanes), c_mask(p, x, 8, P_UNARY)), P_UNARY};
  if (e->lanes > 1)
    return (C){arena_printf(p->arena, "(%s)%s", c_type(p, e->elem, e->lanes), c_at(p, x, P_UNARY)), P_UNARY};
  if (!strcmp(c_storage(e->elem), c_storage(x->elem))) return c_expr(p, x);
  return (C){arena_printf(p->arena, "%s(%s)", c_bits_cast(p, e->elem, x->elem), c_expr(p, x).s), P_POSTFIX};
}

/* ---- the rest ---- */

static C ramp(CPrinter *p, const Expr *e) {
  Text t = {0};
  int64_t stride = 0, base = 0;
  bool fixed = ex_is_int(e->arg[1], &stride), from_zero = ex_is_int(e->arg[0], &base);
  text_printf(&t, "(%s){", c_type(p, e->elem, e->lanes));
  for (int i = 0; i < e->lanes; i++)
    text_printf(&t, "%s%lld", i ? ", " : "", (long long)(base + i * (fixed ? stride : 1)));
  text_put(&t, "}");
  C c = {arena_strdup(p->arena, t.at), P_POSTFIX};
  text_free(&t);
  if (!fixed) c = (C){arena_printf(p->arena, "%s * %s", c_at(p, e->arg[1], P_MUL), c.s), P_MUL};
  if (!from_zero) c = (C){arena_printf(p->arena, "%s + %s", c_at(p, e->arg[0], P_ADD), c.s), P_ADD};
  return c;
}

static C fma_expr(CPrinter *p, const Expr *e) {
  const Expr *a = e->arg[0], *b = e->arg[1], *c = e->arg[2];
  bool flat = c_unsplat(a) && c_unsplat(b);                    // a scalar product beside a vector sum
  const char *x = flat ? c_at(p, a, P_MUL) : c_vector_operand(p, a, b, P_MUL);
  const char *y = flat ? c_at(p, b, P_UNARY) : c_vector_operand(p, b, a, P_UNARY);
  return (C){arena_printf(p->arena, "%s * %s + %s", x, y, e->lanes > 1 ? c_vector_operand(p, c, flat ? c : a, P_MUL)
                          : c_at(p, c, P_MUL)), P_ADD};
}

C c_expr(CPrinter *p, const Expr *e) {
  if (e->elem == DT_BOOL && e->lanes > 1 && e->kind != EX_VAR) {
    const char *m = c_mask(p, e, 32, P_UNARY);
    return (C){m, P_UNARY};
  }
  switch (e->kind) {
  case EX_CONST:  return e->lanes > 1 ? splat(p, e, e->elem, e->lanes) : number(p, e);
  case EX_VAR:    return c_in_place(p, e->var) ? c_expr(p, c_in_place(p, e->var)) : (C){c_var(p, e->var), P_POSTFIX};
  case EX_LOAD:   return load(p, e);
  case EX_SCALAR: return c_scalar(p, e);
  case EX_FMA:    return fma_expr(p, e);
  case EX_CAST:   return cast(p, e);
  case EX_BITS:   return bits_cast(p, e);
  case EX_SPLAT:  return splat(p, e->arg[0], e->elem, e->lanes);
  case EX_RAMP:   return ramp(p, e);
  case EX_REDUCE:
    if (e->arg[0]->elem == DT_BOOL) {                          // of masks, 0 or -1: any is -least, all is -greatest
      ScalarOp op = e->op == S_MAX || e->op == S_ADD ? S_MIN : S_MAX;
      return (C){arena_printf(p->arena, "-%s(%s)", c_reduce(p, op, DT_I32, e->arg[0]->lanes),
                              c_mask(p, e->arg[0], 32, 0)), P_UNARY};
    }
    return (C){arena_printf(p->arena, "%s(%s)", c_reduce(p, e->op, e->arg[0]->elem, e->arg[0]->lanes),
                            c_expr(p, e->arg[0]).s), P_POSTFIX};
  case EX_PART:
    return (C){arena_printf(p->arena, "%s(%s, %lld)", c_part(p, e->elem, e->lanes, e->arg[0]->lanes),
                            c_expr(p, e->arg[0]).s, (long long)e->i), P_POSTFIX};
  case EXPR_COUNT: break;
  }
  BUG("unknown expression kind %d", e->kind);
}
