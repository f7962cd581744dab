/* The functions that the rows of ops.def name, by `how`; tables.c collects them. */
#ifndef PASSES_LOWER_FUNCTIONS_H
#define PASSES_LOWER_FUNCTIONS_H
#include "passes/lower/lower.h"

#define DECLARE_VIEW(name)      Expr *read_##name(Lower *l, const Node *n, Expr **i);
#define DECLARE_LOWER(name)     bool lower_##name(Lower *l, const Node *n);
#define DECLARE_CALL(name)      bool lower_##name(Lower *l, const Node *n);
#define DECLARE_DECOMPOSE(name)
#define DECLARE_CONTROL(name)
#define OP(E, name, MIN, MAX, NOUT, HOW, ...) DECLARE_##HOW(name)
#include "ir/ops.def"
#undef OP

bool lower_map(Lower *l, const Group *g);          /* map.c */
bool lower_pad_border(Lower *l, const Node *n);    /* pad.c */
#endif
