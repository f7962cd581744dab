/* What a message proposes when something must be known while compiling: the model's inputs it comes from. */
#ifndef IR_BINDS_H
#define IR_BINDS_H
#include "base/text.h"
#include "ir/graph.h"

/* " --bind NAME=VALUES" for each input of the model that one of the n values (0: absent) is computed from. */
void binds_put(Text *t, Module *m, const ValueId *v, int n);
#endif
