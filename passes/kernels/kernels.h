/* Generators of tiled kernels. Each builds loop IR for a group's root where it applies and leaves the naive
 * nest (lower_NAME) to the rest. */
#ifndef PASSES_KERNELS_H
#define PASSES_KERNELS_H
#include "passes/lower/lower.h"

bool kernel_generate(Lower *l, const Node *n);     /* false: nothing built; use the naive nest */
bool gemm_generate(Lower *l, const Node *n);
bool conv_generate(Lower *l, const Node *n);
bool conv_transpose_generate(Lower *l, const Node *n);
bool conv_grad_weight_generate(Lower *l, const Node *n);
bool reduce_sum_generate(Lower *l, const Node *n);
bool reduce_max_generate(Lower *l, const Node *n);
#endif
