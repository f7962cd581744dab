/* What the files of the pass `strips` share. strips.c: which kernels run strip by strip; strips_rows.c: a kernel as one
 * that makes rows, and its cut to the rows of a strip; strips_ahead.c: which kernels are to be made for that. */
#ifndef PASSES_STRIPS_H
#define PASSES_STRIPS_H
#include "ir/program.h"
#include "passes/fusion.h"
#include "passes/pass.h"

/* A buffer's elements as rows, along the outermost axis of memory; stride 0: it has none of constant size. */
typedef struct RowShape { int64_t stride, count; } RowShape;

/* A loop whose iteration i makes rows i + offset to i + offset + step - 1. */
typedef struct RowLoop { Stmt *s; int64_t offset, last; } RowLoop;
/* A statement that makes one row. */
typedef struct RowGuard { Stmt *s; int64_t row; } RowGuard;
/* Row r of the kernel's result needs rows scale * r + lo to scale * r + hi; scale 0: it may need any. */
typedef struct RowRead { int buffer; int64_t scale, lo, hi; } RowRead;

/* A kernel whose loops can be cut to any rows of its result. */
typedef struct RowKernel {
  Step *step;
  bool ok;
  int out;                           /* the buffer that it makes rows of */
  VEC(RowLoop) loops;
  VEC(RowGuard) guards;
  VEC(RowRead) reads;
} RowKernel;

/* A strip makes rows [top, bottom) of the last kernel's result, `rows` of them or fewer. For these it has the rows
 * [scale * top + base, scale * bottom + end) of a buffer at hand: those that the strip before did not have are made
 * now, all of them in the first strip of a part. `window`: the buffer is a ring that holds no more. */
typedef struct Span { int64_t scale, base, end; bool set, window; } Span;

static inline int64_t span_rows(const Span *s, int64_t rows) { return s->scale * rows + s->end - s->base; }
/* Does a strip need rows of the one before? */
static inline bool span_keeps(const Span *s) { return s->end > s->base; }

enum { MOST_IMAGE_ROWS = 65536 };

/* Is the root of this group a convolution whose rows are wide, and what it reads or makes too large for the L2, beside
 * a kernel with a window over rows? Then strips may want to cut it. */
bool strips_may_cut(const Fusion *f, int number, const Target *t, const PassOptions *o);

RowShape row_shape(const Program *p, int buffer);
/* shape: of every buffer. */
RowKernel row_kernel(Arena *a, const Program *p, const RowShape *shape, Step *s);
/* Cuts its loops to the rows of a strip; span: of every buffer; `rows` of a result of `count`. */
void row_kernel_cut(RowKernel *r, Arena *a, const RowShape *shape, const Span *span, int64_t rows, int64_t count);
#endif
