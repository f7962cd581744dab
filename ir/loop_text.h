/* The words of loop IR text, shared by its printer and its parser. */
#ifndef IR_LOOP_TEXT_H
#define IR_LOOP_TEXT_H
#include "ir/loop_rules.h"

enum { LOOP_INFIX = 11, LOOP_ROLES = 5, LOOP_REDUCES = 4 };
typedef struct LoopInfix { ScalarOp op; const char *text; int rank; } LoopInfix;   /* rank: how tightly it binds */
typedef struct LoopReduce { ScalarOp op; const char *text; } LoopReduce;

extern const LoopInfix loop_infix[LOOP_INFIX];
extern const LoopReduce loop_reduce[LOOP_REDUCES];
extern const char *const loop_role[LOOP_ROLES];                  /* by BufRole */
#endif
