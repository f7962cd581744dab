/* The roofline of one core (Williams, Waterman, Patterson 2009): work that loads and stores `bytes` can be done no faster
 * than min(FMA peak, flop / bytes * bandwidth), where the bandwidth is that of the cache its bytes fit in. */
#ifndef DRIVER_ROOFLINE_H
#define DRIVER_ROOFLINE_H
#include "driver/driver.h"

typedef struct PeakKernels {
  double (*fma)(long n, float x);                               /* 12 chains of n multiply-adds; NULL: no compiler */
  double (*stream)(const float *p, long n, long times);
  const Target *target;
} PeakKernels;
PeakKernels peak_kernels(const Options *o, const Target *t, Arena *a, Diags *d);
double peak_gflops(const PeakKernels *k);                      /* 0: not known */

enum { LEVELS = 4 };
typedef struct Level { const char *name; double bytes, gbps; } Level;
typedef struct Roofline {
  int lanes;
  double peak;                       /* GFLOP/s */
  Level level[LEVELS];               /* L1, L2, L3, DRAM */
} Roofline;
void roofline_measure(Roofline *r, const PeakKernels *k);
const Level *roofline_level(const Roofline *r, double bytes);
/* The least time; bound: "FMA" or the memory's name. */
double roofline_ms(const Roofline *r, double flop, double bytes, const char **bound);
#endif
