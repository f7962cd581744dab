/* See lt_csv.h. */
#include "lt_csv.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void lt_csv_start(lt_csv *c, char *text, size_t n, char separator) {
  memset(c, 0, sizeof *c);
  if (n >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) { text += 3; n -= 3; }        /* a byte order mark */
  c->at = text;
  c->end = text + n;
  c->separator = separator;
  c->next_line = 1;
}

void lt_csv_free(lt_csv *c) { free(c->field); c->field = NULL; }

/* Unquotes in place: what is written never overtakes what is read. The quote at c->at opens the field. */
static int quoted(lt_csv *c, lt_field *f, char *why, size_t why_len) {
  char *to = f->text = c->at++;
  for (; c->at < c->end; *to++ = *c->at++) {
    if (*c->at == '\n') c->next_line++;
    if (*c->at != '"') continue;
    if (c->at + 1 < c->end && c->at[1] == '"') { c->at++; continue; }
    c->at++;
    f->length = (size_t)(to - f->text);
    if (c->at == c->end || *c->at == c->separator || *c->at == '\n' || *c->at == '\r') return 0;
    snprintf(why, why_len, "line %lld: text follows a closing quote in field %d", (long long)c->next_line,
             c->fields + 1);
    return -1;
  }
  snprintf(why, why_len, "line %lld: the quote that opens field %d is not closed", (long long)c->line, c->fields + 1);
  return -1;
}

static void plain(lt_csv *c, lt_field *f) {
  f->text = c->at;
  while (c->at < c->end && *c->at != c->separator && *c->at != '\n') c->at++;
  f->length = (size_t)(c->at - f->text);
  if (f->length && f->text[f->length - 1] == '\r' && (c->at == c->end || *c->at == '\n')) f->length--;
}

static int add_field(lt_csv *c, char *why, size_t why_len) {
  lt_field *f;
  if (c->fields == c->room) {
    int room = c->room ? 2 * c->room : 16;
    f = realloc(c->field, sizeof *f * (size_t)room);
    if (!f) { snprintf(why, why_len, "no memory"); return -1; }
    c->field = f;
    c->room = room;
  }
  f = &c->field[c->fields];
  if (c->at < c->end && *c->at == '"') { if (quoted(c, f, why, why_len)) return -1; }
  else plain(c, f);
  c->fields++;
  return 0;
}

int lt_csv_next(lt_csv *c, char *why, size_t why_len) {
  int k;
  while (c->at < c->end && (*c->at == '\n' || (*c->at == '\r' && (c->at + 1 == c->end || c->at[1] == '\n'))))
    if (*c->at++ == '\n') c->next_line++;
  c->line = c->next_line;
  c->fields = 0;
  if (c->at == c->end) return 0;
  for (;;) {
    if (add_field(c, why, why_len)) return -1;
    if (c->at == c->end || *c->at != c->separator) break;
    c->at++;
  }
  if (c->at < c->end && *c->at == '\r') c->at++;
  if (c->at < c->end && *c->at == '\n') { c->at++; c->next_line++; }
  for (k = 0; k < c->fields; k++) c->field[k].text[c->field[k].length] = 0;
  return 1;
}
