/* The order of the passes, each with the reason for its place. */
#include "passes/pipeline.h"
#include "passes/loops.h"
#include "passes/split_pads.h"

Program *compile_module(Module *m, const Target *t, const PipelineOptions *o, Arena *a) {
  if (!o->naive) split_pads(m);                  // before fuse: a pad is a group of its own
  Fusion *f = fuse_module(m, a);
  storage_assign(f, !o->naive);                  // after fuse: only what leaves a group is stored
  Program *p = lower_program(m, f, t, o->naive || t->lanes == 1, a);
  if (!p) return NULL;
  if (!o->naive)
    for (int k = 0; k < p->kernels.len; k++) kernel_vectorise(a, p->kernels.at[k], t);
  place_program(p, a);                           // last: scratch buffers exist only now
  return p;
}
