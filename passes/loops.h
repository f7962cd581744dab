/* Passes over one kernel of loop IR. They change the kernel in place; expressions and variables they make live
 * in the arena. Each leaves a kernel that kernel_verify accepts and that computes the same. */
#ifndef PASSES_LOOPS_H
#define PASSES_LOOPS_H
#include "ir/loop.h"
#include "passes/target.h"

/* FOR_VECTOR loops -> vector code of the target, or FOR_SEQ where that is not legal or gains nothing. */
void kernel_vectorise(Arena *a, Kernel *k, const Target *t);
/* FOR_UNROLL loops -> copies of their body, or FOR_SEQ. */
void kernel_unroll(Arena *a, Kernel *k);
/* Dead code goes, repeated index arithmetic gets a name. Last: other passes would not see through the names. */
void kernel_simplify(Arena *a, Kernel *k);
/* One of them by its name in passes.def; false: there is none. */
bool kernel_pass(const char *name, Arena *a, Kernel *k, const Target *t);
#endif
