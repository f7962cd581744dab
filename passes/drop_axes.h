/* See drop_axes.c. */
#ifndef PASSES_DROP_AXES_H
#define PASSES_DROP_AXES_H
#include "ir/graph.h"

void drop_axes(Module *m, Arena *a);
#endif
