/* About how long loop IR takes: cycles of a core with two vector units, everything in the L1. For choices that need the
 * order of magnitude; symbolic sizes count with their bounds. */
#ifndef PASSES_LOOP_COST_H
#define PASSES_LOOP_COST_H
#include "ir/loop.h"

double stmt_cost(const Stmt *s);
double block_cost(const Block *s);
#endif
