/* Loop IR -> C text. The printers decide nothing: every loop IR node is one C construct, and what C lacks
 * (vector loads, selects, narrow floats, mathematics) is a small helper function that is printed once, before
 * the kernels, when a kernel first asks for it.
 *
 *   c_types.c    names of types, vector typedefs        c_scope.c   C names of variables and buffers
 *   c_expr.c     expressions, with precedence           c_stmt.c    statements, line breaking
 *   c_mask.c     vector booleans                        c_kernel.c  a whole kernel
 *   c_helpers.c  loads, stores, selects, reductions     c_math.c    scalar functions -> operators and calls
 *   c_narrow.c   f16, bf16, f8 … conversions
 *
 * Conventions of the printed C
 *   a scalar bool is an int, 0 or 1; a vector bool is a vector of signed integers, 0 or -1 (i32xL in variables);
 *   a narrow float is its bits (uint16_t, uint8_t); sub-byte integers take a byte, sign- or zero-extended. */
#ifndef CODEGEN_C_H
#define CODEGEN_C_H
#include "ir/loop.h"
#include "passes/target.h"

typedef struct CScope CScope;

typedef struct CVecmathUse { const char *name; int lanes; } CVecmathUse;

typedef struct CPrinter {
  Arena *arena;                        /* strings of one run */
  const Target *target;
  bool plain;                          /* C99 without extensions */
  bool sleef, includes_sleef;          /* SLEEF's functions are wanted; some are in use */
  VEC(const char *) seen;              /* helpers and types printed so far, interned */
  Text types, helpers;                 /* what goes before the kernels, in order of need */
  VEC(CVecmathUse) vecmath;            /* functions of runtime/vecmath.tmpl in use */
  bool keep, prefetch;                 /* LT_KEEP is used, LT_PREFETCH */
  VEC(const char *) calls;             /* runtime functions called, interned */
  CScope *scope;                       /* of the kernel being printed */
  Text *out;
  int indent;
} CPrinter;

/* A printed expression and how tightly it binds. */
typedef struct C { const char *s; int prec; } C;
enum { P_COND = 3, P_OROR, P_ANDAND, P_OR, P_XOR, P_AND, P_EQ, P_REL, P_SHIFT, P_ADD, P_MUL, P_UNARY, P_POSTFIX };

CPrinter *c_printer_new(Arena *a, const Target *t);
/* Typedefs, helpers and functions asked for so far: goes before the kernels. */
void c_prelude(CPrinter *p, Text *to);

/* types */
const char *c_type(CPrinter *p, DType t, int lanes);         /* "float", "f32x16"; bool: int, i32xL */
const char *c_storage(DType t);                              /* in memory: "float", "uint16_t" */
const char *c_storage_vector(CPrinter *p, DType t, int lanes);
const char *c_suffix(DType t, int lanes);                    /* "f32", "f32x16": ends the names of helpers */
DType c_int_of(int bits);                                    /* I8, I16, I32, I64 */
int c_bits(DType t);                                         /* of one element in memory */

/* expressions */
C c_expr(CPrinter *p, const Expr *e);
const char *c_at(CPrinter *p, const Expr *e, int prec);      /* in parentheses when it binds weaker than prec */
const char *c_wrap(CPrinter *p, C c, int prec);
const char *c_number(Arena *a, DType t, double f, int64_t i);
/* vector bool as a mask of lanes of that many bits */
const char *c_mask(CPrinter *p, const Expr *e, int bits, int prec);
C c_scalar(CPrinter *p, const Expr *e);                      /* EX_SCALAR */
const Expr *c_unsplat(const Expr *e);                        /* the scalar in every lane, or NULL */
const char *c_vector_operand(CPrinter *p, const Expr *e, const Expr *other, int prec);  /* a splat may stay scalar */

/* helpers: return the function's name */
const char *c_helper(CPrinter *p, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool c_once(CPrinter *p, const char *name);                  /* true the first time */
const char *c_load(CPrinter *p, DType t, int lanes);         /* (pointer) */
const char *c_store(CPrinter *p, DType t, int lanes);        /* (pointer, vector) */
const char *c_load_stride(CPrinter *p, DType t, int lanes);  /* (pointer, stride) */
const char *c_store_stride(CPrinter *p, DType t, int lanes); /* (pointer, stride, vector) */
const char *c_gather(CPrinter *p, DType t, int lanes);       /* (pointer, i64 indices) */
const char *c_scatter(CPrinter *p, DType t, int lanes);      /* (pointer, i64 indices, vector) */
const char *c_splat(CPrinter *p, DType t, int lanes);        /* (scalar) */
const char *c_select(CPrinter *p, DType t, int lanes);       /* (mask, vector, vector) */
const char *c_reduce(CPrinter *p, ScalarOp op, DType t, int lanes);
const char *c_part(CPrinter *p, DType t, int lanes, int of);  /* (vector, which) */
const char *c_bits_cast(CPrinter *p, DType to, DType from);  /* scalars */
const char *c_widen(CPrinter *p, DType narrow, int lanes);   /* bits -> f32 */
const char *c_narrow(CPrinter *p, DType narrow, int lanes);  /* f32 -> bits */
const char *c_math(CPrinter *p, ScalarOp op, DType t, int lanes);   /* a function of scalar.def */
const char *c_vecmath(CPrinter *p, const char *name, int lanes);    /* one of runtime/vecmath.tmpl */
void c_vecmath_print(CPrinter *p, Text *to);                        /* their definitions */
const char *c_lanewise(CPrinter *p, const char *scalar, DType t, int lanes, int arity);

/* names and statements */
CScope *c_scope(CPrinter *p, const Kernel *k);
const char *c_var(CPrinter *p, const Var *v);
const char *c_buf(CPrinter *p, const Buf *b);
int c_reads(CPrinter *p, const Var *v);
const Expr *c_in_place(CPrinter *p, const Var *v);           /* the let's value, printed where it is read; or NULL */
bool c_buf_used(CPrinter *p, const Buf *b);
const char *c_identifier(Arena *a, const char *name);        /* any text -> a C identifier */
void c_line(CPrinter *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void c_block(CPrinter *p, const Block *b);

/* A kernel under the given function name. `aliased`: parameters may overlap, no restrict.
 * c_kernel_signature ends without ';' or '{'. */
void c_kernel(CPrinter *p, Text *to, const Kernel *k, const char *name, bool aliased);
void c_kernel_signature(CPrinter *p, Text *to, const Kernel *k, const char *linkage, const char *name, bool aliased);
void c_comment(Text *to, int indent, const char *text);      /* one comment of one or several lines */
#endif
