/* A program: what a compiled module does, step by step. Made by `lower` (kernels and steps in their order), completed
 * by `place` (where every buffer is), printed by codegen, run by the loop interpreter.
 *
 * A buffer is a base value's storage (ir/graph.h Storage) or a kernel's scratch. Its home:
 *   HOME_INPUT / HOME_OUTPUT   the caller's memory (io struct member `port`)
 *   HOME_STATE                 the caller's state block: slot `port` of module->state; value and next are the same memory
 *   HOME_WEIGHT                weights block at a constant byte offset
 *   HOME_ARENA                 arena at byte offset `offset` (a Dim: constant unless sizes are symbolic) */
#ifndef IR_PROGRAM_H
#define IR_PROGRAM_H
#include "ir/loop.h"

typedef enum { HOME_NONE, HOME_INPUT, HOME_OUTPUT, HOME_STATE, HOME_WEIGHT, HOME_ARENA } Home;

typedef struct Buffer {
  const char *name;
  ValueId value;                 /* 0: scratch */
  DType dtype;
  Dim elems;                     /* size in elements, over all views of it */
  Home home;
  int port;
  Dim offset;                    /* bytes; weights and arena */
  const Tensor *data;            /* weights */
  int first, last;               /* live range in steps (arena) */
  bool is_window;                /* holds the rows of one strip; each part has its own */
  bool is_private;               /* scratch, or a window, of which every part but the first has its own copy: */
  Dim part_offset;               /* at this byte of the part's memory */
  int shares;                    /* arena: takes the place of this buffer, which dies where it is born; -1: none */
} Buffer;

typedef struct Step Step;
typedef VEC(Step *) StepList;
typedef enum { STEP_KERNEL, STEP_IF, STEP_LOOP, STEP_SYMBOL, STEP_STRIPS } StepKind;

struct Step {
  StepKind kind;
  Kernel *kernel;
  int *buffer;                   /* per kernel parameter: index into program->buffers */
  /* per kernel parameter: read at other indices than the one written: no in-place reuse */
  bool *elsewhere;
  int cond;                      /* IF: buffer of the condition (bool scalar). LOOP: buffer of cond or -1 */
  /* IF: both arms. LOOP: body in `then`. STRIPS: kernels in `then`, which take `top`, `bottom` and `first` */
  StepList then, other;
  Dim trips;                     /* LOOP: upper bound of the count */
  int trip_buffer;               /* LOOP: buffer of the i64 trip count or -1 */
  int iter_buffer;               /* LOOP: buffer that gets the i64 iteration number; -1: the loop is one of a kernel, whose
                                  * scratch may lead from one iteration to the next */
  int in_place;                  /* KERNEL: buffer whose elements are written where others were just read; -1: none */
  const char *symbol;            /* SYMBOL: set from element 0 of buffer `cond`. LOOP: counts iterations, in the loop only;
                                  * NULL: nobody asks */
  /* STRIPS: so many rows at a time of a result of `count`; parts of it begin at multiples of unit */
  int64_t rows, count, unit;
  int parts;                     /* STRIPS: as many threads may share the rows; 0: they are not */
  const char *note;              /* STRIPS: what they keep from going beyond the L2 */
  int at;                        /* number in execution order, set by `place` */
};

enum { MOST_PARTS = 256 };       /* of a kernel or of strips; lt_pool.c has no more threads either */

/* A step of that kind with no buffers yet. */
Step *step_new(Arena *a, StepKind kind);

/* Symbols that a step gives its kernels. Those of strips: the rows of this one, and where the first of its part begins. */
#define TOP_SYMBOL "top"
#define BOTTOM_SYMBOL "bottom"
#define FIRST_SYMBOL "first"
bool symbol_is_of_strips(const char *name);

/* Part `part` of `parts` has rows [*first, *end) of a step of strips. */
void step_part(const Step *s, int part, int parts, int64_t *first, int64_t *end);

/* With symbolic sizes an offset is a symbol of its own: the largest of the ends of what lies below it. */
typedef struct PlanOffset { const char *symbol; const Dim *below; int n; } PlanOffset;

typedef struct Program {
  Module *m;
  VEC(Buffer) buffers;
  StepList steps;
  VEC(Kernel *) kernels;         /* one per group (of a shared one: per phase), in order of execution; codegen finds equal ones */
  VEC(PlanOffset) plan;          /* in order of use; empty when every size is constant */
  Dim arena_bytes;               /* exact, over the symbols and the plan's offsets */
  int64_t arena_bound;           /* arena_bytes with every symbol at its upper bound */
  int64_t arena_lower;           /* largest sum of live bytes at any step, at the upper bound */
  int64_t weight_bytes;
  Dim part_bytes;                /* of each part but the first, for its private scratch */
} Program;

void program_print(Text *t, const Program *p);
/* Of one call: loops as often as they run at most, and of two arms the one with more. */
Dim program_flops(const Program *p);
/* Runs with the loop interpreter; inputs and outputs as the module's graph lists them. */
bool program_run(const Program *p, const Tensor *const *in, Tensor **out, Arena *a, Diags *d);
/* The same with kernels that have `parts` run in so many, the last one first. */
bool program_run_parts(const Program *p, int parts, const Tensor *const *in, Tensor **out, Arena *a, Diags *d);
/* The same with every buffer in memory of its own: tells a wrong kernel from a wrong memory plan. */
bool program_run_apart(const Program *p, const Tensor *const *in, Tensor **out, Arena *a, Diags *d);
#endif
