/* Diagnostics: see diag.h. At most 50 are printed; the rest are counted. */
#include "base/diag.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *bug_context = "start-up";

static void push(Diags *d, bool warning, const char *kind, const char *where, const char *fmt, va_list ap) {
  if (d->len == d->cap) {
    d->cap = d->cap ? d->cap * 2 : 16;
    d->at = xrealloc(d->at, (size_t)d->cap * sizeof *d->at);
  }
  char buf[2000];
  vsnprintf(buf, sizeof buf, fmt, ap);
  d->at[d->len++] = (Diag){where ? arena_strdup(&d->arena, where) : NULL, arena_strdup(&d->arena, kind),
                           arena_strdup(&d->arena, buf), warning};
  if (!warning) d->errors++;
}

void diag_error(Diags *d, const char *kind, const char *where, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  push(d, false, kind, where, fmt, ap);
  va_end(ap);
}

void diag_warn(Diags *d, const char *kind, const char *where, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  push(d, true, kind, where, fmt, ap);
  va_end(ap);
}

void diag_note(Diags *d, const char *fmt, ...) {
  if (!d->len) return;
  char buf[2000];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(buf, sizeof buf, fmt, ap);
  va_end(ap);
  Diag *last = &d->at[d->len - 1];
  last->text = arena_printf(&d->arena, "%s\n  %s", last->text, buf);
}

void diags_print(const Diags *d, FILE *to) {
  for (int i = 0; i < d->len && i < 50; i++) {
    const Diag *x = &d->at[i];
    fprintf(to, "%s: %s[%s]: ", d->file ? d->file : "lathe", x->warning ? "warning" : "error", x->kind);
    if (x->where) fprintf(to, "%s: ", x->where);
    fprintf(to, "%s\n", x->text);
  }
  if (d->len > 50) fprintf(to, "… and %d more\n", d->len - 50);
}

void diags_free(Diags *d) {
  arena_free(&d->arena);
  free(d->at);
  *d = (Diags){0};
}

void bug_at(const char *file, int line, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fprintf(stderr, "lathe: internal error at %s:%d, during %s: ", file, line, bug_context);
  vfprintf(stderr, fmt, ap);
  fprintf(stderr, "\n  this is a bug of lathe, not of your model; --naive, --no-rule and --rewrites narrow it down\n");
  va_end(ap);
  exit(70);
}
