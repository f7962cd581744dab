/* Diagnostics: collected, printed at once, the phase stops at its end when one was an error.
 *   net.onnx: error[shape]: node 'dw1' (Conv, opset 13): weight takes 1 channel per group
 *     hint: …
 * `kind` is one short word (parse, shape, type, unsupported, io, usage, memory, internal).
 * Lines after the first are notes and come indented. */
#ifndef BASE_DIAG_H
#define BASE_DIAG_H
#include "base/arena.h"
#include <stdbool.h>
#include <stdio.h>

typedef struct Diag { const char *where, *kind, *text; bool warning; } Diag;
typedef struct Diags { Arena arena; const char *file; Diag *at; int len, cap, errors; } Diags;

/* `where`: "node 'dw1' (Conv, opset 13)" or "12:7" or NULL */
void diag_error(Diags *d, const char *kind, const char *where, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void diag_warn(Diags *d, const char *kind, const char *where, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void diag_note(Diags *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));  /* added to the last one */
void diags_print(const Diags *d, FILE *to);
void diags_free(Diags *d);

/* A bug of ours: prints what and where, exits 70. Never for the user's input. */
_Noreturn void bug_at(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
#define BUG(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)
extern const char *bug_context;                       /* pass and node at work, set by the pass runner */
#endif
