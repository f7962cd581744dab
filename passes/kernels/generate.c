/* Which generator serves which op. */
#include "passes/kernels/kernels.h"

static const LowerFn generators[OP_COUNT] = {
  [OP_MATMUL] = gemm_generate,
  [OP_CONV] = conv_generate,
  [OP_CONV_TRANSPOSE] = conv_transpose_generate,
  [OP_CONV_GRAD_WEIGHT] = conv_grad_weight_generate,
  [OP_REDUCE_SUM] = reduce_sum_generate,
  [OP_REDUCE_MAX] = reduce_max_generate,
};

bool kernel_generate(Lower *l, const Node *n) { return generators[n->op] && generators[n->op](l, n); }
