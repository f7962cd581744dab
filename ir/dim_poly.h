/* Inside of dims: shared by dim.c (arithmetic) and dim_text.c (text) only. */
#ifndef IR_DIM_POLY_H
#define IR_DIM_POLY_H
#include "ir/dim.h"

typedef struct Atom { DimKind kind; int symbol; Dim x, y; } Atom;    /* symbol: index, for DIM_SYMBOL */
typedef struct Mono { int n; const Atom *const *at; } Mono;          /* product of n >= 1 atoms */
typedef struct Term { int64_t coef; const Mono *mono; } Term;
struct Poly { int n; const Term *at; int64_t lo, hi; int age; };     /* lo, hi: cached while age is current */
#endif
