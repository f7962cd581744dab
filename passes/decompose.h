/* What a DECOMPOSE row of ops.def becomes: decompose_NAME builds it with build.h and says which values stand for the
 * node's outputs (0 for those that are absent). `n` is a copy, safe to keep while building. */
#ifndef PASSES_DECOMPOSE_H
#define PASSES_DECOMPOSE_H
#include "ir/build.h"

typedef bool (*DecomposeFn)(Graph *g, const Node *n, ValueId *out);   /* false: reported in the module's diags */

/* Node id, of such a row, is replaced by what it stands for. False after an error. */
bool decompose_node(Graph *g, NodeId id);

#define DECOMPOSES_VIEW(name)
#define DECOMPOSES_LOWER(name)
#define DECOMPOSES_CALL(name)
#define DECOMPOSES_CONTROL(name)
#define DECOMPOSES_DECOMPOSE(name) bool decompose_##name(Graph *g, const Node *n, ValueId *out);
#define OP(E, name, MIN, MAX, NOUT, HOW, ...) DECOMPOSES_##HOW(name)
#include "ir/ops.def"
#undef OP
#endif
