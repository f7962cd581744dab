/* Resize, one axis at a time: which input elements make an output element, with which weights. Shared by the
 * evaluator and by lowering, which puts them into tables. Defined in eval_sample.c. */
#ifndef IR_RESIZE_H
#define IR_RESIZE_H
#include "ir/graph.h"

enum { RESIZE_MAX_TAPS = 4096 };

typedef struct ResizeAxis {
  int64_t in, out;
  double scale, roi_from, roi_to;
  const char *coord, *nearest;
  char mode;                              // n, l or c
  double a;                               // of the cubic kernel
  bool exclude_outside, antialias;
} ResizeAxis;

ResizeAxis resize_axis_of(const Node *n, int64_t in, int64_t out, const Tensor *roi, int rank, int k);
double resize_position(const ResizeAxis *s, int64_t o);
/* Elements first, first + 1, … (outside the axis: its ends) and weights, at most RESIZE_MAX_TAPS + 2; their number. */
int resize_taps(const ResizeAxis *s, double x, int64_t *first, double *weight);
#endif
