/* The C functions of runtime/ as the loop interpreter calls them: one adapter each, buffers then numbers. */
#include "ir/program.h"
#include "runtime/lt_ops.h"

static void topk(Memory *m, const CallArg *a) {
  lt_topk(m[0].data, m[1].data, m[2].data, m[3].data, a[0].i, a[1].i, a[2].i, a[3].i, a[4].i, a[5].i);
}
static void nonzero(Memory *m, const CallArg *a) { lt_nonzero(m[0].data, m[1].data, m[2].data, a[0].i, a[1].i); }
static void unique(Memory *m, const CallArg *a) {
  lt_unique(m[0].data, m[1].data, m[2].data, m[3].data, m[4].data, m[5].data, a[0].i, a[1].i, a[2].i, a[3].i, a[4].i);
}
static void nms(Memory *m, const CallArg *a) {
  lt_nms(m[0].data, m[1].data, m[2].data, m[3].data, m[4].data, m[5].data, m[6].data, m[7].data, a[0].i, a[1].i,
         a[2].i, a[3].i);
}
static void roi_align(Memory *m, const CallArg *a) {
  lt_roi_align(m[0].data, m[1].data, m[2].data, m[3].data, a[0].i, a[1].i, a[2].i, a[3].i, a[4].i, a[5].i, a[6].i,
               a[7].i, a[8].i);
}
static void roi_align_grad(Memory *m, const CallArg *a) {
  lt_roi_align_grad(m[0].data, m[1].data, m[2].data, m[3].data, m[4].data, a[0].i, a[1].i, a[2].i, a[3].i, a[4].i,
                    a[5].i, a[6].i, a[7].i, a[8].i);
}
static void ctc_loss(Memory *m, const CallArg *a) {
  lt_ctc_loss(m[0].data, m[1].data, m[2].data, m[3].data, m[4].data, m[5].data, m[6].data, a[0].i, a[1].i, a[2].i,
              a[3].i, a[4].i);
}
static void uniform(Memory *m, const CallArg *a) {
  lt_random_uniform(m[0].data, m[1].data, a[0].i, a[1].i, a[2].i, a[3].i, (float)a[4].f, (float)a[5].f);
}
static void normal(Memory *m, const CallArg *a) {
  lt_random_normal(m[0].data, m[1].data, a[0].i, a[1].i, a[2].i, a[3].i, (float)a[4].f, (float)a[5].f);
}

void calls_of_runtime(void) {
  static bool done;
  if (done) return;
  done = true;
  call_register("lt_topk", topk);
  call_register("lt_nonzero", nonzero);
  call_register("lt_unique", unique);
  call_register("lt_nms", nms);
  call_register("lt_roi_align", roi_align);
  call_register("lt_roi_align_grad", roi_align_grad);
  call_register("lt_ctc_loss", ctc_loss);
  call_register("lt_random_uniform", uniform);
  call_register("lt_random_normal", normal);
}
