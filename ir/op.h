/* The enums of scalar functions and canonical ops, generated from scalar.def and ops.def. */
#ifndef IR_OP_H
#define IR_OP_H

typedef enum ScalarOp {
#define SCALAR(E, ...) S_##E,
#include "ir/scalar.def"
#undef SCALAR
  SCALAR_COUNT
} ScalarOp;

typedef enum Op {
  OP_NONE,
#define SCALAR(E, ...) OP_##E,
#include "ir/scalar.def"
#undef SCALAR
#define OP(E, ...) OP_##E,
#include "ir/ops.def"
#undef OP
  OP_COUNT
} Op;
#endif
