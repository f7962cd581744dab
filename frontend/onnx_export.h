/* A module as an ONNX model. `origin`: what it was made from, for the metadata. False after messages in d, one for
 * each node that cannot be said in ONNX; then nothing is written. The module does not change. */
#ifndef FRONTEND_ONNX_EXPORT_H
#define FRONTEND_ONNX_EXPORT_H
#include "ir/ops.h"

bool onnx_export(Module *m, const char *origin, Arena *a, void **bytes, size_t *size, Diags *d);
bool onnx_export_file(Module *m, const char *origin, const char *path, Diags *d);
bool onnx_exports(Op op);
const char *onnx_export_refusal(Op op);                /* why not; NULL: it is exported */
#endif
