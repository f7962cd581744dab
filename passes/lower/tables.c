/* lower_fn and read_fn: by op, from ops.def. */
#include "passes/lower/functions.h"

#define READ_VIEW(E, name)      [OP_##E] = read_##name,
#define READ_LOWER(E, name)
#define READ_CALL(E, name)
#define READ_DECOMPOSE(E, name)
#define READ_CONTROL(E, name)
const ReadFn read_fn[OP_COUNT] = {
#define OP(E, name, MIN, MAX, NOUT, HOW, ...) READ_##HOW(E, name)
#include "ir/ops.def"
#undef OP
};

#define LOWER_VIEW(E, name)
#define LOWER_LOWER(E, name)    [OP_##E] = lower_##name,
#define LOWER_CALL(E, name)     [OP_##E] = lower_##name,
#define LOWER_DECOMPOSE(E, name)
#define LOWER_CONTROL(E, name)
const LowerFn lower_fn[OP_COUNT] = {
#define OP(E, name, MIN, MAX, NOUT, HOW, ...) LOWER_##HOW(E, name)
#include "ir/ops.def"
#undef OP
};
