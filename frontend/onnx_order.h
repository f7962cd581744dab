/* Execution order of an ONNX graph's nodes; see onnx_order.c. */
#ifndef FRONTEND_ONNX_ORDER_H
#define FRONTEND_ONNX_ORDER_H
#include "base/diag.h"
#include "frontend/onnx_model.h"

/* Node numbers in an order where producers come first: the file's own order when it has that property.
 * NULL after a message that names the nodes of a cycle. */
int *onnx_order(Arena *a, Onnx__Node *const *node, size_t n, Diags *d);
const char *onnx_node_name(const Onnx__Node *n);     /* its name, else its first output's */
#endif
