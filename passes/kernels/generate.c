/* Which generator serves which op. */
#include "passes/kernels/kernels.h"

static const LowerFn generators[OP_COUNT] = {
  [OP_MATMUL] = gemm_generate,
  [OP_CONV] = conv_generate,
  [OP_CONV_TRANSPOSE] = conv_transpose_generate,
  [OP_CONV_GRAD_WEIGHT] = conv_grad_weight_generate,
};

bool kernel_generate(Lower *l, const Node *n) { return generators[n->op] && generators[n->op](l, n); }
