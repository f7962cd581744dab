/* Declares the functions of every row of ops.def: infer_NAME and eval_NAME.
 * Included by ops.c (which puts them into op_info) and by the files that define them. */
#ifndef IR_OP_FUNCTIONS_H
#define IR_OP_FUNCTIONS_H
#include "ir/eval.h"
#include "ir/ops.h"

#define OP_DECLARES_EVAL(name) bool eval_##name(Eval *e, const Node *n, const Tensor *const *in, Tensor **out);
#define OP_DECLARES_VIEW(name)    OP_DECLARES_EVAL(name)
#define OP_DECLARES_LOWER(name)   OP_DECLARES_EVAL(name)
#define OP_DECLARES_CALL(name)    OP_DECLARES_EVAL(name)
#define OP_DECLARES_CONTROL(name) OP_DECLARES_EVAL(name)
#define OP_DECLARES_DECOMPOSE(name) OP_DECLARES_EVAL(name)
#define OP(E, name, min_in, max_in, nout, how, ...) \
  bool infer_##name(Infer *x);                        \
  OP_DECLARES_##how(name)
#include "ir/ops.def"
#undef OP
#undef OP_DECLARES_EVAL
#undef OP_DECLARES_VIEW
#undef OP_DECLARES_LOWER
#undef OP_DECLARES_CALL
#undef OP_DECLARES_CONTROL
#undef OP_DECLARES_DECOMPOSE
#endif
