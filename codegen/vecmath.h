/* The inline mathematics of emitted C: picks functions out of runtime/vecmath.tmpl and writes them
 * for a given number of lanes.  Depends on nothing but the C library; the caller supplies the
 * template's text (lathe has it built in).  The template's own first lines describe its format. */
#ifndef LATHE_CODEGEN_VECMATH_H
#define LATHE_CODEGEN_VECMATH_H

#include <stddef.h>

/* Text that grows.  Start from {0}; vecmath_expand appends; release data with free(). */
typedef struct VecmathText {
  char *data; // ends with a NUL once anything has been appended
  size_t length, capacity;
} VecmathText;

/* One function that the emitted file calls: template section `name` at `width` lanes, a power of
 * two up to 64.  The name "*" stands for every section that exists at this width. */
typedef struct VecmathUse {
  const char *name;
  int width;
} VecmathUse;

/* Appends to `out` every section that `uses` ask for, directly or through their needs, each once
 * and after what it calls.  The order is that of the template, then of widths, so the same set of
 * uses gives the same bytes.  Call it once per emitted file, with all uses of that file.
 *
 * Returns 0; or -1 with a message of one line in `error`, and `out` as it was, if a use names no
 * section, the template is damaged, or memory runs out. */
int vecmath_expand(VecmathText *out, const char *template_text, const VecmathUse *uses, int n_uses,
                   char *error, size_t error_size);

/* Whether the template has a section `name` for `width` lanes. */
int vecmath_has(const char *template_text, const char *name, int width);

#endif
