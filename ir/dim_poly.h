/* Inside of dims: shared by dim.c (arithmetic), dim_table.c (what they are made of), dim_bounds.c and dim_text.c only.
 *
 * Representation, all of it hash-consed (equal content, equal pointer):
 *   Atom   a symbol, or floordiv / mod / min / max of two dims
 *   Mono   a product of atoms, sorted
 *   Poly   a sum of coefficient * Mono, sorted, no zero coefficient, never empty
 * The order is structural (degree first, then symbol names), never by address or age: the same expression
 * prints the same in every process, and it is a monomial order, so that polynomial division works. */
#ifndef IR_DIM_POLY_H
#define IR_DIM_POLY_H
#include "ir/dim.h"

typedef struct Atom { DimKind kind; int symbol; Dim x, y; } Atom;    /* symbol: index, for DIM_SYMBOL */
typedef struct Mono { int n; const Atom *const *at; } Mono;          /* product of n >= 1 atoms */
typedef struct Term { int64_t coef; const Mono *mono; } Term;
struct Poly { int n; const Term *at; int64_t lo, hi; int age; };     /* lo, hi: cached while age is dim_bounds_age */

enum { MAX_TERMS = 2000 };              /* larger polynomials are absurd for a shape: treated as overflow */

/* dim_table.c: the one that is equal, made when it is new. */
const Atom *atom_make(DimKind kind, int symbol, Dim x, Dim y);
const Mono *mono_make(const Atom *const *at, int n);
const Poly *poly_make(const Term *at, int n);          /* NULL: n is 0, or overflow */
Dim atom_dim(const Atom *a);
int dim_compare(Dim a, Dim b);
int atom_compare(const Atom *a, const Atom *b);
int mono_compare(const Mono *a, const Mono *b);
extern int dim_bounds_age;             /* grows when a symbol's bounds change: cached intervals are stale */

/* ---- saturating arithmetic ---- */

static inline int64_t sat_add(int64_t a, int64_t b) {
  int64_t r;
  return __builtin_add_overflow(a, b, &r) ? (a < 0 ? INT64_MIN : INT64_MAX) : r;
}

static inline int64_t sat_mul(int64_t a, int64_t b) {
  int64_t r;
  return __builtin_mul_overflow(a, b, &r) ? ((a < 0) != (b < 0) ? INT64_MIN : INT64_MAX) : r;
}

static inline int64_t floor_div(int64_t a, int64_t b) {
  if (b == 0) { dim_overflow = true; return 0; }
  if (b == -1) return sat_mul(a, -1);
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static inline int64_t floor_mod(int64_t a, int64_t b) {
  if (b == 0) { dim_overflow = true; return 0; }
  if (b == -1) return 0;
  int64_t r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
#endif
