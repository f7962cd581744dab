/* Ops that the naive evaluator knows but that have no nest yet: compiling them is refused by name. */
#include "passes/lower/functions.h"

#define PENDING(name) bool lower_##name(Lower *l, const Node *n) { (void)n; return lower_fail(l, "no loop nest for " #name " yet"); }
PENDING(grid_sample)
