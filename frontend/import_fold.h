/* Settling shape arithmetic while importing; see import_fold.c. */
#ifndef FRONTEND_IMPORT_FOLD_H
#define FRONTEND_IMPORT_FOLD_H
#include "frontend/import.h"

/* Node n was just built with outputs out: replaces outputs by constants or `dims` nodes where their elements are
 * known. Updates out. */
void imp_settle(Import *x, NodeId n, ValueId *out);
#endif
