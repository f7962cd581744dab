/* A map from interned names to numbers, for one graph: open addressing on the pointer. Grows on its arena. */
#ifndef FRONTEND_ONNX_NAMES_H
#define FRONTEND_ONNX_NAMES_H
#include "base/vec.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct NameMap { struct { const char *name; int64_t value; } *at; size_t slots, used; } NameMap;

bool names_find(const NameMap *m, const char *name, int64_t *value);
bool names_add(Arena *a, NameMap *m, const char *name, int64_t value);       /* false: it is there already */
#endif
