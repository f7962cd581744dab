/* The passes in order, from an imported module to a program with addresses. */
#ifndef PASSES_PIPELINE_H
#define PASSES_PIPELINE_H
#include "passes/lower_program.h"
#include "passes/pass.h"

/* NULL after errors in m->diags. Everything made lives in `a` and m->perm. For times, dumps, stopping: pass.h. */
Program *compile_module(Module *m, const Target *t, const PassOptions *o, Arena *a);
/* The first of the passes dce, grad, decompose, all else as written: what the evaluator needs. */
typedef enum { EXPAND_NOTHING = 1, EXPAND_GRADIENTS, EXPAND_ALL } Expansion;
bool module_expand(Module *m, Expansion passes);
#endif
