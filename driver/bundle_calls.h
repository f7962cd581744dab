/* The functions of a compiled bundle in this process, each with random rows: what `bench` times and `--tune` tries. */
#ifndef DRIVER_BUNDLE_CALLS_H
#define DRIVER_BUNDLE_CALLS_H
#include "driver/bundle.h"
#include "runtime/lt_pool.h"
#include "runtime/lt_train.h"

typedef struct BundleCall {
  const Function *f;
  const lt_function *fn;
  void *arena;
  const void **in;
  void **out;
  int64_t *symbols;                  /* each with its largest value: a whole batch */
} BundleCall;

typedef struct BundleCalls {
  BundleBuild *x;
  void *library, *state;             /* state: as init leaves it */
  lt_pool *pool;                     /* of o->threads; NULL: one thread */
  const lt_pool *by;                 /* who makes the calls: pool, or another of as many threads */
  int n;
  BundleCall *at;                    /* all functions but init */
} BundleCalls;

/* After bundle_passes. false: messages are in x->diags; bundle_calls_close in any case. */
bool bundle_calls_open(BundleCalls *c, BundleBuild *x, const Options *o);
int bundle_call(const BundleCalls *c, const BundleCall *t);    /* 0, or what the function returned */
void bundle_calls_close(BundleCalls *c);
#endif
