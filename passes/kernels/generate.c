/* Which generator serves which op. */
#include "passes/kernels/kernels.h"

bool kernel_generate(Lower *l, const Node *n) {
  switch ((int)n->op) {
    case OP_MATMUL: return gemm_generate(l, n);
    case OP_CONV: return conv_generate(l, n);
    case OP_CONV_TRANSPOSE: return conv_transpose_generate(l, n);
    default: return false;
  }
}
