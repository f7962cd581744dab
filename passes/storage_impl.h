/* Shared by storage.c, storage_control.c and layout*.c. */
#ifndef PASSES_STORAGE_IMPL_H
#define PASSES_STORAGE_IMPL_H
#include "ir/ops.h"
#include "passes/fusion.h"
#include "passes/strides.h"

typedef struct Place {
  Fusion *f;
  Module *m;
  bool *is_output;                 /* of the main graph */
  bool *read_through;              /* a reshape that only the kernel which copies it reads, by index arithmetic */
  int *uses;                       /* before copies were made */
  int n;
} Place;

void own_storage(Place *p, ValueId v);                          /* dense storage of v's own */
ValueId insert_copy(Place *p, Graph *g, NodeId before, ValueId v);   /* before 0: at the end of g */
/* can v be written straight into another value's storage? */
bool placeable(Place *p, Graph *g, ValueId v);
bool pads_in_place(const Node *n);                              /* is its border all that needs writing? */
/* Output k of the main graph: does a kernel compute it, the first of its name; is it a view of what may lie in its
 * place? */
bool output_is_computed(Module *m, int k);
bool output_is_view(Module *m, int k);
void place_control(Place *p, Graph *g, NodeId id);              /* if, loop, scan: where regions write and read */
#endif
