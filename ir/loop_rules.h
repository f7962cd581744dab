/* What the files behind the builders of ir/loop.h share: raw nodes and the algebra of indices. Not for passes. */
#ifndef IR_LOOP_RULES_H
#define IR_LOOP_RULES_H
#include "ir/loop.h"

typedef struct Range { int64_t lo, hi; } Range;                 /* inclusive; INT64_MIN / INT64_MAX: no bound */

Expr *expr_new(Builder *b, ExprKind kind, DType elem, int lanes);
Expr *expr_int(Builder *b, DType t, int64_t v);                 /* wrapped to t */
Expr *expr_float(Builder *b, DType t, double v);                /* rounded to t */
Expr *expr_scalar(Builder *b, ScalarOp op, DType elem, int lanes, Expr *x, Expr *y, Expr *z);  /* no rule applied */

void expr_cast_range(Expr *cast, DType to);                     /* sets what a CAST node says beside its argument */
void var_loop_range(Var *v);                                    /* bounds of a loop's index, from its loop */

int64_t int_wrap(DType t, int64_t v);
Range type_range(DType t);
Range range_of_scalar(ScalarOp op, DType elem, const Expr *x, const Expr *y, const Expr *z);
Range range_mul(Range x, Range y);
Range range_add(Range x, Range y);

/* Rules over scalar I64; NULL: none applies. */
Expr *index_add(Builder *b, Expr *x, Expr *y, int64_t sign);    /* x + sign * y */
Expr *index_mul(Builder *b, Expr *x, Expr *y);
Expr *index_div(Builder *b, Expr *x, Expr *y);
Expr *index_rem(Builder *b, Expr *x, Expr *y);
Range index_difference(Expr *x, Expr *y);                       /* bounds of x - y */
int64_t index_multiple(const Expr *x);                          /* a number that divides x; 0: x is 0 */
/* Rules over vectors of I64 where at least one side is a ramp; NULL: none applies. */
Expr *ramp_rule(Builder *b, ScalarOp op, Expr *x, Expr *y);

/* One line of text, for messages: a statement without what it contains. */
const char *stmt_line(Arena *a, const Stmt *s);
#endif
