/* Vector booleans. A comparison of vectors gives a mask (0 or -1) as wide as what it compared; a select needs
 * one as wide as what it selects. c_mask prints a bool expression at a wanted width and converts only where
 * the widths differ. Variables hold masks of 32-bit lanes. */
#include "codegen/c.h"

static const char *paren(CPrinter *p, const char *s, int have, int want) {
  return have < want ? arena_printf(p->arena, "(%s)", s) : s;
}

static bool is_compare(ScalarOp op) {
  return op == S_EQ || op == S_NE || op == S_LT || op == S_LE || op == S_GT || op == S_GE;
}

/* The width at which a bool expression comes without conversion. */
static int native_bits(const Expr *e) {
  if (e->kind == EX_LOAD) return 8;
  if (e->kind == EX_CAST) return e->arg[0]->elem == DT_BOOL ? native_bits(e->arg[0]) : c_bits(e->arg[0]->elem);
  if (e->kind != EX_SCALAR) return 32;
  if (is_compare(e->op) || e->op == S_ISNAN || e->op == S_ISINF)
    return e->arg[0]->elem == DT_BOOL ? native_bits(e->arg[0]) : c_bits(e->arg[0]->elem);
  if (e->op == S_WHERE) return native_bits(e->arg[1]);
  return native_bits(e->arg[0]);
}

static const char *logic(CPrinter *p, const Expr *e, const char *op, int own, int bits, int prec) {
  const char *x = c_mask(p, e->arg[0], bits, P_UNARY), *y = c_mask(p, e->arg[1], bits, P_UNARY);
  return paren(p, arena_printf(p->arena, "%s %s %s", x, op, y), own, prec);
}

/* The expression at exactly `bits`, which its leaves may not have: conversion happens at the leaves. */
static const char *at_width(CPrinter *p, const Expr *e, int bits, int prec) {
  const Expr *x = e->arg[0];
  switch (e->kind) {
  case EX_CONST:
  case EX_SPLAT: {
    const char *type = c_type(p, c_int_of(bits), e->lanes);
    if (e->kind == EX_CONST)
      return e->i ? paren(p, arena_printf(p->arena, "~(%s){0}", type), P_UNARY, prec)
          : arena_printf(p->arena, "(%s){0}", type);
    return arena_printf(p->arena, "%s(-%s)", c_splat(p, c_int_of(bits), e->lanes), c_at(p, x, P_UNARY));
  }
  case EX_LOAD: {
    Expr bytes = *e;
    bytes.elem = e->buf->dtype == DT_BOOL ? DT_U8 : e->buf->dtype;
    return paren(p, arena_printf(p->arena, "%s != 0", c_at(p, &bytes, P_REL)), P_EQ, prec);
  }
  case EX_CAST:
    if (x->elem == DT_BOOL) return c_mask(p, x, bits, prec);
    return paren(p, arena_printf(p->arena, "%s != 0", c_at(p, x, P_REL)), P_EQ, prec);
  case EX_SCALAR:
    if (e->op == S_AND || e->op == S_MIN || e->op == S_MUL) return logic(p, e, "&", P_AND, bits, prec);
    if (e->op == S_OR || e->op == S_MAX) return logic(p, e, "|", P_OR, bits, prec);
    if (e->op == S_XOR) return logic(p, e, "^", P_XOR, bits, prec);
    if (e->op == S_NOT) return paren(p, arena_printf(p->arena, "~%s", c_mask(p, x, bits, P_UNARY)), P_UNARY, prec);
    if (e->op == S_WHERE)
      return arena_printf(p->arena, "%s(%s, %s, %s)", c_select(p, c_int_of(bits), e->lanes), c_mask(p, x, bits, 0),
                          c_mask(p, e->arg[1], bits, 0), c_mask(p, e->arg[2], bits, 0));
    if (is_compare(e->op) && x->elem == DT_BOOL) {
      const char *s = arena_printf(p->arena, "%s %s %s", c_mask(p, x, bits, P_SHIFT), scalar_info[e->op].c_operator,
                                   c_mask(p, e->arg[1], bits, P_SHIFT));
      return paren(p, s, P_REL, prec);
    }
    if (is_compare(e->op)) {
      const char *s = arena_printf(p->arena, "%s %s %s", c_vector_operand(p, x, e->arg[1], P_SHIFT),
                                   scalar_info[e->op].c_operator,
                                   c_vector_operand(p, e->arg[1], x, P_SHIFT));
      return paren(p, s, P_REL, prec);
    }
    if (e->op == S_ISNAN || e->op == S_ISINF)
      return arena_printf(p->arena, "%s(%s)", c_math(p, e->op, x->elem, e->lanes), c_expr(p, x).s);
    BUG("no mask for %s", scalar_info[e->op].text);
  case EX_VAR: case EX_FMA: case EX_BITS: case EX_RAMP: case EX_REDUCE: case EX_PART: case EXPR_COUNT: break;
  }
  if (e->kind != EX_VAR) BUG("no mask for expression kind %d", e->kind);
  return c_var(p, e->var);
}

/* Nodes that can work at any width hand the wish down to their operands. */
static bool any_width(const Expr *e) {
  if (e->kind == EX_CONST || e->kind == EX_SPLAT) return true;
  if (e->kind == EX_CAST) return e->arg[0]->elem == DT_BOOL;
  if (e->kind != EX_SCALAR) return false;
  if (is_compare(e->op)) return e->arg[0]->elem == DT_BOOL;
  return e->op == S_AND || e->op == S_MIN || e->op == S_MUL || e->op == S_OR || e->op == S_MAX || e->op == S_XOR ||
         e->op == S_NOT ||
         e->op == S_WHERE;
}

const char *c_mask(CPrinter *p, const Expr *e, int bits, int prec) {
  if (any_width(e) || native_bits(e) == bits) return at_width(p, e, bits, prec);
  const char *s = at_width(p, e, native_bits(e), 0);
  return arena_printf(p->arena, "__builtin_convertvector(%s, %s)", s, c_type(p, c_int_of(bits), e->lanes));
}
