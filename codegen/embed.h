/* Files of runtime/ that the lathe binary carries (build/embed.c is made by tools/embed.c). Their text ends
 * with a NUL that `size` does not count. */
#ifndef CODEGEN_EMBED_H
#define CODEGEN_EMBED_H
#include <stddef.h>

typedef struct EmbedFile { const char *name, *text; size_t size; } EmbedFile;
extern const EmbedFile embed_files[];
extern const int embed_count;

const EmbedFile *embed_find(const char *name);   /* NULL when there is none */
#endif
