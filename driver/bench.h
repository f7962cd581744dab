/* `lathe bench --profile`: time per kernel. */
#ifndef DRIVER_BENCH_H
#define DRIVER_BENCH_H
#include "driver/cases.h"

int64_t call_symbol(const char *name, void *call);             /* a symbol's value in this call, for dim_eval */
bool profile_begin(Loaded *l, Compiled *c);                    /* hooks the library that model_load made */
void profile_reset(void);
void profile_report(Compiled *c, Call *k, int calls, double peak_gflops);
#endif
