/* What the rule of matmul asks first: was this the last product of attention, and has its gradient been built as a
 * whole? */
#ifndef PASSES_GRAD_ATTENTION_H
#define PASSES_GRAD_ATTENTION_H
#include "passes/grad.h"

bool grad_whole_attention(GradNode *r);
#endif
