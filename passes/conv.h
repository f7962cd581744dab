/* What several passes ask about a convolution, its transpose, or the gradient of its weights. */
#ifndef PASSES_CONV_H
#define PASSES_CONV_H
#include "ir/graph.h"

/* Vectors of channels slide over pixels (kernels/depthwise.c): each channel of the input gives one of the result, or up
 * to three with CONV. */
bool conv_is_depthwise(Module *m, const Node *n);
/* 3x3 with stride 1 and all channels in one group; where weights are constant, also with stride 2, with several
 * channels to a group, with planes in depth, of a known number: what Winograd's transforms are for. */
bool conv_is_winograd(Module *m, const Node *n);
#endif
