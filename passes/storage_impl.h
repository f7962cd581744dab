/* Shared by storage.c and storage_control.c. */
#ifndef PASSES_STORAGE_IMPL_H
#define PASSES_STORAGE_IMPL_H
#include "ir/ops.h"
#include "passes/fusion.h"

typedef struct Place {
  Fusion *f;
  Module *m;
  bool *last;                      /* per value: channels-last */
  bool *is_output;                 /* of the main graph */
  NodeId *turned;                  /* per value: the transpose that alone reads it, and keeps the last axis; 0: none */
  int n;
} Place;

void own_storage(Place *p, ValueId v);                          /* dense storage of v's own */
ValueId insert_copy(Place *p, Graph *g, NodeId before, ValueId v);   /* before 0: at the end of g */
/* can v be written straight into another value's storage? */
bool placeable(Place *p, Graph *g, ValueId v);
void place_control(Place *p, Graph *g, NodeId id);              /* if, loop, scan: where regions write and read */
#endif
