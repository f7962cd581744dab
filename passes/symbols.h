/* Symbols of dims in a module: which a node gives a value to when it runs, and replacing them. */
#ifndef PASSES_SYMBOLS_H
#define PASSES_SYMBOLS_H
#include "ir/ops.h"

const char *dim_bare_symbol(Dim d);                            /* of a dim that is a symbol and nothing else; or NULL */
void dim_symbols(Dim d, void (*seen)(const char *symbol, void *ctx), void *ctx);
/* In types, attributes and known contents of the whole module. */
void module_subst_symbol(Module *m, const char *symbol, Dim by);
#endif
