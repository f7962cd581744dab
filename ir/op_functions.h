/* Declares the functions that every row of ops.def names: infer_NAME (ir/infer_*.c) and eval_NAME (ir/eval_*.c).
 * ir/ops.c puts them into op_info; a row without its function does not link. Rows marked DECOMPOSE have no
 * eval: their parts define them. */
#ifndef IR_OP_FUNCTIONS_H
#define IR_OP_FUNCTIONS_H
#include "ir/ops.h"

struct Eval;

#define OP(E, name, MIN, MAX, NOUT, HOW, ATTRS)                                                    \
  bool infer_##name(Infer *x);                                                                     \
  bool eval_##name(struct Eval *e, const Node *n, const Tensor *const *in, Tensor **out);
#include "ir/ops.def"
#undef OP
#endif
