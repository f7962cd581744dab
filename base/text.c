/* Growing text and whole-file reads and writes. */
#include "base/text.h"
#include "base/arena.h"
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void reserve(Text *t, size_t more) {
  if (t->len + more + 1 <= t->cap) return;
  size_t cap = t->cap ? t->cap : 256;
  while (cap < t->len + more + 1) cap *= 2;
  t->at = xrealloc(t->at, cap);
  t->cap = cap;
}

void text_bytes(Text *t, const void *p, size_t n) {
  reserve(t, n);
  if (n) memcpy(t->at + t->len, p, n);
  t->len += n;
  t->at[t->len] = 0;
}

void text_put(Text *t, const char *s) { text_bytes(t, s, strlen(s)); }

void text_printf(Text *t, const char *fmt, ...) {
  va_list ap, again;
  va_start(ap, fmt);
  va_copy(again, ap);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  reserve(t, (size_t)n);
  vsnprintf(t->at + t->len, (size_t)n + 1, fmt, again);
  va_end(again);
  t->len += (size_t)n;
}

bool char_is_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

void text_quote(Text *t, const char *s) {
  text_put(t, "\"");
  for (; *s; s++) text_printf(t, *s == '"' || *s == '\\' ? "\\%c" : *s == '\n' ? "\\n" : *s == '\t' ? "\\t" : "%c", *s);
  text_put(t, "\"");
}

void text_free(Text *t) {
  free(t->at);
  *t = (Text){0};
}

bool file_save(const void *p, size_t n, const char *path, char *why, size_t why_len) {
  return pieces_save(&(Piece){p, n}, 1, path, why, why_len);
}

bool pieces_save(const Piece *p, int n, const char *path, char *why, size_t why_len) {
  size_t len = strlen(path) + 16;
  char *tmp = xrealloc(NULL, len);
  snprintf(tmp, len, "%s.%ld.tmp", path, (long)getpid() % 100000);
  FILE *f = fopen(tmp, "wb");
  bool ok = f != NULL;
  for (int i = 0; ok && i < n; i++) ok = !p[i].size || fwrite(p[i].at, 1, p[i].size, f) == p[i].size;
  int err = errno;
  if (f && fclose(f) != 0 && ok) { ok = false; err = errno; }
  if (ok && rename(tmp, path) != 0) { ok = false; err = errno; }
  if (!ok) {
    if (f) remove(tmp);
    snprintf(why, why_len, "cannot write %s: %s", path, strerror(err));
  }
  free(tmp);
  return ok;
}

bool text_save(const Text *t, const char *path, char *why, size_t why_len) {
  return file_save(t->at, t->len, path, why, why_len);
}

char *file_load(const char *path, size_t *n, char *why, size_t why_len) {
  FILE *f = fopen(path, "rb");
  if (!f) { snprintf(why, why_len, "cannot open %s: %s", path, strerror(errno)); return NULL; }
  Text t = {0};
  long size = fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;     // a hint: pipes have none
  if (size > 0 && size < (1L << 40)) reserve(&t, (size_t)size + 1);
  rewind(f);
  for (size_t got = 1; got;) {
    reserve(&t, t.cap - t.len > 4097 ? t.cap - t.len - 1 : 65536);
    got = fread(t.at + t.len, 1, t.cap - t.len - 1, f);
    t.len += got;
  }
  bool bad = ferror(f);
  fclose(f);
  if (bad) {
    snprintf(why, why_len, "cannot read %s: %s", path, strerror(errno ? errno : EIO));
    text_free(&t);
    return NULL;
  }
  t.at[t.len] = 0;
  *n = t.len;
  return t.at;
}
