/* Shared by the gradient rules of ops that repeat elements. */
#ifndef PASSES_GRAD_INDEX_H
#define PASSES_GRAD_INDEX_H
#include "passes/grad.h"

/* The gradient of x, with n elements along `axis`, where y = gather(x, axis, index): dy [A…, i…, B…] -> [A…, n, B…]. */
ValueId grad_of_gather(Graph *g, ValueId dy, int axis, ValueId index, Dim n);
#endif
