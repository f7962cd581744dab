/* `lathe bench --profile`: time per kernel. */
#ifndef DRIVER_BENCH_H
#define DRIVER_BENCH_H
#include "driver/cases.h"

int64_t call_symbol(const char *name, void *call);             /* a symbol's value in this call, for dim_eval */
/* Hooks the function that the library has under this prefix and that was made of p. */
bool profile_begin(void *library, const char *prefix, const Program *p, Arena *a, Diags *d);
void profile_reset(void);
double profile_seconds(int group);                             /* the median over the calls so far of what the kernels of a group took */
void profile_report(Arena *a, int64_t (*symbol)(const char *name, void *ctx), void *ctx, int calls, double peak_gflops);

typedef double PeakFn(long n, float x);                        /* multiply-adds in registers */
PeakFn *peak_kernel(const Options *o, const Target *t, Arena *a, Diags *d);        /* NULL: no compiler */
double peak_gflops(PeakFn *fn, const Target *t);
double median_of(double *v, int n);                            /* sorts */

int against_bench(Options *o);                                 /* --against */
int bundle_bench(Options *o);                                  /* the training steps of a .lathe file */
#endif
