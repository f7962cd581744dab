/* `lathe bench`: what its files share. */
#ifndef DRIVER_BENCH_H
#define DRIVER_BENCH_H
#include "driver/cases.h"
#include "driver/layers.h"

int64_t call_symbol(const char *name, void *call);             /* a symbol's value in this call, for dim_eval */
double median_of(double *v, int n);                            /* sorts */

int against_bench(Options *o);                                 /* --against */
int bundle_bench(Options *o);                                  /* the training steps of a .lathe file */
#endif
