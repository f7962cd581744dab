/* Lowering: one fused group of graph nodes -> one kernel.
 *
 * The abstraction that carries fusion: a lowering never loads or stores a tensor itself.
 *   lower_read(L, v, i)      the element of value v at logical index i, as an expression. Composes whatever
 *                            stands before it: strided storage, views inside the group (read_NAME), casts,
 *                            elementwise nodes of the group (the prologue).
 *   lower_write(L, i, x)     element i of the root's output: runs the epilogue (elementwise nodes of the group
 *                            that follow the root, other operands through lower_read) and stores every value
 *                            of the group that someone outside reads.
 * An index may be a vector: with i[axis] = ex_ramp(…, lanes) the whole composition works on lanes elements,
 * and a load whose index comes out as a ramp of stride 1 is one vector load. So an op is lowered once, for
 * every layout, dtype and neighbour.
 *
 * lower_NAME builds the naive nest with scalar indices and marks the loop that may become vector lanes
 * (FOR_VECTOR: iterations are independent, or a reduction into a register) and those that threads may share out
 * (FOR_PARALLEL). A generator in passes/kernels/
 * builds a tiled nest for the same group when it applies. */
#ifndef PASSES_LOWER_H
#define PASSES_LOWER_H
#include "ir/loop.h"
#include "passes/fusion.h"
#include "passes/target.h"

/* The parameter through which a kernel sees a stored value. `elsewhere`: some element is read at an index other
 * than the one being written, so the output may not take this buffer's place. */
typedef struct LowerBuf { ValueId base; Buf *buf; bool elsewhere; } LowerBuf;
/* i NULL: at every index that is asked for */
typedef struct LowerMemo { ValueId v; Expr **i; Expr *x; } LowerMemo;
typedef struct LowerScratch { Buf *buf; const Tensor *data; } LowerScratch;   /* data: a packed weight, not scratch */

typedef struct LowerSymbol { const char *name; Buf *count; } LowerSymbol;

typedef struct Lower {
  Module *m;
  Builder b;
  const Target *target;
  Winograd winograd;
  Strassen strassen;
  bool shared;                       /* by threads */
  const Fusion *fusion;
  const Group *g;
  int group;                         /* its number */
  NodeId root;                       /* the group's heavy node, or 0: a map */
  ValueId out;                       /* what lower_write writes */
  ValueId last;                      /* the last stored value of the chain, or 0 */
  VEC(LowerBuf) bufs;
  VEC(LowerScratch) extra;
  VEC(LowerSymbol) symbols;          /* set after the kernel from element 0 of a buffer */
  VEC(LowerMemo) memo;               /* values already computed at the index being written */
  Expr **writing;                    /* that index; NULL outside lower_write */
  /* kernels are better cut between rows of an image than have all pixels in one loop */
  bool by_rows;
  bool accumulates;                  /* output buffers are read as well as written */
  bool asks;                         /* lower_write only asks for the memory that it would touch, to be there in time */
  /* which combination of alternatives to take, and how many there were: lower_choose */
  int choice, choices;
  const char *why;                   /* set by lower_fail: the op cannot be lowered like this */
} Lower;

Expr *lower_read(Lower *l, ValueId v, Expr **i);              /* i: rank(v) indices */
void  lower_write(Lower *l, Expr **i, Expr *x);               /* the root's output 0 */
void  lower_write_to(Lower *l, ValueId v, Expr **i, Expr *x); /* another output of the root: stored, no epilogue */
/* v at i, where `known`, a value that v is computed from in this group, is x. */
Expr *lower_read_given(Lower *l, ValueId v, Expr **i, ValueId known, Expr *x);
bool  lower_contiguous(Lower *l, ValueId v, int axis);        /* would a ramp along axis be one vector load? */
/* Arena memory for this kernel only. It belongs to the loops it is made in, as a declaration in C: made before a loop
 * marked FOR_PARALLEL, its iterations share it (they may read what an earlier loop wrote); made inside, each iteration
 * has its own and must write what it reads. */
Buf  *lower_scratch(Lower *l, const char *name, DType t, Dim elems);
Buf  *lower_weight(Lower *l, const char *name, const Tensor *packed);     /* a constant made for this kernel (packed) */
/* the run reads a data-dependent dim from it */
void  lower_symbol(Lower *l, const char *name, Buf *count);
Buf  *lower_buf(Lower *l, ValueId v);                         /* the buffer behind a stored value (v's base) */
/* of an axis in memory; row-major where v is not stored */
Dim   lower_stride(Lower *l, ValueId v, int axis);
/* The axes of v, or `some` of them, that with the largest stride first; their number. */
int   lower_order(Lower *l, ValueId v, const bool *some, int *order);
Expr *lower_index(Lower *l, ValueId v, Expr **i);             /* element offset of index i in that buffer */
/* The alternative to take of n with these costs: the cheapest, or what a tuning asks for. Ask once for each
 * decision. */
int   lower_choose(Lower *l, const double *cost, int n);
bool  lower_fail(Lower *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The element of `v`, read where `like` (a value it broadcasts to) is at index i. */
Expr *lower_read_broadcast(Lower *l, ValueId v, const Type *like, Expr **i);
/* Flat row-major index <-> indices, for a shape of dims. */
Expr *lower_flatten(Lower *l, const Dim *dims, int rank, Expr **i);
void  lower_unflatten(Lower *l, const Dim *dims, int rank, Expr *flat, Expr **i);

/* Loops over all elements of a shape, those of the output: marked parallel. Fills i. `vector_axis` -1: none. */
void lower_loops(Lower *l, const Type *t, Expr **i, int vector_axis);
void lower_loops_end(Lower *l, const Type *t);

/* The value whose order in memory loops over v should have: v, or what the epilogue makes of it and stores. */
ValueId lower_stored(Lower *l, ValueId v);

/* The same in that order, the contiguous axis innermost and marked for lanes. */
void lower_loops_of(Lower *l, ValueId v, Expr **i);

/* matmul operand: index of its element (row, col) for output batch index i. */
void matmul_operand_index(Lower *l, ValueId v, const Type *y, Expr **i, Expr *row, Expr *col, Expr **j);

/* How many elements of row `row` a softmax has: all, or those up to its `ahead`. */
Expr *lower_seen(Lower *l, const Node *softmax, Expr *row);

/* The value that changes nothing: the start of a reduction. */
Expr *reduce_identity(Builder *b, ScalarOp op, DType t);

typedef bool (*LowerFn)(Lower *l, const Node *n);             /* false: lower_fail said why */
/* the output's element i, through lower_read of the inputs */
typedef Expr *(*ReadFn)(Lower *l, const Node *n, Expr **i);

extern const LowerFn lower_fn[OP_COUNT];                      /* HOW_LOWER and HOW_CALL rows */
extern const ReadFn read_fn[OP_COUNT];                        /* HOW_VIEW rows */
#endif
