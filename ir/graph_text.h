/* Shared by graph_text.c (writes) and graph_parse.c (reads). */
#ifndef IR_GRAPH_TEXT_H
#define IR_GRAPH_TEXT_H
#include "ir/graph.h"

enum { INLINE_ELEMENTS = 32 };          /* longer constants go to the side file, unless all elements are equal */

/* The side file: WEIGHTS_MAGIC, then records { u64 hash, u64 bytes, data, padding to 8 }. */
#define WEIGHTS_MAGIC "lathewt1"
uint64_t tensor_hash(const Tensor *t);
bool is_plain_name(const char *s);      /* can stand in the text without quotes */
#endif
