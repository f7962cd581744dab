/* The files that tools/embed.c put into the binary, by name. */
#include "codegen/embed.h"
#include <string.h>

const EmbedFile *embed_find(const char *name) {
  for (int i = 0; i < embed_count; i++)
    if (!strcmp(embed_files[i].name, name)) return &embed_files[i];
  return NULL;
}
