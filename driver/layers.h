/* `lathe bench --layers` and `--explain`: time per kernel (layers.c), in text and JSON (layers_report.c) and as a page
 * (layers_page.c). */
#ifndef DRIVER_LAYERS_H
#define DRIVER_LAYERS_H
#include "driver/roofline.h"

typedef struct Layer {
  const Kernel *kernel;
  int order;                         /* in the program, from 0 */
  double ms, share;                  /* per call; share of all kernels' time */
  double flop, bytes;
  double roof_ms, predicted_ms;      /* what the roofline allows; what the cost model expected, 0: it was not asked */
  const char *bound, *from, *shapes;
} Layer;

typedef struct Layers {
  const char *name, *target;
  Roofline roof;
  double ms, flop, roof_ms;          /* of all */
  int calls, n;
  Layer *at;                         /* by time, longest first */
} Layers;

/* Hooks the function that the library has under this prefix and that was made of p. */
bool layers_begin(void *library, const char *prefix, const Program *p, Arena *a, Diags *d);
void layers_reset(void);
double layers_seconds(int group);                              /* what the kernels of a group took: medians so far */
/* After the calls: medians of CPU time. */
void layers_collect(Layers *l, Arena *a, int64_t (*symbol)(const char *name, void *ctx), void *ctx);
/* As the options ask: --layers, --explain, --json, -o. */
bool layers_report(const Layers *l, const Options *o, Arena *a, Diags *d);
void layers_page(Text *t, const Layers *l);
#endif
