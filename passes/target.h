/* Targets: what the emitted C is for. Rows of targets.def. */
#ifndef PASSES_TARGET_H
#define PASSES_TARGET_H
#include <stdbool.h>
#include <stdint.h>

typedef struct Target {
  const char *name, *note;
  int lanes;               /* f32 lanes of a vector; 1: plain scalar C99 */
  int registers;           /* vector registers */
  bool ahead;              /* compilers load all that a tile reads ahead of its arithmetic */
  int fmas, loads, stores; /* multiply-adds, loads and stores of vectors a cycle */
  int l1, l1_ways, line;   /* KiB per core; lines of one set; bytes of a line */
  int l2;                  /* KiB per core */
  /* bytes a cycle that reach the L1 from the L2, the L3 and memory, when loads run on */
  int from_l2, from_far, from_memory;
  const char *cflags;      /* for gcc and clang */
  const char *compiler;    /* default C compiler; cross prefix included */
  const char *barrier;     /* asm register constraint that keeps a loaded weight in a register; NULL: none */
} Target;

/* Winograd's transforms for 3x3 convolutions: where they pay, never, or F(2x2) or F(4x4) wherever they can be. */
typedef enum { WINOGRAD_AUTO, WINOGRAD_OFF, WINOGRAD_F2, WINOGRAD_F4 } Winograd;
/* Matrix products by Strassen's algorithm: a result then depends, by its rounding, on a row that is not its own. */
typedef enum { STRASSEN_OFF, STRASSEN_AUTO, STRASSEN_ALWAYS } Strassen;

/* Addresses so far apart share a set of the L1. */
static inline int target_set_span(const Target *t) { return t->l1 * 1024 / t->l1_ways; }

/* Bytes of this share of the L2. */
static inline int64_t target_l2(const Target *t, double share) { return (int64_t)(share * t->l2 * 1024); }
/* Is so much memory in the L2 no more when the next kernel reads it? A quarter is left to what else both touch. */
static inline bool target_is_far(const Target *t, double bytes) { return bytes > (double)target_l2(t, 0.75); }
/* Does an operand leave the L2 too little room for the others of its kernel? */
static inline bool target_fills_l2(const Target *t, double bytes) { return bytes > (double)target_l2(t, 0.5); }

/* Most rows of a register tile that is `columns` vectors wide: beside the accumulators there must be room for a vector
 * of each column and for an element of one row, or, where compilers load ahead, of each; `more`: for others. At least
 * 1. */
int target_tile_rows(const Target *t, int columns, int more);

extern const Target targets[];
extern const int target_count;
const Target *target_find(const char *name);     /* NULL when unknown; "native" asks the CPU */
#endif
