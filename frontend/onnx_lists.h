/* Sequences and optionals while importing; see onnx_lists.c. */
#ifndef FRONTEND_ONNX_LISTS_H
#define FRONTEND_ONNX_LISTS_H
#include "frontend/onnx_loader.h"

const List *list_find(const Loader *l, ValueId v);               /* NULL: v is a tensor */
ValueId list_new(Loader *l, ValueKind kind, const ValueId *at, int n);
typedef VEC(ValueId) Leaves;
void list_flatten(Loader *l, ValueId v, Leaves *out, Text *form);  /* tensors in order; form: "t", "[tt]", "?[]" … */
/* An input that is a sequence or an optional, as the options say; its tensors become inputs of their own. */
ValueId list_input(Loader *l, Graph *g, const char *name, const Onnx__Type *t);   /* 0 after a message */
#endif
