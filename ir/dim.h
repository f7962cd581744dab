/* Dims: integers or bounded symbolic expressions over symbols (`N`, `2*N + 1`, `(W + 1) floordiv 2`).
 *
 * A Dim is a value; constants carry no expression. Symbolic ones point to hash-consed polynomials in a
 * canonical order, so two dims are equal exactly when `dim_eq` says so (same pointer, same constant).
 * A polynomial is a sum of coefficient * product of atoms; an atom is a symbol, or floordiv / mod / min /
 * max of two dims. The tables belong to the process; symbols are named and have bounds [lo, hi].
 * Arithmetic that leaves int64 saturates and sets `dim_overflow`; frontends check it and report. */
#ifndef IR_DIM_H
#define IR_DIM_H
#include "base/text.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct Poly Poly;
typedef struct Dim { int64_t k; const Poly *poly; } Dim;        /* value = k + poly */

#define DIM(n) ((Dim){(n), NULL})
static inline int64_t int64_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t int64_max(int64_t a, int64_t b) { return a > b ? a : b; }
extern bool dim_overflow;

Dim  dim_symbol(const char *name, int64_t lo, int64_t hi);      /* same name: same symbol; bounds are tightened */
Dim  dim_fresh_symbol(const char *stem, int64_t lo, int64_t hi);
Dim  dim_add(Dim a, Dim b);
Dim  dim_sub(Dim a, Dim b);
Dim  dim_mul(Dim a, Dim b);
Dim  dim_floordiv(Dim a, Dim b);                                /* rounds towards minus infinity; b > 0 */
Dim  dim_ceildiv(Dim a, Dim b);
Dim  dim_mod(Dim a, Dim b);                                     /* result has b's sign; b > 0 */
Dim  dim_min(Dim a, Dim b);
Dim  dim_max(Dim a, Dim b);
static inline bool dim_is_const(Dim a) { return !a.poly; }
static inline bool dim_eq(Dim a, Dim b) { return a.k == b.k && a.poly == b.poly; }
static inline bool dim_is(Dim a, int64_t n) { return !a.poly && a.k == n; }
int64_t dim_lo(Dim a);                                          /* interval bounds over all symbols' bounds */
int64_t dim_hi(Dim a);
/* for cost models: every symbol at 64, or as near as it may be */
int64_t dim_likely(Dim a);
bool dim_known_le(Dim a, Dim b);                                /* a <= b for every value of the symbols */
bool dim_divisible(Dim a, Dim b, Dim *quotient);                /* b divides a exactly, as polynomials */
Dim  dim_subst(Dim a, const char *symbol, Dim by);
int64_t dim_eval(Dim a, int64_t (*value)(const char *symbol, void *ctx), void *ctx);
void dim_print(Text *t, Dim a);                                 /* "2*N + 1"; parses back */
const char *dim_text(Dim a);                                    /* interned */
bool dim_parse(const char **s, Dim *out);                       /* unknown symbols get bounds [0, INT32_MAX] */
/* quoted like 'batch size' when it is not a plain word */
void dim_print_symbol(Text *t, const char *name);
const char *dim_parse_symbol(const char **s);                   /* interned; NULL when there is none */

/* Symbols, in order of creation. */
typedef struct Symbol { const char *name; int64_t lo, hi; } Symbol;
int  symbol_count(void);
const Symbol *symbol_at(int i);
const Symbol *symbol_find(const char *name);                    /* NULL when there is none */
void symbols_reset(void);                                       /* tests only: forgets every symbol and polynomial */

/* For printers and lowering: walks a polynomial as an expression tree. */
typedef enum { DIM_CONST, DIM_SYMBOL, DIM_ADD, DIM_MUL, DIM_FLOORDIV, DIM_MOD, DIM_MIN, DIM_MAX } DimKind;
void *dim_fold(Dim a, void *(*make)(void *ctx, DimKind k, int64_t constant, const char *symbol, void *x, void *y),
               void *ctx);
#endif
