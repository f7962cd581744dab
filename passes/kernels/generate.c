/* Which generator serves which op, or group of heavy ops, and what it says of its choice. */
#include "passes/kernels/kernels.h"
#include <stdarg.h>

static const LowerFn generators[OP_COUNT] = {
  [OP_MATMUL] = gemm_generate,
  [OP_ATTENTION_GRAD] = attention_grad_generate,
  [OP_CONV] = conv_generate,
  [OP_CONV_TRANSPOSE] = conv_transpose_generate,
  [OP_CONV_GRAD_WEIGHT] = conv_grad_weight_generate,
  [OP_REDUCE_SUM] = reduce_sum_generate,
  [OP_REDUCE_MAX] = reduce_max_generate,
};

bool kernel_generate(Lower *l, const Node *n) {
  if (l->g->softmax) return attention_generate(l);
  return generators[n->op] && generators[n->op](l, n);
}

void kernel_choice(Lower *l, double cycles, const char *fmt, ...) {
  Kernel *k = l->b.kernel;
  va_list ap;
  va_start(ap, fmt);
  const char *text = arena_vprintf(l->b.arena, fmt, ap);
  va_end(ap);
  k->choice = k->choice ? arena_printf(l->b.arena, "%s; %s", k->choice, text) : text;
  k->cycles += (int64_t)cycles;
}
