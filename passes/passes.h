/* The functions of passes.def. */
#ifndef PASSES_PASSES_H
#define PASSES_PASSES_H
#include "passes/pass.h"

#define PASS(name, level, function, needs, reason) bool function(PassContext *c);
#include "passes/passes.def"
#undef PASS
#endif
