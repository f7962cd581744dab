#ifndef PASSES_SPLIT_PADS_H
#define PASSES_SPLIT_PADS_H
#include "ir/graph.h"
void split_pads(Module *m);        /* see split_pads.c */
#endif
