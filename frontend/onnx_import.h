/* What import.c needs of the graph walk. */
#ifndef FRONTEND_ONNX_IMPORT_H
#define FRONTEND_ONNX_IMPORT_H
#include "frontend/import.h"
#include "frontend/onnx_model.h"

OnnxSource onnx_source(const Import *x);
/* A sub-graph as a region of its own; the first n inputs get these types. NULL after a message. */
Graph *onnx_import_region(Import *x, const Onnx__Graph *g, const Type *in, int n);
/* A sub-graph into x->g, with these values under its inputs' names. */
bool onnx_inline_region(Import *x, const Onnx__Graph *g, const ValueId *in, int nin, ValueId *out, int nout);
#endif
